//! What the proxy knows of its zone now, taken from what the control plane said last.
//!
//! The view is replaced whole when new settings come; a connection judges with the view of the moment. Without the control plane the
//! last view stays, from the node's disk after a restart.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwapOption;
use meridian_ids::{NodeId, ZoneId};
use meridian_model::ZoneSettings;
use meridian_proxy_core::Zone;
use meridian_runtime::Health;
use meridian_ticket::KeySet;
use meridian_wire::{NodeSettings, Revocation};
use tokio::sync::watch;

use crate::streams::Streams;

/// Reason code of `/readyz`.
const NO_SETTINGS: &str = "no_settings";
/// Reason code of `/readyz`: an administrator drains this proxy.
const DRAINING: &str = "draining";

/// The settings of the zone, ready to be judged with.
pub(crate) struct ZoneView {
    id: ZoneId,
    pub(crate) settings: ZoneSettings,
    keys: KeySet,
    pub(crate) revocations: Vec<Revocation>,
    agents: HashMap<NodeId, String>,
    /// An administrator wants this proxy empty.
    pub(crate) draining: bool,
}

/// The view of the moment; clones share it.
#[derive(Clone, Default)]
pub(crate) struct CurrentZone {
    view: Arc<ArcSwapOption<ZoneView>>,
    /// The node is an agent: drained, it takes no new sessions, and its own still have their streams here.
    of_agent: bool,
}

impl ZoneView {
    /// `None` when the settings are of no zone, or their keys are not readable.
    fn read(settings: &NodeSettings) -> Option<Self> {
        let keys: KeySet = serde_json::from_str(settings.jwks.get()).ok()?;
        let agents = settings.agents.iter().map(|agent| (agent.node_id, agent.address.clone())).collect();
        Some(Self {
            id: settings.zone_id?,
            settings: settings.zone.clone()?,
            keys,
            revocations: settings.revocations.clone(),
            agents,
            draining: settings.draining.unwrap_or(false),
        })
    }

    pub(crate) fn zone(&self) -> Zone<'_> {
        Zone { id: self.id, settings: &self.settings, keys: &self.keys, revocations: &self.revocations }
    }

    /// SNI and certificate name of an agent.
    pub(crate) fn agent_name(&self, agent: NodeId) -> String {
        use meridian_identity::NodeName;
        use meridian_model::NodeRole;
        NodeName { node: agent, role: NodeRole::Agent, zone: Some(self.id) }.to_string()
    }

    pub(crate) fn agents(&self) -> impl Iterator<Item = NodeId> {
        self.agents.keys().copied()
    }

    /// Where to dial an agent: the zone's private balancer, else the agent's own address.
    pub(crate) fn agent_address(&self, agent: NodeId) -> Option<&str> {
        let balancer = self.settings.private_balancer.as_str();
        if balancer.is_empty() { self.agents.get(&agent).map(String::as_str) } else { Some(balancer) }
            .filter(|address| !address.is_empty())
    }
}

impl CurrentZone {
    pub(crate) fn of_agent() -> Self {
        Self { of_agent: true, ..Self::default() }
    }

    pub(crate) fn get(&self) -> Option<Arc<ZoneView>> {
        self.view.load_full()
    }

    /// Follows the control plane: replaces the view, and cuts the streams that it revokes. Ends when the node's client does.
    pub(crate) async fn follow(
        self,
        mut heard: watch::Receiver<Option<Arc<NodeSettings>>>,
        streams: Arc<Streams>,
        health: Health,
    ) {
        loop {
            let settings = heard.borrow_and_update().clone();
            self.take(settings.as_deref(), &streams, &health);
            if heard.changed().await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn take(&self, settings: Option<&NodeSettings>, streams: &Streams, health: &Health) {
        match settings.map(ZoneView::read) {
            None => health.degrade(NO_SETTINGS, "the control plane has not been heard of yet"),
            Some(None) => {
                tracing::error!("the zone's settings are not understood; the old ones stay");
                if self.view.load().is_none() {
                    health.degrade(NO_SETTINGS, "the control plane's settings are not understood");
                }
            }
            Some(Some(mut view)) => {
                view.draining &= !self.of_agent;
                // The view first: a stream that registers in between is judged by one or the other.
                let view = Arc::new(view);
                self.view.store(Some(view.clone()));
                streams.revoke(&view.revocations);
                health.restore(NO_SETTINGS);
                match view.draining {
                    true => health.degrade(DRAINING, "an administrator drains this proxy"),
                    false => health.restore(DRAINING),
                }
            }
        }
    }
}
