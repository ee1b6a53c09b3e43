//! Images: what an agent shall have ahead of need, and how each of them stands there.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What an agent's zone wants on each of its agents. Told only to an agent that knows another version of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageOrders {
    /// Another after each change; said back with each heartbeat.
    pub version: String,
    /// References, to be had ahead of need.
    pub images: Vec<String>,
    /// Who one is at registries that ask for it.
    #[serde(default)]
    pub registries: Vec<RegistryLogin>,
}

/// A name and password for one registry. An agent keeps them in memory alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryLogin {
    /// The registry's host, with its port if it has one, as references begin with it.
    pub host: String,
    pub username: String,
    pub password: RegistryPassword,
}

/// It does not show itself in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryPassword(String);

impl RegistryPassword {
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The password itself; whoever calls this takes care where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RegistryPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// How an image stands on an agent: one that its zone wants, or that a session waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageStanding {
    pub reference: String,
    #[serde(flatten)]
    pub state: ImageState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ImageState {
    /// Not there, and its turn has not come.
    Queued,
    Pulling {
        done_bytes: u64,
        /// As far as it is known by now.
        total_bytes: u64,
    },
    Present {
        image_id: String,
        /// The registry's digest; none for what was built or loaded on the node.
        #[serde(default)]
        digest: Option<String>,
        size_bytes: u64,
    },
    Failed {
        reason: String,
        /// When it is tried again.
        retry_at: Timestamp,
        /// How often it failed in a row.
        tries: u32,
    },
}

/// The file system that images lie on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskReport {
    pub free_mb: u64,
    pub total_mb: u64,
}
