//! Every setting of a zone is kept, shown, told to the zone's nodes, and in its file. What each one does is shown where it acts.

mod support;

use anyhow::{Result, ensure};
use meridian_control::store::nodes::HeartbeatOutcome;
use meridian_model::ZoneSettings;
use meridian_wire::Heartbeat;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, FakeProxy, Site};

/// Each setting with a value that no new zone has.
fn changes() -> Value {
    json!({
        "allow_origin_domain": "https://work.example.org",
        "upstream_auth_address": "https://auth.example.org",
        "load_strategy": "round_robin",
        "search_alternate_zones": true,
        "alternate_zones": ["virginia"],
        "isolated": true,
        "prioritize_static_agents": false,
        "proxy_connections": false,
        "proxy_hostname": "london.example.org",
        "proxy_path": "elsewhere",
        "proxy_port": 8443,
        "proxy_alternates": ["b.example.org:9443"],
        "outage_grace_s": 60,
        "private_balancer": "balancer.example.org:7443",
        "home_storage": "/srv/homes",
        "image_policy": "wait",
    })
}

/// As the API calls it.
fn named(setting: &str) -> &str {
    if setting == "outage_grace_s" { "outage_grace" } else { setting }
}

async fn told(site: &Site, node: meridian_ids::NodeId) -> Result<Value> {
    let beat = Heartbeat {
        since: 0,
        epoch: 0,
        version: "0.1.0".into(),
        address: "10.1.0.31:8443".into(),
        agent: None,
        problems: Vec::new(),
        streams: None,
    };
    match site.store().heartbeat(node, &beat).await? {
        HeartbeatOutcome::Ok { update } => Ok(update["settings"].clone()),
        outcome @ HeartbeatOutcome::UnknownNode => anyhow::bail!("{outcome:?}"),
    }
}

async fn london(admin: &Client, path: &str, list: &str) -> Result<Value> {
    let (_, all) = admin.send(Method::GET, path, None).await?;
    let mut zones = all[list].as_array().into_iter().flatten();
    Ok(zones.find(|zone| zone["zone_name"] == "london").cloned().unwrap_or_default())
}

#[tokio::test]
async fn every_setting_reaches_the_zones_nodes_and_its_file_and_goes_back_by_the_file() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let (agent, proxy) = (site.agent("london", 4).await?, FakeProxy::enroll(&site).await?);
    let (_, before) = admin.send(Method::GET, "/api/v1/configuration", None).await?;
    let defaults = serde_json::to_value(ZoneSettings::default())?;
    let changes = changes();
    let (known, tried) = (defaults.as_object(), changes.as_object());
    let names = |list: Option<&serde_json::Map<String, Value>>| -> Vec<String> {
        let mut names: Vec<_> = list.into_iter().flat_map(|list| list.keys().cloned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(known), names(tried), "a setting that is not tried here");
    for (setting, value) in tried.into_iter().flatten() {
        let as_new = &told(&site, agent.node).await?["zone"];
        assert_ne!(&as_new[setting], value, "{setting}: {as_new}");
        let mut patch = json!({});
        patch[named(setting)] = value.clone();
        let (status, shown) = admin.send(Method::PATCH, "/api/v1/zones/london", Some(patch)).await?;
        assert_eq!((status, &shown[named(setting)]), (StatusCode::OK, value), "{setting}: {shown}");
        assert_eq!(&london(&admin, "/api/v1/zones", "items").await?[named(setting)], value, "{setting}");
        for node in [agent.node, proxy.name.node] {
            let now = &told(&site, node).await?["zone"];
            let mut expected = as_new.clone();
            expected[setting] = value.clone();
            assert_eq!(now, &expected, "{setting} and nothing else");
        }
        let file = london(&admin, "/api/v1/configuration", "zones").await?;
        assert_eq!(&file[named(setting)], value, "{setting}: {file}");
        // Back to what the files say.
        let files = json!({"zones": before["zones"]});
        let (status, done) = admin.send(Method::POST, "/api/v1/configuration/apply", Some(files)).await?;
        assert_eq!((status, done["plan"].as_array().map(Vec::len)), (StatusCode::OK, Some(1)), "{done}");
        assert_eq!(&told(&site, agent.node).await?["zone"], as_new, "{setting}");
    }

    // Its name is told beside them; and orders go through the private balancer.
    let patch = json!({"zone_name": "oslo", "private_balancer": "balancer.example.org:7443"});
    assert_eq!(admin.send(Method::PATCH, "/api/v1/zones/london", Some(patch)).await?.0, StatusCode::OK);
    assert_eq!(told(&site, agent.node).await?["zone_name"], "oslo");
    agent.report(Vec::new()).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (status, session) = admin.launch(&desktop, "oslo", "one").await?;
    ensure!(status == StatusCode::CREATED, "{session}");
    let pushed = "SELECT push_view_v1(s)->>'address' FROM sessions s";
    let address: String = site.sql().await?.query_one(pushed, &[]).await?.get(0);
    assert_eq!(address, "balancer.example.org:7443");
    Ok(())
}

#[tokio::test]
async fn what_is_of_the_wrong_kind_is_refused_at_its_field_in_words() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let before = london(&admin, "/api/v1/zones", "items").await?;
    for (field, value, said) in [
        ("outage_grace", json!(-1), "must be a whole number from 0 to 4294967295"),
        ("proxy_port", json!(70_000), "must be a whole number from 0 to 65535"),
        ("proxy_port", json!("x".repeat(10_000)), "must be a whole number from 0 to 65535"),
        ("isolated", json!("maybe"), "must be true or false"),
        ("alternate_zones", json!("virginia"), "must be a list"),
        ("proxy_hostname", json!({}), "must be a text"),
        ("load_strategy", json!("fastest"), "must be one of least_load, most_load, "),
        ("colour", json!("red"), "is not known; there are zone_name, "),
    ] {
        let mut patch = json!({"outage_grace": 77});
        patch[field] = value;
        let (status, body) = admin.send(Method::PATCH, "/api/v1/zones/london", Some(patch.clone())).await?;
        let problem = &body["error"]["fields"][0];
        assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)), "{body}");
        assert!(problem["message"].as_str().is_some_and(|message| message.starts_with(said)), "{body}");
        assert!(body.to_string().len() < 2000, "{body}");
        // And in a file.
        let files = json!({"zones": [{"zone_name": "london", field: patch[field]}]});
        let (status, body) = admin.send(Method::POST, "/api/v1/configuration/apply", Some(files)).await?;
        let place = format!("zones[0].{field}");
        assert_eq!(
            (status, &body["error"]["fields"][0]["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(place)),
            "{body}"
        );
    }
    assert_eq!(london(&admin, "/api/v1/zones", "items").await?, before, "nothing was written");
    Ok(())
}
