//! The names in node certificates, which are also the SNI that balancers route by.

use std::fmt;

use meridian_ids::{NodeId, ZoneId};
use meridian_model::NodeRole;

/// A node's name: `{node-id}.{role}.{zone-id}.meridian`, or `{node-id}.web.meridian` for Web App nodes, which belong to no zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeName {
    pub node: NodeId,
    pub role: NodeRole,
    /// `None` for Web App nodes alone.
    pub zone: Option<ZoneId>,
}

impl NodeName {
    /// Reads a certificate's or SNI's name; `None` when it is not of this form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let labels: Vec<&str> = text.strip_suffix(".meridian")?.split('.').collect();
        match labels[..] {
            [node, "web"] => Some(Self { node: node.parse().ok()?, role: NodeRole::Web, zone: None }),
            [node, role, zone] => {
                let role = NodeRole::parse(role).filter(|role| *role != NodeRole::Web)?;
                Some(Self { node: node.parse().ok()?, role, zone: Some(zone.parse().ok()?) })
            }
            _ => None,
        }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.zone {
            Some(zone) => write!(f, "{}.{}.{zone}.meridian", self.node, self.role),
            None => write!(f, "{}.{}.meridian", self.node, self.role),
        }
    }
}

/// The name of a Web App node.
#[must_use]
pub fn web_name(node: NodeId) -> NodeName {
    NodeName { node, role: NodeRole::Web, zone: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_text_and_nothing_else_is_a_name() {
        let zone = Some(ZoneId::generate());
        for name in [
            web_name(NodeId::generate()),
            NodeName { node: NodeId::generate(), role: NodeRole::Agent, zone },
            NodeName { node: NodeId::generate(), role: NodeRole::Proxy, zone },
        ] {
            assert_eq!(NodeName::parse(&name.to_string()), Some(name));
        }
        for text in ["", "web.meridian", "x.agent.y.meridian", "a.b.c.d.meridian", "example.org"] {
            assert_eq!(NodeName::parse(text), None, "{text}");
        }
        let (node, zone) = (NodeId::generate(), ZoneId::generate());
        assert_eq!(NodeName::parse(&format!("{node}.web.{zone}.meridian")), None, "no zone has a Web App");
    }
}
