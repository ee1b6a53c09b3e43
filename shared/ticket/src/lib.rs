//! Connect tickets, stream grants and resume passes: EdDSA JSON Web Tokens.
//!
//! A *ticket* lets one viewer open one stream of one session in one zone, once, within a minute; the browser carries it to a
//! proxy. A *grant* is what the control plane gives the proxy in exchange; the proxy carries it to the agent, which checks it
//! itself. Only the control plane can sign either. Times are judged against the caller's idea of control-plane time with
//! [`LEEWAY_S`] of leeway; nothing here reads a clock.

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use meridian_ids::{
    DeploymentId, GrantId, KeyId, NodeId, SessionId, StreamId, TicketId, UserId, WatchId, ZoneId,
};
use meridian_model::{Policy, Transport};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// How far two clocks may differ, in seconds.
pub const LEEWAY_S: i64 = 30;
/// How long a ticket may be used, in seconds.
pub const TICKET_LIFETIME_S: i64 = 60;
/// How long a grant may be used, in seconds: it only has to travel from the Web App to the proxy to the agent.
pub const GRANT_LIFETIME_S: i64 = 60;
/// How long a pass may be used, in seconds: longer than any zone's `outage_grace`. What is taken away earlier is named by a revocation.
pub const PASS_LIFETIME_S: i64 = 7 * 24 * 3600;
/// No token of ours is longer; longer ones are not looked at.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// Why a token was refused. The texts name no part of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is not one of ours")]
    Malformed,
    #[error("the token was signed with a key that is not known here")]
    UnknownKey,
    #[error("the token's signature is wrong")]
    Signature,
    #[error("the token has expired")]
    Expired,
    #[error("the token is not valid yet: the clocks differ by more than {LEEWAY_S} seconds")]
    NotYetValid,
    #[error("the token is for somewhere else")]
    WrongAudience,
}

/// What makes a stream that of somebody who looks on, with the consent of the session's user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    pub id: WatchId,
    /// The stream ends then, in seconds of control-plane time.
    pub until: i64,
}

/// What a connect ticket says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    pub iss: DeploymentId,
    /// `zone:{zone_id}`.
    pub aud: String,
    pub sub: SessionId,
    pub jti: TicketId,
    pub iat: i64,
    pub exp: i64,
    pub epoch: i64,
    pub generation: i64,
    /// The agent that serves the session, so that a proxy can dial while it asks.
    pub agent: NodeId,
    pub user: UserId,
    pub transport: Transport,
    /// RFC 7638 thumbprint of the viewer's key for this stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
    /// Whoever holds it looks on; none: the session's own user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
}

/// What a stream grant says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub iss: DeploymentId,
    /// `agent:{node_id}`.
    pub aud: String,
    pub sub: SessionId,
    pub jti: GrantId,
    pub stream: StreamId,
    pub iat: i64,
    pub exp: i64,
    pub epoch: i64,
    pub generation: i64,
    pub user: UserId,
    /// The proxy that may present it.
    pub proxy: NodeId,
    pub transport: Transport,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jkt: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    pub policy: Policy,
}

/// What a resume pass says. It proves nothing by itself: whoever presents it must also sign with the stream's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    pub iss: DeploymentId,
    /// `resume:{zone_id}`.
    pub aud: String,
    pub sub: SessionId,
    pub stream: StreamId,
    pub iat: i64,
    pub exp: i64,
    pub epoch: i64,
    pub generation: i64,
    pub agent: NodeId,
    pub user: UserId,
    pub jkt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    pub policy: Policy,
}

impl Pass {
    /// What the agent serves the stream by when `proxy` presents the pass.
    #[must_use]
    pub fn as_grant(&self, proxy: NodeId) -> Grant {
        Grant {
            iss: self.iss,
            aud: agent_audience(self.agent),
            sub: self.sub,
            jti: GrantId::generate(),
            stream: self.stream,
            iat: self.iat,
            exp: self.exp,
            epoch: self.epoch,
            generation: self.generation,
            user: self.user,
            proxy,
            transport: Transport::MeridianV1,
            jkt: Some(self.jkt.clone()),
            watch: self.watch,
            policy: self.policy,
        }
    }
}

