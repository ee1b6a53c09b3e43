//! Homes that their users want no more: removed when the control plane says so, and said to be gone until it has heard that.
//!
//! The control plane says with each heartbeat which are to be removed, all of them; so nothing is written down here, and whatever fails is tried
//! again with the next.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use meridian_engine::Engine;
use meridian_ids::HomeId;
use meridian_runtime::Tasks;
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct Homes {
    wanted: watch::Sender<BTreeSet<HomeId>>,
    gone: Arc<Mutex<BTreeSet<HomeId>>>,
}

impl Homes {
    pub(crate) fn start(tasks: &Tasks, engine: Arc<dyn Engine>) -> Self {
        let homes = Self { wanted: watch::Sender::default(), gone: Arc::default() };
        let (gone, mut wanted) = (Arc::clone(&homes.gone), homes.wanted.subscribe());
        tasks.spawn_until_stop("homes", async move {
            while wanted.changed().await.is_ok() {
                let all = wanted.borrow_and_update().clone();
                for home in all {
                    if lock(&gone).contains(&home) {
                        continue;
                    }
                    match engine.remove_home(home).await {
                        Ok(()) => {
                            tracing::info!(%home, "a home was removed");
                            lock(&gone).insert(home);
                        }
                        Err(error) => {
                            tracing::warn!(hop = "engine", %home, %error, "a home could not be removed yet")
                        }
                    }
                }
            }
        });
        homes
    }

    /// What is to be removed now.
    pub(crate) fn forget(&self, homes: &[HomeId]) {
        let wanted: BTreeSet<HomeId> = homes.iter().copied().collect();
        // What is asked for no more was heard to be gone.
        lock(&self.gone).retain(|home| wanted.contains(home));
        if !wanted.is_empty() {
            self.wanted.send_replace(wanted);
        }
    }

    pub(crate) fn gone(&self) -> Vec<HomeId> {
        lock(&self.gone).iter().copied().collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
