//! Each role in a process of its own, started again when it dies.
//!
//! `run/{role}-{zone}-{n}.pid` under the data directory names each one's process.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::OnceLock,
    time::Duration,
};

use meridian_runtime::{Backoff, Tasks};
use serde::Serialize;
use tokio::{
    process::{Child, Command},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::layout::Layout;
use crate::exit::Failure;

/// How long a role may take to stop before it is killed.
const STOP_WAIT: Duration = Duration::from_secs(20);
/// How long the Web App may take until it serves.
const WEB_WAIT: Duration = Duration::from_secs(60);

/// Those who keep the children, so that the parent can wait for all of them before it stops the database.
static KEEPERS: OnceLock<TaskTracker> = OnceLock::new();

fn keepers() -> &'static TaskTracker {
    KEEPERS.get_or_init(TaskTracker::new)
}

/// Returns when every child has stopped; at once when there are none.
pub async fn wait_for_children() {
    keepers().close();
    keepers().wait().await;
}

/// Starts all; gives each zone's stream entry.
pub async fn start(layout: &Layout, tasks: &Tasks) -> Result<Vec<Vec<SocketAddr>>, Failure> {
    let keeper = Keeper { layout, tasks };
    // One after the other: the first one furnishes the deployment before it serves.
    for (name, web) in &layout.primary.web {
        keeper.keep("web", name, web)?;
        wait_for_web(web.listen).await?;
    }
    if let Some(balancer) = &layout.primary.balancer {
        keeper.keep("balance", "balance-primary-1", balancer)?;
    }
    let mut entries = Vec::new();
    for zone in &layout.zones {
        if let Some(balancer) = &zone.private_balancer {
            keeper.keep("balance", &format!("balance-{}-1", zone.name), balancer)?;
        }
        keeper.keep("agent", &format!("agent-{}-1", zone.name), &zone.agent)?;
        for (index, proxy) in zone.proxies.iter().enumerate() {
            keeper.keep("proxy", &format!("proxy-{}-{}", zone.name, index + 1), proxy)?;
        }
        if let Some(balancer) = &zone.entry_balancer {
            keeper.keep("balance", &format!("balance-{}-2", zone.name), balancer)?;
            entries.push(vec![balancer.listen]);
        }
    }
    Ok(entries)
}

/// The Web App furnishes the database before it serves, so an answer means that all tokens are written.
async fn wait_for_web(address: SocketAddr) -> Result<(), Failure> {
    let url = format!("http://{address}/api/__healthcheck");
    let answered = async {
        let mut look = tokio::time::interval(Duration::from_millis(50));
        loop {
            look.tick().await;
            if let Ok(answer) = reqwest::get(&url).await
                && answer.status().is_success()
            {
                return;
            }
        }
    };
    timeout(WEB_WAIT, answered).await.map_err(|_| {
        Failure::new("the Web App did not come up within a minute").hint("Its own lines above say why")
    })
}

struct Keeper<'a> {
    layout: &'a Layout,
    tasks: &'a Tasks,
}

impl Keeper<'_> {
    /// Writes a role's configuration and keeps a process of it running until the tasks stop.
    fn keep(&self, role: &'static str, name: &str, settings: &impl Serialize) -> Result<(), Failure> {
        let config = self.layout.config_directory.join(format!("{name}.toml"));
        fs::write(&config, toml::to_string(settings)?)?;
        let pid_file = self.layout.run_directory.join(format!("{name}.pid"));
        let one = One { role, name: name.to_owned(), config, pid_file, executable: std::env::current_exe()? };
        let child = one.spawn()?;
        // Not one of the tasks: those are told to stop, and this one waits until its child has.
        keepers().spawn(one.keep(child, self.tasks.clone()));
        Ok(())
    }
}

/// One role's process.
struct One {
    role: &'static str,
    name: String,
    config: PathBuf,
    pid_file: PathBuf,
    executable: PathBuf,
}

impl One {
    fn spawn(&self) -> Result<Child, Failure> {
        let child = Command::new(&self.executable)
            .arg(self.role)
            .arg("--config")
            .arg(&self.config)
            // The parent's secrets: what of them a role needs is in a file of its own.
            .env_remove("MERIDIAN_ADMIN_PASSWORD")
            .env_remove("MERIDIAN_DATABASE_URL")
            .stdin(Stdio::null())
            // Standard output is the parent's alone.
            .stdout(Stdio::null())
            // A Ctrl-C at the terminal is the parent's to hear; it stops its children in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::new(format!("cannot start {}: {error}", self.name)))?;
        if let Some(pid) = child.id() {
            write_pid(&self.pid_file, pid)?;
        }
        Ok(child)
    }

    async fn keep(self, mut child: Child, tasks: Tasks) {
        let stopping = tasks.stopping();
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(10));
        loop {
            tokio::select! {
                () = stopping.cancelled() => return self.stop(child).await,
                status = child.wait() => {
                    tracing::warn!(process = self.name, status = ?status.ok(), "a process ended by itself; it is started again");
                }
            }
            child = loop {
                tokio::select! {
                    () = stopping.cancelled() => return self.forget(),
                    () = tokio::time::sleep(backoff.next_wait()) => {}
                }
                match self.spawn() {
                    Ok(child) => break child,
                    Err(failure) => {
                        tracing::error!(process = self.name, ?failure, "it could not be started again")
                    }
                }
            };
        }
    }

    async fn stop(&self, mut child: Child) {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended in this very moment.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        if timeout(STOP_WAIT, child.wait()).await.is_err() {
            tracing::warn!(process = self.name, "it did not stop in time and is killed");
            let _ = child.kill().await;
        }
        self.forget();
    }

    fn forget(&self) {
        let _ = fs::remove_file(&self.pid_file);
    }
}

/// Whole or not at all: somebody may read it at any time.
fn write_pid(path: &Path, pid: u32) -> Result<(), Failure> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, format!("{pid}\n"))?;
    fs::rename(&temporary, path)?;
    Ok(())
}
