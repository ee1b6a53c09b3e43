//! Messages of PostgreSQL's protocol 3, kept as the bytes they came in.
//!
//! The client's first message has no type, only a length and a code; it may ask for encryption before. All others are a type, a
//! length that counts itself, and a body.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Far above what tests send; a longer one is a framing error.
const LONGEST: usize = 64 * 1024 * 1024;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    /// With its type and length.
    pub(super) bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Asks for TLS or GSSAPI; answered by one byte.
    AsksEncryption,
    Cancel,
    Startup,
    /// Any other, by its type.
    Typed(u8),
}

impl Message {
    /// The body, without type and length.
    pub(super) fn body(&self) -> &[u8] {
        let start = match self.kind {
            Kind::Typed(_) => 5,
            Kind::AsksEncryption | Kind::Cancel | Kind::Startup => 4,
        };
        self.bytes.get(start..).unwrap_or_default()
    }
}

/// Takes messages out of what was read.
#[derive(Debug)]
pub(super) struct Framer {
    buffer: BytesMut,
    /// Only a client begins with messages that have no type.
    untyped: bool,
}

impl Framer {
    pub(super) fn of_client() -> Self {
        Self { buffer: BytesMut::new(), untyped: true }
    }

    pub(super) fn of_server() -> Self {
        Self { buffer: BytesMut::new(), untyped: false }
    }

    /// The next message; none at the end. May be dropped while waiting: nothing read is lost.
    pub(super) async fn next(&mut self, from: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Message>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            if from.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<Message>> {
        let type_length = usize::from(!self.untyped);
        let Some(mut rest) = self.buffer.get(type_length..).filter(|rest| rest.len() >= 4) else {
            return Ok(None);
        };
        let length = rest.get_u32() as usize;
        if !(4..=LONGEST).contains(&length) || (self.untyped && length < 8) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
        }
        if self.buffer.len() < type_length + length {
            return Ok(None);
        }
        let bytes = self.buffer.split_to(type_length + length).freeze();
        let kind = if self.untyped { untyped_kind(&bytes) } else { Kind::Typed(bytes[0]) };
        self.untyped = self.untyped && kind == Kind::AsksEncryption;
        Ok(Some(Message { kind, bytes }))
    }
}

fn untyped_kind(bytes: &[u8]) -> Kind {
    match bytes.get(4..8).map(|mut code| code.get_u32()) {
        Some(SSL_REQUEST | GSS_REQUEST) => Kind::AsksEncryption,
        Some(CANCEL_REQUEST) => Kind::Cancel,
        _ => Kind::Startup,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn untyped(code: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
        bytes.extend(code.to_be_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let mut stream = untyped(SSL_REQUEST, b"");
        stream.extend(untyped(196_608, b"user\0meridian\0\0"));
        stream.extend(typed(b'Q', b"SELECT 'Z'\0"));
        stream.extend(typed(b'S', b""));
        for step in 1..=stream.len() {
            let mut framer = Framer::of_client();
            let mut kinds = Vec::new();
            for piece in stream.chunks(step) {
                framer.buffer.extend_from_slice(piece);
                while let Some(message) = framer.take().unwrap() {
                    kinds.push(message.kind);
                }
            }
            let expected = [Kind::AsksEncryption, Kind::Startup, Kind::Typed(b'Q'), Kind::Typed(b'S')];
            assert_eq!(kinds, expected, "in steps of {step}");
        }
    }

    #[test]
    fn a_length_out_of_bounds_is_an_error() {
        for length in [0_u32, 3, u32::MAX] {
            let mut framer = Framer::of_server();
            framer.buffer.extend_from_slice(b"Z");
            framer.buffer.extend_from_slice(&length.to_be_bytes());
            assert!(framer.take().is_err(), "{length}");
        }
    }
}
