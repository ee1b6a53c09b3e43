//! Homes that outlive their sessions, in real containers: what is written is there again, one session at a time has it, and it goes when it is to.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the engine's other tests use the rest")]
mod node;

use meridian_engine::{Engine, EngineError, Order};
use meridian_ids::{HomeId, SessionId};
use meridian_model::{Network, PersistentHome};
use node::{IMAGE, Node, inside, order};

fn with_home(home: HomeId) -> Order {
    let mut order = order(IMAGE, Network::None);
    order.spec.home = Some(kept(home));
    order
}

fn kept(id: HomeId) -> PersistentHome {
    PersistentHome { id, size_mb: 32, shared: None }
}

#[tokio::test]
async fn what_was_written_is_there_when_the_next_session_begins() {
    let node = Node::new();
    let (engine, home) = (&node.engine, HomeId::generate());
    assert!(engine.capabilities().await.unwrap().keeps_homes, "this node can mount");
    let first = with_home(home);
    engine.start(&first, &|_| {}).await.unwrap();
    assert_eq!(inside(first.session, "echo kept >~/file && stat -c %u ~"), (true, "1000".into()));
    let (fits, _) = inside(first.session, "head -c 64M /dev/zero >~/filler");
    assert!(!fits, "it has a size");
    assert!(inside(first.session, "rm -f ~/filler").0);

    // A second writer waits, whoever sent it.
    let second = with_home(home);
    let early = engine.start(&second, &|_| {}).await.unwrap_err();
    assert!(matches!(&early, EngineError::Unavailable(reason) if reason.contains("held")), "{early}");
    assert!(matches!(engine.remove_home(&kept(home)).await, Err(EngineError::Refused(_))), "in use");

    engine.remove(first.session).await.unwrap();
    assert!(!mounted(home), "put away");
    // Also after the agent was started anew.
    let again = node.again();
    again.start(&second, &|_| {}).await.unwrap();
    assert_eq!(inside(second.session, "cat ~/file"), (true, "kept".into()));
    again.remove(second.session).await.unwrap();

    let another = with_home(HomeId::generate());
    again.start(&another, &|_| {}).await.unwrap();
    assert!(!inside(another.session, "cat ~/file").0, "somebody else's");
    again.remove(another.session).await.unwrap();

    again.remove_home(&kept(home)).await.unwrap();
    again.remove_home(&kept(home)).await.unwrap();
    let emptied = with_home(home);
    again.start(&emptied, &|_| {}).await.unwrap();
    assert!(!inside(emptied.session, "cat ~/file").0, "it was removed");
    again.remove(emptied.session).await.unwrap();
    again.remove(SessionId::generate()).await.unwrap();
}

fn mounted(home: HomeId) -> bool {
    std::fs::read_to_string("/proc/self/mounts").unwrap().contains(&home.to_string())
}
