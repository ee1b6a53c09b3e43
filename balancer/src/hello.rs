//! What a connection opens with: a TLS ClientHello and the server name in it, or something else. Pure: bytes in, answer out.
//!
//! Nothing is decrypted or answered; the bytes go on to the backend as they came. The parser is rustls's own.

use rustls::server::Acceptor;

/// A ClientHello is rarely over 2 KiB; post-quantum key shares and long ticket extensions stay well below this.
pub const MAX_HELLO_BYTES: usize = 16 * 1024;
/// First byte of a TLS handshake record (RFC 8446 §5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// How a connection opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// TLS, with the server name when the client sent one (lower case).
    Tls(Option<String>),
    /// Anything that is not TLS.
    Plain,
}

/// The bytes are not the beginning of a usable ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    #[error("the connection began like TLS, but its ClientHello cannot be read")]
    Malformed,
    #[error("the ClientHello is longer than {MAX_HELLO_BYTES} bytes")]
    TooLong,
}

/// Reads an opening piece by piece, and keeps its bytes to be sent on.
#[derive(Default)]
pub struct OpeningReader {
    seen: Vec<u8>,
    acceptor: Acceptor,
}

impl OpeningReader {
    /// Takes the next bytes; `None` when more are needed.
    ///
    /// # Errors
    /// As [`HelloError`] says; the reader is of no further use then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Option<Opening>, HelloError> {
        self.seen.extend_from_slice(bytes);
        match self.seen.first() {
            None => return Ok(None),
            Some(&HANDSHAKE_RECORD) => {}
            Some(_) => return Ok(Some(Opening::Plain)),
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            self.acceptor.read_tls(&mut rest).map_err(|_| HelloError::Malformed)?;
            if let Some(accepted) = self.acceptor.accept().map_err(|_| HelloError::Malformed)? {
                let name = accepted.client_hello().server_name().map(str::to_ascii_lowercase);
                return Ok(Some(Opening::Tls(name)));
            }
        }
        if self.seen.len() >= MAX_HELLO_BYTES { Err(HelloError::TooLong) } else { Ok(None) }
    }

    /// All that was read, for the backend.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    fn hello(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = name.to_owned().try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_server_name_is_read_however_the_hello_is_cut() {
        let hello = hello("Web.Meridian");
        for size in [1, 7, hello.len()] {
            let mut reader = OpeningReader::default();
            let mut openings = hello.chunks(size).map(|piece| reader.push(piece).unwrap());
            let opening = openings.find_map(|opening| opening).unwrap();
            assert_eq!(opening, Opening::Tls(Some("web.meridian".into())));
            assert_eq!(reader.into_bytes(), hello);
        }
    }

    #[test]
    fn an_address_is_no_server_name_and_other_protocols_are_plain() {
        assert_eq!(OpeningReader::default().push(&hello("127.0.0.1")), Ok(Some(Opening::Tls(None))));
        assert_eq!(OpeningReader::default().push(b"GET / HTTP/1.1\r\n"), Ok(Some(Opening::Plain)));
        assert_eq!(OpeningReader::default().push(b""), Ok(None));
    }

    #[test]
    fn rubbish_and_endless_hellos_are_refused() {
        assert_eq!(OpeningReader::default().push(&[0x16; 100]), Err(HelloError::Malformed));
        let mut endless = vec![0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff, 3, 3];
        endless.resize(MAX_HELLO_BYTES, 0);
        assert!(OpeningReader::default().push(&endless).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            let mut reader = OpeningReader::default();
            let tls = [&[0x16_u8, 3, 1][..], &bytes].concat();
            let _ = reader.push(&tls);
            let _ = OpeningReader::default().push(&bytes);
        }
    }
}
