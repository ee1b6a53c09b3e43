//! Running workspaces: what an agent asks of a container engine, and the engines that answer.
//!
//! [`Engine`] has two implementations: [`DockerEngine`] over the Docker Engine API, and [`SimulatedEngine`] in memory, with displays that
//! really answer on their sockets, for tests and thousand-node zones. One conformance suite (`tests/conformance.rs`) holds for both.
//!
//! An engine carries out orders and tells what is there. It remembers nothing: everything it must know again after a restart is in the labels of
//! the containers. What ought to be there is the reconciler's business.

mod docker;
mod engine;
mod names;
mod place;
mod shared_homes;
mod simulated;

pub use docker::{DockerEngine, DockerSettings};
pub use engine::{
    Answer, Capabilities, ContainerState, Disk, Engine, EngineError, Events, Found, Frozen, HomeStorage,
    Image, Loaded, Login, Order, Problem, Pull, PullError, Pulling, Source, Step,
};
pub use names::Owner;
pub use place::{DisplayPlaces, STREAM_DIRECTORY};
pub use shared_homes::{MARK, Trouble};
pub use simulated::{Daemon, Faults, SimulatedEngine, serve_workspace};
