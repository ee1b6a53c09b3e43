//! A part's process, kept as a service manager keeps it: started again when it ends, unless it was stopped.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use meridian_runtime::Tasks;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::plan::Part;
use crate::net::Host;

/// What `RestartSec=` would say.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Longer than any role gives itself.
const STOP_LIMIT: Duration = Duration::from_secs(25);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What runs a part: a program, and what it is told before the path of its configuration.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    executable: PathBuf,
    arguments: Vec<String>,
}

impl Program {
    pub(crate) fn meridian(executable: &Path, command: &str) -> Self {
        Self { executable: executable.to_owned(), arguments: vec![command.into(), "--config".into()] }
    }

    pub(crate) fn peer(program: &str, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Self { executable: program.into(), arguments }
    }
}

/// Clones share the process.
#[derive(Clone)]
pub(crate) struct Keeper(Arc<Kept>);

struct Kept {
    part: Part,
    host: Arc<Host>,
    config: PathBuf,
    log: PathBuf,
    program: Mutex<Program>,
    environment: Mutex<Vec<(String, String)>>,
    /// Of the process; 0: there is none.
    pid: AtomicI32,
    wanted: AtomicBool,
    changed: Notify,
}

impl Keeper {
    /// Starts the process. It ends with the tasks.
    pub(crate) fn start(
        part: &Part,
        host: Arc<Host>,
        program: Program,
        config: PathBuf,
        log: PathBuf,
        tasks: &Tasks,
    ) -> Self {
        let kept = Kept {
            part: part.clone(),
            host,
            config,
            log,
            program: Mutex::new(program),
            environment: Mutex::default(),
            pid: AtomicI32::new(0),
            wanted: AtomicBool::new(true),
            changed: Notify::new(),
        };
        let keeper = Self(Arc::new(kept));
        tasks.spawn("part's process", keeper.clone().keep(tasks.clone()));
        keeper
    }

    async fn keep(self, tasks: Tasks) {
        let stopping = tasks.stopping();
        while !stopping.is_cancelled() {
            if !self.0.wanted.load(Ordering::Acquire) {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = self.0.changed.notified() => continue,
                }
            }
            let again = match self.spawn() {
                Ok(mut child) => {
                    let by_itself = self.run(&mut child, &tasks).await;
                    self.0.pid.store(0, Ordering::Release);
                    by_itself
                }
                Err(error) => {
                    tracing::error!(
                        part = self.0.part.name,
                        error = format!("{error:#}"),
                        "it cannot be started"
                    );
                    true
                }
            };
            if again {
                let _ = timeout(AGAIN_AFTER, stopping.cancelled()).await;
            }
        }
    }

    /// Until it ended; says whether it did by itself, or was killed.
    async fn run(&self, child: &mut Child, tasks: &Tasks) -> bool {
        let stopping = tasks.stopping();
        tokio::select! {
            _ = child.wait() => self.0.wanted.load(Ordering::Acquire),
            () = stopping.cancelled() => {
                let _ = self.signal(Signal::CONT);
                let _ = self.signal(Signal::TERM);
                if timeout(STOP_LIMIT, child.wait()).await.is_err() {
                    tracing::warn!(part = self.0.part.name, "it did not stop in time and is killed");
                    let _ = child.kill().await;
                }
                false
            }
        }
    }

    fn spawn(&self) -> Result<Child> {
        let kept = &*self.0;
        let log = OpenOptions::new().create(true).append(true).open(&kept.log)?;
        let program = kept.program.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let environment = kept.environment.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let child = start(&kept.host, &program, &kept.config, environment, log)?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).unwrap_or_default();
        kept.pid.store(pid, Ordering::Release);
        Ok(child)
    }

    pub(crate) fn part(&self) -> &Part {
        &self.0.part
    }

    pub(crate) fn log(&self) -> &Path {
        &self.0.log
    }

    pub(crate) fn pid(&self) -> Option<i32> {
        Some(self.0.pid.load(Ordering::Acquire)).filter(|pid| *pid != 0)
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<i32> {
        let pid = self.pid().with_context(|| format!("{} does not run", self.0.part.name))?;
        let process = Pid::from_raw(pid).context("0 is no process")?;
        kill_process(process, signal)
            .with_context(|| format!("signal {signal:?} to {}", self.0.part.name))?;
        Ok(pid)
    }

    /// Waits until another process has the place of `before`.
    pub(crate) async fn replaced(&self, before: i32, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        while self.pid().is_none_or(|pid| pid == before) {
            ensure!(Instant::now() < until, "{} was not started again within {limit:?}", self.0.part.name);
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// SIGTERM; returns when it has ended. It is not started again before [`Keeper::start_again`].
    pub(crate) async fn stop(&self) -> Result<()> {
        self.0.wanted.store(false, Ordering::Release);
        self.signal(Signal::TERM)?;
        let until = Instant::now() + STOP_LIMIT;
        while self.pid().is_some() {
            ensure!(Instant::now() < until, "{} did not stop within {STOP_LIMIT:?}", self.0.part.name);
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Starts it after a stop, with another executable where one is given.
    pub(crate) fn start_again(&self, executable: Option<&Path>) {
        if let Some(executable) = executable {
            self.0.program.lock().unwrap_or_else(PoisonError::into_inner).executable = executable.to_owned();
        }
        self.0.wanted.store(true, Ordering::Release);
        self.0.changed.notify_one();
    }

    /// What the next process finds in its environment.
    pub(crate) fn set_environment(&self, environment: Vec<(String, String)>) {
        *self.0.environment.lock().unwrap_or_else(PoisonError::into_inner) = environment;
    }
}

/// Runs a part on its host. It dies with the lab, however that ends.
fn start(
    host: &Host,
    program: &Program,
    config: &Path,
    environment: Vec<(String, String)>,
    log: File,
) -> Result<Child> {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&program.executable)
        .args(&program.arguments)
        .arg(config)
        .envs(environment)
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        // A Ctrl-C at the terminal is the lab's to hear.
        .process_group(0)
        .kill_on_drop(true);
    let runtime = tokio::runtime::Handle::current();
    let spawned = host.within(move || {
        let _entered = runtime.enter();
        command.spawn()
    })?;
    spawned.context("`setpriv` cannot be run: the lab needs util-linux")
}
