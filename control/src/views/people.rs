//! People: accounts, groups, policy, keys, and what happened.

use meridian_ids::{ApiKeyId, GroupId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Role, clearable, schemas};

/// A thing by id and name.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct NamedView {
    #[schema(format = Uuid)]
    pub id: String,
    pub name: String,
}

/// An account, as administrators see it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserRowView {
    #[schema(value_type = String, format = Uuid)]
    pub id: UserId,
    pub name: String,
    pub role: Role,
    /// Cannot sign in, and has no live streams.
    pub disabled: bool,
    /// Cannot sign in; what runs goes on.
    pub locked: bool,
    pub must_change_password: bool,
    /// Sessions the user may hold at once.
    pub session_limit: i64,
    /// Whether that is the account's own limit; if not, groups decide.
    pub session_limit_own: bool,
    /// The account's own home zone; none: groups decide.
    pub home_zone: Option<String>,
    /// Sessions the user holds.
    pub sessions: i64,
    /// Besides Everyone, in the order of their priority.
    pub groups: Vec<NamedView>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: String,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    pub username: String,
    #[schema(format = Password)]
    pub password: String,
    /// `admin` is a member of Administrators.
    #[serde(default = "role_user")]
    pub role: Role,
    /// The user chooses a password of their own at the first sign-in.
    #[serde(default)]
    pub must_change_password: bool,
}

fn role_user() -> Role {
    Role::User
}

/// What changes; what is left out stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UserPatch {
    pub name: Option<String>,
    /// Ends the user's logins.
    #[schema(format = Password)]
    pub password: Option<String>,
    pub must_change_password: Option<bool>,
    /// Ends the user's logins; live streams go on.
    pub locked: Option<bool>,
    /// Ends the user's logins and cuts their streams; their sessions stay.
    pub disabled: Option<bool>,
    /// The account's own limit; null: groups decide.
    #[serde(deserialize_with = "clearable")]
    #[schema(value_type = Option<u32>)]
    pub session_limit: Option<Option<u32>>,
    /// Name or id of the account's own home zone; null: groups decide. It must be one that the user's policy allows.
    #[serde(deserialize_with = "clearable")]
    #[schema(value_type = Option<String>)]
    pub home_zone: Option<Option<String>>,
}

/// A new password of one's own.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    #[schema(format = Password)]
    pub current_password: String,
    #[schema(format = Password)]
    pub new_password: String,
}

/// A group of people: what it decides about them, and what they may administer.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct GroupView {
    #[schema(value_type = String, format = Uuid)]
    pub id: GroupId,
    pub name: String,
    /// The smaller number wins, setting by setting.
    pub priority: i32,
    pub description: String,
    /// `everyone` (all users, implicitly) or `administrators`; none for all others.
    pub system: Option<String>,
    /// The settings that the group decides; `GET /api/v1/policy/settings` says what each means.
    #[schema(value_type = schemas::GroupSettings)]
    pub settings: Map<String, Value>,
    pub permissions: Vec<String>,
    pub members: i64,
    /// Rises with each change.
    pub version: i64,
}

/// A new group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGroup {
    pub name: String,
    /// From 1 to 999999; the smaller number wins.
    #[serde(default = "middle")]
    pub priority: i32,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub permissions: Vec<String>,
    #[serde(default)]
    #[schema(value_type = schemas::GroupSettings)]
    pub settings: Map<String, Value>,
}

/// A group's file. What it leaves out is as in a new group, but for its members, which then stay who they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupFile {
    pub name: String,
    /// From 1 to 999999; the smaller number wins.
    #[serde(default = "middle")]
    pub priority: i32,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Names of those who belong to it, and nobody else does. Left out: whoever belongs to it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<String>>,
    #[serde(default)]
    #[schema(value_type = schemas::GroupSettings)]
    pub settings: Map<String, Value>,
}

fn middle() -> i32 {
    1000
}

/// What changes; what is left out stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GroupPatch {
    pub name: Option<String>,
    pub priority: Option<i32>,
    pub description: Option<String>,
    /// Single settings: a value sets one, null leaves it to other groups again.
    #[schema(value_type = Option<schemas::GroupSettings>)]
    pub settings: Option<Map<String, Value>>,
    /// All of the group's permissions.
    pub permissions: Option<Vec<String>>,
}

/// The policy that holds for a user, and why.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserPolicyView {
    pub user: NamedView,
    pub items: Vec<PolicyItemView>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PolicyItemView {
    pub setting: String,
    #[schema(value_type = Value)]
    pub value: Value,
    /// `account` (the account's own limit or home zone), `group`, or `default` where no group says anything.
    pub source: String,
    /// The group that it comes from.
    pub group: Option<PolicyGroupView>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PolicyGroupView {
    #[schema(value_type = String, format = Uuid)]
    pub id: GroupId,
    pub name: String,
    pub priority: i32,
}

/// A setting that groups can decide.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SettingView {
    pub name: String,
    pub meaning: String,
    /// `switch`, `number`, `cores`, `words`, `zone`, `zones`.
    pub kind: String,
    /// What its value must be, in words.
    pub wanted: String,
    /// The words, where it is one of them.
    pub words: Vec<String>,
    /// What holds where no group says anything.
    #[schema(value_type = Value)]
    pub default: Value,
}

/// A key, without its secret.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ApiKeyView {
    #[schema(value_type = String, format = Uuid)]
    pub id: ApiKeyId,
    pub name: String,
    /// How the key begins.
    pub hint: String,
    pub user: NamedView,
    pub permissions: Vec<String>,
    /// The zones that it administers; none: all.
    pub zones: Option<Vec<String>>,
    /// `active`, `expired`, `revoked`.
    pub state: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: String,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: String,
    /// To within some seconds.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<String>,
    pub last_address: String,
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewApiKey {
    pub name: String,
    /// Some of the user's own permissions, and `sessions:own` for what everybody may do with their own sessions.
    pub permissions: Vec<String>,
    /// From 1 to 3650.
    #[serde(default = "quarter")]
    pub expires_in_days: i32,
    /// Names of the zones that the key is for; left out: all.
    #[serde(default)]
    pub zones: Option<Vec<String>>,
}

fn quarter() -> i32 {
    90
}

/// A new key. Its token is shown once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NewApiKeyView {
    /// `Authorization: Bearer …`
    pub token: String,
    #[serde(flatten)]
    pub key: ApiKeyView,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditView {
    pub id: i64,
    #[schema(value_type = String, format = DateTime)]
    pub at: String,
    /// Who did it.
    pub user: Option<NamedView>,
    /// With which API key; none: signed in.
    pub key: Option<NamedView>,
    /// On which node, or by which.
    pub node: Option<NamedView>,
    pub action: String,
    pub target: String,
    pub outcome: String,
    #[schema(value_type = Object)]
    pub detail: Value,
    pub address: String,
    pub request_id: String,
}
