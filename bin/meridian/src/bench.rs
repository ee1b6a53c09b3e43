//! `meridian bench`: measurements that anyone can take again. Nothing here is asserted; all traffic is on loopback.

use std::{
    collections::BTreeSet,
    fmt::Write,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use meridian_bench::{LaunchBench, RelayBench, Report};
use serde_json::Value;

use crate::exit::{Failure, print};

#[derive(Args)]
#[command(after_help = "Examples:
  meridian bench launch --url http://127.0.0.1:8080 --username admin --runs 20
  meridian bench relay --streams 1000 --idle --json figures.json
  meridian bench document figures.json > docs/performance.md")]
pub struct BenchArguments {
    /// Append the measurement to this file, as one JSON object on a line.
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Click to first pixel with a warm image, split into its parts, on a running Meridian.
    Launch {
        #[arg(long, env = "MERIDIAN_URL", default_value = "http://127.0.0.1:8080")]
        url: String,
        #[arg(long, env = "MERIDIAN_USERNAME", default_value = "admin")]
        username: String,
        /// Better through the environment: arguments can be seen by every user of this machine.
        #[arg(long, env = "MERIDIAN_PASSWORD", hide_env_values = true)]
        password: String,
        #[arg(long, default_value = "Terminal")]
        workspace: String,
        #[arg(long)]
        zone: Option<String>,
        #[arg(long, default_value_t = 20)]
        runs: usize,
    },
    /// A proxy's memory per stream with TLS on both sides, beside nginx and HAProxy where they are installed.
    Relay {
        #[arg(long, default_value_t = 1000)]
        streams: usize,
        /// Streams that carry nothing: the one kind that is measured so far.
        #[arg(long, required = true)]
        idle: bool,
        /// How often each relay is measured; the median counts.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
    },
    /// Write measurements down as a page: the objects of a file that --json made.
    Document { file: PathBuf },
}

pub async fn run(arguments: BenchArguments) -> Result<(), Failure> {
    let report = match arguments.command {
        Command::Document { file } => return print(document(&std::fs::read_to_string(file)?)?.trim_end()),
        Command::Launch { url, username, password, workspace, zone, runs } => {
            LaunchBench { url, username, password, workspace, zone, runs }.run().await
        }
        Command::Relay { streams, idle: _, rounds } => {
            let proxy = vec![std::env::current_exe()?.into(), "proxy".into(), "--config".into()];
            RelayBench { streams, rounds, proxy }.idle().await
        }
    };
    let report = report.map_err(|error| Failure::new(format!("{error:#}")))?;
    show(&report, arguments.json.as_deref())
}

fn show(report: &Report, json: Option<&Path>) -> Result<(), Failure> {
    if let Some(file) = json {
        report.write_json(file).map_err(|error| Failure::new(format!("{error:#}")))?;
    }
    print(&report.to_string())
}

/// One section for each measurement: a row per figure, a column per contender.
fn document(lines: &str) -> Result<String, Failure> {
    let mut page = String::from(
        "# Performance\n\nWritten by `meridian bench document` from what `meridian bench … --json` measured; no figure is typed by hand.\n\
         Machines differ and this one is shared: what counts is what stands side by side, taken in the same run.\n",
    );
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        let report: Value = serde_json::from_str(line)?;
        section(&mut page, &report)?;
    }
    Ok(page)
}

fn section(page: &mut String, report: &Value) -> Result<(), Failure> {
    let no_entries = serde_json::Map::new();
    let object = |value: &'_ Value| value.as_object().cloned().unwrap_or_else(|| no_entries.clone());
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let list: Vec<_> = object(&report["parameters"])
        .iter()
        .map(|(name, value)| format!("{name} {}", plain(value)))
        .collect();
    writeln!(page, "\n## {}\n\n{}", plain(&report["name"]), list.join(", "))?;
    let host = &report["host"];
    writeln!(
        page,
        "\nOn {}, {} cores, {} MB, Linux {}.\n",
        plain(&host["processor"]),
        host["cores"],
        host["memory_mb"],
        plain(&host["kernel"])
    )?;
    let mut contenders = vec![("meridian".to_owned(), object(&report["figures"]))];
    contenders.extend(object(&report["peers"]).iter().map(|(name, figures)| (name.clone(), object(figures))));
    let names: BTreeSet<_> = contenders.iter().flat_map(|(_, figures)| figures.keys().cloned()).collect();
    let heads: Vec<_> = contenders.iter().map(|(name, _)| name.as_str()).collect();
    writeln!(page, "| | {} |\n|---|{}", heads.join(" | "), "---|".repeat(heads.len()))?;
    for name in names {
        let cells: Vec<_> =
            contenders.iter().map(|(_, figures)| figures.get(&name).map(plain).unwrap_or_default()).collect();
        writeln!(page, "| {} | {} |", name.replace('_', " "), cells.join(" | "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_measurement_becomes_a_table_with_its_peers() {
        let line =
            r#"{"name":"relay","parameters":{"streams":10},"figures":{"kib":1.5},"peers":{"nginx":{"kib":9}},
            "host":{"processor":"P","cores":2,"memory_mb":1,"kernel":"K"}}"#
                .replace('\n', "");
        let page = document(&line).unwrap();
        assert!(page.contains("| | meridian | nginx |\n|---|---|---|\n| kib | 1.5 | 9 |"), "{page}");
        assert!(document("not json").is_err());
    }
}
