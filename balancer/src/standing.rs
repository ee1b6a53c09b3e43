//! Whether one backend is in: what checks and dials found, judged by thresholds. Pure; the time comes from outside.
//!
//! ```text
//!        `fall` failed checks, or `eject_after` failed dials of clients
//!   In ───────────────────────────────────────────────────────────────▶ Out
//!      ◀───────────────────────────────────────────────────────────────
//!        `rise` checks that passed
//! ```
//!
//! *Unreachable* is more than out: nothing even took the connection, or shook hands. A backend that answers, however badly, is
//! never unreachable, so that a database's trouble resets no connection.

use std::time::{Duration, Instant};

/// The least share of connections that a backend gets when it has just come back.
const FIRST_SHARE: f64 = 0.1;

/// How many findings in a row it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Thresholds {
    pub(crate) rise: u32,
    pub(crate) fall: u32,
    pub(crate) eject_after: u32,
}

/// How a check failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing took the connection, or shook hands.
    Unreachable,
    /// Something answers, but not as it should.
    Sick,
}

/// A change worth telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    WentOut,
    CameBack,
}

/// What is known of one backend. It is in until shown otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    is_in: bool,
    /// When it came in; none: it was there from the start, and has its full share.
    in_since: Option<Instant>,
    /// Checks in a row.
    passed: u32,
    failed: u32,
    failed_unreachable: u32,
    /// Dials of clients in a row.
    failed_dials: u32,
}

impl Standing {
    /// `in_since`: from when on its share grows; none: it has all of it.
    pub(crate) fn new(in_since: Option<Instant>) -> Self {
        Self { is_in: true, in_since, passed: 0, failed: 0, failed_unreachable: 0, failed_dials: 0 }
    }

    pub(crate) fn check_passed(&mut self, now: Instant, thresholds: Thresholds) -> Option<News> {
        (self.failed, self.failed_unreachable) = (0, 0);
        self.passed = self.passed.saturating_add(1);
        if self.is_in || self.passed < thresholds.rise {
            return None;
        }
        *self = Self::new(Some(now));
        Some(News::CameBack)
    }

    pub(crate) fn check_failed(&mut self, fault: Fault, thresholds: Thresholds) -> Option<News> {
        self.passed = 0;
        self.failed = self.failed.saturating_add(1);
        self.failed_unreachable = match fault {
            Fault::Unreachable => self.failed_unreachable.saturating_add(1),
            Fault::Sick => 0,
        };
        self.leave(self.failed >= thresholds.fall)
    }

    pub(crate) fn dial_answered(&mut self) {
        self.failed_dials = 0;
    }

    pub(crate) fn dial_failed(&mut self, thresholds: Thresholds) -> Option<News> {
        self.failed_dials = self.failed_dials.saturating_add(1);
        self.leave(self.failed_dials >= thresholds.eject_after)
    }

    fn leave(&mut self, enough: bool) -> Option<News> {
        if !self.is_in || !enough {
            return None;
        }
        (self.is_in, self.passed) = (false, 0);
        Some(News::WentOut)
    }

    pub(crate) fn is_in(&self) -> bool {
        self.is_in
    }

