//! Nodes page by page, and how zones stand, summed up from them.

mod support;

use anyhow::{Context, Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Site};

async fn list(client: &Client, query: &str) -> Result<Value> {
    let (status, page) = client.send(Method::GET, &format!("/api/v1/nodes?{query}"), None).await?;
    ensure!(status == StatusCode::OK, "{page}");
    Ok(page)
}

fn names(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().into_iter().flatten();
    items.map(|node| node["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Agents beyond those that joined: enough for several pages in each zone.
async fn write_agents(site: &Site) -> Result<()> {
    let statement = "INSERT INTO nodes (id, name, role, zone_id, public_point)
        SELECT gen_random_uuid(), z.name || '-' || lpad(i::text, 2, '0'), CASE WHEN i % 5 = 0 THEN 'proxy' ELSE 'agent' END, z.id, ''
        FROM generate_series(1, 20) i, zones z";
    Ok(site.sql().await?.batch_execute(statement).await?)
}

#[tokio::test]
async fn nodes_page_by_page_are_each_there_once_whatever_is_removed_between_pages() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    write_agents(&site).await?;
    let whole = names(&list(&admin, "limit=1000").await?);
    ensure!(whole.len() >= 40, "{whole:?}");
    let (mut pieces, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = list(&admin, &format!("limit=7{cursor}")).await?;
        pieces.extend(names(&page));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
        // The last of the page goes away: the next page begins after it all the same.
        let gone = "UPDATE nodes SET removed_at = now() WHERE id = $1::text::uuid AND role = 'agent'";
        site.sql().await?.execute(gone, &[&next]).await?;
    }
    assert_eq!(pieces, whole);

    let proxies = names(&list(&admin, "zone=london&role=proxy").await?);
    assert_eq!(proxies, ["london-05", "london-10", "london-15", "london-20"]);
    let one = list(&admin, "node=virginia-03").await?;
    assert_eq!((names(&one), &one["items"][0]["zone"]), (vec!["virginia-03".into()], &json!("virginia")));
    let id = one["items"][0]["id"].as_str().context("id")?;
    assert_eq!(names(&list(&admin, &format!("node={id}")).await?), ["virginia-03"]);
    for (query, wanted) in [
        ("zone=atlantis", StatusCode::NOT_FOUND),
        ("role=king", StatusCode::BAD_REQUEST),
        ("cursor=first", StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let (status, body) = admin.send(Method::GET, &format!("/api/v1/nodes?{query}"), None).await?;
        assert_eq!(status, wanted, "{query}: {body}");
    }
    Ok(())
}

#[tokio::test]
async fn a_zones_health_is_summed_up_and_names_whom_to_look_at() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    write_agents(&site).await?;
    site.agent("london", 4).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    admin.launch(&desktop, "london", "one").await?;
    let statement =
        "UPDATE nodes SET last_seen_at = now() - interval '1 hour', problems = '[{\"code\": \"disk\"}]'
        WHERE name IN ('london-01', 'london-02', 'london-03', 'london-05')";
    site.sql().await?.batch_execute(statement).await?;

    let (_, health) = admin.send(Method::GET, "/api/v1/nodes/health", None).await?;
    let items = health["items"].as_array().context("items")?;
    let zone = |name: &str| items.iter().find(|zone| zone["zone"] == name).context("no such zone");
    let london = zone("london")?;
    assert_eq!(london["agents"], json!({"ready": 1, "all": 17}), "{london}");
    assert_eq!(london["proxies"], json!({"ready": 0, "all": 4}));
    assert_eq!((&london["sessions"], &london["cpu_total"]), (&json!(1), &json!(4.0)));
    let seen = json!({"count": 4, "first": ["london-01", "london-02", "london-03"]});
    assert_eq!((&london["unreachable"], &london["troubled"]), (&seen, &seen));
    assert_eq!(zone("virginia")?["agents"], json!({"ready": 0, "all": 16}));
    Ok(())
}
