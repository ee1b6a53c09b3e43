//! Who a connection is from, as a PROXY header (version 2) says it: read from trusted balancers in front, written for backends.
//!
//! The core is pure: bytes in, answer out. Only the binary version is spoken; its length is told before its content, so the reader asks
//! for exactly what it needs and never takes a byte of what follows. [`read_origin`] brings it the bytes of a socket. Parsing and writing
//! are `proxy-header`'s; the bounds are ours. Whose header counts is for the caller to know, and one that counts must be there: guessing
//! whether a header comes would let clients forge one (PROXY protocol, section 5).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use proxy_header::{ParseConfig, Protocol, ProxiedAddress, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How a header of version 2 begins (PROXY protocol 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and protocol, length (PROXY protocol 2.2).
const FIXED_BYTES: usize = 16;
/// A header is 28 or 52 bytes; what balancers of cloud providers and TLS add to it stays well below this.
pub const MAX_HEADER_BYTES: usize = FIXED_BYTES + 2048;
/// How version 1 begins, which is not spoken, but forged as well.
const TEXT_PREFIX: &[u8] = b"PROXY ";

/// The two ends of a connection as the client sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub client: SocketAddr,
    pub server: SocketAddr,
}

/// The bytes are no PROXY header of version 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("the connection does not begin with a PROXY header of version 2")]
    Absent,
    #[error("the PROXY header cannot be read")]
    Malformed,
    #[error("the PROXY header is longer than {MAX_HEADER_BYTES} bytes")]
    TooLong,
}

/// Why a connection that must begin with a header is not believed.
#[derive(Debug, thiserror::Error)]
pub enum OriginError {
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("the connection ended within its PROXY header")]
    Truncated,
    #[error("the PROXY header could not be read")]
    Read(#[source] std::io::Error),
}

/// Reads the header that a trusted balancer begins a connection with, and no byte more. `None` when the sender speaks for itself, as its
/// health checks do. The caller limits the time.
///
/// # Errors
/// As [`OriginError`] says: the connection is of no further use then.
pub async fn read_origin<S: AsyncRead + Unpin>(socket: &mut S) -> Result<Option<Origin>, OriginError> {
    let mut reader = HeaderReader::default();
    let mut piece = Vec::new();
    loop {
        piece.clear();
        let mut wanted = (&mut *socket).take(reader.wants() as u64);
        if wanted.read_buf(&mut piece).await.map_err(OriginError::Read)? == 0 {
            return Err(OriginError::Truncated);
        }
        if let Some(told) = reader.push(&piece)? {
            return Ok(told);
        }
    }
}

/// The header of a balancer that speaks for itself, as before its own checks.
///
/// # Errors
/// Never; the library's writer could fail.
pub fn own_header() -> Result<Vec<u8>, HeaderError> {
    let mut header = Vec::new();
    ProxyHeader::with_local().encode_v2(&mut header).map_err(|_| HeaderError::Malformed)?;
    Ok(header)
}

/// Reads one header; [`HeaderReader::wants`] says how many bytes to bring next.
#[derive(Debug, Default)]
pub struct HeaderReader {
    seen: Vec<u8>,
}

impl HeaderReader {
    /// How many bytes are needed at least, all of which belong to the header; 0 when it is complete.
    #[must_use]
    pub fn wants(&self) -> usize {
        match self.told_length() {
            None => FIXED_BYTES - self.seen.len(),
            Some(told) => (FIXED_BYTES + told).saturating_sub(self.seen.len()),
        }
    }

    /// Takes the next bytes, at most as many as were wanted. An answer of `Some(None)` is a header without addresses: the
    /// sender speaks for itself, as its health checks do.
    ///
    /// # Errors
    /// As [`HeaderError`] says; the reader is of no further use then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Option<Origin>>, HeaderError> {
        debug_assert!(bytes.len() <= self.wants(), "what follows a header is not the header's");
        self.seen.extend_from_slice(bytes);
        let known = self.seen.len().min(SIGNATURE.len());
        if self.seen[..known] != SIGNATURE[..known] {
            return Err(HeaderError::Absent);
        }
        if self.told_length().is_some_and(|told| FIXED_BYTES + told > MAX_HEADER_BYTES) {
            return Err(HeaderError::TooLong);
        }
        if self.wants() > 0 { Ok(None) } else { parse(&self.seen).map(Some) }
    }

    fn told_length(&self) -> Option<usize> {
        let length = self.seen.get(FIXED_BYTES - 2..FIXED_BYTES)?;
        Some(usize::from(u16::from_be_bytes([length[0], length[1]])))
    }
}

