//! Who is in and who is out, and what follows from it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use meridian_balancer::BoundBalancer;
use rustls::RootCertStore;
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::world::*;

const QUICK: &str = "slow_start_s = 0\ncheck = { interval_ms = 20 }\n";

async fn wait_until_in(bound: &BoundBalancer, backend: SocketAddr, is_in: bool) {
    let what = format!("{backend} to be {}", if is_in { "in" } else { "out" });
    let backend = backend.to_string();
    wait_for(&what, || bound.metrics.backend_is_in("any", &backend) == Some(is_in)).await;
}

#[tokio::test]
async fn a_dead_backend_goes_out_and_comes_back() {
    let (mut mortal, other) = (echo_backend("mortal").await, echo_backend("other").await);
    let Balance { bound, .. } = balance(&(rule(None, &[mortal.address, other.address]) + QUICK)).await;
    mortal.stop_listening().await;
    wait_until_in(&bound, mortal.address, false).await;
    for _ in 0..4 {
        assert_eq!(backend_of(bound.local_addr).await, "other");
    }
    let _again = echo_backend_at(mortal.address, "again").await;
    wait_until_in(&bound, mortal.address, true).await;
    let back = async { while backend_of(bound.local_addr).await != "again" {} };
    within("a connection to the one that is back", back).await;
}

#[tokio::test]
async fn with_the_defaults_a_dead_and_a_frozen_backend_are_out_by_their_checks_alone() {
    let mut dead = echo_backend("dead").await;
    // Its kernel takes connections, its process says nothing.
    let frozen = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = frozen.local_addr().unwrap();
    let Balance { bound, .. } =
        balance(&(rule(None, &[dead.address, address]) + "check = { kind = \"tls\" }\n")).await;
    dead.stop_listening().await;
    wait_until_in(&bound, dead.address, false).await;
    wait_until_in(&bound, address, false).await;
}

#[tokio::test]
async fn tls_checks_tell_tls_from_other_things() {
    let web = tls_backend("web", &mut RootCertStore::empty(), "web.meridian").await;
    let plain = echo_backend("plain").await;
    let check = "check = { kind = \"tls\", interval_ms = 20 }\n";
    let Balance { bound, health, .. } = balance(&(rule(None, &[web.address, plain.address]) + check)).await;
    wait_until_in(&bound, plain.address, false).await;
    assert_eq!(bound.metrics.backend_is_in("any", &web.address.to_string()), Some(true));
    assert!(health.reasons().is_empty());
}

