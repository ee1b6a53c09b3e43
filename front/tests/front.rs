//! The front over real sockets, between clients and stand-ins for Web App nodes and proxies.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use meridian_front::{Front, FrontError, FrontSettings, start};
use meridian_runtime::Tasks;
use meridian_wire::WireError;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

const LIMIT: Duration = Duration::from_secs(15);

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

/// A Web App node that answers with its name and the request as it saw it; `/events` never ends by itself.
async fn web_node(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Tasks::new().spawn("web", async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let service = service_fn(move |request: Request<Incoming>| async move {
                Ok::<_, Infallible>(answer(name, request).await)
            });
            Tasks::new().spawn("web connection", async move {
                let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

async fn answer(name: &str, request: Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
    if request.uri().path() == "/events" {
        let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(4);
        sender.send(Ok(Frame::data(Bytes::from_static(b"data: first\n\n")))).await.unwrap();
        // The body goes on for as long as the client listens.
        Tasks::new().spawn("events", async move {
            sender.closed().await;
        });
        let body = StreamBody::new(tokio_stream::wrappers::ReceiverStream::new(receiver));
        return Response::builder()
            .header("content-type", "text/event-stream")
            .body(BodyExt::boxed(body))
            .unwrap();
    }
    let (parts, body) = request.into_parts();
    let length = body.collect().await.unwrap().to_bytes().len();
    let mut text = format!("{name} {} {} {length}\n", parts.method, parts.uri);
    for (header, value) in &parts.headers {
        text.push_str(&format!("{header}: {}\n", value.to_str().unwrap()));
    }
    let body = Full::new(Bytes::from(text));
    Response::builder().header("keep-alive", "timeout=99").body(BodyExt::boxed(body)).unwrap()
}

/// A proxy that upgrades what it should, says the request's head back on the stream, then echoes.
async fn proxy() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    Tasks::new().spawn("proxy", async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            Tasks::new().spawn("proxy connection", async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if socket.read_buf(&mut head).await.unwrap_or(0) == 0 {
                        return;
                    }
                }
                let upgrade =
                    String::from_utf8_lossy(&head).to_ascii_lowercase().contains("upgrade: websocket");
                let first: &[u8] = if upgrade {
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                      Sec-WebSocket-Protocol: meridian.v1\r\n\r\n"
                } else {
                    b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
                };
                socket.write_all(first).await.unwrap();
                if upgrade {
                    socket.write_all(&head).await.unwrap();
                    let (mut reader, mut writer) = socket.split();
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                    let _ = writer.write_all(b";the end").await;
                }
            });
        }
    });
    address
}

/// An address where nothing listens.
async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn front(web: &[SocketAddr], zone: &[SocketAddr]) -> (Front, Tasks) {
    let tasks = Tasks::new();
    let settings = FrontSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        web: web.to_vec(),
        zones: vec![("desktop-london".into(), zone.to_vec())],
    };
    (start(settings, &tasks).await.unwrap(), tasks)
}

async fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    within("an answer", socket.read_to_string(&mut answer)).await.unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: work.example.org\r\nConnection: close\r\n\r\n")
}

fn upgrade() -> String {
    "GET /desktop-london/a/stream HTTP/1.1\r\nHost: work.example.org:8080\r\nUpgrade: websocket\r\n\
     Connection: Upgrade\r\nSec-WebSocket-Protocol: meridian.v1, meridian.ticket.x\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
        .into()
}

fn error(answer: &str) -> (String, Option<String>) {
    let body = answer.split_once("\r\n\r\n").unwrap().1;
    let envelope: WireError = serde_json::from_str(body).unwrap();
    assert!(envelope.error.hint.is_some());
    (envelope.error.code, envelope.error.hop)
}

