//! Steady requests to the control plane, as other people's consoles make them: which of them fail, and when.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use meridian_runtime::Tasks;
use reqwest::Method;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::api::Api;

/// Failures whose reason is kept.
const MAX_TROUBLES: usize = 200;
const EVERY: Duration = Duration::from_millis(100);

/// One request: when it began and ended, since the lab began, and whether it was answered well.
#[derive(Clone, Copy, Debug)]
struct Request {
    began: Duration,
    ended: Duration,
    good: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Probe {
    requests: Arc<Mutex<Vec<Request>>>,
    /// Why requests failed, the latest last.
    troubles: Arc<Mutex<Vec<(Duration, String)>>>,
}

impl Probe {
    /// Asks for a session ten times a second until the tasks stop; no request waits for an earlier one.
    pub(crate) fn start(tasks: &Tasks, api: &Api, session: &str, began: Instant) -> Self {
        let probe = Self::default();
        let (kept, asking) = (probe.clone(), tasks.clone());
        let (api, path) = (api.clone(), format!("/sessions/{session}"));
        tasks.spawn_until_stop("probe", async move {
            let mut tick = interval(EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                // Bounded by the call's own limit: no more than a hundred are out at once.
                let (api, path, kept) = (api.clone(), path.clone(), kept.clone());
                asking.spawn_until_stop("probe's request", async move {
                    let at = began.elapsed();
                    let answer = api.call(Method::GET, &path, None).await;
                    let good = answer.is_ok();
                    if let Err(error) = answer {
                        kept.note_trouble(at, format!("{error:#}"));
                    }
                    kept.note(Request { began: at, ended: began.elapsed(), good });
                });
            }
        });
        probe
    }

    fn note(&self, request: Request) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }

    fn note_trouble(&self, at: Duration, why: String) {
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if troubles.len() < MAX_TROUBLES {
            troubles.push((at, why));
        }
    }

    /// Why requests failed that began after `from`, with when they began since then.
    pub(crate) fn troubles_after(&self, from: Duration) -> Vec<String> {
        let troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let after = troubles.iter().filter(|(at, _)| *at > from);
        after.map(|(at, why)| format!("+{:.3} s {why}", (*at - from).as_secs_f64())).collect()
    }

    fn copy(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests that failed, of those that ended after `from`.
    pub(crate) fn failed_after(&self, from: Duration) -> usize {
        self.copy().iter().filter(|request| !request.good && request.ended > from).count()
    }

    /// How long after `from` the last failure ended.
    pub(crate) fn last_failure_after(&self, from: Duration) -> Option<Duration> {
        let failures = self.copy().into_iter().filter(|request| !request.good && request.ended > from);
        failures.map(|request| request.ended - from).max()
    }

    /// Whether a request that began after `from` was answered well.
    pub(crate) fn answered_after(&self, from: Duration) -> bool {
        self.copy().iter().any(|request| request.good && request.began > from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_by_when_it_ended() {
        let ms = Duration::from_millis;
        let probe = Probe::default();
        for (began, ended, good) in [(0, 5, false), (8, 20, false), (30, 90, false), (95, 99, true)] {
            probe.note(Request { began: ms(began), ended: ms(ended), good });
        }
        assert_eq!(probe.failed_after(ms(10)), 2);
        assert_eq!(probe.last_failure_after(ms(10)), Some(ms(80)));
        assert!(probe.answered_after(ms(90)) && !probe.answered_after(ms(96)));
    }
}
