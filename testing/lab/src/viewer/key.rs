//! The key that a page makes for its stream.

use anyhow::{Context, Result};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use meridian_ids::StreamId;
use meridian_stream::{ViewerKey, attach_text};

pub(crate) struct StreamKey {
    pair: EcdsaKeyPair,
    point: [u8; 65],
}

impl StreamKey {
    pub(crate) fn generate() -> Result<Self> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
        let point = pair.public_key().as_ref().try_into().context("a P-256 point has 65 bytes")?;
        Ok(Self { pair, point })
    }

    /// RFC 7638, for the connect request.
    pub(crate) fn thumbprint(&self) -> Result<String> {
        meridian_ticket::p256_thumbprint(&self.point).context("the point of a key of our own")
    }

    pub(crate) fn sign(
        &self,
        nonce: &[u8; 32],
        stream: StreamId,
        number: u64,
        received: u64,
    ) -> Result<ViewerKey> {
        let text = attach_text(nonce, stream, number, received);
        let signature = self.pair.sign(&SystemRandom::new(), &text)?;
        let signature = signature.as_ref().try_into().context("a signature has 64 bytes")?;
        Ok(ViewerKey { point: self.point, signature })
    }
}