#[tokio::test]
async fn requests_reach_the_web_app_with_the_fronts_word_on_where_they_come_from() {
    let (front, _tasks) = front(&[web_node("w").await], &[proxy().await]).await;
    let request = "POST /api/v1/x?y=1 HTTP/1.1\r\nHost: work.example.org\r\nContent-Length: 5\r\nCookie: a=b\r\n\
                   X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\nForwarded: for=6.6.6.6\r\n\
                   TE: trailers\r\nX-Private: 1\r\nConnection: close, X-Private\r\n\r\nhello";
    let (status, answer) = ask(front.local_addr, request).await;
    assert_eq!(status, 200);
    assert!(answer.contains("w POST /api/v1/x?y=1 5\n"), "{answer}");
    for line in [
        "host: work.example.org\n",
        "cookie: a=b\n",
        "x-forwarded-for: 127.0.0.1\n",
        "x-forwarded-proto: http\n",
        "x-forwarded-host: work.example.org\n",
    ] {
        assert!(answer.contains(line), "{line} {answer}");
    }
    for never in ["6.6.6.6", "gopher", "trailers", "x-private", "timeout=99"] {
        assert!(!answer.contains(never), "{never} {answer}");
    }
}

#[tokio::test]
async fn an_endless_body_arrives_piece_by_piece_and_ends_with_the_front() {
    let (front, tasks) = front(&[web_node("w").await], &[proxy().await]).await;
    let mut socket = TcpStream::connect(front.local_addr).await.unwrap();
    socket.write_all(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    within("the first event", async {
        while !heard.windows(11).any(|part| part == b"data: first") {
            assert_ne!(socket.read_buf(&mut heard).await.unwrap(), 0);
        }
    })
    .await;
    assert!(tasks.stop(LIMIT).await);
}

#[tokio::test]
async fn a_web_node_that_is_away_is_passed_over_and_none_is_said_so() {
    let alive = web_node("alive").await;
    let (passing, _tasks) = front(&[nobody().await, alive], &[proxy().await]).await;
    for _ in 0..4 {
        let (status, answer) = ask(passing.local_addr, &get("/")).await;
        assert!(status == 200 && answer.contains("alive GET /"), "{answer}");
    }
    let (lonely, _tasks) = front(&[nobody().await], &[nobody().await]).await;
    let (status, answer) = ask(lonely.local_addr, &get("/")).await;
    assert_eq!((status, error(&answer)), (502, ("web_away".into(), Some("front".into()))));
    let (status, answer) = ask(lonely.local_addr, &get("/desktop-london/x")).await;
    assert_eq!((status, error(&answer)), (502, ("proxy_away".into(), Some("front".into()))));
}

#[tokio::test]
async fn a_stream_goes_to_a_proxy_of_its_zone_and_half_closes() {
    let (front, tasks) = front(&[web_node("w").await], &[nobody().await, proxy().await]).await;
    for _ in 0..2 {
        let mut socket = TcpStream::connect(front.local_addr).await.unwrap();
        socket.write_all(upgrade().as_bytes()).await.unwrap();
        let mut heard = Vec::new();
        within("the upgrade", async {
            while heard.windows(4).filter(|part| part == b"\r\n\r\n").count() < 2 {
                assert_ne!(socket.read_buf(&mut heard).await.unwrap(), 0);
            }
        })
        .await;
        socket.write_all(b"echo me").await.unwrap();
        socket.shutdown().await.unwrap();
        within("the end", socket.read_to_end(&mut heard)).await.unwrap();
        let heard = String::from_utf8(heard).unwrap().to_ascii_lowercase();
        assert!(heard.starts_with("http/1.1 101 switching protocols\r\n"), "{heard}");
        assert!(heard.ends_with("echo me;the end"), "{heard}");
        for line in
            ["host: work.example.org:8080", "x-forwarded-for: 127.0.0.1", "meridian.v1, meridian.ticket.x"]
        {
            assert!(heard.contains(line), "{line} {heard}");
        }
        assert!(!heard.contains("6.6.6.6"));
    }
    let (status, _) = ask(front.local_addr, &get("/desktop-london/a/stream")).await;
    assert_eq!(status, 426, "a proxy's refusal comes through");
    let (status, answer) = ask(front.local_addr, &get("/desktop-londonx/a")).await;
    assert!(status == 200 && answer.contains("w GET"), "only the whole path is a zone's");
    assert!(tasks.stop(LIMIT).await);
}

#[tokio::test]
async fn a_stop_cuts_streams_after_their_time() {
    let (front, tasks) = front(&[web_node("w").await], &[proxy().await]).await;
    let mut socket = TcpStream::connect(front.local_addr).await.unwrap();
    socket.write_all(upgrade().as_bytes()).await.unwrap();
    let mut heard = vec![0; 12];
    within("the upgrade", socket.read_exact(&mut heard)).await.unwrap();
    let (stopped, end) = tokio::join!(tasks.stop(LIMIT), async {
        let mut rest = Vec::new();
        within("the cut", socket.read_to_end(&mut rest)).await
    });
    assert!(stopped);
    drop(end);
    wait_for("the closed listener", || std::net::TcpStream::connect(front.local_addr).is_err()).await;
}

#[tokio::test]
async fn oversized_and_malformed_heads_are_refused() {
    let (front, _tasks) = front(&[web_node("w").await], &[proxy().await]).await;
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "y".repeat(60_000));
    assert_eq!(ask(front.local_addr, &long).await.0, 431);
    assert_eq!(ask(front.local_addr, "GET\r\n\r\n").await.0, 400);
}

