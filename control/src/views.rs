//! What the API takes and gives: the shapes of its JSON, from which OpenAPI and the console's types are made.
//!
//! Times are RFC 3339 in UTC. A zone is named by its name wherever the API takes or gives one.

mod explain;
mod frozen;
mod homes;
mod images;
mod nodes;
mod people;
mod reassignments;
mod schemas;
mod watches;
mod workspaces;
mod zones;

use std::collections::BTreeMap;

use meridian_ids::{SessionId, UserId, WorkspaceId, ZoneId};
use meridian_model::{ImagePolicy, LoadStrategy, ProgressStep, SessionState, Transport, ZoneSettings};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

pub use explain::*;
pub use frozen::*;
pub use homes::*;
pub use images::*;
pub use nodes::*;
pub use people::*;
pub use reassignments::*;
pub use watches::*;
pub use workspaces::*;
pub use zones::*;

use crate::store::zones::ZoneRow;

/// A field that may be left out, or be null to be cleared.
fn clearable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(from).map(Some)
}

/// A page of a list; `next` is the cursor of the page after it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// A list that fits one page.
    pub fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Admin,
    User,
}

impl Role {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
        }
    }
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    pub username: String,
    #[schema(format = Password)]
    pub password: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct UserView {
    #[schema(value_type = String, format = Uuid)]
    pub id: UserId,
    pub name: String,
    pub role: Role,
    /// What the user may administer.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Until a new password is chosen (`POST /api/v1/auth/password`), everything else is refused.
    #[serde(default)]
    pub must_change_password: bool,
}

/// A login. The token is for API clients, as `Authorization: Bearer`; browsers have the cookie.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LoginView {
    pub token: String,
    pub user: UserView,
}

/// A zone. Its settings are shown to administrators only.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ZoneView {
    #[schema(value_type = String, format = Uuid)]
    pub id: ZoneId,
    pub name: String,
    pub zone_name: String,
    /// Whether launches that name no zone go here.
    pub default: bool,
    /// Where a page measures the distance: an absolute address that answers anybody with nothing.
    pub probe: String,
    #[serde(flatten)]
    pub settings: Option<ZoneSettingsView>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ZoneSettingsView {
    pub allow_origin_domain: String,
    pub upstream_auth_address: String,
    #[schema(value_type = schemas::LoadStrategy)]
    pub load_strategy: LoadStrategy,
    pub search_alternate_zones: bool,
    pub alternate_zones: Vec<String>,
    pub isolated: bool,
    pub prioritize_static_agents: bool,
    pub proxy_connections: bool,
    pub proxy_hostname: String,
    pub proxy_path: String,
    pub proxy_port: u16,
    /// Further ways in, `host` or `host:port`, in the order in which a page tries them.
    pub proxy_alternates: Vec<String>,
    /// Seconds.
    pub outage_grace: u32,
    pub private_balancer: String,
    /// Path at which all its agents reach one storage for homes; empty: homes stay on the agent that made them.
    pub home_storage: String,
    /// For workspaces that say nothing for themselves.
    #[schema(value_type = schemas::ImagePolicy)]
    pub image_policy: ImagePolicy,
    /// What all agents of the zone have, unless one says otherwise.
    pub labels: BTreeMap<String, String>,
    /// Nodes that can take work now.
    pub nodes_ready: i64,
    /// What the operator called the files that were applied last; empty: none were.
    pub applied_revision: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub applied_at: Option<String>,
    /// Whether it was changed since.
    pub drifted: bool,
}

impl ZoneSettingsView {
    #[must_use]
    pub fn new(zone: ZoneRow) -> Self {
        let ZoneRow { settings, nodes_ready, labels, applied_revision, applied_at, drifted, .. } = zone;
        Self {
            labels,
            applied_revision,
            applied_at,
            drifted,
            allow_origin_domain: settings.allow_origin_domain,
            upstream_auth_address: settings.upstream_auth_address,
            load_strategy: settings.load_strategy,
            search_alternate_zones: settings.search_alternate_zones,
            alternate_zones: settings.alternate_zones,
            isolated: settings.isolated,
            prioritize_static_agents: settings.prioritize_static_agents,
            proxy_connections: settings.proxy_connections,
            proxy_hostname: settings.proxy_hostname,
            proxy_path: settings.proxy_path,
            proxy_port: settings.proxy_port,
            proxy_alternates: settings.proxy_alternates,
            outage_grace: settings.outage_grace_s,
            private_balancer: settings.private_balancer,
            home_storage: settings.home_storage,
            image_policy: settings.image_policy,
            nodes_ready,
        }
    }
}

/// Any of a zone's settings; those left out stay.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ZonePatch {
    pub zone_name: Option<String>,
    pub allow_origin_domain: Option<String>,
    pub upstream_auth_address: Option<String>,
    #[schema(value_type = Option<schemas::LoadStrategy>)]
    pub load_strategy: Option<LoadStrategy>,
    pub search_alternate_zones: Option<bool>,
    pub alternate_zones: Option<Vec<String>>,
    pub isolated: Option<bool>,
    pub prioritize_static_agents: Option<bool>,
    pub proxy_connections: Option<bool>,
    pub proxy_hostname: Option<String>,
    pub proxy_path: Option<String>,
    pub proxy_port: Option<u16>,
    /// Replaces all of them.
    pub proxy_alternates: Option<Vec<String>>,
    /// Seconds.
    pub outage_grace: Option<u32>,
    pub private_balancer: Option<String>,
    pub home_storage: Option<String>,
    #[schema(value_type = Option<schemas::ImagePolicy>)]
    pub image_policy: Option<ImagePolicy>,
    /// Replaces all of them.
    pub labels: Option<BTreeMap<String, String>>,
}

