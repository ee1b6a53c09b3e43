//! Why an agent refuses a request, and how that is said: whose fault, what the user may read, what to do next.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use meridian_runtime::random_bytes;
use meridian_wire::{WireError, WireErrorBody};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("the request is malformed: {0}")]
    Malformed(&'static str),
    #[error("there is nothing at this address")]
    NotFound,
    #[error("this kind of node may not do that")]
    Peer,
    #[error("the stream grant is not accepted: {0}")]
    Grant(String),
    #[error("the stream was granted before this agent started")]
    Restarted,
    #[error(
        "the control plane has been away for longer than this zone allows streams to be resumed without it"
    )]
    Outage,
    #[error("access to the session was taken away")]
    Revoked,
    #[error("the session is not known on this agent")]
    UnknownSession,
    #[error("the grant is for an older state of the session")]
    Stale,
    #[error("the session has ended: {0}")]
    Ended(String),
    #[error("the workspace could not be started: {0}")]
    Failed(String),
    #[error("the update is not taken: {0}")]
    Update(String),
    #[error("this agent serves as many streams as it may")]
    Busy,
    #[error("this agent is stopping")]
    Stopping,
}

impl Refusal {
    /// Stable, for programs and as a metric's label.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::NotFound => "not_found",
            Self::Peer => "forbidden",
            Self::Grant(_) => "grant_refused",
            Self::Restarted => "agent_restarted",
            Self::Outage => "outage_grace_over",
            Self::Revoked => "revoked",
            Self::UnknownSession => "unknown_session",
            Self::Stale => "stale_generation",
            Self::Ended(_) => "session_ended",
            Self::Failed(_) => "session_failed",
            Self::Update(_) => "update_refused",
            Self::Busy => "agent_busy",
            Self::Stopping => "agent_stopping",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::NotFound | Self::UnknownSession => StatusCode::NOT_FOUND,
            Self::Peer | Self::Grant(_) | Self::Revoked => StatusCode::FORBIDDEN,
            Self::Stale | Self::Update(_) => StatusCode::CONFLICT,
            Self::Ended(_) | Self::Failed(_) => StatusCode::GONE,
            Self::Restarted | Self::Outage | Self::Busy | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Grant(_) | Self::Restarted | Self::Stale => {
                Some("Connect again: a new ticket is made for each connection.")
            }
            Self::Revoked => Some("Sign in again."),
            Self::Outage => {
                Some("The session goes on; it can be opened again when the control plane is back.")
            }
            Self::UnknownSession => Some("Reload the list of sessions; it may have ended."),
            Self::Ended(_) | Self::Failed(_) => Some("Launch the workspace again."),
            Self::Busy | Self::Stopping => Some("Try again in a few seconds."),
            Self::Malformed(_) | Self::NotFound | Self::Peer | Self::Update(_) => None,
        }
    }

    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let hop = if matches!(self, Self::Failed(_)) { "workspace" } else { "agent" };
        let envelope = WireError {
            error: WireErrorBody {
                code: self.code().into(),
                message: sentence(&self.to_string()),
                hop: Some(hop.into()),
                hint: self.hint().map(String::from),
                request_id: u64::from_be_bytes(random_bytes()).to_string(),
            },
        };
        let body = serde_json::to_vec(&envelope).expect("an envelope is plain data");
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = self.status();
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        response
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
