//! The phases of a connection. Each is made from the one before by a judgement that may refuse.

use http::{Request, Response};
use jiff::Timestamp;
use meridian_ids::{NodeId, SessionId, ZoneId};
use meridian_model::{Transport, ZoneSettings};
use meridian_ticket::{KeySet, MAX_TOKEN_BYTES, Ticket};
use meridian_wire::{AuthorizeRequest, AuthorizeResponse, Revocation};

use crate::{
    Refusal, RequestHost, Upgrade, UpstreamKey, accept_key,
    origin::check,
    upstream::{judge, request},
};

/// What the proxy knows of its zone.
#[derive(Clone, Copy, Debug)]
pub struct Zone<'a> {
    pub id: ZoneId,
    pub settings: &'a ZoneSettings,
    pub keys: &'a KeySet,
    pub revocations: &'a [Revocation],
}

/// A well-formed request from an allowed page with a good ticket. Nothing was asked or dialled for it yet.
pub struct Accepted {
    upgrade: Upgrade,
    ticket: Ticket,
    host: RequestHost,
}

impl Accepted {
    /// Judges a request at control-plane time `now`.
    ///
    /// # Errors
    /// What the browser is to read.
    pub fn judge(request: &Request<()>, zone: &Zone<'_>, now: Timestamp) -> Result<Self, Refusal> {
        let upgrade = Upgrade::read(request, &zone.settings.proxy_path)?;
        let host = RequestHost::read(request.headers())?;
        check(request.headers(), &zone.settings.allow_origin_domain, &host)?;
        let ticket = zone.keys.check_ticket(&upgrade.ticket, zone.id, now).map_err(Refusal::Ticket)?;
        if ticket.sub != upgrade.session {
            return Err(Refusal::TicketSession);
        }
        if ticket.transport != upgrade.transport {
            return Err(Refusal::TicketTransport);
        }
        if revoked(ticket.sub, ticket.iat, zone.revocations) {
            return Err(Refusal::Revoked);
        }
        Ok(Self { upgrade, ticket, host })
    }

    #[must_use]
    pub fn session(&self) -> SessionId {
        self.ticket.sub
    }

    /// The agent to dial while the Web App is asked.
    #[must_use]
    pub fn agent(&self) -> NodeId {
        self.ticket.agent
    }

    #[must_use]
    pub fn host(&self) -> &RequestHost {
        &self.host
    }

    /// The question to the Web App; the same on every try.
    #[must_use]
    pub fn question(&self, connection_nonce: String, client_address: String) -> AuthorizeRequest {
        AuthorizeRequest { ticket: self.upgrade.ticket.clone(), connection_nonce, client_address }
    }

    /// Takes the Web App's answer.
    ///
    /// # Errors
    /// [`Refusal::WebAnswer`] when it cannot be used.
    pub fn authorize(self, answer: AuthorizeResponse) -> Result<Authorized, Refusal> {
        let grant = answer.grant;
        // It becomes a header: nothing but the characters of a JWT may be in it.
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if grant.is_empty() || grant.len() > MAX_TOKEN_BYTES || !grant.bytes().all(fit) {
            return Err(Refusal::WebAnswer("the grant is none"));
        }
        if answer.agent_id != self.ticket.agent {
            return Err(Refusal::WebAnswer("it names another agent than the ticket"));
        }
        Ok(Authorized {
            session: self.ticket.sub,
            issued_at_s: self.ticket.iat,
            transport: self.upgrade.transport,
            key: self.upgrade.key,
            grant,
        })
    }
}

/// The Web App allowed the connection. The ticket is gone; the grant goes to the agent.
pub struct Authorized {
    session: SessionId,
    issued_at_s: i64,
    transport: Transport,
    key: String,
    grant: String,
}

impl Authorized {
    /// The upgrade request for the agent, which is known by `server_name`.
    #[must_use]
    pub fn upstream_request(&self, server_name: &str, key: &UpstreamKey) -> Vec<u8> {
        request(self.session, self.transport, &self.grant, server_name, key)
    }

    /// Takes the agent's answer.
    ///
    /// # Errors
    /// [`Refusal::AgentAnswer`] when it is no proper upgrade.
    pub fn connect(self, answer: &Response<()>, key: &UpstreamKey) -> Result<Connected, Refusal> {
        judge(answer, self.transport, key)?;
        Ok(Connected {
            session: self.session,
            issued_at_s: self.issued_at_s,
            transport: self.transport,
            key: self.key,
        })
    }
}

/// Both sides speak; only bytes are left to be passed on.
pub struct Connected {
    session: SessionId,
    issued_at_s: i64,
    transport: Transport,
    key: String,
}

impl Connected {
    /// The answer to the browser.
    #[must_use]
    pub fn answer(&self) -> Vec<u8> {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {}\r\n\r\n",
            accept_key(&self.key),
            self.transport.as_str(),
        )
        .into_bytes()
    }

    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// When the ticket was issued, in seconds since 1970: what revocations are compared with.
    #[must_use]
    pub fn issued_at_s(&self) -> i64 {
        self.issued_at_s
    }

    /// The proxy stops: the stream goes on for its time, and is cut then.
    #[must_use]
    pub fn drain(self) -> Draining {
        Draining { session: self.session }
    }
}

/// A live stream of a proxy that stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draining {
    pub session: SessionId,
}

/// Whether a stream of `session`, its ticket issued at `issued_at_s`, is to be cut.
#[must_use]
pub fn revoked(session: SessionId, issued_at_s: i64, revocations: &[Revocation]) -> bool {
    let issued_at = Timestamp::from_second(issued_at_s).unwrap_or(Timestamp::MIN);
    revocations
        .iter()
        .any(|revocation| revocation.session_id == session && issued_at < revocation.issued_before)
}
