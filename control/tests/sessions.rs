//! Launching, reporting, connecting and ending, against a real database with agents that only report.

mod support;

use std::time::Duration;

use anyhow::Result;
use meridian_control::store::nodes::WhichNodes;
use meridian_harness::wait_for;
use meridian_model::ProgressStep;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::Site;

fn starting(step: ProgressStep) -> Observation {
    Observation::Starting { step, message: "on its way".into(), percent: None }
}

fn id(body: &Value) -> String {
    body["id"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_session_lives_from_launch_to_end_and_its_place_is_given_back() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let (status, session) = user.launch(&desktop, "london", "one").await?;
    assert_eq!((status, session["state"].as_str()), (StatusCode::CREATED, Some("starting")), "{session}");
    assert_eq!(
        (session["zone"].as_str(), session["progress"]["step"].as_str()),
        (Some("london"), Some("reserved"))
    );
    let session = id(&session);

    let update = agent.say(&session, 1, starting(ProgressStep::Container)).await?;
    assert_eq!(update["sessions"][0]["command"], "run");
    assert_eq!(update["sessions"][0]["spec"]["image"], "meridian/desktop:dev");
    agent.say(&session, 1, Observation::Running).await?;
    assert_eq!(user.state_of(&session).await?, "running");

    let path = format!("/api/v1/sessions/{session}");
    let (status, body) = user.send(Method::DELETE, &path, None).await?;
    assert_eq!((status, body["state"].as_str()), (StatusCode::ACCEPTED, Some("ending")));
    let (status, again) = user.send(Method::DELETE, &path, None).await?;
    assert_eq!((status, again["state"].as_str()), (StatusCode::ACCEPTED, Some("ending")));

    // A report of the old generation frees nothing and changes nothing.
    let update = agent.say(&session, 1, Observation::Gone).await?;
    assert_eq!(user.state_of(&session).await?, "ending");
    assert_eq!(
        (update["sessions"][0]["command"].as_str(), update["sessions"][0]["generation"].as_i64()),
        (Some("end"), Some(2))
    );
    agent.say(&session, 2, Observation::Gone).await?;
    assert_eq!(user.state_of(&session).await?, "ended");
    // And again: released once.
    agent.say(&session, 2, Observation::Gone).await?;
    let (_, nodes) = site.admin().await?.send(Method::GET, "/api/v1/nodes", None).await?;
    let node = nodes["items"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|node| node["role"] == "agent")
        .cloned()
        .unwrap_or_default();
    assert_eq!((node["sessions"].as_i64(), node["cpu_used"].as_f64()), (Some(0), Some(0.0)), "{node}");
    assert_eq!(site.store().audit_counters().await?, 0);
    Ok(())
}

#[tokio::test]
async fn fifty_launches_for_five_places_place_exactly_five_and_explain_the_rest() -> Result<()> {
    let site = Site::start().await?;
    // A desktop takes half a core: five fit on two and a half.
    let mut agent = site.agent("london", 2).await?;
    agent.total.cpu_milli = 2500;
    agent.report(Vec::new()).await?;
    let mut launches = Vec::new();
    for number in 0..50 {
        if number % 10 == 0 {
            launches.push((site.user(&format!("user-{number}")).await?, Vec::new()));
        }
        if let Some((_, keys)) = launches.last_mut() {
            keys.push(format!("key-{number}"));
        }
    }
    let desktop = site.workspace(&launches[0].0, "Desktop").await?;
    let running: Vec<_> = launches
        .into_iter()
        .flat_map(|(client, keys)| keys.into_iter().map(move |key| (client.clone(), key)))
        .map(|(client, key)| {
            let desktop = desktop.clone();
            site.tasks.spawn("launch", async move { client.launch(&desktop, "london", &key).await })
        })
        .collect();
    let (mut placed, mut refused) = (0, 0);
    for launch in running {
        let (status, body) = launch.await??;
        if status == StatusCode::CREATED {
            placed += 1;
        } else {
            assert_eq!(
                (status, body["error"]["code"].as_str()),
                (StatusCode::SERVICE_UNAVAILABLE, Some("no_capacity")),
                "{body}"
            );
            assert_eq!(body["error"]["explanation"][0]["verdict"], "0.5 core short", "{body}");
            refused += 1;
        }
    }
    assert_eq!((placed, refused), (5, 45));
    assert_eq!(site.store().audit_counters().await?, 0, "the counters stand for exactly what is reserved");
    Ok(())
}

#[tokio::test]
async fn a_repeated_launch_gets_the_session_that_the_first_one_made() -> Result<()> {
    let site = Site::start().await?;
    site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let (desktop, terminal) =
        (site.workspace(&user, "Desktop").await?, site.workspace(&user, "Terminal").await?);
    let both = tokio::join!(user.launch(&desktop, "london", "key"), user.launch(&desktop, "london", "key"));
    let (first, second) = (both.0?, both.1?);
    assert_eq!((first.0, second.0), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(id(&first.1), id(&second.1));
    let (status, body) = user.launch(&terminal, "london", "key").await?;
    assert_eq!((status, body["error"]["code"].as_str()), (StatusCode::CONFLICT, Some("key_reused")));
    let (_, list) = user.send(Method::GET, "/api/v1/sessions", None).await?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn somebody_elses_session_looks_like_none_in_every_call() -> Result<()> {
    let site = Site::start().await?;
    site.agent("london", 4).await?;
    let (ada, eve) = (site.user("ada").await?, site.user("eve").await?);
    let desktop = site.workspace(&ada, "Desktop").await?;
    let session = id(&ada.launch(&desktop, "london", "one").await?.1);
    let path = format!("/api/v1/sessions/{session}");
    for (method, path) in [
        (Method::GET, path.clone()),
        (Method::GET, format!("{path}/explanation")),
        (Method::GET, format!("{path}/events")),
        (Method::POST, format!("{path}/connect")),
        (Method::DELETE, path.clone()),
    ] {
        let (status, body) = eve.send(method.clone(), &path, None).await?;
        assert_eq!(
            (status, body["error"]["code"].as_str()),
            (StatusCode::NOT_FOUND, Some("not_found")),
            "{method} {path}"
        );
    }
    let (status, _) = eve.send(Method::GET, "/api/v1/sessions?all=true", None).await?;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (_, list) = eve.send(Method::GET, "/api/v1/sessions?ended=true", None).await?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(0));
    assert_eq!(ada.state_of(&session).await?, "starting");
    // Administrators see and end sessions, but have no way into somebody's desktop.
    let admin = site.admin().await?;
    assert_eq!(admin.send(Method::GET, &path, None).await?.0, StatusCode::OK);
    assert_eq!(admin.send(Method::POST, &format!("{path}/connect"), None).await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn refusals_say_why() -> Result<()> {
    let site = Site::start().await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let (status, body) = user.launch(&desktop, "london", "1").await?;
    assert_eq!(
        (status, &body["error"]["explanation"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!([])),
        "no agent at all: {body}"
    );
    let (status, _) = user.launch(&desktop, "atlantis", "2").await?;
    assert_eq!(status, StatusCode::NOT_FOUND);

    let agent = site.agent("london", 4).await?;
    let admin = site.admin().await?;
    let drain = format!("/api/v1/nodes/{}/drain", agent.node);
    assert_eq!(admin.send(Method::POST, &drain, None).await?.0, StatusCode::NO_CONTENT);
    let (_, body) = user.launch(&desktop, "london", "3").await?;
    assert_eq!(body["error"]["explanation"][0]["verdict"], "draining");
    let undrain = format!("/api/v1/nodes/{}/undrain", agent.node);
    assert_eq!(admin.send(Method::POST, &undrain, None).await?.0, StatusCode::NO_CONTENT);

    let new = json!({"name": "Exotic", "image": "nowhere/exotic:1", "cpu": 1, "memory_mb": 512});
    let (status, exotic) = admin.send(Method::POST, "/api/v1/workspaces", Some(new)).await?;
    assert_eq!(status, StatusCode::CREATED, "{exotic}");
    let (_, body) = user.launch(&id(&exotic), "london", "4").await?;
    assert_eq!(body["error"]["explanation"][0]["verdict"], "no image yet");

    let (_, me) = user.send(Method::GET, "/api/v1/auth/me", None).await?;
    admin
        .send(Method::PATCH, &format!("/api/v1/users/{}", id(&me)), Some(json!({"session_limit": 1})))
        .await?;
    assert_eq!(user.launch(&desktop, "london", "5").await?.0, StatusCode::CREATED);
    let (status, body) = user.launch(&desktop, "london", "6").await?;
    assert_eq!((status, body["error"]["code"].as_str()), (StatusCode::CONFLICT, Some("session_limit")));
    Ok(())
}

#[tokio::test]
async fn a_full_zone_overflows_into_its_alternates_and_an_isolated_one_never_does() -> Result<()> {
    let site = Site::start().await?;
    site.agent("virginia", 4).await?;
    let (user, admin) = (site.user("ada").await?, site.admin().await?);
    let desktop = site.workspace(&user, "Desktop").await?;
    let patch = |zone: &'static str, body: Value| {
        let admin = admin.clone();
        async move { admin.send(Method::PATCH, &format!("/api/v1/zones/{zone}"), Some(body)).await }
    };
    assert_eq!(user.launch(&desktop, "london", "1").await?.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(patch("london", json!({"search_alternate_zones": true})).await?.0, StatusCode::OK);
    let (status, session) = user.launch(&desktop, "london", "2").await?;
    assert_eq!((status, session["zone"].as_str()), (StatusCode::CREATED, Some("virginia")));
    assert_eq!(patch("virginia", json!({"isolated": true})).await?.0, StatusCode::OK);
    let (status, _) = user.launch(&desktop, "london", "3").await?;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "an isolated zone does not lend");
    let (status, body) = patch("london", json!({"isolated": true})).await?;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    Ok(())
}

#[tokio::test]
async fn a_silent_agents_sessions_are_unreachable_keep_their_places_and_come_back() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let session = id(&user.launch(&desktop, "london", "one").await?.1);
    agent.say(&session, 1, Observation::Running).await?;
    // The silence itself takes seven seconds of the database's clock; here it is written down.
    let client = site.sql().await?;
    client
        .execute(
            "UPDATE nodes SET last_seen_at = now() - interval '11 seconds' WHERE id = $1",
            &[&agent.node.0],
        )
        .await?;
    site.store().mark_unreachable().await?;
    assert_eq!(user.state_of(&session).await?, "unreachable");
    let (_, body) = user.launch(&desktop, "london", "two").await?;
    assert_eq!(body["error"]["explanation"][0]["verdict"], "unreachable");
    agent.say(&session, 1, Observation::Running).await?;
    assert_eq!(user.state_of(&session).await?, "running");
    assert_eq!(site.store().audit_counters().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_node_that_is_gone_for_good_can_be_removed_and_its_sessions_are_lost() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 4).await?;
    let (user, admin) = (site.user("ada").await?, site.admin().await?);
    let desktop = site.workspace(&user, "Desktop").await?;
    let session = id(&user.launch(&desktop, "london", "one").await?.1);
    agent.say(&session, 1, Observation::Running).await?;
    let remove = format!("/api/v1/nodes/{}/remove", agent.node);
    let (status, body) = admin.send(Method::POST, &remove, None).await?;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (StatusCode::CONFLICT, Some("node_in_use")),
        "it answers"
    );
    let client = site.sql().await?;
    client
        .execute(
            "UPDATE nodes SET last_seen_at = now() - interval '1 minute' WHERE id = $1",
            &[&agent.node.0],
        )
        .await?;
    assert_eq!(admin.send(Method::POST, &remove, None).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(user.state_of(&session).await?, "lost");
    assert!(agent.say(&session, 1, Observation::Running).await.is_err(), "a removed node is told so");
    assert_eq!(user.state_of(&session).await?, "lost");
    assert_eq!(admin.send(Method::POST, &remove, None).await?.0, StatusCode::NOT_FOUND);
    assert_eq!(site.store().audit_counters().await?, 0, "the place was given back");
    Ok(())
}

#[tokio::test]
async fn a_workspace_that_exits_or_fails_gives_its_place_back_and_says_why() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    for (key, observation, state) in [
        ("one", Observation::Exited { reason: "the user logged out".into() }, "ended"),
        ("two", Observation::Failed { reason: "the image has no display".into() }, "failed"),
    ] {
        let session = id(&user.launch(&desktop, "london", key).await?.1);
        let update = agent.say(&session, 1, observation).await?;
        assert_eq!(user.state_of(&session).await?, state);
        let tombstone = update["sessions"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|told| told["session_id"] == session.as_str());
        assert_eq!(
            tombstone.map(|told| told["command"].clone()),
            Some(json!("end")),
            "what is left is removed: {update}"
        );
        agent.say(&session, 2, Observation::Gone).await?;
        assert_eq!(user.state_of(&session).await?, state);
        let (status, body) =
            user.send(Method::POST, &format!("/api/v1/sessions/{session}/connect"), None).await?;
        assert_eq!(
            (status, body["error"]["code"].as_str()),
            (StatusCode::CONFLICT, Some("session_not_live"))
        );
    }
    assert_eq!(site.store().audit_counters().await?, 0);
    Ok(())
}

/// The zone's revocations as an update tells them.
fn revocations(update: &Value) -> Value {
    update["settings"]["revocations"].clone()
}

#[tokio::test]
async fn a_cut_is_told_in_the_same_words_as_long_as_the_session_lives() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 4).await?;
    let (user, admin) = (site.user("ada").await?, site.admin().await?);
    let desktop = site.workspace(&user, "Desktop").await?;
    let session = id(&user.launch(&desktop, "london", "one").await?.1);
    let update = agent.say(&session, 1, Observation::Running).await?;
    assert_eq!(revocations(&update), json!([]));
    let (_, me) = user.send(Method::GET, "/api/v1/auth/me", None).await?;
    let account = format!("/api/v1/users/{}", id(&me));
    admin.send(Method::PATCH, &account, Some(json!({"disabled": true}))).await?;
    // A zone that was cut off meanwhile comes back hours later.
    let client = site.sql().await?;
    client.execute("UPDATE sessions SET cut_before = cut_before - interval '5 hours'", &[]).await?;
    let first = revocations(&agent.report(Vec::new()).await?);
    assert_eq!(first[0]["session_id"], session.as_str(), "{first}");
    assert_eq!(revocations(&agent.report(Vec::new()).await?), first);

    // Streams opened since are cut by the end, which is told in the same words until it is carried out, too.
    admin.send(Method::DELETE, &format!("/api/v1/sessions/{session}"), None).await?;
    let ending = revocations(&agent.report(Vec::new()).await?);
    let time = |told: &Value| {
        told[0]["issued_before"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok())
    };
    assert!(time(&ending) > time(&first), "{first} {ending}");
    assert_eq!(revocations(&agent.report(Vec::new()).await?), ending);
    let ended = revocations(&agent.say(&session, 2, Observation::Gone).await?);
    assert!(time(&ended) >= time(&ending), "{ending} {ended}");
    Ok(())
}

