//! The workspace's side of the display directory, which a hostile user owns.
//!
//! A socket is opened without following links: the name is looked up as a descriptor (`O_PATH | O_NOFOLLOW`), which must be a socket, the
//! connection is made through that descriptor, and the peer must be the workspace's own user. What is read from it is bounded.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
    time::Duration,
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fstat, openat},
    net::sockopt::socket_peercred,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::codec::{Framed, LinesCodec};

pub(crate) const RFB_SOCKET: &str = "rfb.sock";
pub(crate) const HELPER_SOCKET: &str = "helper.sock";
/// Longest line of a helper's.
const MAX_LINE_BYTES: usize = 1 << 20;
/// How often a workspace that starts is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Opens a socket of the workspace's.
pub(crate) async fn open_socket(directory: &Path, name: &str, uid: u32) -> io::Result<UnixStream> {
    let found = find_socket(directory, name)?;
    let stream = UnixStream::connect(format!("/proc/self/fd/{}", found.as_raw_fd())).await?;
    let peer = socket_peercred(&stream)?.uid.as_raw();
    if peer != uid {
        return Err(denied(format!("{name} is served by user {peer}, not by the workspace's {uid}")));
    }
    Ok(stream)
}

fn find_socket(directory: &Path, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = openat(CWD, directory, flags | OFlags::DIRECTORY, Mode::empty())?;
    let found = openat(&directory, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::Socket {
        return Err(denied(format!("{name} is no socket")));
    }
    Ok(found)
}

fn denied(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, text)
}

/// What a helper says; a newer one's further messages are passed over.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FromHelper {
    Ready {
        ready: bool,
        #[serde(default)]
        reason: Option<String>,
    },
    Text {
        text: String,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum ToHelper<'a> {
    Text { text: &'a str },
}

/// A helper's lines, each bounded.
pub(crate) type HelperLines = Framed<UnixStream, LinesCodec>;

pub(crate) async fn open_helper(directory: &Path, uid: u32) -> io::Result<HelperLines> {
    let stream = open_socket(directory, HELPER_SOCKET, uid).await?;
    Ok(Framed::new(stream, LinesCodec::new_with_max_length(MAX_LINE_BYTES)))
}

/// Waits until a person would see something: what the helper says or, where there is none, a frame of the display's.
///
/// # Errors
/// What is still missing after `limit`, in words.
pub(crate) async fn await_picture(directory: &Path, uid: u32, limit: Duration) -> Result<(), String> {
    let deadline = Instant::now() + limit;
    let mut missing = String::from("its display has not been started");
    loop {
        let looked = timeout_at(deadline, look(directory, uid, &mut missing)).await;
        match looked {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(Err(error)) => missing = error.to_string(),
            Err(_) => return Err(missing),
        }
        if timeout_at(deadline, sleep(LOOK_EVERY)).await.is_err() {
            return Err(missing);
        }
    }
}

async fn look(directory: &Path, uid: u32, missing: &mut String) -> io::Result<()> {
    match open_helper(directory, uid).await {
        Ok(helper) => hear(helper, missing).await,
        // Before the helper is, the display is not either; without one, the display speaks for itself.
        Err(error) if error.kind() == io::ErrorKind::NotFound => ask_for_frame(directory, uid).await,
        Err(error) => Err(error),
    }
}

async fn hear(mut helper: HelperLines, missing: &mut String) -> io::Result<()> {
    use futures_util::StreamExt;
    while let Some(line) = helper.next().await {
        let line = line.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        match serde_json::from_str(&line)? {
            FromHelper::Ready { ready: true, .. } => return Ok(()),
            FromHelper::Ready { ready: false, reason } => {
                *missing = reason.unwrap_or_else(|| "its helper says that it is not ready".into());
            }
            FromHelper::Text { .. } | FromHelper::Unknown => {}
        }
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "its helper hung up"))
}

/// A whole RFB handshake and one update of one pixel.
async fn ask_for_frame(directory: &Path, uid: u32) -> io::Result<()> {
    let mut display = open_socket(directory, RFB_SOCKET, uid).await?;
    let mut version = [0; 12];
    display.read_exact(&mut version).await?;
    if &version[..4] != b"RFB " {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its display does not speak RFB"));
    }
    display.write_all(b"RFB 003.008\n").await?;
    let mut types = vec![0; usize::from(display.read_u8().await?)];
    display.read_exact(&mut types).await?;
    display.write_all(&[1]).await?;
    if display.read_u32().await? != 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "its display refuses the agent"));
    }
    display.write_all(&[1]).await?;
    let mut init = [0; 24];
    display.read_exact(&mut init).await?;
    let name = u64::from(u32::from_be_bytes([init[20], init[21], init[22], init[23]]));
    tokio::io::copy(&mut (&mut display).take(name), &mut tokio::io::sink()).await?;
    // Raw pixels alone, and one of them.
    display.write_all(&[2, 0, 0, 1, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 0, 1]).await?;
    match display.read_u8().await? {
        0 => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "its display answered with something else")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    fn own_uid() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    #[tokio::test]
    async fn a_link_or_a_file_in_place_of_the_socket_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(folder.path().join("real")).unwrap();
        symlink("real", folder.path().join(RFB_SOCKET)).unwrap();
        assert!(open_socket(folder.path(), RFB_SOCKET, own_uid()).await.is_err(), "a link");
        std::fs::remove_file(folder.path().join(RFB_SOCKET)).unwrap();
        std::fs::write(folder.path().join(RFB_SOCKET), "x").unwrap();
        assert!(open_socket(folder.path(), RFB_SOCKET, own_uid()).await.is_err(), "a file");
        assert!(open_socket(folder.path(), "real", own_uid()).await.is_ok());
    }

    #[tokio::test]
    async fn a_socket_of_another_user_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _listener = UnixListener::bind(folder.path().join(RFB_SOCKET)).unwrap();
        let error = open_socket(folder.path(), RFB_SOCKET, own_uid() + 1).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }

    #[tokio::test]
    async fn what_is_missing_after_the_limit_is_said_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let missing = await_picture(folder.path(), own_uid(), Duration::from_millis(50)).await;
        assert_eq!(missing, Err("its display has not been started".into()));
    }
}
