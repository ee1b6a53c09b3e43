//! Launch, look, connect, authorise, end.

use std::collections::BTreeMap;

use meridian_ids::{GrantId, NodeId, SessionId, TicketId, UserId, WorkspaceId, ZoneId};
use meridian_model::{UserPolicy, ZoneSettings};
use meridian_ticket::Ticket;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Json;

use super::{
    Store, StoreError,
    logins::{Origin, TokenHash},
};
use crate::views::{CandidateView, ExplanationView, HomeKind, SessionView, TriedZoneView};

pub const LAUNCH: &str = "SELECT launch_v2($1, $2, $3, $4, $5, $6, $7, $8)";
const GET: &str = "SELECT get_session_v2($1, $2)";
pub const LIST: &str = "SELECT list_sessions_v3($1, $2, $3, $4, $5, $6)";
pub const CONNECT: &str = "SELECT connect_v2($1, $2)";
pub const AUTHORIZE: &str = "SELECT authorize_v2($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const END: &str = "SELECT end_session_v2($1, $2, $3, $4)";
pub(super) const HOT: &[&str] = &[LAUNCH, GET, LIST, CONNECT, AUTHORIZE, END];

/// What to push, and to which agent by which address.
#[derive(Debug, Deserialize)]
pub struct Push {
    pub node_id: NodeId,
    pub zone_id: ZoneId,
    /// `host:port` of the zone's private balancer, or of the agent itself.
    pub address: String,
    /// An [`meridian_wire::Update`], as it is sent.
    pub update: serde_json::Value,
}

/// Why a home cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HomeProblem {
    /// Another session has it.
    InUse,
    /// The session that had it is ending.
    PutAway,
    /// It is in another zone than the one that was asked for.
    Elsewhere,
    /// Its agent does not answer, or nobody reaches the storage that it is on.
    Away,
    /// It is on storage, and whoever had it last does not answer and has not released it.
    Held,
    /// Its agent was removed, and it with that.
    Lost,
}