fn parse(bytes: &[u8]) -> Result<Option<Origin>, HeaderError> {
    let config = ParseConfig { allow_v1: false, ..ParseConfig::default() };
    let (header, _) = ProxyHeader::parse(bytes, config).map_err(|_| HeaderError::Malformed)?;
    match header.proxied_address() {
        None => Ok(None),
        Some(ProxiedAddress { protocol: Protocol::Stream, source, destination }) => {
            Ok(Some(Origin { client: *source, server: *destination }))
        }
        Some(ProxiedAddress { protocol: Protocol::Datagram, .. }) => Err(HeaderError::Malformed),
    }
}

/// The header that tells a backend where a connection is from.
///
/// # Errors
/// Never for two addresses; the library's writer could fail.
pub fn header_of(origin: Origin) -> Result<Vec<u8>, HeaderError> {
    let (source, destination) = match (canonical(origin.client), canonical(origin.server)) {
        // A header has one family: the other one is written as its mapped address.
        (client @ SocketAddr::V4(_), server @ SocketAddr::V6(_))
        | (client @ SocketAddr::V6(_), server @ SocketAddr::V4(_)) => (mapped(client), mapped(server)),
        alike => alike,
    };
    let told = ProxiedAddress { protocol: Protocol::Stream, source, destination };
    let mut header = Vec::new();
    ProxyHeader::with_address(told).encode_v2(&mut header).map_err(|_| HeaderError::Malformed)?;
    Ok(header)
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn mapped(address: SocketAddr) -> SocketAddr {
    let ip: Ipv6Addr = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddr::from((ip, address.port()))
}

/// Watches what a client sends first, so that no PROXY header of its own making reaches a backend that would believe it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Guard {
    seen: [u8; SIGNATURE.len()],
    length: usize,
    innocent: bool,
}

impl Guard {
    /// One that lets everything pass.
    #[must_use]
    pub fn off() -> Self {
        Self { innocent: true, ..Self::default() }
    }

    /// Whether nothing that may come will be stopped any more.
    #[must_use]
    pub fn is_satisfied(&self) -> bool {
        self.innocent
    }

