//! The SQL decision and its pure model agree on random zones: the same agent, the same words.

mod support;

use anyhow::Result;
use meridian_ids::NodeId;
use meridian_model::{
    LoadStrategy, Network, Resources,
    placement::{Candidate, Verdict, Wanted, choose, judge},
};
use meridian_runtime::Tasks;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use reqwest::StatusCode;
use serde_json::json;
use support::Site;
use tokio_postgres::{Client, NoTls};

/// Cases of one run; the seed is proptest's own, so that each run tries others.
const CASES: usize = 60;

fn candidate() -> impl Strategy<Value = Candidate> {
    let size = prop_oneof![Just(0_i64), Just(1000), Just(2000), Just(4000)];
    (any::<[bool; 5]>(), size, 0..5000_i64, 0..9000_i64, 0..6_i64, 0..4_i64, 1..9000_i64).prop_map(
        |(
            [unreachable, draining, no_image, unconnected, broken],
            cpu,
            cpu_used,
            memory_used,
            sessions,
            last_placed,
            memory,
        )| {
            Candidate {
                node: NodeId::generate(),
                // Mostly willing, so that the strategies decide.
                reachable: !(unreachable && draining),
                draining: draining && no_image,
                writes: !(broken && no_image),
                networks: if unconnected && broken { Vec::new() } else { vec![Network::Internet] },
                gpus: 0,
                has_image: !(no_image && unreachable),
                total: Resources { cpu_milli: cpu, memory_mb: memory },
                used: Resources { cpu_milli: cpu_used, memory_mb: memory_used },
                sessions,
                last_placed,
            }
        },
    )
}

#[tokio::test]
async fn the_sql_decision_is_the_models_decision() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let resources = Resources { cpu_milli: 500, memory_mb: 1024 };
    let wanted = Wanted { resources, network: Network::Internet, gpus: 0 };
    let tasks = Tasks::new();
    let (client, connection) = site.database.superuser_config().connect(NoTls).await?;
    tasks.spawn("test connection", async move { drop(connection.await) });
    client.batch_execute("UPDATE workspaces SET network = 'internet' WHERE name = 'Desktop'").await?;
    let mut runner = TestRunner::new(Config::default());
    let strategy =
        (proptest::collection::vec(candidate(), 0..7), proptest::sample::select(LoadStrategy::ALL.to_vec()));
    for case in 0..CASES {
        let (candidates, load) = strategy.new_tree(&mut runner).map_err(anyhow::Error::msg)?.current();
        furnish(&client, &candidates, load).await?;
        let (status, body) = admin.launch(&desktop, "london", &format!("case {case}")).await?;
        let chosen = choose(&candidates, wanted, load);
        let described = format!("{load:?} of {candidates:#?}: {body}");
        match chosen {
            Some(node) => {
                assert_eq!(status, StatusCode::CREATED, "{described}");
                assert_eq!(body["agent"].as_str(), Some(node.to_string().as_str()), "{described}");
            }
            None => {
                assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{described}");
                let said = &body["error"]["explanation"];
                for candidate in &candidates {
                    let expected = json!({"zone": "london", "agent": candidate.node.to_string(),
                        "verdict": judge(candidate, wanted).words()});
                    let entries = said.as_array().cloned().unwrap_or_default();
                    assert!(entries.contains(&expected), "{expected} in {described}");
                }
                assert!(candidates.iter().all(|candidate| judge(candidate, wanted) != Verdict::Fits));
            }
        }
    }
    Ok(())
}

/// Makes zone london hold exactly these agents, named by their ids.
async fn furnish(client: &Client, candidates: &[Candidate], load: LoadStrategy) -> Result<()> {
    client
        .batch_execute("DELETE FROM sessions; DELETE FROM node_images; DELETE FROM nodes WHERE role = 'agent'; UPDATE users SET sessions_used = 0")
        .await?;
    client
        .execute(
            "UPDATE zones SET settings = jsonb_set(settings, '{load_strategy}', to_jsonb($1::text)) WHERE name = 'london'",
            &[&load.as_str()],
        )
        .await?;
    for candidate in candidates {
        let silent_s = if candidate.reachable { 0.0 } else { 60.0 };
        client
            .execute(
                "INSERT INTO nodes (id, name, role, zone_id, public_point, draining, last_seen_at, cpu_total, memory_total,
                     cpu_used, memory_used, sessions_used, last_placed, report, problems)
                 SELECT $1, $1::uuid::text, 'agent', id, '', $2, now() - make_interval(secs => $3), $4, $5, $6, $7, $8, $9,
                     jsonb_build_object('network_modes', $10::jsonb), $11
                 FROM zones WHERE name = 'london'",
                &[
                    &candidate.node.0,
                    &candidate.draining,
                    &silent_s,
                    &candidate.total.cpu_milli,
                    &candidate.total.memory_mb,
                    &candidate.used.cpu_milli,
                    &candidate.used.memory_mb,
                    &candidate.sessions,
                    &candidate.last_placed,
                    &json!(candidate.networks.iter().map(|mode| mode.as_str()).collect::<Vec<_>>()),
                    &if candidate.writes { json!([]) } else { json!([{"code": "disk", "message": "full"}]) },
                ],
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
    }
    Ok(())
}
