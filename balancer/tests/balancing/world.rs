//! Backends of many kinds, a balancer before them, and clients that ask.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use meridian_balancer::{BoundBalancer, start};
use meridian_runtime::{Health, Tasks};
use meridian_settings::BalanceSettings;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer,
    server::WebPkiClientVerifier,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what} took longer than {LIMIT:?}"))
}

pub(crate) async fn wait_for(what: &str, mut seen: impl FnMut() -> bool) {
    let start = Instant::now();
    while !seen() {
        assert!(start.elapsed() < LIMIT, "{what} did not come within {LIMIT:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Something that listens until it is dropped; connections that it has go on then.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    listening: tokio::task::JoinHandle<()>,
    connections: Tasks,
}

impl Server {
    pub(crate) async fn start<F, S>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        Self::start_at("127.0.0.1:0".parse().unwrap(), serve).await
    }

    pub(crate) async fn start_at<F, S>(address: SocketAddr, serve: F) -> Self
    where
        F: Fn(TcpStream) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Tasks::new();
        let tasks = connections.clone();
        let listening = connections.spawn("backend", async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                tasks.spawn_until_stop("backend connection", serve(socket));
            }
        });
        Self { address, listening, connections }
    }

    /// Takes no more connections; those that there are go on.
    pub(crate) async fn stop_listening(&mut self) {
        self.listening.abort();
        let _ = (&mut self.listening).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.listening.abort();
        let connections = self.connections.clone();
        // Cancels; nobody waits for them.
        connections.stopping().cancel();
    }
}

/// Says its name and then what it hears, when the other end half-closes.
pub(crate) async fn plain_backend(name: &'static str) -> SocketAddr {
    let server = Server::start(move |mut socket| async move {
        let mut heard = Vec::new();
        if socket.read_to_end(&mut heard).await.is_ok() {
            let _ = socket.write_all(&[name.as_bytes(), b":", &heard].concat()).await;
        }
    })
    .await;
    let address = server.address;
    std::mem::forget(server);
    address
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(name: &'static str, mut stream: S) {
    let mut piece = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        if stream.write_all(&[name.as_bytes(), b":", &piece[..count]].concat()).await.is_err() {
            return;
        }
    }
}

/// Answers every piece at once with its name and the piece, as long as the connection lives.
pub(crate) async fn echo_backend(name: &'static str) -> Server {
    Server::start(move |socket| echo(name, socket)).await
}

pub(crate) async fn echo_backend_at(address: SocketAddr, name: &'static str) -> Server {
    Server::start_at(address, move |socket| echo(name, socket)).await
}

