//! Groups: members, settings, permissions.

use meridian_ids::{GroupId, UserId, ZoneId};
use meridian_model::GroupSettings;
use serde::Deserialize;
use tokio_postgres::types::Json;

use super::{Store, StoreError, logins::Origin};
use crate::{
    app::caller::Caller,
    views::{GroupView, NamedView},
};

/// How a change of a group ended.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum GroupChange {
    NotFound,
    /// It concerns permissions that the caller lacks.
    Beyond,
    ChangedMeanwhile,
    Ok {
        group: Box<GroupView>,
    },
}

/// How the deletion of a group ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum GroupDeletion {
    NotFound,
    /// It is always there.
    System,
    Beyond,
    Ok,
}

/// How somebody's joining or leaving ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Membership {
    NotFound {
        what: String,
    },
    /// Everybody belongs to Everyone.
    System,
    Beyond,
    LastAdministrator,
    Ok,
}

/// What a group becomes; none: stays.
#[derive(Clone, Debug, Default)]
pub struct GroupParts {
    pub name: Option<String>,
    pub priority: Option<i32>,
    pub description: Option<String>,
    /// With zones by their ids.
    pub settings: Option<GroupSettings>,
    pub permissions: Option<Vec<String>>,
}

impl Store {
    /// By priority, after the group `after`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_groups(
        &self,
        after: Option<GroupId>,
        limit: i32,
    ) -> Result<Vec<GroupView>, StoreError> {
        let after = after.map(|after| after.0);
        self.call("SELECT list_groups_v1($1, $2)", &[&after, &limit]).await
    }

    /// By id or name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find_group(&self, id_or_name: &str) -> Result<Option<GroupView>, StoreError> {
        self.call("SELECT get_group_v1($1)", &[&id_or_name]).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn list_members(
        &self,
        group: GroupId,
        after: Option<UserId>,
        limit: i32,
    ) -> Result<Vec<NamedView>, StoreError> {
        let after = after.map(|after| after.0);
        self.call("SELECT list_members_v1($1, $2, $3)", &[&group.0, &after, &limit]).await
    }

    /// # Errors
    /// When the database does not answer; `violates("groups_name")` when the name is taken.
    pub async fn create_group(
        &self,
        parts: &GroupParts,
        by: &Caller,
        origin: &Origin,
    ) -> Result<GroupChange, StoreError> {
        let GroupParts { name, priority, description, settings, permissions } = parts;
        let settings = Json(settings.clone().unwrap_or_default());
        let permissions = permissions.clone().unwrap_or_default();
        self.call(
            "SELECT create_group_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[
                &GroupId::generate().0,
                name,
                priority,
                description,
                &settings,
                &permissions,
                &by.id().0,
                &by.permissions(),
                &origin.address,
                &origin.request_id,
            ],
        )
        .await
    }

    /// Changes a group, if nobody changed it since the caller read it.
    ///
    /// # Errors
    /// When the database does not answer; `violates("groups_name")` when the name is taken.
    pub async fn change_group(
        &self,
        group: GroupId,
        version: i64,
        parts: &GroupParts,
        by: &Caller,
        origin: &Origin,
    ) -> Result<GroupChange, StoreError> {
        let GroupParts { name, priority, description, settings, permissions } = parts;
        let settings = settings.as_ref().map(Json);
        self.call(
            "SELECT change_group_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
            &[
                &group.0,
                &version,
                name,
                priority,
                description,
                &settings,
                permissions,
                &by.id().0,
                &by.permissions(),
                &origin.address,
                &origin.request_id,
            ],
        )
        .await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn delete_group(
        &self,
        group: GroupId,
        by: &Caller,
        origin: &Origin,
    ) -> Result<GroupDeletion, StoreError> {
        self.call(
            "SELECT delete_group_v1($1, $2, $3, $4, $5)",
            &[&group.0, &by.id().0, &by.permissions(), &origin.address, &origin.request_id],
        )
        .await
    }

    /// Puts somebody into a group, or takes them out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_membership(
        &self,
        group: GroupId,
        user: UserId,
        member: bool,
        by: &Caller,
        origin: &Origin,
    ) -> Result<Membership, StoreError> {
        self.call(
            "SELECT set_membership_v1($1, $2, $3, $4, $5, $6, $7)",
            &[&group.0, &user.0, &member, &by.id().0, &by.permissions(), &origin.address, &origin.request_id],
        )
        .await
    }

    /// The zones that are named, each by its name or id, in their order; none where there is no such zone.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find_zones(&self, named: &[String]) -> Result<Vec<Option<ZoneId>>, StoreError> {
        let zones = self.name_zones(named).await?;
        Ok(zones.into_iter().map(|zone| zone.map(|(id, _)| id)).collect())
    }
}
