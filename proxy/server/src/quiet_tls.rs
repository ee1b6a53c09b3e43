//! TLS over a socket that holds no buffer while nothing moves.
//!
//! rustls's ordinary connections keep a read buffer of 4 KiB each for as long as they live, and read by 4 KiB at a time. Its unbuffered ones
//! leave both to the caller: here bytes are read into a buffer of the thread, 32 KiB at once, decrypted, handed on, and what is
//! left of an unfinished record is all that a stream keeps. Written bytes are encrypted into another buffer of the thread and go to
//! the socket at once; only what the socket does not take is kept, and nothing more is accepted until it has gone.

mod session;

use std::{
    cell::RefCell,
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, ready},
};

use rustls::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

use session::{Action, Session, Step};

/// TLS bytes read at once.
const READ_BYTES: usize = 32 * 1024;
/// Plaintext accepted at once.
const WRITE_BYTES: usize = 32 * 1024;
/// Nothing more is read of a peer that makes the session answer and does not take the answers.
const MAX_KEPT_BYTES: usize = 64 * 1024;
/// What a handshake may leave unprocessed: a message that is longer is nobody's certificate chain.
const MAX_HANDSHAKE_BYTES: usize = 64 * 1024;

thread_local! {
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static WRITE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A TLS stream after its handshake.
pub(crate) struct QuietTls<C> {
    socket: TcpStream,
    session: C,
    /// The beginning of a record whose end has not come.
    incoming: Vec<u8>,
    /// Plaintext that a reader had no room for; `given` bytes of it were read.
    plain: Vec<u8>,
    given: usize,
    /// TLS bytes that the socket did not take; `sent` bytes of it were sent.
    outgoing: Vec<u8>,
    sent: usize,
    peer_closed: bool,
    closing: bool,
}

impl<C: Session> QuietTls<C> {
    /// Does the handshake. The caller limits its time.
    pub(crate) async fn handshake(mut socket: TcpStream, mut session: C) -> io::Result<Self> {
        let (mut incoming, mut plain, mut outgoing) = (Vec::new(), Vec::new(), Vec::new());
        let mut peer_closed = false;
        loop {
            let (done, advanced) = session.advance(
                &mut incoming,
                &mut Step {
                    sink: &mut |bytes| plain.extend_from_slice(bytes),
                    outgoing: &mut outgoing,
                    action: Action::Nothing,
                    peer_closed: &mut peer_closed,
                },
            );
            incoming.drain(..done);
            let sent = socket.write_all(&outgoing).await;
            outgoing.clear();
            advanced.map_err(broken)?;
            sent?;
            if !session.handshaking() {
                break;
            }
            if peer_closed || incoming.len() > MAX_HANDSHAKE_BYTES {
                return Err(ErrorKind::InvalidData.into());
            }
            incoming.reserve(4096);
            if socket.read_buf(&mut incoming).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        incoming.shrink_to_fit();
        Ok(Self {
            socket,
            session,
            incoming,
            plain,
            given: 0,
            outgoing: Vec::new(),
            sent: 0,
            peer_closed,
            closing: false,
        })
    }

    /// Reads the socket once and decrypts what is whole: first into `room`, then into `plain`.
    fn poll_receive(&mut self, cx: &mut Context<'_>, room: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut bytes = READ.take();
        let kept = self.incoming.len();
        bytes.resize(kept + READ_BYTES, 0);
        let mut read = ReadBuf::new(&mut bytes[kept..]);
        let polled = Pin::new(&mut self.socket).poll_read(cx, &mut read);
        let count = read.filled().len();
        let received = match polled {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // An end without a word may be an attacker's: it is told apart from a proper one.
            Poll::Ready(Ok(())) if count == 0 => Poll::Ready(Err(ErrorKind::UnexpectedEof.into())),
            Poll::Ready(Ok(())) => {
                bytes[..kept].copy_from_slice(&self.incoming);
                Poll::Ready(self.decrypt(&mut bytes[..kept + count], room))
            }
        };
        READ.set(bytes);
        received
    }

    fn decrypt(&mut self, bytes: &mut [u8], room: &mut ReadBuf<'_>) -> io::Result<()> {
        let plain = &mut self.plain;
        let (done, advanced) = self.session.advance(
            bytes,
            &mut Step {
                sink: &mut |payload| {
                    let fits = if plain.is_empty() { room.remaining().min(payload.len()) } else { 0 };
                    room.put_slice(&payload[..fits]);
                    plain.extend_from_slice(&payload[fits..]);
                },
                outgoing: &mut self.outgoing,
                action: Action::Nothing,
                peer_closed: &mut self.peer_closed,
            },
        );
        // Made anew, to be as short as what it holds.
        self.incoming = bytes[done..].to_vec();
        advanced.map_err(broken)
    }

    /// Has the session encrypt or close, and sends what comes of it as far as the socket takes it.
    fn act(&mut self, cx: &mut Context<'_>, action: Action<'_>) -> io::Result<()> {
        let mut sealed = WRITE.take();
        sealed.clear();
        let plain = &mut self.plain;
        let mut step = Step {
            sink: &mut |payload| plain.extend_from_slice(payload),
            outgoing: &mut sealed,
            action,
            peer_closed: &mut self.peer_closed,
        };
        let (done, advanced) = self.session.advance(&mut self.incoming, &mut step);
        let undone = !matches!(step.action, Action::Nothing);
        self.incoming.drain(..done);
        let mut sent = 0;
        let mut result = advanced.map_err(broken);
        if result.is_ok() && undone {
            result = Err(ErrorKind::BrokenPipe.into());
        }
        while result.is_ok() && sent < sealed.len() {
            match Pin::new(&mut self.socket).poll_write(cx, &sealed[sent..]) {
                Poll::Ready(Ok(0)) => result = Err(ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => sent += count,
                Poll::Ready(Err(error)) => result = Err(error),
                Poll::Pending => {
                    self.outgoing = sealed[sent..].to_vec();
                    break;
                }
            }
        }
        WRITE.set(sealed);
        result
    }

    /// Sends what was kept, and gives its memory back.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.outgoing.len() {
            let count = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.outgoing[self.sent..]))?;
            if count == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        if !self.outgoing.is_empty() {
            (self.outgoing, self.sent) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

fn broken(error: Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

impl<C: Session> AsyncRead for QuietTls<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        loop {
            if this.given < this.plain.len() {
                let rest = &this.plain[this.given..];
                let fits = rest.len().min(buf.remaining());
                buf.put_slice(&rest[..fits]);
                this.given += fits;
            }
            if this.given == this.plain.len() && this.given > 0 {
                (this.plain, this.given) = (Vec::new(), 0);
            }
            if buf.filled().len() > before || this.peer_closed || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if this.outgoing.len() > MAX_KEPT_BYTES {
                ready!(this.poll_send(cx))?;
            }
            ready!(this.poll_receive(cx, buf))?;
            // An answer of the session's own, such as to a key update; if the socket is full it goes with the next write.
            if let Poll::Ready(sent) = this.poll_send(cx) {
                sent?;
            }
        }
    }
}

impl<C: Session> AsyncWrite for QuietTls<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.closing {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        ready!(this.poll_send(cx))?;
        let taken = &data[..data.len().min(WRITE_BYTES)];
        this.act(cx, Action::Encrypt(taken))?;
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        if !this.closing {
            this.closing = true;
            this.act(cx, Action::CloseNotify)?;
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
