//! Why a connection is not relayed: what the person reads, whose fault it is, whether trying again may help.
//!
//! Reply, metric label and log level follow from the variant. No text here names any part of a ticket or a grant.

mod facts;

use http::StatusCode;
use meridian_ticket::TokenError;
use meridian_wire::{WireError, WireErrorBody};

/// Which part failed, as the envelope's `hop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hop {
    Client,
    Proxy,
    Web,
    Agent,
}

impl Hop {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Proxy => "proxy",
            Self::Web => "web",
            Self::Agent => "agent",
        }
    }
}

/// How loud the log should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client's doing: nobody needs to look.
    Client,
    /// A part of ours does not do its work.
    Ours,
}

/// A refusal of the Web App or an agent, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    pub status: StatusCode,
    pub code: String,
    pub message: String,
    pub hop: Option<String>,
    pub hint: Option<String>,
}

impl Passed {
    /// Takes what an error envelope says, or `fallback` where there is none.
    #[must_use]
    pub fn read(status: StatusCode, body: &[u8], fallback: (&str, &str)) -> Self {
        match serde_json::from_slice::<WireError>(body) {
            Ok(WireError { error }) => {
                Self { status, code: error.code, message: error.message, hop: error.hop, hint: error.hint }
            }
            Err(_) => Self {
                status,
                code: fallback.0.to_owned(),
                message: fallback.1.to_owned(),
                hop: None,
                hint: None,
            },
        }
    }
}

