//! What every handler and job of the Web App shares.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use meridian_ids::NodeId;
use meridian_runtime::{Clock, Health, Tasks};
use meridian_settings::WebSettings;
use tokio::sync::RwLock;

use crate::{
    app::{
        bus::Bus, identity::Deployment, key_use::KeyUses, live::LiveStreams, passwords::Passwords,
        push::Pusher,
    },
    metrics::Metrics,
    store::{Store, StoreError, nodes::NodeCredentials},
};

/// How long a node's key is believed without asking the database again. Whether the node is still enrolled is asked every time.
const REMEMBER: Duration = Duration::from_secs(60);
/// Within this time of a look nobody looks again because a signature did not fit: forged calls cost the database next to nothing.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Nodes remembered at most; beyond it all are forgotten and asked anew.
const MAX_REMEMBERED: usize = 20_000;

/// Shared by clones.
pub type AppState = Arc<App>;

pub struct App {
    pub settings: WebSettings,
    pub trusted: Vec<TrustedRange>,
    pub store: Store,
    pub deployment: Deployment,
    pub passwords: Passwords,
    pub clock: Clock,
    pub tasks: Tasks,
    pub health: Health,
    /// The node was told to stop and serves on until balancers know: clients should come back on another connection.
    pub leaving: AtomicBool,
    pub bus: Bus,
    pub metrics: Metrics,
    pub pusher: Pusher,
    /// Open streams of live updates.
    pub live: LiveStreams,
    pub key_uses: KeyUses,
    pub nodes: RwLock<HashMap<NodeId, (NodeCredentials, Timestamp)>>,
}

/// Addresses whose X-Forwarded-* headers count: one, or a CIDR range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrustedRange {
    network: IpAddr,
    bits: u8,
}

impl TrustedRange {
    /// Reads `10.0.0.0/8`, `::1` and the like.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().ok()?;
        let most = if network.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { network, bits })
    }

    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |a: u128, b: u128, width: u8| self.bits == 0 || (a ^ b) >> (width - self.bits) == 0;
        match (self.network, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => same(a.to_bits().into(), b.to_bits().into(), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => same(a.to_bits(), b.to_bits(), 128),
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl App {
    /// Whether the node is about to stop, or stopping.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) || self.tasks.stopping().is_cancelled()
    }

    /// Whether a peer's X-Forwarded-* headers count.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted.iter().any(|range| range.contains(peer))
    }

    /// What the node signs with, remembered for a while.
    pub(crate) async fn node_credentials(&self, node: NodeId) -> Result<Option<NodeCredentials>, StoreError> {
        if let Some((known, until)) = self.nodes.read().await.get(&node)
            && self.clock.now() < *until
        {
            return Ok(Some(known.clone()));
        }
        self.refresh_node_credentials(node).await
    }

    /// What the node signs with now, if that may be newer than what is remembered: it may have renewed its key.
    pub(crate) async fn newer_node_credentials(
        &self,
        node: NodeId,
    ) -> Result<Option<NodeCredentials>, StoreError> {
        let fresh_until = self.clock.now() + REMEMBER - LOOK_AGAIN_AFTER;
        if self.nodes.read().await.get(&node).is_some_and(|(_, until)| *until > fresh_until) {
            return Ok(None);
        }
        self.refresh_node_credentials(node).await
    }

    async fn refresh_node_credentials(&self, node: NodeId) -> Result<Option<NodeCredentials>, StoreError> {
        let found = self.store.node_credentials(node).await?;
        let mut nodes = self.nodes.write().await;
        if nodes.len() >= MAX_REMEMBERED {
            nodes.clear();
        }
        match &found {
            Some(credentials) => nodes.insert(node, (credentials.clone(), self.clock.now() + REMEMBER)),
            None => nodes.remove(&node),
        };
        Ok(found)
    }

    pub(crate) fn forget_node_credentials(&self, node: NodeId) {
        if let Ok(mut nodes) = self.nodes.try_write() {
            nodes.remove(&node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trusted_ranges_hold_what_they_say() {
        let range = TrustedRange::parse("10.1.0.0/16").unwrap();
        assert!(range.contains("10.1.2.3".parse().unwrap()));
        assert!(range.contains("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!range.contains("10.2.0.1".parse().unwrap()));
        assert!(TrustedRange::parse("::1").unwrap().contains("::1".parse().unwrap()));
        assert!(TrustedRange::parse("0.0.0.0/0").unwrap().contains("8.8.8.8".parse().unwrap()));
        assert_eq!(TrustedRange::parse("10.0.0.0/33"), None);
        assert_eq!(TrustedRange::parse("house"), None);
    }
}
