//! Zones as administrators see, change and file them.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{GroupFile, NewWorkspace, WorkspaceView};
use crate::app::configuration::ZoneFile;

/// How a zone's deletion stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ZoneDeletionView {
    /// `deleted`, or `draining` while nodes of the zone still work: ask again.
    pub state: String,
    /// Nodes that still do something.
    pub nodes: i64,
    /// Sessions on them.
    pub sessions: i64,
}

/// What a zone needs of the DNS and of certificates, and what is unwise about it.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct RequirementsView {
    pub zone: String,
    pub dns: Vec<DnsNeedView>,
    pub certificates: Vec<CertificateNeedView>,
    pub warnings: Vec<WarningView>,
}

/// A name that must resolve.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DnsNeedView {
    pub name: String,
    /// In words: `the primary balancer, or the Web App nodes`.
    pub points_to: String,
}

/// A name that a public certificate must have.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CertificateNeedView {
    pub name: String,
    /// In words: `this zone's proxies`.
    pub held_by: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WarningView {
    /// Stable, for programs.
    pub code: String,
    /// The setting that it is about.
    pub field: Option<String>,
    pub message: String,
}

/// Zones, groups and workspaces as their files have them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConfigurationView {
    pub zones: Vec<ZoneFile>,
    /// None for those who may not view groups.
    pub groups: Option<Vec<GroupFile>>,
    pub workspaces: Vec<WorkspaceView>,
}

/// What files say, to be applied together. A kind that is left out is left alone.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewConfiguration {
    #[serde(default)]
    pub zones: Option<Vec<ZoneFile>>,
    #[serde(default)]
    pub groups: Option<Vec<GroupFile>>,
    #[serde(default)]
    pub workspaces: Option<Vec<NewWorkspace>>,
    /// What the operator calls this state, such as a commit.
    #[serde(default)]
    pub revision: String,
    /// Only plan.
    #[serde(default)]
    pub dry_run: bool,
    /// Delete what no file names.
    #[serde(default)]
    pub prune: bool,
}

/// What was, or would be, done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AppliedView {
    pub applied: bool,
    /// Empty: everything is as the files say.
    pub plan: Vec<PlannedView>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PlannedView {
    /// `zone`, `group` or `workspace`.
    pub kind: String,
    pub name: String,
    /// `create`, `change`, `delete`, or `unlisted`: no file names it, and it is left alone.
    pub action: String,
    pub changes: Vec<ChangeView>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ChangeView {
    pub field: String,
    #[schema(value_type = Option<Object>)]
    pub from: Value,
    #[schema(value_type = Option<Object>)]
    pub to: Value,
}
