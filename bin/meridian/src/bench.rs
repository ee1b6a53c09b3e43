//! `meridian bench`: measurements that anyone can take again. Nothing here is asserted; all traffic is on loopback.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand};
use meridian_bench::{
    BalanceBench, BalanceLoad, ControlBench, LaunchBench, RelayBench, RelayLoad, Report, document,
};

use crate::exit::{Failure, print};

#[derive(Args)]
#[command(after_help = "Examples:
  meridian bench launch --url http://127.0.0.1:8080 --username admin --runs 20
  meridian bench relay --json docs/performance.jsonl
  meridian bench relay --idle --streams 1000
  meridian bench balance --bulk --connections
  meridian bench control --json docs/performance.jsonl
  meridian bench document docs/performance.jsonl > docs/performance.md")]
pub struct BenchArguments {
    /// Append each measurement to this file, as one JSON object on a line.
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
    /// What streams cost a proxy with TLS on both sides, beside nginx and HAProxy where they are installed.
    #[command(after_help = "Without a kind of load all of them are measured, each in less than two minutes.

Examples:
  meridian bench relay
  meridian bench relay --idle --streams 1000 --json figures.jsonl
  meridian bench relay --frames --seconds 5 --rounds 5")]
    Relay {
        #[command(flatten)]
        how: How,
        /// Memory of streams that carry nothing.
        #[arg(long)]
        idle: bool,
        /// Megabytes per second of the proxy's processor time, on 1, 16 and 128 streams.
        #[arg(long)]
        bulk: bool,
        /// Thirty frames of 4 KiB a second on each of 600 streams, and their delay on 200.
        #[arg(long)]
        frames: bool,
        /// Streams opened per second of the proxy's processor time, with whole and with resumed handshakes.
        #[arg(long)]
        handshakes: bool,
    },
    /// What connections cost a balancer that passes TLS through, beside nginx and HAProxy where they are installed.
    #[command(after_help = "Without a kind of load all of them are measured, each in less than two minutes.

Examples:
  meridian bench balance
  meridian bench balance --bulk --seconds 5 --json figures.jsonl")]
    Balance {
        #[command(flatten)]
        how: How,
        /// Memory of connections that carry nothing.
        #[arg(long)]
        idle: bool,
        /// Megabytes per second of the balancer's processor time, on 1, 16 and 128 connections.
        #[arg(long)]
        bulk: bool,
        /// Connections per second of the balancer's processor time.
        #[arg(long)]
        connections: bool,
    },
    /// What the control plane does in a second, beside what PostgreSQL does of the same statements (`pgbench`, where it is installed).
    #[command(
        after_help = "It starts a PostgreSQL and a Web App of its own, and stops them. Measured are ten agents, many agents, pages of a long list,
and a database that is 100 ms away; all of it takes about five minutes.

Examples:
  meridian bench control
  meridian bench control --agents 1000 --rows 20000 --rounds 1 --seconds 1"
    )]
    Control {
        /// Agents of the large deployment; a hundred belong to a zone, as long as there are at most a hundred zones.
        #[arg(long, default_value_t = 10_000)]
        agents: u32,
        /// Rows of the long list.
        #[arg(long, default_value_t = 100_000)]
        rows: u32,
        /// How often each interaction is measured; the median counts.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// How long each interaction is measured in each round, and its ceiling (in whole seconds).
        #[arg(long, default_value_t = 2.0, value_parser = seconds)]
        seconds: f64,
    },
    /// Write measurements down as a page: the objects of a file that --json made; the last of each name holds.
    Document { file: PathBuf },
}

#[derive(Args)]
struct How {
    /// Streams at once (handshakes, connections: in each round); without it, what the goals are set for.
    #[arg(long)]
    streams: Option<usize>,
    /// How often each relay is measured; the median counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each load is measured in each round.
    #[arg(long, default_value_t = 2.0, value_parser = seconds)]
    seconds: f64,
}

fn seconds(text: &str) -> Result<f64, String> {
    let most = 60.0;
    let seconds: f64 = text.parse().map_err(|_| "no number".to_owned())?;
    if seconds > 0.0 && seconds <= most { Ok(seconds) } else { Err(format!("more than 0, at most {most}")) }
}

pub async fn run(arguments: BenchArguments) -> Result<(), Failure> {
    let json = arguments.json.as_deref();
    match arguments.command {
        Command::Document { file } => {
            let page = document(&std::fs::read_to_string(file)?).map_err(failed)?;
            print(page.trim_end())
        }
        Command::Launch { url, username, password, workspace, zone, runs } => {
            let bench = LaunchBench { url, username, password, workspace, zone, runs };
            show(&bench.run().await.map_err(failed)?, json)
        }
        Command::Relay { how, idle, bulk, frames, handshakes } => {
            let chosen = chosen(RelayLoad::ALL, [idle, bulk, frames, handshakes]);
            let bench = RelayBench {
                streams: how.streams,
                rounds: how.rounds,
                wanted: Duration::from_secs_f64(how.seconds),
                proxy: role("proxy")?,
            };
            for load in chosen {
                show(&bench.run(load).await.map_err(failed)?, json)?;
            }
            Ok(())
        }
        Command::Control { agents, rows, rounds, seconds } => {
            let wanted = Duration::from_secs_f64(seconds);
            let bench = ControlBench { agents, rows, rounds, wanted, web: role("web")? };
            for report in bench.run().await.map_err(failed)? {
                show(&report, json)?;
            }
            Ok(())
        }
        Command::Balance { how, idle, bulk, connections } => {
            let chosen = chosen(BalanceLoad::ALL, [idle, bulk, connections]);
            let bench = BalanceBench {
                streams: how.streams,
                rounds: how.rounds,
                wanted: Duration::from_secs_f64(how.seconds),
                balance: role("balance")?,
            };
            for load in chosen {
                show(&bench.run(load).await.map_err(failed)?, json)?;
            }
            Ok(())
        }
    }
}

/// Those that were asked for; all when none was.
fn chosen<T, const N: usize>(all: [T; N], asked: [bool; N]) -> Vec<T> {
    let none = asked.iter().all(|asked| !asked);
    all.into_iter().zip(asked).filter(|(_, asked)| *asked || none).map(|(load, _)| load).collect()
}

/// Runs a role of this executable, its log as quiet as the peers'.
fn role(name: &str) -> Result<Vec<OsString>, Failure> {
    let program = std::env::current_exe()?.into();
    Ok([program].into_iter().chain(["--log", "warn", name, "--config"].map(OsString::from)).collect())
}

fn failed(error: anyhow::Error) -> Failure {
    Failure::new(format!("{error:#}"))
}

fn show(report: &Report, json: Option<&Path>) -> Result<(), Failure> {
    if let Some(file) = json {
        report.write_json(file).map_err(failed)?;
    }
    print(&report.to_string())
}
