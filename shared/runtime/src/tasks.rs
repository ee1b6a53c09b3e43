//! Named, tracked tasks that stop with their role.

use std::{future::Future, time::Duration};

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

/// The tasks of one role. Clones share them. Stop is soft (the token), then hard after a limit.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Tasks that stop with these, or earlier by themselves.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { tracker: TaskTracker::new(), stop: self.stop.child_token() }
    }

    /// The token that says: stop soon.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a future as a task. It should watch [`Tasks::stopping`] when it can outlive a request.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        // Where the level leaves this span out, the task still belongs to its role's (and its request's).
        let span = tracing::debug_span!("task", task = name).or_current();
        self.tracker.spawn(future.instrument(span))
    }

    /// Like [`Tasks::spawn`], but dropped at once when the tasks are told to stop: for work with nothing to put in order.
    pub fn spawn_until_stop<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        self.spawn(name, async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = future => {}
            }
        })
    }

    /// Tells all to stop and waits at most `limit`; true when all did.
    pub async fn stop(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }
}
