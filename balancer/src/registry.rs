//! Backends that the control plane knows: what of its list becomes rules, and following it.
//!
//! The list comes with what every node hears, and rests on this node's disk as that does (crate `meridian-node`): a balancer that starts
//! while the control plane is away begins with what was heard last. A kind of node that a new list has none of stays as it was, so no
//! answer takes all backends away. An entry that makes no sense, or is this balancer itself, is passed over and told in the log; the
//! file's own backends and rules come first. Whether a backend is well is for the checks alone: the list says who there is.

use std::{collections::BTreeSet, sync::Arc};

use meridian_identity::{NodeFiles, NodeName};
use meridian_ids::ZoneId;
use meridian_model::NodeRole;
use meridian_node::{HeartbeatParts, JoinError, NodeClient};
use meridian_runtime::{Clock, Health, Tasks, name_node};
use meridian_settings::{BackendSettings, BalanceSettings, NodeSection, Registry, RouteSettings};
use meridian_wire::{Fleet, FleetNode, NodeSettings};
use tokio::sync::mpsc;

use crate::{BalanceError, balancer::Balancer};

/// Backends of one rule, and rules for agents, at most: a list that is longer is cut, which is told.
const MAX_TAKEN: usize = 4096;
/// Updates wait here; a full queue slows the control plane's messages down.
const UPDATE_QUEUE: usize = 16;
/// Reason code of `/readyz`: this balancer is no node yet, and has the file's backends alone.
const NOT_JOINED: &str = "not_joined";

/// What the control plane said last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    zone: Option<ZoneId>,
    fleet: Fleet,
}

impl Known {
    fn of(heard: Option<&NodeSettings>) -> Self {
        let Some(settings) = heard else { return Self::default() };
        Self { zone: settings.zone_id, fleet: settings.fleet.clone().unwrap_or_default() }
    }
}

/// One of the rules that a route of the file stands for.
pub(crate) struct Expanded {
    pub(crate) route: RouteSettings,
    /// Addresses of it that the control plane named.
    pub(crate) named: BTreeSet<String>,
}

/// Whether the routes that take from the registry can.
///
/// # Errors
/// With what does not fit.
pub(crate) fn check(settings: &BalanceSettings) -> Result<(), BalanceError> {
    let mut full = BTreeSet::new();
    for route in &settings.routes {
        let listen = route.listen.unwrap_or(settings.listen);
        let names_itself = route.registry == Some(Registry::Agents);
        if names_itself && full.contains(&listen) {
            return Err(BalanceError::Unreachable);
        }
        if route.sni.is_none() && !names_itself {
            full.insert(listen);
        }
        let Some(registry) = route.registry else { continue };
        if settings.node.is_none() {
            return Err(BalanceError::Registry(
                "`registry` needs the section [node], by which this balancer joins",
            ));
        }
        if registry == Registry::Agents && (route.sni.is_some() || !route.backends.is_empty()) {
            return Err(BalanceError::Registry(
                "`registry = \"agents\"` makes a rule of each agent's own name: leave out `sni` and `backend`",
            ));
        }
    }
    Ok(())
}

/// The rules that a route stands for now. Names that `taken` holds have rules of the file's own.
pub(crate) fn expand(route: &RouteSettings, known: &Known, taken: &BTreeSet<String>) -> Vec<Expanded> {
    let fleet = &known.fleet;
    match route.registry {
        None => vec![Expanded { route: route.clone(), named: BTreeSet::new() }],
        Some(Registry::Web) => vec![with_backends(route, &fleet.web)],
        Some(Registry::WebNodes) => vec![with_backends(route, &fleet.web_nodes)],
        Some(Registry::Proxies) => vec![with_backends(route, &fleet.proxies)],
        Some(Registry::Agents) => known.zone.map_or_else(Vec::new, |zone| {
            let mut named = BTreeSet::new();
            let rules = usable(&fleet.agents).filter_map(|agent| {
                let name = NodeName { node: agent.node_id, role: NodeRole::Agent, zone: Some(zone) };
                let name = name.to_string();
                let is_new = !taken.contains(&name) && named.insert(name.clone());
                is_new.then(|| rule_of_agent(route, name, agent))
            });
            rules.take(MAX_TAKEN).collect()
        }),
    }
}

