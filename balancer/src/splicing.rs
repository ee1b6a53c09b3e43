//! One way of a connection by splice(2): socket to pipe to socket, so that bulk is never copied into this process.
//!
//! ```text
//! copying ── buffer filled several times in a row, a pipe is to be had ──> bulk
//!    ^                                                                       │
//!    └── short reads in a row, no pipe, or a kernel that does not splice ────┘
//! ```
//!
//! In bulk a pipe is held from the moment bytes go into it until it is empty. Small pieces, which pixels and keys are, are better off
//! copied (docs/decisions/0004).

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    task::{Context, Poll, ready},
};

use meridian_runtime::{Copied, Copying};
use prometheus_client::metrics::counter::Counter;
use rustix::{
    io::Errno,
    pipe::{SpliceFlags, splice},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest},
    net::TcpStream,
};

use crate::pipes::{Held, Pipes};

/// Buffers filled in a row that make bulk.
const BULK_AFTER: u8 = 4;
/// Reads in a row of less than a buffer that end it.
const SHORT_READS: u8 = 4;
/// Bytes asked for at once: as many as a pipe may hold.
const MOST_BYTES: usize = 1 << 20;
/// Bytes that one way may move before others have their turn.
const TURN_BYTES: usize = 1 << 20;

/// What a way needs of its connection.
#[derive(Clone, Debug)]
pub(crate) struct Means {
    pub(crate) pipes: Arc<Pipes>,
    pub(crate) spliced: Counter,
}

/// A side of a connection that may have its bytes taken past it.
pub(crate) trait Side: AsyncRead + AsyncWrite + Unpin {
    /// The socket itself; none as long as bytes that it reads must be looked at.
    fn socket(&self) -> Option<&TcpStream>;
}

impl Side for TcpStream {
    fn socket(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

/// One way of a connection.
#[derive(Default)]
pub(crate) struct SocketWay {
    copying: Copying,
    /// Small, and only there in bulk: an idle connection must not pay for it.
    bulk: Option<Box<Bulk>>,
    /// The kernel said that it does not splice these.
    unable: bool,
}

#[derive(Default)]
struct Bulk {
    held: Option<Held>,
    short_reads: u8,
}

/// Where splicing came to.
enum Spliced {
    Ended,
    /// Copying is better, from here on or for now.
    Quiet,
    Unable,
}

impl SocketWay {
    /// Moves what can be moved now; ready when the end was passed on.
    pub(crate) fn poll<R: Side, W: Side>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        bytes: usize,
        means: &Means,
        moved: &mut dyn FnMut(usize),
    ) -> Poll<io::Result<()>> {
        loop {
            let ended = match (&mut self.bulk, from.socket(), to.socket()) {
                (Some(bulk), Some(source), Some(target)) => {
                    ready!(bulk.poll(cx, source, target, bytes, means, moved))?
                }
                (Some(_) | None, Some(_) | None, Some(_) | None) => {
                    let bulk_after = (!self.unable).then_some(BULK_AFTER);
                    match ready!(self.copying.poll(cx, from, to, bytes, bulk_after, moved))? {
                        Copied::Ended => return Poll::Ready(Ok(())),
                        Copied::Bulk => {
                            self.bulk = Some(Box::default());
                            continue;
                        }
                    }
                }
            };
            // Copying reads the end once more, and passes it on.
            self.bulk = None;
            self.unable |= matches!(ended, Spliced::Unable);
        }
    }
}

impl Bulk {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
        bytes: usize,
        means: &Means,
        moved: &mut dyn FnMut(usize),
    ) -> Poll<io::Result<Spliced>> {
        let mut turn = 0;
        loop {
            while let Some(held) = self.held.as_mut().filter(|held| held.filled > 0) {
                let count =
                    ready!(poll_splice(cx, to, Interest::WRITABLE, held.pipe().reader.as_fd(), held.filled))?;
                held.filled -= count;
                turn += count;
                means.spliced.inc_by(count as u64);
                moved(count);
            }
            if self.short_reads >= SHORT_READS {
                return Poll::Ready(Ok(Spliced::Quiet));
            }
            if turn >= TURN_BYTES {
                self.held = None;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.held.is_none() {
                self.held = means.pipes.take();
            }
            let Some(held) = &mut self.held else { return Poll::Ready(Ok(Spliced::Quiet)) };
            match poll_splice(cx, from, Interest::READABLE, held.pipe().writer.as_fd(), MOST_BYTES) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(Spliced::Ended)),
                Poll::Ready(Ok(count)) => {
                    held.filled = count;
                    self.short_reads = if count < bytes { self.short_reads + 1 } else { 0 };
                }
                Poll::Ready(Err(error)) if is_unable(&error) => return Poll::Ready(Ok(Spliced::Unable)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // Nothing moves: another connection may have the pipe.
                    self.held = None;
                    return Poll::Pending;
                }
            }
        }
    }
}

/// Takes bytes from a socket into a pipe, or from a pipe to a socket, by what the socket is to be ready for.
fn poll_splice(
    cx: &mut Context<'_>,
    socket: &TcpStream,
    interest: Interest,
    pipe: BorrowedFd<'_>,
    bytes: usize,
) -> Poll<io::Result<usize>> {
    let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
    loop {
        let reads = interest.is_readable();
        ready!(if reads { socket.poll_read_ready(cx) } else { socket.poll_write_ready(cx) })?;
        let moved = socket.try_io(interest, || {
            let moved = if reads {
                splice(socket, None, pipe, None, bytes, flags)
            } else {
                splice(pipe, None, socket, None, bytes, flags)
            };
            Ok(moved?)
        });
        match moved {
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            moved => return Poll::Ready(moved),
        }
    }
}

/// Sandboxes and unusual sockets refuse the call; no byte has moved then.
fn is_unable(error: &io::Error) -> bool {
    const REFUSED: [Errno; 4] = [Errno::INVAL, Errno::NOSYS, Errno::PERM, Errno::OPNOTSUPP];
    error.raw_os_error().is_some_and(|code| REFUSED.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests;