    /// In, and the last check did not pass: the next one decides, and should not be long in coming.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.is_in && self.failed > 0
    }

    /// Out, because nothing answers there any more.
    pub(crate) fn is_unreachable(&self, thresholds: Thresholds) -> bool {
        !self.is_in
            && (self.failed_unreachable >= thresholds.fall || self.failed_dials >= thresholds.eject_after)
    }

    /// Its part of a full share of connections, above 0 and at most 1.
    pub(crate) fn share(&self, now: Instant, slow_start: Duration) -> f64 {
        let Some(since) = self.in_since else { return 1.0 };
        let passed = now.saturating_duration_since(since);
        if passed >= slow_start {
            return 1.0;
        }
        (passed.as_secs_f64() / slow_start.as_secs_f64()).max(FIRST_SHARE)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THRESHOLDS: Thresholds = Thresholds { rise: 2, fall: 2, eject_after: 3 };

    #[test]
    fn checks_put_a_backend_out_and_bring_it_back_by_thresholds() {
        let (mut standing, now) = (Standing::new(None), Instant::now());
        assert_eq!(standing.check_failed(Fault::Sick, THRESHOLDS), None);
        assert!(standing.is_in() && standing.is_doubtful());
        assert_eq!(standing.check_passed(now, THRESHOLDS), None);
        assert_eq!(standing.check_failed(Fault::Sick, THRESHOLDS), None, "not in a row");
        assert_eq!(standing.check_failed(Fault::Sick, THRESHOLDS), Some(News::WentOut));
        assert_eq!(standing.check_failed(Fault::Sick, THRESHOLDS), None, "no news");
        assert!(!standing.is_in() && !standing.is_unreachable(THRESHOLDS));
        assert_eq!(standing.check_passed(now, THRESHOLDS), None);
        assert_eq!(standing.check_passed(now, THRESHOLDS), Some(News::CameBack));
        assert!(standing.is_in());
    }

    #[test]
    fn failed_dials_in_a_row_put_a_backend_out_and_it_is_unreachable() {
        let mut standing = Standing::new(None);
        standing.dial_failed(THRESHOLDS);
        standing.dial_failed(THRESHOLDS);
        standing.dial_answered();
        standing.dial_failed(THRESHOLDS);
        standing.dial_failed(THRESHOLDS);
        assert!(standing.is_in());
        assert_eq!(standing.dial_failed(THRESHOLDS), Some(News::WentOut));
        assert!(standing.is_unreachable(THRESHOLDS));
    }

    #[test]
    fn a_sick_backend_becomes_unreachable_only_when_nothing_answers() {
        let mut standing = Standing::new(None);
        for _ in 0..5 {
            standing.check_failed(Fault::Sick, THRESHOLDS);
        }
        standing.check_failed(Fault::Unreachable, THRESHOLDS);
        assert!(!standing.is_unreachable(THRESHOLDS));
        standing.check_failed(Fault::Unreachable, THRESHOLDS);
        assert!(standing.is_unreachable(THRESHOLDS));
        standing.check_failed(Fault::Sick, THRESHOLDS);
        assert!(!standing.is_unreachable(THRESHOLDS));
    }

    #[test]
    fn a_share_grows_to_the_whole() {
        let (now, slow) = (Instant::now(), Duration::from_secs(10));
        assert!((Standing::new(None).share(now, slow) - 1.0).abs() < 1e-9);
        let standing = Standing::new(Some(now));
        assert!((standing.share(now, slow) - FIRST_SHARE).abs() < 1e-9);
        assert!((standing.share(now + slow / 2, slow) - 0.5).abs() < 1e-9);
        assert!((standing.share(now + slow, slow) - 1.0).abs() < 1e-9);
        assert!((standing.share(now, Duration::ZERO) - 1.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn news_alternate_and_an_unreachable_backend_is_never_in(findings in prop::collection::vec(0_u8..5, 0..80)) {
            let (mut standing, now) = (Standing::new(None), Instant::now());
            for finding in findings {
                let before = standing.is_in();
                let news = match finding {
                    0 => standing.check_passed(now, THRESHOLDS),
                    1 => standing.check_failed(Fault::Sick, THRESHOLDS),
                    2 => standing.check_failed(Fault::Unreachable, THRESHOLDS),
                    3 => standing.dial_failed(THRESHOLDS),
                    _ => { standing.dial_answered(); None }
                };
                let expected = match (before, standing.is_in()) {
                    (true, false) => Some(News::WentOut),
                    (false, true) => Some(News::CameBack),
                    _ => None,
                };
                prop_assert_eq!(news, expected);
                prop_assert!(!(standing.is_in() && standing.is_unreachable(THRESHOLDS)));
            }
        }
    }
}
