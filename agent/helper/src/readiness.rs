//! Whether a person would see something now. Two witnesses must agree: the X server, that the workspace's windows
//! are mapped, and the RFB side, that a viewer which connects gets a picture with something in each of them.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::agent_socket::{Hub, Readiness};
use crate::frame;
use crate::report;
use crate::windows::{Area, Sight};

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
    windows: Sight,
    picture: bool,
}

impl Watch {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        let windows = Sight::Missing("the display server is starting".into());
        Self { hub, state: Mutex::new(State { windows, picture: false }), changed: Condvar::new() }
    }

    pub(crate) fn set_windows(&self, windows: Sight) {
        self.update(|state| state.windows = windows);
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
        while let Err(error) = frame::await_picture(socket, &self.await_windows(), PICTURE_PATIENCE) {
            report(&format_args!("the display gave no picture: {error}"));
            thread::sleep(RETRY_PAUSE);
        }
        self.update(|state| state.picture = true);
    }

    fn await_windows(&self) -> Vec<Area> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Sight::Complete(areas) = &state.windows {
                return areas.clone();
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    fn readiness(&self) -> Readiness {
        match &self.windows {
            Sight::Missing(reason) => Readiness::Waiting(reason.clone()),
            Sight::Complete(_) if self.picture => Readiness::Ready,
            Sight::Complete(_) => Readiness::Waiting(NO_PICTURE.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_witnesses_are_needed() {
        let ready = |windows: &Sight, picture| State { windows: windows.clone(), picture }.readiness();
        let (missing, complete) = (Sight::Missing("x".into()), Sight::Complete(Vec::new()));
        assert_eq!(ready(&missing, false), Readiness::Waiting("x".into()));
        assert_eq!(ready(&missing, true), Readiness::Waiting("x".into()));
        assert_eq!(ready(&complete, false), Readiness::Waiting(NO_PICTURE.into()));
        assert_eq!(ready(&complete, true), Readiness::Ready);
    }
}
