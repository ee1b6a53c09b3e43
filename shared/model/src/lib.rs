//! The domain's words, shared by every role: states, settings, resources and the placement decision.
//!
//! Pure data and pure functions. No clock, no I/O, no async; what is stored, sent and shown is defined here once.

mod image;
pub mod nearest;
mod permission;
pub mod placement;
pub mod policy;
mod session;
mod zone;

use serde::{Deserialize, Serialize};

pub use image::{ImagePolicy, ImageReference, MAX_REFERENCE_BYTES, is_registry, registry_of};
pub use permission::{OWN_SESSIONS, Permission};
pub use policy::{GroupSettings, IdleAction, UserPolicy};
pub use session::{
    HomeTurn, Network, PersistentHome, Policy, ProgressStep, Seccomp, SessionState, SharedHome, Transport,
    WorkspaceSpec,
};
pub use zone::{LoadStrategy, ZoneSettings};

/// What a node does. One node has one role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    Web,
    Proxy,
    Agent,
    Connect,
    Balance,
}

impl NodeRole {
    pub const ALL: [Self; 5] = [Self::Web, Self::Proxy, Self::Agent, Self::Connect, Self::Balance];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Proxy => "proxy",
            Self::Agent => "agent",
            Self::Connect => "connect",
            Self::Balance => "balance",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

impl std::fmt::Display for NodeRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a session takes or an agent has. CPU in thousandths of a core, memory in MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    pub cpu_milli: i64,
    pub memory_mb: i64,
}
