//! Homes that outlive their sessions: those that nobody wants any more are removed, and those on storage that other agents reach too are looked
//! after.
//!
//! The control plane says with each heartbeat which are to be removed, all of them; so nothing is written down here, and whatever fails is tried
//! again with the next. The storage and the homes on it are looked at on a period, which is how long a writer whose home was taken over, or
//! whose storage went away, writes on at most.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use meridian_engine::{Engine, EngineError, Frozen, Trouble};
use meridian_ids::HomeId;
use meridian_model::PersistentHome;
use meridian_node::NodeClient;
use meridian_runtime::Tasks;
use meridian_wire::{FrozenCause, FrozenSession, NodeSettings, ProblemReport};
use tokio::{sync::watch, time::sleep};

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Where the zone has no storage: a session may have a home on one that it had.
const LOOK_SELDOM: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Homes {
    wanted: watch::Sender<Vec<PersistentHome>>,
    gone: Arc<Mutex<BTreeSet<HomeId>>>,
    shared: watch::Receiver<Shared>,
}

/// What is known of the zone's storage and of the homes on it.
#[derive(Clone, Debug, Default)]
struct Shared {
    /// Where it is reached.
    ready: Option<String>,
    /// Where it ought to be reached, and why it is not.
    away: Option<(String, String)>,
    frozen: Vec<Frozen>,
}

impl Homes {
    pub(crate) fn start(tasks: &Tasks, engine: Arc<dyn Engine>, client: NodeClient) -> Self {
        let (found, shared) = watch::channel(Shared::default());
        let homes = Self { wanted: watch::Sender::default(), gone: Arc::default(), shared };
        let (gone, wanted) = (Arc::clone(&homes.gone), homes.wanted.subscribe());
        tasks.spawn_until_stop("homes", remove_wanted(Arc::clone(&engine), gone, wanted));
        tasks.spawn_until_stop("shared homes", look_after(engine, client, found));
        homes
    }

    /// What is to be removed now.
    pub(crate) fn forget(&self, homes: Vec<PersistentHome>) {
        // What is asked for no more was heard to be gone.
        lock(&self.gone).retain(|gone| homes.iter().any(|home| home.id == *gone));
        if !homes.is_empty() {
            self.wanted.send_replace(homes);
        }
    }

    pub(crate) fn gone(&self) -> Vec<HomeId> {
        lock(&self.gone).iter().copied().collect()
    }

    /// Path of the zone's storage, where it can be used.
    pub(crate) fn storage(&self) -> Option<String> {
        self.shared.borrow().ready.clone()
    }

    /// The sessions that stand still because of their homes.
    pub(crate) fn frozen(&self) -> Vec<FrozenSession> {
        let said = |frozen: &Frozen| FrozenSession {
            session_id: frozen.session,
            because: match frozen.trouble {
                Trouble::Away(_) => FrozenCause::StorageAway,
                Trouble::Overtaken { .. } => FrozenCause::Overtaken,
            },
        };
        self.shared.borrow().frozen.iter().map(said).collect()
    }

    pub(crate) fn problems(&self) -> Vec<ProblemReport> {
        self.shared.borrow().problems()
    }
}

impl Shared {
    fn problems(&self) -> Vec<ProblemReport> {
        let problem = |code: &str, message: String| ProblemReport { code: code.into(), message };
        let away = self.away.iter().map(|(path, why)| {
            problem("home_storage", format!("the zone's storage for homes, {path}, cannot be used: {why}"))
        });
        let cut_off = self.frozen.iter().filter(|frozen| is_away(frozen)).count();
        let overtaken = self.frozen.len() - cut_off;
        let cut_off = (cut_off > 0).then(|| {
            let text =
                format!("{cut_off} sessions are frozen, because the storage of their homes does not answer");
            problem("homes_frozen", text)
        });
        let overtaken = (overtaken > 0).then(|| {
            let text = format!("{overtaken} sessions are frozen, because other agents took over their homes");
            problem("homes_overtaken", text)
        });
        away.chain(cut_off).chain(overtaken).collect()
    }
}

fn is_away(frozen: &Frozen) -> bool {
    match frozen.trouble {
        Trouble::Away(_) => true,
        Trouble::Overtaken { .. } => false,
    }
}

async fn remove_wanted(
    engine: Arc<dyn Engine>,
    gone: Arc<Mutex<BTreeSet<HomeId>>>,
    mut wanted: watch::Receiver<Vec<PersistentHome>>,
) {
    while wanted.changed().await.is_ok() {
        let all = wanted.borrow_and_update().clone();
        for home in all {
            if lock(&gone).contains(&home.id) {
                continue;
            }
            match engine.remove_home(&home).await {
                Ok(()) => {
                    tracing::info!(home = %home.id, "a home was removed");
                    lock(&gone).insert(home.id);
                }
                Err(error) => {
                    tracing::warn!(hop = "engine", home = %home.id, %error, "a home could not be removed yet");
                }
            }
        }
    }
}

/// Guards the homes that sessions have, and finds out whether the storage can be used for more.
async fn look_after(engine: Arc<dyn Engine>, client: NodeClient, found: watch::Sender<Shared>) {
    let mut settings = client.settings();
    loop {
        // Also where the zone has no storage any more: homes that were made while it had one are still there.
        let frozen = match engine.guard_homes().await {
            Ok(frozen) => Some(frozen),
            // What is not known stays as it was said; the engine's absence is told elsewhere.
            Err(EngineError::Unavailable(_) | EngineError::NoImage(_)) => None,
            Err(EngineError::Refused(reason)) => {
                tracing::warn!(hop = "engine", reason, "homes on shared storage could not be looked after");
                None
            }
        };
        let path = storage_of(settings.borrow_and_update().as_deref());
        let period = if path.is_some() { LOOK_EVERY } else { LOOK_SELDOM };
        let (ready, away) = match path {
            None => (None, None),
            Some(path) => match engine.probe_storage(Path::new(&path)).await {
                Ok(()) => (Some(path), None),
                Err(error) => (None, Some((path, reason(error)))),
            },
        };
        found.send_modify(|known| {
            if away.is_some() && known.away != away {
                tracing::warn!(problem = ?away, "the zone's storage for homes cannot be used");
            }
            (known.ready, known.away) = (ready, away);
            if let Some(frozen) = frozen {
                known.frozen = frozen;
            }
        });
        tokio::select! {
            () = sleep(period) => {}
            changed = settings.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

fn reason(error: EngineError) -> String {
    match error {
        EngineError::Unavailable(reason) | EngineError::Refused(reason) => reason,
        error @ EngineError::NoImage(_) => error.to_string(),
    }
}

/// Path at which the zone wants its storage reached.
fn storage_of(settings: Option<&NodeSettings>) -> Option<String> {
    let path = &settings?.zone.as_ref()?.home_storage;
    (!path.is_empty()).then(|| path.clone())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