/// Why a connection is not relayed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("The request is malformed: {0}.")]
    Malformed(&'static str),
    #[error("The request's head is too long.")]
    HeadTooLong,
    #[error("The request's head took too long to arrive.")]
    HeadTooSlow,
    #[error("Nothing is here.")]
    NotFound,
    #[error("Only GET is possible here.")]
    Method,
    #[error("This address speaks WebSocket: it carries a session's stream.")]
    UpgradeRequired,
    #[error("Only version 13 of WebSocket is spoken here.")]
    Version,
    #[error("The WebSocket subprotocols do not fit: {0}.")]
    Protocols(&'static str),
    #[error("This page may not open streams of this zone.")]
    Origin,
    #[error("The connect ticket was refused: {0}.")]
    Ticket(TokenError),
    #[error("The connect ticket is for another session.")]
    TicketSession,
    #[error("The connect ticket is for another subprotocol.")]
    TicketTransport,
    #[error("Access to this session was taken away.")]
    Revoked,
    #[error("This proxy has not heard from the control plane yet.")]
    NotReady,
    #[error("This proxy carries as many streams as it may.")]
    Full,
    #[error("This proxy is about to stop.")]
    Stopping,
    #[error("This proxy is being drained: it takes no new streams.")]
    Draining,
    #[error("This proxy could not sign its question to the Web App.")]
    Signing,
    #[error("This proxy does not know where the session's agent is.")]
    AgentUnknown,
    #[error("{}", .0.message)]
    WebRefused(Passed),
    #[error("The Web App could not be asked whether this connection is allowed.")]
    WebUnreachable,
    #[error("The Web App did not say in time whether this connection is allowed.")]
    WebSilent,
    #[error("The Web App's answer was not understood: {0}.")]
    WebAnswer(&'static str),
    #[error("More people open streams to the machine that runs this session than it can take at once.")]
    AgentBusy,
    #[error("The machine that runs this session could not be reached.")]
    AgentUnreachable,
    #[error("The machine that runs this session did not answer in time.")]
    AgentSilent,
    #[error("{}", .0.message)]
    AgentRefused(Passed),
    #[error("The machine that runs this session was not understood: {0}.")]
    AgentAnswer(&'static str),
}

impl Refusal {
    #[must_use]
    pub fn hop(&self) -> Hop {
        self.facts().hop
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.facts().status
    }

    /// The metric label; also the stable code, but where the Web App or an agent has one of its own.
    #[must_use]
    pub fn label(&self) -> &'static str {
        self.facts().code
    }

    #[must_use]
    pub fn retryable(&self) -> bool {
        self.facts().retryable
    }

    #[must_use]
    pub fn fault(&self) -> Fault {
        if self.passed().is_some_and(|passed| passed.status.is_client_error()) || self.hop() == Hop::Client {
            Fault::Client
        } else {
            Fault::Ours
        }
    }

    /// The words of another part, where they are passed on.
    fn passed(&self) -> Option<&Passed> {
        if let Self::WebRefused(passed) | Self::AgentRefused(passed) = self { Some(passed) } else { None }
    }

    /// The envelope that the browser gets.
    #[must_use]
    pub fn envelope(&self, request_id: &str) -> WireError {
        let facts = self.facts();
        let hint = Some(facts.hint.to_owned()).filter(|hint| !hint.is_empty());
        let (code, hop, hint) = match self.passed() {
            Some(passed) => (passed.code.clone(), passed.hop.clone(), passed.hint.clone()),
            None => (facts.code.to_owned(), None, hint),
        };
        WireError {
            error: WireErrorBody {
                code,
                message: self.to_string(),
                hop: Some(hop.unwrap_or_else(|| facts.hop.as_str().to_owned())),
                hint,
                request_id: request_id.to_owned(),
            },
        }
    }

    /// The whole HTTP answer. The connection ends with it.
    #[must_use]
    pub fn answer(&self, request_id: &str) -> Vec<u8> {
        let status = self.status();
        let body = serde_json::to_vec(&self.envelope(request_id)).unwrap_or_default();
        let more = match status {
            StatusCode::UPGRADE_REQUIRED => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            StatusCode::METHOD_NOT_ALLOWED => "Allow: GET\r\n",
            StatusCode::SERVICE_UNAVAILABLE => "Retry-After: 1\r\n",
            _ => "",
        };
        let head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             Connection: close\r\n{more}\r\n",
            status.as_str(),
            status.canonical_reason().unwrap_or("Refused"),
            body.len(),
        );
        [head.as_bytes(), &body].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(status: u16) -> Passed {
        let body = br#"{"error":{"code":"ticket_used","message":"The ticket was used.","request_id":"r"}}"#;
        Passed::read(StatusCode::from_u16(status).unwrap(), body, ("x", "y"))
    }

    #[test]
    fn an_answer_is_http_that_carries_the_envelope() {
        let answer = String::from_utf8(Refusal::Origin.answer("r1")).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 403 Forbidden\r\n"), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        let envelope: WireError = serde_json::from_str(body).unwrap();
        assert_eq!(envelope.error.code, "origin_forbidden");
        assert_eq!(
            (envelope.error.hop.as_deref(), envelope.error.request_id.as_str()),
            (Some("client"), "r1")
        );
    }

    #[test]
    fn every_code_is_in_the_operators_guide() {
        const GUIDE: &str = include_str!("../../../docs/operators/proxies.md");
        let all = [
            Refusal::Malformed("x"),
            Refusal::HeadTooLong,
            Refusal::HeadTooSlow,
            Refusal::NotFound,
            Refusal::Method,
            Refusal::UpgradeRequired,
            Refusal::Version,
            Refusal::Protocols("x"),
            Refusal::Origin,
            Refusal::Ticket(TokenError::Expired),
            Refusal::Ticket(TokenError::NotYetValid),
            Refusal::Ticket(TokenError::UnknownKey),
            Refusal::Ticket(TokenError::WrongAudience),
            Refusal::Ticket(TokenError::Signature),
            Refusal::Ticket(TokenError::Malformed),
            Refusal::TicketSession,
            Refusal::TicketTransport,
            Refusal::Revoked,
            Refusal::NotReady,
            Refusal::Full,
            Refusal::Stopping,
            Refusal::Signing,
            Refusal::AgentUnknown,
            Refusal::WebRefused(passed(409)),
            Refusal::WebUnreachable,
            Refusal::WebSilent,
            Refusal::WebAnswer("x"),
            Refusal::AgentBusy,
            Refusal::AgentUnreachable,
            Refusal::AgentSilent,
            Refusal::AgentRefused(passed(409)),
            Refusal::AgentAnswer("x"),
        ];
        for refusal in all {
            assert!(GUIDE.contains(&format!("`{}`", refusal.label())), "{}", refusal.label());
            let ours = refusal.fault() == Fault::Ours;
            assert_eq!(ours, refusal.status().is_server_error(), "{}", refusal.label());
        }
    }

    #[test]
    fn the_web_apps_own_words_are_passed_on() {
        let refusal = Refusal::WebRefused(passed(409));
        let envelope = refusal.envelope("r").error;
        assert_eq!(
            (envelope.code.as_str(), envelope.message.as_str()),
            ("ticket_used", "The ticket was used.")
        );
        assert_eq!(envelope.hop.as_deref(), Some("web"));
        assert_eq!(
            (refusal.status().as_u16(), refusal.retryable(), refusal.fault()),
            (409, false, Fault::Client)
        );
        assert_eq!(Refusal::AgentRefused(passed(503)).fault(), Fault::Ours);
        assert_eq!(Passed::read(StatusCode::BAD_REQUEST, b"<html>", ("x", "y")).code, "x");
    }
}
