//! TLS session tickets that every relay of a zone can open.
//!
//! A ticket is the session that a viewer brings back, sealed so that nobody else reads it: `key name (16) | nonce (12) | sealed
//! session and tag`, AES-256-GCM with the key's name as additional data. Name and key are derived from the zone's secret, so relays that
//! hold the same secret open each other's tickets, and one that is started again opens those it made before.
//!
//! The key that began last seals; every key that is held opens. A ticket therefore ages out when its key is replaced, as rustls wants
//! it, and whatever does not open is no error: the viewer does a full handshake.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
};
use jiff::Timestamp;
use meridian_runtime::{Clock, Secret, random_bytes};
use meridian_wire::TicketKey;
use rustls::server::ProducesTickets;

const NAME_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;
/// What viewers are told: a key seals for a day and opens for one more, so that every ticket lives at least this long.
const LIFETIME_S: u32 = 24 * 60 * 60;
/// A session without a client's certificate is a few hundred bytes; nothing longer is worth the work of opening it.
const MAX_TICKET_BYTES: usize = 16 * 1024;
/// More would only be searched.
const MAX_KEYS: usize = 8;

/// Seals and opens a zone's tickets. Until the zone's keys are known, and besides them, it has a key of its own.
pub struct ZoneTickets {
    clock: Clock,
    own: Arc<Key>,
    shared: ArcSwap<Vec<Key>>,
}

struct Key {
    begins_at: Timestamp,
    name: [u8; NAME_BYTES],
    seal: RandomizedNonceKey,
}

/// How many bytes to derive.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl ZoneTickets {
    /// With a key of its own, which nobody else has.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    pub fn new(clock: Clock) -> Arc<Self> {
        let own = Key::derive(Timestamp::MIN, &random_bytes::<SECRET_BYTES>()).expect("32 bytes make a key");
        Arc::new(Self { clock, own: Arc::new(own), shared: ArcSwap::default() })
    }

    /// Takes the zone's keys; those that it held before open nothing any more. Without a usable one, what it has stays: a control plane of
    /// an earlier release shares none.
    pub fn replace(&self, keys: &[TicketKey]) {
        let mut shared: Vec<Key> = keys.iter().take(MAX_KEYS).filter_map(Key::read).collect();
        if shared.len() < keys.len() {
            tracing::warn!("the zone has TLS ticket keys that cannot be used");
        }
        if !shared.is_empty() {
            shared.sort_by_key(|key| key.begins_at);
            self.shared.store(Arc::new(shared));
        }
    }
}

impl Key {
    fn read(key: &TicketKey) -> Option<Self> {
        let secret = Secret::new(hex::decode(key.secret.expose()).ok()?);
        if secret.expose().len() == SECRET_BYTES {
            Self::derive(key.begins_at, secret.expose())
        } else {
            None
        }
    }

    fn derive(begins_at: Timestamp, secret: &[u8]) -> Option<Self> {
        let root = Salt::new(HKDF_SHA256, b"meridian tls tickets v1").extract(secret);
        let (mut name, mut key) = ([0; NAME_BYTES], [0; SECRET_BYTES]);
        expand(&root, b"name", &mut name)?;
        expand(&root, b"key", &mut key)?;
        Some(Self { begins_at, name, seal: RandomizedNonceKey::new(&AES_256_GCM, &key).ok()? })
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self.seal.seal_in_place_append_tag(Aad::from(self.name), &mut sealed).ok()?;
        Some([&self.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn decrypt(&self, nonce: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let length = self.seal.open_in_place(nonce, Aad::from(self.name), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }
}

fn expand(root: &Prk, purpose: &[u8], into: &mut [u8]) -> Option<()> {
    root.expand(&[purpose], Length(into.len())).and_then(|derived| derived.fill(into)).ok()
}

impl ProducesTickets for ZoneTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (shared, now) = (self.shared.load(), self.clock.control_now());
        let current = shared.iter().rev().find(|key| key.begins_at <= now);
        current.unwrap_or(&self.own).encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        if cipher.len() > MAX_TICKET_BYTES {
            return None;
        }
        let (name, rest) = cipher.split_at_checked(NAME_BYTES)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let shared = self.shared.load();
        let key = shared.iter().chain([&*self.own]).find(|key| key.name == name)?;
        key.decrypt(nonce, sealed)
    }
}

impl fmt::Debug for ZoneTickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZoneTickets").field("shared", &self.shared.load().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
