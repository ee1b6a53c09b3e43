//! What an agent asks of a container engine.

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
};

use futures_util::stream::BoxStream;
use meridian_ids::{HomeId, SessionId};
use meridian_model::{Network, PersistentHome, Resources, WorkspaceSpec};
use meridian_runtime::Secret;

use crate::shared_homes::Trouble;

/// An answer that is on its way; boxed, so that an agent can hold any engine.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 'a>>;
/// Says that something about the containers may have changed. Ends when the engine does.
pub type Events<'a> = BoxStream<'a, ()>;

/// Why an engine did not do what it was asked. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nothing is known: to be tried again. Sessions are neither lost nor failed by it.
    #[error("the container engine does not answer: {0}")]
    Unavailable(String),
    /// Trying again would not help.
    #[error("{0}")]
    Refused(String),
    /// A workspace's image is not there; nothing was begun.
    #[error("the image {0} is not on this node")]
    NoImage(String),
}

/// What a node can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What may be promised to sessions.
    pub total: Resources,
    pub home_storage: HomeStorage,
    pub networks: Vec<Network>,
    /// Whether homes can outlive their sessions.
    pub keeps_homes: bool,
    pub problems: Vec<Problem>,
    /// Where images lie; none where that is not this host's.
    pub disk: Option<Disk>,
}

/// How a session's home is kept from filling the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HomeStorage {
    /// On disk, with a quota of the storage's own.
    Quota,
    /// In memory, of fixed size; it lasts as long as the container runs.
    Tmpfs,
}

impl HomeStorage {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// Something an administrator should know, with a stable code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: &'static str,
    pub message: String,
}

/// An image on the node, under one of its references.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub reference: String,
    pub id: String,
    /// A registry's; none for what was built or loaded here.
    pub digest: Option<String>,
    pub size_bytes: u64,
}

/// An image to be put on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    pub reference: String,
    pub source: Source,
}

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The registry that the reference names.
    Registry { login: Option<Login> },
    /// A file, as the engine itself saves images.
    Archive(PathBuf),
}

/// Who one is at a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    pub username: String,
    pub password: Secret<String>,
}

/// How far a pull has come, as far as it is known by now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    pub done_bytes: u64,
    pub total_bytes: u64,
}

/// Why an image is not there. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// It may come by itself: the registry is away, or the way to it.
    #[error("{0}")]
    Passing(String),
    /// It comes when somebody changes something.
    #[error("{0}")]
    Lasting(String),
}

/// A pull that is on its way.
pub type Pulling<'a> = Pin<Box<dyn Future<Output = Result<(), PullError>> + Send + 'a>>;

/// The file system that images lie on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    pub free_mb: u64,
    pub total_mb: u64,
}

/// A workspace to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub session: SessionId,
    pub epoch: i64,
    pub generation: i64,
    pub spec: WorkspaceSpec,
}

/// How far a start has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Image { message: String, percent: Option<u8> },
    Container,
}

/// A container with this deployment's and this agent's labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub session: SessionId,
    pub epoch: i64,
    pub generation: i64,
    pub state: ContainerState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made and not started: a start that was interrupted.
    Created,
    Running,
    Exited {
        reason: String,
    },
}

/// A session that does not run on, because its home is not, or may not be, its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen {
    pub session: SessionId,
    pub home: HomeId,
    pub trouble: Trouble,
}

/// A container engine, as one agent of one deployment uses it. Every answer has a limit.
pub trait Engine: Send + Sync + 'static {
    /// What the node can do now. Puts in order what starts depend on.
    fn capabilities(&self) -> Answer<'_, Capabilities>;

    /// The images that are on the node.
    fn images(&self) -> Answer<'_, Vec<Image>>;

    /// Puts an image on the node. Where the reference has a digest, what came is what it says, or it is an error.
    fn pull<'a>(&'a self, pull: &'a Pull, progress: &'a (dyn Fn(Loaded) + Send + Sync)) -> Pulling<'a>;

    /// Starts a workspace whose image is there, or completes a start that was interrupted; one that runs already is left alone. A start that fails leaves nothing behind.
    fn start<'a>(&'a self, order: &'a Order, steps: &'a (dyn Fn(Step) + Send + Sync)) -> Answer<'a, ()>;

    /// Every container with this deployment's and this agent's labels, and no other.
    fn list(&self) -> Answer<'_, Vec<Found>>;

    /// Stops a session's container and removes all that belongs to it. Nothing to remove is a success.
    fn remove(&self, session: SessionId) -> Answer<'_, ()>;

    /// Removes a home and all that is in it. Nothing to remove is a success; one that a session has is refused.
    fn remove_home<'a>(&'a self, home: &'a PersistentHome) -> Answer<'a, ()>;

    /// Whether homes can be kept on a storage that several agents share. The refusal says why not.
    fn probe_storage<'a>(&'a self, storage: &'a Path) -> Answer<'a, ()>;

    /// Looks after the homes that sessions have on shared storage. A session whose home was taken over, or whose storage does not say whose it is, is
    /// frozen: it runs on when the home is found to be its own. Gives those that are frozen now.
    fn guard_homes(&self) -> Answer<'_, Vec<Frozen>>;

    /// Hints that containers started or ended. A hint may be missing; listing is what counts.
    fn events(&self) -> Events<'_>;

    /// The directory on the host that a session's container sees as [`crate::STREAM_DIRECTORY`].
    fn display_directory(&self, session: SessionId) -> PathBuf;

    /// The user id that a session's processes have on the host.
    fn workspace_uid(&self) -> u32;
}
