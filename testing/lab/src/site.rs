//! A Meridian of real processes: this very executable as `meridian up --separate` in a temporary directory, on loopback alone.
//!
//! It is stopped softly by [`Site::stop`]; whatever ends the lab, dropping it leaves neither a process nor a directory.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use meridian_runtime::random_token;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use crate::leftovers;

/// PostgreSQL, a Web App and two zones start within this time.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Longer than `meridian up` itself gives its roles.
const STOP_LIMIT: Duration = Duration::from_secs(45);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// A killed parent is gone within so many looks.
const GONE_LOOKS: usize = 100;
/// The zones; the first is the one whose parts are broken.
pub(crate) const ZONES: [&str; 2] = ["london", "virginia"];

pub(crate) struct Site {
    /// Removed when this is dropped.
    directory: TempDir,
    parent: Child,
    pub(crate) url: String,
    pub(crate) password: String,
    /// Roles that were frozen, to be thawed before they are asked to stop.
    frozen: Vec<i32>,
}

impl Site {
    /// Starts it and waits until a user can sign in.
    pub(crate) async fn start(executable: &Path) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("meridian-lab-").tempdir()?;
        // PostgreSQL's unprivileged user passes through to its cluster.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711))?;
        let log = fs::File::create(directory.path().join("meridian.log"))?;
        let password = random_token();
        let parent = Command::new(executable)
            .args(["up", "--separate", "--engine", "simulated", "--listen", "127.0.0.1:0", "--zones"])
            .arg(ZONES.join(","))
            .env("MERIDIAN_DATA", directory.path().join("data"))
            .env("MERIDIAN_ADMIN_PASSWORD", &password)
            .env("NO_COLOR", "1")
            .env_remove("MERIDIAN_DATABASE_URL")
            .env_remove("MERIDIAN_LISTEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // A Ctrl-C at the terminal is the lab's to hear.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{} cannot be run", executable.display()))?;
        let mut site = Self { directory, parent, url: String::new(), password, frozen: Vec::new() };
        site.url = timeout(START_LIMIT, site.ready()).await.context("Meridian was not ready in time")??;
        Ok(site)
    }

    async fn ready(&mut self) -> Result<String> {
        let output = self.parent.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(output).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some(url) = line.strip_prefix("ready ") {
                return Ok(url.to_owned());
            }
        }
        bail!("Meridian ended before it was ready: {}", self.troubles(5).join(" | "))
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The processes of the roles, by the names of their pid files.
    pub(crate) fn roles(&self) -> BTreeMap<String, i32> {
        leftovers::roles(&self.data())
    }

    pub(crate) fn pid(&self, role: &str) -> Result<i32> {
        self.roles().get(role).copied().with_context(|| format!("{role} has no pid file"))
    }

    /// SIGKILL: its sockets are closed by the kernel; its parent starts it again. The killed process's id.
    pub(crate) fn kill(&mut self, role: &str) -> Result<i32> {
        let pid = self.pid(role)?;
        signal(pid, Signal::KILL)?;
        self.frozen.retain(|known| *known != pid);
        Ok(pid)
    }

    /// SIGSTOP: it says nothing more and closes nothing, like a host that vanished.
    pub(crate) fn freeze(&mut self, role: &str) -> Result<i32> {
        let pid = self.pid(role)?;
        signal(pid, Signal::STOP)?;
        self.frozen.push(pid);
        Ok(pid)
    }

    pub(crate) fn thaw(&mut self, role: &str) -> Result<()> {
        let pid = self.pid(role)?;
        self.frozen.retain(|known| *known != pid);
        signal(pid, Signal::CONT)
    }

    /// Waits until another process has a killed one's place.
    pub(crate) async fn replaced(&self, role: &str, before: i32, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        while self.pid(role).is_ok_and(|pid| pid == before) {
            ensure!(Instant::now() < until, "{role} was not started again within {limit:?}");
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// CPU time that Meridian's processes have used so far, ended ones too; not PostgreSQL's, which is in a session of its own.
    pub(crate) fn cpu(&self) -> Duration {
        let parent = self.parent.id().and_then(|pid| i32::try_from(pid).ok());
        let parent = parent.and_then(|pid| cpu_of(pid, true)).unwrap_or_default();
        parent + self.roles().values().filter_map(|pid| cpu_of(*pid, false)).sum::<Duration>()
    }

    /// The latest warnings and errors that its processes logged.
    pub(crate) fn troubles(&self, count: usize) -> Vec<String> {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let serious =
            log.lines().filter(|line| ["WARN", "ERROR", "meridian:"].iter().any(|word| line.contains(word)));
        let all: Vec<_> = serious.map(str::to_owned).collect();
        all[all.len().saturating_sub(count)..].to_vec()
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.directory.path().join("meridian.log")
    }

    /// As Ctrl-C does; what does not stop in time is killed.
    pub(crate) async fn stop(mut self) -> Result<()> {
        for pid in std::mem::take(&mut self.frozen) {
            // It may have ended meanwhile.
            let _ = signal(pid, Signal::CONT);
        }
        if let Some(pid) = self.parent.id().and_then(|pid| i32::try_from(pid).ok()) {
            signal(pid, Signal::TERM)?;
        }
        let status = timeout(STOP_LIMIT, self.parent.wait()).await;
        let status = status.with_context(|| format!("Meridian did not stop within {STOP_LIMIT:?}"))??;
        ensure!(status.success(), "Meridian ended with {status}: {}", self.troubles(5).join(" | "));
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        for pid in self.frozen.drain(..) {
            let _ = signal(pid, Signal::CONT);
        }
        // First the parent, which would start the others again. After a soft stop there is nothing left to kill.
        let _ = self.parent.start_kill();
        for _ in 0..GONE_LOOKS {
            if !matches!(self.parent.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        leftovers::end(&self.data());
    }
}

pub(crate) fn signal(pid: i32, signal: Signal) -> Result<()> {
    let pid = Pid::from_raw(pid).context("0 is no process")?;
    kill_process(pid, signal)
        .with_context(|| format!("signal {signal:?} to process {}", pid.as_raw_nonzero()))
}

/// User and system time of a process from its `stat`, with that of its ended children where asked for.
fn cpu_of(pid: i32, children: bool) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    ticks(&stat, children)
        .map(|ticks| Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

/// Fields 14 to 17 of proc_pid_stat(5), counted from behind the name, which may hold anything.
fn ticks(stat: &str, children: bool) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let counts = rest.split(' ').skip(11).take(if children { 4 } else { 2 });
    counts.map(|count| count.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 1";
        assert_eq!((ticks(stat, false), ticks(stat, true)), (Some(33), Some(110)));
        assert!(cpu_of(std::process::id().cast_signed(), true).is_some());
    }
}
