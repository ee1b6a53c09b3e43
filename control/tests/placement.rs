//! The SQL decision and its pure model agree on random deployments: the same zone, the same agent, the same words.

mod support;

use std::collections::BTreeMap;

use anyhow::Result;
use meridian_ids::{NodeId, Uuid, ZoneId};
use meridian_model::{
    ImagePolicy, LoadStrategy, Network, Resources,
    placement::{Candidate, Capacity, PlacementZone, Verdict, Wanted, judge, place, tried},
};
use meridian_runtime::Tasks;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use support::Site;
use tokio_postgres::{Client, NoTls, types::ToSql};

/// Cases of one run; the seed is proptest's own, so that each run tries others.
const CASES: usize = 60;

fn capacity(reported: impl Strategy<Value = i64>) -> impl Strategy<Value = Capacity> {
    let override_ = proptest::option::weighted(0.2, prop_oneof![Just(0_i64), Just(700), Just(3000)]);
    let overcommit = prop_oneof![4 => Just(100_i64), 1 => Just(50), 1 => Just(250)];
    (reported, override_, overcommit).prop_map(|(reported, override_, overcommit)| Capacity {
        reported,
        override_,
        overcommit,
    })
}

prop_compose! {
    fn candidate()(
        [unreachable, draining, no_image, unconnected, broken, dynamic, failed] in any::<[bool; 7]>(),
        cpu_milli in capacity(prop_oneof![Just(0_i64), Just(1000), Just(2000), Just(4000)]),
        memory_mb in capacity(1..9000_i64),
        (gpus, gpus_used) in (0..3_i64, 0..3_i64),
        (cpu_used, memory_used, sessions) in (0..5000_i64, 0..9000_i64, 0..6_i64),
        session_limit in proptest::option::weighted(0.3, 0..6_i64),
        last_placed in 0..4_i64,
        label in proptest::option::of(prop_oneof![Just("fast"), Just("slow")]),
    ) -> Candidate {
        Candidate {
            node: NodeId::generate(),
            // Mostly willing, so that the strategies decide.
            reachable: !(unreachable && draining),
            draining: draining && no_image,
            is_static: !dynamic,
            writes: !(broken && no_image),
            networks: if unconnected && broken { Vec::new() } else { vec![Network::Internet] },
            labels: label.map(|label| ("disk".to_owned(), label.to_owned())).into_iter().collect(),
            has_image: !(no_image && unreachable),
            failed_to_load: no_image && unreachable && failed,
            cpu_milli,
            memory_mb,
            gpus: Capacity::exactly(gpus),
            used: Resources { cpu_milli: cpu_used, memory_mb: memory_used },
            gpus_used,
            sessions,
            session_limit,
            last_placed,
        }
    }
}

prop_compose! {
    fn zone()(
        candidates in proptest::collection::vec(candidate(), 0..6),
        strategy in proptest::sample::select(LoadStrategy::ALL.to_vec()),
        [static_first, search_alternates, isolated] in any::<[bool; 3]>(),
        rare in 0..4_u8,
        alternates in proptest::sample::subsequence(vec![0_usize, 1, 2, 3], 0..4).prop_shuffle(),
        image_policy in proptest::sample::select(ImagePolicy::ALL.to_vec()),
    ) -> (PlacementZone, Vec<usize>) {
        let zone = PlacementZone {
            zone: ZoneId::generate(),
            strategy,
            static_first,
            search_alternates,
            alternates: Vec::new(),
            isolated: isolated && rare == 0,
            image_policy,
            candidates,
        };
        (zone, alternates)
    }
}

prop_compose! {
    fn deployment()(
        drawn in proptest::collection::vec(zone(), 1..4),
        gpus in prop_oneof![3 => Just(0_i64), 1 => Just(1)],
        label in proptest::option::weighted(0.3, prop_oneof![Just("fast"), Just("slow")]),
        offered in proptest::option::weighted(0.3, proptest::sample::subsequence(vec![0_usize, 1, 2], 0..3)),
        image_policy in proptest::option::of(proptest::sample::select(ImagePolicy::ALL.to_vec())),
    ) -> (Vec<PlacementZone>, Wanted) {
        let ids: Vec<ZoneId> = drawn.iter().map(|(zone, _)| zone.zone).collect();
        let chosen = |indices: Vec<usize>| indices.iter().filter_map(|index| ids.get(*index).copied()).collect();
        let wanted = Wanted {
            resources: Resources { cpu_milli: 500, memory_mb: 1024 },
            network: Network::Internet,
            gpus,
            labels: label.map(|label| ("disk".to_owned(), label.to_owned())).into_iter().collect(),
            zones: offered.map(chosen),
            image_policy,
        };
        let zones = drawn
            .into_iter()
            .map(|(zone, alternates)| {
                let alternates: Vec<ZoneId> = chosen(alternates);
                // A zone is not its own alternate.
                let alternates = alternates.into_iter().filter(|id| *id != zone.zone).collect();
                PlacementZone { alternates, ..zone }
            })
            .collect();
        (zones, wanted)
    }
}

