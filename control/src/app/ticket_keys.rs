//! The keys that a zone's proxies seal TLS session tickets with, so that a viewer resumes on any of them.
//!
//! They are derived from the master key, the zone and the day, and rest nowhere: every Web App node gives the same ones without asking
//! another. A day's key opens nothing of another day or zone. The day before is given too, because its tickets are still out, and the
//! next one, so that a zone that is cut off over midnight turns to the same new key everywhere.

use jiff::Timestamp;
use meridian_ids::ZoneId;
use meridian_wire::{TicketKey, TicketSecret};

use super::seal::KeyRoot;

/// A key seals for a day (UTC).
const PERIOD_S: i64 = 24 * 60 * 60;

/// The keys of a zone: the one before, the one in use, and the next.
#[must_use]
pub fn ticket_keys(root: &KeyRoot, zone: ZoneId, now: Timestamp) -> Vec<TicketKey> {
    let today = now.as_second().div_euclid(PERIOD_S);
    (today - 1..=today + 1).filter_map(|day| key_of(root, zone, day)).collect()
}

fn key_of(root: &KeyRoot, zone: ZoneId, day: i64) -> Option<TicketKey> {
    let secret = root.derive(&[b"tls tickets", zone.0.as_bytes(), &day.to_be_bytes()]);
    let begins_at = Timestamp::from_second(day * PERIOD_S).ok()?;
    Some(TicketKey { begins_at, secret: TicketSecret::new(hex::encode(secret.expose())) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::seal::Sealer;

    #[test]
    fn keys_overlap_from_day_to_day_and_zones_share_none() {
        let folder = tempfile::tempdir().unwrap();
        let root = Sealer::open(&folder.path().join("master.key"), true).unwrap().root();
        let (london, virginia) = (ZoneId::generate(), ZoneId::generate());
        let at = |day: i64| Timestamp::from_second(1_800_000_000 + day * PERIOD_S).unwrap();
        let (today, tomorrow) = (ticket_keys(&root, london, at(0)), ticket_keys(&root, london, at(1)));
        assert_eq!(today.len(), 3);
        assert_eq!(today[1..], tomorrow[..2]);
        assert!(today[1].begins_at <= at(0) && at(0) < today[2].begins_at);
        let elsewhere = ticket_keys(&root, virginia, at(0));
        assert!(today.iter().all(|key| elsewhere.iter().all(|other| other.secret != key.secret)));
        assert_ne!(today[0].secret, today[1].secret);
    }
}
