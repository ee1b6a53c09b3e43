//! Homes on storage that a zone's agents share: they pin a workspace to its zone and to no agent, go to another agent when the last one released them
//! or an administrator took them, and to nobody before.

mod support;

use anyhow::{Result, ensure};
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    Client, FakeAgent, Site,
    homes::{code, end, homes, id, keeping, launch},
};

const STORAGE: &str = "/srv/homes";

/// A site whose london has storage for homes.
async fn sharing() -> Result<Site> {
    let site = keeping().await?;
    let patch = json!({"home_storage": STORAGE});
    let (status, answer) =
        site.admin().await?.send(Method::PATCH, "/api/v1/zones/london", Some(patch)).await?;
    ensure!(status == StatusCode::OK && answer["home_storage"] == STORAGE, "{answer}");
    Ok(site)
}

/// An agent that reaches it.
async fn reaching(site: &Site, cores: i64) -> Result<FakeAgent> {
    let mut agent = site.agent("london", cores).await?;
    agent.shared_homes = Some(STORAGE.into());
    agent.report(Vec::new()).await?;
    Ok(agent)
}

async fn silence(site: &Site, agent: &FakeAgent) -> Result<()> {
    let silent = "UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE id = $1";
    site.sql().await?.execute(silent, &[&agent.node.0]).await?;
    Ok(())
}

/// What an agent is told to run for a session: its home.
async fn ordered(agent: &FakeAgent, session: &Value) -> Result<Value> {
    let update = agent.report(Vec::new()).await?;
    let sessions = update["sessions"].as_array().cloned().unwrap_or_default();
    let order = sessions.into_iter().find(|order| order["session_id"] == session["id"]);
    Ok(order.map(|order| order["spec"]["home"].clone()).unwrap_or_default())
}

async fn release(by: &Client, home: &str, force: bool) -> Result<(StatusCode, Value)> {
    by.send(Method::POST, &format!("/api/v1/homes/{home}/release"), Some(json!({"force": force}))).await
}

#[tokio::test]
async fn a_home_on_storage_goes_wherever_its_zones_agents_reach_it() -> Result<()> {
    let site = sharing().await?;
    let cut_off = site.agent("london", 64).await?;
    let first = reaching(&site, 2).await?;
    let ada = site.user("ada").await?;
    let desktop = site.workspace(&ada, "Desktop").await?;
    let (status, session) = launch(&ada, &desktop, json!({})).await?;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    let home = ordered(&first, &session).await?;
    let shared = json!({"storage": STORAGE, "turn": {"epoch": 1, "generation": 1}});
    assert_eq!(home["shared"], shared, "the agent with more room does not reach it");
    first.say(&id(&session), 1, Observation::Running).await?;
    end(&ada, &first, &id(&session)).await?;
    assert_eq!(homes(&ada).await?[0]["storage"], STORAGE);

    // The agent that had it last may be away, since it released it.
    let second = reaching(&site, 4).await?;
    silence(&site, &first).await?;
    let (status, session) = launch(&ada, &desktop, json!({})).await?;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    let again = ordered(&second, &session).await?;
    assert_eq!((&again["id"], &again["shared"]["turn"]["generation"]), (&home["id"], &json!(2)), "{again}");
    let path = format!("/api/v1/sessions/{}/explanation", id(&session));
    let (_, why) = ada.send(Method::GET, &path, None).await?;
    assert_eq!(why["counts"]["does not reach the storage of homes"], 1, "{why}");
    assert_eq!(why["counts"]["the home is on another agent"], Value::Null, "{why}");
    end(&ada, &second, &id(&session)).await?;

    let elsewhere = launch(&ada, &desktop, json!({"zone": "virginia"})).await?;
    assert_eq!(code(&elsewhere), (StatusCode::CONFLICT, "home_elsewhere"), "{}", elsewhere.1);
    for agent in [&first, &second] {
        silence(&site, agent).await?;
    }
    cut_off.report(Vec::new()).await?;
    let away = launch(&ada, &desktop, json!({})).await?;
    assert_eq!(code(&away), (StatusCode::SERVICE_UNAVAILABLE, "home_away"), "{}", away.1);
    Ok(())
}