#[tokio::test]
async fn a_hostile_workspaces_words_do_not_silence_its_agent() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let session = id(&user.launch(&desktop, "london", "one").await?.1);
    agent.say(&session, 1, Observation::Failed { reason: "no\0display".into() }).await?;
    let (_, body) = user.send(Method::GET, &format!("/api/v1/sessions/{session}"), None).await?;
    assert_eq!(
        (body["state"].as_str(), body["reason"].as_str()),
        (Some("failed"), Some("no\u{fffd}display"))
    );
    let (status, body) = user.launch(&desktop, "lon\0don", "two").await?;
    assert_eq!((status, body["error"]["code"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("invalid")));
    Ok(())
}

#[tokio::test]
async fn only_an_agent_has_workspaces_to_report() -> Result<()> {
    let site = Site::start().await?;
    let token = std::fs::read_to_string(site.folder.path().join("proxy-london.token"))?;
    let proxy = support::enroll(&site.anonymous(), token, "proxy").await?.node_id;
    let beat = meridian_wire::Heartbeat {
        since: 0,
        epoch: 0,
        version: "0.1.0".into(),
        address: String::new(),
        agent: Some(meridian_wire::AgentReport {
            total: meridian_model::Resources { cpu_milli: 64_000, memory_mb: 64_000 },
            images: vec![meridian_wire::ImageReport { reference: "x".into(), image_id: "y".into() }],
            ..meridian_wire::AgentReport::default()
        }),
        problems: Vec::new(),
        streams: None,
    };
    site.store().heartbeat(proxy, &beat).await?;
    let nodes = site.store().list_nodes(None, &WhichNodes::default(), None, 100).await?;
    let node = nodes.iter().find(|node| node.id == proxy).map(|node| (node.cpu_total, node.images.len()));
    assert_eq!(node, Some((0.0, 0)));
    Ok(())
}

