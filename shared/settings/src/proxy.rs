//! `meridian proxy`.

use std::{net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{AgentSettings, DirectSettings, NodeSection};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProxySettings {
    pub node: NodeSection,
    /// Where browsers come in.
    pub listen: SocketAddr,
    /// Certificate chain and key (PEM files) of the public listener; none: plain HTTP, for loopback or behind something that ends TLS.
    #[serde(default)]
    pub tls_certificate_file: Option<PathBuf>,
    #[serde(default)]
    pub tls_key_file: Option<PathBuf>,
    /// Addresses (CIDR or single) whose X-Forwarded-For counts, and PROXY headers where those are read.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// Whether connections to `listen` from `trusted_proxies` begin with a PROXY header, version 2: all of them, or none.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Bounds: an upgrade request's head in bytes; streams; connections that are not yet streams; waits in seconds.
    #[serde(default = "max_head_bytes")]
    pub max_head_bytes: usize,
    #[serde(default = "max_streams")]
    pub max_streams: usize,
    #[serde(default = "max_pending")]
    pub max_pending: usize,
    #[serde(default = "ten")]
    pub head_wait_s: u64,
    /// The control plane's answer, and the agent's: shorter than the eight seconds that a viewer waits, so that it reads which did not come.
    #[serde(default = "six")]
    pub authorize_wait_s: u64,
    #[serde(default = "six")]
    pub dial_wait_s: u64,
    /// How long live streams may go on after a stop is asked for.
    #[serde(default = "ten")]
    pub drain_wait_s: u64,
    /// Copy buffer per direction, held only while bytes move.
    #[serde(default = "copy_buffer_bytes")]
    pub copy_buffer_bytes: usize,
}

impl ProxySettings {
    /// The entrance in an agent's own process: as a proxy's, with as many streams as the agent may have.
    #[must_use]
    pub fn at_agent(agent: &AgentSettings, direct: DirectSettings) -> Self {
        Self {
            node: agent.node.clone(),
            listen: direct.listen,
            tls_certificate_file: direct.tls_certificate_file,
            tls_key_file: direct.tls_key_file,
            trusted_proxies: direct.trusted_proxies,
            proxy_protocol: direct.proxy_protocol,
            max_head_bytes: max_head_bytes(),
            max_streams: agent.max_streams,
            max_pending: max_pending(),
            head_wait_s: ten(),
            authorize_wait_s: six(),
            dial_wait_s: six(),
            drain_wait_s: ten(),
            copy_buffer_bytes: copy_buffer_bytes(),
        }
    }
}

fn max_head_bytes() -> usize {
    16 * 1024
}
fn max_streams() -> usize {
    8192
}
fn max_pending() -> usize {
    1024
}
fn six() -> u64 {
    6
}
fn ten() -> u64 {
    10
}
fn copy_buffer_bytes() -> usize {
    32 * 1024
}
