use jiff::SignedDuration;
use meridian_wire::TicketSecret;
use proptest::prelude::*;

use super::*;

const START_S: i64 = 1_800_000_000;

fn key(day: i64) -> TicketKey {
    let secret = format!("{:064x}", day + 7);
    TicketKey {
        begins_at: Timestamp::from_second(START_S + day * 86_400).unwrap(),
        secret: TicketSecret::new(secret),
    }
}

fn tickets(clock: &Clock, keys: &[TicketKey]) -> Arc<ZoneTickets> {
    let tickets = ZoneTickets::new(clock.clone());
    tickets.replace(keys);
    tickets
}

fn clock() -> Clock {
    Clock::fixed(Timestamp::from_second(START_S + 60).unwrap())
}

#[test]
fn relays_of_a_zone_open_each_others_tickets_and_nobody_elses() {
    let clock = clock();
    let keys = [key(-1), key(0), key(1)];
    let (first, second) = (tickets(&clock, &keys), tickets(&clock, &keys));
    let ticket = first.encrypt(b"a session").unwrap();
    assert_eq!(second.decrypt(&ticket).unwrap(), b"a session");
    assert_ne!(ticket, first.encrypt(b"a session").unwrap(), "a nonce is used once");
    assert_eq!(tickets(&clock, &[key(5)]).decrypt(&ticket), None);
    assert_eq!(ZoneTickets::new(clock).decrypt(&ticket), None);
}

#[test]
fn a_ticket_opens_until_its_key_has_gone_and_the_next_key_seals_from_its_day() {
    let clock = clock();
    let relay = tickets(&clock, &[key(-1), key(0), key(1)]);
    let today = relay.encrypt(b"today").unwrap();
    clock.advance(SignedDuration::from_hours(24));
    let tomorrow = relay.encrypt(b"tomorrow").unwrap();
    assert_ne!(today[..NAME_BYTES], tomorrow[..NAME_BYTES]);
    let behind = tickets(&self::clock(), &[key(-1), key(0), key(1)]);
    assert_eq!(behind.decrypt(&tomorrow).unwrap(), b"tomorrow", "its clock is a day late");
    relay.replace(&[key(0), key(1), key(2)]);
    assert_eq!(relay.decrypt(&today).unwrap(), b"today");
    relay.replace(&[key(1), key(2), key(3)]);
    assert_eq!(relay.decrypt(&today), None);
}

#[test]
fn without_the_zones_keys_its_own_seals_and_goes_on_opening() {
    let relay = ZoneTickets::new(clock());
    let early = relay.encrypt(b"early").unwrap();
    let short = TicketKey { secret: TicketSecret::new("00".into()), ..key(0) };
    let wrong = TicketKey { secret: TicketSecret::new("no digits".into()), ..key(0) };
    relay.replace(&[short, wrong]);
    relay.replace(&[]);
    assert_eq!(relay.decrypt(&relay.encrypt(b"still").unwrap()).unwrap(), b"still");
    relay.replace(&[key(0)]);
    assert_eq!(relay.decrypt(&early).unwrap(), b"early");
    // In an outage of days the last key that is known goes on.
    relay.clock.advance(SignedDuration::from_hours(24 * 9));
    assert_eq!(tickets(&clock(), &[key(0)]).decrypt(&relay.encrypt(b"late").unwrap()).unwrap(), b"late");
}

#[test]
fn no_secret_shows_itself() {
    let shown = format!("{:?} {:?}", key(0), tickets(&clock(), &[key(0)]));
    assert!(!shown.contains(key(0).secret.expose()) && shown.contains("[secret]"), "{shown}");
}

proptest! {
    #[test]
    fn every_session_survives_and_no_altered_or_invented_ticket_opens(
        session in prop::collection::vec(any::<u8>(), 0..900),
        noise in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let clock = clock();
        let keys = [key(-1), key(0)];
        let (first, second) = (tickets(&clock, &keys), tickets(&clock, &keys));
        let mut ticket = first.encrypt(&session).unwrap();
        prop_assert_eq!(second.decrypt(&ticket), Some(session));
        let named = [&ticket[..NAME_BYTES], &noise[..]].concat();
        prop_assert_eq!(second.decrypt(&named), None);
        prop_assert_eq!(second.decrypt(&noise), None);
        let cut = at.index(ticket.len());
        prop_assert_eq!(second.decrypt(&ticket[..cut]), None);
        ticket[cut] ^= flip;
        prop_assert_eq!(second.decrypt(&ticket), None);
    }
}
