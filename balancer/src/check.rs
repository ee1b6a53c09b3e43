//! Checks a backend over and over, in a task of its own.

use std::{sync::Arc, time::Duration};

use meridian_runtime::random_bytes;
use tokio::time::{Instant, sleep_until};

use crate::{backend::Backend, rule::Rule};

/// How soon a backend that just failed is looked at again, while it is still in.
const DOUBT_WAIT: Duration = Duration::from_millis(100);

/// Never returns. `on_checked` is called after each check.
pub(crate) async fn keep_checked(rule: Arc<Rule>, backend: Arc<Backend>, on_checked: impl Fn()) {
    loop {
        let started = Instant::now();
        let found = rule.terms.probe.run(&backend.address).await;
        rule.note_check(&backend, &found);
        on_checked();
        let wait =
            if backend.standing().is_doubtful() { DOUBT_WAIT } else { with_jitter(rule.terms.interval) };
        tokio::select! {
            // From start to start, so that a check that waits for its limit delays no verdict.
            () = sleep_until(started + wait) => {}
            () = backend.doubted.notified() => {}
        }
    }
}

/// A tenth more or less.
fn with_jitter(interval: Duration) -> Duration {
    let part = f64::from(u32::from_le_bytes(random_bytes())) / f64::from(u32::MAX);
    interval.mul_f64(0.9 + part / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_a_tenth_at_most() {
        let interval = Duration::from_millis(500);
        assert!(
            (0..100)
                .map(|_| with_jitter(interval))
                .all(|wait| { (Duration::from_millis(449)..Duration::from_millis(551)).contains(&wait) })
        );
    }
}
