//! `meridian balance`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceSettings {
    pub listen: SocketAddr,
    /// Rules in order; the first that fits a connection's SNI has it. A rule without `sni` fits everything, plain TCP too.
    #[serde(rename = "route")]
    pub routes: Vec<RouteSettings>,
    #[serde(default)]
    pub ops_listen: Option<SocketAddr>,
    /// Waits in seconds: for the ClientHello, for a dial, between health checks.
    #[serde(default = "five")]
    pub hello_wait_s: u64,
    #[serde(default = "five")]
    pub dial_wait_s: u64,
    #[serde(default = "one")]
    pub check_period_s: u64,
    /// How long connections may go on after a stop is asked for, in seconds.
    #[serde(default = "ten")]
    pub drain_wait_s: u64,
    #[serde(default = "max_connections")]
    pub max_connections: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// An exact server name, or `*.suffix`.
    #[serde(default)]
    pub sni: Option<String>,
    #[serde(rename = "backend")]
    pub backends: Vec<BackendSettings>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendSettings {
    /// `host:port`.
    pub address: String,
}

fn one() -> u64 {
    1
}
fn five() -> u64 {
    5
}
fn ten() -> u64 {
    10
}
fn max_connections() -> usize {
    9000
}
