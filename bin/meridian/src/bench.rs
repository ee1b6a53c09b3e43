//! `meridian bench`: measurements that anyone can take again. Nothing here is asserted; all traffic is on loopback.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use meridian_bench::{LaunchBench, RelayBench, Report};

use crate::exit::{Failure, print};

#[derive(Args)]
#[command(after_help = "Examples:
  meridian bench launch --url http://127.0.0.1:8080 --username admin --runs 20
  meridian bench relay --streams 1000 --idle --json relay.json")]
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
}

pub async fn run(arguments: BenchArguments) -> Result<(), Failure> {
    let report = match arguments.command {
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