impl ZonePatch {
    /// The settings with the patch applied.
    #[must_use]
    pub fn apply(self, mut settings: ZoneSettings) -> ZoneSettings {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        set(&mut settings.allow_origin_domain, self.allow_origin_domain);
        set(&mut settings.upstream_auth_address, self.upstream_auth_address);
        set(&mut settings.load_strategy, self.load_strategy);
        set(&mut settings.search_alternate_zones, self.search_alternate_zones);
        set(&mut settings.alternate_zones, self.alternate_zones);
        set(&mut settings.isolated, self.isolated);
        set(&mut settings.prioritize_static_agents, self.prioritize_static_agents);
        set(&mut settings.proxy_connections, self.proxy_connections);
        set(&mut settings.proxy_hostname, self.proxy_hostname);
        set(&mut settings.proxy_path, self.proxy_path);
        set(&mut settings.proxy_port, self.proxy_port);
        set(&mut settings.proxy_alternates, self.proxy_alternates);
        set(&mut settings.outage_grace_s, self.outage_grace);
        set(&mut settings.private_balancer, self.private_balancer);
        set(&mut settings.home_storage, self.home_storage);
        set(&mut settings.image_policy, self.image_policy);
        settings
    }
}

#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    #[schema(value_type = String, format = Uuid)]
    pub workspace_id: WorkspaceId,
    /// A zone's name; left out: where docs/operators/placement.md says that a launch begins.
    #[serde(default)]
    pub zone: Option<String>,
    /// `temporary`: do without the home that the user's policy keeps. Left out, a launch whose home cannot be had is refused.
    #[serde(default)]
    pub home: Option<HomeKind>,
}

/// Whether what is written to the home outlives the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum HomeKind {
    /// It does, where the user's policy keeps homes.
    #[default]
    Persistent,
    Temporary,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionView {
    #[schema(value_type = String, format = Uuid)]
    pub id: SessionId,
    /// The workspace's name.
    pub name: String,
    pub workspace: SessionWorkspaceView,
    pub user: SessionUserView,
    pub zone: String,
    pub agent: Option<String>,
    #[schema(value_type = schemas::SessionState)]
    pub state: SessionState,
    pub progress: ProgressView,
    /// Why it ended or failed.
    pub reason: Option<String>,
    /// Which zone it was meant for, and why it runs elsewhere if it does.
    #[serde(default)]
    pub choice: Option<ZoneChoiceView>,
    /// Its user was moved to another zone, where the workspace can be launched again in this one's place.
    #[serde(default)]
    pub relaunch: Option<RelaunchView>,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<String>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<String>,
    /// Whether its home outlives it. A Web App node of the release before does not say.
    #[serde(default)]
    pub home: Option<HomeKind>,
    /// It stands still, because it may not write to its home now. A Web App node of the release before does not say.
    #[serde(default)]
    pub frozen: Option<FrozenView>,
    /// When it ends because its user's policy limits its time; none where nothing does.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<String>,
    /// When it counts as idle, if nobody uses it before.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub idle_ends_at: Option<String>,
    /// What follows then: `disconnect` or `end`.
    #[serde(default)]
    pub idle_action: Option<String>,
    /// Since when its viewers are disconnected because nobody used it. Opening it again ends that.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub idle_since: Option<String>,
    /// Who asks to look on, and who does; for a minute also what became of it. A Web App node of the release before does not say.
    #[serde(default)]
    pub watches: Vec<WatchView>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionWorkspaceView {
    #[schema(value_type = String, format = Uuid)]
    pub id: WorkspaceId,
    pub name: String,
    pub icon: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SessionUserView {
    #[schema(value_type = String, format = Uuid)]
    pub id: UserId,
    pub name: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// `reserved`, `pushed`, `image`, `container`, `display`, `ready`.
    #[schema(value_type = schemas::ProgressStep)]
    pub step: ProgressStep,
    pub message: String,
    pub percent: Option<u8>,
}

/// How the viewer wants to speak. Without a body: `meridian.v1` without a key.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectRequest {
    /// `meridian.v1` or `binary`.
    #[schema(value_type = Option<schemas::Transport>)]
    pub transport: Option<Transport>,
    /// RFC 7638 thumbprint of the viewer's P-256 key for this stream; a stream without one cannot be resumed.
    pub jkt: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConnectView {
    /// Absolute `ws://` or `wss://` address to open.
    pub url: String,
    /// The exact list of WebSocket subprotocols to offer; the ticket is one of them.
    pub protocols: Vec<String>,
    /// Further entries of the zone to try when `url` cannot be reached.
    pub alternates: Vec<String>,
    /// What to offer, in place of `protocols` and as often as needed, to come back to the stream when its path broke: no new ticket is
    /// asked for, so it works while the control plane is away. Empty where the stream has no key.
    pub resume_protocols: Vec<String>,
}

/// The error envelope of every answer that is not a success.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorView {
    pub error: ErrorBodyView,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorBodyView {
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// Which part failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hop: Option<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explanation: Option<Vec<CandidateView>>,
    /// What is wrong with what was sent, field by field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldView>,
    pub request_id: String,
}

/// A field that cannot be as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldView {
    /// Its name; deeper ones with points, such as `labels.disk`.
    pub field: String,
    pub message: String,
}
