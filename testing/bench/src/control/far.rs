//! A Web App whose database is far away: how often each interaction goes there and back, and how long it takes for that.

use std::{
    ffi::OsString,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use http::Method;
use meridian_harness::WireProxy;
use serde_json::json;

use super::{
    client::{Calls, Client, Connection, call},
    cluster::Cluster,
    interaction::Interaction,
    site::{ADMINISTRATOR, Doors, Site, start_web},
};
use crate::{
    Goals, Host, Report,
    arena::{median, rounded},
    report::{Figures, Goal},
};

const DELAY: Duration = Duration::from_millis(100);
/// Jobs of the Web App ask the database too: of several tries the least counts.
const TRIES: usize = 8;

/// What is asked of a Web App, and how many round trips it may cost; none: it is none of the hot ones.
struct Asked {
    name: &'static str,
    client: Client,
    trips: Option<u32>,
    /// What may be added to the trips, in trips.
    spare: f64,
}

const SPARE: f64 = 0.5;
/// A password's hash is meant to take its time.
const SPARE_WITH_A_HASH: f64 = 1.0;

pub(super) async fn measure(site: &Site, cluster: &Cluster, web: &[OsString]) -> anyhow::Result<Report> {
    let wire = WireProxy::on_unix(&cluster.config(), &site.tasks).await?;
    let (web, doors) = start_web(&site.folder, "web-far", web, wire.url(), None).await?;
    site.freshen().await?;
    let (mut figures, mut goals) = (Figures::new(), Goals::new());
    let mut measured = async |mut asked: Asked| -> anyhow::Result<Asked> {
        let name = asked.name;
        // Connections to the database are made, and nodes' keys learnt, while the way is short.
        asked.client.next().await.context(name)?;
        wire.delay(DELAY);
        let (trips, ms) = measure_one(&wire, &mut asked).await.context(name)?;
        wire.delay(Duration::ZERO);
        figures.insert(format!("{name}_round_trips"), json!(trips));
        figures.insert(format!("{name}_ms"), rounded(ms));
        let delays = ms / (DELAY.as_secs_f64() * 1000.0);
        figures.insert(format!("{name}_delays"), rounded(delays));
        if let Some(most) = asked.trips {
            goals.insert(format!("{name}_round_trips"), Goal::AtMost(most.into()));
            goals.insert(format!("{name}_delays"), Goal::AtMost(f64::from(most) + asked.spare));
        }
        Ok(asked)
    };
    let login = json!({"username": ADMINISTRATOR, "password": site.password});
    let login = call(Method::POST, "/api/v1/auth/login", None, Some(serde_json::to_vec(&login)?))?;
    let list = call(Method::GET, "/api/v1/sessions", Some(ADMINISTRATOR), None)?;
    for (name, asked, trips, spare) in [("sign_in", login, 2, SPARE_WITH_A_HASH), ("list", list, 1, SPARE)] {
        let connection = Connection::open(doors.public, None, &site.tasks).await?;
        let client = Client { connection, calls: Calls::again(vec![asked]) };
        measured(Asked { name, client, trips: Some(trips), spare }).await?;
    }
    let mut tickets: Vec<Bytes> = Vec::new();
    for interaction in Interaction::ALL {
        let mut asked = measured(ask(interaction, site, doors, &tickets).await?).await?;
        if interaction == Interaction::Connect {
            for _ in 0..2 * TRIES {
                tickets.extend(asked.client.next().await?);
            }
        }
    }
    web.stop().await?;
    let delay_ms = u64::try_from(DELAY.as_millis()).unwrap_or_default();
    Ok(Report {
        name: "control_far_database".into(),
        parameters: Figures::from([("delay_ms".into(), json!(delay_ms)), ("tries".into(), json!(TRIES))]),
        figures,
        peers: std::collections::BTreeMap::new(),
        goals,
        host: Host::this(),
    })
}

/// Opened when its turn comes: the Web App closes connections on which nothing is asked.
async fn ask(
    interaction: Interaction,
    site: &Site,
    doors: Doors,
    tickets: &[Bytes],
) -> anyhow::Result<Asked> {
    let clients = interaction.clients(site, doors, tickets).await?;
    let (client, trips) = match interaction {
        // Each has a part of the tickets, and there is only one who asks.
        Interaction::Authorize => (gathered(clients), Some(1)),
        Interaction::Launch | Interaction::Connect | Interaction::Heartbeat => {
            (clients.into_iter().next(), Some(1))
        }
        Interaction::Explain | Interaction::ImageMatrix => (clients.into_iter().next(), None),
    };
    Ok(Asked { name: interaction.name(), client: client.context("nobody asks")?, trips, spare: SPARE })
}

/// One client with the calls of all.
fn gathered(clients: Vec<Client>) -> Option<Client> {
    let mut all = clients.into_iter();
    let mut first = all.next()?;
    for client in all {
        if let (Calls::Once(mine), Calls::Once(theirs)) = (&mut first.calls, client.calls) {
            mine.extend(theirs);
        }
    }
    Some(first)
}

/// The least round trips of several tries, and the median of their times in milliseconds.
async fn measure_one(wire: &WireProxy, asked: &mut Asked) -> anyhow::Result<(u64, f64)> {
    let (mut least, mut times) = (u64::MAX, Vec::new());
    for _ in 0..TRIES {
        let before = wire.counts();
        let started = Instant::now();
        asked.client.next().await?.context("nothing is left to be asked")?;
        times.push(started.elapsed().as_secs_f64() * 1000.0);
        least = least.min((wire.counts() - before).ready);
    }
    Ok((least, median(times)))
}
