//! Minting: what a viewer gets to open a stream with, and what a proxy gets in exchange.

use aws_lc_rs::digest;
use jiff::Timestamp;
use meridian_ids::{DeploymentId, GrantId, NodeId, SessionId, StreamId, TicketId, UserId, ZoneId};
use meridian_model::{Policy, Transport, ZoneSettings};
use meridian_ticket::{
    GRANT_LIFETIME_S, Grant, PASS_LIFETIME_S, Pass, TICKET_LIFETIME_S, Ticket, Watch, agent_audience,
    resume_audience, zone_audience,
};
use meridian_wire::{PASS_PROTOCOL_PREFIX, TICKET_PROTOCOL_PREFIX};
use uuid::Builder;

use crate::{
    app::rules::{has_port, is_host_and_port},
    views::ConnectView,
};

/// The page a viewer is on, as its request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPage {
    pub secure: bool,
    /// Without a port.
    pub host: String,
    pub port: Option<u16>,
}

/// What the database resolved for a connect.
pub struct ConnectTarget {
    pub session: SessionId,
    pub user: UserId,
    pub zone: ZoneId,
    pub agent: NodeId,
    pub epoch: i64,
    pub generation: i64,
    /// What the user may do on a stream now.
    pub policy: Policy,
    /// The user looks on at somebody else's session.
    pub watch: Option<Watch>,
}

/// A fresh ticket's claims.
#[must_use]
pub fn ticket(
    deployment: DeploymentId,
    target: &ConnectTarget,
    transport: Transport,
    jkt: Option<String>,
    now: Timestamp,
) -> Ticket {
    Ticket {
        iss: deployment,
        aud: zone_audience(target.zone),
        sub: target.session,
        jti: TicketId::generate(),
        iat: now.as_second(),
        exp: now.as_second() + TICKET_LIFETIME_S,
        epoch: target.epoch,
        generation: target.generation,
        agent: target.agent,
        user: target.user,
        transport,
        jkt,
        watch: target.watch,
    }
}

/// The grant for a used ticket. The same `grant` and time give the same token: a retried authorisation gets its first answer.
#[must_use]
pub fn grant(ticket: &Ticket, proxy: NodeId, grant: GrantId, granted_at_s: i64, policy: Policy) -> Grant {
    Grant {
        iss: ticket.iss,
        aud: agent_audience(ticket.agent),
        sub: ticket.sub,
        jti: grant,
        stream: stream_of(ticket, grant),
        iat: granted_at_s,
        exp: granted_at_s + GRANT_LIFETIME_S,
        epoch: ticket.epoch,
        generation: ticket.generation,
        user: ticket.user,
        proxy,
        transport: ticket.transport,
        jkt: ticket.jkt.clone(),
        watch: ticket.watch,
        policy,
    }
}

/// A stream belongs to the page that made its key: connecting again with it is the same stream, and a page loaded anew has another.
/// Without a key each grant is a stream of its own.
fn stream_of(ticket: &Ticket, grant: GrantId) -> StreamId {
    ticket.jkt.as_ref().map_or(StreamId(grant.0), |jkt| stream_of_key(ticket.sub, ticket.watch, jkt))
}

/// With one key nobody looks on and works in a session by the same stream.
fn stream_of_key(session: SessionId, watch: Option<Watch>, jkt: &str) -> StreamId {
    let text = match watch {
        None => format!("{session} {jkt}"),
        Some(watch) => format!("{session} {} {jkt}", watch.id),
    };
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    StreamId(Builder::from_custom_bytes(bytes).into_uuid())
}

/// The pass that goes with a ticket: none without a key to prove that a later viewer is the same.
#[must_use]
pub fn pass(ticket: &Ticket, zone: ZoneId, policy: Policy) -> Option<Pass> {
    let jkt = ticket.jkt.clone().filter(|_| ticket.transport == Transport::MeridianV1)?;
    Some(Pass {
        iss: ticket.iss,
        aud: resume_audience(zone),
        sub: ticket.sub,
        stream: stream_of_key(ticket.sub, ticket.watch, &jkt),
        iat: ticket.iat,
        exp: (ticket.iat + PASS_LIFETIME_S).min(ticket.watch.map_or(i64::MAX, |watch| watch.until)),
        epoch: ticket.epoch,
        generation: ticket.generation,
        agent: ticket.agent,
        user: ticket.user,
        jkt,
        watch: ticket.watch,
        policy,
    })
}

