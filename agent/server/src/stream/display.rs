//! The workspace's end of a stream: the display's socket, behind the filter.

use std::{collections::VecDeque, io, path::Path, time::Duration};

use bytes::BytesMut;
use meridian_model::Policy;
use meridian_stream::rfb::{ClientFilter, FilterError};
use rustix::net::{RecvFlags, recv};
use tokio::{net::UnixStream, time::timeout};

use super::activity::Use;
use crate::{
    sessions::{Phase, Sessions},
    workspace::{self, RFB_SOCKET},
};

/// How long a display may take to hear that keys are released.
const RELEASE_LIMIT: Duration = Duration::from_millis(500);
/// Read from a display at once.
const READ_BYTES: usize = 16 * 1024;

/// An open display. What it does not take yet is kept; how much that is, the caller bounds.
pub(super) struct Display {
    socket: UnixStream,
    filter: ClientFilter,
    waiting: VecDeque<u8>,
    scratch: Vec<u8>,
    activity: Use,
}

impl Display {
    pub(super) async fn open(directory: &Path, uid: u32, policy: Policy, activity: Use) -> io::Result<Self> {
        let socket = workspace::open_socket(directory, RFB_SOCKET, uid).await?;
        let filter = ClientFilter::new(policy);
        Ok(Self { socket, filter, waiting: VecDeque::new(), scratch: Vec::new(), activity })
    }

    /// Takes what a viewer says; what the filter lets through goes out as the display takes it.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), FilterError> {
        let inputs = self.filter.inputs();
        let judged = self.filter.push(bytes, &mut self.scratch);
        if self.filter.inputs() != inputs {
            self.activity.note();
        }
        self.waiting.extend(self.scratch.drain(..));
        judged
    }

    /// Bytes that the display has not taken yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Waits until the display has something to read or, when there is something for it, takes some of that; then does so. An empty read
    /// is the display's end. Safe to drop between waits.
    pub(super) async fn turn(&mut self, want_bytes: bool) -> io::Result<Turn> {
        loop {
            let has_waiting = !self.waiting.is_empty();
            tokio::select! {
                biased;
                writable = self.socket.writable(), if has_waiting => {
                    writable?;
                    if self.write_some()? {
                        return Ok(Turn::Wrote);
                    }
                }
                readable = self.socket.readable(), if want_bytes => {
                    readable?;
                    if let Some(bytes) = self.read_some()? {
                        return Ok(Turn::Read(bytes));
                    }
                }
                () = std::future::pending(), if !has_waiting && !want_bytes => {}
            }
        }
    }

    fn write_some(&mut self) -> io::Result<bool> {
        let (first, _) = self.waiting.as_slices();
        match self.socket.try_write(first) {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                self.waiting.drain(..written);
                if self.waiting.is_empty() {
                    // An idle stream holds no buffer.
                    self.waiting = VecDeque::new();
                    self.scratch = Vec::new();
                }
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn read_some(&mut self) -> io::Result<Option<BytesMut>> {
        let mut bytes = BytesMut::with_capacity(READ_BYTES);
        match self.socket.try_read_buf(&mut bytes) {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the display has hung up with nothing left to read. While no viewer is there it is not read, so nothing else tells.
    pub(super) fn has_closed(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        matches!(recv(&self.socket, &mut [0_u8; 1], flags), Ok((_, 0)))
    }

    pub(super) fn set_policy(&mut self, policy: Policy) {
        self.filter.set_policy(policy);
    }

    /// Lets go of every key and button that the viewer holds; the connection stays. Nothing, where nothing is held.
    pub(super) fn let_go(&mut self) {
        self.waiting.extend(self.filter.release());
    }

    /// Lets go of every key and button that the viewer held, before the connection ends.
    pub(super) async fn release(mut self) {
        let had = self.waiting();
        self.let_go();
        if self.waiting() == had {
            return;
        }
        let write = async {
            while self.waiting() > 0 {
                self.turn(false).await?;
            }
            io::Result::Ok(())
        };
        // A display that does not listen releases keys by itself when its viewer is gone.
        let _ = timeout(RELEASE_LIMIT, write).await;
    }
}

/// What happened at the display.
pub(super) enum Turn {
    Wrote,
    /// Empty: the display has closed.
    Read(BytesMut),
}

/// Waits for a session's display to be up, then opens it.
///
/// # Errors
/// What a person may read.
pub(super) async fn wait_and_open(
    sessions: &Sessions,
    session: meridian_ids::SessionId,
    directory: &Path,
    uid: u32,
    policy: Policy,
    activity: Use,
    limit: Duration,
) -> Result<Display, String> {
    let mut view = sessions.watch();
    let up = view.wait_for(|view| {
        view.standings.get(&session).is_none_or(|standing| standing.phase != Phase::Starting)
    });
    let phase = match timeout(limit, up).await {
        Ok(Ok(view)) => view.standings.get(&session).map(|standing| standing.phase.clone()),
        Ok(Err(_)) => return Err("the agent is stopping".into()),
        Err(_) => return Err("the workspace takes too long to start".into()),
    };
    match phase {
        Some(Phase::Up) => {}
        Some(Phase::Failed(reason)) => return Err(format!("the workspace could not be started: {reason}")),
        Some(Phase::Ended(reason)) => return Err(format!("the session has ended: {reason}")),
        Some(Phase::Starting) | None => return Err("the session is not known on this agent".into()),
    }
    match timeout(limit, Display::open(directory, uid, policy, activity)).await {
        Ok(Ok(display)) => Ok(display),
        Ok(Err(error)) => {
            tracing::warn!(hop = "workspace", session.id = %session, %error, "a display could not be opened");
            Err("the workspace's display does not answer".into())
        }
        Err(_) => Err("the workspace's display does not answer".into()),
    }
}
