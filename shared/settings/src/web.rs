//! `meridian web`.

use std::{net::SocketAddr, path::PathBuf};

use meridian_model::{NodeRole, ZoneSettings};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebSettings {
    /// What people call the node.
    pub name: String,
    /// The node's data: master key, embedded database, identity.
    pub data: PathBuf,
    /// Where browsers and signed calls come in.
    pub listen: SocketAddr,
    /// Mutual-TLS listener for agents, proxies and balancers.
    pub node_listen: SocketAddr,
    /// `host:port` of `node_listen` as nodes reach it, told to them at enrolment.
    pub node_advertise: String,
    /// `host:port` of this node's own `node_listen`, for balancers that take their backends from the registry; none: `node_advertise`, which
    /// then must not be a balancer's.
    #[serde(default)]
    pub node_address: Option<String>,
    /// `host:port` of this node's own `listen`, for the same; none: they do not hear of it.
    #[serde(default)]
    pub public_address: Option<String>,
    /// Name of the zone that this node's people are nearest to: launches that nothing else decides begin there. None: the first zone.
    #[serde(default)]
    pub zone: Option<String>,
    /// The public address, as a URL without a path, such as `https://meridian.example.org`.
    pub public_url: String,
    /// A PostgreSQL 15+ URL (password better in `database_url_file`); none: the embedded one.
    #[serde(default)]
    pub database_url: Option<String>,
    #[serde(default)]
    pub database_url_file: Option<PathBuf>,
    /// 32 random bytes that seal the keys in the database; made (0600) when missing and the database is new.
    #[serde(default)]
    pub master_key_file: Option<PathBuf>,
    #[serde(default)]
    pub tls_certificate_file: Option<PathBuf>,
    #[serde(default)]
    pub tls_key_file: Option<PathBuf>,
    /// Addresses (CIDR or single) whose X-Forwarded-* headers count, and PROXY headers where those are read.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// Whether connections to `listen` from `trusted_proxies` begin with a PROXY header, version 2: all of them, or none.
    #[serde(default)]
    pub proxy_protocol: bool,
    #[serde(default)]
    pub ops_listen: Option<SocketAddr>,
    /// Connections to the database at most.
    #[serde(default = "sixteen")]
    pub database_connections: usize,
    /// Waits in seconds: for a database connection or answer; a whole request.
    #[serde(default = "five")]
    pub database_wait_s: u64,
    #[serde(default = "thirty")]
    pub request_wait_s: u64,
    /// How long the node goes on serving after it was told to stop, in seconds, while balancers learn of it; 0: not at all.
    #[serde(default = "three")]
    pub drain_wait_s: u64,
    /// A request's body at most, in bytes.
    #[serde(default = "max_body_bytes")]
    pub max_body_bytes: usize,
    /// How long what is over is kept.
    #[serde(default)]
    pub retention: RetentionSettings,
    /// What the node sees to at each start; `meridian up` writes it.
    #[serde(default)]
    pub furnish: Option<FurnishSettings>,
}

/// How long the database keeps what is over, in days; 0: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionSettings {
    /// Sessions that ended, failed or were lost.
    pub ended_sessions_days: u16,
    /// Rows of the audit log.
    pub audit_days: u16,
}

impl Default for RetentionSettings {
    fn default() -> Self {
        Self { ended_sessions_days: 90, audit_days: 365 }
    }
}

/// What a deployment on one machine begins with. Each part does nothing when it is there already.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FurnishSettings {
    /// File with the first administrator's password; used only while nobody has an account.
    pub admin_password_file: Option<PathBuf>,
    /// Written when the first administrator was made with that password.
    pub admin_made_file: Option<PathBuf>,
    #[serde(default, rename = "zone")]
    pub zones: Vec<FurnishZone>,
    #[serde(default, rename = "enroll")]
    pub enrollments: Vec<FurnishEnrollment>,
    /// A certificate of Meridian's own authority for the front, made anew at each start.
    #[serde(default)]
    pub certificate: Option<FurnishCertificate>,
}

/// Where a certificate is put, and for which names and addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FurnishCertificate {
    pub names: Vec<String>,
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
    /// The authority's certificate, for people to trust.
    pub ca_file: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FurnishZone {
    pub name: String,
    pub settings: ZoneSettings,
}

/// A node that will be started beside this one and needs a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FurnishEnrollment {
    pub role: NodeRole,
    pub zone: String,
    /// Where the token is put (0600).
    pub token_file: PathBuf,
}

fn three() -> u64 {
    3
}
fn five() -> u64 {
    5
}
fn sixteen() -> usize {
    16
}
fn thirty() -> u64 {
    30
}
fn max_body_bytes() -> usize {
    64 * 1024
}
