//! Homes that outlive their sessions: where they pin a workspace, who may write, what is said when one cannot be had, and how it is reset.

mod support;

use anyhow::Result;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::homes::{code, end, homes, id, keeping, launch};

#[tokio::test]
async fn a_home_is_made_once_goes_from_session_to_session_and_pins_the_workspace() -> Result<()> {
    let site = keeping().await?;
    let first = site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let (status, session) = launch(&user, &desktop, json!({})).await?;
    assert_eq!((status, session["home"].as_str()), (StatusCode::CREATED, Some("persistent")), "{session}");
    let update = first.report(Vec::new()).await?;
    let home = update["sessions"][0]["spec"]["home"].clone();
    assert!(home["id"].is_string() && home["size_mb"].as_i64() > Some(0), "{update}");
    let kept = homes(&user).await?;
    assert_eq!((kept.len(), &kept[0]["id"], &kept[0]["session_id"]), (1, &home["id"], &session["id"]));

    // More room is elsewhere; the home is not.
    let second = site.agent("london", 32).await?;
    end(&user, &first, &id(&session)).await?;
    let (status, again) = launch(&user, &desktop, json!({})).await?;
    assert_eq!((status, &again["agent"]), (StatusCode::CREATED, &session["agent"]), "{again}");
    assert_eq!(again["choice"]["because"], "your home of this workspace is there");
    let path = format!("/api/v1/sessions/{}/explanation", id(&again));
    let (_, explanation) = user.send(Method::GET, &path, None).await?;
    assert_eq!(explanation["counts"]["the home is on another agent"], 1, "{explanation}");
    let update = first.report(Vec::new()).await?;
    let sessions = update["sessions"].as_array().cloned().unwrap_or_default();
    let ordered = sessions.iter().find(|session| session["session_id"] == again["id"]);
    assert_eq!(ordered.map(|session| &session["spec"]["home"]), Some(&home), "the same home");
    assert_eq!(second.report(Vec::new()).await?["sessions"], json!([]));
    Ok(())
}

#[tokio::test]
async fn nobody_writes_to_a_home_beside_another_and_nobody_gets_an_empty_one_unasked() -> Result<()> {
    let site = keeping().await?;
    let agent = site.agent("london", 16).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let both = tokio::join!(launch(&user, &desktop, json!({})), launch(&user, &desktop, json!({})));
    let (one, two) = (both.0?, both.1?);
    let (taken, refused) = if one.0 == StatusCode::CREATED { (one, two) } else { (two, one) };
    assert_eq!(taken.0, StatusCode::CREATED, "{}", taken.1);
    assert_eq!(code(&refused), (StatusCode::CONFLICT, "home_in_use"), "{}", refused.1);
    let session = id(&taken.1);
    agent.say(&session, 1, Observation::Running).await?;

    let (status, beside) = launch(&user, &desktop, json!({"home": "temporary"})).await?;
    assert_eq!((status, beside["home"].as_str()), (StatusCode::CREATED, Some("temporary")), "{beside}");

    // Until its agent has put it away, the home is the ending session's.
    user.send(Method::DELETE, &format!("/api/v1/sessions/{session}"), None).await?;
    let refused = launch(&user, &desktop, json!({})).await?;
    assert_eq!(code(&refused), (StatusCode::CONFLICT, "home_in_use"), "{}", refused.1);
    let elsewhere = launch(&user, &desktop, json!({"zone": "virginia"})).await?;
    assert_eq!(code(&elsewhere).0, StatusCode::CONFLICT, "{}", elsewhere.1);
    agent.say(&session, 2, Observation::Gone).await?;
    let elsewhere = launch(&user, &desktop, json!({"zone": "virginia"})).await?;
    assert_eq!(code(&elsewhere), (StatusCode::CONFLICT, "home_elsewhere"), "{}", elsewhere.1);
    assert_eq!(launch(&user, &desktop, json!({})).await?.0, StatusCode::CREATED);
    Ok(())
}

