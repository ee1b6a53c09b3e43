//! The server process: is one running on this cluster, starting one, waiting for its end, ending it.
//!
//! A process is recognised by its working directory, which for every PostgreSQL process is its cluster, compared by device and
//! inode: a pid alone may have been given to another process since. It is held by a pidfd, which cannot be.

use std::{
    fs::{self, OpenOptions},
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::{
    fs::OFlags,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    process::Child,
    time::{Instant, timeout},
};

use crate::{
    EmbeddedError, account::Account, configuration, installation::Installation, layout::Layout, logs,
};

/// Recovery after a crash replays at most what `max_wal_size` lets pile up; a slow disk may need minutes for that.
const READY_LIMIT: Duration = Duration::from_secs(300);
/// A fast stop writes one checkpoint.
const FAST_STOP_LIMIT: Duration = Duration::from_secs(60);
const IMMEDIATE_STOP_LIMIT: Duration = Duration::from_secs(10);
/// How often a starting server's state is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A process held by its pidfd.
#[derive(Debug)]
struct Process {
    pid: Pid,
    handle: AsyncFd<OwnedFd>,
}

impl Process {
    /// None when there is none any more.
    fn open(pid: Pid) -> Result<Option<Self>, EmbeddedError> {
        let failed = |error: io::Error| EmbeddedError::file("watch", &proc_path(pid, ""), error);
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(fd) => {
                #[expect(
                    deprecated,
                    reason = "sound for an OwnedFd, which stays open and the same until it is dropped"
                )]
                let handle = AsyncFd::with_interest(fd, Interest::READABLE).map_err(failed)?;
                Ok(Some(Self { pid, handle }))
            }
            Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(failed(error.into())),
        }
    }

    async fn ended(&self) {
        // A pidfd becomes readable when its process has ended; the readiness is never cleared.
        let _ = self.handle.readable().await;
    }

    /// True when it ended within the limit. That it is gone already is no failure.
    async fn end(&self, signal: Signal, limit: Duration) -> bool {
        let _ = pidfd_send_signal(&self.handle, signal);
        timeout(limit, self.ended()).await.is_ok()
    }
}

/// The running server.
#[derive(Debug)]
pub(crate) struct Postmaster {
    process: Process,
    /// Only of one that this process started; it is waited for so that nothing is left of it.
    child: Option<Child>,
}

impl Postmaster {
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid.as_raw_nonzero().get()
    }

    /// The server that runs on this cluster, if it is alive.
    pub(crate) fn running(cluster: &Path) -> Result<Option<(Self, PidFile)>, EmbeddedError> {
        let Some(file) = PidFile::read(cluster)? else { return Ok(None) };
        let Some(process) = Process::open(file.pid)? else { return Ok(None) };
        // Looked at after the pidfd was opened: it is this very process.
        Ok(works_in(file.pid, cluster).then_some((Self { process, child: None }, file)))
    }

    /// Starts one, in a session of its own, and waits until it takes connections.
    pub(crate) async fn start(
        installation: &Installation,
        layout: &Layout,
        account: &Account,
    ) -> Result<Self, EmbeddedError> {
        clear_dead(&layout.cluster, &layout.socket).await?;
        let flags = OFlags::NOFOLLOW.bits().cast_signed();
        let log = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .custom_flags(flags)
            .open(&layout.start_log);
        let log = log.map_err(|error| EmbeddedError::file("open", &layout.start_log, error))?;
        // Its own session keeps it from a terminal's Ctrl-C: Meridian stops it after the last user of it has stopped.
        let mut command = layout.view.command(account, Path::new("setsid"));
        command.arg(installation.program("postgres")).args(configuration::arguments(layout));
        command.env_clear().current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let failed = |source| EmbeddedError::Program { program: "setsid".to_owned(), source };
        let mut child = tokio::process::Command::from(command).spawn().map_err(failed)?;
        let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let process = pid.map_or(Ok(None), Process::open)?;
        let Some(process) = process else { return Err(did_not_start(child.wait().await, layout)) };
        let started = Self { process, child: Some(child) };
        started.until_ready(layout).await
    }

    /// Waits until it says that it takes connections; one that never does is ended.
    pub(crate) async fn until_ready(mut self, layout: &Layout) -> Result<Self, EmbeddedError> {
        let started_at = Instant::now();
        let mut look = tokio::time::interval(LOOK_EVERY);
        let mut said_at = started_at;
        loop {
            tokio::select! {
                status = self.ended() => return Err(did_not_start(status, layout)),
                _ = look.tick() => {}
            }
            let ready = PidFile::read(&layout.cluster)?
                .is_some_and(|file| file.pid == self.process.pid && file.ready);
            if ready {
                return Ok(self);
            }
            if said_at.elapsed() > Duration::from_secs(10) {
                said_at = Instant::now();
                tracing::info!(waited_s = started_at.elapsed().as_secs(), "PostgreSQL is still starting");
            }
            if started_at.elapsed() > READY_LIMIT {
                self.stop().await?;
                return Err(EmbeddedError::NotReady { limit: READY_LIMIT, log: logs::tail(layout) });
            }
        }
    }

    /// Returns when the server has ended by itself.
    pub(crate) async fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.process.ended().await;
        match &mut self.child {
            Some(child) => child.wait().await.map(Some),
            None => Ok(None),
        }
    }

    /// Ends it: fast (open transactions are rolled back, everything is written down), then immediately (recovery at the next start).
    pub(crate) async fn stop(mut self) -> Result<(), EmbeddedError> {
        let ended = self.process.end(Signal::INT, FAST_STOP_LIMIT).await || {
            tracing::warn!(
                pid = self.pid(),
                "PostgreSQL does not stop; it is stopped without a last checkpoint"
            );
            self.process.end(Signal::QUIT, IMMEDIATE_STOP_LIMIT).await
        };
        if !ended {
            return Err(EmbeddedError::DoesNotEnd { pid: self.pid() });
        }
        // It has ended; this only takes it from the table of processes.
        let _ = self.ended().await;
        Ok(())
    }
}

