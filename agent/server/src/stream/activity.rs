//! When a session was last used: its user pressed a key or moved the pointer. Pictures are none of it.
//!
//! What is noted is the end of a step that begins with the use: the number changes once in [`STEP_MS`], however fast somebody types, and idleness is
//! judged a little late, never early. An agent does not remember what was before its start, so nothing is said to be longer ago than that.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::Timestamp;
use meridian_ids::SessionId;
use meridian_runtime::Clock;

const STEP_MS: i64 = 15_000;

/// The last uses of all sessions, in milliseconds of control-plane time.
pub(super) struct Activity {
    clock: Clock,
    /// When the control plane's time was first known.
    began: OnceLock<i64>,
    used: Mutex<HashMap<SessionId, Arc<AtomicI64>>>,
}

impl Activity {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, began: OnceLock::new(), used: Mutex::default() }
    }

    /// Where the uses of a session are noted.
    pub(super) fn of(&self, session: SessionId) -> Use {
        let until = self.lock().entry(session).or_default().clone();
        Use { clock: self.clock.clone(), until }
    }

    /// Where it is noted that somebody looks on: nowhere.
    pub(super) fn of_nobody(&self) -> Use {
        Use { clock: self.clock.clone(), until: Arc::default() }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.control_now()
    }

    /// From here on the clock's control-plane time is what the control plane says.
    pub(super) fn begin(&self) {
        let _ = self.began.set(self.clock.control_now().as_millisecond());
    }

    /// Until when a session counts as used; nothing before [`Activity::begin`].
    pub(super) fn active_at(&self, session: SessionId) -> Option<Timestamp> {
        let began = *self.began.get()?;
        let until = self.lock().get(&session).map_or(began, |until| until.load(Ordering::Relaxed).max(began));
        Timestamp::from_millisecond(until).ok()
    }

    pub(super) fn forget(&self, session: SessionId) {
        self.lock().remove(&session);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<SessionId, Arc<AtomicI64>>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes that a session is used.
#[derive(Clone)]
pub(super) struct Use {
    clock: Clock,
    until: Arc<AtomicI64>,
}

impl Use {
    pub(super) fn note(&self) {
        let now = self.clock.control_now().as_millisecond();
        let until = self.until.load(Ordering::Relaxed);
        // Also when it is further ahead than any step: the clock was put back since.
        if until <= now || until > now + STEP_MS {
            self.until.store(now + STEP_MS, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    #[test]
    fn a_session_in_use_is_news_once_a_step_and_never_seems_idle_too_early() {
        let clock = Clock::fixed(Timestamp::from_second(1000).unwrap());
        let (activity, session) = (Activity::new(clock.clone()), SessionId::generate());
        assert_eq!(activity.active_at(session), None, "nothing is known of the time yet");
        activity.begin();
        clock.advance(SignedDuration::from_secs(100));
        assert_eq!(activity.active_at(session), at(1000), "not before the start");
        let used = activity.of(session);
        used.note();
        assert_eq!(activity.active_at(session), at(1115));
        clock.advance(SignedDuration::from_secs(14));
        used.note();
        assert_eq!(activity.active_at(session), at(1115), "within the step");
        clock.advance(SignedDuration::from_secs(1));
        used.note();
        assert_eq!(activity.active_at(session), at(1130));
        activity.forget(session);
        assert_eq!(activity.active_at(session), at(1000));
    }

    #[test]
    fn a_clock_that_is_put_back_does_not_keep_a_session_in_use() {
        let clock = Clock::fixed(Timestamp::from_second(1000).unwrap());
        let (activity, session) = (Activity::new(clock.clone()), SessionId::generate());
        activity.of(session).note();
        clock.advance(SignedDuration::from_secs(-600));
        activity.begin();
        activity.of(session).note();
        assert_eq!(activity.active_at(session), at(415));
    }
}
