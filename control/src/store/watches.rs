//! Looking on at somebody else's session: asked, answered, begun, over.

use meridian_ids::{GrantId, NodeId, SessionId, TicketId, UserId, WatchId, ZoneId};
use meridian_model::ZoneSettings;
use meridian_ticket::{Ticket, Watch};
use serde::Deserialize;

use super::{
    Store, StoreError,
    logins::{Origin, TokenHash},
};
use crate::views::{SessionView, WatchAnswerWord, WatchView};

const CONNECT: &str = "SELECT connect_watch_v1($1, $2, $3)";
const AUTHORIZE: &str = "SELECT authorize_watch_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
pub(super) const HOT: &[&str] = &[CONNECT, AUTHORIZE];

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum AskToWatch {
    Unauthenticated,
    NotFound,
    /// The caller may see it, and no more.
    Forbidden,
    /// It is the caller's own session.
    Own,
    NotLive {
        state: String,
        reason: Option<String>,
    },
    /// Its agent is of a release that serves nobody who looks on.
    NotServed,
    /// The same person was told no a moment ago.
    Declined,
    /// As many ask or look on as may.
    Full,
    Ok {
        watch: Box<WatchView>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum AnswerWatch {
    Unauthenticated,
    NotFound,
    /// A key of the session's user asks, and only the person may.
    NoPerson,
    /// The question is not there any more.
    Over,
    Ok {
        session: Box<SessionView>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum EndWatch {
    Unauthenticated,
    NotFound,
    Ok { watch: Box<WatchView> },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ConnectWatch {
    Unauthenticated,
    NotFound,
    /// The person at the desktop has not answered yet.
    NotAnswered,
    Over {
        because: Option<String>,
    },
    Ok {
        user_id: UserId,
        zone_id: ZoneId,
        agent_id: NodeId,
        epoch: i64,
        generation: i64,
        settings: Box<ZoneSettings>,
        /// Control-plane time in seconds.
        until_s: i64,
        agent: String,
        #[serde(default)]
        direct_address: Option<String>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum AuthorizeWatch {
    UnknownProxy,
    NotLive,
    Reused,
    Ok { grant_id: GrantId, granted_at_s: i64 },
}

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn ask_to_watch(
        &self,
        token: TokenHash,
        session: SessionId,
        reason: &str,
        origin: &Origin,
    ) -> Result<AskToWatch, StoreError> {
        let (token, watch) = (token.0.as_slice(), WatchId::generate());
        self.call(
            "SELECT ask_to_watch_v1($1, $2, $3, $4, $5, $6)",
            &[&token, &watch.0, &session.0, &reason, &origin.address, &origin.request_id],
        )
        .await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn answer_watch(
        &self,
        token: TokenHash,
        session: SessionId,
        watch: WatchId,
        answer: WatchAnswerWord,
        origin: &Origin,
    ) -> Result<AnswerWatch, StoreError> {
        let (token, answer) = (token.0.as_slice(), answer.as_str());
        self.call(
            "SELECT answer_watch_v1($1, $2, $3, $4, $5, $6)",
            &[&token, &session.0, &watch.0, &answer, &origin.address, &origin.request_id],
        )
        .await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn end_watch(
        &self,
        token: TokenHash,
        session: SessionId,
        watch: WatchId,
        origin: &Origin,
    ) -> Result<EndWatch, StoreError> {
        let token = token.0.as_slice();
        self.call(
            "SELECT end_watch_v1($1, $2, $3, $4, $5)",
            &[&token, &session.0, &watch.0, &origin.address, &origin.request_id],
        )
        .await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn connect_watch(
        &self,
        token: TokenHash,
        session: SessionId,
        watch: WatchId,
    ) -> Result<ConnectWatch, StoreError> {
        self.call(CONNECT, &[&token.0.as_slice(), &session.0, &watch.0]).await
    }

    /// As [`Store::authorize`], for a ticket to look on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn authorize_watch(
        &self,
        proxy: NodeId,
        zone: ZoneId,
        (ticket, watch): (&Ticket, Watch),
        nonce: &str,
        origin: &Origin,
    ) -> Result<AuthorizeWatch, StoreError> {
        let TicketId(ticket_id) = ticket.jti;
        let grant = GrantId::generate();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 13] = [
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
            &watch.id.0,
            &origin.address,
            &origin.request_id,
        ];
        self.call(AUTHORIZE, &parameters).await
    }

    /// Closes what is over by itself; how many those were.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn tend_watches(&self) -> Result<i32, StoreError> {
        let rows = self.rows("SELECT tend_watches_v1(NULL)", &[]).await?;
        let row = rows.first().ok_or_else(|| StoreError::Corrupt("a function answered no row".into()))?;
        Ok(row.try_get(0)?)
    }
}