fn did_not_start(status: io::Result<impl Into<Option<ExitStatus>>>, layout: &Layout) -> EmbeddedError {
    let status = status.ok().and_then(Into::into);
    let status = status.map_or_else(|| "ended".to_owned(), |status| status.to_string());
    let log = logs::tail(layout);
    if logs::disk_is_full(&log, layout) {
        return EmbeddedError::DiskFull { directory: layout.data.clone() };
    }
    EmbeddedError::DidNotStart { status, log }
}

/// What a dead server may have left: processes of its own that still work in the cluster, and files that name a pid which
/// another process has now (with those PostgreSQL refuses to start, a pid that no one has it handles itself).
async fn clear_dead(cluster: &Path, socket: &Path) -> Result<(), EmbeddedError> {
    for pid in processes_in(cluster) {
        let Some(process) = Process::open(pid)? else { continue };
        // They notice that their server is gone, unless a long statement keeps one busy.
        let ended = timeout(IMMEDIATE_STOP_LIMIT, process.ended()).await.is_ok()
            || process.end(Signal::QUIT, IMMEDIATE_STOP_LIMIT).await
            || process.end(Signal::KILL, IMMEDIATE_STOP_LIMIT).await;
        if !ended {
            return Err(EmbeddedError::DoesNotEnd { pid: pid.as_raw_nonzero().get() });
        }
    }
    let socket_lock = socket.join(format!(".s.PGSQL.{}.lock", crate::layout::PORT));
    for file in [cluster.join("postmaster.pid"), socket_lock] {
        let reused = first_number(&file)?.is_some_and(|pid| proc_path(pid, "").exists());
        if reused {
            fs::remove_file(&file).map_err(|error| EmbeddedError::file("remove", &file, error))?;
        }
    }
    Ok(())
}

fn first_number(file: &Path) -> Result<Option<Pid>, EmbeddedError> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text.lines().next().and_then(pid)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EmbeddedError::file("read", file, error)),
    }
}

fn pid(text: &str) -> Option<Pid> {
    text.trim().parse().ok().filter(|raw| *raw > 0).and_then(Pid::from_raw)
}

/// PostgreSQL's processes whose working directory is this cluster.
fn processes_in(cluster: &Path) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| pid(entry.file_name().to_str()?));
    pids.filter(|pid| works_in(*pid, cluster)).collect()
}

/// An operator's shell may stand in the directory too, so the program counts as well.
fn works_in(pid: Pid, cluster: &Path) -> bool {
    let same = || {
        let (theirs, ours) = (fs::metadata(proc_path(pid, "cwd")).ok()?, fs::metadata(cluster).ok()?);
        let program = fs::read_to_string(proc_path(pid, "comm")).ok()?;
        Some((theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()) && program.trim_end() == "postgres")
    };
    same().unwrap_or(false)
}

fn proc_path(pid: Pid, name: &str) -> PathBuf {
    Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join(name)
}

/// `postmaster.pid`: pid, data directory, start time, port, socket directory, address, shared memory, status.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PidFile {
    pub(crate) pid: Pid,
    pub(crate) socket: PathBuf,
    pub(crate) ready: bool,
}

impl PidFile {
    fn read(cluster: &Path) -> Result<Option<Self>, EmbeddedError> {
        let path = cluster.join("postmaster.pid");
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EmbeddedError::file("read", &path, error)),
        }
    }

    /// None when it names no process; a file that is just being written lacks its later lines.
    fn parse(text: &str) -> Option<Self> {
        let lines: Vec<_> = text.lines().collect();
        let line = |index: usize| lines.get(index).map_or("", |line| line.trim());
        Some(Self { pid: pid(line(0))?, socket: PathBuf::from(line(4)), ready: line(7) == "ready" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_is_read_while_it_is_written_too() {
        let whole =
            "4711\n/data/postgres/cluster\n1700000000\n5432\n/data/postgres/socket\n\n  123 456\nready   \n";
        let file = PidFile::parse(whole).unwrap();
        assert_eq!(
            (file.pid.as_raw_nonzero().get(), file.socket.to_str(), file.ready),
            (4711, Some("/data/postgres/socket"), true)
        );
        assert!(!PidFile::parse("4711\n/data").unwrap().ready);
        assert_eq!(PidFile::parse(""), None);
        assert_eq!(PidFile::parse("-3\n"), None);
    }

    #[tokio::test]
    async fn a_process_that_is_not_postgresql_is_never_taken_for_it() {
        let cluster = tempfile::tempdir().unwrap();
        let stranger = tokio::process::Command::new("cat")
            .current_dir(cluster.path())
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        fs::write(cluster.path().join("postmaster.pid"), format!("{}\n", stranger.id().unwrap())).unwrap();
        assert!(Postmaster::running(cluster.path()).unwrap().is_none());
        clear_dead(cluster.path(), cluster.path()).await.unwrap();
        assert!(!cluster.path().join("postmaster.pid").exists(), "its pid file is stale");
        assert!(
            Process::open(Pid::from_raw(stranger.id().unwrap().cast_signed()).unwrap()).unwrap().is_some()
        );
    }
}