fn with_backends(route: &RouteSettings, nodes: &[FleetNode]) -> Expanded {
    let mut route = route.clone();
    let mut seen: BTreeSet<String> =
        route.backends.iter().map(|backend| backend.address.to_ascii_lowercase()).collect();
    let mut named = BTreeSet::new();
    for node in usable(nodes).take(MAX_TAKEN) {
        if seen.insert(node.address.to_ascii_lowercase()) {
            named.insert(node.address.clone());
            route.backends.push(BackendSettings { address: node.address.clone(), drain: node.draining });
        }
    }
    Expanded { route, named }
}

/// An agent that drains gets no new workspaces; the streams of those that it has come as before.
fn rule_of_agent(route: &RouteSettings, name: String, agent: &FleetNode) -> Expanded {
    let backends = vec![BackendSettings::new(&agent.address)];
    let route = RouteSettings { name: None, sni: Some(name), backends, ..route.clone() };
    Expanded { route, named: BTreeSet::from([agent.address.clone()]) }
}

/// Those that can be dialled at all. More than are taken are told once per list.
fn usable(nodes: &[FleetNode]) -> impl Iterator<Item = &FleetNode> {
    if nodes.len() > MAX_TAKEN {
        tracing::error!(
            nodes = nodes.len(),
            "the control plane's list is too long; {MAX_TAKEN} of it are taken"
        );
    }
    nodes.iter().filter(|node| {
        let usable = node.is_dialable();
        if !usable {
            tracing::warn!(peer = %node.node_id, "a node's address in the control plane's list is no `host:port`");
        }
        usable
    })
}

/// What the disk remembers, for a balancer that has joined before.
///
/// # Errors
/// When its identity cannot be used.
pub(crate) async fn rejoin(section: &NodeSection) -> Result<Option<(NodeClient, Known)>, JoinError> {
    if !NodeFiles::new(&section.data).exist() {
        return Ok(None);
    }
    let node = NodeClient::join(section, NodeRole::Balance, Clock::system()).await?;
    let known = Known::of(node.settings().borrow().as_deref());
    Ok(Some((node, known)))
}