#[tokio::test]
async fn a_node_that_knows_more_than_a_restored_database_is_told_everything() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    user.launch(&desktop, "london", "one").await?;
    assert_eq!(site.store().update_for(agent.node, 1).await?.sessions.len(), 0, "nothing is new");
    assert_eq!(site.store().update_for(agent.node, 1000).await?.sessions.len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_key_stands_for_one_launch_and_no_other_zone() -> Result<()> {
    let site = Site::start().await?;
    site.agent("london", 4).await?;
    site.agent("virginia", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    assert_eq!(user.launch(&desktop, "london", "key").await?.0, StatusCode::CREATED);
    let (status, body) = user.launch(&desktop, "virginia", "key").await?;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (StatusCode::CONFLICT, Some("key_reused")),
        "{body}"
    );
    let default_zone = user
        .request(Method::POST, "/api/v1/sessions")
        .header("idempotency-key", "key")
        .json(&json!({"workspace_id": desktop}));
    let (status, body) = support::read(default_zone.send().await?).await?;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (StatusCode::CONFLICT, Some("key_reused")),
        "{body}"
    );
    let (_, list) = user.send(Method::GET, "/api/v1/sessions", None).await?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn a_renamed_zone_stays_an_alternate_and_one_that_is_gone_is_refused() -> Result<()> {
    let site = Site::start().await?;
    site.agent("virginia", 4).await?;
    let (user, admin) = (site.user("ada").await?, site.admin().await?);
    let desktop = site.workspace(&user, "Desktop").await?;
    let patch = |zone: &'static str, body: Value| {
        let admin = admin.clone();
        async move { admin.send(Method::PATCH, &format!("/api/v1/zones/{zone}"), Some(body)).await }
    };
    let (status, zone) =
        patch("london", json!({"search_alternate_zones": true, "alternate_zones": ["virginia"]})).await?;
    assert_eq!((status, &zone["alternate_zones"]), (StatusCode::OK, &json!(["virginia"])), "{zone}");
    assert_eq!(patch("virginia", json!({"zone_name": "ashburn"})).await?.0, StatusCode::OK);
    let (_, zones) = admin.send(Method::GET, "/api/v1/zones", None).await?;
    assert_eq!(zones["items"][0]["alternate_zones"], json!(["ashburn"]), "{zones}");
    let (status, session) = user.launch(&desktop, "london", "1").await?;
    assert_eq!((status, session["zone"].as_str()), (StatusCode::CREATED, Some("ashburn")), "{session}");
    // Other settings leave the alternates as they are.
    let (_, zone) = patch("london", json!({"proxy_port": 8443})).await?;
    assert_eq!(zone["alternate_zones"], json!(["ashburn"]));

    site.sql().await?.batch_execute("INSERT INTO zones (id, name, settings) SELECT gen_random_uuid(), 'tokyo', settings FROM zones LIMIT 1").await?;
    let (_, zone) = patch("london", json!({"alternate_zones": ["tokyo"]})).await?;
    assert_eq!(zone["alternate_zones"], json!(["tokyo"]));
    site.sql().await?.batch_execute("DELETE FROM zones WHERE name = 'tokyo'").await?;
    let (_, zones) = admin.send(Method::GET, "/api/v1/zones", None).await?;
    assert_eq!(zones["items"][0]["alternate_zones"], json!([]));
    let (status, _) = user.launch(&desktop, "london", "2").await?;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "one that is gone does not come to mean any");
    for wrong in ["virginia", "tokyo", "london"] {
        let (status, body) = patch("london", json!({"alternate_zones": [wrong]})).await?;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(body["error"]["message"].as_str().is_some_and(|text| text.contains(wrong)), "{body}");
    }
    let (status, _) = patch("london", json!({"alternate_zones": ["ashburn", "ashburn"]})).await?;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}

#[tokio::test]
async fn a_user_watches_a_bounded_number_of_sessions_at_once() -> Result<()> {
    let site = Site::start().await?;
    site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let session = id(&user.launch(&desktop, "london", "one").await?.1);
    let path = format!("/api/v1/sessions/{session}/events");
    let mut open = Vec::new();
    for _ in 0..20 {
        let stream = user.request(Method::GET, &path).send().await?;
        assert_eq!(stream.status(), StatusCode::OK);
        open.push(stream);
    }
    let (status, body) = user.send(Method::GET, &path, None).await?;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (StatusCode::TOO_MANY_REQUESTS, Some("too_many_live_updates")),
        "{body}"
    );
    // Somebody else's are their own, even of the same session.
    let admin = site.admin().await?;
    assert_eq!(admin.request(Method::GET, &path).send().await?.status(), StatusCode::OK);
    open.pop();
    wait_for("the place of a closed page", Duration::from_secs(10), async || {
        let status = user.request(Method::GET, &path).send().await?.status();
        anyhow::ensure!(status == StatusCode::OK, "{status}");
        Ok(())
    })
    .await
}
