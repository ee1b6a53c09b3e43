//! Homes on storage that two agents share: one of them writes, whatever they believe. Once in memory, once with real containers.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the engine's other tests use the rest")]
mod node;

use std::{path::Path, sync::Arc};

use meridian_engine::{
    Daemon, DockerEngine, Engine, EngineError, MARK, Order, Owner, SimulatedEngine, Trouble,
};
use meridian_ids::{DeploymentId, HomeId, NodeId, SessionId};
use meridian_model::{HomeTurn, Network, PersistentHome, Resources, SharedHome};
use meridian_runtime::Tasks;
use node::{IMAGE, Node, docker, inside, order};
use tempfile::TempDir;

fn turn(generation: i64) -> HomeTurn {
    HomeTurn { epoch: 1, generation }
}

/// The order for a home's writer of this number; an administrator took it from those up to `forced`.
fn writer(storage: &Path, home: HomeId, generation: i64, forced: Option<i64>) -> Order {
    let storage = storage.to_str().unwrap().to_owned();
    let shared = SharedHome { storage, turn: turn(generation), forced: forced.map(turn) };
    let mut order = order(IMAGE, Network::None);
    order.spec.home = Some(PersistentHome { id: home, size_mb: 32, shared: Some(shared) });
    order
}

/// A folder that two agents reach, as whoever sets it up leaves it.
fn storage() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(MARK), "").unwrap();
    folder
}

/// An agent of the zone, with a daemon of its own.
struct Simulated {
    daemon: Daemon,
    engine: SimulatedEngine,
    owner: Owner,
    folder: TempDir,
}

fn simulated(deployment: DeploymentId) -> Simulated {
    let (folder, daemon) = (tempfile::tempdir().unwrap(), Daemon::new(&[IMAGE], Tasks::new()));
    let owner = Owner { deployment, agent: NodeId::generate() };
    let engine = SimulatedEngine::new(daemon.clone(), owner, folder.path(), Resources::default()).unwrap();
    Simulated { daemon, engine, owner, folder }
}

/// Everything that is written to a home, in whichever files.
fn files(storage: &Path, home: HomeId) -> Vec<String> {
    let folder = storage.join(home.to_string());
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|end| end == "img"));
    names.sort();
    names.into_iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}

fn held(refused: Result<(), EngineError>) -> bool {
    matches!(&refused, Err(EngineError::Unavailable(reason)) if reason.contains("held by agent"))
}

#[tokio::test]
async fn a_dead_agents_home_is_taken_over_when_it_was_released_and_else_refused() {
    let (storage, deployment, home) = (storage(), DeploymentId::generate(), HomeId::generate());
    let (one, two) = (simulated(deployment), simulated(deployment));
    let first = writer(storage.path(), home, 1, None);
    one.engine.start(&first, &|_| {}).await.unwrap();
    assert!(one.daemon.write(first.session, "of the first").unwrap());
    // The agent is gone with everything that it knows; what it claimed is on the storage.
    drop(one.engine);
    let second = writer(storage.path(), home, 2, None);
    assert!(held(two.engine.start(&second, &|_| {}).await), "nobody released it");
    let again =
        SimulatedEngine::new(one.daemon.clone(), one.owner, one.folder.path(), Resources::default()).unwrap();
    assert_eq!(again.guard_homes().await.unwrap(), [], "it goes on when it is back");
    again.remove(first.session).await.unwrap();
    two.engine.start(&second, &|_| {}).await.unwrap();
    assert!(two.daemon.write(second.session, "of the second").unwrap());
    assert_eq!(files(storage.path(), home), ["of the first\nof the second\n"]);
    // An order that lay about somewhere is of a time before.
    let late = again.start(&writer(storage.path(), home, 1, None), &|_| {}).await;
    assert!(matches!(late, Err(EngineError::Refused(_))), "{late:?}");
}

#[tokio::test]
async fn an_agent_whose_home_was_taken_by_force_while_it_ran_freezes_its_writer() {
    let (storage, deployment, home) = (storage(), DeploymentId::generate(), HomeId::generate());
    let (one, two) = (simulated(deployment), simulated(deployment));
    let (first, second) = (writer(storage.path(), home, 1, None), writer(storage.path(), home, 3, Some(1)));
    one.engine.start(&first, &|_| {}).await.unwrap();
    assert!(one.daemon.write(first.session, "before").unwrap());
    two.engine.start(&second, &|_| {}).await.unwrap();
    // Until it looks, the old one writes: to a file that nobody else has.
    assert!(one.daemon.write(first.session, "late").unwrap());
    let frozen = one.engine.guard_homes().await.unwrap();
    assert_eq!(frozen[0].trouble, Trouble::Overtaken { by: two.owner.agent }, "{frozen:?}");
    assert!(!one.daemon.write(first.session, "never").unwrap(), "it is frozen");
    assert_eq!(two.engine.guard_homes().await.unwrap(), []);
    assert!(two.daemon.write(second.session, "after").unwrap());
    assert_eq!(files(storage.path(), home), ["before\nlate\n", "before\nafter\n"]);
    // What the old one leaves behind is not the new one's.
    one.engine.remove(first.session).await.unwrap();
    assert_eq!(two.engine.guard_homes().await.unwrap(), []);
    two.engine.remove(second.session).await.unwrap();
    assert_eq!(files(storage.path(), home), ["before\nafter\n"], "one home is left");
}

