//! The helper's connection to the X server: one thread that waits for events and hands them to the clipboard and to
//! the watch over windows.

use std::sync::Arc;

use x11rb::connection::Connection;
use x11rb::errors::{ConnectError, ConnectionError, ReplyError, ReplyOrIdError};
use x11rb::protocol::xfixes::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use crate::clipboard::{Clipboard, Offers};
use crate::readiness::Watch;
use crate::windows::{Expected, Windows};

x11rb::atom_manager! {
    /// The names that the helper uses, as this server numbers them.
    pub(crate) Atoms: AtomsCookie {
        CLIPBOARD,
        TARGETS,
        TIMESTAMP,
        TEXT,
        INCR,
        UTF8_STRING,
        TEXT_PLAIN_UTF8: b"text/plain;charset=utf-8",
        TEXT_PLAIN: b"text/plain",
        MERIDIAN_OFFER,
        MERIDIAN_TEXT_0,
        MERIDIAN_TEXT_1,
        MERIDIAN_TEXT_2,
        MERIDIAN_TEXT_3,
        _NET_ACTIVE_WINDOW,
        _NET_CLIENT_LIST,
        _NET_FRAME_EXTENTS,
        _NET_REQUEST_FRAME_EXTENTS,
    }
}

/// Why the connection to the X server ended or could not be made.
#[derive(Debug)]
pub(crate) struct X11Error(String);

impl std::fmt::Display for X11Error {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "X server: {}", self.0)
    }
}

macro_rules! ends_with {
    ($($error:ty),*) => {$(
        impl From<$error> for X11Error {
            fn from(error: $error) -> Self {
                Self(error.to_string())
            }
        }
    )*};
}
ends_with!(ConnectError, ConnectionError, ReplyError, ReplyOrIdError);

/// Serves `display` until the connection to it ends.
pub(crate) fn serve(
    display: &str,
    offers: &Offers,
    watch: &Watch,
    expected: &Expected,
) -> Result<std::convert::Infallible, X11Error> {
    let (connection, screen) = RustConnection::connect(Some(display))?;
    let connection = Arc::new(connection);
    let atoms = Atoms::new(&*connection)?.reply()?;
    connection.xfixes_query_version(5, 0)?.reply()?;
    let root = connection.setup().roots[screen].root;

    let mut clipboard = Clipboard::new(&connection, atoms, root, offers)?;
    let mut windows = Windows::new(&connection, atoms, root, clipboard.window(), expected)?;
    offers.connect(&connection, clipboard.window(), atoms.MERIDIAN_OFFER);
    watch.set_windows(windows.look()?);
    loop {
        connection.flush()?;
        // A burst of events is one look at the windows.
        let mut next = Some(connection.wait_for_event()?);
        while let Some(event) = next {
            clipboard.handle(&event)?;
            windows.handle(&event);
            next = connection.poll_for_event()?;
        }
        if windows.is_changed() {
            watch.set_windows(windows.look()?);
        }
    }
}
