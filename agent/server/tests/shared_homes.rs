//! An agent and the storage that its zone's agents share: it says where it reaches it, freezes what may not write, and says so.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the agent's other tests use the rest")]
mod bench;

use bench::{Bench, run, wait_for};
use meridian_engine::MARK;
use meridian_ids::{HomeId, SessionId};
use meridian_model::{HomeTurn, PersistentHome, SharedHome};
use meridian_wire::{Command, DesiredSession, FrozenCause, FrozenSession, Observation};
use tempfile::TempDir;

fn storage() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(MARK), "").unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    (folder, path)
}

fn with_home(session: SessionId, storage: &str) -> DesiredSession {
    let mut order = run(session, 1, 1);
    if let Command::Run { spec } = &mut order.command {
        let shared =
            SharedHome { storage: storage.into(), turn: HomeTurn { epoch: 1, generation: 1 }, forced: None };
        spec.home = Some(PersistentHome { id: HomeId::generate(), size_mb: 16, shared: Some(shared) });
    }
    order
}

/// Waits until the agent says a problem of this code, or does not any more.
async fn problem(bench: &Bench, code: &str, wanted: bool) {
    wait_for("what the agent says of its homes", || {
        let heartbeat = bench.control.last_heartbeat()?;
        (heartbeat.problems.iter().any(|problem| problem.code == code) == wanted).then_some(())
    })
    .await;
}

async fn reached(bench: &Bench, path: Option<&str>) {
    wait_for("where the agent reaches the storage", || {
        let report = bench.control.last_heartbeat()?.agent?;
        (report.shared_homes.as_deref() == path).then_some(())
    })
    .await;
}

/// Waits until the agent says of these sessions, and no other, that they stand still.
async fn frozen(bench: &Bench, wanted: &[FrozenSession]) {
    wait_for("which sessions the agent says to be frozen", || {
        let report = bench.control.last_heartbeat()?.agent?;
        (report.frozen == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_agent_says_where_it_reaches_the_storage_and_freezes_sessions_while_it_does_not() {
    let bench = Bench::new().await;
    let (folder, path) = storage();
    let (mark, aside) = (folder.path().join(MARK), folder.path().join("aside"));
    bench.control.set_home_storage(&path);
    reached(&bench, Some(&path)).await;
    let session = SessionId::generate();
    bench.control.order(with_home(session, &path));
    bench.observed(session, |observation| *observation == Observation::Running).await;
    assert!(bench.daemon.write(session, "while it is there").unwrap());

    std::fs::rename(&mark, &aside).unwrap();
    problem(&bench, "homes_frozen", true).await;
    frozen(&bench, &[FrozenSession { session_id: session, because: FrozenCause::StorageAway }]).await;
    problem(&bench, "home_storage", true).await;
    reached(&bench, None).await;
    assert!(!bench.daemon.write(session, "while it is away").unwrap());
    bench.observed(session, |observation| *observation == Observation::Running).await;

    std::fs::rename(&aside, &mark).unwrap();
    problem(&bench, "homes_frozen", false).await;
    frozen(&bench, &[]).await;
    reached(&bench, Some(&path)).await;
    assert!(bench.daemon.write(session, "again").unwrap());
    bench.control.set_home_storage("");
    reached(&bench, None).await;
    problem(&bench, "home_storage", false).await;
    bench.end().await;
}
