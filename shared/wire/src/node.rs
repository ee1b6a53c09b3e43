//! Enrolment, the batched heartbeat, and desired state.
//!
//! Everything about a session carries `(epoch, generation)`. Receivers refuse lower pairs than the highest they persisted. An
//! [`Update`] lists only what changed after `since`: a session missing from it means nothing at all.

use std::fmt;

use jiff::Timestamp;
use meridian_ids::{DeploymentId, HomeId, NodeId, SessionId, WatchId, ZoneId};
use meridian_model::{NodeRole, PersistentHome, ProgressStep, Resources, WorkspaceSpec, ZoneSettings};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{DiskReport, ImageOrders, ImageStanding};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrollRequest {
    /// The single-use token.
    pub token: String,
    /// What people will call the node; made unique by the control plane.
    pub name: String,
    /// PKCS#10. Only its public key is used: the control plane decides every name in the certificate.
    pub csr_pem: String,
    /// `host:port` where other nodes reach this one's mutual-TLS listener; empty when it has none.
    pub address: String,
    pub version: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnrollResponse {
    pub node_id: NodeId,
    pub role: NodeRole,
    /// Web App nodes belong to no zone.
    pub zone_id: Option<ZoneId>,
    pub zone_name: Option<String>,
    pub deployment_id: DeploymentId,
    pub certificate_pem: String,
    pub ca_pem: String,
    /// `host:port` of the Web App's node listener.
    pub node_listener: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RenewRequest {
    pub csr_pem: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RenewResponse {
    pub certificate_pem: String,
    pub ca_pem: String,
}

/// What a node says every two seconds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The `version` of the latest [`Update`] that the node persisted; 0 asks for everything.
    pub since: i64,
    /// The highest control epoch the node has seen.
    pub epoch: i64,
    pub version: String,
    pub address: String,
    /// Agents only.
    #[serde(default)]
    pub agent: Option<AgentReport>,
    #[serde(default)]
    pub problems: Vec<ProblemReport>,
    /// Live streams that the node carries; none of those that do not count them here, as agents, who say it session by session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<u32>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AgentReport {
    pub total: Resources,
    pub images: Vec<ImageReport>,
    pub sessions: Vec<ObservedSession>,
    /// How home volumes are bounded, in words: `quota`, `tmpfs`, `unbounded`.
    pub home_storage: String,
    pub network_modes: Vec<String>,
    /// Graphics cards that workspaces can be given.
    #[serde(default)]
    pub gpus: u32,
    /// Where images lie.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskReport>,
    /// The `version` of the latest [`ImageOrders`] that the agent took; none from an agent that takes no such orders, empty: none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images_version: Option<String>,
    /// How the images stand that the zone wants or sessions wait for: all of them, or none when nothing about them changed since it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standings: Option<Vec<ImageStanding>>,
    /// Whether `active_at` is said of every session that runs. Of those of an agent that does not, nobody knows whether they are idle.
    #[serde(default)]
    pub reports_activity: bool,
    /// Where browsers reach this agent itself, `host` or `host:port`; none: through proxies alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct_address: Option<String>,
    /// Whether homes can outlive their sessions here.
    #[serde(default)]
    pub keeps_homes: bool,
    /// Path of the zone's storage for homes, where this agent reaches it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_homes: Option<String>,
    /// Of the homes that were to be removed, those of which nothing is left.
    #[serde(default)]
    pub homes_gone: Vec<HomeId>,
    /// Its sessions that stand still, because they may not write to their homes now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<FrozenSession>,
    /// Those who look on at one of its sessions now, or may come back to it; none from an agent that serves no such streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watches: Option<Vec<WatchId>>,
    /// Looking on that the agent ended by itself. Said for as long as the session lives.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watches_ended: Vec<WatchEnd>,
}

/// A session that its agent let stand still, so that nobody writes to a home that may be somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrozenSession {
    pub session_id: SessionId,
    pub because: FrozenCause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrozenCause {
    /// The storage of its home does not say whose the home is. It runs on when the storage does.
    StorageAway,
    /// Another session has its home. It does not run on.
    Overtaken,
    /// A later release's.
    #[serde(other)]
    Unknown,
}

/// Somebody's looking on ended at the agent, without the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchEnd {
    pub id: WatchId,
    pub because: WatchEndCause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WatchEndCause {
    /// The person at the desktop stopped it.
    Stopped,
    /// No page of theirs showed the desktop any more.
    Unattended,
    /// The control plane said so.
    Told,
    /// A later release's.
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageReport {
    pub reference: String,
    pub image_id: String,
}

/// Something an administrator should know about a node, with a stable code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemReport {
    pub code: String,
    pub message: String,
}

/// A session as its agent sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedSession {
    pub session_id: SessionId,
    pub epoch: i64,
    pub generation: i64,
    #[serde(flatten)]
    pub observation: Observation,
    /// Live streams of the session.
    #[serde(default)]
    pub streams: u32,
    /// Until when, in control-plane time, the session counts as used: a little after its user's last key or pointer movement, and never
    /// earlier than the agent's own start, since it does not remember what was before. It rises in steps, so that a session that is used
    /// all the time is not news with every heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "observation", rename_all = "snake_case")]
pub enum Observation {
    /// On its way.
    Starting { step: ProgressStep, message: String, percent: Option<u8> },
    /// A person would see something now.
    Running,
    /// It could not be started, or stopped by an error.
    Failed { reason: String },
    /// The workspace ended by itself.
    Exited { reason: String },
    /// The tombstone is carried out: no container, no volume, no stream is left.
    Gone,
    /// Found with this deployment's and agent's labels, yet unknown: left alone until the control plane says what it is.
    Quarantined,
}

/// What should be. `Update`s come from the watch, the push and the heartbeat's answer alike.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Update {
    pub deployment_id: DeploymentId,
    /// Rises at each promotion or restore of the database.
    pub epoch: i64,
    /// Number of this state for this node; `since` of the next heartbeat. A push carries 0: it is a hint and is not counted.
    pub version: i64,
    pub control_time: Timestamp,
    #[serde(default)]
    pub sessions: Vec<DesiredSession>,
    #[serde(default)]
    pub settings: Option<NodeSettings>,
    /// Homes that are wanted no more and are to be removed, all of them; not said but in answers to heartbeats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forget_homes: Option<Vec<PersistentHome>>,
    /// For agents, in a heartbeat's answer alone, when they know another version. It is written to no disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageOrders>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredSession {
    pub session_id: SessionId,
    pub epoch: i64,
    pub generation: i64,
    #[serde(flatten)]
    pub command: Command,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    Run {
        spec: WorkspaceSpec,
    },
    /// The tombstone: stop the container and remove what belongs to it.
    End {
        reason: String,
    },
}

/// What a node needs to know to go on without the control plane; kept on its own disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeSettings {
    pub zone_id: Option<ZoneId>,
    pub zone_name: Option<String>,
    /// None for Web App nodes.
    pub zone: Option<ZoneSettings>,
    /// A JSON Web Key Set, as at `/.well-known/jwks.json`.
    pub jwks: Box<RawValue>,
    #[serde(default)]
    pub revocations: Vec<Revocation>,
    /// For agents: whose looking on is over before its time. Nodes of the release before carry no such streams.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watches_over: Vec<WatchId>,
    /// The zone's agents, for proxies and balancers.
    #[serde(default)]
    pub agents: Vec<PeerAddress>,
    /// For proxies: what the zone's TLS session tickets are sealed with, so that a viewer resumes on any of them. The one before,
    /// the one in use and the next one; empty from a control plane that does not share any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ticket_keys: Vec<TicketKey>,
    /// Whether an administrator wants this node drained. A Web App node of the release before does not say: what was heard last holds then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining: Option<bool>,
    /// For balancers: where to send connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Fleet>,
}

