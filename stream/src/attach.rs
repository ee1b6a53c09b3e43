//! Proving that an attach comes from the page that the ticket was made for.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use meridian_ids::StreamId;

/// What a viewer says to attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attach {
    /// Starts at 1 and rises with every attach of the stream.
    pub number: u64,
    /// How many bytes of the agent's counted stream the viewer has.
    pub received: u64,
    pub key: Option<ViewerKey>,
}

/// The viewer's public key and its signature over [`attach_text`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewerKey {
    /// Uncompressed P-256 point.
    pub point: [u8; 65],
    /// `r || s`.
    pub signature: [u8; 64],
}

/// The bytes that are signed.
#[must_use]
pub fn attach_text(nonce: &[u8; 32], stream: StreamId, number: u64, received: u64) -> Vec<u8> {
    let mut text = b"meridian.v1 attach\0".to_vec();
    text.extend_from_slice(nonce);
    text.extend_from_slice(stream.0.as_bytes());
    text.extend_from_slice(&number.to_be_bytes());
    text.extend_from_slice(&received.to_be_bytes());
    text
}

impl Attach {
    /// Whether key and signature are those that a grant with the thumbprint `jkt` asks for. Without one there must be no key.
    pub(crate) fn fits(&self, nonce: &[u8; 32], stream: StreamId, jkt: Option<&str>) -> bool {
        let (Some(jkt), Some(key)) = (jkt, &self.key) else {
            return jkt.is_none() && self.key.is_none();
        };
        let text = attach_text(nonce, stream, self.number, self.received);
        meridian_ticket::p256_thumbprint(&key.point).as_deref() == Some(jkt)
            && UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point)
                .verify(&text, &key.signature)
                .is_ok()
    }
}
