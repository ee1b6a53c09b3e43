//! One suite for every engine.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the tests of the real engine use the rest")]
mod node;

use std::{
    os::unix::fs::FileTypeExt,
    sync::{Arc, Mutex},
};

use futures_util::StreamExt;
use meridian_engine::{
    ContainerState, Daemon, Engine, EngineError, Faults, Found, Owner, Pull, PullError, SimulatedEngine,
    Source, Step,
};
use meridian_ids::{DeploymentId, NodeId, SessionId};
use meridian_model::{Network, Resources};
use meridian_runtime::Tasks;
use node::{IMAGE, LIMIT, Node, order, wait_for};
use tokio::time::timeout;

/// An engine, the same after its agent's restart, and another agent's on the same daemon.
struct Subjects {
    engine: Arc<dyn Engine>,
    again: Arc<dyn Engine>,
    neighbour: Arc<dyn Engine>,
}

fn pull(reference: &str) -> Pull {
    Pull { reference: reference.into(), source: Source::Registry { login: None } }
}

async fn conforms(subjects: Subjects) {
    let Subjects { engine, again, neighbour } = subjects;
    let capabilities = engine.capabilities().await.unwrap();
    assert!(capabilities.total.cpu_milli > 0 && capabilities.total.memory_mb > 0, "{capabilities:?}");
    assert!(capabilities.networks.contains(&Network::None));
    assert!(engine.images().await.unwrap().iter().any(|image| image.reference == IMAGE));

    let missing = order("meridian/no-such-image:dev", Network::None);
    let refused = engine.start(&missing, &|_| {}).await.unwrap_err();
    assert_eq!(refused, EngineError::NoImage("meridian/no-such-image:dev".into()));
    assert_eq!(engine.list().await, Ok(Vec::new()), "a start that failed leaves nothing");
    let pulled = engine.pull(&pull("meridian/no-such-image:dev"), &|_| {}).await;
    assert!(matches!(pulled, Err(PullError::Lasting(_))), "nobody has it: {pulled:?}");

    let (order, steps) = (order(IMAGE, Network::None), Mutex::new(Vec::new()));
    engine.start(&order, &|step| steps.lock().unwrap().push(step)).await.unwrap();
    let steps = steps.into_inner().unwrap();
    assert!(matches!(steps.first(), Some(Step::Image { .. })), "{steps:?}");
    assert_eq!(steps.last(), Some(&Step::Container));
    let found = Found { session: order.session, epoch: 3, generation: 7, state: ContainerState::Running };
    assert_eq!(engine.list().await.unwrap(), std::slice::from_ref(&found));
    engine.start(&order, &|_| {}).await.unwrap();
    assert_eq!(again.list().await.unwrap(), [found], "after a restart");
    engine.remove(SessionId::generate()).await.unwrap();

    let socket = engine.display_directory(order.session).join("rfb.sock");
    wait_for("the display's socket", async || {
        let metadata = std::fs::symlink_metadata(&socket).ok()?;
        metadata.file_type().is_socket().then_some(())
    })
    .await;

    assert_eq!(neighbour.list().await, Ok(Vec::new()), "another agent's are not seen");
    assert!(neighbour.remove(order.session).await.is_err(), "and not removed");
    assert_eq!(engine.list().await.unwrap().len(), 1);

    again.remove(order.session).await.unwrap();
    assert_eq!(engine.list().await, Ok(Vec::new()));
    assert!(!engine.display_directory(order.session).exists());
    again.remove(order.session).await.unwrap();
}

