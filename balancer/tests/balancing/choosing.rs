//! Which backend a connection gets, and how soon.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

use crate::world::*;

#[tokio::test]
async fn held_connections_spread_evenly() {
    let (one, other) = (echo_backend("one").await, echo_backend("other").await);
    let Balance { bound, .. } = balance(&rule(None, &[one.address, other.address])).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        let mut talk = Talk::open(bound.local_addr).await;
        let said = talk.say("x").await.unwrap();
        held.push((talk, said));
    }
    assert_eq!(held.iter().filter(|(_, said)| said == "one:x").count(), 4);
}

async fn talk_from(source: &str, target: SocketAddr) -> String {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
    let mut talk = Talk(socket.connect(target).await.unwrap());
    talk.say("x").await.unwrap()
}

#[tokio::test]
async fn a_client_address_has_a_backend_of_its_own() {
    let servers = [echo_backend("a").await, echo_backend("b").await, echo_backend("c").await];
    let addresses = servers.each_ref().map(|server| server.address);
    let Balance { bound, .. } = balance(&(rule(None, &addresses) + "choice = \"source_hash\"\n")).await;
    let mut homes = std::collections::BTreeSet::new();
    for last in 1..30 {
        let source = format!("127.0.7.{last}");
        let home = talk_from(&source, bound.local_addr).await;
        assert_eq!(talk_from(&source, bound.local_addr).await, home);
        homes.insert(home);
    }
    assert_eq!(homes.len(), 3, "thirty clients are at home everywhere");
}

/// Silence is not noticed by checks here, nor by a dial's own end.
const PATIENT: &str = "dial_wait_s = 600\n";
const UNCHECKED: &str = "choice = \"round_robin\"\ncheck = { interval_ms = 600000, timeout_ms = 600000 }\n";

#[tokio::test]
async fn a_silent_backend_is_joined_by_a_second_dial() {
    let (silent, _held) = black_hole().await;
    let alive = echo_backend("alive").await;
    let rules = PATIENT.to_owned() + &rule(None, &[silent, alive.address]) + UNCHECKED;
    let Balance { bound, .. } = balance(&rules).await;
    for _ in 0..4 {
        assert_eq!(backend_of(bound.local_addr).await, "alive");
    }
    assert_eq!(
        bound.metrics.backend_is_in("any", &silent.to_string()),
        Some(true),
        "a lost race is no failure"
    );
}

#[tokio::test]
async fn dials_end_with_their_budget() {
    let (silent, _held) = black_hole().await;
    let rules = "dial_wait_s = 1\n".to_owned() + &rule(None, &[silent]) + UNCHECKED + "eject_after = 1\n";
    let Balance { bound, .. } = balance(&rules).await;
    assert_eq!(ask_plain(bound.local_addr, b"x").await, "");
    wait_for("the verdict", || bound.metrics.backend_is_in("any", &silent.to_string()) == Some(false)).await;
}

#[tokio::test]
async fn no_more_backends_are_dialled_than_allowed() {
    let alive = echo_backend("alive").await;
    let dead = [nobody().await, nobody().await, alive.address];
    let rules = "max_dials = 2\n".to_owned()
        + &rule(None, &dead)
        + "choice = \"round_robin\"\neject_after = 99\ncheck = { interval_ms = 600000, fall = 9 }\n";
    let Balance { bound, .. } = balance(&rules).await;
    assert_eq!(backend_of(bound.local_addr).await, "", "two dead ones were tried");
    assert_eq!(backend_of(bound.local_addr).await, "alive", "the second in its turn");
}
