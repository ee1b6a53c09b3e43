//! Waiting between tries.

use std::time::Duration;

use crate::random_bytes;

/// Exponential backoff with full jitter: each wait is a random part of a limit that doubles up to a ceiling.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    ceiling: Duration,
    tries: u32,
}

impl Backoff {
    #[must_use]
    pub fn new(first: Duration, ceiling: Duration) -> Self {
        Self { first, ceiling, tries: 0 }
    }

    /// How long to wait before the next try.
    pub fn next_wait(&mut self) -> Duration {
        let limit = self.first.saturating_mul(1 << self.tries.min(20)).min(self.ceiling);
        self.tries = self.tries.saturating_add(1);
        let part = f64::from(u32::from_le_bytes(random_bytes())) / f64::from(u32::MAX);
        limit.mul_f64(part)
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_the_ceiling() {
        let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(80));
        assert!(backoff.next_wait() <= Duration::from_millis(10));
        assert!((0..40).all(|_| backoff.next_wait() <= Duration::from_millis(80)));
    }
}
