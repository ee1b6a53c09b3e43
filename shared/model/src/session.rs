//! A session's states, its progress, and what a workspace is made of.
//!
//! ```text
//! starting ──> running <──> paused
//!    │            │
//!    │            ├──> unreachable ──> running | lost
//!    ├────────────┴──> ending ──> ended
//!    └──> failed
//! ```

use meridian_ids::HomeId;
use serde::{Deserialize, Serialize};

/// Where a session stands. `unreachable` keeps its reservation: silence is not death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionState {
    Starting,
    Running,
    Paused,
    Unreachable,
    Ending,
    Ended,
    Failed,
    Lost,
}

impl SessionState {
    pub const ALL: [Self; 8] = [
        Self::Starting,
        Self::Running,
        Self::Paused,
        Self::Unreachable,
        Self::Ending,
        Self::Ended,
        Self::Failed,
        Self::Lost,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Unreachable => "unreachable",
            Self::Ending => "ending",
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Lost => "lost",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing will ever happen to the session again.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Ended | Self::Failed | Self::Lost)
    }
}

/// How far a launch has come, in the order a person sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgressStep {
    /// Placed and written down; the agent has not been heard of yet.
    Reserved,
    /// The agent has the order.
    Pushed,
    /// The agent looks for, or loads, the image.
    Image,
    /// The container is being made and started.
    Container,
    /// The container runs; its display does not answer yet.
    Display,
    /// A person would see something now.
    Ready,
}

impl ProgressStep {
    pub const ALL: [Self; 6] =
        [Self::Reserved, Self::Pushed, Self::Image, Self::Container, Self::Display, Self::Ready];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Pushed => "pushed",
            Self::Image => "image",
            Self::Container => "container",
            Self::Display => "display",
            Self::Ready => "ready",
        }
    }
}

/// What a workspace may reach over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Nothing but its own loopback.
    None,
    /// Public addresses only: not the host, not its neighbours, no private or link-local range.
    Internet,
    /// Whatever the host reaches.
    Full,
}

impl Network {
    pub const ALL: [Self; 3] = [Self::None, Self::Internet, Self::Full];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Internet => "internet",
            Self::Full => "full",
        }
    }
}

/// Which system calls a workspace may make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// The engine's default profile.
    #[default]
    Default,
    /// The default profile and user namespaces, which Chromium's own sandbox is made of.
    Chromium,
}

impl Seccomp {
    pub const ALL: [Self; 2] = [Self::Default, Self::Chromium];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Chromium => "chromium",
        }
    }
}

/// Everything an engine needs to make a workspace's container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceSpec {
    /// Image reference, such as `meridian/desktop:dev`.
    pub image: String,
    pub cpu_milli: i64,
    pub memory_mb: i64,
    /// Size of `/dev/shm`.
    pub shm_mb: i64,
    /// Size of the home volume, enforced where the node's storage can.
    pub home_mb: i64,
    /// Size of `/tmp`.
    pub tmp_mb: i64,
    pub pids_limit: i64,
    pub network: Network,
    #[serde(default)]
    pub seccomp: Seccomp,
    /// The home that outlives the session; none: one that ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<PersistentHome>,
}

/// A volume that outlives sessions, and that one session at a time has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistentHome {
    pub id: HomeId,
    /// As when it was made.
    pub size_mb: i64,
    /// Where it lies on storage that several agents reach; none: on its agent's own disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<SharedHome>,
}

/// A home on storage that a zone's agents share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedHome {
    /// Its path on each agent's host.
    pub storage: String,
    /// Which writer this is.
    pub turn: HomeTurn,
    /// An administrator took the home from all writers up to this one, whether they released it or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<HomeTurn>,
}

/// The number of a home's writer: later ones are greater, also across a restore of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HomeTurn {
    pub epoch: i64,
    /// 1 is the home's first.
    pub generation: i64,
}

/// How the viewer speaks on the stream: a WebSocket subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transport {
    #[serde(rename = "meridian.v1")]
    MeridianV1,
    #[serde(rename = "binary")]
    Binary,
}

impl Transport {
    pub const ALL: [Self; 2] = [Self::MeridianV1, Self::Binary];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MeridianV1 => "meridian.v1",
            Self::Binary => "binary",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transport| transport.as_str() == text)
    }
}

/// What a viewer may do on a stream. Carried in the grant, enforced by the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Keys and pointer.
    pub input: bool,
    /// Text from the viewer into the workspace.
    pub clipboard_in: bool,
    /// Text from the workspace to the viewer.
    pub clipboard_out: bool,
    /// The viewer may change the desktop's size.
    pub resize: bool,
}

impl Policy {
    /// A session's own user, with nothing forbidden.
    pub const OWNER: Self = Self { input: true, clipboard_in: true, clipboard_out: true, resize: true };
    /// Whoever looks on at somebody else's session: pictures, and nothing in the other direction.
    pub const ONLOOKER: Self =
        Self { input: false, clipboard_in: false, clipboard_out: false, resize: false };
}
