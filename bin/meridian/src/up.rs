//! `meridian up`: every role on one machine, on an embedded PostgreSQL, behind one address.
//!
//! The roles run in this process, or with `--separate` each in one of its own; either way they speak to each other as they do across
//! machines, with certificates of Meridian's own authority. Workspaces outlive all of it.

mod apart;
mod layout;
mod ports;
mod ready;
mod together;
mod welcome;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use meridian_control::store::Database;
use meridian_embedded::EmbeddedPostgres;
use meridian_front::FrontSettings;
use meridian_runtime::{Tasks, name_node, role_span};

use tracing::Instrument;

use crate::{
    data::DataDirectory,
    exit::{Failure, print},
    role::{parse_database, told_to_stop},
};
use layout::Layout;

/// How long everything may take to stop, the database apart.
const STOP_WAIT: Duration = Duration::from_secs(20);

#[derive(Args)]
#[command(after_help = "Examples:
  meridian up
  meridian up --listen 0.0.0.0:8443 --zones london,virginia
  MERIDIAN_DATA=/srv/meridian meridian up --separate

Ctrl-C stops Meridian and its database; the workspaces go on, and the next start finds them again.")]
pub struct UpArguments {
    /// The one address for console and streams. Anything but loopback means HTTPS.
    #[arg(long, default_value = "127.0.0.1:8080", env = "MERIDIAN_LISTEN")]
    listen: SocketAddr,
    /// HTTPS on loopback too.
    #[arg(long)]
    tls: bool,
    /// Certificate chain for HTTPS (PEM); without it one of Meridian's own authority is used.
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    tls_certificate: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, requires = "tls_certificate", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Zones to run; the first is the default.
    #[arg(long, value_delimiter = ',', default_value = "london,virginia")]
    zones: Vec<String>,
    /// Run each role as a process of its own: two Web App nodes behind a balancer, two proxies a zone behind another.
    #[arg(long)]
    separate: bool,
    /// Where everything is kept.
    #[arg(long, env = "MERIDIAN_DATA", value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Another PostgreSQL 15+ than the embedded one, such as postgresql://USER@HOST/DATABASE.
    #[arg(long, env = "MERIDIAN_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: Option<String>,
    /// `simulated` runs no containers: for trying the control plane where no Docker Engine is.
    #[arg(long, default_value = "docker", value_parser = ["docker", "simulated"])]
    engine: String,
}

pub async fn run(arguments: UpArguments) -> Result<(), Failure> {
    let everything = async {
        name_node("", "up");
        run_all(arguments).await
    };
    everything.instrument(role_span("up")).await
}

async fn run_all(arguments: UpArguments) -> Result<(), Failure> {
    check_zones(&arguments.zones)?;
    let data = DataDirectory::open(arguments.data.clone())?;
    check_port(arguments.listen)?;
    // The database's keeper is not among the tasks that use it: it is the last to go.
    let (tasks, keeper) = (Tasks::new(), Tasks::new());
    let (embedded, database, url) = match &arguments.database_url {
        Some(url) => (None, parse_database(url)?, url.clone()),
        None => {
            let embedded = EmbeddedPostgres::start(data.path(), &keeper).await?;
            let (config, url) = (embedded.config(), embedded.url());
            (Some(embedded), config.into(), url)
        }
    };
    let outcome = tokio::select! {
        outcome = serve(&arguments, &data, &database, &url, &tasks) => outcome,
        stopped = told_to_stop() => stopped.map(|why| tracing::info!(why, "stopping; the workspaces go on")),
    };
    if !tasks.stop(STOP_WAIT).await {
        tracing::warn!("some tasks did not stop in time");
    }
    apart::wait_for_children().await;
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    outcome
}

/// Starts everything, says so, and stays until a part of it fails for good.
async fn serve(
    arguments: &UpArguments,
    data: &DataDirectory,
    database: &Database,
    database_url: &str,
    tasks: &Tasks,
) -> Result<(), Failure> {
    let layout = Layout::make(arguments, data, database_url)?;
    let before = ready::Before::look(database).await;
    let proxies = if arguments.separate {
        apart::start(&layout, tasks).await?
    } else {
        together::start(&layout, database, tasks).await?
    };
    let settings = FrontSettings {
        listen: arguments.listen,
        tls: layout.front_tls.clone(),
        web: vec![layout.primary.entrance],
        zones: layout.zones.iter().map(|zone| zone.path.clone()).zip(proxies).collect(),
    };
    let front = meridian_front::start(settings, &tasks.child()).instrument(role_span("front")).await?;
    ready::wait(database, &before, &layout, tasks).await?;
    let scheme = if layout.front_tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}", front.local_addr);
    layout.welcome.say(&url)?;
    print(&format!("ready {url}"))?;
    tasks.stopping().cancelled().await;
    Ok(())
}

fn check_zones(zones: &[String]) -> Result<(), Failure> {
    for (index, zone) in zones.iter().enumerate() {
        let plain =
            zone.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if zone.is_empty() || zone.len() > 40 || !plain || zone.starts_with('-') || zone.ends_with('-') {
            return Err(Failure::new(format!("{zone:?} cannot be a zone's name"))
                .hint("A zone's name has 1 to 40 of a-z, 0-9 and - (not at its ends)"));
        }
        if zones[..index].contains(zone) {
            return Err(Failure::new(format!("zone {zone} is named twice")));
        }
    }
    Ok(())
}

/// A taken port is said before anything is started.
fn check_port(listen: SocketAddr) -> Result<(), Failure> {
    match std::net::TcpListener::bind(listen) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(Failure::new(format!(
            "{listen} is taken by another program"
        ))
        .hint("Stop that program, or choose another address with --listen, such as --listen 127.0.0.1:8090")),
        Err(error) => Err(Failure::new(format!("cannot listen on {listen}: {error}"))),
    }
}
