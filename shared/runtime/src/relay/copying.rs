//! One way of a relayed stream, copied through a buffer of the thread.

use std::{
    cell::RefCell,
    io::{self, ErrorKind},
    pin::pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that one way may move before others have their turn: a stream in bulk must not keep the small pieces of others waiting.
const TURN_BYTES: usize = 256 * 1024;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Where copying came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The end was read and passed on.
    Ended,
    /// The buffer was filled as often in a row as was asked about; nothing is kept, and another way may take over.
    Bulk,
}

/// One direction. What `kept[sent..]` holds was read and is not written yet.
#[derive(Default)]
pub struct Copying {
    kept: Vec<u8>,
    sent: usize,
    unflushed: bool,
    read_all: bool,
    done: bool,
    /// How often in a row the buffer was filled.
    filled: u8,
}

impl Copying {
    /// Moves what can be moved now. `bulk_after`: how often the buffer must be filled in a row to be told of it; none: never.
    ///
    /// # Errors
    /// Those of the two sides.
    pub fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        buffer_bytes: usize,
        bulk_after: Option<u8>,
        moved: &mut dyn FnMut(usize),
    ) -> Poll<io::Result<Copied>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut turn = 0;
        while !self.done {
            ready!(self.poll_kept(cx, to, moved))?;
            if bulk_after.is_some_and(|often| self.filled >= often) {
                self.filled = 0;
                return Poll::Ready(Ok(Copied::Bulk));
            }
            if turn >= TURN_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if self.read_all {
                ready!(pin!(&mut *to).poll_shutdown(cx))?;
                self.done = true;
                break;
            }
            let mut buffer = BUFFER.take();
            buffer.resize(buffer_bytes.max(1), 0);
            let mut moved = |count| {
                turn += count;
                moved(count);
            };
            let step = self.poll_step(cx, from, to, &mut buffer, &mut moved);
            BUFFER.set(buffer);
            match step {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if self.unflushed => {
                    ready!(pin!(&mut *to).poll_flush(cx))?;
                    self.unflushed = false;
                    return Poll::Pending;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(Copied::Ended))
    }

    /// Writes what was kept, and gives its memory back.
    fn poll_kept<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut W,
        moved: &mut dyn FnMut(usize),
    ) -> Poll<io::Result<()>> {
        while self.sent < self.kept.len() {
            let count = ready!(pin!(&mut *to).poll_write(cx, &self.kept[self.sent..]))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.sent += count;
            moved(count);
        }
        if !self.kept.is_empty() {
            (self.kept, self.sent) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and hands on at once what the receiver takes; keeps the rest.
    fn poll_step<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        buffer: &mut [u8],
        moved: &mut dyn FnMut(usize),
    ) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut read = ReadBuf::new(buffer);
        ready!(pin!(from).poll_read(cx, &mut read))?;
        self.filled = if read.remaining() == 0 { self.filled.saturating_add(1) } else { 0 };
        let mut rest: &[u8] = read.filled();
        self.read_all = rest.is_empty();
        while !rest.is_empty() {
            match pin!(&mut *to).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => {
                    rest = &rest[count..];
                    self.unflushed = true;
                    moved(count);
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.kept = rest.to_vec();
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