#[tokio::test]
async fn the_sql_decision_is_the_models_decision() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let tasks = Tasks::new();
    let (client, connection) = site.database.superuser_config().connect(NoTls).await?;
    tasks.spawn("test connection", async move { drop(connection.await) });
    let mut runner = TestRunner::new(Config::default());
    for case in 0..CASES {
        let (zones, wanted) = deployment().new_tree(&mut runner).map_err(anyhow::Error::msg)?.current();
        furnish(&client, &zones, &wanted).await?;
        let first = zones[0].zone;
        let (status, body) = admin.launch(&desktop, &name(first), &format!("case {case}")).await?;
        let described = format!("{zones:#?} {wanted:#?}: {body}");
        let asked = tried(&zones, first, &wanted);
        match place(&zones, first, &wanted) {
            Some((zone, node)) => {
                assert_eq!(status, StatusCode::CREATED, "{described}");
                assert_eq!(body["zone"], name(zone), "{described}");
                assert_eq!(body["agent"], node.to_string(), "{described}");
                let path =
                    format!("/api/v1/sessions/{}/explanation", body["id"].as_str().unwrap_or_default());
                let (_, why) = admin.send(Method::GET, &path, None).await?;
                let asked: Vec<_> =
                    asked.split_inclusive(|tried| tried.zone == zone).next().unwrap_or_default().to_vec();
                let mut counts = counts(&asked, &wanted);
                let fits = judged(&asked, &wanted)
                    .find(|(candidate, _)| candidate.node == node)
                    .map_or(Verdict::Fits, |(_, verdict)| verdict);
                *counts.entry("chosen").or_default() += 1;
                *counts.entry(fits.reason()).or_default() -= 1;
                counts.retain(|_, count| *count > 0);
                assert_eq!(why["counts"], json!(counts), "{why} {described}");
                assert_eq!(why["chosen"], json!({"zone": name(zone), "agent": node.to_string()}), "{why}");
                let entries = why["candidates"].as_array().cloned().unwrap_or_default();
                let verdict = |node: NodeId| {
                    let found = entries.iter().find(|entry| entry["agent"] == node.to_string());
                    found.map(|entry| entry["verdict"].clone())
                };
                let words = match fits.reason() {
                    "fits" => "chosen",
                    "fits, without its image" => "chosen; it loads the image first",
                    _ => "chosen; it loads the image first, which failed the last time",
                };
                assert_eq!(verdict(node), Some(json!(words)), "{why}");
            }
            None if asked.is_empty() => {
                assert_eq!(
                    (status, body["error"]["code"].as_str()),
                    (StatusCode::CONFLICT, Some("not_offered")),
                    "{described}"
                );
            }
            None => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{described}");
                let entries = body["error"]["explanation"].as_array().cloned().unwrap_or_default();
                for zone in asked {
                    for (candidate, verdict) in judged(&[zone], &wanted) {
                        assert!(!verdict.reason().starts_with("fits"), "{described}");
                        let expected = json!({"zone": name(zone.zone), "agent": candidate.node.to_string(),
                            "verdict": verdict.words()});
                        assert!(entries.contains(&expected), "{expected} in {described}");
                    }
                }
            }
        }
    }
    Ok(())
}

/// Every candidate of these zones, judged.
fn judged<'a>(
    zones: &'a [&'a PlacementZone],
    wanted: &'a Wanted,
) -> impl Iterator<Item = (&'a Candidate, Verdict)> {
    zones.iter().flat_map(move |zone| {
        zone.candidates.iter().map(|candidate| (candidate, judge(candidate, wanted, zone.image_policy)))
    })
}

fn counts(zones: &[&PlacementZone], wanted: &Wanted) -> BTreeMap<&'static str, i64> {
    let mut counts = BTreeMap::new();
    for (_, verdict) in judged(zones, wanted) {
        *counts.entry(verdict.reason()).or_default() += 1;
    }
    counts
}

