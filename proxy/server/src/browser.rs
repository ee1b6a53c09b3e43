//! The browser's side of a connection, until it is a stream: reading the head, noticing that it left, refusing.

use std::time::Duration;

use http::Request;
use meridian_proxy_core::{Head, Refusal, parse_request};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

const PIECE_BYTES: usize = 1024;
/// What a browser may send before it has its answer; the rest waits in its socket.
const MAX_EARLY_BYTES: usize = 16 * 1024;
/// How long a refused browser may take to read why, and what it may still send meanwhile.
const FAREWELL_WAIT: Duration = Duration::from_secs(2);
const MAX_FAREWELL_BYTES: usize = 256 * 1024;

/// Why there is no stream.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The browser is gone, or never said anything.
    Left,
    /// Somebody only asked whether streams would be taken here.
    Probed {
        ready: bool,
    },
    /// A page measures how far it is to here.
    Measured,
    Refused(Refusal),
}

impl From<Refusal> for Ended {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Where a balancer in front asks whether this proxy takes streams: on the address that streams come to, so that the answer is of
/// the process that would serve them, and not of a kernel that accepts for one that is frozen.
pub(crate) const PROBE_PATH: &str = "/readyz";

/// Last part of the path, below the zone's own, at which a page measures the distance: anybody's page, since nothing is said.
pub(crate) const DISTANCE_PATH: &str = "/probe";
/// How often a page may measure on one connection.
pub(crate) const MAX_ROUNDS: usize = 16;
/// The answer to a measurement: the same for everybody, at once, and with the connection kept for the next round.
pub(crate) const DISTANCE_ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: *\r\n\
    Timing-Allow-Origin: *\r\nCache-Control: no-store\r\n\r\n";

/// The answer to a probe.
pub(crate) fn probe_answer(ready: bool) -> &'static [u8] {
    if ready {
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\nCache-Control: no-store\r\n\
          Connection: close\r\n\r\n{\"ready\":true}"
    } else {
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 15\r\nCache-Control: no-store\r\n\
          Connection: close\r\n\r\n{\"ready\":false}"
    }
}

/// Reads the request's head within its bounds. The bytes after it belong to the stream.
pub(crate) async fn read_head<S: AsyncRead + Unpin>(
    io: &mut S,
    max_bytes: usize,
    deadline: Instant,
) -> Result<(Request<()>, Vec<u8>), Ended> {
    let mut bytes = Vec::with_capacity(PIECE_BYTES);
    loop {
        let read = timeout_at(deadline, io.read_buf(&mut bytes)).await;
        match read {
            Ok(Ok(0) | Err(_)) => return Err(Ended::Left),
            Ok(Ok(_)) => {}
            // Browsers open connections in advance and let them lie.
            Err(_) if bytes.is_empty() => return Err(Ended::Left),
            Err(_) => return Err(Refusal::HeadTooSlow.into()),
        }
        if let Some(Head { message, length }) = parse_request(&bytes)? {
            if length > max_bytes {
                return Err(Refusal::HeadTooLong.into());
            }
            return Ok((message, bytes.split_off(length)));
        }
        if bytes.len() >= max_bytes {
            return Err(Refusal::HeadTooLong.into());
        }
    }
}

/// Returns when the browser has gone. What it sends meanwhile is kept, within its bound.
pub(crate) async fn gone<S: AsyncRead + Unpin>(io: &mut S, early: &mut Vec<u8>) {
    while early.len() < MAX_EARLY_BYTES {
        if io.read_buf(early).await.unwrap_or(0) == 0 {
            return;
        }
    }
    std::future::pending().await
}

/// Answers and closes, so that the answer arrives: a socket that is closed with unread bytes is reset, and the answer lost.
pub(crate) async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S, answer: &[u8]) {
    let farewell = async {
        io.write_all(answer).await?;
        io.shutdown().await?;
        let mut rest = Vec::with_capacity(PIECE_BYTES);
        let mut heard = 0;
        while heard < MAX_FAREWELL_BYTES {
            rest.clear();
            match io.read_buf(&mut rest).await? {
                0 => break,
                count => heard += count,
            }
        }
        std::io::Result::Ok(())
    };
    // Whoever has gone already, or does not read, has no answer.
    let _ = timeout(FAREWELL_WAIT, farewell).await;
}
