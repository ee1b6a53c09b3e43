//! The table of refusals: whose fault, status, stable code, whether trying again may help, and what to do next.

use http::StatusCode;
use meridian_ticket::TokenError;

use super::{Hop, Refusal};

/// Everything about a refusal but its text.
pub(super) struct Facts {
    pub(super) hop: Hop,
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) retryable: bool,
    pub(super) hint: &'static str,
}

const SIGN_IN: &str = "Reload the page to get a new ticket.";
const AGAIN: &str = "Try again in a moment.";

impl Refusal {
    pub(super) fn facts(&self) -> Facts {
        use Hop::{Agent, Client, Proxy, Web};
        let of =
            |hop, status: StatusCode, code, retryable, hint| Facts { hop, status, code, retryable, hint };
        match self {
            Self::Malformed(_) => of(Client, StatusCode::BAD_REQUEST, "malformed", false, ""),
            Self::HeadTooLong => of(
                Client,
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_long",
                false,
                "Clear this site's cookies.",
            ),
            Self::HeadTooSlow => of(Client, StatusCode::REQUEST_TIMEOUT, "head_too_slow", true, AGAIN),
            Self::NotFound => of(
                Client,
                StatusCode::NOT_FOUND,
                "not_found",
                false,
                "Streams are at /{proxy_path}/{session}/stream: compare the zone's proxy_path with the address.",
            ),
            Self::Method => of(Client, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", false, ""),
            Self::UpgradeRequired => of(
                Client,
                StatusCode::UPGRADE_REQUIRED,
                "upgrade_required",
                false,
                "Open it as a WebSocket. If the browser did, something between it and the proxy drops the Upgrade header.",
            ),
            Self::Version => of(Client, StatusCode::UPGRADE_REQUIRED, "websocket_version", false, ""),
            Self::Protocols(_) => of(
                Client,
                StatusCode::BAD_REQUEST,
                "protocols",
                false,
                "Offer exactly the list that the connect call answered.",
            ),
            Self::Origin => of(
                Client,
                StatusCode::FORBIDDEN,
                "origin_forbidden",
                false,
                "Compare the zone's allow_origin_domain with the address in the browser.",
            ),
            Self::Ticket(TokenError::Expired) => {
                of(Client, StatusCode::UNAUTHORIZED, "ticket_expired", false, SIGN_IN)
            }
            Self::Ticket(TokenError::NotYetValid) => of(
                Client,
                StatusCode::UNAUTHORIZED,
                "ticket_not_yet_valid",
                true,
                "Check the clocks of the Web App and this proxy.",
            ),
            Self::Ticket(TokenError::WrongAudience) => of(
                Client,
                StatusCode::FORBIDDEN,
                "ticket_foreign_zone",
                false,
                "The zone's proxy address leads to another zone's proxy.",
            ),
            Self::Ticket(TokenError::UnknownKey) => {
                of(Client, StatusCode::UNAUTHORIZED, "ticket_unknown_key", true, SIGN_IN)
            }
            Self::Ticket(TokenError::Malformed | TokenError::Signature) => {
                of(Client, StatusCode::UNAUTHORIZED, "ticket_invalid", false, SIGN_IN)
            }
            Self::TicketSession => of(Client, StatusCode::FORBIDDEN, "ticket_other_session", false, SIGN_IN),
            Self::TicketTransport => {
                of(Client, StatusCode::FORBIDDEN, "ticket_other_protocol", false, SIGN_IN)
            }
            Self::Revoked => of(Client, StatusCode::FORBIDDEN, "revoked", false, "Sign in again."),
            Self::NotReady => of(
                Proxy,
                StatusCode::SERVICE_UNAVAILABLE,
                "proxy_not_ready",
                true,
                "Check that the proxy reaches the Web App's node listener.",
            ),
            Self::Full => of(
                Proxy,
                StatusCode::SERVICE_UNAVAILABLE,
                "proxy_full",
                true,
                "Add a proxy to the zone, or raise max_streams.",
            ),
            Self::Stopping => of(Proxy, StatusCode::SERVICE_UNAVAILABLE, "proxy_stopping", true, AGAIN),
            Self::Draining => of(
                Proxy,
                StatusCode::SERVICE_UNAVAILABLE,
                "proxy_draining",
                true,
                "Try again in a moment: another proxy of the zone takes it. If none is left, an administrator can take this one back: meridian admin nodes undrain.",
            ),
            Self::Signing => {
                of(Proxy, StatusCode::INTERNAL_SERVER_ERROR, "proxy_signing", false, "See the proxy's log.")
            }
            Self::AgentUnknown => of(
                Proxy,
                StatusCode::SERVICE_UNAVAILABLE,
                "agent_unknown",
                true,
                "Set the zone's private_balancer, or the agent's advertise address.",
            ),
            Self::WebRefused(passed) => {
                of(Web, passed.status, "web_refused", passed.status.is_server_error(), "")
            }
            Self::WebUnreachable => of(
                Web,
                StatusCode::BAD_GATEWAY,
                "web_unreachable",
                true,
                "Check the zone's upstream_auth_address from the proxy's machine.",
            ),
            Self::WebSilent => of(
                Web,
                StatusCode::GATEWAY_TIMEOUT,
                "web_silent",
                true,
                "Check the zone's upstream_auth_address from the proxy's machine.",
            ),
            Self::WebAnswer(_) => of(
                Web,
                StatusCode::BAD_GATEWAY,
                "web_answer",
                false,
                "The zone's upstream_auth_address may lead to something other than the Web App.",
            ),
            Self::AgentBusy => of(
                Agent,
                StatusCode::SERVICE_UNAVAILABLE,
                "agent_busy",
                true,
                "Nothing needs to be done after a failure: streams come back one after the other. If it lasts, give the zone another agent.",
            ),
            Self::AgentUnreachable => of(
                Agent,
                StatusCode::BAD_GATEWAY,
                "agent_unreachable",
                true,
                "Check the agent and the zone's private balancer.",
            ),
            Self::AgentSilent => of(
                Agent,
                StatusCode::GATEWAY_TIMEOUT,
                "agent_silent",
                true,
                "Check the agent and the zone's private balancer.",
            ),
            Self::AgentRefused(passed) => {
                of(Agent, passed.status, "agent_refused", passed.status.is_server_error(), "")
            }
            Self::AgentAnswer(_) => of(
                Agent,
                StatusCode::BAD_GATEWAY,
                "agent_answer",
                false,
                "Update agent and proxy to neighbouring releases.",
            ),
        }
    }
}