impl NodeSettings {
    /// What these leave unsaid is as it was.
    pub fn complete_from(&mut self, before: &Self) {
        self.draining = self.draining.or(before.draining);
        match (&mut self.fleet, &before.fleet) {
            (Some(fleet), Some(before)) => fleet.complete_from(before),
            (None, Some(before)) => self.fleet = Some(before.clone()),
            (Some(_) | None, None) => {}
        }
    }
}

/// The nodes that balancers send connections to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// Web App nodes, where browsers come in.
    #[serde(default)]
    pub web: Vec<FleetNode>,
    /// Web App nodes, where nodes come in.
    #[serde(default)]
    pub web_nodes: Vec<FleetNode>,
    /// The zone's proxies.
    #[serde(default)]
    pub proxies: Vec<FleetNode>,
    /// The zone's agents.
    #[serde(default)]
    pub agents: Vec<FleetNode>,
}

impl Fleet {
    /// A kind of which there is nobody that could be dialled is as it was: an answer given in trouble takes no backend away. The last node
    /// of a kind that was removed for good therefore stays listed, and fails its checks.
    pub fn complete_from(&mut self, before: &Self) {
        let kinds = [
            (&mut self.web, &before.web),
            (&mut self.web_nodes, &before.web_nodes),
            (&mut self.proxies, &before.proxies),
            (&mut self.agents, &before.agents),
        ];
        for (now, before) in kinds {
            if !now.iter().any(FleetNode::is_dialable) {
                now.clone_from(before);
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetNode {
    pub node_id: NodeId,
    /// `host:port`.
    pub address: String,
    /// It gets no new connections, where it is the node itself that is connected to.
    #[serde(default)]
    pub draining: bool,
}

impl FleetNode {
    /// Whether its address reads as `host:port`.
    #[must_use]
    pub fn is_dialable(&self) -> bool {
        const MAX_BYTES: usize = 255 + 6;
        self.address.len() <= MAX_BYTES
            && self.address.rsplit_once(':').is_some_and(|(host, port)| {
                let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                let fits = match bracketed {
                    Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
                    None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
                };
                !host.is_empty() && fits && port.parse::<u16>().is_ok_and(|port| port > 0)
            })
    }
}

/// One of a zone's keys for TLS session tickets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketKey {
    /// Control-plane time from which tickets are sealed with it, until the next key begins.
    pub begins_at: Timestamp,
    pub secret: TicketSecret,
}

/// 32 bytes in hex. Whoever has them reads what tickets hold: it does not show itself in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketSecret(String);

impl TicketSecret {
    #[must_use]
    pub fn new(hex: String) -> Self {
        Self(hex)
    }

    /// The digits themselves; whoever calls this takes care where they go.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Streams of a session whose grant was issued before `issued_before` are to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    pub session_id: SessionId,
    pub issued_before: Timestamp,
    /// Where viewers are to be told more than that they are cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub because: Option<CutReason>,
}

/// Why streams are cut, where it is not that access was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutReason {
    /// Nobody used the session for a while. The agent alone cuts, with a word: whoever comes back is let in, so relays leave it to it.
    Idle,
    /// A later release's.
    #[serde(other)]
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAddress {
    pub node_id: NodeId,
    /// `host:port`.
    pub address: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(address: &str) -> FleetNode {
        FleetNode { node_id: NodeId::generate(), address: address.into(), draining: false }
    }

    #[test]
    fn an_empty_list_and_one_of_nonsense_take_nothing_away() {
        let before = Fleet { proxies: vec![node("10.0.0.1:1"), node("10.0.0.2:1")], ..Fleet::default() };
        for list in [vec![], vec![node(""), node("no port"), node("10.0.0.3:0")]] {
            let mut now = Fleet { proxies: list, agents: vec![node("10.0.0.9:1")], ..Fleet::default() };
            now.complete_from(&before);
            assert_eq!((&now.proxies, now.agents.len()), (&before.proxies, 1));
        }
        let fewer = vec![before.proxies[1].clone()];
        let mut now = Fleet { proxies: fewer.clone(), ..Fleet::default() };
        now.complete_from(&before);
        assert_eq!(now.proxies, fewer, "who left is gone");
    }

    #[test]
    fn addresses_are_hosts_and_ports() {
        for good in ["10.0.0.1:443", "[2001:db8::1]:443", "proxy-1.example:8443", "proxy_1:1"] {
            assert!(node(good).is_dialable(), "{good}");
        }
        for bad in ["", ":1", "a", "a:", "a:0", "a:65536", "[x]:1", "::1:1", "a b:1", "a\n:1", "http://a:1"] {
            assert!(!node(bad).is_dialable(), "{bad}");
        }
    }
}
