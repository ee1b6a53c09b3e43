//! Homes that outlive their sessions, as their users and administrators see and reset them.

use meridian_ids::{HomeId, UserId};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Json;

use super::{
    Store, StoreError,
    logins::{Origin, TokenHash},
};
use crate::views::{DeletedHomesView, HomeState, HomeView};

/// Which homes of everybody's; none filters nothing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HomeFilter {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// By name or id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<HomeState>,
    /// Only those whose user or workspace was deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ListHomes {
    Unauthenticated,
    Forbidden,
    Ok { items: Vec<HomeView> },
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ResetHome {
    Unauthenticated,
    NotFound,
    /// A session has it.
    InUse,
    Ok,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ReleaseHome {
    Unauthenticated,
    Forbidden,
    NotFound,
    /// It is on an agent's own disk: nobody else can have it.
    OnAgent {
        agent: String,
    },
    /// Nobody has it.
    Free,
    /// Force is needed.
    Held {
        agent: String,
        answers: bool,
    },
    Ok,
}

impl Store {
    /// The caller's own homes, or everybody's that the filter lets through, after one of them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_homes(
        &self,
        token: TokenHash,
        everybody: Option<&HomeFilter>,
        after: Option<HomeId>,
        limit: i32,
    ) -> Result<ListHomes, StoreError> {
        let (token, after) = (token.0.as_slice(), after.map(|after| after.0));
        let (all, filter) = (everybody.is_some(), Json(everybody.cloned().unwrap_or_default()));
        let statement = "SELECT list_homes_v1($1, $2, $3, $4, $5)";
        self.call(statement, &[&token, &all, &filter, &after, &limit]).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn reset_home(
        &self,
        token: TokenHash,
        home: HomeId,
        origin: &Origin,
    ) -> Result<ResetHome, StoreError> {
        let token = token.0.as_slice();
        self.call(
            "SELECT reset_home_v1($1, $2, $3, $4)",
            &[&token, &home.0, &origin.address, &origin.request_id],
        )
        .await
    }

    /// Takes a home on storage from whoever had it last.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn release_home(
        &self,
        token: TokenHash,
        home: HomeId,
        force: bool,
        origin: &Origin,
    ) -> Result<ReleaseHome, StoreError> {
        let token = token.0.as_slice();
        self.call(
            "SELECT release_home_v1($1, $2, $3, $4, $5)",
            &[&token, &home.0, &force, &origin.address, &origin.request_id],
        )
        .await
    }

    /// Forgets homes that are to be removed and went with their machine or their zone meanwhile: nobody is left who would remove them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn forget_lost_homes(&self) -> Result<u64, StoreError> {
        self.execute(
            "DELETE FROM homes h WHERE h.reset_at IS NOT NULL AND NOT home_lies_v1(ROW(h.*)::homes)",
            &[],
        )
        .await
    }

    /// Removes at most so many homes whose user or workspace was deleted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_gone_homes(
        &self,
        by: UserId,
        limit: i32,
        origin: &Origin,
    ) -> Result<DeletedHomesView, StoreError> {
        self.call(
            "SELECT delete_gone_homes_v1($1, $2, $3, $4)",
            &[&by.0, &limit, &origin.address, &origin.request_id],
        )
        .await
    }
}
