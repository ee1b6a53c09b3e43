//! `meridian-helper health`: asks the running helper whether the workspace is ready and the display server for a
//! pixel, so that a helper that believes in a display server which has hung is found out.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::frame;
use crate::options::{HELPER_SOCKET, RFB_SOCKET};
use crate::wire::{self, ToAgent};

/// Shorter than any sensible limit on a health check, so that the reason comes from here.
const LIMIT: Duration = Duration::from_secs(3);

pub(crate) fn check() -> Result<(), String> {
    ask_helper(Path::new(HELPER_SOCKET))?;
    frame::check_alive(Path::new(RFB_SOCKET), LIMIT).map_err(|error| format!("the display: {error}"))
}

fn ask_helper(socket: &Path) -> Result<(), String> {
    let stream =
        UnixStream::connect(socket).map_err(|error| format!("the helper is not running: {error}"))?;
    let line = stream
        .set_read_timeout(Some(LIMIT))
        .and_then(|()| wire::read_line(&mut BufReader::new(stream)))
        .map_err(|error| format!("the helper does not answer: {error}"))?
        .ok_or("the helper closed the connection")?;
    match serde_json::from_slice(&line) {
        Ok(ToAgent::Ready { ready: true, .. }) => Ok(()),
        Ok(ToAgent::Ready { ready: false, reason }) => Err(reason.unwrap_or("not ready".into())),
        Ok(ToAgent::Text { .. }) | Err(_) => Err("the helper's answer is not understood".into()),
    }
}
