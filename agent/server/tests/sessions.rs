//! Sessions through orders, faults and restarts: nothing lost, nothing resurrected, nothing touched that is not ours.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the agent's other tests use the rest")]
mod bench;

use std::time::Duration;

use bench::{Bench, LIMIT, viewer::Plain, wait_for};
use meridian_engine::{Faults, Owner};
use meridian_ids::{DeploymentId, NodeId, SessionId};
use meridian_model::Transport;
use meridian_wire::{Observation, Revocation};

#[tokio::test]
async fn a_restarted_agent_finds_its_workspaces_running_and_takes_no_old_grant() {
    let mut bench = Bench::new().await;
    let session = bench.running().await;
    let name = bench.agent.name;
    let grant = bench.grant(session, Transport::Binary);
    let mut old = Plain::new(bench.open(&grant).await.unwrap());
    old.shake_hands().await;
    bench.restart().await;
    assert_eq!(bench.agent.name, name);
    assert_eq!(bench.daemon.names().len(), 1);
    bench.observed(session, |seen| *seen == Observation::Running).await;
    let mut client = wait_for_stream(&bench, session).await;
    client.shake_hands().await;
    bench.finish(session, 2);
    bench.observed(session, |seen| *seen == Observation::Gone).await;
    assert!(bench.daemon.names().is_empty());
    bench.end().await;
}

/// The answer to each heartbeat is an update. Were it taken for news, the next heartbeat would follow at once, and so for ever.
#[tokio::test]
async fn an_agent_without_news_rests_between_heartbeats() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    bench.observed(session, |seen| *seen == Observation::Running).await;
    bench.heard().await;
    let started = tokio::time::Instant::now();
    for _ in 0..3 {
        bench.heard().await;
    }
    // A slow machine only adds to this. The first of the three may have been on its way.
    assert!(started.elapsed() > Duration::from_secs(3), "three heartbeats took {:?}", started.elapsed());
    bench.end().await;
}

async fn wait_for_stream(bench: &Bench, session: SessionId) -> Plain {
    // Grants are judged by whole seconds, so one made in the second of the start is refused.
    let started = tokio::time::Instant::now();
    loop {
        match bench.open(&bench.grant(session, Transport::Binary)).await {
            Ok(socket) => return Plain::new(socket),
            Err((_, refusal)) => assert!(started.elapsed() < LIMIT, "{}", refusal.error.message),
        }
    }
}

#[tokio::test]
async fn an_agent_cut_off_and_back_destroys_nothing_and_its_streams_go_on() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let mut client = Plain::new(bench.open(&bench.grant(session, Transport::Binary)).await.unwrap());
    let size = client.shake_hands().await;
    bench.control.cut(true);
    wait_for("the cut", || (bench.control.open() == 0).then_some(())).await;
    client.frame(size).await;
    assert_eq!(bench.daemon.names().len(), 1);
    let seen = bench.control.heartbeats();
    bench.control.cut(false);
    wait_for("a heartbeat after the cut", || (bench.control.heartbeats() > seen).then_some(())).await;
    bench.observed(session, |seen| *seen == Observation::Running).await;
    client.frame(size).await;
    bench.end().await;
}

#[tokio::test]
async fn an_engine_that_is_stopped_loses_no_session_and_fails_none() {
    let bench = Bench::new().await;
    let (running, ordered) = (bench.running().await, SessionId::generate());
    bench.daemon.set_faults(Faults { stopped: true, ..Faults::default() });
    bench.run(ordered, 1);
    bench
        .observed(ordered, |seen| {
            let Observation::Starting { message, .. } = seen else { panic!("{seen:?}") };
            message.contains("container engine")
        })
        .await;
    wait_for("the problem", || {
        let problems = bench.control.last_heartbeat()?.problems;
        problems.into_iter().find(|problem| problem.code == "engine")
    })
    .await;
    bench.observed(running, |seen| *seen == Observation::Running).await;
    bench.daemon.set_faults(Faults::default());
    bench.observed(ordered, |seen| *seen == Observation::Running).await;
    wait_for("the problem's end", || {
        bench.control.last_heartbeat().filter(|heartbeat| heartbeat.problems.is_empty())
    })
    .await;
    bench.end().await;
}

#[tokio::test]
async fn an_end_that_an_absent_engine_cannot_carry_out_is_carried_out_later() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    bench.daemon.set_faults(Faults { stopped: true, ..Faults::default() });
    bench.finish(session, 2);
    wait_for("silence about it", || bench.control.observed(session).is_none().then_some(())).await;
    bench.daemon.set_faults(Faults::default());
    bench.observed(session, |seen| *seen == Observation::Gone).await;
    bench.end().await;
}

#[tokio::test]
async fn an_end_that_overtakes_a_slow_start_leaves_nothing() {
    let bench = Bench::new().await;
    let session = SessionId::generate();
    bench.daemon.set_faults(Faults { slow: Duration::from_millis(300), ..Faults::default() });
    bench.run(session, 1);
    bench.observed(session, |seen| matches!(seen, Observation::Starting { .. })).await;
    bench.finish(session, 2);
    bench.observed(session, |seen| *seen == Observation::Gone).await;
    assert!(bench.daemon.names().is_empty());
    bench.end().await;
}