#[tokio::test]
async fn a_dead_agents_home_goes_to_nobody_until_it_is_released_or_taken_by_force() -> Result<()> {
    let site = sharing().await?;
    let first = reaching(&site, 4).await?;
    let ada = site.user("ada").await?;
    let desktop = site.workspace(&ada, "Desktop").await?;
    let (_, session) = launch(&ada, &desktop, json!({})).await?;
    first.say(&id(&session), 1, Observation::Running).await?;
    let second = reaching(&site, 4).await?;
    let home = id(&homes(&ada).await?[0]);
    let admin = site.admin().await?;
    let answers = release(&admin, &home, false).await?;
    assert_eq!(code(&answers), (StatusCode::CONFLICT, "home_held"), "{}", answers.1);

    silence(&site, &first).await?;
    site.store().mark_unreachable().await?;
    let refused = launch(&ada, &desktop, json!({})).await?;
    assert_eq!(code(&refused), (StatusCode::SERVICE_UNAVAILABLE, "home_held"), "{}", refused.1);
    assert_eq!(homes(&ada).await?[0]["state"], "held");
    // Not even when its machine is given up: what runs on it may write on.
    let path = format!("/api/v1/nodes/{}/remove", first.node);
    assert!(admin.send(Method::POST, &path, Some(json!({}))).await?.0.is_success());
    let refused = launch(&ada, &desktop, json!({})).await?;
    assert_eq!(code(&refused).1, "home_held", "{}", refused.1);
    let reset = ada.send(Method::DELETE, &format!("/api/v1/homes/{home}"), None).await?;
    assert_eq!(code(&reset).1, "home_in_use", "{}", reset.1);

    assert_eq!(release(&ada, &home, true).await?.0, StatusCode::FORBIDDEN);
    assert_eq!(code(&release(&admin, &home, false).await?).1, "home_held");
    assert_eq!(release(&admin, &home, true).await?.0, StatusCode::NO_CONTENT);
    let (_, log) = admin.send(Method::GET, "/api/v1/audit?action=release_home", None).await?;
    assert_eq!((&log["items"][0]["target"], log["items"].as_array().map(Vec::len)), (&json!(home), Some(1)));
    let (status, again) = launch(&ada, &desktop, json!({})).await?;
    assert_eq!(status, StatusCode::CREATED, "{again}");
    let turn = |generation: i64| json!({"epoch": 1, "generation": generation});
    let order = ordered(&second, &again).await?;
    assert_eq!((&order["shared"]["turn"], &order["shared"]["forced"]), (&turn(2), &turn(1)), "{order}");
    Ok(())
}

#[tokio::test]
async fn a_session_whose_home_is_taken_while_it_runs_ends_and_gives_nothing_back() -> Result<()> {
    let site = sharing().await?;
    let first = reaching(&site, 4).await?;
    let ada = site.user("ada").await?;
    let desktop = site.workspace(&ada, "Desktop").await?;
    let (_, session) = launch(&ada, &desktop, json!({})).await?;
    first.say(&id(&session), 1, Observation::Running).await?;
    let home = id(&homes(&ada).await?[0]);
    let admin = site.admin().await?;
    assert_eq!(release(&admin, &home, true).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(ada.state_of(&id(&session)).await?, "ending");
    let (status, again) = launch(&ada, &desktop, json!({})).await?;
    assert_eq!(status, StatusCode::CREATED, "{again}");
    // The old one's end does not free what the new one has.
    first.say(&id(&session), 2, Observation::Gone).await?;
    assert_eq!(homes(&ada).await?[0]["session_id"], again["id"]);
    let refused = launch(&ada, &desktop, json!({})).await?;
    assert_eq!(code(&refused).1, "home_in_use", "{}", refused.1);
    Ok(())
}

#[tokio::test]
async fn homes_on_storage_are_removed_by_any_agent_that_reaches_it_and_those_on_agents_are_not_released()
-> Result<()> {
    let site = sharing().await?;
    let first = reaching(&site, 4).await?;
    let ada = site.user("ada").await?;
    let desktop = site.workspace(&ada, "Desktop").await?;
    let (_, session) = launch(&ada, &desktop, json!({})).await?;
    let home = id(&homes(&ada).await?[0]);
    // It showed nothing: whether anything was made nobody knows, so that the next launch begins with a new one.
    end(&ada, &first, &id(&session)).await?;
    assert_eq!(homes(&ada).await?, Vec::<Value>::new());
    let mut second = reaching(&site, 4).await?;
    let cut_off = site.agent("london", 4).await?;
    for (agent, told) in [(&first, 1), (&second, 1), (&cut_off, 0)] {
        let update = agent.report(Vec::new()).await?;
        assert_eq!(update["forget_homes"].as_array().map(Vec::len), Some(told), "{update}");
    }
    second.homes_gone = vec![home.parse()?];
    assert_eq!(second.report(Vec::new()).await?["forget_homes"], json!([]));
    assert_eq!(first.report(Vec::new()).await?["forget_homes"], json!([]));

    let admin = site.admin().await?;
    let patch = json!({"home_storage": ""});
    admin.send(Method::PATCH, "/api/v1/zones/london", Some(patch)).await?;
    let (_, session) = launch(&ada, &desktop, json!({})).await?;
    let kept = homes(&ada).await?[0].clone();
    assert_eq!((&kept["session_id"], &kept["storage"]), (&session["id"], &Value::Null), "{kept}");
    let refused = release(&admin, &id(&kept), true).await?;
    assert_eq!(code(&refused), (StatusCode::CONFLICT, "home_on_agent"), "{}", refused.1);
    Ok(())
}
