//! Whether a person would see something now. Two witnesses must agree: the X server, that the workspace's windows
//! are mapped, and the RFB side, that a viewer which connects gets a picture with something in it.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::agent_socket::{Hub, Readiness};
use crate::frame;
use crate::report;

/// How long a mapped window may take to be drawn. A picture that is still blank then is taken for what the program
/// wants to show.
const PICTURE_PATIENCE: Duration = Duration::from_secs(5);

/// Between two tries to get a picture from a display server that gave an error.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

const NO_PICTURE: &str = "the windows are there, but the display has not shown them yet";

/// Collects what both witnesses say, and tells the hub.
pub(crate) struct Watch {
    hub: Arc<Hub>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// What the screen lacks; nothing once all windows are there.
    missing: Option<String>,
    picture: bool,
}

impl Watch {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        let missing = Some("the display server is starting".into());
        Self { hub, state: Mutex::new(State { missing, picture: false }), changed: Condvar::new() }
    }

    pub(crate) fn set_windows(&self, missing: Option<String>) {
        self.update(|state| state.missing = missing);
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        self.hub.set_readiness(state.readiness());
        self.changed.notify_all();
    }

    /// Waits for the first windows, then for a picture of them. Once is enough: from then on only windows that go
    /// away make the workspace unready.
    pub(crate) fn await_picture(&self, socket: &Path) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.changed.wait_while(state, |state| state.missing.is_some()));
        while let Err(error) = frame::await_picture(socket, PICTURE_PATIENCE) {
            report(&format_args!("the display gave no picture: {error}"));
            thread::sleep(RETRY_PAUSE);
        }
        self.update(|state| state.picture = true);
    }
}

impl State {
    fn readiness(&self) -> Readiness {
        match &self.missing {
            Some(reason) => Readiness::Waiting(reason.clone()),
            None if self.picture => Readiness::Ready,
            None => Readiness::Waiting(NO_PICTURE.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_witnesses_are_needed() {
        let ready = |missing: Option<&str>, picture| {
            State { missing: missing.map(String::from), picture }.readiness()
        };
        assert_eq!(ready(Some("x"), false), Readiness::Waiting("x".into()));
        assert_eq!(ready(Some("x"), true), Readiness::Waiting("x".into()));
        assert_eq!(ready(None, false), Readiness::Waiting(NO_PICTURE.into()));
        assert_eq!(ready(None, true), Readiness::Ready);
    }
}