#[tokio::test]
async fn a_home_whose_agent_is_away_is_waited_for_or_done_without() -> Result<()> {
    let site = keeping().await?;
    let agent = site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let (_, session) = launch(&user, &desktop, json!({})).await?;
    end(&user, &agent, &id(&session)).await?;
    let other = site.agent("london", 4).await?;
    let client = site.sql().await?;
    let away = "UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE id = $1";
    client.execute(away, &[&agent.node.0]).await?;
    let refused = launch(&user, &desktop, json!({})).await?;
    assert_eq!(code(&refused), (StatusCode::SERVICE_UNAVAILABLE, "home_away"), "{}", refused.1);
    let hint = refused.1["error"]["hint"].as_str().unwrap_or_default();
    assert!(hint.contains("temporary home"), "{}", refused.1);
    other.report(Vec::new()).await?;
    let (status, view) = launch(&user, &desktop, json!({"home": "temporary"})).await?;
    assert_eq!(status, StatusCode::CREATED, "{view}");
    agent.report(Vec::new()).await?;
    let (status, view) = launch(&user, &desktop, json!({})).await?;
    assert_eq!((status, &view["agent"]), (StatusCode::CREATED, &session["agent"]), "{view}");

    // A home that went with its machine is not replaced in silence either.
    client.execute("UPDATE nodes SET removed_at = now() WHERE id = $1", &[&agent.node.0]).await?;
    let lost = launch(&user, &desktop, json!({})).await?;
    assert_eq!(code(&lost), (StatusCode::CONFLICT, "home_lost"), "{}", lost.1);
    let path = format!("/api/v1/homes/{}", id(&homes(&user).await?[0]));
    assert_eq!(user.send(Method::DELETE, &path, None).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(launch(&user, &desktop, json!({})).await?.0, StatusCode::CREATED);
    Ok(())
}

#[tokio::test]
async fn a_home_is_reset_by_its_user_when_no_session_has_it_and_its_agent_removes_it() -> Result<()> {
    let site = keeping().await?;
    let mut agent = site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let (_, session) = launch(&user, &desktop, json!({})).await?;
    let home = homes(&user).await?[0].clone();
    let path = format!("/api/v1/homes/{}", id(&home));
    let refused = user.send(Method::DELETE, &path, None).await?;
    assert_eq!(code(&refused), (StatusCode::CONFLICT, "home_in_use"), "{}", refused.1);
    end(&user, &agent, &id(&session)).await?;
    let other = site.user("eve").await?.send(Method::DELETE, &path, None).await?;
    assert_eq!(other.0, StatusCode::NOT_FOUND, "somebody else's looks like none");
    assert_eq!(user.send(Method::DELETE, &path, None).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(homes(&user).await?, Vec::<Value>::new());

    let told = agent.report(Vec::new()).await?["forget_homes"].clone();
    assert_eq!(told, json!([{"id": home["id"], "size_mb": home["size_mb"]}]));
    agent.homes_gone = vec![id(&home).parse()?];
    assert_eq!(agent.report(Vec::new()).await?["forget_homes"], json!([]));

    let (status, again) = launch(&user, &desktop, json!({})).await?;
    assert_eq!(status, StatusCode::CREATED, "{again}");
    assert_ne!(homes(&user).await?[0]["id"], home["id"], "an empty one");
    Ok(())
}

#[tokio::test]
async fn only_agents_that_keep_homes_are_chosen_for_one() -> Result<()> {
    let site = keeping().await?;
    let agent = site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let client = site.sql().await?;
    let forgets = "UPDATE nodes SET report = report || '{\"keeps_homes\": false}' WHERE id = $1";
    client.execute(forgets, &[&agent.node.0]).await?;
    let refused = launch(&user, &desktop, json!({})).await?;
    assert_eq!(code(&refused), (StatusCode::SERVICE_UNAVAILABLE, "no_capacity"), "{}", refused.1);
    assert_eq!(refused.1["error"]["explanation"][0]["verdict"], "keeps no homes", "{}", refused.1);
    assert_eq!(homes(&user).await?, Vec::<Value>::new());
    assert_eq!(site.store().audit_counters().await?, 0);
    Ok(())
}
