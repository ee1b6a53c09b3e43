//! Homes that outlive their sessions, as their users see and reset them.

use meridian_ids::HomeId;
use serde::Deserialize;

use super::{
    Store, StoreError,
    logins::{Origin, TokenHash},
};
use crate::views::HomeView;

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

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn list_homes(&self, token: TokenHash) -> Result<ListHomes, StoreError> {
        self.call("SELECT list_homes_v1($1)", &[&token.0.as_slice()]).await
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
}
