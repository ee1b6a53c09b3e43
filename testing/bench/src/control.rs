//! `meridian bench control`: what the control plane does in a second, beside what its database does of the same statements.
//!
//! PostgreSQL, started as Meridian itself starts it, has one core; a Web App of its own process and the load have the others. Each hot
//! interaction is asked over HTTP, as browsers, proxies and agents ask, and then its statements are given to `pgbench`, in turn and on the
//! same rows: what the database does with nothing else around it is the ceiling. Then the same among many agents; pages of a long list;
//! and a Web App whose database is far away.

mod ceiling;
mod client;
mod cluster;
mod far;
mod interaction;
mod joined;
mod lists;
mod rates;
mod site;
mod statement;

use std::{ffi::OsString, time::Duration};

use anyhow::{bail, ensure};
use meridian_runtime::Tasks;
use serde_json::json;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

use self::{ceiling::Ceiling, cluster::Cluster, site::Site};
use crate::{Report, cores::Cores, report::Figures};

/// Agents at most.
pub const MAX_AGENTS: u32 = 100_000;
/// Rows of the long list at most.
pub const MAX_ROWS: u32 = 1_000_000;
/// Agents of the small deployment. These are real to the Web App: each has a certificate and says its heartbeats.
const FEW_AGENTS: u32 = 10;
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How to measure.
#[derive(Clone, Debug)]
pub struct ControlBench {
    /// Agents of the large deployment.
    pub agents: u32,
    /// Sessions that are over, in the long list.
    pub rows: u32,
    /// How often each interaction is measured; the median counts.
    pub rounds: usize,
    /// How long each interaction, and each of its ceilings, is measured in each round.
    pub wanted: Duration,
    /// Runs a Web App with the settings file that is appended to it: `meridian web --config`.
    pub web: Vec<OsString>,
}

impl ControlBench {
    /// Measures all of it. Without `pgbench` there are no ceilings.
    ///
    /// # Errors
    /// When PostgreSQL or a Web App cannot be run, or an interaction is refused.
    pub async fn run(&self) -> anyhow::Result<Vec<Report>> {
        ensure!(
            (FEW_AGENTS..=MAX_AGENTS).contains(&self.agents),
            "between {FEW_AGENTS} and {MAX_AGENTS} agents"
        );
        ensure!((1..=MAX_ROWS).contains(&self.rows), "between 1 and {MAX_ROWS} rows");
        ensure!(self.rounds > 0, "at least one round");
        let folder = tempfile::tempdir()?;
        let (cores, tasks) = (Cores::split()?, Tasks::new());
        let cluster = Cluster::start(folder.path(), &cores, &tasks).await?;
        let measured = tokio::select! {
            measured = self.measure(&folder, &cluster, &tasks) => measured,
            stopped = told_to_stop() => stopped.and_then(|()| bail!("told to stop")),
        };
        // Whatever happened: nobody else would stop it.
        cluster.stop().await?;
        tasks.stop(STOP_LIMIT).await;
        measured
    }

    async fn measure(
        &self,
        folder: &TempDir,
        cluster: &Cluster,
        tasks: &Tasks,
    ) -> anyhow::Result<Vec<Report>> {
        let mut site = Site::start(folder.path(), &self.web, cluster, FEW_AGENTS, tasks).await?;
        let ceiling = Ceiling::find(cluster, folder.path()).await?;
        let few = rates::measure(&site, cluster, ceiling.as_ref(), self.rounds, self.wanted).await?;
        site.grow(self.agents).await?;
        let many = rates::measure(&site, cluster, ceiling.as_ref(), self.rounds, self.wanted).await?;
        let lists = lists::measure(&site, cluster, ceiling.as_ref(), self).await?;
        let far = far::measure(&site, cluster, &self.web).await?;
        Ok(vec![
            few.report("control_few_agents", self.parameters(FEW_AGENTS, 1), None),
            many.report("control_many_agents", self.parameters(self.agents, site.zones.len()), Some(&few)),
            lists,
            far,
        ])
    }

    fn parameters(&self, agents: u32, zones: usize) -> Figures {
        Figures::from([
            ("agents".into(), json!(agents)),
            ("zones".into(), json!(zones)),
            ("rounds".into(), json!(self.rounds)),
            ("seconds".into(), json!(self.wanted.as_secs_f64())),
        ])
    }
}

async fn told_to_stop() -> anyhow::Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