async fn http_checks_judge(backend: Server, answer: Answer, kind: &str) {
    let spare = plain_backend("spare").await;
    let check = format!(
        "check = {{ kind = \"{kind}\", path = \"/api/__healthcheck\", body = '\"ok\":true', interval_ms = 20 }}\n"
    );
    let Balance { bound, .. } = balance(&(rule(None, &[backend.address, spare]) + &check)).await;
    // The spare one does not speak HTTP.
    wait_until_in(&bound, spare, false).await;
    wait_until_in(&bound, backend.address, true).await;
    for bad in [(503, r#"{"ok":true}"#), (200, r#"{"ok":false}"#)] {
        *answer.lock().unwrap() = bad;
        wait_until_in(&bound, backend.address, false).await;
        *answer.lock().unwrap() = (200, r#"{"ok":true}"#);
        wait_until_in(&bound, backend.address, true).await;
    }
}

fn healthy() -> Answer {
    Arc::new(Mutex::new((200, r#"{"ok":true}"#)))
}

#[tokio::test]
async fn http_checks_judge_status_and_body() {
    let answer = healthy();
    http_checks_judge(http_backend(answer.clone()).await, answer, "http").await;
}

#[tokio::test]
async fn https_checks_judge_status_and_body() {
    let answer = healthy();
    http_checks_judge(https_backend(answer.clone()).await, answer, "https").await;
}

#[tokio::test]
async fn a_database_blip_neither_empties_a_rule_nor_resets_anything() {
    let answer = healthy();
    let (one, other) = (https_backend(answer.clone()).await, https_backend(answer.clone()).await);
    let check = "reset_when_unreachable = true\n\
                 check = { kind = \"https\", path = \"/api/__healthcheck\", interval_ms = 20 }\n";
    let rules = rule(None, &[one.address, other.address]) + check;
    let Balance { bound, health, .. } = balance(&rules).await;
    let held = Talk::open(bound.local_addr).await;
    wait_for("the connection", || bound.metrics.open() == 1).await;
    *answer.lock().unwrap() = (503, r#"{"ok":false}"#);
    wait_until_in(&bound, one.address, false).await;
    wait_until_in(&bound, other.address, false).await;
    wait_for("the reason against readiness", || health.reasons().contains_key("no_backend")).await;
    // All are sick: new connections have a backend all the same, and old ones live on.
    let _new = Talk::open(bound.local_addr).await;
    wait_for("the new connection", || bound.metrics.open() == 2).await;
    assert_eq!(held.0.try_read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    *answer.lock().unwrap() = (200, r#"{"ok":true}"#);
    wait_for("readiness", || health.reasons().is_empty()).await;
}

#[tokio::test]
async fn failed_dials_put_a_backend_out_before_its_next_check() {
    let alive = echo_backend("alive").await;
    let mut mortal = echo_backend("mortal").await;
    // Checked once, at the start, and not again within this test.
    let terms = "choice = \"round_robin\"\neject_after = 2\ncheck = { interval_ms = 600000, fall = 9 }\n";
    let Balance { bound, .. } = balance(&(rule(None, &[mortal.address, alive.address]) + terms)).await;
    assert_eq!(backend_of(bound.local_addr).await, "mortal");
    mortal.stop_listening().await;
    let ejected = async {
        while bound.metrics.backend_is_in("any", &mortal.address.to_string()) == Some(true) {
            assert_eq!(backend_of(bound.local_addr).await, "alive");
        }
    };
    within("the ejection", ejected).await;
}

#[tokio::test]
async fn connections_to_an_unreachable_web_app_are_reset_when_another_one_answers() {
    let (mut mortal, spare) = (echo_backend("mortal").await, echo_backend("spare").await);
    let terms = format!("reset_when_unreachable = true\nchoice = \"round_robin\"\n{QUICK}");
    let Balance { bound, .. } = balance(&(rule(None, &[mortal.address, spare.address]) + &terms)).await;
    let (mut lost, mut kept) = (Talk::open(bound.local_addr).await, Talk::open(bound.local_addr).await);
    assert_eq!(
        (lost.say("1").await.unwrap(), kept.say("1").await.unwrap()),
        ("mortal:1".into(), "spare:1".into())
    );
    mortal.stop_listening().await;
    let end = within("the reset", lost.0.read(&mut [0; 8])).await;
    assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(kept.say("2").await.unwrap(), "spare:2");
}

#[tokio::test]
async fn while_nothing_better_answers_connections_are_left_alone() {
    let mut mortal = echo_backend("mortal").await;
    let Balance { bound, .. } =
        balance(&(rule(None, &[mortal.address]) + "reset_when_unreachable = true\n" + QUICK)).await;
    let mut talk = Talk::open(bound.local_addr).await;
    talk.say("1").await.unwrap();
    mortal.stop_listening().await;
    wait_until_in(&bound, mortal.address, false).await;
    assert_eq!(talk.say("2").await.unwrap(), "mortal:2");
}

#[tokio::test]
async fn streams_are_never_reset() {
    let (mut mortal, spare) = (echo_backend("mortal").await, echo_backend("spare").await);
    let terms = format!("choice = \"round_robin\"\n{QUICK}");
    let Balance { bound, .. } = balance(&(rule(None, &[mortal.address, spare.address]) + &terms)).await;
    let mut talk = Talk::open(bound.local_addr).await;
    assert_eq!(talk.say("1").await.unwrap(), "mortal:1");
    mortal.stop_listening().await;
    wait_until_in(&bound, mortal.address, false).await;
    assert_eq!(talk.say("2").await.unwrap(), "mortal:2");
}

#[tokio::test]
async fn a_listener_that_wants_a_certificate_passes_a_tls_check() {
    let mut roots = RootCertStore::empty();
    let came = Arc::new(AtomicUsize::new(0));
    let demanding = demanding_backend(&mut roots, came.clone()).await;
    let check = "check = { kind = \"tls\", interval_ms = 20 }\n";
    let Balance { bound, .. } = balance(&(rule(None, &[demanding.address]) + check)).await;
    wait_for("ten checks", || came.load(Ordering::Relaxed) >= 10).await;
    assert_eq!(bound.metrics.backend_is_in("any", &demanding.address.to_string()), Some(true));
}