/// What the Web App node knows of a launch besides what was asked.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct LaunchContext<'a> {
    /// The host name that the browser asked for, without a port, in lower case.
    pub host: &'a str,
    /// Name of the node's own zone.
    pub node_zone: Option<&'a str>,
    /// Which home is wanted. Always said: it also says that this node understands what may be in the way of one.
    pub home: HomeKind,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Launch {
    Unauthenticated,
    NoWorkspace,
    NoZone,
    /// The idempotency key was used for another workspace or zone.
    KeyReused,
    /// The user holds as many sessions as allowed.
    Limit {
        limit: i64,
    },
    /// A setting of the user's policy is against it.
    Policy {
        setting: String,
        allowed: String,
    },
    /// No zone that may be asked offers the workspace.
    NotOffered {
        zone: String,
        zones: Vec<TriedZoneView>,
    },
    /// The user's home of the workspace cannot be had now.
    Home {
        problem: HomeProblem,
        words: String,
    },
    Capacity {
        zone: String,
        isolated: bool,
        counts: BTreeMap<String, i64>,
        explanation: Vec<CandidateView>,
    },
    Ok {
        replayed: bool,
        push: Push,
        session: Box<SessionView>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum GetSession {
    Unauthenticated,
    NotFound,
    Ok { caller: UserId, session: Box<SessionView>, explanation: Box<ExplanationView> },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ListSessions {
    Unauthenticated,
    Forbidden,
    /// A filter names what there is not.
    NoUser,
    NoZone,
    NoNode,
    Ok {
        items: Vec<SessionView>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Connect {
    Unauthenticated,
    NotFound,
    NotLive {
        state: String,
        reason: Option<String>,
    },
    Ok {
        user_id: UserId,
        zone_id: ZoneId,
        agent_id: NodeId,
        epoch: i64,
        generation: i64,
        settings: Box<ZoneSettings>,
        policy: Box<UserPolicy>,
        agent: String,
        /// Where browsers reach the agent itself, as it says.
        #[serde(default)]
        direct_address: Option<String>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Authorize {
    UnknownProxy,
    NotLive,
    Reused,
    Ok { grant_id: GrantId, granted_at_s: i64, policy: Box<UserPolicy> },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum EndSession {
    Unauthenticated,
    NotFound,
    /// The caller may see it, and no more.
    Forbidden,
    Ok {
        push: Push,
        session: Box<SessionView>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Stay {
    Unauthenticated,
    NotFound,
    Ok { session: Box<SessionView> },
}

/// What became of the sessions whose time was over.
#[derive(Debug, Deserialize)]
pub struct ActedOnLimits {
    /// How many were ended, or had their viewers disconnected.
    pub acted: i32,
    pub pushes: Vec<Push>,
}

/// Which of everybody's sessions; none filters nothing. Users, zones and nodes are named by name or id.
#[derive(Clone, Debug, Default, Serialize)]
pub struct WhichSessions {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
}

/// Which sessions a list shall have.
#[derive(Clone, Debug)]
pub struct SessionFilter {
    /// Everybody's; for administrators.
    pub all: bool,
    /// Those that are over, too.
    pub ended: bool,
    /// Of everybody's alone.
    pub which: WhichSessions,
    /// Only those before this one, newest first.
    pub after: Option<SessionId>,
    pub limit: i32,
}

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn launch(
        &self,
        token: TokenHash,
        workspace: WorkspaceId,
        zone: Option<&str>,
        idempotency_key: Option<&str>,
        context: &LaunchContext<'_>,
        origin: &Origin,
    ) -> Result<Launch, StoreError> {
        let session = SessionId::generate();
        let token = token.0.as_slice();
        let context = Json(context);
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 8] = [
            &token,
            &session.0,
            &workspace.0,
            &zone,
            &idempotency_key,
            &origin.address,
            &origin.request_id,
            &context,
        ];
        self.call(LAUNCH, &parameters).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn get_session(&self, token: TokenHash, session: SessionId) -> Result<GetSession, StoreError> {
        self.call(GET, &[&token.0.as_slice(), &session.0]).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn list_sessions(
        &self,
        token: TokenHash,
        filter: SessionFilter,
    ) -> Result<ListSessions, StoreError> {
        let SessionFilter { all, ended, which, after, limit } = filter;
        let (token, after) = (token.0.as_slice(), after.map(|after| after.0));
        self.call(LIST, &[&token, &all, &ended, &Json(which), &after, &limit]).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn connect(&self, token: TokenHash, session: SessionId) -> Result<Connect, StoreError> {
        self.call(CONNECT, &[&token.0.as_slice(), &session.0]).await
    }

    /// Uses a ticket up for `proxy`, whose zone is `zone`. The same proxy asking again with the same nonce gets the same answer.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn authorize(
        &self,
        proxy: NodeId,
        zone: ZoneId,
        ticket: &Ticket,
        nonce: &str,
        origin: &Origin,
    ) -> Result<Authorize, StoreError> {
        let TicketId(ticket_id) = ticket.jti;
        let grant = GrantId::generate();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 12] = [
            &proxy.0,
            &zone.0,
            &ticket_id,
            &nonce,
            &ticket.sub.0,
            &ticket.user.0,
            &ticket.agent.0,
            &ticket.epoch,
            &ticket.generation,
            &grant.0,
            &origin.address,
            &origin.request_id,
        ];
        self.call(AUTHORIZE, &parameters).await
    }

    /// Does what is due to at most `batch` sessions whose time is over.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn act_on_limits(&self, batch: i32) -> Result<ActedOnLimits, StoreError> {
        self.call("SELECT act_on_limits_v1($1)", &[&batch]).await
    }

    /// The session's user is there.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn stay(&self, token: TokenHash, session: SessionId) -> Result<Stay, StoreError> {
        self.call("SELECT stay_v1($1, $2)", &[&token.0.as_slice(), &session.0]).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn end_session(
        &self,
        token: TokenHash,
        session: SessionId,
        origin: &Origin,
    ) -> Result<EndSession, StoreError> {
        self.call(END, &[&token.0.as_slice(), &session.0, &origin.address, &origin.request_id]).await
    }
}