#[tokio::test]
async fn it_speaks_tls_with_the_given_certificate() {
    let made = rcgen::generate_simple_self_signed(vec!["work.example.org".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let settings = FrontSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: Some((certificate, key)),
        web: vec![web_node("w").await],
        zones: vec![("/desktop-london".into(), vec![proxy().await])],
    };
    let tasks = Tasks::new();
    let front = start(settings, &tasks).await.unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let connect = || async {
        let socket = TcpStream::connect(front.local_addr).await.unwrap();
        within("the handshake", connector.connect("work.example.org".try_into().unwrap(), socket))
            .await
            .unwrap()
    };
    let mut stream = connect().await;
    stream.write_all(get("/").as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    // hyper closes without close_notify where the client asked for it.
    let _ = within("the answer", stream.read_to_end(&mut heard)).await;
    assert!(String::from_utf8(heard).unwrap().contains("x-forwarded-proto: https\n"));
    let mut stream = connect().await;
    stream.write_all(upgrade().as_bytes()).await.unwrap();
    let mut heard = vec![0; 12];
    within("the upgrade", stream.read_exact(&mut heard)).await.unwrap();
    assert_eq!(heard, b"HTTP/1.1 101");
    stream.write_all(b"echo me").await.unwrap();
    within("the echo", async {
        while !heard.ends_with(b"echo me") {
            assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0);
        }
    })
    .await;
}

#[tokio::test]
async fn settings_that_make_no_sense_are_refused() {
    let good = FrontSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        tls: None,
        web: vec!["127.0.0.1:1".parse().unwrap()],
        zones: Vec::new(),
    };
    let none = FrontSettings { web: Vec::new(), ..good.clone() };
    assert!(matches!(start(none, &Tasks::new()).await, Err(FrontError::NoBackend(_))));
    for path in ["", "/", "api", "/api/"] {
        let zones = vec![(path.to_owned(), good.web.clone())];
        let settings = FrontSettings { zones, ..good.clone() };
        assert!(matches!(start(settings, &Tasks::new()).await, Err(FrontError::Path(_))), "{path}");
    }
    let missing = FrontSettings { tls: Some(("/nowhere".into(), "/nowhere".into())), ..good };
    assert!(matches!(start(missing, &Tasks::new()).await, Err(FrontError::Tls(_))));
}