#[tokio::test]
async fn a_start_that_is_refused_fails_with_the_reason() {
    let bench = Bench::new().await;
    let session = SessionId::generate();
    let refuses = Some("no space left on the node".into());
    bench.daemon.set_faults(Faults { refuses, ..Faults::default() });
    bench.run(session, 1);
    let failed = bench.observed(session, |seen| matches!(seen, Observation::Failed { .. })).await;
    assert_eq!(failed, Observation::Failed { reason: "no space left on the node".into() });
    bench.daemon.set_faults(Faults::default());
    let (status, refusal) = bench.open(&bench.grant(session, Transport::Binary)).await.unwrap_err();
    assert_eq!((status, refusal.error.hop.as_deref()), (410, Some("workspace")));
    assert!(refusal.error.message.contains("no space left"), "{}", refusal.error.message);
    bench.finish(session, 2);
    bench.observed(session, |seen| *seen == Observation::Gone).await;
    bench.end().await;
}

#[tokio::test]
async fn a_workspace_that_ends_by_itself_is_reported_and_its_viewer_told() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let mut client = Plain::new(bench.open(&bench.grant(session, Transport::Binary)).await.unwrap());
    client.shake_hands().await;
    bench.daemon.exit(session, "its last window was closed");
    let exited = bench.observed(session, |seen| matches!(seen, Observation::Exited { .. })).await;
    assert_eq!(exited, Observation::Exited { reason: "its last window was closed".into() });
    client.closed().await;
    bench.finish(session, 2);
    bench.observed(session, |seen| *seen == Observation::Gone).await;
    bench.end().await;
}

#[tokio::test]
async fn an_image_without_a_helper_is_ready_with_its_first_frame() {
    let bench = Bench::new().await;
    bench.daemon.set_faults(Faults { without_helper: true, ..Faults::default() });
    bench.running().await;
    bench.end().await;
}

#[tokio::test]
async fn what_is_not_known_is_reported_and_left_alone_and_what_is_not_ours_is_not_seen() {
    let bench = Bench::new().await;
    let owner = Owner { deployment: bench.control.deployment, agent: bench.agent.name.node };
    let (unknown, foreign) = (SessionId::generate(), SessionId::generate());
    bench.daemon.plant(&owner, unknown);
    let other = Owner { deployment: DeploymentId::generate(), agent: NodeId::generate() };
    bench.daemon.plant(&other, foreign);
    bench.observed(unknown, |seen| *seen == Observation::Quarantined).await;
    assert!(bench.control.observed(foreign).is_none());
    assert_eq!(bench.daemon.names().len(), 2);
    bench.finish(unknown, 1);
    bench.observed(unknown, |seen| *seen == Observation::Gone).await;
    assert_eq!(bench.daemon.names().len(), 1, "the foreign one stays");
    bench.end().await;
}

#[tokio::test]
async fn an_order_that_the_disk_refuses_is_not_carried_out_until_it_can_be_written_down() {
    let bench = Bench::new().await;
    let (ledger, away) = (bench.folder.path().join("data/sessions"), bench.folder.path().join("away"));
    std::fs::rename(&ledger, &away).unwrap();
    let session = SessionId::generate();
    bench.run(session, 1);
    wait_for("the problem", || {
        let problems = bench.control.last_heartbeat()?.problems;
        problems.into_iter().find(|problem| problem.code == "disk")
    })
    .await;
    bench
        .observed(session, |seen| matches!(seen, Observation::Starting { message, .. } if message.contains("data directory")))
        .await;
    assert!(bench.daemon.names().is_empty());
    // An update without orders needs no disk: it must not count as if what came before it had been written.
    let issued_before = bench.control.clock.now();
    bench.control.revoke(Revocation { session_id: SessionId::generate(), issued_before, because: None });
    let heard = bench.control.heartbeats();
    wait_for("its answer", || (bench.control.heartbeats() > heard + 1).then_some(())).await;
    std::fs::rename(&away, &ledger).unwrap();
    bench.observed(session, |seen| *seen == Observation::Running).await;
    wait_for("the order to be acknowledged", || {
        (bench.control.last_heartbeat()?.since >= bench.control.update(0).version).then_some(())
    })
    .await;
    bench.end().await;
}

#[tokio::test]
async fn a_tombstone_is_told_until_it_was_heard_and_again_when_it_is_asked_for_again() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    bench.finish(session, 2);
    bench.observed(session, |seen| *seen == Observation::Gone).await;
    wait_for("silence about it", || bench.control.observed(session).is_none().then_some(())).await;
    bench.finish(session, 2);
    bench.observed(session, |seen| *seen == Observation::Gone).await;
    bench.end().await;
}

#[tokio::test]
async fn a_slow_engine_holds_up_neither_heartbeats_nor_orders() {
    let bench = Bench::new().await;
    bench.daemon.set_faults(Faults { slow: Duration::from_secs(600), ..Faults::default() });
    let session = SessionId::generate();
    bench.run(session, 1);
    bench.observed(session, |seen| matches!(seen, Observation::Starting { .. })).await;
    bench.finish(session, 2);
    wait_for("the end's arrival", || bench.control.observed(session).is_none().then_some(())).await;
    bench.end().await;
}

#[tokio::test]
async fn metrics_and_readiness_are_served() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let bench = Bench::new().await;
    let mut socket = tokio::net::TcpStream::connect(bench.agent.ops_address.unwrap()).await.unwrap();
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains(r#"meridian_agent_streams{zone="test",role="agent"} 0"#), "{answer}");
    bench.end().await;
}
