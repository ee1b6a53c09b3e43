//! `meridian agent`.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::NodeSection;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentSettings {
    pub node: NodeSection,
    /// Mutual-TLS listener for proxies and the Web App.
    pub listen: SocketAddr,
    /// `docker`, or `simulated` for thousand-node tests.
    #[serde(default = "docker")]
    pub engine: String,
    /// The Docker Engine's socket.
    #[serde(default = "docker_socket")]
    pub docker_socket: PathBuf,
    /// Where display directories are made: short, and the agent's alone.
    #[serde(default = "run_directory")]
    pub run_directory: PathBuf,
    /// What may be promised to sessions, in thousandths of a core; 0: all the machine has.
    #[serde(default)]
    pub cpu_milli: i64,
    /// What may be promised to sessions, in MiB; 0: all but 10 %.
    #[serde(default)]
    pub memory_mb: i64,
    /// Folder with the seccomp profiles.
    #[serde(default)]
    pub seccomp_directory: Option<PathBuf>,
    /// Waits, in seconds: an answer of the engine; a workspace's display after its container started; an attach after the upgrade.
    #[serde(default = "thirty")]
    pub engine_wait_s: u64,
    #[serde(default = "sixty")]
    pub display_wait_s: u64,
    #[serde(default = "ten")]
    pub attach_wait_s: u64,
    /// How long, in seconds, a stream whose path broke waits for its viewer to come back; 0: not at all.
    #[serde(default = "two_minutes")]
    pub resume_window_s: u64,
    /// How long, in seconds, somebody who looks on may go on while the person whose desktop it is has no page with it.
    #[serde(default = "ten")]
    pub watch_grace_s: u64,
    /// Live streams of this agent at most, and unacknowledged bytes per stream at most.
    #[serde(default = "max_streams")]
    pub max_streams: usize,
    #[serde(default = "window_bytes")]
    pub window_bytes: u32,
    /// Images that are loaded at once, ahead of need.
    #[serde(default = "two")]
    pub pulls_at_once: usize,
    /// How long, in seconds, a session waits for its image to be loaded.
    #[serde(default = "fifteen_minutes")]
    pub image_wait_s: u64,
    /// No image is loaded when the engine's disk has less left than this, in MiB.
    #[serde(default = "one_gib_in_mb")]
    pub images_keep_free_mb: u64,
    /// After how long, in seconds, an image that is there by a tag is asked for again; 0: never.
    #[serde(default = "one_day")]
    pub images_look_again_s: u64,
    /// Folder with archives of images (`docker save`), which are loaded in place of asking a registry.
    #[serde(default)]
    pub archive_directory: Option<PathBuf>,
    /// An archive larger than this, in MiB, is not loaded.
    #[serde(default = "archive_max_mb")]
    pub archive_max_mb: u64,
    /// How browsers reach this agent itself, in a zone whose streams go through no proxy; none: not at all.
    #[serde(default)]
    pub direct: Option<DirectSettings>,
}

/// The entrance for browsers in an agent's own process, for zones with `proxy_connections = false`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectSettings {
    /// Where browsers come in.
    pub listen: SocketAddr,
    /// `host` or `host:port` that browsers are sent to; `$request_host$` stands for the host of the page.
    pub address: String,
    /// Certificate chain and key (PEM files); none: plain HTTP, for loopback or behind something that ends TLS.
    #[serde(default)]
    pub tls_certificate_file: Option<PathBuf>,
    #[serde(default)]
    pub tls_key_file: Option<PathBuf>,
    /// As a proxy's: whose X-Forwarded-For counts, and whether those connections begin with a PROXY header.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    #[serde(default)]
    pub proxy_protocol: bool,
}

fn docker() -> String {
    "docker".into()
}
fn docker_socket() -> PathBuf {
    "/var/run/docker.sock".into()
}
fn run_directory() -> PathBuf {
    "/run/meridian".into()
}
fn ten() -> u64 {
    10
}
fn thirty() -> u64 {
    30
}
fn sixty() -> u64 {
    60
}
fn two_minutes() -> u64 {
    120
}
fn max_streams() -> usize {
    2048
}
fn window_bytes() -> u32 {
    1 << 20
}
fn two() -> usize {
    2
}
fn one_day() -> u64 {
    24 * 60 * 60
}
fn fifteen_minutes() -> u64 {
    900
}
fn one_gib_in_mb() -> u64 {
    1024
}
fn archive_max_mb() -> u64 {
    16 * 1024
}
