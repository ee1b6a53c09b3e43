//! Signed calls: what lets a proxy speak to the Web App through anything that ends TLS.

use aws_lc_rs::{
    digest, rand,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use meridian_ids::NodeId;
use meridian_wire::{
    CALL_NODE_HEADER, CALL_NONCE_HEADER, CALL_SIGNATURE_HEADER, CALL_TIME_HEADER, MAX_CALL_SKEW_S, call_text,
};

use crate::{IdentityError, NodeKey};

/// The four headers of a signed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallHeaders {
    pub node: NodeId,
    pub time_s: i64,
    pub nonce: String,
    pub signature: String,
}

/// Why a signed call was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("the call is not signed, or its headers are malformed")]
    Malformed,
    #[error("the call's time differs from the control plane's by more than {MAX_CALL_SKEW_S} seconds")]
    Time,
    #[error("the call's signature does not fit the node's key")]
    Signature,
}

impl CallHeaders {
    /// Header names and values, to be put on a request.
    #[must_use]
    pub fn pairs(&self) -> [(&'static str, String); 4] {
        [
            (CALL_NODE_HEADER, self.node.to_string()),
            (CALL_TIME_HEADER, self.time_s.to_string()),
            (CALL_NONCE_HEADER, self.nonce.clone()),
            (CALL_SIGNATURE_HEADER, self.signature.clone()),
        ]
    }

    /// Reads the headers through `get`.
    ///
    /// # Errors
    /// [`CallError::Malformed`] when one is missing or not of its form.
    pub fn read<'a>(get: impl Fn(&'static str) -> Option<&'a str>) -> Result<Self, CallError> {
        let text = |name| get(name).ok_or(CallError::Malformed);
        let nonce = text(CALL_NONCE_HEADER)?;
        if nonce.len() != 32 || !nonce.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(CallError::Malformed);
        }
        Ok(Self {
            node: text(CALL_NODE_HEADER)?.parse().map_err(|_| CallError::Malformed)?,
            time_s: text(CALL_TIME_HEADER)?.parse().map_err(|_| CallError::Malformed)?,
            nonce: nonce.to_owned(),
            signature: text(CALL_SIGNATURE_HEADER)?.to_owned(),
        })
    }
}

/// Signs a call at control-plane time `now`.
///
/// # Errors
/// When the key cannot sign.
pub fn sign_call(
    key: &NodeKey,
    node: NodeId,
    method: &str,
    path: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<CallHeaders, IdentityError> {
    let mut nonce = [0_u8; 16];
    rand::fill(&mut nonce).map_err(|_| IdentityError::Key)?;
    let (nonce, time_s) = (hex::encode(nonce), now.as_second());
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.pair.serialized_der())
        .map_err(|_| IdentityError::Key)?;
    let text = call_text(method, path, &sha256_hex(body), time_s, &nonce);
    let signature = pair.sign(&SystemRandom::new(), text.as_bytes()).map_err(|_| IdentityError::Key)?;
    Ok(CallHeaders { node, time_s, nonce, signature: BASE64_URL_SAFE_NO_PAD.encode(signature) })
}

/// Checks a call against the node's public point at control-plane time `now`.
///
/// # Errors
/// As [`CallError`] says.
pub fn verify_call(
    headers: &CallHeaders,
    public_point: &[u8],
    method: &str,
    path: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<(), CallError> {
    if (now.as_second() - headers.time_s).abs() > MAX_CALL_SKEW_S {
        return Err(CallError::Time);
    }
    let signature = BASE64_URL_SAFE_NO_PAD.decode(&headers.signature).map_err(|_| CallError::Malformed)?;
    let text = call_text(method, path, &sha256_hex(body), headers.time_s, &headers.nonce);
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public_point)
        .verify(text.as_bytes(), &signature)
        .map_err(|_| CallError::Signature)
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_holds_for_its_own_method_path_body_time_and_key() {
        let (key, node) = (NodeKey::generate().unwrap(), NodeId::generate());
        let now = Timestamp::from_second(1000).unwrap();
        let headers = sign_call(&key, node, "POST", "/a", b"body", now).unwrap();
        let pairs = headers.pairs();
        let read = CallHeaders::read(|name| {
            pairs.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
        })
        .unwrap();
        assert_eq!(read, headers);
        let check = |method, path, body: &[u8], now, key: &NodeKey| {
            verify_call(&read, key.public_point(), method, path, body, now)
        };
        assert_eq!(check("POST", "/a", b"body", now, &key), Ok(()));
        assert_eq!(check("PUT", "/a", b"body", now, &key), Err(CallError::Signature));
        assert_eq!(check("POST", "/b", b"body", now, &key), Err(CallError::Signature));
        assert_eq!(check("POST", "/a", b"other", now, &key), Err(CallError::Signature));
        assert_eq!(
            check("POST", "/a", b"body", now, &NodeKey::generate().unwrap()),
            Err(CallError::Signature)
        );
        let late = Timestamp::from_second(1031).unwrap();
        assert_eq!(check("POST", "/a", b"body", late, &key), Err(CallError::Time));
    }
}
