//! A proxy in front of PostgreSQL that understands where its messages begin and end.
//!
//! It counts what costs a turn-around (a `ReadyForQuery` from the server ends each), and breaks on command: it cuts, refuses,
//! stalls, and loses an answer after the server has committed, which no proxy of mere bytes can do at the right moment.
//! It speaks no TLS: a client that asks is told no.

mod message;
mod relay;

use std::{
    ops::Sub,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use meridian_runtime::Tasks;
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
};
use tokio_postgres::{Config, config::Host};
use tokio_util::sync::CancellationToken;

use crate::database::percent;

/// Closing or opening the listener waits for nothing but its task's turn.
const SWITCH_LIMIT: Duration = Duration::from_secs(10);

/// What went over the wire, startup and authentication apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that the server took.
    pub connections: u64,
    /// Simple queries.
    pub queries: u64,
    pub parses: u64,
    pub executes: u64,
    /// `Sync`: each makes the server answer and commit what has no transaction of its own.
    pub syncs: u64,
    pub flushes: u64,
    /// `ReadyForQuery`: one per turn-around.
    pub ready: u64,
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            connections: self.connections - earlier.connections,
            queries: self.queries - earlier.queries,
            parses: self.parses - earlier.parses,
            executes: self.executes - earlier.executes,
            syncs: self.syncs - earlier.syncs,
            flushes: self.flushes - earlier.flushes,
            ready: self.ready - earlier.ready,
        }
    }
}

/// Which answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lose {
    Next,
    Commit,
    /// That of the statement after so many, and every one from then on.
    After(u64),
    All,
}

/// What all connections see.
#[derive(Debug)]
struct State {
    counts: Mutex<Counts>,
    lose: Mutex<Option<Lose>>,
    stalled: watch::Sender<bool>,
    /// How long the end of each turn-around is held back.
    delay: Mutex<Duration>,
    /// What was asked for, and what is so.
    refusing: watch::Sender<bool>,
    refused: watch::Sender<bool>,
    /// Replaced at each cut.
    cut: Mutex<CancellationToken>,
}

impl State {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn losing(&self) -> Option<Lose> {
        *self.lose.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True for the connection that loses its answer; `completes` says whether that has the end of a command, of this one or of any.
    fn loses(&self, completes: impl Fn(Option<&[u8]>) -> bool) -> bool {
        let mut armed = self.lose.lock().unwrap_or_else(PoisonError::into_inner);
        match armed.as_mut() {
            None => false,
            Some(Lose::All) => true,
            // What only prepares a statement passes until then.
            Some(Lose::After(_)) if !completes(None) => false,
            Some(Lose::After(0)) => {
                *armed = Some(Lose::All);
                true
            }
            Some(Lose::After(left)) => {
                *left -= 1;
                false
            }
            Some(Lose::Next) => armed.take().is_some(),
            Some(Lose::Commit) => completes(Some(b"COMMIT\0")) && armed.take().is_some(),
        }
    }

    fn delay(&self) -> Duration {
        *self.delay.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cut_token(&self) -> CancellationToken {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The running proxy. It ends with its value; open connections are then cut.
#[derive(Debug)]
pub struct WireProxy {
    state: Arc<State>,
    config: Config,
    url: String,
    stop: tokio_util::sync::DropGuard,
    _directory: Option<TempDir>,
}

impl WireProxy {
    /// A proxy to the server that `target` names, on a unix socket.
    ///
    /// # Errors
    /// When no socket can be made.
    pub async fn on_unix(target: &Config, tasks: &Tasks) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("wire-").tempdir()?;
        let address = Address::Unix(directory.path().join(".s.PGSQL.5432"));
        let (mut config, host) = (without_host(target), percent(directory.path()));
        config.host_path(directory.path()).port(5432);
        Self::start(address, config, &format!("{host}:5432"), target, Some(directory), tasks).await
    }

    /// The same on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn on_tcp(target: &Config, tasks: &Tasks) -> Result<Self> {
        let port = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?.port();
        let mut config = without_host(target);
        config.host("127.0.0.1").port(port);
        Self::start(Address::Tcp(port), config, &format!("127.0.0.1:{port}"), target, None, tasks).await
    }

    async fn start(
        address: Address,
        config: Config,
        host: &str,
        target: &Config,
        directory: Option<TempDir>,
        tasks: &Tasks,
    ) -> Result<Self> {
        let target = Target::of(target)?;
        let url = format!(
            "postgresql://{}@{host}/{}",
            config.get_user().unwrap_or_default(),
            config.get_dbname().unwrap_or_default()
        );
        let state = Arc::new(State {
            counts: Mutex::default(),
            lose: Mutex::default(),
            stalled: watch::Sender::new(false),
            delay: Mutex::default(),
            refusing: watch::Sender::new(false),
            refused: watch::Sender::new(false),
            cut: Mutex::default(),
        });
        let stop = tasks.stopping().child_token();
        let listener = address.listen().await?;
        // Subscribed here, so that no order given before the task's first turn is missed.
        let refusing = state.refusing.subscribe();
        let entry = Entry { listener, address, refusing };
        let accepting = accept(entry, target, Arc::clone(&state), stop.clone(), tasks.clone());
        tasks.spawn("wire proxy", accepting);
        Ok(Self { state, config, url, stop: stop.drop_guard(), _directory: directory })
    }

    /// How to connect through it, with the target's user and database.
    #[must_use]
    pub fn config(&self) -> Config {
        self.config.clone()
    }

    /// As for `--database-url`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything since the start; subtract two to measure what lies between.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.state.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts every open connection, in the middle of whatever it carries. New ones are taken.
    pub fn cut(&self) {
        let mut cut = self.state.cut.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *cut).cancel();
    }

