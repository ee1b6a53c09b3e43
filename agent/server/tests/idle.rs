//! What an agent says of its sessions' use, and how viewers hear that nobody was there.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

#[expect(dead_code, reason = "the agent's other tests use the rest")]
mod bench;

use bench::{
    Bench,
    viewer::{PageKey, Plain, Viewer, key_event},
    wait_for,
};
use jiff::Timestamp;
use meridian_ids::{GrantId, SessionId};
use meridian_model::{Policy, Transport};
use meridian_stream::Code;
use meridian_ticket::Grant;
use meridian_wire::{CutReason, Observation, Revocation};

/// What the next whole heartbeat says.
async fn active_at(bench: &Bench, session: SessionId) -> Timestamp {
    bench.heard().await;
    wait_for("a heartbeat that says it", || bench.control.observed(session)?.active_at).await
}

#[tokio::test]
async fn keys_and_pointer_are_use_and_pictures_are_not() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let began = active_at(&bench, session).await;
    let mut client = Plain::new(bench.open(&bench.grant(session, Transport::Binary)).await.unwrap());
    let size = client.shake_hands().await;
    client.frame(size).await;
    client.frame(size).await;
    assert_eq!(active_at(&bench, session).await, began, "looking is not using");
    client.send(&key_event(true)).await;
    client.send(&key_event(false)).await;
    wait_for("the use", || bench.control.observed(session)?.active_at.filter(|active_at| *active_at > began))
        .await;
    assert!(bench.control.last_heartbeat().unwrap().agent.unwrap().reports_activity);
    bench.end().await;
}

#[tokio::test]
async fn whoever_may_only_view_is_there_all_the_same() {
    let bench = Bench::new().await;
    let session = bench.running().await;
    let began = active_at(&bench, session).await;
    let policy = Policy { input: false, ..Policy::OWNER };
    let grant = Grant { policy, ..bench.grant(session, Transport::Binary) };
    let mut client = Plain::new(bench.open(&grant).await.unwrap());
    client.shake_hands().await;
    client.send(&key_event(true)).await;
    wait_for("the use", || bench.control.observed(session)?.active_at.filter(|active_at| *active_at > began))
        .await;
    let keys = bench.daemon.messages(session);
    assert!(!keys.iter().any(|message| message.starts_with(&[4])), "the key went nowhere: {keys:?}");
    bench.end().await;
}

#[tokio::test]
async fn a_viewer_of_a_session_that_nobody_used_is_told_so_and_may_come_back() {
    let bench = Bench::new().await;
    let (session, key) = (bench.running().await, PageKey::new());
    let grant = Grant { jkt: key.thumbprint(), ..bench.grant(session, Transport::MeridianV1) };
    let (mut viewer, _) = Viewer::attach(bench.open(&grant).await.unwrap(), 1, Some(&key)).await.unwrap();
    let issued_before = Timestamp::from_second(grant.iat + 1).unwrap();
    bench.control.revoke(Revocation { session_id: session, issued_before, because: Some(CutReason::Idle) });
    assert_eq!(viewer.noticed().await, Code::Idle);
    let later = Grant { jti: GrantId::generate(), iat: grant.iat + 2, ..grant };
    bench.open(&later).await.unwrap();
    bench.observed(session, |seen| *seen == Observation::Running).await;
    bench.end().await;
}