/// Host, port and path of a zone's entry, as a page reaches it by the first address or another one.
fn entry(settings: &ZoneSettings, address: &str, page: &RequestPage) -> String {
    let address = address.replace("$request_host$", &page.host);
    let zones_own = if settings.proxy_port == 0 { page.port } else { Some(settings.proxy_port) };
    let port = zones_own.filter(|_| !has_port(&address)).map(|port| format!(":{port}")).unwrap_or_default();
    format!("{address}{port}/{}", settings.proxy_path.trim_matches('/'))
}

/// Where a page measures how far a zone is: at its entry, or at an agent of it that browsers reach without a proxy.
#[must_use]
pub fn probe_address(settings: &ZoneSettings, direct: Option<&str>, page: &RequestPage) -> String {
    let scheme = if page.secure { "https" } else { "http" };
    let streams = stream_entries(settings, direct, page).into_iter().next();
    let entry = streams.unwrap_or_else(|| entry(settings, &settings.proxy_hostname, page));
    format!("{scheme}://{entry}/probe")
}

/// Where a session's streams come in, as a page reaches it, best first: the zone's entry and its alternates, or where there are no proxies
/// between (`proxy_connections` is false) the agent itself, which said where that is; none when it did not, or said nonsense.
#[must_use]
pub fn stream_entries(settings: &ZoneSettings, direct: Option<&str>, page: &RequestPage) -> Vec<String> {
    if settings.proxy_connections {
        let addresses = std::iter::once(&settings.proxy_hostname).chain(&settings.proxy_alternates);
        return addresses.map(|address| entry(settings, address, page)).collect();
    }
    let address = direct.filter(|address| is_host_and_port(address));
    let address = address.map(|address| address.replace("$request_host$", &page.host));
    address
        .map(|address| format!("{address}/{}", settings.proxy_path.trim_matches('/')))
        .into_iter()
        .collect()
}

/// Where the viewer goes, and with which subprotocols. `entries` are hosts with port and path, the best first.
#[must_use]
pub fn connect_view(
    entries: &[String],
    page: &RequestPage,
    session: SessionId,
    transport: Transport,
    token: &str,
    pass: Option<&str>,
) -> ConnectView {
    let scheme = if page.secure { "wss" } else { "ws" };
    let mut addresses = entries.iter().map(|entry| format!("{scheme}://{entry}/{session}/stream"));
    ConnectView {
        url: addresses.next().unwrap_or_default(),
        protocols: vec![transport.as_str().to_owned(), format!("{TICKET_PROTOCOL_PREFIX}{token}")],
        alternates: addresses.collect(),
        resume_protocols: pass
            .map(|pass| vec![transport.as_str().to_owned(), format!("{PASS_PROTOCOL_PREFIX}{pass}")])
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_follows_the_zone_and_the_page() {
        let page = RequestPage { secure: false, host: "localhost".into(), port: Some(8080) };
        let session = SessionId::generate();
        let url = |settings: &ZoneSettings, page: &RequestPage| {
            let entries = stream_entries(settings, Some("agent-1.example.org:8446"), page);
            let view = connect_view(&entries, page, session, Transport::Binary, "t", None);
            assert_eq!(view.alternates.len(), entries.len() - 1);
            view.url
        };
        let shared = ZoneSettings { proxy_path: "desktop-london".into(), ..ZoneSettings::default() };
        assert_eq!(url(&shared, &page), format!("ws://localhost:8080/desktop-london/{session}/stream"));
        let apart = ZoneSettings { proxy_hostname: "london.example.org".into(), proxy_port: 8443, ..shared };
        let page = RequestPage { secure: true, port: None, ..page };
        assert_eq!(
            url(&apart, &page),
            format!("wss://london.example.org:8443/desktop-london/{session}/stream")
        );
        let several = ZoneSettings {
            proxy_alternates: vec!["b.example.org".into(), "c.$request_host$:9443".into()],
            ..apart.clone()
        };
        assert_eq!(
            stream_entries(&several, None, &page)[1..],
            ["b.example.org:8443/desktop-london", "c.localhost:9443/desktop-london"]
        );
        // Where streams go straight to one agent there is no other way.
        let direct = ZoneSettings { proxy_connections: false, ..several };
        assert_eq!(
            url(&direct, &page),
            format!("wss://agent-1.example.org:8446/desktop-london/{session}/stream")
        );
        let asked = stream_entries(&direct, Some("$request_host$:8446"), &page);
        assert_eq!(asked, ["localhost:8446/desktop-london"]);
        for nonsense in [None, Some(""), Some("a/b"), Some("https://a"), Some("a:0"), Some("u@a")] {
            assert!(stream_entries(&direct, nonsense, &page).is_empty(), "{nonsense:?}");
        }
    }
}
