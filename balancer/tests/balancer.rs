//! The balancer over real sockets: what reaches which backend, and what is refused.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use meridian_balancer::{BoundBalancer, Refused, start};
use meridian_runtime::{Health, Tasks};
use meridian_settings::{BackendSettings, BalanceSettings, RouteSettings};
use rustls::{ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

const LIMIT: Duration = Duration::from_secs(10);

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what} took longer than {LIMIT:?}"))
}

async fn wait_for(what: &str, mut seen: impl FnMut() -> bool) {
    let start = Instant::now();
    while !seen() {
        assert!(start.elapsed() < LIMIT, "{what} did not come within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A plain backend that says its name and then what it hears, until the other end half-closes.
async fn plain_backend(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Tasks::new().spawn("backend", async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            Tasks::new().spawn("backend connection", async move {
                let mut heard = Vec::new();
                if socket.read_to_end(&mut heard).await.is_ok() {
                    let _ = socket.write_all(&[name.as_bytes(), b":", &heard].concat()).await;
                }
            });
        }
    });
    address
}

/// A TLS backend that answers its name.
async fn tls_backend(name: &'static str, roots: &mut RootCertStore, server_name: &str) -> SocketAddr {
    let made = rcgen::generate_simple_self_signed(vec![server_name.to_owned()]).unwrap();
    roots.add(made.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Tasks::new().spawn("backend", async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            Tasks::new().spawn("backend connection", async move {
                if let Ok(mut stream) = acceptor.accept(socket).await {
                    let _ = stream.write_all(name.as_bytes()).await;
                    let _ = stream.shutdown().await;
                }
            });
        }
    });
    address
}

fn route(sni: Option<&str>, backends: &[SocketAddr]) -> RouteSettings {
    RouteSettings {
        sni: sni.map(str::to_owned),
        backends: backends.iter().map(|address| BackendSettings { address: address.to_string() }).collect(),
    }
}

fn settings(routes: Vec<RouteSettings>) -> BalanceSettings {
    BalanceSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        routes,
        ops_listen: None,
        hello_wait_s: 1,
        dial_wait_s: 1,
        check_period_s: 1,
        drain_wait_s: 1,
        max_connections: 100,
    }
}

async fn balance(routes: Vec<RouteSettings>) -> (BoundBalancer, Tasks, Health) {
    let (tasks, health) = (Tasks::new(), Health::default());
    let bound = start(settings(routes), &tasks, &health).await.unwrap();
    (bound, tasks, health)
}

async fn ask_tls(address: SocketAddr, roots: &RootCertStore, name: &str) -> std::io::Result<String> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let socket = TcpStream::connect(address).await?;
    let name = name.to_owned().try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn ask_plain(address: SocketAddr, words: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(words).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = String::new();
    // A refused connection may be reset.
    let _ = within("the answer", socket.read_to_string(&mut answer)).await;
    answer
}

/// An address where nothing listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn tls_goes_by_its_server_name_and_is_passed_through() {
    let mut roots = RootCertStore::empty();
    let web = tls_backend("web", &mut roots, "web.meridian").await;
    let agent = tls_backend("agent", &mut roots, "a.agent.z.meridian").await;
    let routes = vec![route(Some("web.meridian"), &[web]), route(Some("*.agent.z.meridian"), &[agent])];
    let (bound, _tasks, _health) = balance(routes).await;
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
    let (bound, _tasks, _health) =
        balance(vec![route(Some("web.meridian"), &[web]), route(None, &[rest])]).await;
    assert_eq!(ask_plain(bound.local_addr, b"hello").await, "rest:hello");
    let (bound, _tasks, _health) = balance(vec![route(None, &[rest])]).await;
    assert_eq!(ask_plain(bound.local_addr, b"again").await, "rest:again");
}

#[tokio::test]
async fn rubbish_and_plain_tcp_without_a_rule_are_refused() {
    let rest = plain_backend("rest").await;
    let (bound, _tasks, _health) = balance(vec![route(Some("web.meridian"), &[rest])]).await;
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
    let (bound, _tasks, _health) = balance(vec![route(Some("web.meridian"), &[rest])]).await;
    let mut socket = TcpStream::connect(bound.local_addr).await.unwrap();
    socket.write_all(&[0x16, 3]).await.unwrap();
    let count = within("the end of the connection", socket.read(&mut [0; 8])).await.unwrap_or(0);
    assert_eq!((count, bound.metrics.refused(Refused::SlowHello)), (0, 1));
}

#[tokio::test]
async fn a_dead_backend_costs_no_client_anything() {
    let alive = plain_backend("alive").await;
    let (bound, _tasks, health) = balance(vec![route(None, &[nobody().await, alive])]).await;
    for _ in 0..6 {
        assert_eq!(ask_plain(bound.local_addr, b"x").await, "alive:x");
    }
    assert!(health.reasons().is_empty());
}

#[tokio::test]
async fn when_all_look_dead_they_are_still_tried() {
    let (first, second) = (nobody().await, nobody().await);
    let (bound, _tasks, health) = balance(vec![route(None, &[first, second])]).await;
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
    let routes = vec![route(Some("a.agent.z.meridian"), &[nobody().await]), route(None, &[alive])];
    let (bound, _tasks, health) = balance(routes).await;
    assert_eq!(ask_plain(bound.local_addr, b"x").await, "alive:x");
    assert!(ask_tls(bound.local_addr, &RootCertStore::empty(), "a.agent.z.meridian").await.is_err());
    wait_for("the refusal", || bound.metrics.refused(Refused::NoBackend) == 1).await;
    assert!(health.reasons().is_empty());
}

#[tokio::test]
async fn connections_beyond_the_bound_are_refused() {
    let rest = plain_backend("rest").await;
    let (tasks, health) = (Tasks::new(), Health::default());
    let few = BalanceSettings { max_connections: 1, ..settings(vec![route(None, &[rest])]) };
    let bound = start(few, &tasks, &health).await.unwrap();
    let _first = TcpStream::connect(bound.local_addr).await.unwrap();
    wait_for("the first connection", || bound.metrics.open() == 1).await;
    assert_eq!(ask_plain(bound.local_addr, b"x").await, "");
    wait_for("the refusal", || bound.metrics.refused(Refused::Full) == 1).await;
}

#[tokio::test]
async fn a_stop_gives_connections_their_time_and_then_cuts_them() {
    let rest = plain_backend("rest").await;
    let (bound, tasks, _health) = balance(vec![route(None, &[rest])]).await;
    let mut client = TcpStream::connect(bound.local_addr).await.unwrap();
    wait_for("the connection", || bound.metrics.open() == 1).await;
    let mut byte = [0; 1];
    let (stopped, count) = tokio::join!(tasks.stop(LIMIT), client.read(&mut byte));
    assert!(stopped);
    assert_eq!(count.unwrap_or(0), 0);
    assert!(TcpStream::connect(bound.local_addr).await.is_err(), "the listener is gone");
}
