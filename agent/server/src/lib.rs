//! The agent: runs a zone's workspaces on one host, serves each session's stream, enforces its policy.
//!
//! It decides nothing about who may connect: it verifies what the control plane signed. It holds one watch to the control plane
//! (`meridian-node`), reconciles what should be with what the container engine reports (`sessions`), has images there before they are
//! needed (`images`), and listens for proxies and for the control plane's
//! push (`listener`). A viewer's stream (`stream`) runs between a WebSocket and the sockets of the workspace's display directory, which are taken
//! for hostile.
//!
//! Invariants: an order is on disk before it is acted upon; a container ends by a tombstone alone; what is not known is left alone; the agent's own end
//! ends no workspace.

mod grants;
mod heartbeat;
mod homes;
mod images;
mod inventory;
mod listener;
mod metrics;
mod refusal;
mod sessions;
mod stream;
mod workspace;

use std::{io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use meridian_engine::{Daemon, DockerEngine, DockerSettings, Engine, Owner, SimulatedEngine};
use meridian_identity::NodeName;
use meridian_model::{NodeRole, Resources};
use meridian_node::{JoinError, NodeClient};
use meridian_runtime::{Clock, Health, Tasks, name_node, serve_ops};
use meridian_settings::AgentSettings;
use prometheus_client::registry::Registry;
use tokio::{io::DuplexStream, net::TcpListener, sync::mpsc};

use grants::Grants;
use homes::Homes;
use images::Images;
use inventory::Inventory;
use listener::Front;
use metrics::Metrics;
use sessions::Sessions;
use stream::Streams;

/// Connections of the agent's own entrance that wait to be taken.
const DOOR_QUEUE: usize = 16;
/// Updates that wait for the reconciler: more are held back at their source.
const UPDATE_QUEUE: usize = 16;
/// What an engine in memory has, where the settings do not say.
const SIMULATED_TOTAL: Resources = Resources { cpu_milli: 64_000, memory_mb: 256 * 1024 };
const SIMULATED_IMAGES: [&str; 3] = ["meridian/desktop:dev", "meridian/browser:dev", "meridian/terminal:dev"];

/// Why an agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error("engine = {0:?} is not known: it is \"docker\" or \"simulated\"")]
    UnknownEngine(String),
    #[error("the display directories cannot be made in {path}")]
    RunDirectory {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(
        "direct.address = {0:?} must be a host name or address, with a port or without, and nothing else"
    )]
    DirectAddress(String),
    #[error("what this agent remembers in {path} cannot be read")]
    Ledger {
        path: String,
        #[source]
        source: io::Error,
    },
}

/// A running agent. It stops with the tasks that it was given.
pub struct Agent {
    /// Where it listens for other nodes.
    pub address: SocketAddr,
    /// Where it serves `/healthz`, `/readyz`, `/metrics`.
    pub ops_address: Option<SocketAddr>,
    pub name: NodeName,
    pub node: NodeClient,
    /// Takes connections as a proxy's, from an entrance for browsers in this process that judged them as a proxy does.
    pub door: mpsc::Sender<DuplexStream>,
}

/// Makes the engine once it is known whose containers it is to touch.
pub type MakeEngine = Box<dyn FnOnce(Owner, &AgentSettings) -> Result<Arc<dyn Engine>, AgentError> + Send>;

/// Adds what else the process counts to what the agent's metrics show.
pub type Counted = Box<dyn FnOnce(&mut Registry) + Send>;

/// Starts an agent with the engine that its settings name.
///
/// # Errors
/// As [`AgentError`] says. While the control plane cannot be reached by an agent that is not enrolled, it tries on.
pub async fn start(
    settings: AgentSettings,
    clock: Clock,
    tasks: Tasks,
    health: Health,
    counted: Counted,
) -> Result<Agent, AgentError> {
    let simulated = tasks.clone();
    let make: MakeEngine = Box::new(move |owner, settings| make_engine(owner, settings, simulated));
    start_with(settings, clock, tasks, health, make, counted).await
}