#[tokio::test]
async fn an_agent_that_loses_the_storage_freezes_its_writer_until_it_is_back() {
    let (storage, home) = (storage(), HomeId::generate());
    let agent = simulated(DeploymentId::generate());
    let order = writer(storage.path(), home, 1, None);
    agent.engine.probe_storage(storage.path()).await.unwrap();
    agent.engine.start(&order, &|_| {}).await.unwrap();
    let (mark, aside) = (storage.path().join(MARK), storage.path().join("aside"));
    std::fs::rename(&mark, &aside).unwrap();
    let frozen = agent.engine.guard_homes().await.unwrap();
    assert!(matches!(frozen[0].trouble, Trouble::Away(_)), "{frozen:?}");
    assert!(!agent.daemon.write(order.session, "never").unwrap());
    let missing = agent.engine.probe_storage(storage.path()).await.unwrap_err().to_string();
    assert!(missing.contains(MARK), "{missing}");
    let other = writer(storage.path(), HomeId::generate(), 1, None);
    assert!(agent.engine.start(&other, &|_| {}).await.is_err(), "nothing is made beside the storage");
    assert!(agent.engine.remove(order.session).await.is_err(), "what cannot be released is held on");
    std::fs::rename(&aside, &mark).unwrap();
    assert_eq!(agent.engine.guard_homes().await.unwrap(), []);
    assert!(agent.daemon.write(order.session, "again").unwrap());
    agent.engine.remove(order.session).await.unwrap();
    assert_eq!(files(storage.path(), home), ["again\n"]);
}

#[tokio::test]
async fn a_home_is_removed_by_any_agent_once_nobody_has_it() {
    let (storage, deployment, home) = (storage(), DeploymentId::generate(), HomeId::generate());
    let (one, two) = (simulated(deployment), simulated(deployment));
    let first = writer(storage.path(), home, 1, None);
    one.engine.start(&first, &|_| {}).await.unwrap();
    let removal = writer(storage.path(), home, 2, None).spec.home.unwrap();
    assert!(two.engine.remove_home(&removal).await.is_err(), "a session has it");
    one.engine.remove(first.session).await.unwrap();
    let both = tokio::join!(one.engine.remove_home(&removal), two.engine.remove_home(&removal));
    assert!(both.0.is_ok() || both.1.is_ok(), "{both:?}");
    two.engine.remove_home(&removal).await.unwrap();
    assert!(!storage.path().join(home.to_string()).exists());
    let late = one.engine.start(&writer(storage.path(), home, 3, None), &|_| {}).await;
    assert!(matches!(late, Err(EngineError::Refused(_))), "what was removed is no new home: {late:?}");
}

#[tokio::test]
async fn two_agents_with_real_containers_hand_a_home_on_and_take_it_by_force() {
    let (storage, home) = (storage(), HomeId::generate());
    let (one, two) = (Node::new(), Node::new());
    let start = async |engine: &Arc<DockerEngine>, order: &Order| engine.start(order, &|_| {}).await;
    one.engine.probe_storage(storage.path()).await.unwrap();
    let first = writer(storage.path(), home, 1, None);
    start(&one.engine, &first).await.unwrap();
    assert_eq!(inside(first.session, "echo kept >~/file && sync && stat -c %u ~"), (true, "1000".into()));
    assert!(!inside(first.session, "head -c 64M /dev/zero >~/filler").0, "it has a size");
    assert!(inside(first.session, "rm -f ~/filler").0);
    let second = writer(storage.path(), home, 2, None);
    assert!(held(start(&two.engine, &second).await));
    one.engine.remove(first.session).await.unwrap();
    start(&two.engine, &second).await.unwrap();
    assert_eq!(inside(second.session, "cat ~/file && echo more >>~/file && sync"), (true, "kept".into()));

    // By force, while the second runs on: the third has what was written until then, in a file of its own.
    let third = writer(storage.path(), home, 4, Some(2));
    start(&one.engine, &third).await.unwrap();
    assert_eq!(inside(third.session, "cat ~/file"), (true, "kept\nmore".into()));
    let frozen = two.engine.guard_homes().await.unwrap();
    assert_eq!(frozen.len(), 1, "{frozen:?}");
    assert_eq!(state(second.session), "paused");
    assert_eq!(one.engine.guard_homes().await.unwrap(), []);
    two.engine.remove(second.session).await.unwrap();

    // And an agent whose storage goes away freezes what writes to it.
    let (mark, aside) = (storage.path().join(MARK), storage.path().join("aside"));
    std::fs::rename(&mark, &aside).unwrap();
    assert_eq!(one.engine.guard_homes().await.unwrap().len(), 1);
    assert_eq!(state(third.session), "paused");
    std::fs::rename(&aside, &mark).unwrap();
    assert_eq!(one.again().guard_homes().await.unwrap(), [], "also when its agent was started anew");
    assert_eq!(inside(third.session, "cat ~/file"), (true, "kept\nmore".into()));
    one.engine.remove(third.session).await.unwrap();
    let removal = writer(storage.path(), home, 5, None).spec.home.unwrap();
    two.engine.remove_home(&removal).await.unwrap();
    assert!(!storage.path().join(home.to_string()).exists());
}

fn state(session: SessionId) -> String {
    docker(&["inspect", "-f", "{{.State.Status}}", &format!("meridian-{session}")])
}
