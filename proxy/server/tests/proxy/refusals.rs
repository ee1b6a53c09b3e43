//! What is refused before anyone is asked, each with words for the person.

use meridian_ids::{SessionId, ZoneId};
use meridian_model::Transport;
use meridian_ticket::{SigningKey, Ticket, zone_audience};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    browser::{Answer, Browser, upgrade},
    world::{World, within},
};

/// Status, code and hop of an answer.
fn facts(answer: &Answer) -> (u16, String, String) {
    let error = answer.error();
    (answer.status, error.code, error.hop.unwrap_or_default())
}

fn of(status: u16, code: &str) -> (u16, String, String) {
    (status, code.to_owned(), "client".to_owned())
}

impl World {
    async fn refused(&self, request: impl AsRef<[u8]>) -> (u16, String, String) {
        let answer = Browser::ask(self.address(), request).await;
        assert!(answer.head.contains("Connection: close\r\n"));
        facts(&answer)
    }

    fn assert_nobody_was_asked(&self) {
        assert!(self.web.asked().is_empty());
        assert_eq!(self.agent.hear(|heard| heard.dialled), 0);
    }
}

#[tokio::test]
async fn a_bad_ticket_costs_no_call_and_no_dial() {
    let world = World::new().await;
    let good = world.ticket();
    let refused = |ticket: Ticket| {
        let request = world.request(&ticket);
        async { world.refused(request).await }
    };
    let expired = Ticket { iat: good.iat - 200, exp: good.exp - 200, ..good.clone() };
    assert_eq!(refused(expired).await, of(401, "ticket_expired"));
    let early = Ticket { iat: good.iat + 100, exp: good.exp + 100, ..good.clone() };
    assert_eq!(refused(early).await, of(401, "ticket_not_yet_valid"));
    let foreign = Ticket { aud: zone_audience(ZoneId::generate()), ..good.clone() };
    assert_eq!(refused(foreign).await, of(403, "ticket_foreign_zone"));
    let other = Ticket { sub: SessionId::generate(), ..good.clone() };
    assert_eq!(refused(other).await, of(403, "ticket_other_session"));
    let binary = world.web.signing.sign_ticket(&Ticket { transport: Transport::Binary, ..good.clone() });
    let request = upgrade(&world.path(), &format!("meridian.v1, meridian.ticket.{binary}"));
    assert_eq!(world.refused(request).await, of(403, "ticket_other_protocol"));
    let forged = SigningKey::generate().unwrap().sign_ticket(&good);
    let request = upgrade(&world.path(), &format!("meridian.v1, meridian.ticket.{forged}"));
    assert_eq!(world.refused(request).await, of(401, "ticket_unknown_key"));
    let mut tampered = world.web.signing.sign_ticket(&good);
    let last = tampered.pop().unwrap();
    tampered.insert(tampered.len() - 10, if last == 'A' { 'B' } else { 'A' });
    let request = upgrade(&world.path(), &format!("meridian.v1, meridian.ticket.{tampered}"));
    assert_eq!(world.refused(request).await, of(401, "ticket_invalid"));
    world.assert_nobody_was_asked();
    assert_eq!(world.proxy.metrics.refused("ticket_expired"), 1);
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_before_anyone_is_asked() {
    let world = World::new().await;
    for origin in ["https://evil.example.org", "null", "https://work.example.org.evil.org"] {
        let request = world.request(&world.ticket()).replace("https://work.example.org", origin);
        assert_eq!(world.refused(request).await, of(403, "origin_forbidden"), "{origin}");
    }
    world.assert_nobody_was_asked();
}

#[tokio::test]
async fn what_is_no_upgrade_is_answered_in_words() {
    let world = World::new().await;
    let plain = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", world.path());
    let answer = Browser::ask(world.address(), plain).await;
    assert_eq!(facts(&answer), of(426, "upgrade_required"));
    assert!(answer.head.contains("Upgrade: websocket\r\n"));
    assert!(answer.error().hint.is_some());
    assert_eq!(world.refused("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await, of(404, "not_found"));
    let post = world.request(&world.ticket()).replacen("GET", "POST", 1);
    assert_eq!(world.refused(post).await, of(405, "method_not_allowed"));
    let old = world.request(&world.ticket()).replace("Version: 13", "Version: 8");
    assert_eq!(world.refused(old).await, of(426, "websocket_version"));
    assert_eq!(world.refused("\u{16}\u{3}\u{1}rubbish\r\n\r\n").await, of(400, "malformed"));
    assert_eq!(world.refused(upgrade(&world.path(), "meridian.v1")).await, of(400, "protocols"));
    world.assert_nobody_was_asked();
}

#[tokio::test]
async fn heads_are_bounded_in_length_and_time() {
    let world = World::with(|settings| meridian_settings::ProxySettings { head_wait_s: 1, ..settings }).await;
    let long =
        world.request(&world.ticket()).replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "y".repeat(20_000)));
    assert_eq!(world.refused(long).await, of(431, "head_too_long"));
    let many =
        world.request(&world.ticket()).replace("\r\n\r\n", &format!("\r\n{}\r\n", "X: y\r\n".repeat(100)));
    assert_eq!(world.refused(many).await, of(431, "head_too_long"));
    assert_eq!(world.refused("GET /desktop/").await, of(408, "head_too_slow"));
    let mut silent = Browser::open(world.address()).await;
    let mut nothing = Vec::new();
    within("the end of a silent connection", silent.socket.read_to_end(&mut nothing)).await.unwrap();
    assert!(nothing.is_empty(), "a connection opened in advance is closed without a word");
    world.assert_nobody_was_asked();
}

#[tokio::test]
async fn streams_are_bounded() {
    let world = World::with(|settings| meridian_settings::ProxySettings { max_streams: 1, ..settings }).await;
    let (first, _) = world.open_stream().await;
    let answer = Browser::ask(world.address(), world.request(&world.ticket())).await;
    assert_eq!(facts(&answer), (503, "proxy_full".into(), "proxy".into()));
    assert_eq!(world.web.asked().len(), 1, "the second ticket is still good");
    drop(first);
    world.wait_until_quiet().await;
    let (mut again, _) = world.open_stream().await;
    again.socket.shutdown().await.unwrap();
}
