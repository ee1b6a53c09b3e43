//! `meridian balance`.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::NodeSection;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalanceSettings {
    /// Where connections come in; a route may have an address of its own.
    pub listen: SocketAddr,
    /// Rules in order; the first that fits a connection's SNI has it. A rule without `sni` fits everything, plain TCP too.
    #[serde(rename = "route")]
    pub routes: Vec<RouteSettings>,
    #[serde(default)]
    pub ops_listen: Option<SocketAddr>,
    /// What logs call this balancer.
    #[serde(default = "balance")]
    pub name: String,
    /// The zone this balancer stands in, for metrics and logs; empty: none, as in front of the Web App.
    #[serde(default)]
    pub zone: String,
    /// How this balancer joins its deployment; only where routes take backends from its registry.
    #[serde(default)]
    pub node: Option<NodeSection>,
    /// Addresses (CIDR or single) whose connections begin with a PROXY header, version 2. Nobody else's header counts.
    #[serde(default)]
    pub trusted_proxies: Vec<String>,
    /// Waits in seconds: for a PROXY header and the ClientHello; for all dials of one connection together.
    #[serde(default = "five")]
    pub hello_wait_s: u64,
    #[serde(default = "five")]
    pub dial_wait_s: u64,
    /// After how long without an answer another backend is dialled as well, in milliseconds; 0: only after a failure.
    #[serde(default = "second_dial_ms")]
    pub second_dial_ms: u64,
    /// Backends dialled at most for one connection.
    #[serde(default = "four")]
    pub max_dials: usize,
    /// Seconds between the checks of routes that do not set `interval_ms`; none: half a second.
    #[serde(default)]
    pub check_period_s: Option<u64>,
    /// How long connections may go on after a stop is asked for, in seconds.
    #[serde(default = "ten")]
    pub drain_wait_s: u64,
    #[serde(default = "max_connections")]
    pub max_connections: usize,
    /// Bytes read at once, and kept at most for each way of a connection whose receiver is slow; an idle one holds none.
    #[serde(default = "copy_buffer_bytes")]
    pub copy_buffer_bytes: usize,
    /// Pipes at most for connections in bulk, whose bytes then pass without being copied; two descriptors each. 0: all are copied.
    #[serde(default)]
    pub max_pipes: usize,
    /// How long what is left of a connection may be silent after one side has ended, in seconds.
    #[serde(default = "sixty")]
    pub half_close_wait_s: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// What metrics and logs call the rule; none: its `sni`, or its address.
    #[serde(default)]
    pub name: Option<String>,
    /// An exact server name, or `*.suffix`.
    #[serde(default)]
    pub sni: Option<String>,
    /// An address of the rule's own; none: the balancer's. Rules with the same address share it.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// How a backend is chosen.
    #[serde(default)]
    pub choice: Choice,
    /// Whether backends are told the client's address by a PROXY header, version 2.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Whether connections to a backend that stopped answering dials are reset while another one answers.
    #[serde(default)]
    pub reset_when_unreachable: bool,
    /// Over how many seconds a backend that came back gets its full share; 0: at once.
    #[serde(default = "ten")]
    pub slow_start_s: u64,
    /// After how many failed dials in a row, of clients, a backend is out without waiting for its checks.
    #[serde(default = "three")]
    pub eject_after: u32,
    #[serde(default)]
    pub check: CheckSettings,
    /// Backends that the control plane names, beside those written here.
    #[serde(default)]
    pub registry: Option<Registry>,
    #[serde(default, rename = "backend")]
    pub backends: Vec<BackendSettings>,
}

/// Whom the control plane names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Registry {
    /// The Web App nodes, where browsers come in.
    Web,
    /// The Web App nodes, where nodes come in.
    WebNodes,
    /// The proxies of this balancer's zone.
    Proxies,
    /// The agents of this balancer's zone: a rule for each, by its own name.
    Agents,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendSettings {
    /// `host:port`.
    pub address: String,
    /// Gets no new connection and keeps those it has.
    #[serde(default)]
    pub drain: bool,
}

/// How one of the backends that are in is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// The one with the fewest connections; equals in turn.
    #[default]
    LeastConnections,
    RoundRobin,
    /// The same one for the same client address, as long as it is in; other clients stay where they are when backends change.
    SourceHash,
}

/// How backends are checked while nobody asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckSettings {
    #[serde(default)]
    pub kind: CheckKind,
    /// Another port of the same host, such as that of `ops_listen`.
    #[serde(default)]
    pub port: Option<u16>,
    /// Server name of the TLS handshake and `Host` of the request; none: the route's `sni` when it is exact, else the backend's host.
    #[serde(default)]
    pub host: Option<String>,
    /// HTTP alone: what is asked for, and the answer that is good: its status, and a text within the first 64 KiB of its body.
    #[serde(default = "root_path")]
    pub path: String,
    #[serde(default = "status_ok")]
    pub status: u16,
    #[serde(default)]
    pub body: Option<String>,
    /// Time between two checks (a tenth more or less, so that many balancers do not ask in step), and for one check.
    #[serde(default)]
    pub interval_ms: Option<u64>,
    #[serde(default = "five_hundred")]
    pub timeout_ms: u64,
    /// Checks in a row that bring a backend in, and that put it out.
    #[serde(default = "two")]
    pub rise: u32,
    #[serde(default = "two")]
    pub fall: u32,
}

/// What a check does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// Dials.
    #[default]
    Tcp,
    /// Dials and shakes hands. The certificate is not judged: it proves the backend to its clients, who do judge it.
    Tls,
    /// Asks by HTTP/1.1.
    Http,
    /// The same within TLS.
    Https,
}

impl BackendSettings {
    #[must_use]
    pub fn new(address: impl ToString) -> Self {
        Self { address: address.to_string(), drain: false }
    }
}

impl RouteSettings {
    /// A rule of which everything else has its default.
    #[must_use]
    pub fn new(sni: Option<&str>, backends: Vec<BackendSettings>) -> Self {
        Self {
            name: None,
            sni: sni.map(str::to_owned),
            listen: None,
            choice: Choice::default(),
            proxy_protocol: false,
            reset_when_unreachable: false,
            slow_start_s: ten(),
            eject_after: three(),
            check: CheckSettings::default(),
            registry: None,
            backends,
        }
    }
}

impl Default for CheckSettings {
    fn default() -> Self {
        Self {
            kind: CheckKind::default(),
            port: None,
            host: None,
            path: root_path(),
            status: status_ok(),
            body: None,
            interval_ms: None,
            timeout_ms: five_hundred(),
            rise: two(),
            fall: two(),
        }
    }
}

fn balance() -> String {
    "balance".into()
}
fn two() -> u32 {
    2
}
fn three() -> u32 {
    3
}
fn four() -> usize {
    4
}
fn five() -> u64 {
    5
}
fn ten() -> u64 {
    10
}
fn sixty() -> u64 {
    60
}
fn second_dial_ms() -> u64 {
    250
}
fn five_hundred() -> u64 {
    500
}
fn status_ok() -> u16 {
    200
}
fn root_path() -> String {
    "/".into()
}
fn max_connections() -> usize {
    9000
}
fn copy_buffer_bytes() -> usize {
    32 * 1024
}
