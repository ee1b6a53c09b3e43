//! A zone's settings (DESIGN.md §4), as stored, exported and edited.

use serde::{Deserialize, Serialize};

use crate::ImagePolicy;

/// Which of the agents that fit gets the next session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadStrategy {
    /// The agent with the smallest share of its resources promised.
    #[default]
    LeastLoad,
    /// The fullest agent that still fits: leaves others empty, to be drained.
    MostLoad,
    LeastSessions,
    MostSessions,
    /// The agent that was chosen longest ago.
    RoundRobin,
}

impl LoadStrategy {
    pub const ALL: [Self; 5] =
        [Self::LeastLoad, Self::MostLoad, Self::LeastSessions, Self::MostSessions, Self::RoundRobin];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LeastLoad => "least_load",
            Self::MostLoad => "most_load",
            Self::LeastSessions => "least_sessions",
            Self::MostSessions => "most_sessions",
            Self::RoundRobin => "round_robin",
        }
    }
}

/// The settings of one zone. Settings that are unknown here are passed over: a Web App node or a node of the release before reads what the next
/// one wrote. What people write is judged where it comes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ZoneSettings {
    /// The page's origin that may open streams, such as `https://work.example.org`; `$request_host$` stands for the host asked for.
    pub allow_origin_domain: String,
    /// Where proxies ask whether a connection is allowed: the primary's public address, as a URL.
    pub upstream_auth_address: String,
    pub load_strategy: LoadStrategy,
    pub search_alternate_zones: bool,
    /// Zone names, in order; empty means any.
    pub alternate_zones: Vec<String>,
    /// Neither lends nor borrows.
    pub isolated: bool,
    pub prioritize_static_agents: bool,
    /// False: the browser goes to the agent directly.
    pub proxy_connections: bool,
    pub proxy_hostname: String,
    pub proxy_path: String,
    /// 0: the port of the page the browser is on.
    pub proxy_port: u16,
    /// Further ways in, in the order in which a page tries them when the first cannot be reached: each `host` or `host:port`, with the same
    /// path. Without a port it is the first one's.
    pub proxy_alternates: Vec<String>,
    /// How long resumes go on without the control plane, in seconds.
    pub outage_grace_s: u32,
    /// `host:port` of the zone's private balancer; empty: nodes are dialled at their own address.
    pub private_balancer: String,
    /// Path at which all its agents reach one storage, for homes that outlive sessions; empty: homes stay on the agent that made them.
    pub home_storage: String,
    /// For workspaces that say nothing for themselves.
    pub image_policy: ImagePolicy,
}

impl Default for ZoneSettings {
    fn default() -> Self {
        Self {
            allow_origin_domain: "$request_host$".into(),
            upstream_auth_address: String::new(),
            load_strategy: LoadStrategy::default(),
            search_alternate_zones: false,
            alternate_zones: Vec::new(),
            isolated: false,
            prioritize_static_agents: true,
            proxy_connections: true,
            proxy_hostname: "$request_host$".into(),
            proxy_path: "desktop".into(),
            proxy_port: 0,
            proxy_alternates: Vec::new(),
            outage_grace_s: 24 * 60 * 60,
            private_balancer: String::new(),
            home_storage: String::new(),
            image_policy: ImagePolicy::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_of_the_next_release_is_passed_over() {
        let text = r#"{"isolated":true,"not_invented_yet":{"deep":[1]}}"#;
        let settings: ZoneSettings = serde_json::from_str(text).unwrap();
        assert_eq!(settings, ZoneSettings { isolated: true, ..ZoneSettings::default() });
    }
}
