//! From a request's bytes to the answer's, and every refusal on the way.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use http::{Request, Response};
use jiff::Timestamp;
use meridian_ids::{DeploymentId, NodeId, SessionId, StreamId, TicketId, UserId, ZoneId};
use meridian_model::{Policy, Transport, ZoneSettings};
use meridian_proxy_core::{
    Accepted, Next, Refusal, UpstreamKey, Zone, accept_key, parse_request, parse_response,
};
use meridian_ticket::{KeySet, Pass, SigningKey, Ticket, TokenError, resume_audience, zone_audience};
use meridian_wire::{AuthorizeResponse, Revocation};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

struct World {
    key: SigningKey,
    keys: KeySet,
    zone: ZoneId,
    settings: ZoneSettings,
    session: SessionId,
    agent: NodeId,
    revocations: Vec<Revocation>,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

impl World {
    fn new() -> Self {
        let key = SigningKey::generate().unwrap();
        Self {
            keys: KeySet { keys: vec![key.public()] },
            key,
            zone: ZoneId::generate(),
            settings: ZoneSettings::default(),
            session: SessionId::generate(),
            agent: NodeId::generate(),
            revocations: Vec::new(),
        }
    }

    fn ticket(&self) -> Ticket {
        Ticket {
            iss: DeploymentId::generate(),
            aud: zone_audience(self.zone),
            sub: self.session,
            jti: TicketId::generate(),
            iat: 1000,
            exp: 1060,
            epoch: 1,
            generation: 1,
            agent: self.agent,
            user: UserId::generate(),
            transport: Transport::MeridianV1,
            jkt: None,
            watch: None,
        }
    }

    fn pass(&self) -> Pass {
        Pass {
            iss: DeploymentId::generate(),
            aud: resume_audience(self.zone),
            sub: self.session,
            stream: StreamId::generate(),
            iat: 1000,
            exp: 100_000,
            epoch: 1,
            generation: 1,
            agent: self.agent,
            user: UserId::generate(),
            jkt: "k".repeat(43),
            watch: None,
            policy: Policy::OWNER,
        }
    }

    fn request(&self, ticket: &str) -> Request<()> {
        self.offer(&format!("meridian.v1, meridian.ticket.{ticket}"))
    }

    fn offer(&self, protocols: &str) -> Request<()> {
        let bytes = format!(
            "GET /desktop/{}/stream HTTP/1.1\r\nHost: work.example.org:8443\r\n\
             Origin: https://work.example.org\r\nCookie: meridian=secret\r\nAuthorization: Bearer secret\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
             Sec-WebSocket-Protocol: {protocols}\r\n\r\n",
            self.session
        );
        parse_request(bytes.as_bytes()).unwrap().unwrap().message
    }

    fn judge(&self, ticket: &Ticket, second: i64) -> Result<Accepted, Refusal> {
        self.judge_request(&self.request(&self.key.sign_ticket(ticket)), second)
    }

    fn judge_pass(&self, pass: &Pass, second: i64) -> Result<Accepted, Refusal> {
        let token = self.key.sign_pass(pass);
        self.judge_request(&self.offer(&format!("meridian.v1, meridian.pass.{token}")), second)
    }

    fn judge_request(&self, request: &Request<()>, second: i64) -> Result<Accepted, Refusal> {
        let zone = Zone {
            id: self.zone,
            settings: &self.settings,
            keys: &self.keys,
            revocations: &self.revocations,
        };
        Accepted::judge(request, &zone, at(second))
    }

    fn answer(&self) -> AuthorizeResponse {
        AuthorizeResponse { grant: "header.grant.signature".into(), agent_id: self.agent }
    }
}

fn refused<T>(result: Result<T, Refusal>) -> Refusal {
    result.err().expect("it was not refused")
}

#[test]
fn nothing_of_the_browsers_request_reaches_the_agent_but_its_transport() {
    let world = World::new();
    let ticket = world.ticket();
    let accepted = world.judge(&ticket, 1000).ok().unwrap();
    assert_eq!((accepted.session(), accepted.agent()), (world.session, world.agent));
    assert_eq!(accepted.host().fill("https://$request_host$:1/x"), "https://work.example.org:1/x");
    let Next::Ask(question) = accepted.next("00".repeat(16), "192.0.2.1".into()) else {
        panic!("a ticket is asked about")
    };
    assert_eq!(question.ticket, world.key.sign_ticket(&ticket));
    let authorized = accepted.authorize(world.answer()).ok().unwrap();
    let key = UpstreamKey::new([7; 16]);
    let request = String::from_utf8(authorized.upstream_request("a.agent.z.meridian", &key)).unwrap();
    let expected = format!(
        "GET /agent/v1/sessions/{}/stream HTTP/1.1\r\nHost: a.agent.z.meridian\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: BwcHBwcHBwcHBwcHBwcHBw==\r\n\
         Sec-WebSocket-Protocol: meridian.v1\r\nmeridian-grant: header.grant.signature\r\n\r\n",
        world.session
    );
    assert_eq!(request, expected);
    let connected = authorized.connect(&upgraded("meridian.v1"), &key).ok().unwrap();
    let answer = String::from_utf8(connected.answer()).unwrap();
    let expected = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: meridian.v1\r\n\r\n",
        accept_key(KEY)
    );
    assert_eq!(answer, expected, "no ticket, no extension");
    assert_eq!(connected.drain().session, world.session);
}

