//! The socket on which the agent meets the helper: accepts connections and carries messages, decides nothing.
//!
//! Every connection is told whether the workspace is ready, at once and upon each change, and each new clipboard
//! text. What a slow reader has not taken yet is replaced by what is newer, so a connection holds at most one
//! message of each kind. A few connections may be open at a time (an agent that restarts overlaps with its former
//! self, and `health` asks here too); one too many closes the oldest, so a dead one can never keep an agent out.

use std::collections::VecDeque;
use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::fs::Mode;

use crate::report;
use crate::wire::{self, FromAgent, TEXT_LIMIT, ToAgent};

const CONNECTION_LIMIT: usize = 4;

/// How long a reader may leave a full socket buffer alone before its connection is given up.
const WRITE_LIMIT: Duration = Duration::from_secs(5);

/// How long to leave `accept` alone after it failed, as it does at once and again when descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Whether a person would see something, and if not, what is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    Waiting(String),
}

/// Takes the texts that the agent wants on the workspace's clipboard.
pub(crate) type TextSink = Box<dyn Fn(String) + Send + Sync>;

/// The agent's connections and what they are to be told.
pub(crate) struct Hub {
    state: Mutex<State>,
}

struct State {
    readiness: Readiness,
    connections: VecDeque<Arc<Connection>>,
}

struct Connection {
    stream: UnixStream,
    pending: Mutex<Pending>,
    changed: Condvar,
}

#[derive(Default)]
struct Pending {
    readiness: Option<Readiness>,
    text: Option<Arc<str>>,
    closed: bool,
}

/// Listens at `path`, readable and writable by this user only. To be called before other threads run, because the
/// mask that makes the socket private belongs to the whole process.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mask = rustix::process::umask(Mode::from_bits_retain(0o177));
    let listener = UnixListener::bind(path);
    rustix::process::umask(mask);
    listener
}

/// Accepts connections for as long as the process lives.
pub(crate) fn serve(listener: &UnixListener, hub: &Arc<Hub>, texts: TextSink) -> io::Result<()> {
    let texts = Arc::new(texts);
    loop {
        let opened =
            listener.accept().and_then(|(stream, _)| open(stream, Arc::clone(hub), Arc::clone(&texts)));
        if let Err(error) = opened {
            report(&format_args!("a connection of the agent's could not be opened: {error}"));
            thread::sleep(ACCEPT_PAUSE);
        }
    }
}

fn open(stream: UnixStream, hub: Arc<Hub>, texts: Arc<TextSink>) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_LIMIT))?;
    let reading = stream.try_clone()?;
    let connection = Arc::new(Connection { stream, pending: Mutex::default(), changed: Condvar::new() });
    let writer = Arc::clone(&connection);
    thread::Builder::new().name("agent-writer".into()).spawn(move || writer.write_pending())?;
    hub.join(Arc::clone(&connection));
    let reader = thread::Builder::new().name("agent-reader".into());
    let leaving = Arc::clone(&connection);
    let started = reader.spawn(move || {
        read_messages(reading, &texts);
        hub.leave(&leaving);
    });
    // Without a reader nobody would notice that this connection has ended.
    started.map(drop).inspect_err(|_| connection.close())
}

fn read_messages(stream: UnixStream, texts: &TextSink) {
    let mut reader = BufReader::new(stream);
    while let Ok(Some(line)) = wire::read_line(&mut reader) {
        match serde_json::from_slice(&line) {
            Ok(FromAgent::Text { text }) if text.len() <= TEXT_LIMIT => texts(text),
            Ok(FromAgent::Text { .. }) => report(&"a text for the clipboard was too long and is dropped"),
            Ok(FromAgent::Unknown) => {}
            Err(error) => {
                report(&format_args!("the agent's message is not understood: {error}"));
                return;
            }
        }
    }
}

impl Hub {
    pub(crate) fn new(reason: &str) -> Self {
        let readiness = Readiness::Waiting(reason.into());
        Self { state: Mutex::new(State { readiness, connections: VecDeque::new() }) }
    }

    /// Tells every connection, if this is news.
    pub(crate) fn set_readiness(&self, readiness: Readiness) {
        let mut state = lock(&self.state);
        if state.readiness == readiness {
            return;
        }
        state.readiness = readiness.clone();
        for connection in &state.connections {
            connection.update(|pending| pending.readiness = Some(readiness.clone()));
        }
    }

    /// Tells every connection of a new text on the workspace's clipboard.
    pub(crate) fn send_text(&self, text: &Arc<str>) {
        for connection in &lock(&self.state).connections {
            connection.update(|pending| pending.text = Some(Arc::clone(text)));
        }
    }

    fn join(&self, connection: Arc<Connection>) {
        let mut state = lock(&self.state);
        if state.connections.len() >= CONNECTION_LIMIT
            && let Some(oldest) = state.connections.pop_front()
        {
            oldest.close();
        }
        let readiness = state.readiness.clone();
        connection.update(|pending| pending.readiness = Some(readiness));
        state.connections.push_back(connection);
    }

