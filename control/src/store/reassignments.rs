//! Moves of people from zone to zone.

use meridian_ids::{ReassignmentId, UserId};
use serde::Deserialize;

use super::{Store, StoreError, logins::Origin};
use crate::views::{ReassignedView, ReassignmentView};

/// Who is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveKind {
    User,
    Group,
    Zone,
}

impl MoveKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Zone => "zone",
        }
    }
}

/// What is to be moved where, or only looked at.
#[derive(Clone, Copy, Debug)]
pub struct Move<'a> {
    pub kind: MoveKind,
    /// A name or an id.
    pub subject: &'a str,
    /// A zone's name or id.
    pub to: &'a str,
    pub dry_run: bool,
}

/// How a move ended.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Reassigned {
    /// There is no such user, group or zone to move.
    NotFound {
        what: String,
    },
    /// There is no such zone to go to.
    NoZone {
        zone: String,
    },
    SameZone {
        zone: String,
    },
    /// Nobody is moved across this zone's border.
    Isolated {
        zone: String,
    },
    /// Somebody may not be moved, and so nobody was.
    Refused(Box<ReassignedView>),
    /// What would be done.
    Would(Box<ReassignedView>),
    Ok(Box<ReassignedView>),
}

/// How undoing a move ended.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Undone {
    NotFound,
    Isolated { zone: String },
    Ok { reassignment: Box<ReassignmentView> },
}

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn reassign(
        &self,
        what: Move<'_>,
        by: UserId,
        origin: &Origin,
    ) -> Result<Reassigned, StoreError> {
        let id = ReassignmentId::generate();
        let kind = what.kind.as_str();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 8] = [
            &id.0,
            &kind,
            &what.subject,
            &what.to,
            &what.dry_run,
            &by.0,
            &origin.address,
            &origin.request_id,
        ];
        self.call("SELECT reassign_v1($1, $2, $3, $4, $5, $6, $7, $8)", &parameters).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn undo_reassignment(
        &self,
        id: ReassignmentId,
        by: UserId,
        origin: &Origin,
    ) -> Result<Undone, StoreError> {
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&id.0, &by.0, &origin.address, &origin.request_id];
        self.call("SELECT undo_reassignment_v1($1, $2, $3, $4)", &parameters).await
    }

    /// Whom a move was about.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn reassignment_kind(&self, id: ReassignmentId) -> Result<Option<MoveKind>, StoreError> {
        let statement =
            "SELECT coalesce((SELECT to_jsonb(r.kind) FROM reassignments r WHERE r.id = $1), 'null')";
        self.call(statement, &[&id.0]).await
    }

    /// The latest first, those before `before`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_reassignments(
        &self,
        before: Option<ReassignmentId>,
        limit: i32,
    ) -> Result<Vec<ReassignmentView>, StoreError> {
        let before = before.map(|before| before.0);
        let statement = "SELECT coalesce(jsonb_agg(reassignment_view_v1(ROW(r.*)::reassignments) ORDER BY r.id DESC), '[]')
            FROM (SELECT * FROM reassignments WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2::integer) r";
        self.call(statement, &[&before, &limit]).await
    }
}
