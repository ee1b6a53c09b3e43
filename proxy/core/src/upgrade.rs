//! The upgrade request as a browser sends it (RFC 6455 §4.2.1), judged before anything else happens.

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, Method, Request, header};
use meridian_ids::SessionId;
use meridian_model::Transport;
use meridian_wire::{PASS_PROTOCOL_PREFIX, TICKET_PROTOCOL_PREFIX};

use crate::Refusal;

/// RFC 6455 §1.3.
const ACCEPT_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// By what a viewer asks for a stream; not looked into yet.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A connect ticket (JWT): the Web App is asked.
    Ticket(String),
    /// A resume pass (JWT): nobody is asked, and the viewer proves to the agent that it has the stream's key.
    Pass(String),
}

/// A well-formed upgrade request, its credential not yet looked into.
#[derive(Clone, PartialEq, Eq)]
pub struct Upgrade {
    pub session: SessionId,
    pub transport: Transport,
    pub credential: Credential,
    /// `Sec-WebSocket-Key`.
    pub key: String,
}

impl Upgrade {
    /// Judges a request for `/{proxy_path}/{session_id}/stream`.
    ///
    /// # Errors
    /// What the browser is to read.
    pub fn read(request: &Request<()>, proxy_path: &str) -> Result<Self, Refusal> {
        let session = session_of(request.uri().path(), proxy_path).ok_or(Refusal::NotFound)?;
        if request.uri().query().is_some() {
            return Err(Refusal::Malformed("the address of a stream has no query"));
        }
        if request.method() != Method::GET {
            return Err(Refusal::Method);
        }
        let headers = request.headers();
        let no_body = headers.get(header::CONTENT_LENGTH).is_none_or(|length| length == "0");
        if !no_body || headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(Refusal::Malformed("an upgrade has no body"));
        }
        if !lists(headers, &header::UPGRADE, "websocket") || !lists(headers, &header::CONNECTION, "upgrade") {
            return Err(Refusal::UpgradeRequired);
        }
        if single(headers, &header::SEC_WEBSOCKET_VERSION) != Some("13") {
            return Err(Refusal::Version);
        }
        let key = single(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_key(key));
        let key = key.ok_or(Refusal::Malformed("Sec-WebSocket-Key must be 16 bytes in base64"))?;
        let (transport, credential) = protocols(headers)?;
        Ok(Self { session, transport, credential, key: key.to_owned() })
    }
}

/// What a server answers to a key (RFC 6455 §4.2.2).
#[must_use]
pub fn accept_key(key: &str) -> String {
    let text = format!("{key}{ACCEPT_GUID}");
    BASE64_STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

fn session_of(path: &str, proxy_path: &str) -> Option<SessionId> {
    let rest = path.strip_prefix('/')?.strip_prefix(proxy_path.trim_matches('/'))?;
    let segment = rest.strip_prefix('/')?.strip_suffix("/stream")?;
    let session: SessionId = segment.parse().ok()?;
    // Ids have other spellings; only the usual one is an address.
    (session.to_string() == segment).then_some(session)
}

/// The subprotocols offered: one transport and one ticket or pass, in any order, in one header or two.
fn protocols(headers: &HeaderMap) -> Result<(Transport, Credential), Refusal> {
    let (mut transport, mut credential) = (None, None);
    for entry in entries(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
        let entry = entry.ok_or(Refusal::Protocols("they are not readable"))?;
        if let Some(found) = credential_of(entry) {
            if credential.replace(found).is_some() {
                return Err(Refusal::Protocols("there is more than one ticket"));
            }
        } else {
            let known = Transport::parse(entry).ok_or(Refusal::Protocols("one of them is not known"))?;
            if transport.replace(known).is_some() {
                return Err(Refusal::Protocols("there is more than one beside the ticket"));
            }
        }
    }
    match (transport, credential) {
        (Some(Transport::Binary), Some(Credential::Pass(_))) => {
            Err(Refusal::Protocols("only meridian.v1 resumes"))
        }
        (Some(transport), Some(credential)) => Ok((transport, credential)),
        (None, _) => Err(Refusal::Protocols("neither meridian.v1 nor binary is among them")),
        (Some(_), None) => Err(Refusal::Protocols("there is no ticket among them")),
    }
}

fn credential_of(entry: &str) -> Option<Credential> {
    let ticket = entry.strip_prefix(TICKET_PROTOCOL_PREFIX).map(|token| Credential::Ticket(token.to_owned()));
    ticket
        .or_else(|| entry.strip_prefix(PASS_PROTOCOL_PREFIX).map(|token| Credential::Pass(token.to_owned())))
}

/// The entries of a comma-separated header, all its lines together; `None` for a line that is no text.
fn entries<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Option<&'a str>> {
    headers.get_all(name).iter().flat_map(|value| {
        let (text, unreadable) = match value.to_str() {
            Ok(text) => (text, None),
            Err(_) => ("", Some(None)),
        };
        text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(Some).chain(unreadable)
    })
}

pub(crate) fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    entries(headers, name).flatten().any(|entry| entry.eq_ignore_ascii_case(wanted))
}

