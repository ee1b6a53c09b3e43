//! The one place that reads the clock.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use jiff::{SignedDuration, Timestamp};

/// A clock: the system's, or one that only moves when told. Clones share their offset and time.
///
/// Nodes outside the control plane learn the difference between their own clock and the control plane's from heartbeats and judge
/// signed times by [`Clock::control_now`].
#[derive(Clone, Debug)]
pub struct Clock {
    fixed_ms: Option<Arc<AtomicI64>>,
    offset_ms: Arc<AtomicI64>,
}

impl Clock {
    #[must_use]
    pub fn system() -> Self {
        Self { fixed_ms: None, offset_ms: Arc::default() }
    }

    /// A clock for tests, standing at `now` until [`Clock::advance`].
    #[must_use]
    pub fn fixed(now: Timestamp) -> Self {
        Self { fixed_ms: Some(Arc::new(AtomicI64::new(now.as_millisecond()))), offset_ms: Arc::default() }
    }

    /// Moves a fixed clock; does nothing to the system's.
    pub fn advance(&self, by: SignedDuration) {
        if let Some(fixed) = &self.fixed_ms {
            fixed.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
    }

    /// This machine's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.fixed_ms {
            Some(fixed) => from_ms(fixed.load(Ordering::Relaxed)),
            #[expect(clippy::disallowed_methods, reason = "this is the one reader of the clock")]
            None => Timestamp::now(),
        }
    }

    /// The control plane's time, as far as this node knows.
    #[must_use]
    pub fn control_now(&self) -> Timestamp {
        from_ms(self.now().as_millisecond().saturating_add(self.offset_ms.load(Ordering::Relaxed)))
    }

    /// Learns the control plane's time from a message that just arrived.
    pub fn learn_control_time(&self, control: Timestamp) {
        let offset = control.as_millisecond() - self.now().as_millisecond();
        self.offset_ms.store(offset, Ordering::Relaxed);
    }
}

fn from_ms(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_time_follows_what_was_learnt() {
        let clock = Clock::fixed(Timestamp::from_second(1000).unwrap());
        assert_eq!(clock.control_now().as_second(), 1000);
        clock.learn_control_time(Timestamp::from_second(1060).unwrap());
        clock.advance(SignedDuration::from_secs(5));
        assert_eq!((clock.now().as_second(), clock.control_now().as_second()), (1005, 1065));
    }
}
