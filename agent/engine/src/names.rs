//! What containers, networks, volumes and bridges of an agent are called and labelled.

use std::collections::HashMap;

use aws_lc_rs::digest;
use meridian_ids::{DeploymentId, HomeId, NodeId, SessionId};

pub(crate) const DEPLOYMENT: &str = "dev.meridian.deployment";
pub(crate) const AGENT: &str = "dev.meridian.agent";
pub(crate) const SESSION: &str = "dev.meridian.session";
pub(crate) const HOME: &str = "dev.meridian.home";
/// Path of the shared storage that the home lies on.
pub(crate) const STORAGE: &str = "dev.meridian.home-storage";
pub(crate) const GENERATION: &str = "dev.meridian.generation";
pub(crate) const EPOCH: &str = "dev.meridian.epoch";

/// Whose containers they are. Two deployments, and two agents of one, can share a container engine without touching each other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    pub deployment: DeploymentId,
    pub agent: NodeId,
}

impl Owner {
    /// Ten hex digits that stand for the owner where names must be short.
    #[must_use]
    pub fn short(&self) -> String {
        shortened(&format!("{}/{}", self.deployment, self.agent), 10)
    }

    pub(crate) fn labels(&self) -> HashMap<String, String> {
        HashMap::from([
            (DEPLOYMENT.into(), self.deployment.to_string()),
            (AGENT.into(), self.agent.to_string()),
        ])
    }

    pub(crate) fn session_labels(&self, session: SessionId) -> HashMap<String, String> {
        let mut labels = self.labels();
        labels.insert(SESSION.into(), session.to_string());
        labels
    }

    pub(crate) fn home_labels(&self, home: HomeId) -> HashMap<String, String> {
        let mut labels = self.labels();
        labels.insert(HOME.into(), home.to_string());
        labels
    }

    /// The filter that lists what is ours and has this home.
    pub(crate) fn home_filter(&self, home: HomeId) -> HashMap<String, Vec<String>> {
        let labels = self.home_labels(home).into_iter().map(|(name, value)| format!("{name}={value}"));
        HashMap::from([("label".into(), labels.collect())])
    }

    /// The filter that lists what is ours and has a home on shared storage.
    pub(crate) fn shared_filter(&self) -> HashMap<String, Vec<String>> {
        let mut filter = self.filter();
        filter.entry("label".into()).or_default().push(STORAGE.into());
        filter
    }

    /// The filter that lists what is ours and nothing else.
    pub(crate) fn filter(&self) -> HashMap<String, Vec<String>> {
        let labels = self.labels().into_iter().map(|(name, value)| format!("{name}={value}"));
        HashMap::from([("label".into(), labels.collect())])
    }

    pub(crate) fn owns(&self, labels: &HashMap<String, String>) -> bool {
        self.labels().iter().all(|(name, value)| labels.get(name) == Some(value))
    }

    /// What every bridge of this owner begins with. The kernel allows 15 characters in all.
    pub(crate) fn bridge_prefix(&self) -> String {
        format!("m{}-", &self.short()[..6])
    }

    pub(crate) fn bridge(&self, session: SessionId) -> String {
        format!("{}{}", self.bridge_prefix(), shortened(&session.to_string(), 7))
    }

    pub(crate) fn nft_table(&self) -> String {
        format!("meridian_{}", self.short())
    }
}

/// The name of a session's container, network and home volume.
pub(crate) fn session_name(session: SessionId) -> String {
    format!("meridian-{session}")
}

/// The name of the volume that a home is where the storage has quotas.
pub(crate) fn home_name(home: HomeId) -> String {
    format!("meridian-home-{home}")
}

fn shortened(text: &str, digits: usize) -> String {
    let mut hex = hex::encode(digest::digest(&digest::SHA256, text.as_bytes()));
    hex.truncate(digits);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_fits_the_kernel_and_bears_its_owners_prefix() {
        let owner = Owner { deployment: DeploymentId::generate(), agent: NodeId::generate() };
        let bridge = owner.bridge(SessionId::generate());
        assert_eq!(bridge.len(), 15);
        assert!(bridge.starts_with(&owner.bridge_prefix()));
        let other = Owner { agent: NodeId::generate(), ..owner };
        assert!(!other.owns(&owner.session_labels(SessionId::generate())));
    }
}