/// A header's value when it is there exactly once.
pub(crate) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        (None, _) | (Some(_), Some(_)) => None,
    }
}

fn is_key(key: &str) -> bool {
    BASE64_STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parse_request;

    const SESSION: &str = "01991f00-0000-7000-8000-0000000000a1";

    fn read(path: &str, edit: impl Fn(&str) -> String) -> Result<Upgrade, Refusal> {
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: meridian.v1, meridian.ticket.a.b.c\r\n\r\n"
        );
        let head = edit(&head);
        Upgrade::read(&parse_request(head.as_bytes())?.unwrap().message, "desktop")
    }

    fn usual() -> String {
        format!("/desktop/{SESSION}/stream")
    }

    #[test]
    fn a_browsers_upgrade_is_read() {
        let upgrade = read(&usual(), str::to_owned).ok().unwrap();
        assert_eq!(upgrade.session.to_string(), SESSION);
        assert_eq!(upgrade.transport, Transport::MeridianV1);
        assert!(upgrade.credential == Credential::Ticket("a.b.c".into()));
        let other = read(&usual(), |head| {
            head.replace(
                "meridian.v1, meridian.ticket.a.b.c",
                "meridian.ticket.x\r\nSec-WebSocket-Protocol: binary",
            )
        });
        assert_eq!(other.ok().unwrap().transport, Transport::Binary);
    }

    #[test]
    fn only_the_exact_path_is_a_stream() {
        for path in [
            "/".to_owned(),
            format!("/desktop/{SESSION}"),
            format!("/desktop/{SESSION}/stream/"),
            format!("//desktop/{SESSION}/stream"),
            format!("/desktop2/{SESSION}/stream"),
            format!("/other/{SESSION}/stream"),
            format!("/desktop/{}/stream", SESSION.to_uppercase()),
            format!("/desktop/{}/stream", SESSION.replace('-', "")),
            format!("/desktop/{{{SESSION}}}/stream"),
            format!("/desktop/../desktop/{SESSION}/stream"),
            "/desktop/x/stream".to_owned(),
        ] {
            assert_eq!(read(&path, str::to_owned).err(), Some(Refusal::NotFound), "{path}");
        }
        assert!(matches!(read(&format!("{}?t=1", usual()), str::to_owned), Err(Refusal::Malformed(_))));
    }

    #[test]
    fn what_is_no_upgrade_is_told_so() {
        let with = |from: &'static str, to: &'static str| {
            read(&usual(), move |head| head.replace(from, to)).err().unwrap()
        };
        assert_eq!(with("GET", "POST"), Refusal::Method);
        assert_eq!(with("Upgrade: WebSocket\r\n", ""), Refusal::UpgradeRequired);
        assert_eq!(with("keep-alive, Upgrade", "keep-alive"), Refusal::UpgradeRequired);
        assert_eq!(with("Version: 13", "Version: 8"), Refusal::Version);
        assert!(matches!(with("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), Refusal::Malformed(_)));
        assert!(matches!(with("dGhlIHNhbXBsZSBub25jZQ==", "!"), Refusal::Malformed(_)));
        assert!(matches!(with("Host: a\r\n", "Content-Length: 5\r\n"), Refusal::Malformed(_)));
        assert!(matches!(with("Host: a\r\n", "Transfer-Encoding: chunked\r\n"), Refusal::Malformed(_)));
        for protocols in [
            "",
            "meridian.v1",
            "meridian.ticket.a",
            "meridian.v1, binary, meridian.ticket.a",
            "meridian.v1, meridian.ticket.a, meridian.ticket.b",
            "meridian.v1, other, meridian.ticket.a",
            "meridian.v1, meridian.v1, meridian.ticket.a",
        ] {
            assert!(
                matches!(with("meridian.v1, meridian.ticket.a.b.c", protocols), Refusal::Protocols(_)),
                "{protocols}"
            );
        }
    }

    #[test]
    fn the_accept_key_is_the_rfcs() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    proptest! {
        #[test]
        fn an_offer_is_good_exactly_when_it_is_one_transport_and_one_ticket(
            offered in prop::collection::vec(0_usize..5, 0..5),
            separator in "( ,|, |,,)",
        ) {
            let known = ["meridian.v1", "binary", "meridian.ticket.a", "meridian.ticket.b", "other"];
            let line: Vec<&str> = offered.iter().map(|&index| known[index]).collect();
            let line = line.join(&separator);
            let good = offered.len() == 2
                && offered.iter().filter(|&&index| index < 2).count() == 1
                && !offered.contains(&4);
            let found = read(&usual(), |head| head.replace("meridian.v1, meridian.ticket.a.b.c", &line));
            prop_assert_eq!(found.is_ok(), good, "{}", line);
        }

        #[test]
        fn no_path_and_no_header_make_the_reader_panic(path in "/[ -~]{0,60}", value in "[ -~]{0,60}") {
            let _ = read(&path, str::to_owned);
            for name in ["WebSocket\r\n", "keep-alive, Upgrade", "13", "dGhlIHNhbXBsZSBub25jZQ=="] {
                let _ = read(&usual(), |head| head.replace(name, &value));
            }
        }
    }
}
