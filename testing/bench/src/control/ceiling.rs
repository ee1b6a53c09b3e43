//! The ceiling: what PostgreSQL does of the same statements when `pgbench` gives it nothing else.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use tokio::{process::Command, time::timeout};
use tokio_postgres::SimpleQueryMessage;

use super::cluster::Cluster;
use crate::process::{find, version};

/// Beyond the time that it measures.
const SPARE: Duration = Duration::from_secs(30);

pub(super) struct Ceiling {
    program: OsString,
    socket: PathBuf,
    folder: PathBuf,
    pub(super) version: String,
}

impl Ceiling {
    /// None where there is no pgbench.
    pub(super) async fn find(cluster: &Cluster, folder: &Path) -> anyhow::Result<Option<Self>> {
        let Some(program) = beside_postgres().or_else(|| find("pgbench")) else { return Ok(None) };
        let (socket, folder) = (cluster.socket_directory().to_owned(), folder.join("scripts"));
        std::fs::create_dir_all(&folder)?;
        let version = version(&program, "--version").await;
        Ok(Some(Self { program, socket, folder, version }))
    }

    /// How many of these a second, each as likely as the others.
    pub(super) async fn measure(
        &self,
        scripts: &[String],
        connections: usize,
        wanted: Duration,
    ) -> anyhow::Result<f64> {
        let mut command = Command::new(&self.program);
        command.arg("--host").arg(&self.socket).args(["--port", "5432", "--username", "meridian"]);
        // Whole seconds: pgbench knows no others.
        let seconds = wanted.as_secs_f64().ceil().max(1.0);
        command.args(["--no-vacuum", "--protocol", "prepared", "--jobs", "1"]);
        command.args(["--client", &connections.to_string(), "--time", &seconds.to_string()]);
        for (number, script) in scripts.iter().enumerate() {
            let file = self.folder.join(format!("{number}.sql"));
            std::fs::write(&file, format!("{script};\n"))?;
            command.arg("--file").arg(file);
        }
        command.arg("meridian").stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(Duration::from_secs_f64(seconds) + SPARE, command.output());
        let output = output.await.context("pgbench does not end")??;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        ensure!(output.status.success(), "pgbench ended ({}): {complained}", output.status);
        per_second(&said).with_context(|| format!("pgbench says no rate: {said} {complained}"))
    }
}

/// Each statement does what is meant to be measured, and does not merely refuse quickly.
pub(super) async fn check(sql: &tokio_postgres::Client, scripts: &[String]) -> anyhow::Result<()> {
    for script in scripts {
        for message in sql.simple_query(script).await? {
            let SimpleQueryMessage::Row(row) = message else { continue };
            let answer = row.get(0).unwrap_or_default();
            if answer.contains("\"outcome\"") && !answer.contains("\"outcome\": \"ok\"") {
                bail!("{script} is refused: {answer}");
            }
        }
    }
    Ok(())
}

fn per_second(said: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Distributions keep it with the server, and not on the path; the newest is taken.
fn beside_postgres() -> Option<OsString> {
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            let program = entry.path().join("bin/pgbench");
            program.is_file().then_some((version, program))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, program)| program.into_os_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_found_in_what_pgbench_says() {
        let said = "latency average = 1.2 ms\ninitial connection time = 9.1 ms\ntps = 812.345678 (without initial connection time)\n";
        assert_eq!(per_second(said), Some(812.345_678));
        assert_eq!(per_second("pgbench: error"), None);
    }
}