/// Starts an agent with an engine of the caller's.
///
/// # Errors
/// As [`start`].
pub async fn start_with(
    mut settings: AgentSettings,
    clock: Clock,
    tasks: Tasks,
    health: Health,
    make_engine: MakeEngine,
    counted: Counted,
) -> Result<Agent, AgentError> {
    let direct_address = direct_address(&settings)?;
    let (listener, address) = bind(settings.listen).await?;
    let ops = match settings.node.ops_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    settings.node.advertise.get_or_insert_with(|| address.to_string());
    let client = NodeClient::join(&settings.node, NodeRole::Agent, clock.clone()).await?;
    name_node(&client.zone_name(), client.name().node);
    let owner = Owner { deployment: client.deployment_id(), agent: client.name().node };
    let engine = make_engine(owner, &settings)?;
    let metrics = Arc::new(Metrics::new(&client.zone_name(), counted));
    let streams = Streams::new(&metrics, clock.clone());

    let inventory = Inventory::start(&tasks, Arc::clone(&engine), health.clone()).await;
    let ledger_path = settings.node.data.join("sessions");
    let images = Images::start(&tasks, Arc::clone(&engine), inventory.clone(), &settings, &clock, &client);
    let sessions = Sessions::start(
        &tasks,
        Arc::clone(&engine),
        images.clone(),
        &settings,
        &clock,
        &client,
        streams.clone(),
    )
    .map_err(|source| AgentError::Ledger { path: ledger_path.display().to_string(), source })?;

    let (updates, inbox) = mpsc::channel(UPDATE_QUEUE);
    let homes = Homes::start(&tasks, Arc::clone(&engine), client.clone());
    sessions.take_updates(&tasks, inbox, images.clone(), homes.clone());
    let front = Front {
        client: client.clone(),
        engine,
        grants: Grants::new(clock),
        sessions: sessions.clone(),
        streams: streams.clone(),
        updates: updates.clone(),
        metrics: Arc::clone(&metrics),
        limits: stream::Limits::of(&settings),
    };
    let (door, knocking) = mpsc::channel(DOOR_QUEUE);
    let front = Arc::new(front);
    listener::serve(&tasks, listener, Arc::clone(&front));
    listener::serve_own(&tasks, knocking, front);
    streams.follow_revocations(&tasks, client.settings());
    streams.drain_at_stop(&tasks);
    client.run(
        &tasks,
        heartbeat::source(inventory, images, sessions, streams, homes, client.clone(), direct_address),
        updates,
    );

    let ops_address = ops.map(|(listener, address)| {
        serve_ops(&tasks, listener, health, metrics.registry());
        address
    });
    tracing::info!(%address, "the agent runs");
    Ok(Agent { address, ops_address, name: client.name(), node: client, door })
}

fn direct_address(settings: &AgentSettings) -> Result<Option<String>, AgentError> {
    let Some(direct) = &settings.direct else { return Ok(None) };
    let address = &direct.address;
    if address.is_empty() || address.contains(['/', '?', '#', '@']) || address.contains(char::is_whitespace) {
        return Err(AgentError::DirectAddress(address.clone()));
    }
    Ok(Some(address.clone()))
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), AgentError> {
    let failed = |source| AgentError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

fn make_engine(owner: Owner, settings: &AgentSettings, tasks: Tasks) -> Result<Arc<dyn Engine>, AgentError> {
    let total = Resources { cpu_milli: settings.cpu_milli, memory_mb: settings.memory_mb };
    let run_directory: &Path = &settings.run_directory;
    let failed = |source| AgentError::RunDirectory { path: run_directory.display().to_string(), source };
    match settings.engine.as_str() {
        "docker" => {
            let docker = DockerSettings {
                socket: settings.docker_socket.clone(),
                run_directory: run_directory.to_owned(),
                seccomp_directory: settings.seccomp_directory.clone(),
                homes_directory: settings.node.data.join("homes"),
                wait: Duration::from_secs(settings.engine_wait_s.max(1)),
                total,
            };
            Ok(Arc::new(DockerEngine::new(docker, owner).map_err(failed)?))
        }
        "simulated" => {
            let daemon = Daemon::new(&SIMULATED_IMAGES, tasks);
            let total = Resources {
                cpu_milli: if total.cpu_milli > 0 { total.cpu_milli } else { SIMULATED_TOTAL.cpu_milli },
                memory_mb: if total.memory_mb > 0 { total.memory_mb } else { SIMULATED_TOTAL.memory_mb },
            };
            Ok(Arc::new(SimulatedEngine::new(daemon, owner, run_directory, total).map_err(failed)?))
        }
        other => Err(AgentError::UnknownEngine(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_configuration_is_understood_and_complete() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/agent.toml");
        let settings: AgentSettings = meridian_settings::read_file(&path).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let table = serde_json::to_value(&settings).unwrap();
        let (node, rest) = (table["node"].as_object().unwrap(), table.as_object().unwrap());
        for (name, value) in rest.iter().chain(node) {
            let is_left_out = value.is_null() || name == "node";
            assert!(is_left_out || text.contains(&format!("\n{name} = ")), "{name} is not in the sample");
        }
    }
}
