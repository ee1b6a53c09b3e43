//! Proving that an attach comes from the page that the ticket was made for.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use meridian_ids::StreamId;

use crate::{Code, Frame};

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

/// What one path begins with: a nonce that is used once, for a stream whose grant names a key, or none.
#[derive(Clone, Debug)]
pub struct Challenge {
    nonce: [u8; 32],
    stream: StreamId,
    jkt: Option<String>,
}

/// Why an attach is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    #[error("the first message was not an attach")]
    NotAttach,
    #[error("attach numbers start at 1")]
    Number,
    #[error("key or signature does not fit the grant")]
    Key,
    #[error("a later attach took the stream")]
    Superseded,
}

impl AttachError {
    /// The code of the REFUSED frame.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::NotAttach | Self::Number => Code::Protocol,
            Self::Key => Code::Key,
            Self::Superseded => Code::Superseded,
        }
    }
}

impl Challenge {
    #[must_use]
    pub fn new(nonce: [u8; 32], stream: StreamId, jkt: Option<String>) -> Self {
        Self { nonce, stream, jkt }
    }

    /// The agent's first frame.
    #[must_use]
    pub fn frame(&self) -> Frame {
        Frame::Challenge { nonce: self.nonce, stream: self.stream }
    }

    /// Judges the viewer's first frame: whether it is an attach of the key's owner. What becomes of it, the stream says
    /// ([`AgentStream::attach`](crate::AgentStream::attach)), because only the key's owner may learn which numbers were used.
    ///
    /// # Errors
    /// As [`AttachError`] says; its code goes into REFUSED.
    pub fn judge(&self, frame: Frame) -> Result<Attach, AttachError> {
        let Frame::Attach(attach) = frame else {
            return Err(AttachError::NotAttach);
        };
        if attach.number == 0 {
            return Err(AttachError::Number);
        }
        if self.fits(&attach) { Ok(attach) } else { Err(AttachError::Key) }
    }

    /// Whether key and signature are those that the grant asks for. Where it asks for none there must be no key.
    fn fits(&self, attach: &Attach) -> bool {
        let (Some(jkt), Some(key)) = (&self.jkt, &attach.key) else {
            return self.jkt.is_none() && attach.key.is_none();
        };
        let text = attach_text(&self.nonce, self.stream, attach.number, attach.received);
        meridian_ticket::p256_thumbprint(&key.point).as_ref() == Some(jkt)
            && UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point)
                .verify(&text, &key.signature)
                .is_ok()
    }
}
