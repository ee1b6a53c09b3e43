//! What others may know of the sessions.

use std::collections::HashMap;

use meridian_ids::SessionId;
use meridian_wire::{ObservedSession, ProblemReport};

/// One moment's state of everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// The latest update that is on disk.
    pub(crate) since: i64,
    pub(crate) observed: Vec<ObservedSession>,
    pub(crate) problems: Vec<ProblemReport>,
    pub(crate) standings: HashMap<SessionId, Standing>,
}

/// A session as a stream must know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) epoch: i64,
    pub(crate) generation: i64,
    pub(crate) phase: Phase,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A viewer may come and wait.
    Starting,
    /// A person would see something.
    Up,
    /// It could not be started.
    Failed(String),
    /// By order, or by itself.
    Ended(String),
}
