//! What reaches which backend, and what is refused.

use meridian_balancer::{Refused, start};
use meridian_runtime::{Health, Tasks};
use rustls::RootCertStore;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::world::*;

#[tokio::test]
async fn tls_goes_by_its_server_name_and_is_passed_through() {
    let mut roots = RootCertStore::empty();
    let web = tls_backend("web", &mut roots, "web.meridian").await;
    let agent = tls_backend("agent", &mut roots, "a.agent.z.meridian").await;
    let rules =
        rule(Some("web.meridian"), &[web.address]) + &rule(Some("*.agent.z.meridian"), &[agent.address]);
    let Balance { bound, .. } = balance(&rules).await;
    let ask = |name| within("an answer", ask_tls(bound.local_addr, &roots, name));
    assert_eq!(ask("web.meridian").await.unwrap(), "web");
    assert_eq!(ask("a.agent.z.meridian").await.unwrap(), "agent");
    assert!(ask("b.agent.y.meridian").await.is_err());
    assert_eq!(bound.metrics.refused(Refused::NoRoute), 1);
    wait_for("both connections' end", || bound.metrics.open() == 0).await;
}

#[tokio::test]
async fn plain_tcp_falls_under_the_rule_for_everything_and_half_closes() {
    let mut roots = RootCertStore::empty();
    let web = tls_backend("web", &mut roots, "web.meridian").await;
    let rest = plain_backend("rest").await;
    let rules = rule(Some("web.meridian"), &[web.address]) + &rule(None, &[rest]);
    let Balance { bound, .. } = balance(&rules).await;
    assert_eq!(ask_plain(bound.local_addr, b"hello").await, "rest:hello");
    let Balance { bound, .. } = balance(&rule(None, &[rest])).await;
    assert_eq!(ask_plain(bound.local_addr, b"again").await, "rest:again");
}

#[tokio::test]
async fn rubbish_and_plain_tcp_without_a_rule_are_refused() {
    let rest = plain_backend("rest").await;
    let Balance { bound, .. } = balance(&rule(Some("web.meridian"), &[rest])).await;
    assert_eq!(ask_plain(bound.local_addr, &[0x16; 64]).await, "");
    assert_eq!(ask_plain(bound.local_addr, b"GET / HTTP/1.1\r\n\r\n").await, "");
    wait_for("both refusals", || {
        bound.metrics.refused(Refused::BadHello) == 1 && bound.metrics.refused(Refused::NoRoute) == 1
    })
    .await;
}

#[tokio::test]
async fn a_client_that_never_says_hello_is_let_go() {
    let rest = plain_backend("rest").await;
    let Balance { bound, .. } = balance(&rule(Some("web.meridian"), &[rest])).await;
    let mut socket = TcpStream::connect(bound.local_addr).await.unwrap();
    socket.write_all(&[0x16, 3]).await.unwrap();
    let count = within("the end of the connection", socket.read(&mut [0; 8])).await.unwrap_or(0);
    assert_eq!((count, bound.metrics.refused(Refused::SlowHello)), (0, 1));
}

#[tokio::test]
async fn a_dead_backend_costs_no_client_anything() {
    let alive = plain_backend("alive").await;
    let Balance { bound, health, .. } = balance(&rule(None, &[nobody().await, alive])).await;
    for _ in 0..6 {
        assert_eq!(ask_plain(bound.local_addr, b"x").await, "alive:x");
    }
    assert!(health.reasons().is_empty());
}

#[tokio::test]
async fn when_all_look_dead_they_are_still_tried() {
    let (first, second) = (nobody().await, nobody().await);
    let Balance { bound, health, .. } = balance(&rule(None, &[first, second])).await;
    assert_eq!(ask_plain(bound.local_addr, b"x").await, "");
    wait_for("the refusal", || bound.metrics.refused(Refused::NoBackend) == 1).await;
    wait_for("the reason against readiness", || health.reasons().contains_key("no_backend")).await;
    // One of them comes back: the next client has it at once, checked or not.
    let listener = TcpListener::bind(second).await.unwrap();
    let mut client = TcpStream::connect(bound.local_addr).await.unwrap();
    client.write_all(b"x").await.unwrap();
    let found = async {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            // A health check closes without a word.
            if socket.read(&mut [0; 1]).await.unwrap_or(0) == 1 {
                return;
            }
        }
    };
    within("the client at the backend", found).await;
    wait_for("readiness", || health.reasons().is_empty()).await;
}