/// The audience of passes within a zone.
#[must_use]
pub fn resume_audience(zone: ZoneId) -> String {
    format!("resume:{zone}")
}

/// The audience of tickets for a zone.
#[must_use]
pub fn zone_audience(zone: ZoneId) -> String {
    format!("zone:{zone}")
}

/// The audience of grants for an agent.
#[must_use]
pub fn agent_audience(agent: NodeId) -> String {
    format!("agent:{agent}")
}

/// A signing key, held by Web App nodes alone.
pub struct SigningKey {
    id: KeyId,
    pkcs8: Vec<u8>,
    public: Vec<u8>,
}

/// No randomness, or a key that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signing key could not be made or read")]
pub struct KeyError;

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError)?;
        Self::from_pkcs8(KeyId::generate(), pkcs8.as_ref())
    }

    /// Reads a stored key.
    ///
    /// # Errors
    /// When the bytes are no Ed25519 key in PKCS#8.
    pub fn from_pkcs8(id: KeyId, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError)?;
        let public = pair.public_key().as_ref().to_vec();
        Ok(Self { id, pkcs8: pkcs8.to_vec(), public })
    }

    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The private key, to be sealed and stored.
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey::new(self.id, &self.public)
    }

    #[must_use]
    pub fn sign_ticket(&self, ticket: &Ticket) -> String {
        self.sign(ticket)
    }

    #[must_use]
    pub fn sign_grant(&self, grant: &Grant) -> String {
        self.sign(grant)
    }

    #[must_use]
    pub fn sign_pass(&self, pass: &Pass) -> String {
        self.sign(pass)
    }

    fn sign(&self, claims: &impl Serialize) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.id.to_string());
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ed_der(&self.pkcs8))
            .expect("claims are plain data and the key was checked when it was read")
    }
}

/// One key of a JSON Web Key Set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    pub kty: String,
    pub crv: String,
    pub alg: String,
    #[serde(rename = "use")]
    pub usage: String,
    pub kid: KeyId,
    pub x: String,
}

impl PublicKey {
    fn new(kid: KeyId, raw: &[u8]) -> Self {
        Self {
            kty: "OKP".into(),
            crv: "Ed25519".into(),
            alg: "EdDSA".into(),
            usage: "sig".into(),
            kid,
            x: BASE64_URL_SAFE_NO_PAD.encode(raw),
        }
    }
}

/// A JSON Web Key Set: what `/.well-known/jwks.json` serves and every node keeps on its disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySet {
    pub keys: Vec<PublicKey>,
}

impl KeySet {
    /// Checks a ticket presented in `zone` at control-plane time `now`.
    ///
    /// # Errors
    /// As [`TokenError`] says; the signature is judged before anything the token claims.
    pub fn check_ticket(&self, token: &str, zone: ZoneId, now: Timestamp) -> Result<Ticket, TokenError> {
        let ticket: Ticket = self.decode(token, &zone_audience(zone))?;
        check_times(ticket.iat, ticket.exp, now)?;
        Ok(ticket)
    }

    /// Checks a ticket whose zone is not known beforehand: the Web App's side of `authorize`.
    ///
    /// # Errors
    /// As [`KeySet::check_ticket`], without [`TokenError::WrongAudience`].
    pub fn check_any_ticket(&self, token: &str, now: Timestamp) -> Result<Ticket, TokenError> {
        let ticket: Ticket = self.decode_unaddressed(token)?;
        check_times(ticket.iat, ticket.exp, now)?;
        Ok(ticket)
    }

