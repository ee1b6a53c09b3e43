//! How many connections there are, and the bound on them, which a new configuration may move.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: AtomicUsize,
    freed: Notify,
}

/// One connection's place, free again when this is dropped.
pub(crate) struct Taken(Arc<Places>);

impl Drop for Taken {
    fn drop(&mut self) {
        if self.0.taken.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.freed.notify_waiters();
        }
    }
}

impl Places {
    /// A place, unless as many as `most` are taken.
    pub(crate) fn take(self: &Arc<Self>, most: usize) -> Option<Taken> {
        let more = |taken| (taken < most).then_some(taken + 1);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Taken(self.clone()))
    }

    /// Returns when no place is taken.
    pub(crate) async fn all_free(&self) {
        loop {
            let freed = self.freed.notified();
            let mut freed = std::pin::pin!(freed);
            // Enabled before the look at the count, so that the last drop is not missed.
            freed.as_mut().enable();
            if self.taken.load(Ordering::Acquire) == 0 {
                return;
            }
            freed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn places_are_bounded_and_come_back() {
        let places = Arc::new(Places::default());
        places.all_free().await;
        let first = places.take(1).unwrap();
        assert!(places.take(1).is_none());
        let second = places.take(2).unwrap();
        drop(first);
        assert!(places.take(1).is_none(), "a lower bound counts for new ones");
        let (_, ()) = tokio::join!(async { drop(second) }, places.all_free());
    }
}
