//! The catalogue.

use meridian_ids::{UserId, WorkspaceId};
use serde::Deserialize;
use tokio_postgres::types::Json;

use super::{Store, StoreError, logins::TokenHash};
use crate::views::{NewWorkspace, WorkspaceView};

const LIST: &str = "SELECT list_workspaces_v2($1, $2, $3)";
pub(super) const HOT: &[&str] = &[LIST];

#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum ListWorkspaces {
    Unauthenticated,
    Forbidden,
    NoZone,
    Ok { items: Vec<WorkspaceView> },
}

/// How a change of the catalogue ended.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum SavedWorkspace {
    /// It names a zone that does not exist.
    NoZone {
        zone: String,
    },
    /// It names a group that does not exist.
    NoGroup {
        group: String,
    },
    /// Somebody else changed it meanwhile.
    Changed,
    Ok {
        workspace: Box<WorkspaceView>,
    },
}

/// An entry, and the number of its latest change.
#[derive(Debug, Deserialize)]
pub struct WorkspaceRow {
    pub version: i64,
    #[serde(flatten)]
    pub entry: WorkspaceView,
}

impl Store {
    /// The catalogue as the token's user sees it, from a zone if one is named; all of it for administrators who ask.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_workspaces(
        &self,
        token: TokenHash,
        zone: Option<&str>,
        all: bool,
    ) -> Result<ListWorkspaces, StoreError> {
        self.call(LIST, &[&token.0.as_slice(), &zone, &all]).await
    }

    /// By id or name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find_workspace(&self, id_or_name: &str) -> Result<Option<WorkspaceRow>, StoreError> {
        let statement = "SELECT coalesce((SELECT workspace_view_v1(w) || jsonb_build_object('version', w.version) FROM workspaces w
            WHERE (w.name = $1 OR w.id::text = $1) AND w.deleted_at IS NULL LIMIT 1), 'null')";
        self.call(statement, &[&id_or_name]).await
    }

    /// `by` is none for the shipped workspaces, which `meridian up` makes.
    ///
    /// # Errors
    /// When the database does not answer; `violates("workspaces_name_key")` when the name is taken.
    pub async fn create_workspace(
        &self,
        new: &NewWorkspace,
        by: Option<UserId>,
    ) -> Result<SavedWorkspace, StoreError> {
        self.save_workspace(WorkspaceId::generate(), None, new, by).await
    }

    /// Replaces an entry that was read with this version.
    ///
    /// # Errors
    /// As [`Self::create_workspace`].
    pub async fn replace_workspace(
        &self,
        row: &WorkspaceRow,
        entry: &NewWorkspace,
        by: UserId,
    ) -> Result<SavedWorkspace, StoreError> {
        self.save_workspace(row.entry.id, Some(row.version), entry, Some(by)).await
    }

    async fn save_workspace(
        &self,
        id: WorkspaceId,
        version: Option<i64>,
        entry: &NewWorkspace,
        by: Option<UserId>,
    ) -> Result<SavedWorkspace, StoreError> {
        let by = by.map(|by| by.0);
        self.call("SELECT save_workspace_v1($1, $2, $3, $4)", &[&id.0, &version, &Json(entry.entry()), &by])
            .await
    }

    /// Takes an entry out of the catalogue. Its sessions go on.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_workspace(&self, id: WorkspaceId, by: UserId) -> Result<bool, StoreError> {
        let changed = self
            .execute(
                "WITH gone AS (UPDATE workspaces SET deleted_at = now() WHERE id = $1 AND deleted_at IS NULL RETURNING name)
                 INSERT INTO audit (user_id, action, target, outcome) SELECT $2, 'delete_workspace', name, 'ok' FROM gone",
                &[&id.0, &by.0],
            )
            .await?;
        Ok(changed == 1)
    }

    /// Whether the catalogue has, or had, an entry of that name: what an administrator deleted stays deleted.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn has_workspace(&self, name: &str) -> Result<bool, StoreError> {
        Ok(!self.rows("SELECT 1 FROM workspaces WHERE name = $1", &[&name]).await?.is_empty())
    }
}
