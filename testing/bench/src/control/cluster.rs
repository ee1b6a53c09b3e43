//! The database that is measured: PostgreSQL as Meridian starts it, with all its processes on the one core that nobody else has.

use std::{fs, path::Path, time::Duration};

use anyhow::Context;
use meridian_embedded::EmbeddedPostgres;
use meridian_runtime::Tasks;
use rustix::process::Pid;
use tokio_postgres::{Client, Config, NoTls};

use crate::cores::Cores;

/// USER_HZ: Linux tells the times of processes in hundredths of a second wherever we build for.
const TICKS_PER_SECOND: u64 = 100;

pub(super) struct Cluster {
    postgres: EmbeddedPostgres,
    postmaster: Pid,
}

impl Cluster {
    pub(super) async fn start(folder: &Path, cores: &Cores, tasks: &Tasks) -> anyhow::Result<Self> {
        let postgres = EmbeddedPostgres::start(folder, tasks).await?;
        match find_and_move(&postgres.config(), cores, tasks).await {
            Ok(postmaster) => Ok(Self { postgres, postmaster }),
            Err(error) => {
                postgres.stop().await?;
                Err(error)
            }
        }
    }

    pub(super) fn config(&self) -> Config {
        self.postgres.config()
    }

    pub(super) fn url(&self) -> String {
        self.postgres.url()
    }

    pub(super) fn socket_directory(&self) -> &Path {
        self.postgres.socket_directory()
    }

    /// Processor time of all its processes so far, those that ended included.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        let postmaster = Stat::of(self.postmaster)?;
        let children: u64 = children(self.postmaster)?.iter().map(|child| child.1.own_ticks).sum();
        let ticks = postmaster.own_ticks + postmaster.ended_ticks + children;
        Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
    }

    pub(super) async fn stop(self) -> anyhow::Result<()> {
        Ok(self.postgres.stop().await?)
    }
}

/// A connection that lives as long as the tasks.
pub(super) async fn connect(config: &Config, tasks: &Tasks) -> anyhow::Result<Client> {
    let (client, connection) = config.connect(NoTls).await?;
    tasks.spawn_until_stop("bench connection", async move { drop(connection.await) });
    Ok(client)
}

/// Moves all that runs; what the postmaster starts from now on is where it is.
async fn find_and_move(config: &Config, cores: &Cores, tasks: &Tasks) -> anyhow::Result<Pid> {
    let client = connect(config, tasks).await?;
    let backend: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await?.get(0);
    let backend = Pid::from_raw(backend).context("PostgreSQL says that it is no process")?;
    let postmaster = Stat::of(backend)?.parent.context("PostgreSQL's process has no parent")?;
    cores.move_to_relay_core(postmaster)?;
    for (child, _) in children(postmaster)? {
        // One may have ended meanwhile.
        let _ = cores.move_to_relay_core(child);
    }
    Ok(postmaster)
}

fn children(of: Pid) -> anyhow::Result<Vec<(Pid, Stat)>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        if let Ok(stat) = Stat::of(process)
            && stat.parent == Some(of)
        {
            children.push((process, stat));
        }
    }
    Ok(children)
}

/// What the kernel says of a process, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: Option<Pid>,
    own_ticks: u64,
    /// Of children that ended and were waited for.
    ended_ticks: u64,
}

impl Stat {
    fn of(process: Pid) -> anyhow::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()))?;
        Self::read(&text).context("the kernel's account of a process is not understood")
    }

    /// proc_pid_stat(5). The name, in parentheses, may hold anything.
    fn read(text: &str) -> Option<Self> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok().and_then(Pid::from_raw),
            own_ticks: ticks(11)? + ticks(12)?,
            ended_ticks: ticks(13)? + ticks(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_account_of_a_process_is_read_whatever_it_is_called() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194560 1 2 3 4 50 6 700 8 20 0 1 0 9";
        let stat = Stat::read(text).unwrap();
        assert_eq!(stat, Stat { parent: Pid::from_raw(7), own_ticks: 56, ended_ticks: 708 });
        assert_eq!(Stat::read("42 (short) S 7"), None);
    }
}
