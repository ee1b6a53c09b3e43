//! A workspace's life: the display server first, then the program on it; when either ends, so does the workspace.
//!
//! ```text
//! starting --display up--> running --program ends--> over (its exit status)
//!     |                       |----display ends----> over (EXIT_DISPLAY)
//!     |-----a signal----------'----a signal--------> stopping --program ends, or the grace does--> over
//! ```
//!
//! The container's init (`docker run --init`) reaps what is orphaned here and ends what is left when this process
//! does, so only the two processes started here are waited for.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::agent_socket::{self, Hub};
use crate::clipboard::Offers;
use crate::home;
use crate::options::{HELPER_SOCKET, RFB_SOCKET, Run, STREAM_DIRECTORY};
use crate::readiness::Watch;
use crate::windows::Expected;
use crate::{report, x11};

/// The workspace ended because its display could not be had (any longer).
pub(crate) const EXIT_DISPLAY: u8 = 70;

/// A program killed by signal n ends a workspace with this plus n, as a shell would.
const EXIT_SIGNALLED: u8 = 128;

/// What a program that is asked to end gets to put its things in order; `docker stop` allows ten seconds in all.
const STOP_GRACE: Duration = Duration::from_secs(6);

/// Between losing the X connection and trying again, if the display server is still there.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Where X servers put their sockets.
const X_SOCKETS: &str = "/tmp/.X11-unix";

const DISPLAY_SERVER: &str = "Xvnc";

/// * One unix socket for viewers and no port of any kind, neither for RFB nor for X.
/// * No blacklist: a few connections that close early must not lock out the agent, the only peer there is.
/// * Cut text is off, and no one inside can turn it on again: the clipboard goes through the agent's policy.
/// * Viewers share the display, and a viewer sets its size.
/// * The screen never blanks and the server never resets when its last program closes.
const DISPLAY_OPTIONS: &[&str] = &[
    "-rfbunixpath",
    RFB_SOCKET,
    "-rfbunixmode",
    "0600",
    "-rfbport",
    "-1",
    "-nolisten",
    "tcp",
    "-nolisten",
    "local",
    "-SecurityTypes",
    "None",
    "-UseBlacklist=0",
    "-SendCutText=0",
    "-AcceptCutText=0",
    "-AllowOverride",
    "",
    "-AlwaysShared",
    "-AcceptSetDesktopSize=1",
    "-depth",
    "24",
    "-dpi",
    "96",
    "-s",
    "0",
    "-noreset",
    "-Log",
    "*:stderr:0",
];

enum Event {
    DisplayUp(String),
    DisplayEnded(ExitStatus),
    ProgramEnded(ExitStatus),
    Signalled(i32),
}

/// Runs the workspace to its end; the value is the process's exit status.
pub(crate) fn run(options: &Run) -> Result<u8, String> {
    let (events, inbox) = sync_channel(8);
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(|error| format!("signals: {error}"))?;
    let runtime_directory = prepare(options)?;
    let services = Services::start()?;
    forward_signals(signals, events.clone())?;
    let display = start_display(options, &runtime_directory, &events)?;
    Ok(Workspace { options, runtime_directory, services, events, display: Some(display), program: None }
        .live(&inbox))
}

/// What must be in place before the first process starts.
fn prepare(options: &Run) -> Result<PathBuf, String> {
    // Left over from this container's former run; the display server does not start over one.
    match fs::remove_file(RFB_SOCKET) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("{STREAM_DIRECTORY} is not this user's: {error}"));
        }
        Ok(()) | Err(_) => {}
    }
    if let Some(home) = &options.home
        && let Err(error) = home::seed(home)
    {
        report(&format_args!("{} could not be given its first files: {error}", home.display()));
    }
    x_socket_directory().map_err(|error| format!("{X_SOCKETS} could not be made: {error}"))?;
    runtime_directory(options.runtime_directory.as_deref())
        .map_err(|error| format!("a private directory for sockets could not be made: {error}"))
}

/// The display server makes this one itself only when root runs it.
fn x_socket_directory() -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(X_SOCKETS) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Made under the temporary directory, because a container's /run may be read-only or root's.
fn runtime_directory(given: Option<&Path>) -> io::Result<PathBuf> {
    let path = given.unwrap_or(Path::new("/tmp/.runtime"));
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        }
        other => other?,
    }
    Ok(path.to_owned())
}

/// What serves the agent, for as long as the process lives.
struct Services {
    offers: Arc<Offers>,
    watch: Arc<Watch>,
}

impl Services {
    fn start() -> Result<Self, String> {
        let hub = Arc::new(Hub::new("the display server is starting"));
        let offers = Arc::new(Offers::new(Arc::clone(&hub)));
        let watch = Arc::new(Watch::new(Arc::clone(&hub)));
        let listener = agent_socket::listen(Path::new(HELPER_SOCKET)).map_err(|error| {
            format!("cannot listen on {HELPER_SOCKET}: {error}; {STREAM_DIRECTORY} must be mounted and this user's")
        })?;
        let sink = Arc::clone(&offers);
        spawn("agent-socket", move || {
            agent_socket::serve(&listener, &hub, Box::new(move |text| sink.set(text)))
        })?;
        Ok(Self { offers, watch })
    }

