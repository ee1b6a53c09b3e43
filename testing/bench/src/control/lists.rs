//! Pages of a long list: the first and one far behind cost alike, and the Web App grows with neither.

use http::Method;
use meridian_control::store::sessions;
use meridian_ids::Uuid;
use serde_json::json;

use super::{
    ControlBench,
    ceiling::{Ceiling, check},
    client::{Calls, Client, Connection, call, drive},
    cluster::Cluster,
    interaction::CONNECTIONS,
    rates::{compare, meter, peers},
    site::{ADMINISTRATOR, Site},
    statement::{fill, token_hash, uuid},
};
use crate::{
    Goals, Host, Report,
    arena::{Samples, summary},
    report::{Figures, Goal},
};

const ASKING: usize = 8;
const PAGE: i32 = 100;

pub(super) async fn measure(
    site: &Site,
    cluster: &Cluster,
    ceiling: Option<&Ceiling>,
    bench: &ControlBench,
) -> anyhow::Result<Report> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    // What the Web App holds for this many connections and answers is the same before and after.
    drive(&mut clients(site, None).await?, bench.wanted, false).await?;
    let before = site.web.settled_pss_kib(bench.wanted).await?;
    site.sql.batch_execute(&fill_list(bench.rows)).await?;
    site.sql.batch_execute("VACUUM (ANALYZE) sessions").await?;
    let pages = [("first_page", None), ("far_page", Some(far_row(bench.rows)))];
    for _ in 0..bench.rounds {
        let (mut round, mut ceilings) = (Samples::new(), Samples::new());
        for (name, after) in pages {
            let mut clients = clients(site, after).await?;
            meter(site, cluster, name, &mut clients, bench.wanted, false, &mut round).await?;
            let Some(ceiling) = ceiling else { continue };
            let scripts = [statement(after)];
            check(&site.sql, &scripts).await?;
            let both = [&mut round, &mut ceilings];
            compare(cluster, ceiling, name, &scripts, CONNECTIONS, bench.wanted, both).await?;
        }
        let cost = |round: &Samples, name: &str| round.get(name).copied().unwrap_or_default();
        let times = cost(&round, "far_page_database_ms") / cost(&round, "first_page_database_ms").max(1e-6);
        round.insert("far_page_database_ms_times_first".into(), times);
        ours.push(round);
        theirs.push(ceilings);
    }
    let after = site.web.settled_pss_kib(bench.wanted).await?;
    let mut figures = summary(&ours);
    figures.insert("web_pss_kib_before".into(), json!(before));
    figures.insert("web_pss_kib_grown".into(), json!(after.saturating_sub(before)));
    figures.insert("version".into(), json!(meridian_runtime::VERSION));
    let goals = Goals::from([
        ("far_page_database_ms_times_first".into(), Goal::AtMost(1.5)),
        ("web_pss_kib_grown".into(), Goal::AtMost(8192.0)),
    ]);
    let parameters = Figures::from([
        ("rows".into(), json!(bench.rows)),
        ("rounds".into(), json!(bench.rounds)),
        ("seconds".into(), json!(bench.wanted.as_secs_f64())),
    ]);
    let peers = peers(ceiling.map(|ceiling| ceiling.version.as_str()), &theirs);
    Ok(Report { name: "control_lists".into(), parameters, figures, peers, goals, host: Host::this() })
}

async fn clients(site: &Site, after: Option<Uuid>) -> anyhow::Result<Vec<Client>> {
    let cursor = after.map(|after| format!("&cursor={after}")).unwrap_or_default();
    let path = format!("/api/v1/sessions?all=true&ended=true{cursor}");
    let mut clients = Vec::new();
    for _ in 0..ASKING {
        let connection = Connection::open(site.doors.public, None, &site.tasks).await?;
        let asked = call(Method::GET, &path, Some(ADMINISTRATOR), None)?;
        clients.push(Client { connection, calls: Calls::again(vec![asked]) });
    }
    Ok(clients)
}

fn statement(after: Option<Uuid>) -> String {
    let after = after.map_or_else(|| "NULL".into(), uuid);
    fill(
        sessions::LIST,
        &[token_hash(ADMINISTRATOR), "true".into(), "true".into(), "'{}'".into(), after, PAGE.to_string()],
    )
}

/// Sessions that are over, all older than those that run: ids sort by age. They ended one after the other, until yesterday: what ended just
/// now is also told to nodes.
fn fill_list(rows: u32) -> String {
    format!(
        "INSERT INTO sessions (id, user_id, workspace_id, zone_id, node_id, state, desired, epoch, generation, desired_version, reserved,
             cpu_milli, memory_mb, spec, progress_step, reason, explanation, gone_at, created_at, started_at, ended_at)
         SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(i), 12, '0'))::uuid, s.user_id, s.workspace_id, s.zone_id, s.node_id, 'ended',
             'end', 1, 2, 0, false, s.cpu_milli, s.memory_mb, s.spec, 'ready', 'its user ended it', s.explanation, t.at, t.at, t.at, t.at
         FROM (SELECT * FROM sessions LIMIT 1) s, generate_series(1, {rows}) i
             CROSS JOIN LATERAL (SELECT now() - interval '1 day' - i * interval '1 second' AS at) t"
    )
}

/// Nine tenths of the way to the end.
fn far_row(rows: u32) -> Uuid {
    Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0000 | u128::from(rows / 10 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_page_is_of_the_rows_that_were_written() {
        assert_eq!(far_row(100_000).to_string(), "00000000-0000-7000-8000-000000002711");
    }
}
