//! The configuration of every role: defaults, then a TOML file, then the environment.
//!
//! A file struct refuses unknown keys and names the line. `meridian check-config` prints the effective configuration, secrets redacted. Every bound
//! of a role (buffers, waits, sizes) is a field here. Sample files are in deploy/, parsed by a test.

mod agent;
mod balance;
mod proxy;
mod web;

use std::{net::SocketAddr, path::Path};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use agent::{AgentSettings, DirectSettings};
pub use balance::{
    BackendSettings, BalanceSettings, CheckKind, CheckSettings, Choice, Registry, RouteSettings,
};
pub use proxy::ProxySettings;
pub use web::{
    FurnishCertificate, FurnishEnrollment, FurnishSettings, FurnishZone, RetentionSettings, WebSettings,
};

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path}: {source}")]
    Parse { path: String, source: Box<toml::de::Error> },
    #[error("{0}")]
    Invalid(String),
}

/// How a node joins and is reached: the same for proxies, agents and balancers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSection {
    /// What people call the node.
    pub name: String,
    /// Where the node keeps its identity and what it must remember.
    pub data: std::path::PathBuf,
    /// The primary's public address, such as `https://meridian.example.org`: enrolment and signed calls go there.
    pub upstream: String,
    /// File with the single-use enrolment token; needed until the node is enrolled, and removed by it then.
    #[serde(default)]
    pub enroll_token_file: Option<std::path::PathBuf>,
    /// `host:port` where the zone's balancer or other nodes reach this one.
    #[serde(default)]
    pub advertise: Option<String>,
    /// `host:port` to dial instead of the Web App's node listener: the zone's private balancer.
    #[serde(default)]
    pub via: Option<String>,
    /// Extra roots (PEM file) for `upstream`, besides the public ones.
    #[serde(default)]
    pub upstream_ca_file: Option<std::path::PathBuf>,
    /// Where `/healthz`, `/readyz` and `/metrics` are served; none: nowhere.
    #[serde(default)]
    pub ops_listen: Option<SocketAddr>,
}

/// Reads one role's file.
///
/// # Errors
/// When it cannot be read, or has an unknown key or a wrong value (named with its line).
pub fn read_file<S: DeserializeOwned>(path: &Path) -> Result<S, SettingsError> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|source| SettingsError::Read { path: shown.clone(), source })?;
    toml::from_str(&text).map_err(|source| SettingsError::Parse { path: shown, source: Box::new(source) })
}
