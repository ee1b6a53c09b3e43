//! Copies bytes both ways between two streams, for everything that relays: balancer, proxy, front.
//!
//! A stream that moves nothing holds no buffer: bytes are read into a buffer of the thread and written at once; only what the
//! receiver does not take yet is kept, and no more is read from that side until it has gone. A side that ends is passed on as a
//! half-close; what is left of the other way may go on until it has been silent for a limit. Ordinary disconnects are no errors.

mod copying;

use std::{
    future::poll_fn,
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, Sleep},
};

pub use copying::{Copied, Copying};

/// Which way bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    FirstToSecond,
    SecondToFirst,
}

/// The bounds of one relayed stream.
#[derive(Clone, Copy, Debug)]
pub struct RelayLimits {
    /// Bytes read at once, and kept at most for a slow receiver.
    pub buffer_bytes: usize,
    /// How long one way may be silent after the other has ended.
    pub half_close_wait: Duration,
}

/// How a relayed stream came to its end.
#[derive(Debug)]
pub enum RelayEnd {
    /// Both sides ended what they had to say.
    Closed,
    /// A side went away, as browsers and networks do.
    Disconnected,
    /// One side ended and the other stayed silent for the limit.
    HalfCloseExpired,
    /// Something else: worth a line in the log.
    Failed(io::Error),
}

/// Relays until both ways have ended. `on_moved` hears of every piece that was handed on.
pub async fn relay<A, B>(
    first: A,
    second: B,
    limits: RelayLimits,
    mut on_moved: impl FnMut(Way, usize),
) -> RelayEnd
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut first, mut second) = (first, second);
    let (mut forth, mut back) = (Copying::default(), Copying::default());
    let bytes = limits.buffer_bytes;
    relay_ways(limits, move |cx, moved| {
        let one = forth.poll(cx, &mut first, &mut second, bytes, None, &mut |count| {
            *moved += count;
            on_moved(Way::FirstToSecond, count);
        });
        let two = back.poll(cx, &mut second, &mut first, bytes, None, &mut |count| {
            *moved += count;
            on_moved(Way::SecondToFirst, count);
        });
        (one.map_ok(drop), two.map_ok(drop))
    })
    .await
}

/// Relays by two ways of the caller's, until both have ended. `poll` is to poll both and to add up the bytes that they handed on.
pub async fn relay_ways(
    limits: RelayLimits,
    mut poll: impl FnMut(&mut Context<'_>, &mut usize) -> (Poll<io::Result<()>>, Poll<io::Result<()>>),
) -> RelayEnd {
    // Made only when one way has ended: an open stream has no timer.
    let mut expiry: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        let mut moved = 0;
        match poll(cx, &mut moved) {
            (Poll::Ready(Err(error)), _) | (_, Poll::Ready(Err(error))) => Poll::Ready(end_of(error)),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(RelayEnd::Closed),
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            (Poll::Ready(Ok(())), Poll::Pending) | (Poll::Pending, Poll::Ready(Ok(()))) => {
                let deadline = Instant::now() + limits.half_close_wait;
                let sleep = expiry.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
                if moved > 0 {
                    sleep.as_mut().reset(deadline);
                }
                sleep.as_mut().poll(cx).map(|()| RelayEnd::HalfCloseExpired)
            }
        }
    })
    .await
}

fn end_of(error: io::Error) -> RelayEnd {
    if is_disconnect(&error) { RelayEnd::Disconnected } else { RelayEnd::Failed(error) }
}

/// Whether an error only says that the other side, or the network, is gone.
#[must_use]
pub fn is_disconnect(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::UnexpectedEof
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}

/// Makes a socket quick for small pieces, and lets the kernel notice within about a minute that its other end has vanished.
///
/// # Errors
/// When the socket is gone already.
pub fn tune(socket: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, Duration::from_secs(30))?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(socket, 3)?;
    sockopt::set_tcp_user_timeout(socket, 60_000)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const LIMITS: RelayLimits = RelayLimits { buffer_bytes: 1000, half_close_wait: Duration::from_secs(5) };

    #[tokio::test]
    async fn every_byte_arrives_in_order_through_a_slow_receiver() {
        let (mut client, near) = duplex(64);
        let (far, mut server) = duplex(7);
        let sent: Vec<u8> = (0..50_000_u32).map(|number| number as u8).collect();
        let expected = sent.clone();
        let writing = async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer
        };
        let reading = async move {
            let mut received = Vec::new();
            server.read_to_end(&mut received).await.unwrap();
            server.write_all(b"after your end").await.unwrap();
            received
        };
        let mut counted = 0;
        let relaying = relay(near, far, LIMITS, |_, count| counted += count);
        let (answer, received, end) = tokio::join!(writing, reading, relaying);
        assert!(matches!(end, RelayEnd::Closed), "{end:?}");
        assert_eq!((answer.as_slice(), received), (&b"after your end"[..], expected));
        assert_eq!(counted, 50_014);
    }

    #[tokio::test]
    async fn a_half_closed_stream_that_stays_silent_ends() {
        let (mut client, near) = duplex(64);
        let (far, _server) = duplex(64);
        client.shutdown().await.unwrap();
        let limits = RelayLimits { half_close_wait: Duration::from_millis(20), ..LIMITS };
        let end = relay(near, far, limits, |_, _| {}).await;
        assert!(matches!(end, RelayEnd::HalfCloseExpired), "{end:?}");
    }

    #[tokio::test]
    async fn a_vanished_side_is_an_ordinary_end() {
        let (client, near) = duplex(64);
        let (far, mut server) = duplex(64);
        drop(client);
        let telling = async move { server.write_all(&[0; 100]).await };
        let (end, _) = tokio::join!(relay(near, far, LIMITS, |_, _| {}), telling);
        assert!(matches!(end, RelayEnd::Disconnected), "{end:?}");
    }
}