    fn watch_display(&self, display: String, expected: Expected) -> Result<(), String> {
        let (offers, watch) = (Arc::clone(&self.offers), Arc::clone(&self.watch));
        spawn("x11", move || {
            loop {
                let Err(error) = x11::serve(&display, &offers, &watch, &expected);
                report(&error);
                thread::sleep(RECONNECT_PAUSE);
            }
        })?;
        let watch = Arc::clone(&self.watch);
        spawn("picture", move || watch.await_picture(Path::new(RFB_SOCKET)))
    }
}

fn start_display(options: &Run, runtime: &Path, events: &SyncSender<Event>) -> Result<Pid, String> {
    let mut child = Command::new(DISPLAY_SERVER)
        // It picks a free display number, and says which when it is ready for clients.
        .args(["-displayfd", "1", "-geometry", &options.geometry.to_string(), "-desktop", &options.name])
        .args(DISPLAY_OPTIONS)
        .env("XDG_RUNTIME_DIR", runtime)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{DISPLAY_SERVER} could not be started: {error}"))?;
    let pid = Pid::from_child(&child);
    let announced = child.stdout.take().ok_or("the display server has no output")?;
    let sender = events.clone();
    spawn("display", move || {
        let mut number = String::new();
        let read = BufReader::new(announced).read_line(&mut number);
        if read.is_ok() && number.ends_with('\n') {
            let _ = sender.send(Event::DisplayUp(format!(":{}", number.trim())));
        }
        await_end(child, Event::DisplayEnded, &sender);
    })?;
    Ok(pid)
}

/// One workspace's processes. `None` is one that does not run, not yet or not any more.
struct Workspace<'o> {
    options: &'o Run,
    runtime_directory: PathBuf,
    services: Services,
    events: SyncSender<Event>,
    display: Option<Pid>,
    program: Option<Pid>,
}

impl Workspace<'_> {
    fn live(mut self, inbox: &Receiver<Event>) -> u8 {
        let mut code = EXIT_DISPLAY;
        let mut deadline = None;
        loop {
            let event = match deadline {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => {
                    inbox.recv_timeout(Instant::saturating_duration_since(&deadline, Instant::now()))
                }
            };
            match event {
                Ok(Event::DisplayUp(display)) if deadline.is_none() => {
                    if let Err(error) = self.start_program(&display) {
                        report(&error);
                        break;
                    }
                }
                Ok(Event::DisplayUp(_)) => {}
                Ok(Event::DisplayEnded(status)) => {
                    report(&format_args!("the display server ended: {status}"));
                    self.display = None;
                    break;
                }
                Ok(Event::ProgramEnded(status)) => {
                    self.program = None;
                    if deadline.is_none() {
                        code = exit_code(status);
                    }
                    break;
                }
                Ok(Event::Signalled(signal)) => {
                    code = EXIT_SIGNALLED.saturating_add(u8::try_from(signal).unwrap_or(0));
                    if self.program.is_none() {
                        break;
                    }
                    signal_group(self.program, Signal::TERM);
                    deadline.get_or_insert(Instant::now() + STOP_GRACE);
                }
                Err(_) => break,
            }
        }
        signal_group(self.program, Signal::KILL);
        signal_group(self.display, Signal::TERM);
        code
    }

    fn start_program(&mut self, display: &str) -> Result<(), String> {
        let child = Command::new(&self.options.program)
            .args(&self.options.arguments)
            .env("DISPLAY", display)
            .env("XDG_RUNTIME_DIR", &self.runtime_directory)
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|error| format!("{} could not be started: {error}", self.options.program.display()))?;
        self.program = Some(Pid::from_child(&child));
        let sender = self.events.clone();
        spawn("program", move || await_end(child, Event::ProgramEnded, &sender))?;
        self.services.watch_display(display.to_owned(), self.options.expected.clone())
    }
}

fn await_end(mut child: Child, event: fn(ExitStatus) -> Event, events: &SyncSender<Event>) {
    // Waiting fails only for a process that was waited for, which nobody else does.
    let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0));
    let _ = events.send(event(status));
}

fn forward_signals(mut signals: Signals, events: SyncSender<Event>) -> Result<(), String> {
    spawn("signals", move || {
        for signal in signals.forever() {
            if events.send(Event::Signalled(signal)).is_err() {
                return;
            }
        }
    })
}

fn signal_group(process: Option<Pid>, signal: Signal) {
    if let Some(process) = process {
        // It fails when the group has just ended, which is what was wanted.
        let _ = rustix::process::kill_process_group(process, signal);
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, signal) => {
            EXIT_SIGNALLED.saturating_add(signal.and_then(|n| u8::try_from(n).ok()).unwrap_or(0))
        }
    }
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<(), String> {
    let thread = thread::Builder::new().name(name.into()).spawn(work);
    thread.map(drop).map_err(|error| format!("a thread could not be started: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_a_shell() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), 137);
    }
}