#[test]
fn a_ticket_must_be_good_here_and_now_for_this_session_and_transport() {
    let mut world = World::new();
    let good = world.ticket();
    assert_eq!(refused(world.judge(&good, 1091)), Refusal::Ticket(TokenError::Expired));
    assert_eq!(refused(world.judge(&good, 900)), Refusal::Ticket(TokenError::NotYetValid));
    let foreign = Ticket { aud: zone_audience(ZoneId::generate()), ..world.ticket() };
    assert_eq!(refused(world.judge(&foreign, 1000)), Refusal::Ticket(TokenError::WrongAudience));
    let other = Ticket { sub: SessionId::generate(), ..world.ticket() };
    assert_eq!(refused(world.judge(&other, 1000)), Refusal::TicketSession);
    let plain = Ticket { transport: Transport::Binary, ..world.ticket() };
    assert_eq!(refused(world.judge(&plain, 1000)), Refusal::TicketTransport);
    world.revocations.push(Revocation { session_id: world.session, issued_before: at(1000), because: None });
    assert!(world.judge(&good, 1000).is_ok(), "issued after the revocation");
    world.revocations.push(Revocation { session_id: world.session, issued_before: at(1001), because: None });
    assert_eq!(refused(world.judge(&good, 1000)), Refusal::Revoked);
    world.keys.keys.clear();
    assert_eq!(refused(world.judge(&good, 1000)), Refusal::Ticket(TokenError::UnknownKey));
}

#[test]
fn a_wrong_origin_is_refused_before_the_ticket_is_looked_at() {
    let mut world = World::new();
    world.settings.allow_origin_domain = "https://other.example.org".into();
    assert_eq!(refused(world.judge(&world.ticket(), 5000)), Refusal::Origin);
}

#[test]
fn the_web_apps_answer_must_fit_the_ticket_and_a_header() {
    let world = World::new();
    let elsewhere = AuthorizeResponse { agent_id: NodeId::generate(), ..world.answer() };
    let split = AuthorizeResponse { grant: "a\r\nCookie: x".into(), ..world.answer() };
    let empty = AuthorizeResponse { grant: String::new(), ..world.answer() };
    for answer in [elsewhere, split, empty] {
        let accepted = world.judge(&world.ticket(), 1000).ok().unwrap();
        assert!(matches!(refused(accepted.authorize(answer)), Refusal::WebAnswer(_)));
    }
}

#[test]
fn an_agents_answer_must_be_the_upgrade_that_was_asked_for() {
    let key = UpstreamKey::new([7; 16]);
    let good = upgraded_text("meridian.v1");
    let accept = accept_key("BwcHBwcHBwcHBwcHBwcHBw==");
    for (from, to) in [
        ("101", "200"),
        ("websocket", "h2c"),
        ("Connection: Upgrade", "Connection: close"),
        (accept.as_str(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ("meridian.v1", "binary"),
        ("Sec-WebSocket-Protocol: meridian.v1\r\n", ""),
        ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
    ] {
        let world = World::new();
        let accepted = world.judge(&world.ticket(), 1000).ok().unwrap();
        let authorized = accepted.authorize(world.answer()).ok().unwrap();
        let answer = parse_response(good.replacen(from, to, 1).as_bytes()).unwrap().unwrap().message;
        assert!(matches!(refused(authorized.connect(&answer, &key)), Refusal::AgentAnswer(_)), "{from} {to}");
    }
}

fn upgraded(protocol: &str) -> Response<()> {
    parse_response(upgraded_text(protocol).as_bytes()).unwrap().unwrap().message
}

fn upgraded_text(protocol: &str) -> String {
    let accept = accept_key("BwcHBwcHBwcHBwcHBwcHBw==");
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
    )
}

#[test]
fn a_pass_goes_on_without_a_question_and_only_to_its_own_stream() {
    let mut world = World::new();
    let pass = world.pass();
    let accepted = world.judge_pass(&pass, 90_000).ok().unwrap();
    assert_eq!((accepted.session(), accepted.agent()), (world.session, world.agent));
    assert!(matches!(accepted.next("00".repeat(16), String::new()), Next::Resume));
    let authorized = accepted.resume().ok().unwrap();
    let request = String::from_utf8(authorized.upstream_request("a", &UpstreamKey::new([7; 16]))).unwrap();
    assert!(request.contains(&format!("meridian-grant: {}\r\n", world.key.sign_pass(&pass))), "{request}");

    assert_eq!(refused(world.judge_pass(&pass, 100_031)), Refusal::Ticket(TokenError::Expired));
    let foreign = Pass { aud: resume_audience(ZoneId::generate()), ..world.pass() };
    assert_eq!(refused(world.judge_pass(&foreign, 1000)), Refusal::Ticket(TokenError::WrongAudience));
    let other = Pass { sub: SessionId::generate(), ..world.pass() };
    assert_eq!(refused(world.judge_pass(&other, 1000)), Refusal::TicketSession);
    let token = world.key.sign_pass(&pass);
    for protocols in [
        format!("binary, meridian.pass.{token}"),
        format!("meridian.v1, meridian.ticket.{token}, meridian.pass.{token}"),
    ] {
        assert!(matches!(
            refused(world.judge_request(&world.offer(&protocols), 1000)),
            Refusal::Protocols(_)
        ));
    }
    let disguised = world.judge_request(&world.request(&token), 1000);
    assert!(matches!(refused(disguised), Refusal::Ticket(_)), "a pass is no ticket");
    world.revocations.push(Revocation { session_id: world.session, issued_before: at(1001), because: None });
    assert_eq!(refused(world.judge_pass(&pass, 1000)), Refusal::Revoked);
}

#[test]
fn a_ticket_does_not_go_on_without_the_question() {
    let world = World::new();
    let accepted = world.judge(&world.ticket(), 1000).ok().unwrap();
    assert!(matches!(refused(accepted.resume()), Refusal::Protocols(_)));
}