#[tokio::test]
async fn both_engines_hint_at_changes() {
    let node = Node::new();
    let (tasks, folder) = (Tasks::new(), tempfile::tempdir().unwrap());
    let daemon = Daemon::new(&[IMAGE], tasks.clone());
    let total = Resources { cpu_milli: 1000, memory_mb: 1000 };
    let simulated = SimulatedEngine::new(daemon, node.owner, folder.path(), total).unwrap();
    for engine in [&simulated as &dyn Engine, node.engine.as_ref()] {
        let mut events = engine.events();
        let order = order(IMAGE, Network::None);
        // Listening begins with the first wait, so a start is given once that is under way, and until it was heard.
        let start = async {
            loop {
                engine.start(&order, &|_| {}).await.unwrap();
                engine.remove(order.session).await.unwrap();
            }
        };
        tokio::select! {
            hint = timeout(LIMIT, events.next()) => assert_eq!(hint.unwrap(), Some(())),
            () = start => {}
        }
        engine.remove(order.session).await.unwrap();
    }
    tasks.stop(LIMIT).await;
}

#[tokio::test]
async fn the_simulated_engine_conforms() {
    let (tasks, folder) = (Tasks::new(), tempfile::tempdir().unwrap());
    let daemon = Daemon::new(&[IMAGE], tasks.clone());
    let owner = Owner { deployment: DeploymentId::generate(), agent: NodeId::generate() };
    let open = |owner| -> Arc<dyn Engine> {
        let total = Resources { cpu_milli: 1000, memory_mb: 1000 };
        Arc::new(SimulatedEngine::new(daemon.clone(), owner, folder.path(), total).unwrap())
    };
    let neighbour = open(Owner { agent: NodeId::generate(), ..owner });
    conforms(Subjects { engine: open(owner), again: open(owner), neighbour }).await;
    tasks.stop(LIMIT).await;
}

#[tokio::test]
async fn the_docker_engine_conforms() {
    let node = Node::new();
    let subjects =
        Subjects { engine: Arc::clone(&node.engine) as _, again: node.again(), neighbour: node.neighbour() };
    conforms(subjects).await;
}

#[tokio::test]
async fn a_stopped_engine_is_unavailable_and_refuses_nothing() {
    let (tasks, folder) = (Tasks::new(), tempfile::tempdir().unwrap());
    let daemon = Daemon::new(&[IMAGE], tasks.clone());
    let owner = Owner { deployment: DeploymentId::generate(), agent: NodeId::generate() };
    let total = Resources { cpu_milli: 1000, memory_mb: 1000 };
    let simulated = SimulatedEngine::new(daemon.clone(), owner, folder.path(), total).unwrap();
    daemon.set_faults(Faults { stopped: true, ..Faults::default() });
    let docker = meridian_engine::DockerEngine::new(
        meridian_engine::DockerSettings {
            socket: folder.path().join("no-such.sock"),
            run_directory: folder.path().join("run"),
            seccomp_directory: None,
            homes_directory: folder.path().join("homes"),
            wait: std::time::Duration::from_secs(1),
            total,
        },
        owner,
    )
    .unwrap();
    for engine in [&simulated as &dyn Engine, &docker] {
        let order = order(IMAGE, Network::None);
        let pulled = engine.pull(&pull("registry.example.org/a:1"), &|_| {}).await;
        assert!(matches!(pulled, Err(PullError::Passing(_))), "{pulled:?}");
        assert!(matches!(engine.list().await, Err(EngineError::Unavailable(_))));
        assert!(matches!(engine.capabilities().await, Err(EngineError::Unavailable(_))));
        assert!(matches!(engine.start(&order, &|_| {}).await, Err(EngineError::Unavailable(_))));
        assert!(matches!(engine.remove(order.session).await, Err(EngineError::Unavailable(_))));
    }
    tasks.stop(LIMIT).await;
}

#[tokio::test]
async fn an_engine_that_accepts_and_never_answers_is_given_up_within_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let docker = meridian_engine::DockerEngine::new(
        meridian_engine::DockerSettings {
            socket,
            run_directory: folder.path().join("run"),
            seccomp_directory: None,
            homes_directory: folder.path().join("homes"),
            wait: std::time::Duration::from_millis(200),
            total: Resources::default(),
        },
        Owner { deployment: DeploymentId::generate(), agent: NodeId::generate() },
    )
    .unwrap();
    let listed = timeout(LIMIT, docker.list()).await.unwrap();
    assert!(matches!(listed, Err(EngineError::Unavailable(_))));
}
