//! The catalogue's entries.

use std::collections::BTreeMap;

use meridian_ids::WorkspaceId;
use meridian_model::{ImagePolicy, Network, Seccomp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{clearable, schemas};

/// An entry of the catalogue.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WorkspaceView {
    #[schema(value_type = String, format = Uuid)]
    pub id: WorkspaceId,
    pub name: String,
    pub description: String,
    /// `desktop`, `browser`, `terminal`, or a name the console shows a plain picture for.
    pub icon: String,
    pub image: String,
    /// Cores.
    pub cpu: f64,
    pub memory_mb: i64,
    pub gpu: i32,
    #[schema(value_type = schemas::Network)]
    pub network: Network,
    #[serde(default)]
    #[schema(value_type = schemas::Seccomp)]
    pub seccomp: Seccomp,
    pub shm_mb: i64,
    pub home_mb: i64,
    pub tmp_mb: i64,
    pub pids_limit: i64,
    /// None: as each zone's settings say.
    #[serde(default)]
    #[schema(value_type = Option<schemas::ImagePolicy>)]
    pub image_policy: Option<ImagePolicy>,
    /// Labels that an agent must have.
    #[serde(default)]
    pub required_labels: BTreeMap<String, String>,
    /// The zones where it is offered; none: everywhere.
    #[serde(default)]
    pub zones: Option<Vec<String>>,
    /// The groups whose members it is for; none: everybody.
    #[serde(default)]
    pub groups: Option<Vec<String>>,
}

/// An entry, new or as its file has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWorkspace {
    pub name: String,
    pub image: String,
    /// Cores.
    #[serde(default = "one")]
    pub cpu: f64,
    #[serde(default = "mb_1024")]
    pub memory_mb: i64,
    #[serde(default)]
    pub gpu: i32,
    #[serde(default)]
    pub description: String,
    #[serde(default = "icon")]
    pub icon: String,
    #[serde(default = "no_network")]
    #[schema(value_type = schemas::Network)]
    pub network: Network,
    /// `default`, or `chromium` for images whose browser keeps its own sandbox.
    #[serde(default)]
    #[schema(value_type = schemas::Seccomp)]
    pub seccomp: Seccomp,
    #[serde(default = "mb_64")]
    pub shm_mb: i64,
    #[serde(default = "mb_1024")]
    pub home_mb: i64,
    #[serde(default = "mb_256")]
    pub tmp_mb: i64,
    #[serde(default = "pids")]
    pub pids_limit: i64,
    /// Where an agent does not have the image: `elsewhere`, another one is taken; `wait`, it loads the image if nobody has it, and the
    /// session waits. Left out: as each zone's settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<schemas::ImagePolicy>)]
    pub image_policy: Option<ImagePolicy>,
    /// Names of the zones where it is offered; left out: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<Vec<String>>,
    /// Names of the groups whose members it is for; left out: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Labels that an agent must have to run it, with these values.
    #[serde(default)]
    pub required_labels: BTreeMap<String, String>,
}

impl NewWorkspace {
    /// Every field as `save_workspace_v1` takes it.
    pub(crate) fn entry(&self) -> Value {
        json!({
            "name": self.name, "description": self.description, "icon": self.icon, "image": self.image,
            "cpu_milli": self.cpu_milli(), "memory_mb": self.memory_mb, "gpu": self.gpu,
            "network": self.network.as_str(), "seccomp": self.seccomp.as_str(), "shm_mb": self.shm_mb,
            "home_mb": self.home_mb, "tmp_mb": self.tmp_mb, "pids_limit": self.pids_limit,
            "image_policy": self.image_policy.map(ImagePolicy::as_str),
            "required_labels": self.required_labels, "zones": self.zones, "groups": self.groups,
        })
    }

    /// Thousandths of a core.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "checked to be between 0.05 and 1024 cores before it is used"
    )]
    pub fn cpu_milli(&self) -> i64 {
        (self.cpu * 1000.0).round() as i64
    }
}

fn one() -> f64 {
    1.0
}
fn icon() -> String {
    "desktop".into()
}
fn no_network() -> Network {
    Network::None
}
fn mb_64() -> i64 {
    64
}
fn mb_256() -> i64 {
    256
}
fn mb_1024() -> i64 {
    1024
}
fn pids() -> i64 {
    512
}

/// Any of an entry's fields; those left out stay.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorkspacePatch {
    pub name: Option<String>,
    pub image: Option<String>,
    /// Cores.
    pub cpu: Option<f64>,
    pub memory_mb: Option<i64>,
    pub gpu: Option<i32>,
    pub description: Option<String>,
    pub icon: Option<String>,
    #[schema(value_type = Option<schemas::Network>)]
    pub network: Option<Network>,
    #[schema(value_type = Option<schemas::Seccomp>)]
    pub seccomp: Option<Seccomp>,
    pub shm_mb: Option<i64>,
    pub home_mb: Option<i64>,
    pub tmp_mb: Option<i64>,
    pub pids_limit: Option<i64>,
    /// Null: as each zone's settings say.
    #[serde(deserialize_with = "clearable")]
    #[schema(value_type = Option<schemas::ImagePolicy>)]
    pub image_policy: Option<Option<ImagePolicy>>,
    /// Replaces all of them.
    pub required_labels: Option<BTreeMap<String, String>>,
    /// Names of zones; null: everywhere.
    #[serde(deserialize_with = "clearable")]
    #[schema(value_type = Option<Vec<String>>)]
    pub zones: Option<Option<Vec<String>>>,
    /// Names of groups; null: everybody.
    #[serde(deserialize_with = "clearable")]
    #[schema(value_type = Option<Vec<String>>)]
    pub groups: Option<Option<Vec<String>>>,
}

impl WorkspacePatch {
    /// The entry with the patch applied.
    #[must_use]
    pub fn apply(self, entry: WorkspaceView) -> NewWorkspace {
        NewWorkspace {
            name: self.name.unwrap_or(entry.name),
            image: self.image.unwrap_or(entry.image),
            cpu: self.cpu.unwrap_or(entry.cpu),
            memory_mb: self.memory_mb.unwrap_or(entry.memory_mb),
            gpu: self.gpu.unwrap_or(entry.gpu),
            description: self.description.unwrap_or(entry.description),
            icon: self.icon.unwrap_or(entry.icon),
            network: self.network.unwrap_or(entry.network),
            seccomp: self.seccomp.unwrap_or(entry.seccomp),
            shm_mb: self.shm_mb.unwrap_or(entry.shm_mb),
            home_mb: self.home_mb.unwrap_or(entry.home_mb),
            tmp_mb: self.tmp_mb.unwrap_or(entry.tmp_mb),
            pids_limit: self.pids_limit.unwrap_or(entry.pids_limit),
            image_policy: self.image_policy.unwrap_or(entry.image_policy),
            required_labels: self.required_labels.unwrap_or(entry.required_labels),
            zones: self.zones.unwrap_or(entry.zones),
            groups: self.groups.unwrap_or(entry.groups),
        }
    }
}