    /// Takes no new connections, from the return on: the kernel refuses them. Open ones go on.
    ///
    /// # Errors
    /// When the proxy has stopped.
    pub async fn refuse(&self) -> Result<()> {
        self.set_refusing(true).await
    }

    /// Takes connections again.
    ///
    /// # Errors
    /// When the proxy has stopped.
    pub async fn accept(&self) -> Result<()> {
        self.set_refusing(false).await
    }

    async fn set_refusing(&self, refuse: bool) -> Result<()> {
        let mut refused = self.state.refused.subscribe();
        self.state.refusing.send_replace(refuse);
        tokio::time::timeout(SWITCH_LIMIT, refused.wait_for(|refused| *refused == refuse)).await??;
        Ok(())
    }

    /// Passes nothing on in either direction; connections stay open.
    pub fn stall(&self) {
        self.state.stalled.send_replace(true);
    }

    /// Passes on again, what was held back first.
    pub fn resume(&self) {
        self.state.stalled.send_replace(false);
    }

    /// Holds each answer back for this long from now on, as if the server were so far away: once for a turn-around, however many messages
    /// it has. Making a connection takes no longer.
    pub fn delay(&self, by: Duration) {
        *self.state.delay.lock().unwrap_or_else(PoisonError::into_inner) = by;
    }

    /// Loses the next answer on any connection: the server does all that was asked and commits, then the connection is cut before the
    /// client hears of it.
    pub fn lose_next_answer(&self) {
        *self.state.lose.lock().unwrap_or_else(PoisonError::into_inner) = Some(Lose::Next);
    }

    /// The same for the next answer that carries out a `COMMIT`.
    pub fn lose_next_commit(&self) {
        *self.state.lose.lock().unwrap_or_else(PoisonError::into_inner) = Some(Lose::Commit);
    }

    /// Passes the answers of so many statements on, and loses every answer after them, on any connection: for the client it is as if it had
    /// died at that moment, with its last statement carried out. What only prepares a statement is not counted.
    pub fn lose_answers_after(&self, statements: u64) {
        *self.state.lose.lock().unwrap_or_else(PoisonError::into_inner) = Some(Lose::After(statements));
    }

    /// Whether an answer that should be lost was lost.
    #[must_use]
    pub fn lost(&self) -> bool {
        self.state.losing().is_none()
    }

    /// Stops it at once, as dropping does.
    pub fn stop(self) {
        drop(self.stop);
    }
}

/// The target's user, database and options, with no host.
fn without_host(target: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = target.get_user() {
        config.user(user);
    }
    if let Some(password) = target.get_password() {
        config.password(password);
    }
    if let Some(database) = target.get_dbname() {
        config.dbname(database);
    }
    if let Some(options) = target.get_options() {
        config.options(options);
    }
    config
}

#[derive(Clone, Debug)]
enum Address {
    Unix(PathBuf),
    Tcp(u16),
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Address {
    async fn listen(&self) -> Result<Listener> {
        match self {
            Self::Unix(path) => {
                // What is left of the listener that refused.
                let _ = std::fs::remove_file(path);
                Ok(Listener::Unix(UnixListener::bind(path)?))
            }
            Self::Tcp(port) => Ok(Listener::Tcp(TcpListener::bind(("127.0.0.1", *port)).await?)),
        }
    }
}

/// Where the server is: the first host of a configuration.
#[derive(Clone, Debug)]
enum Target {
    Unix(PathBuf),
    Tcp(String, u16),
}

impl Target {
    fn of(config: &Config) -> Result<Self> {
        let port = config.get_ports().first().copied().unwrap_or(5432);
        match config.get_hosts().first() {
            Some(Host::Unix(directory)) => Ok(Self::Unix(directory.join(format!(".s.PGSQL.{port}")))),
            Some(Host::Tcp(host)) => Ok(Self::Tcp(host.clone(), port)),
            None => bail!("the target names no host"),
        }
    }
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

impl Listener {
    async fn next(&self) -> std::io::Result<Box<dyn Socket>> {
        match self {
            Self::Unix(listener) => Ok(Box::new(listener.accept().await?.0)),
            Self::Tcp(listener) => {
                let (socket, _) = listener.accept().await?;
                socket.set_nodelay(true)?;
                Ok(Box::new(socket))
            }
        }
    }
}

impl Target {
    async fn dial(&self) -> std::io::Result<Box<dyn Socket>> {
        match self {
            Self::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Self::Tcp(host, port) => {
                let socket = TcpStream::connect((host.as_str(), *port)).await?;
                socket.set_nodelay(true)?;
                Ok(Box::new(socket))
            }
        }
    }
}

struct Entry {
    listener: Listener,
    address: Address,
    refusing: watch::Receiver<bool>,
}

async fn accept(entry: Entry, target: Target, state: Arc<State>, stop: CancellationToken, tasks: Tasks) {
    let Entry { listener, address, mut refusing } = entry;
    let mut open = Some(listener);
    loop {
        let taken = async {
            match &open {
                Some(listener) => listener.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            _ = refusing.changed() => {
                let refuse = *refusing.borrow_and_update();
                // A dropped listener is what makes the kernel refuse.
                open = if refuse { None } else { address.listen().await.ok() };
                state.refused.send_replace(open.is_none());
            }
            taken = taken => {
                let Ok(client) = taken else { continue };
                let (target, state, stop) = (target.clone(), Arc::clone(&state), stop.clone());
                tasks.spawn("wire proxy connection", async move {
                    let cut = state.cut_token();
                    // Either side may leave at any time; that is what this proxy is for.
                    let relayed = async { relay::relay(client, target.dial().await.context("the server")?, &state).await };
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = cut.cancelled() => {}
                        _ = relayed => {}
                    }
                });
            }
        }
    }
}