    /// Checks a grant presented to `agent` at control-plane time `now`.
    ///
    /// # Errors
    /// As [`TokenError`] says.
    pub fn check_grant(&self, token: &str, agent: NodeId, now: Timestamp) -> Result<Grant, TokenError> {
        let grant: Grant = self.decode(token, &agent_audience(agent))?;
        check_times(grant.iat, grant.exp, now)?;
        Ok(grant)
    }

    /// Checks a pass presented in `zone` at control-plane time `now`.
    ///
    /// # Errors
    /// As [`TokenError`] says.
    pub fn check_pass(&self, token: &str, zone: ZoneId, now: Timestamp) -> Result<Pass, TokenError> {
        let pass: Pass = self.decode(token, &resume_audience(zone))?;
        check_times(pass.iat, pass.exp, now)?;
        Ok(pass)
    }

    fn decode<C: DeserializeOwned + Clone>(&self, token: &str, audience: &str) -> Result<C, TokenError> {
        let mut rules = rules();
        rules.validate_aud = true;
        rules.set_audience(&[audience]);
        self.decode_with(token, &rules)
    }

    fn decode_unaddressed<C: DeserializeOwned + Clone>(&self, token: &str) -> Result<C, TokenError> {
        self.decode_with(token, &rules())
    }

    fn decode_with<C: DeserializeOwned + Clone>(
        &self,
        token: &str,
        rules: &Validation,
    ) -> Result<C, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        let kid: KeyId =
            header.kid.as_deref().and_then(|kid| kid.parse().ok()).ok_or(TokenError::Malformed)?;
        let key = self.keys.iter().find(|key| key.kid == kid).ok_or(TokenError::UnknownKey)?;
        let key = DecodingKey::from_ed_components(&key.x).map_err(|_| TokenError::UnknownKey)?;
        jsonwebtoken::decode::<C>(token, &key, rules).map(|data| data.claims).map_err(|error| {
            use jsonwebtoken::errors::ErrorKind;
            #[expect(clippy::wildcard_enum_match_arm, reason = "a foreign, non-exhaustive enum")]
            match error.kind() {
                ErrorKind::InvalidSignature => TokenError::Signature,
                ErrorKind::InvalidAudience => TokenError::WrongAudience,
                _ => TokenError::Malformed,
            }
        })
    }
}

/// Signature and shape only: times are ours to judge, by control-plane time.
fn rules() -> Validation {
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.validate_exp = false;
    rules.validate_aud = false;
    rules.required_spec_claims.clear();
    rules
}

fn check_times(issued: i64, expires: i64, now: Timestamp) -> Result<(), TokenError> {
    let now = now.as_second();
    if now > expires.saturating_add(LEEWAY_S) {
        Err(TokenError::Expired)
    } else if now < issued.saturating_sub(LEEWAY_S) {
        Err(TokenError::NotYetValid)
    } else {
        Ok(())
    }
}

