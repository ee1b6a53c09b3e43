//! What an administrator may do, resource by resource. Groups grant permissions to their members; API keys carry some of their user's.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// An action on a resource; only those that mean something exist. `delete` of a session ends it, `watch` asks its user to let one look on; `create` of a
/// node is the token with which it joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    UsersView,
    UsersModify,
    UsersCreate,
    UsersDelete,
    GroupsView,
    GroupsModify,
    GroupsCreate,
    GroupsDelete,
    ZonesView,
    ZonesModify,
    ZonesCreate,
    ZonesDelete,
    NodesView,
    NodesModify,
    NodesCreate,
    NodesDelete,
    WorkspacesView,
    WorkspacesModify,
    WorkspacesCreate,
    WorkspacesDelete,
    SessionsView,
    SessionsModify,
    SessionsDelete,
    SessionsWatch,
    ImagesView,
    ImagesModify,
    ImagesCreate,
    ImagesDelete,
    AuditView,
    SettingsView,
    SettingsModify,
}

/// What an API key may say besides permissions: to launch, see, connect to and end its user's own sessions. People need no permission for
/// that.
pub const OWN_SESSIONS: &str = "sessions:own";

impl Permission {
    pub const ALL: [Self; 31] = [
        Self::UsersView,
        Self::UsersModify,
        Self::UsersCreate,
        Self::UsersDelete,
        Self::GroupsView,
        Self::GroupsModify,
        Self::GroupsCreate,
        Self::GroupsDelete,
        Self::ZonesView,
        Self::ZonesModify,
        Self::ZonesCreate,
        Self::ZonesDelete,
        Self::NodesView,
        Self::NodesModify,
        Self::NodesCreate,
        Self::NodesDelete,
        Self::WorkspacesView,
        Self::WorkspacesModify,
        Self::WorkspacesCreate,
        Self::WorkspacesDelete,
        Self::SessionsView,
        Self::SessionsModify,
        Self::SessionsDelete,
        Self::SessionsWatch,
        Self::ImagesView,
        Self::ImagesModify,
        Self::ImagesCreate,
        Self::ImagesDelete,
        Self::AuditView,
        Self::SettingsView,
        Self::SettingsModify,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UsersView => "users:view",
            Self::UsersModify => "users:modify",
            Self::UsersCreate => "users:create",
            Self::UsersDelete => "users:delete",
            Self::GroupsView => "groups:view",
            Self::GroupsModify => "groups:modify",
            Self::GroupsCreate => "groups:create",
            Self::GroupsDelete => "groups:delete",
            Self::ZonesView => "zones:view",
            Self::ZonesModify => "zones:modify",
            Self::ZonesCreate => "zones:create",
            Self::ZonesDelete => "zones:delete",
            Self::NodesView => "nodes:view",
            Self::NodesModify => "nodes:modify",
            Self::NodesCreate => "nodes:create",
            Self::NodesDelete => "nodes:delete",
            Self::WorkspacesView => "workspaces:view",
            Self::WorkspacesModify => "workspaces:modify",
            Self::WorkspacesCreate => "workspaces:create",
            Self::WorkspacesDelete => "workspaces:delete",
            Self::SessionsView => "sessions:view",
            Self::SessionsModify => "sessions:modify",
            Self::SessionsDelete => "sessions:delete",
            Self::SessionsWatch => "sessions:watch",
            Self::ImagesView => "images:view",
            Self::ImagesModify => "images:modify",
            Self::ImagesCreate => "images:create",
            Self::ImagesDelete => "images:delete",
            Self::AuditView => "audit:view",
            Self::SettingsView => "settings:view",
            Self::SettingsModify => "settings:modify",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|permission| permission.as_str() == text)
    }

    /// Whether it can be had for some zones alone.
    #[must_use]
    pub fn belongs_to_zones(self) -> bool {
        let resource = self.as_str().split(':').next().unwrap_or_default();
        matches!(resource, "zones" | "nodes" | "sessions" | "images")
    }
}

impl std::fmt::Display for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("there is no such permission"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_permission_is_read_as_it_is_written() {
        for permission in Permission::ALL {
            assert_eq!(Permission::parse(permission.as_str()), Some(permission));
            let text = serde_json::to_string(&permission).unwrap();
            assert_eq!(serde_json::from_str::<Permission>(&text).unwrap(), permission);
        }
        assert_eq!(Permission::parse(OWN_SESSIONS), None, "nobody is granted what everybody has");
        assert!(Permission::NodesModify.belongs_to_zones() && !Permission::UsersView.belongs_to_zones());
    }
}