/// A certificate of its own for a server name, and what trusts it.
pub(crate) fn tls_of(server_name: &str, roots: &mut RootCertStore) -> TlsAcceptor {
    let made = rcgen::generate_simple_self_signed(vec![server_name.to_owned()]).unwrap();
    roots.add(made.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A TLS backend that answers its name.
pub(crate) async fn tls_backend(name: &'static str, roots: &mut RootCertStore, server_name: &str) -> Server {
    let acceptor = tls_of(server_name, roots);
    Server::start(move |socket| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(socket).await {
                let _ = stream.write_all(name.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        }
    })
    .await
}

/// Mutual TLS: whoever brings no certificate is let go after the handshake, as node listeners do.
/// Counts those who came.
pub(crate) async fn demanding_backend(roots: &mut RootCertStore, came: Arc<AtomicUsize>) -> Server {
    let made = rcgen::generate_simple_self_signed(vec!["web.meridian".to_owned()]).unwrap();
    roots.add(made.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let judge = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(judge.build().unwrap())
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::start(move |socket| {
        let (acceptor, came) = (acceptor.clone(), came.clone());
        async move {
            drop(acceptor.accept(socket).await);
            came.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await
}

/// What an HTTP backend answers just now: status and body.
pub(crate) type Answer = Arc<Mutex<(u16, &'static str)>>;

async fn answer_http<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: Answer) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.unwrap_or(0) == 0 {
            return;
        }
    }
    let (status, body) = *answer.lock().unwrap();
    let status = if head.starts_with(b"GET /api/__healthcheck ") { status } else { 404 };
    let text = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// Answers `/api/__healthcheck` as told.
pub(crate) async fn http_backend(answer: Answer) -> Server {
    Server::start(move |socket| answer_http(socket, answer.clone())).await
}

pub(crate) async fn https_backend(answer: Answer) -> Server {
    let acceptor = tls_of("web.meridian", &mut RootCertStore::empty());
    Server::start(move |socket| {
        let (acceptor, answer) = (acceptor.clone(), answer.clone());
        async move {
            if let Ok(stream) = acceptor.accept(socket).await {
                answer_http(stream, answer).await;
            }
        }
    })
    .await
}

/// An address where nothing listens.
pub(crate) async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// An address where dials are neither taken nor refused: its queue is full. Nothing may be dropped while it must hold.
pub(crate) async fn black_hole() -> (SocketAddr, impl Sized) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let filler = TcpStream::connect(address).await.unwrap();
    (address, (listener, filler))
}

/// A balancer on a free port; `text` is the rest of its configuration.
pub(crate) fn settings(text: &str) -> BalanceSettings {
    toml::from_str(&format!("listen = \"127.0.0.1:0\"\ndrain_wait_s = 1\nhello_wait_s = 1\n{text}")).unwrap()
}

pub(crate) struct Balance {
    pub(crate) bound: BoundBalancer,
    pub(crate) tasks: Tasks,
    pub(crate) health: Health,
}

pub(crate) async fn balance(text: &str) -> Balance {
    let (tasks, health) = (Tasks::new(), Health::default());
    let bound = start(settings(text), &tasks, &health).await.unwrap();
    Balance { bound, tasks, health }
}

/// A rule's backends, as written in a configuration.
pub(crate) fn backends(addresses: &[SocketAddr]) -> String {
    let each: Vec<String> =
        addresses.iter().map(|address| format!("{{ address = \"{address}\" }}")).collect();
    format!("backend = [{}]\n", each.join(", "))
}

pub(crate) async fn ask_tls(
    address: SocketAddr,
    roots: &RootCertStore,
    name: &str,
) -> std::io::Result<String> {
    let socket = TcpStream::connect(address).await?;
    ask_tls_on(socket, roots, name).await
}

pub(crate) async fn ask_tls_on(
    socket: TcpStream,
    roots: &RootCertStore,
    name: &str,
) -> std::io::Result<String> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let name = name.to_owned().try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, socket).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Says all at once and hears all that comes back; a refused connection may be reset.
pub(crate) async fn ask_plain(address: SocketAddr, words: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let _ = socket.write_all(words).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let _ = within("the answer", socket.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

/// A connection to an echoing backend that stays open.
pub(crate) struct Talk(pub(crate) TcpStream);

impl Talk {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn say(&mut self, words: &str) -> std::io::Result<String> {
        self.0.write_all(words.as_bytes()).await?;
        let mut piece = [0; 1024];
        let count = within("an echo", self.0.read(&mut piece)).await?;
        Ok(String::from_utf8_lossy(&piece[..count]).into_owned())
    }
}

/// A new connection's backend, by the name that it echoes with; empty when there is none.
pub(crate) async fn backend_of(address: SocketAddr) -> String {
    let said = Talk::open(address).await.say("x").await.unwrap_or_default();
    said.trim_end_matches(":x").to_owned()
}

/// A rule with nothing but a server name (none: everything) and its backends.
pub(crate) fn rule(sni: Option<&str>, addresses: &[SocketAddr]) -> String {
    let sni = sni.map(|sni| format!("sni = \"{sni}\"\n")).unwrap_or_default();
    format!("[[route]]\n{sni}{}", backends(addresses))
}