/// RFC 7638 thumbprint of an uncompressed P-256 point (65 bytes, first 0x04), or none when it is no such point.
#[must_use]
pub fn p256_thumbprint(point: &[u8]) -> Option<String> {
    let [4, rest @ ..] = point else { return None };
    if rest.len() != 64 {
        return None;
    }
    let (x, y) = rest.split_at(32);
    let jwk = format!(
        r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#,
        BASE64_URL_SAFE_NO_PAD.encode(x),
        BASE64_URL_SAFE_NO_PAD.encode(y)
    );
    Some(BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, jwk.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(zone: ZoneId, iat: i64) -> Ticket {
        Ticket {
            iss: DeploymentId::generate(),
            aud: zone_audience(zone),
            sub: SessionId::generate(),
            jti: TicketId::generate(),
            iat,
            exp: iat + TICKET_LIFETIME_S,
            epoch: 1,
            generation: 1,
            agent: NodeId::generate(),
            user: UserId::generate(),
            transport: Transport::MeridianV1,
            jkt: None,
            watch: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_ticket_is_good_in_its_zone_for_its_minute_and_the_leeway() {
        let (key, zone) = (SigningKey::generate().unwrap(), ZoneId::generate());
        let keys = KeySet { keys: vec![key.public()] };
        let wanted = ticket(zone, 1000);
        let token = key.sign_ticket(&wanted);
        assert_eq!(keys.check_ticket(&token, zone, at(1090)), Ok(wanted));
        assert_eq!(keys.check_ticket(&token, zone, at(1091)), Err(TokenError::Expired));
        assert_eq!(keys.check_ticket(&token, zone, at(969)), Err(TokenError::NotYetValid));
        assert_eq!(keys.check_ticket(&token, ZoneId::generate(), at(1000)), Err(TokenError::WrongAudience));
    }

    #[test]
    fn a_forged_or_foreign_token_is_refused() {
        let (ours, theirs, zone) =
            (SigningKey::generate().unwrap(), SigningKey::generate().unwrap(), ZoneId::generate());
        let keys = KeySet { keys: vec![ours.public()] };
        let foreign = theirs.sign_ticket(&ticket(zone, 1000));
        assert_eq!(keys.check_ticket(&foreign, zone, at(1000)), Err(TokenError::UnknownKey));
        let disguised = KeySet { keys: vec![PublicKey { kid: theirs.id(), ..ours.public() }] };
        assert_eq!(disguised.check_ticket(&foreign, zone, at(1000)), Err(TokenError::Signature));
        assert_eq!(keys.check_ticket("rubbish", zone, at(1000)), Err(TokenError::Malformed));
        assert_eq!(keys.check_ticket(&"x".repeat(5000), zone, at(1000)), Err(TokenError::Malformed));
    }

    #[test]
    fn a_ticket_is_no_grant() {
        let (key, zone) = (SigningKey::generate().unwrap(), ZoneId::generate());
        let keys = KeySet { keys: vec![key.public()] };
        let wanted = ticket(zone, 1000);
        let token = key.sign_ticket(&wanted);
        assert_eq!(keys.check_grant(&token, wanted.agent, at(1000)), Err(TokenError::Malformed));
        assert_eq!(keys.check_pass(&token, zone, at(1000)), Err(TokenError::Malformed));
    }

    #[test]
    fn a_pass_is_good_in_its_zone_until_it_ends_and_is_no_ticket() {
        let (key, zone) = (SigningKey::generate().unwrap(), ZoneId::generate());
        let keys = KeySet { keys: vec![key.public()] };
        let pass = Pass {
            iss: DeploymentId::generate(),
            aud: resume_audience(zone),
            sub: SessionId::generate(),
            stream: StreamId::generate(),
            iat: 1000,
            exp: 1000 + PASS_LIFETIME_S,
            epoch: 1,
            generation: 1,
            agent: NodeId::generate(),
            user: UserId::generate(),
            jkt: "k".repeat(43),
            watch: None,
            policy: Policy::OWNER,
        };
        let token = key.sign_pass(&pass);
        assert!(token.len() < MAX_TOKEN_BYTES);
        assert_eq!(keys.check_pass(&token, zone, at(1000 + PASS_LIFETIME_S)), Ok(pass));
        assert_eq!(keys.check_pass(&token, zone, at(1031 + PASS_LIFETIME_S)), Err(TokenError::Expired));
        assert_eq!(keys.check_pass(&token, ZoneId::generate(), at(1000)), Err(TokenError::WrongAudience));
        assert!(keys.check_ticket(&token, zone, at(1000)).is_err());
        assert!(keys.check_any_ticket(&token, at(1000)).is_err());
    }

    #[test]
    fn only_an_uncompressed_point_has_a_thumbprint() {
        assert_eq!(p256_thumbprint(&[4; 64]), None);
        assert_eq!(p256_thumbprint(&[3; 65]), None);
        assert_eq!(p256_thumbprint(&[4; 65]).map(|print| print.len()), Some(43));
    }
}
