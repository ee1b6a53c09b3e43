//! Running one role in this process: settings in, running until told to stop.

use std::{path::PathBuf, time::Duration};

use meridian_agent::{self as agent, Agent};
use meridian_balancer as balancer;
use meridian_control::{
    Web,
    store::{Database, Store},
};
use meridian_proxy as proxy;
use meridian_runtime::{Clock, Health, Tasks, role_span};
use meridian_settings::{AgentSettings, BalanceSettings, ProxySettings, WebSettings, read_file};
use tokio::signal::unix::{SignalKind, signal};
use tracing::Instrument;

use crate::exit::Failure;

/// How long a role may take over its last words.
const STOP_WAIT: Duration = Duration::from_secs(15);

/// Returns when Ctrl-C or SIGTERM came.
pub async fn told_to_stop() -> Result<&'static str, Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "told to stop",
        _ = hangup.recv() => "the terminal went away",
    })
}

/// Returns when Ctrl-C or SIGTERM came, for a role to which SIGHUP means that its configuration is to be read again.
async fn told_to_end() -> Result<&'static str, Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(tokio::select! {
        _ = interrupt.recv() => "interrupted",
        _ = terminate.recv() => "told to stop",
    })
}

/// Waits for the signal, then stops softly, then hard.
async fn until_stopped(tasks: Tasks) -> Result<(), Failure> {
    stop(tasks, told_to_stop().await?).await
}

async fn stop(tasks: Tasks, why: &str) -> Result<(), Failure> {
    tracing::info!(why, "stopping");
    if !tasks.stop(STOP_WAIT).await {
        tracing::warn!("some tasks did not stop in time");
    }
    Ok(())
}

/// The database that a Web App node's settings name.
pub fn database(settings: &WebSettings) -> Result<Database, Failure> {
    let text = match (&settings.database_url, &settings.database_url_file) {
        (Some(url), None) => url.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("cannot read {}: {error}", file.display())))?,
        (None, None) => {
            return Err(Failure::new("no database is named").hint(
                "Set database_url_file (or database_url) in the configuration; the embedded database is for `meridian up`",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Failure::new("give either database_url or database_url_file, not both"));
        }
    };
    parse_database(text.trim())
}

pub fn parse_database(text: &str) -> Result<Database, Failure> {
    Database::parse(text).map_err(|error| Failure::new(error.to_string()).hint(error.hint()))
}

pub async fn run_web(config: PathBuf) -> Result<(), Failure> {
    let settings: WebSettings = read_file(&config)?;
    let (tasks, database) = (Tasks::new(), database(&settings)?);
    let health = Health::default();
    let web = Web::start(settings, database, Clock::system(), tasks.clone(), health)
        .instrument(role_span("web"))
        .await?;
    let why = told_to_stop().await?;
    tracing::info!("about to stop: balancers learn of it first");
    tokio::select! {
        () = web.drain() => {}
        // Told twice, it does not wait.
        again = told_to_stop() => drop(again?),
    }
    stop(tasks, why).await
}

pub async fn run_proxy(config: PathBuf) -> Result<(), Failure> {
    let settings: ProxySettings = read_file(&config)?;
    let tasks = Tasks::new();
    let _proxy = proxy::start(settings, Clock::system(), &tasks, &Health::default())
        .instrument(role_span("proxy"))
        .await?;
    until_stopped(tasks).await
}

pub async fn run_agent(config: PathBuf) -> Result<(), Failure> {
    let settings: AgentSettings = read_file(&config)?;
    let tasks = Tasks::new();
    let _agent = start_agent(settings, Clock::system(), &tasks).instrument(role_span("agent")).await?;
    until_stopped(tasks).await
}

/// Starts an agent, and the entrance for browsers in front of it where its settings have one: a proxy's, which has this agent alone.
pub async fn start_agent(settings: AgentSettings, clock: Clock, tasks: &Tasks) -> Result<Agent, Failure> {
    let health = Health::default();
    let direct = settings.direct.clone().map(|direct| ProxySettings::at_agent(&settings, direct));
    let metrics = proxy::Metrics::default();
    let at_entrance = metrics.clone();
    let counted: agent::Counted = match &direct {
        Some(_) => Box::new(move |registry| at_entrance.register_in(registry)),
        None => Box::new(|_| {}),
    };
    let agent = agent::start(settings, clock.clone(), tasks.clone(), health.clone(), counted).await?;
    if let Some(entrance) = direct {
        let own = proxy::OwnAgent { node: agent.node.clone(), door: agent.door.clone(), metrics };
        proxy::start_at_agent(entrance, own, clock, tasks, &health).await?;
    }
    Ok(agent)
}

pub async fn run_balance(config: PathBuf) -> Result<(), Failure> {
    let settings: BalanceSettings = read_file(&config)?;
    let tasks = Tasks::new();
    async {
        let balancer = balancer::start(settings, &tasks, &Health::default()).await?;
        balancer.follow(config, &tasks)?;
        Ok::<_, Failure>(())
    }
    .instrument(role_span("balance"))
    .await?;
    stop(tasks, told_to_end().await?).await
}

pub async fn migrate(url: String) -> Result<(), Failure> {
    let store = Store::new(parse_database(&url)?, 1, Duration::from_secs(30))?;
    let tasks = Tasks::new();
    store.prepare(&tasks).await?;
    tracing::info!("the database is up to date");
    tasks.stop(STOP_WAIT).await;
    Ok(())
}
