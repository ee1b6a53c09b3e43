//! The signature on calls to the Upstream Auth Address: over method, path, body hash, time and nonce (DESIGN.md §5).

/// Header: the calling node's id.
pub const CALL_NODE_HEADER: &str = "meridian-node";
/// Header: seconds since 1970 in control-plane time.
pub const CALL_TIME_HEADER: &str = "meridian-time";
/// Header: 16 random bytes in hex.
pub const CALL_NONCE_HEADER: &str = "meridian-nonce";
/// Header: base64url (no padding) of ECDSA P-256 SHA-256, `r || s`, over [`call_text`].
pub const CALL_SIGNATURE_HEADER: &str = "meridian-signature";
/// How far a call's time may be from the control plane's, in seconds.
pub const MAX_CALL_SKEW_S: i64 = 30;

/// The text that is signed. `body_sha256_hex` is of the exact body bytes.
#[must_use]
pub fn call_text(method: &str, path: &str, body_sha256_hex: &str, time_s: i64, nonce: &str) -> String {
    format!("meridian-call-v1\n{method}\n{path}\n{body_sha256_hex}\n{time_s}\n{nonce}")
}
