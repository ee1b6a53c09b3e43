//! Interactions per second, in turn with their ceilings, and what each costs the database and the Web App.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::Value;

use super::{
    ceiling::{Ceiling, check},
    client::{Client, drive},
    cluster::Cluster,
    interaction::{CONNECTIONS, Interaction},
    site::Site,
};
use crate::{
    Goals, Host, Report,
    arena::{Samples, rounded, summary},
    process::cpu_of,
    report::{Figures, Goal},
};

/// All rounds on one deployment: ours, and the ceiling's.
pub(super) struct Rates {
    ours: Vec<Samples>,
    ceiling: Vec<Samples>,
    ceiling_version: Option<String>,
}

/// A round's first answers warm connections, caches and plans.
const WARM_UP: Duration = Duration::from_millis(200);

pub(super) async fn measure(
    site: &Site,
    cluster: &Cluster,
    ceiling: Option<&Ceiling>,
    rounds: usize,
    wanted: Duration,
) -> anyhow::Result<Rates> {
    let mut rates = Rates {
        ours: Vec::new(),
        ceiling: Vec::new(),
        ceiling_version: ceiling.map(|ceiling| ceiling.version.clone()),
    };
    for _ in 0..rounds {
        let (mut ours, mut theirs, mut tickets) = (Samples::new(), Samples::new(), Vec::new());
        for interaction in Interaction::ALL {
            let name = interaction.name();
            site.freshen().await?;
            let mut clients = interaction.clients(site, site.doors, &tickets).await?;
            let connects = interaction == Interaction::Connect;
            // A ticket is good for one question: none is spent on warming up.
            if interaction != Interaction::Authorize {
                drive(&mut clients, WARM_UP, false).await?;
            }
            let kept = meter(site, cluster, name, &mut clients, wanted, connects, &mut ours).await?;
            if connects {
                tickets = kept;
            }
            let Some(ceiling) = ceiling else { continue };
            let connections =
                if interaction == Interaction::Heartbeat { site.agents.len() } else { CONNECTIONS };
            let scripts = interaction.statements(site).await?;
            site.freshen().await?;
            check(&site.sql, &scripts).await?;
            compare(cluster, ceiling, name, &scripts, connections, wanted, [&mut ours, &mut theirs]).await?;
        }
        rates.ours.push(ours);
        rates.ceiling.push(theirs);
    }
    site.freshen().await?;
    Ok(rates)
}

/// Lets clients ask, and notes what came of it under a name; gives the answers, if they are to be kept.
pub(super) async fn meter(
    site: &Site,
    cluster: &Cluster,
    name: &str,
    clients: &mut [Client],
    wanted: Duration,
    keep: bool,
    samples: &mut Samples,
) -> anyhow::Result<Vec<Bytes>> {
    let before = (cluster.cpu()?, site.web.cpu()?, cpu_of("self")?);
    let started = Instant::now();
    let heard = drive(clients, wanted, keep).await?;
    let wall_s = started.elapsed().as_secs_f64();
    let spent = |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64();
    let database_s = spent(cluster.cpu()?, before.0);
    let (web_s, load_s) = (spent(site.web.cpu()?, before.1), spent(cpu_of("self")?, before.2));
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let answers = heard.answers.max(1) as f64;
    for (figure, value) in [
        ("per_s", answers / wall_s),
        ("database_ms", 1000.0 * database_s / answers),
        ("web_ms", 1000.0 * web_s / answers),
        ("database_busy_percent", 100.0 * database_s / wall_s),
        ("web_and_load_busy_percent", 100.0 * (web_s + load_s) / wall_s),
    ] {
        samples.insert(format!("{name}_{figure}"), value);
    }
    Ok(heard.kept)
}

/// The ceiling of what was just measured, and how near it came.
pub(super) async fn compare(
    cluster: &Cluster,
    ceiling: &Ceiling,
    name: &str,
    scripts: &[String],
    connections: usize,
    wanted: Duration,
    [ours, theirs]: [&mut Samples; 2],
) -> anyhow::Result<()> {
    let (before, started) = (cluster.cpu()?, Instant::now());
    let per_s = ceiling.measure(scripts, connections, wanted).await?;
    let (database_s, wall_s) =
        (cluster.cpu()?.saturating_sub(before).as_secs_f64(), started.elapsed().as_secs_f64());
    theirs.insert(format!("{name}_per_s"), per_s);
    theirs.insert(format!("{name}_database_ms"), 1000.0 * database_s / (per_s * wall_s).max(1.0));
    theirs.insert(format!("{name}_database_busy_percent"), 100.0 * database_s / wall_s);
    let own = ours.get(&format!("{name}_per_s")).copied().unwrap_or_default();
    ours.insert(format!("{name}_percent_of_ceiling"), 100.0 * own / per_s.max(1e-6));
    Ok(())
}

/// The peers' column of a report.
pub(super) fn peers(version: Option<&str>, rounds: &[Samples]) -> BTreeMap<String, Figures> {
    let Some(version) = version else { return BTreeMap::new() };
    let mut figures = summary(rounds);
    figures.insert("version".into(), Value::from(version));
    BTreeMap::from([("pgbench".to_owned(), figures)])
}

impl Rates {
    /// With what each placement costs beside a deployment of fewer agents.
    pub(super) fn report(&self, name: &str, parameters: Figures, few: Option<&Self>) -> Report {
        let mut figures = summary(&self.ours);
        figures.insert("version".into(), Value::from(meridian_runtime::VERSION));
        let mut goals = Goals::from([
            ("authorize_percent_of_ceiling".into(), Goal::AtLeast(70.0)),
            ("launch_percent_of_ceiling".into(), Goal::AtLeast(50.0)),
        ]);
        if let Some(few) = few {
            let cost = |rates: &Self| summary(&rates.ours).get("launch_database_ms").and_then(Value::as_f64);
            // What was not measured reaches no goal.
            if let Some((many, few)) = cost(self).zip(cost(few).filter(|few| *few > 0.0)) {
                figures.insert("launch_database_ms_times_few_agents".into(), rounded(many / few));
            }
            goals.insert("launch_database_ms_times_few_agents".into(), Goal::AtMost(2.0));
        }
        let peers = peers(self.ceiling_version.as_deref(), &self.ceiling);
        Report { name: name.into(), parameters, figures, peers, goals, host: Host::this() }
    }
}
