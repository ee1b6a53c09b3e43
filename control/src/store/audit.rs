//! The audit log, read.

use jiff::Timestamp;
use meridian_ids::UserId;

use super::{Store, StoreError};
use crate::views::AuditView;

/// Which entries; none filters nothing.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub user: Option<UserId>,
    /// An API key's id or name.
    pub key: Option<String>,
    pub action: Option<String>,
    pub target: Option<String>,
    pub outcome: Option<String>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Those that are older than this entry.
    pub after: Option<i64>,
    pub limit: i32,
}

impl Store {
    /// Newest first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_audit(&self, filter: &AuditFilter) -> Result<Vec<AuditView>, StoreError> {
        let AuditFilter { user, key, action, target, outcome, since, until, after, limit } = filter;
        let user = user.map(|user| user.0);
        self.call(
            "SELECT list_audit_v2($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            &[&user, key, action, target, outcome, since, until, after, limit],
        )
        .await
    }
}
