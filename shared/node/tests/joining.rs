//! A node's life with a control plane that comes and goes.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

// The agent's tests include it too, and use other parts of it.
#[expect(dead_code, reason = "another test uses the rest")]
mod support;

use std::{path::Path, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use meridian_identity::NodeFiles;
use meridian_model::NodeRole;
use meridian_node::{HeartbeatParts, JoinError, NodeClient};
use meridian_runtime::{Clock, Tasks};
use meridian_settings::NodeSection;
use support::{Control, LIMIT, wait_for};
use tokio::{sync::mpsc, time::timeout};

fn section(folder: &Path, control: &Control, token: Option<&str>) -> NodeSection {
    let enroll_token_file = token.map(|token| {
        let path = folder.join("token");
        std::fs::write(&path, format!("{token}\n")).unwrap();
        path
    });
    NodeSection {
        name: "node-1".into(),
        data: folder.join("data"),
        upstream: format!("http://{}", control.public),
        enroll_token_file,
        advertise: Some("127.0.0.1:9".into()),
        via: None,
        upstream_ca_file: None,
        ops_listen: None,
    }
}

#[tokio::test]
async fn a_node_enrols_once_and_knows_itself_after_a_restart() {
    let (tasks, folder) = (Tasks::new(), tempfile::tempdir().unwrap());
    let control = Control::start(&tasks, Clock::system()).await;
    let section = section(folder.path(), &control, Some(&control.token(NodeRole::Proxy)));
    let first = NodeClient::join(&section, NodeRole::Proxy, Clock::system()).await.unwrap();
    assert!(!folder.path().join("token").exists(), "the used token is gone");
    let second = NodeClient::join(&section, NodeRole::Proxy, Clock::system()).await.unwrap();
    assert_eq!(first.name(), second.name());
    assert_eq!(second.deployment_id(), control.deployment);
    let other = NodeClient::join(&section, NodeRole::Agent, Clock::system()).await;
    assert!(matches!(other, Err(JoinError::Role { .. })));
    tasks.stop(LIMIT).await;
}

#[tokio::test]
async fn a_used_up_token_is_refused_in_the_control_planes_words() {
    let (tasks, folder) = (Tasks::new(), tempfile::tempdir().unwrap());
    let control = Control::start(&tasks, Clock::system()).await;
    let section = section(folder.path(), &control, Some("used"));
    let refused = NodeClient::join(&section, NodeRole::Proxy, Clock::system()).await;
    let Err(JoinError::Refused { message, .. }) = refused else { panic!("not refused") };
    assert_eq!(message, "The token was used up");
    assert!(folder.path().join("token").exists(), "a token that was not used stays");
    tasks.stop(LIMIT).await;
}

#[tokio::test]
async fn a_node_waits_for_a_control_plane_that_comes_later() {
    let (tasks, folder) = (Tasks::new(), tempfile::tempdir().unwrap());
    let control = Control::start(&tasks, Clock::system()).await;
    control.cut(true);
    let section = section(folder.path(), &control, Some(&control.token(NodeRole::Agent)));
    let join = tasks.spawn("join", async move {
        NodeClient::join(&section, NodeRole::Agent, Clock::system()).await.map(|client| client.name())
    });
    wait_for("a second try", || (control.turned_away() >= 2).then_some(())).await;
    assert!(!join.is_finished());
    control.cut(false);
    let joined = timeout(LIMIT, join).await.unwrap().unwrap();
    assert_eq!(joined.unwrap().role, NodeRole::Agent);
    tasks.stop(LIMIT).await;
}

#[tokio::test]
async fn updates_arrive_settings_are_remembered_and_an_outage_is_survived() {
    let (tasks, folder) = (Tasks::new(), tempfile::tempdir().unwrap());
    let control = Control::start(&tasks, Clock::system()).await;
    let section = section(folder.path(), &control, Some(&control.token(NodeRole::Proxy)));
    let client = NodeClient::join(&section, NodeRole::Proxy, Clock::system()).await.unwrap();
    assert!(client.settings().borrow().is_none());
    let (updates, mut inbox) = mpsc::channel(4);
    let node = tasks.child();
    client.run(&node, HeartbeatParts::default, updates);
    let update = timeout(LIMIT, inbox.recv()).await.unwrap().unwrap();
    assert_eq!(update.deployment_id, control.deployment);
    assert_eq!(client.keys().keys, [control.signing.public()]);
    let drain = node.spawn_until_stop("drain", async move { while inbox.recv().await.is_some() {} });

    wait_for("a heartbeat", || control.last_heartbeat()).await;
    control.cut(true);
    wait_for("the cut", || (control.open() == 0).then_some(())).await;
    let seen = control.heartbeats();
    control.cut(false);
    wait_for("heartbeats after the outage", || (control.heartbeats() > seen).then_some(())).await;
    wait_for("a second watch", || (control.watches() >= 2).then_some(())).await;
    node.stop(LIMIT).await;
    drain.await.unwrap();

    control.cut(true);
    let again = NodeClient::join(&section, NodeRole::Proxy, Clock::system()).await.unwrap();
    assert_eq!(again.keys().keys, [control.signing.public()], "known without the control plane");
    assert!(again.last_contact().is_some());
    tasks.stop(LIMIT).await;
}

#[tokio::test]
async fn an_older_epoch_and_another_deployment_are_refused() {
    let (tasks, folder) = (Tasks::new(), tempfile::tempdir().unwrap());
    let control = Control::start(&tasks, Clock::system()).await;
    let section = section(folder.path(), &control, Some(&control.token(NodeRole::Proxy)));
    let client = NodeClient::join(&section, NodeRole::Proxy, Clock::system()).await.unwrap();
    let old = control.update(0);
    control.raise_epoch();
    client.admit(&control.update(0)).await.unwrap();
    assert!(client.admit(&old).await.is_err());
    let other = Control::start(&tasks, Clock::system()).await;
    assert!(client.admit(&other.update(0)).await.is_err());
    let again = NodeClient::join(&section, NodeRole::Proxy, Clock::system()).await.unwrap();
    assert_eq!(again.epoch(), 2);
    assert!(again.admit(&old).await.is_err(), "remembered across a restart");
    tasks.stop(LIMIT).await;
}

#[tokio::test]
async fn a_certificate_is_renewed_at_two_thirds_of_its_life_while_connections_go_on() {
    let (tasks, folder) = (Tasks::new(), tempfile::tempdir().unwrap());
    // TLS itself judges by this machine's clock, so the certificates of this test are made in its past.
    let now = Clock::system().now();
    let clock = Clock::fixed(Timestamp::from_second(now.as_second() - 21 * 86_400).unwrap());
    let control = Control::start(&tasks, clock.clone()).await;
    let section = section(folder.path(), &control, Some(&control.token(NodeRole::Agent)));
    let client = NodeClient::join(&section, NodeRole::Agent, clock.clone()).await.unwrap();
    let (updates, mut inbox) = mpsc::channel(4);
    client.run(&tasks, HeartbeatParts::default, updates);
    tasks.spawn_until_stop("drain", async move { while inbox.recv().await.is_some() {} });
    wait_for("a heartbeat", || control.last_heartbeat()).await;
    assert_eq!(control.renewals(), 0);
    let watches = control.watches();
    let files = NodeFiles::new(&section.data);
    let (_, first, ..) = files.load().unwrap();
    clock.advance(SignedDuration::from_hours(21 * 24));
    client.wake();
    wait_for("the renewal", || (control.renewals() == 1).then_some(())).await;
    wait_for("its use", || (!client.tls().renewal_due(clock.now())).then_some(())).await;
    assert!(control.watches() <= watches.max(1), "the watch went on");
    // It is used before it is on the disk.
    wait_for("its place on the disk", || {
        files.load().ok().filter(|(_, saved, ..)| *saved != first).map(drop)
    })
    .await;
    let again = NodeClient::join(&section, NodeRole::Agent, clock.clone()).await.unwrap();
    assert!(!again.tls().renewal_due(clock.now()), "saved");
    drop(Arc::clone(&control));
    tasks.stop(LIMIT).await;
}