/// Joins where that is still to be done, and follows the control plane's list until the tasks stop. Meanwhile the balancer serves with what
/// it has.
pub(crate) fn follow(
    joined: Option<NodeClient>,
    section: NodeSection,
    balancer: Arc<Balancer>,
    tasks: &Tasks,
    health: &Health,
) {
    let (shared, health) = (tasks.clone(), health.clone());
    tasks.spawn_until_stop("registry", async move {
        let node = match joined {
            Some(node) => node,
            None => {
                health.degrade(NOT_JOINED, "this balancer has not joined yet: it has its file's backends alone");
                match NodeClient::join(&section, NodeRole::Balance, Clock::system()).await {
                    Ok(node) => node,
                    Err(error) => {
                        return tracing::error!(%error, "the balancer cannot join; it goes on with its file's backends");
                    }
                }
            }
        };
        health.restore(NOT_JOINED);
        name_node(&node.zone_name(), node.name().node);
        let (sender, mut updates) = mpsc::channel(UPDATE_QUEUE);
        node.run(&shared, HeartbeatParts::default, sender);
        // Nothing in an update concerns a balancer but what its node's client takes out of it.
        shared.spawn_until_stop("updates", async move { while updates.recv().await.is_some() {} });
        let mut heard = node.settings();
        loop {
            let known = Known::of(heard.borrow_and_update().as_deref());
            balancer.learn(known).await;
            if heard.changed().await.is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use meridian_ids::NodeId;

    use super::*;

    fn node(address: &str) -> FleetNode {
        FleetNode { node_id: NodeId::generate(), address: address.into(), draining: false }
    }

    fn route(registry: Registry) -> RouteSettings {
        RouteSettings { registry: Some(registry), ..RouteSettings::new(None, Vec::new()) }
    }

    fn known(fleet: Fleet) -> Known {
        Known { zone: Some(ZoneId::generate()), fleet }
    }

    fn addresses(expanded: &[Expanded]) -> Vec<(&str, bool)> {
        let backends = expanded.iter().flat_map(|rule| &rule.route.backends);
        backends.map(|backend| (backend.address.as_str(), backend.drain)).collect()
    }

    #[test]
    fn a_rule_has_its_files_backends_and_then_the_lists_each_once_and_only_what_can_be_dialled() {
        let draining = FleetNode { draining: true, ..node("10.1.0.32:8443") };
        let list = [
            node("10.1.0.31:8443"),
            draining,
            node("10.1.0.31:8443"),
            node("PROXY.example:1"),
            node("proxy.EXAMPLE:1"),
            node("10.1.0.30:8443"),
            node(""),
            node("10.1.0.33"),
            node("10.1.0.33:0"),
            node("10.1.0.33:x"),
            node("a b:1"),
            node(&format!("{}:1", "a".repeat(300))),
        ];
        let mut file = route(Registry::Proxies);
        file.backends = vec![BackendSettings::new("10.1.0.30:8443")];
        let expanded =
            expand(&file, &known(Fleet { proxies: list.into(), ..Fleet::default() }), &BTreeSet::new());
        let expected = [
            ("10.1.0.30:8443", false),
            ("10.1.0.31:8443", false),
            ("10.1.0.32:8443", true),
            ("PROXY.example:1", false),
        ];
        assert_eq!(addresses(&expanded), expected);
        assert!(!expanded[0].named.contains("10.1.0.30:8443"), "the file named it first");
    }

    #[test]
    fn each_agent_has_a_rule_of_its_own_name_but_where_the_file_has_one() {
        let (first, second) =
            (node("10.1.0.21:8445"), FleetNode { draining: true, ..node("10.1.0.22:8445") });
        let list = vec![first.clone(), second.clone(), first.clone()];
        let known = known(Fleet { agents: list, ..Fleet::default() });
        let name = |agent: &FleetNode| format!("{}.agent.{}.meridian", agent.node_id, known.zone.unwrap());
        let expanded = expand(&route(Registry::Agents), &known, &BTreeSet::new());
        let names: Vec<_> = expanded.iter().map(|rule| rule.route.sni.clone().unwrap()).collect();
        assert_eq!(names, [name(&first), name(&second)]);
        assert_eq!(
            addresses(&expanded),
            [("10.1.0.21:8445", false), ("10.1.0.22:8445", false)],
            "a drain is about workspaces"
        );
        let expanded = expand(&route(Registry::Agents), &known, &BTreeSet::from([name(&first)]));
        assert_eq!(addresses(&expanded), [("10.1.0.22:8445", false)]);
        assert!(expand(&route(Registry::Agents), &Known::default(), &BTreeSet::new()).is_empty());
    }

    #[test]
    fn a_list_far_too_long_is_cut() {
        let list: Vec<_> = (0..3 * MAX_TAKEN).map(|number| node(&format!("host-{number}:1"))).collect();
        let fleet = Fleet { proxies: list.clone(), agents: list, ..Fleet::default() };
        let known = known(fleet);
        assert_eq!(addresses(&expand(&route(Registry::Proxies), &known, &BTreeSet::new())).len(), MAX_TAKEN);
        assert_eq!(expand(&route(Registry::Agents), &known, &BTreeSet::new()).len(), MAX_TAKEN);
    }
}
