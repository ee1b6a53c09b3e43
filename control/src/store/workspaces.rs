//! The catalogue.

use meridian_ids::{UserId, WorkspaceId};

use super::{Store, StoreError, logins::TokenHash};
use crate::views::{NewWorkspace, WorkspaceView};

const LIST: &str = "SELECT list_workspaces_v1($1)";
pub(super) const HOT: &[&str] = &[LIST];

impl Store {
    /// The catalogue as the token's user sees it; none when the token is nobody's.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_workspaces(&self, token: TokenHash) -> Result<Option<Vec<WorkspaceView>>, StoreError> {
        self.call(LIST, &[&token.0.as_slice()]).await
    }

    /// `by` is none for the shipped workspaces, which `meridian up` makes.
    ///
    /// # Errors
    /// When the database does not answer; `violates("workspaces_name_key")` when the name is taken.
    pub async fn create_workspace(
        &self,
        new: &NewWorkspace,
        by: Option<UserId>,
    ) -> Result<WorkspaceView, StoreError> {
        let (id, by) = (WorkspaceId::generate(), by.map(|by| by.0));
        let cpu_milli = new.cpu_milli();
        let statement = "WITH w AS (INSERT INTO workspaces (id, name, description, icon, image, cpu_milli, memory_mb, gpu, network, seccomp,
                 shm_mb, home_mb, tmp_mb, pids_limit)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) RETURNING *),
             noted AS (INSERT INTO audit (user_id, action, target, outcome) SELECT $15, 'create_workspace', name, 'ok' FROM w)
             SELECT workspace_view_v1(ROW(w.*)::workspaces) FROM w";
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 15] = [
            &id.0,
            &new.name,
            &new.description,
            &new.icon,
            &new.image,
            &cpu_milli,
            &new.memory_mb,
            &new.gpu,
            &new.network.as_str(),
            &new.seccomp.as_str(),
            &new.shm_mb,
            &new.home_mb,
            &new.tmp_mb,
            &new.pids_limit,
            &by,
        ];
        self.call(statement, &parameters).await
    }

    /// Whether the catalogue has an entry of that name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn has_workspace(&self, name: &str) -> Result<bool, StoreError> {
        Ok(!self.rows("SELECT 1 FROM workspaces WHERE name = $1", &[&name]).await?.is_empty())
    }
}
