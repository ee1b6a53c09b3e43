//! The phases of a connection. Each is made from the one before by a judgement that may refuse.

use http::{Request, Response};
use jiff::Timestamp;
use meridian_ids::{NodeId, SessionId, ZoneId};
use meridian_model::{Transport, ZoneSettings};
use meridian_ticket::{KeySet, MAX_TOKEN_BYTES, Pass, Ticket};
use meridian_wire::{AuthorizeRequest, AuthorizeResponse, Revocation};

use crate::{
    Refusal, RequestHost, Upgrade, UpstreamKey, accept_key,
    origin::check,
    upgrade::Credential,
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

/// A well-formed request from an allowed page with a good ticket or pass. Nothing was asked or dialled for it yet.
pub struct Accepted {
    transport: Transport,
    key: String,
    host: RequestHost,
    session: SessionId,
    agent: NodeId,
    issued_at_s: i64,
    /// The JWT, verified.
    credential: Credential,
}

/// What a ticket and a pass have in common.
struct Claims {
    session: SessionId,
    agent: NodeId,
    issued_at_s: i64,
    transport: Transport,
}

impl Claims {
    fn read(credential: &Credential, zone: &Zone<'_>, now: Timestamp) -> Result<Self, Refusal> {
        match credential {
            Credential::Ticket(token) => {
                let Ticket { sub, agent, iat, transport, .. } =
                    zone.keys.check_ticket(token, zone.id, now).map_err(Refusal::Ticket)?;
                Ok(Self { session: sub, agent, issued_at_s: iat, transport })
            }
            Credential::Pass(token) => {
                let Pass { sub, agent, iat, .. } =
                    zone.keys.check_pass(token, zone.id, now).map_err(Refusal::Ticket)?;
                Ok(Self { session: sub, agent, issued_at_s: iat, transport: Transport::MeridianV1 })
            }
        }
    }
}

/// What comes after a judgement.
pub enum Next {
    /// The Web App is to be asked, while the agent is dialled.
    Ask(AuthorizeRequest),
    /// A pass needs nobody's word: the agent judges it and the viewer's proof.
    Resume,
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
        let claims = Claims::read(&upgrade.credential, zone, now)?;
        if claims.session != upgrade.session {
            return Err(Refusal::TicketSession);
        }
        if claims.transport != upgrade.transport {
            return Err(Refusal::TicketTransport);
        }
        if revoked(claims.session, claims.issued_at_s, zone.revocations) {
            return Err(Refusal::Revoked);
        }
        let Upgrade { transport, credential, key, .. } = upgrade;
        let Claims { session, agent, issued_at_s, .. } = claims;
        Ok(Self { transport, key, host, session, agent, issued_at_s, credential })
    }

    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The agent to dial while the Web App is asked.
    #[must_use]
    pub fn agent(&self) -> NodeId {
        self.agent
    }

    #[must_use]
    pub fn host(&self) -> &RequestHost {
        &self.host
    }

    /// Whether the Web App must be asked, and what; the same on every try.
    #[must_use]
    pub fn next(&self, connection_nonce: String, client_address: String) -> Next {
        match &self.credential {
            Credential::Ticket(ticket) => {
                Next::Ask(AuthorizeRequest { ticket: ticket.clone(), connection_nonce, client_address })
            }
            Credential::Pass(_) => Next::Resume,
        }
    }

    /// Takes the Web App's answer.
    ///
    /// # Errors
    /// [`Refusal::WebAnswer`] when it cannot be used.
    pub fn authorize(self, answer: AuthorizeResponse) -> Result<Authorized, Refusal> {
        if answer.agent_id != self.agent {
            return Err(Refusal::WebAnswer("it names another agent than the ticket"));
        }
        self.authorized(answer.grant).ok_or(Refusal::WebAnswer("the grant is none"))
    }

    /// Goes on with a pass.
    ///
    /// # Errors
    /// [`Refusal::Protocols`] when there is a ticket, about which the Web App must be asked.
    pub fn resume(self) -> Result<Authorized, Refusal> {
        match &self.credential {
            Credential::Pass(pass) => {
                let pass = pass.clone();
                self.authorized(pass).ok_or(Refusal::Protocols("the pass is none"))
            }
            Credential::Ticket(_) => Err(Refusal::Protocols("a ticket is no pass")),
        }
    }

    fn authorized(self, grant: String) -> Option<Authorized> {
        // It becomes a header: nothing but the characters of a JWT may be in it.
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_token = !grant.is_empty() && grant.len() <= MAX_TOKEN_BYTES && grant.bytes().all(fit);
        is_token.then_some(Authorized {
            session: self.session,
            issued_at_s: self.issued_at_s,
            transport: self.transport,
            key: self.key,
            grant,
        })
    }
}

/// The Web App allowed the connection, or there is a pass. The ticket is gone; the grant or the pass goes to the agent.
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
