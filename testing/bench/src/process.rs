//! A relay, or a Web App, in a process of its own: how much memory it has, and how much processor time it has spent.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    cores::Cores,
    host::{field, kib},
};

const START_LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(50);
/// Allocators give memory back some time after it was freed.
const LONGEST_SETTLE_STEP: Duration = Duration::from_secs(1);
const SETTLE_STEPS: usize = 20;
/// Settled: this many steps in a row without a change of more than a hundredth.
const STILL_STEPS: usize = 3;

/// A running relay; killed when this is dropped.
pub(crate) struct Relay {
    child: Child,
    pid: u32,
    pub(crate) address: SocketAddr,
}

impl Relay {
    /// Runs a command that will listen on `address`, on the relay's core, and waits until it does. Its output goes to `log`.
    pub(crate) async fn start(
        command: &[OsString],
        address: SocketAddr,
        log: &Path,
        cores: &Cores,
    ) -> anyhow::Result<Self> {
        Self::run(command, address, log, |command| cores.start_on_relay_core(|| command.spawn())).await
    }

    /// The same where this process is: beside the load.
    pub(crate) async fn start_beside(
        command: &[OsString],
        address: SocketAddr,
        log: &Path,
    ) -> anyhow::Result<Self> {
        Self::run(command, address, log, Command::spawn).await
    }

    async fn run(
        command: &[OsString],
        address: SocketAddr,
        log: &Path,
        spawn: impl FnOnce(&mut Command) -> io::Result<Child>,
    ) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().context("there is no command to run")?;
        let output = fs::File::create(log)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        command.kill_on_drop(true);
        let child =
            spawn(&mut command).with_context(|| format!("{} cannot be run", program.to_string_lossy()))?;
        let pid = child.id().context("the process ended at once")?;
        let mut relay = Self { child, pid, address };
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = relay.child.try_wait()? {
                bail!("{} ended ({status}): {}", program.to_string_lossy(), tail(log));
            }
            if Instant::now() > deadline {
                bail!("{} does not listen after {START_LIMIT:?}: {}", program.to_string_lossy(), tail(log));
            }
            sleep(PAUSE).await;
        }
        Ok(relay)
    }

    /// Proportional set size, once it no longer changes, in KiB. It is looked at every second, or twice
    /// within `wanted` where that is sooner.
    pub(crate) async fn settled_pss_kib(&self, wanted: Duration) -> anyhow::Result<u64> {
        let (mut last, mut still) = (self.pss_kib()?, 0);
        for _ in 0..SETTLE_STEPS {
            sleep(LONGEST_SETTLE_STEP.min(wanted / 2)).await;
            let now = self.pss_kib()?;
            still = if now.abs_diff(last) * 100 <= last { still + 1 } else { 0 };
            last = now;
            if still == STILL_STEPS {
                break;
            }
        }
        Ok(last)
    }

    /// Processor time of all its threads so far.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_of(&self.pid.to_string())
            .context("the relay's processor time cannot be read: is it still running?")
    }

    fn pss_kib(&self) -> anyhow::Result<u64> {
        let table = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))
            .context("the relay's memory cannot be read: is it still running?")?;
        field(&table, "Pss").and_then(kib).context("the kernel does not say the relay's PSS")
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await?;
        Ok(())
    }
}

/// Processor time of a process's threads so far. The first figure of `schedstat` is in nanoseconds; threads that ended are left out, and no
/// relay ends its threads.
pub(crate) fn cpu_of(process: &str) -> anyhow::Result<Duration> {
    let mut total = Duration::ZERO;
    for entry in fs::read_dir(format!("/proc/{process}/task"))? {
        let Ok(text) = fs::read_to_string(entry?.path().join("schedstat")) else { continue };
        let nanoseconds = text.split_whitespace().next().and_then(|figure| figure.parse().ok());
        total += Duration::from_nanos(nanoseconds.context("the kernel keeps no schedstat")?);
    }
    Ok(total)
}

/// A program in the usual folders, those of the administrator too.
pub(crate) fn find(program: &str) -> Option<OsString> {
    ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file())
        .map(OsString::from)
}

/// What a program says about its version: the first number with a dot in it.
pub(crate) async fn version(program: &OsStr, flag: &str) -> String {
    let Ok(output) = Command::new(program).arg(flag).output().await else { return String::new() };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    let words = said.split(|letter: char| letter.is_whitespace() || letter == '/');
    let is_version =
        |word: &&str| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.');
    words.into_iter().find(is_version).unwrap_or_default().to_owned()
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