    fn leave(&self, connection: &Arc<Connection>) {
        connection.close();
        lock(&self.state).connections.retain(|other| !Arc::ptr_eq(other, connection));
    }
}

impl Connection {
    fn update(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut lock(&self.pending));
        self.changed.notify_one();
    }

    /// Ends both threads of the connection.
    fn close(&self) {
        self.update(|pending| pending.closed = true);
        // It fails when the peer has closed already, which is as good.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn write_pending(&self) {
        while let Some(messages) = self.next_messages() {
            for line in messages.iter().filter_map(ToAgent::to_line) {
                if (&self.stream).write_all(&line).is_err() {
                    // The reader sees the end and takes the connection off the hub.
                    self.close();
                    return;
                }
            }
        }
    }

    /// Waits for something to say; nothing once the connection is closed.
    fn next_messages(&self) -> Option<Vec<ToAgent>> {
        let is_empty =
            |pending: &mut Pending| !pending.closed && pending.readiness.is_none() && pending.text.is_none();
        let pending = self.changed.wait_while(lock(&self.pending), is_empty);
        let mut pending = pending.unwrap_or_else(PoisonError::into_inner);
        if pending.closed {
            return None;
        }
        let readiness = pending.readiness.take().map(ToAgent::from);
        let text = pending.text.take().map(|text| ToAgent::Text { text: text.as_ref().into() });
        Some(readiness.into_iter().chain(text).collect())
    }
}

impl From<Readiness> for ToAgent {
    fn from(readiness: Readiness) -> Self {
        match readiness {
            Readiness::Ready => Self::Ready { ready: true, reason: None },
            Readiness::Waiting(reason) => Self::Ready { ready: false, reason: Some(reason) },
        }
    }
}

/// No invariant spans an unlock here, so a thread that panicked has left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    struct Bench {
        _directory: tempfile::TempDir,
        path: std::path::PathBuf,
        hub: Arc<Hub>,
        texts: mpsc::Receiver<String>,
    }

    fn bench() -> Bench {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("helper.sock");
        let listener = listen(&path).unwrap();
        let hub = Arc::new(Hub::new("starting"));
        let (sender, texts) = mpsc::sync_channel(8);
        let serving = Arc::clone(&hub);
        thread::spawn(move || serve(&listener, &serving, Box::new(move |text| sender.send(text).unwrap())));
        Bench { _directory: directory, path, hub, texts }
    }

    fn connect(bench: &Bench) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(&bench.path).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        BufReader::new(stream)
    }

    fn next_line(reader: &mut BufReader<UnixStream>) -> String {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        line
    }

    #[test]
    fn a_connection_learns_readiness_at_once_and_its_changes() {
        let bench = bench();
        let mut agent = connect(&bench);
        assert_eq!(next_line(&mut agent), "{\"type\":\"ready\",\"ready\":false,\"reason\":\"starting\"}\n");
        bench.hub.set_readiness(Readiness::Ready);
        assert_eq!(next_line(&mut agent), "{\"type\":\"ready\",\"ready\":true}\n");
        bench.hub.set_readiness(Readiness::Ready);
        bench.hub.send_text(&"copied".into());
        assert_eq!(next_line(&mut agent), "{\"type\":\"text\",\"text\":\"copied\"}\n");
    }

    #[test]
    fn texts_of_the_agent_arrive_and_oversized_ones_do_not() {
        let bench = bench();
        let mut agent = connect(&bench);
        let long = "x".repeat(TEXT_LIMIT + 1);
        let lines =
            format!("{{\"type\":\"text\",\"text\":\"{long}\"}}\n{{\"type\":\"text\",\"text\":\"short\"}}\n");
        agent.get_mut().write_all(lines.as_bytes()).unwrap();
        assert_eq!(bench.texts.recv_timeout(LIMIT).unwrap(), "short");
    }

    #[test]
    fn rubbish_ends_the_connection_and_only_that_one() {
        let bench = bench();
        let mut broken = connect(&bench);
        let mut other = connect(&bench);
        next_line(&mut broken);
        next_line(&mut other);
        broken.get_mut().write_all(b"rubbish\n").unwrap();
        assert_eq!(next_line(&mut broken), "");
        bench.hub.set_readiness(Readiness::Ready);
        assert_eq!(next_line(&mut other), "{\"type\":\"ready\",\"ready\":true}\n");
    }

    #[test]
    fn the_newest_connection_wins_over_the_oldest_of_too_many() {
        let bench = bench();
        let mut oldest = connect(&bench);
        next_line(&mut oldest);
        let mut later: Vec<_> = (0..CONNECTION_LIMIT).map(|_| connect(&bench)).collect();
        for reader in &mut later {
            assert!(next_line(reader).contains("ready"));
        }
        assert_eq!(next_line(&mut oldest), "");
    }

    #[test]
    fn the_socket_is_for_this_user_only() {
        use std::os::unix::fs::PermissionsExt;
        let bench = bench();
        assert_eq!(std::fs::metadata(&bench.path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