#[tokio::test]
async fn one_dead_route_does_not_make_the_balancer_unready() {
    let alive = plain_backend("alive").await;
    let rules = rule(Some("a.agent.z.meridian"), &[nobody().await]) + &rule(None, &[alive]);
    let Balance { bound, health, .. } = balance(&rules).await;
    assert_eq!(ask_plain(bound.local_addr, b"x").await, "alive:x");
    assert!(ask_tls(bound.local_addr, &RootCertStore::empty(), "a.agent.z.meridian").await.is_err());
    wait_for("the refusal", || bound.metrics.refused(Refused::NoBackend) == 1).await;
    assert!(health.reasons().is_empty());
}

#[tokio::test]
async fn connections_beyond_the_bound_are_refused() {
    let rest = plain_backend("rest").await;
    let Balance { bound, .. } = balance(&format!("max_connections = 1\n{}", rule(None, &[rest]))).await;
    let _first = TcpStream::connect(bound.local_addr).await.unwrap();
    wait_for("the first connection", || bound.metrics.open() == 1).await;
    assert_eq!(ask_plain(bound.local_addr, b"x").await, "");
    wait_for("the refusal", || bound.metrics.refused(Refused::Full) == 1).await;
}

#[tokio::test]
async fn a_stop_gives_connections_their_time_and_then_cuts_them() {
    let rest = plain_backend("rest").await;
    let Balance { bound, tasks, .. } = balance(&rule(None, &[rest])).await;
    let mut client = TcpStream::connect(bound.local_addr).await.unwrap();
    wait_for("the connection", || bound.metrics.open() == 1).await;
    let mut byte = [0; 1];
    let (stopped, count) = tokio::join!(tasks.stop(LIMIT), client.read(&mut byte));
    assert!(stopped);
    assert_eq!(count.unwrap_or(0), 0);
    assert!(TcpStream::connect(bound.local_addr).await.is_err(), "the listener is gone");
}

#[tokio::test]
async fn a_rule_may_have_an_address_of_its_own() {
    let mut roots = RootCertStore::empty();
    let web = tls_backend("web", &mut roots, "web.meridian").await;
    let (rest, own) = (plain_backend("rest").await, plain_backend("own").await);
    let rules = rule(Some("web.meridian"), &[web.address])
        + &rule(None, &[rest])
        + "[[route]]\nlisten = \"[::1]:0\"\n"
        + &backends(&[own]);
    let Balance { bound, .. } = balance(&rules).await;
    let own_address = bound.address_of("[::1]:0".parse().unwrap()).await.unwrap();
    assert_eq!(ask_plain(own_address, b"x").await, "own:x");
    assert_eq!(ask_plain(bound.local_addr, b"x").await, "rest:x");
    assert_eq!(within("TLS", ask_tls(bound.local_addr, &roots, "web.meridian")).await.unwrap(), "web");
}

#[tokio::test]
async fn a_server_that_speaks_first_is_heard_behind_plain_tcp() {
    let greeter = Server::start(|mut socket| async move {
        let _ = socket.write_all(b"220 ready").await;
    })
    .await;
    let Balance { bound, .. } = balance(&rule(None, &[greeter.address])).await;
    let mut greeting = String::new();
    let mut client = TcpStream::connect(bound.local_addr).await.unwrap();
    within("the greeting", client.read_to_string(&mut greeting)).await.unwrap();
    assert_eq!(greeting, "220 ready");
}

#[tokio::test]
async fn the_balancer_is_not_taken_for_a_backend_of_its_own() {
    let free = nobody().await;
    let mut itself = settings(&rule(None, &[free]));
    itself.listen = format!("0.0.0.0:{}", free.port()).parse().unwrap();
    let error = start(itself, &Tasks::new(), &Health::default()).await.unwrap_err();
    assert!(error.to_string().contains("itself"), "{error}");
}