    /// False when these bytes, after the earlier ones, complete the beginning of a PROXY header of either version: they must
    /// not be passed on.
    #[must_use]
    pub fn passes(&mut self, bytes: &[u8]) -> bool {
        if self.innocent {
            return true;
        }
        let count = bytes.len().min(self.seen.len() - self.length);
        self.seen[self.length..self.length + count].copy_from_slice(&bytes[..count]);
        self.length += count;
        let seen = &self.seen[..self.length];
        if seen == SIGNATURE || seen.starts_with(TEXT_PREFIX) {
            return false;
        }
        self.innocent = !SIGNATURE.starts_with(seen) && !TEXT_PREFIX.starts_with(seen);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], piece: usize) -> (Result<Option<Option<Origin>>, HeaderError>, usize) {
        let (mut reader, mut used) = (HeaderReader::default(), 0);
        while used < bytes.len() {
            let count = reader.wants().min(piece).min(bytes.len() - used);
            let answer = reader.push(&bytes[used..used + count]);
            used += count;
            if !matches!(answer, Ok(None)) {
                return (answer, used);
            }
        }
        (Ok(None), used)
    }

    fn origin(client: &str, server: &str) -> Origin {
        Origin { client: client.parse().unwrap(), server: server.parse().unwrap() }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_after_it_is_taken() {
        for told in [origin("192.0.2.7:1234", "10.0.0.1:443"), origin("[2001:db8::7]:1", "[2001:db8::1]:443")]
        {
            let header = header_of(told).unwrap();
            let stream = [header.as_slice(), b"hello"].concat();
            for piece in [1, 5, 100] {
                assert_eq!(read(&stream, piece), (Ok(Some(Some(told))), header.len()));
            }
        }
    }

    #[test]
    fn families_that_differ_become_one() {
        let header = header_of(origin("192.0.2.7:1", "[2001:db8::1]:2")).unwrap();
        assert_eq!(read(&header, 99).0, Ok(Some(Some(origin("[::ffff:192.0.2.7]:1", "[2001:db8::1]:2")))));
        let header = header_of(origin("[::ffff:192.0.2.7]:1", "10.0.0.1:2")).unwrap();
        assert_eq!(read(&header, 99).0, Ok(Some(Some(origin("192.0.2.7:1", "10.0.0.1:2")))));
    }

    #[test]
    fn a_sender_may_speak_for_itself() {
        let local = [&SIGNATURE[..], &[0x20, 0, 0, 0][..]].concat();
        assert_eq!(read(&local, 99).0, Ok(Some(None)));
        let own = own_header().unwrap();
        assert_eq!(read(&own, 99), (Ok(Some(None)), own.len()));
    }

    #[tokio::test]
    async fn a_socket_is_read_up_to_the_headers_end_and_a_cut_one_is_refused() {
        let told = origin("192.0.2.7:1234", "10.0.0.1:443");
        let header = header_of(told).unwrap();
        let stream = [header.as_slice(), b"hello"].concat();
        let mut rest = stream.as_slice();
        assert_eq!(read_origin(&mut rest).await.unwrap(), Some(told));
        assert_eq!(rest, b"hello");
        for length in 0..header.len() {
            let cut = read_origin(&mut &header[..length]).await;
            assert!(matches!(cut, Err(OriginError::Truncated)), "{length}: {cut:?}");
        }
        let text = read_origin(&mut &b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"[..]).await;
        assert!(matches!(text, Err(OriginError::Header(HeaderError::Absent))), "{text:?}");
    }

    #[test]
    fn other_openings_are_refused_at_their_first_byte() {
        for bytes in [&b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"[..], b"GET /", &[0x16, 3, 1]] {
            assert_eq!(read(bytes, 1), (Err(HeaderError::Absent), 1));
        }
    }

    #[test]
    fn endless_and_senseless_headers_are_refused() {
        let endless = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff][..]].concat();
        assert_eq!(read(&endless, 99), (Err(HeaderError::TooLong), FIXED_BYTES));
        let short = [&SIGNATURE[..], &[0x21, 0x11, 0, 4, 1, 2, 3, 4][..]].concat();
        assert_eq!(read(&short, 99).0, Err(HeaderError::Malformed));
        let version_one = [&SIGNATURE[..], &[0x11, 0x11, 0, 0][..]].concat();
        assert_eq!(read(&version_one, 99).0, Err(HeaderError::Malformed));
        let mut datagram = header_of(origin("192.0.2.7:1", "10.0.0.1:2")).unwrap();
        datagram[13] = 0x12;
        assert_eq!(read(&datagram, 99).0, Err(HeaderError::Malformed));
    }

    fn forged(bytes: &[u8], piece: usize) -> bool {
        let mut guard = Guard::default();
        bytes.chunks(piece).any(|piece| !guard.passes(piece))
    }

    #[test]
    fn a_header_of_a_clients_own_does_not_pass_however_it_is_cut() {
        let header = header_of(origin("192.0.2.7:1", "10.0.0.1:2")).unwrap();
        for piece in [1, 2, 5, 7, 100] {
            assert!(
                forged(&header, piece) && forged(b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", piece),
                "{piece}"
            );
            assert!(
                !forged(b"PROXIES are fine, later PROXY too", piece)
                    && !forged(b"\r\n\r\nhello, hello, hello", piece)
            );
        }
    }

    proptest! {
        #[test]
        fn any_origin_survives(client in any::<SocketAddr>(), server in any::<SocketAddr>()) {
            let header = header_of(Origin { client, server }).unwrap();
            let (answer, used) = read(&header, 99);
            let told = answer.unwrap().unwrap().unwrap();
            prop_assert_eq!(used, header.len());
            prop_assert_eq!(told.client.ip().to_canonical(), client.ip().to_canonical());
            prop_assert_eq!((told.client.port(), told.server.port()), (client.port(), server.port()));
        }

        #[test]
        fn no_bytes_upset_the_reader_and_pieces_are_judged_like_the_whole(
            tail in prop::collection::vec(any::<u8>(), 0..300),
            signed in any::<bool>(),
            piece in 1_usize..40,
        ) {
            let bytes = if signed { [&SIGNATURE[..], &tail[..]].concat() } else { tail };
            let ((whole, used), (pieces, _)) = (read(&bytes, usize::MAX), read(&bytes, piece));
            prop_assert_eq!(whole, pieces);
            prop_assert!(used <= MAX_HEADER_BYTES);
        }
    }
}