/// A zone's name in these tests.
fn name(zone: ZoneId) -> String {
    let id = zone.to_string();
    format!("z-{}", &id[id.len() - 12..])
}

/// Makes the deployment hold exactly these zones and agents, named by their ids, and Desktop want exactly this.
async fn furnish(client: &Client, zones: &[PlacementZone], wanted: &Wanted) -> Result<()> {
    client
        .batch_execute(
            "DELETE FROM sessions; DELETE FROM node_images; DELETE FROM enrollments; DELETE FROM nodes WHERE role <> 'web';
             DELETE FROM zones; UPDATE users SET sessions_used = 0",
        )
        .await?;
    for zone in zones {
        let settings = json!({"load_strategy": zone.strategy.as_str(), "prioritize_static_agents": zone.static_first,
            "search_alternate_zones": zone.search_alternates, "isolated": zone.isolated, "image_policy": zone.image_policy.as_str()});
        let alternates: Vec<Uuid> = zone.alternates.iter().map(|zone| zone.0).collect();
        client
            .execute(
                "INSERT INTO zones (id, name, settings, alternates) VALUES ($1, $2, $3, $4)",
                &[&zone.zone.0, &name(zone.zone), &settings, &alternates],
            )
            .await?;
        for candidate in &zone.candidates {
            insert_agent(client, zone.zone, candidate).await?;
        }
    }
    let offered: Option<Vec<Uuid>> =
        wanted.zones.as_ref().map(|zones| zones.iter().map(|zone| zone.0).collect());
    let gpus = i32::try_from(wanted.gpus)?;
    client
        .execute(
            "UPDATE workspaces SET network = 'internet', cpu_milli = $1, memory_mb = $2, gpu = $3, required_labels = $4, zones = $5,
                 image_policy = $6
             WHERE name = 'Desktop'",
            &[&wanted.resources.cpu_milli, &wanted.resources.memory_mb, &gpus, &json!(wanted.labels), &offered,
                &wanted.image_policy.map(ImagePolicy::as_str)],
        )
        .await?;
    Ok(())
}

async fn insert_agent(client: &Client, zone: ZoneId, candidate: &Candidate) -> Result<()> {
    let silent_s = if candidate.reachable { 0.0 } else { 60.0 };
    let networks: Vec<_> = candidate.networks.iter().map(|mode| mode.as_str()).collect();
    let report = json!({"network_modes": networks, "gpus": candidate.gpus.reported});
    let problems = if candidate.writes { json!([]) } else { json!([{"code": "disk", "message": "full"}]) };
    let cpu_overcommit = i32::try_from(candidate.cpu_milli.overcommit)?;
    let memory_overcommit = i32::try_from(candidate.memory_mb.overcommit)?;
    let parameters: [&(dyn ToSql + Sync); 20] = [
        &candidate.node.0,
        &zone.0,
        &candidate.draining,
        &silent_s,
        &candidate.cpu_milli.reported,
        &candidate.memory_mb.reported,
        &candidate.used.cpu_milli,
        &candidate.used.memory_mb,
        &candidate.sessions,
        &candidate.last_placed,
        &report,
        &problems,
        &candidate.is_static,
        &json!(candidate.labels),
        &candidate.cpu_milli.override_,
        &candidate.memory_mb.override_,
        &cpu_overcommit,
        &memory_overcommit,
        &candidate.session_limit,
        &candidate.gpus_used,
    ];
    client
        .execute(
            "INSERT INTO nodes (id, name, role, zone_id, public_point, draining, last_seen_at, cpu_total, memory_total,
                 cpu_used, memory_used, sessions_used, last_placed, report, problems, is_static, labels, cpu_override,
                 memory_override, cpu_overcommit, memory_overcommit, session_limit, gpus_used)
             VALUES ($1, $1::uuid::text, 'agent', $2, '', $3, now() - make_interval(secs => $4), $5, $6, $7, $8, $9, $10, $11, $12,
                 $13, $14, $15, $16, $17, $18, $19, $20)",
            &parameters,
        )
        .await?;
    if candidate.has_image {
        client
            .execute(
                "INSERT INTO node_images VALUES ($1, 'meridian/desktop:dev', 'sha256:0')",
                &[&candidate.node.0],
            )
            .await?;
    }
    if candidate.failed_to_load {
        client
            .execute(
                "INSERT INTO image_standings (node_id, reference, standing) VALUES ($1, 'meridian/desktop:dev', '{\"state\": \"failed\"}')",
                &[&candidate.node.0],
            )
            .await?;
    }
    Ok(())
}
