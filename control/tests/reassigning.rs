//! Users, groups and whole zones are moved to another zone: looked at, made, undone, and never across an isolated zone's border.

mod support;

use anyhow::Result;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    Client, Site,
    homes::{id, keeping, launch},
};

async fn post(admin: &Client, path: &str, body: Value) -> Result<(StatusCode, Value)> {
    admin.send(Method::POST, &format!("/api/v1/{path}"), Some(body)).await
}

async fn patch(admin: &Client, path: &str, body: Value) -> Result<()> {
    let (status, answer) = admin.send(Method::PATCH, &format!("/api/v1/{path}"), Some(body)).await?;
    anyhow::ensure!(status == StatusCode::OK, "{answer}");
    Ok(())
}

/// Where a launch that names no zone goes, and why.
async fn meant(admin: &Client, user: &str) -> Result<(String, String)> {
    let path = format!("/api/v1/explain?workspace=Desktop&user={user}");
    let (status, why) = admin.send(Method::GET, &path, None).await?;
    anyhow::ensure!(status == StatusCode::OK, "{why}");
    let word = |key: &str| why["choice"][key].as_str().unwrap_or_default().to_owned();
    Ok((word("zone"), word("because")))
}

fn code(body: &Value) -> &str {
    body["error"]["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_user_is_moved_with_an_offer_to_launch_again_and_back() -> Result<()> {
    let site = Site::start().await?;
    let (admin, ada) = (site.admin().await?, site.user("ada").await?);
    let agent = site.agent("london", 4).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (_, session) = ada.launch(&desktop, "london", "one").await?;
    let id = session["id"].as_str().unwrap_or_default().to_owned();
    agent.say(&id, 1, Observation::Running).await?;
    let path = format!("/api/v1/sessions/{id}");
    assert_eq!(meant(&admin, "ada").await?.0, "london");

    // Looked at, nothing changes.
    let (status, look) =
        post(&admin, "reassignments", json!({"user": "ada", "to": "virginia", "dry_run": true})).await?;
    assert_eq!(
        (status, &look["people"], &look["sessions"]),
        (StatusCode::OK, &json!(1), &json!(1)),
        "{look}"
    );
    assert_eq!(
        look["first_sessions"],
        json!([{"id": id, "workspace": "Desktop", "user": "ada", "zone": "london", "state": "running", "stays_because": null}])
    );
    assert_eq!((&look["id"], meant(&admin, "ada").await?.0.as_str()), (&Value::Null, "london"));
    assert_eq!(ada.send(Method::GET, &path, None).await?.1["relaunch"], Value::Null);

    let (status, made) = post(&admin, "reassignments", json!({"user": "ada", "to": "virginia"})).await?;
    assert_eq!((status, &made["first_sessions"]), (StatusCode::OK, &look["first_sessions"]), "{made}");
    let home = "it is your home zone".to_owned();
    assert_eq!(meant(&admin, "ada").await?, ("virginia".to_owned(), home));
    let (_, seen) = ada.send(Method::GET, &path, None).await?;
    assert_eq!(seen["state"], "running", "it runs on until its user launches it again");
    assert_eq!(
        seen["relaunch"],
        json!({"zone": "virginia", "because": "an administrator moved you to virginia"})
    );

    let moved = made["id"].as_str().unwrap_or_default();
    let (status, undone) = post(&admin, &format!("reassignments/{moved}/undo"), Value::Null).await?;
    assert_eq!(status, StatusCode::OK, "{undone}");
    assert!(undone["undone_at"].is_string(), "{undone}");
    assert_eq!(meant(&admin, "ada").await?.0, "london");
    assert_eq!(ada.send(Method::GET, &path, None).await?.1["relaunch"], Value::Null);
    let (status, again) = post(&admin, &format!("reassignments/{moved}/undo"), Value::Null).await?;
    assert_eq!((status, again), (StatusCode::OK, undone), "undone twice is undone once");
    let (_, list) = admin.send(Method::GET, "/api/v1/reassignments", None).await?;
    assert_eq!(
        (&list["items"][0]["subject"], &list["items"][0]["made_by"]),
        (&json!("ada"), &json!("admin"))
    );
    let (_, audit) = admin.send(Method::GET, "/api/v1/audit?action=reassign_user", None).await?;
    assert_eq!(audit["items"][0]["target"], "ada", "{audit}");
    Ok(())
}

#[tokio::test]
async fn policy_is_asked_for_each_and_one_who_may_not_keeps_all() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    for name in ["ada", "bob", "eve"] {
        site.user(name).await?;
    }
    let group = async |name: &str, priority: i64, settings: Value, members: &[&str]| -> Result<()> {
        let body = json!({"name": name, "priority": priority, "settings": settings});
        let (status, made) = post(&admin, "groups", body).await?;
        anyhow::ensure!(status == StatusCode::CREATED, "{made}");
        for member in members {
            let path = format!("/api/v1/groups/{name}/members/{member}");
            let (status, body) = admin.send(Method::PUT, &path, None).await?;
            anyhow::ensure!(status.is_success(), "{body}");
        }
        Ok(())
    };
    group("Desk", 50, json!({"home_zone": "london"}), &["ada", "bob", "eve"]).await?;
    group("Bound", 20, json!({"allowed_zones": ["london"]}), &["eve"]).await?;
    group("Own", 10, json!({"home_zone": "london"}), &["bob"]).await?;

    let (status, body) = post(&admin, "reassignments", json!({"group": "Desk", "to": "virginia"})).await?;
    assert_eq!((status, code(&body)), (StatusCode::CONFLICT, "reassignment_refused"));
    let said = body["error"]["message"].as_str().unwrap_or_default();
    assert!(said.contains("1 of 3") && said.contains("eve (policy does not allow virginia)"), "{said}");
    assert_eq!(meant(&admin, "ada").await?.0, "london", "all or nobody");

    admin.send(Method::DELETE, "/api/v1/groups/Bound/members/eve", None).await?;
    let (status, made) = post(&admin, "reassignments", json!({"group": "Desk", "to": "virginia"})).await?;
    assert_eq!(status, StatusCode::OK, "{made}");
    let bob = &made["first_people"][1];
    assert_eq!(
        (&bob["name"], &bob["stays_because"]),
        (&json!("bob"), &json!("group Own says london")),
        "{made}"
    );
    assert_eq!(
        (meant(&admin, "eve").await?.0.as_str(), meant(&admin, "bob").await?.0.as_str()),
        ("virginia", "london")
    );
    let (_, desk) = admin.send(Method::GET, "/api/v1/groups/Desk", None).await?;
    assert_eq!(desk["settings"]["home_zone"], "virginia", "whoever joins later is moved, too");

    // A whole zone: everybody whose home it is, and who has a session there without one.
    let (status, made) = post(&admin, "reassignments", json!({"zone": "london", "to": "virginia"})).await?;
    assert_eq!((status, &made["people"]), (StatusCode::OK, &json!(1)), "{made}");
    assert_eq!(meant(&admin, "bob").await?.0, "virginia");
    let moved = made["id"].as_str().unwrap_or_default();
    assert_eq!(post(&admin, &format!("reassignments/{moved}/undo"), Value::Null).await?.0, StatusCode::OK);
    assert_eq!(
        (meant(&admin, "bob").await?.0.as_str(), meant(&admin, "ada").await?.0.as_str()),
        ("london", "virginia")
    );

    // Whoever may change zones alone moves nobody.
    let body = json!({"name": "k", "permissions": ["zones:modify"]});
    let (_, key) = post(&admin, "api-keys", body).await?;
    let key = Client { token: key["token"].as_str().map(str::to_owned), ..site.anonymous() };
    let (status, body) = post(&key, "reassignments", json!({"user": "ada", "to": "london"})).await?;
    assert_eq!((status, code(&body)), (StatusCode::FORBIDDEN, "forbidden"), "{body}");
    for wrong in [json!({"to": "london"}), json!({"user": "ada", "zone": "london", "to": "virginia"})] {
        assert_eq!(post(&admin, "reassignments", wrong).await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let nobody = json!({"user": "nobody", "to": "london"});
    assert_eq!(post(&admin, "reassignments", nobody).await?.0, StatusCode::NOT_FOUND);
    let nowhere = json!({"user": "ada", "to": "atlantis"});
    assert_eq!(post(&admin, "reassignments", nowhere).await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    Ok(())
}

#[tokio::test]
async fn nobody_crosses_the_border_of_an_isolated_zone() -> Result<()> {
    let site = Site::start().await?;
    let (admin, ada) = (site.admin().await?, site.user("ada").await?);
    site.agent("virginia", 4).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (status, _) = ada.launch(&desktop, "virginia", "one").await?;
    assert_eq!(status, StatusCode::CREATED);
    let (_, made) = post(&admin, "reassignments", json!({"user": "ada", "to": "london"})).await?;
    let moved = made["id"].as_str().unwrap_or_default().to_owned();
    patch(&admin, "zones/virginia", json!({"isolated": true})).await?;

    // Out of it, by home or by a session; into it; the zone itself; and back by undoing.
    let (status, body) = post(&admin, "reassignments", json!({"user": "ada", "to": "london"})).await?;
    assert_eq!((status, code(&body)), (StatusCode::CONFLICT, "reassignment_refused"));
    let said = body["error"]["message"].as_str().unwrap_or_default();
    assert!(said.contains("virginia is isolated: nobody is moved out of it"), "{said}");
    site.user("bob").await?;
    let (status, body) = post(&admin, "reassignments", json!({"user": "bob", "to": "virginia"})).await?;
    assert_eq!((status, code(&body)), (StatusCode::CONFLICT, "reassignment_refused"), "{body}");
    for (zone, to) in [("virginia", "london"), ("london", "virginia")] {
        let (status, body) = post(&admin, "reassignments", json!({"zone": zone, "to": to})).await?;
        assert_eq!((status, code(&body)), (StatusCode::CONFLICT, "zone_isolated"), "{body}");
    }
    // Undone, it would lead to nowhere in particular, and so across no border.
    assert_eq!(post(&admin, &format!("reassignments/{moved}/undo"), Value::Null).await?.0, StatusCode::OK);
    Ok(())
}

/// An offer that could not be taken would cost its user the session: they end it for the offer.
#[tokio::test]
async fn what_cannot_run_in_the_new_zone_is_not_offered_to_be_launched_again() -> Result<()> {
    let site = keeping().await?;
    let (admin, ada) = (site.admin().await?, site.user("ada").await?);
    let agent = site.agent("london", 8).await?;
    let mut sessions = Vec::new();
    for name in ["Desktop", "Terminal"] {
        let workspace = site.workspace(&admin, name).await?;
        let home = if name == "Desktop" { "persistent" } else { "temporary" };
        let (status, session) = launch(&ada, &workspace, json!({"zone": "london", "home": home})).await?;
        anyhow::ensure!(status == StatusCode::CREATED, "{session}");
        sessions.push(id(&session));
    }
    for session in &sessions {
        agent.say(session, 1, Observation::Running).await?;
    }
    let terminal = format!("workspaces/{}", site.workspace(&admin, "Terminal").await?);
    let look = async || {
        let body = json!({"user": "ada", "to": "virginia", "dry_run": true});
        let (status, look) = post(&admin, "reassignments", body).await?;
        anyhow::ensure!(status == StatusCode::OK, "{look}");
        let stays: Vec<_> = look["first_sessions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|session| (session["workspace"].clone(), session["stays_because"].clone()))
            .collect();
        Ok((look["sessions"].clone(), stays))
    };
    let at_home = (json!("Desktop"), json!("its home is in london"));
    assert_eq!(look().await?, (json!(1), vec![(json!("Terminal"), Value::Null), at_home.clone()]));
    patch(&admin, &terminal, json!({"zones": ["london"]})).await?;
    let elsewhere = (json!("Terminal"), json!("Terminal is not offered in virginia"));
    let (offered, mut stays) = look().await?;
    stays.sort_by_key(|(name, _)| name.to_string());
    assert_eq!((offered, stays), (json!(0), vec![at_home, elsewhere]));

    let (status, made) = post(&admin, "reassignments", json!({"user": "ada", "to": "virginia"})).await?;
    assert_eq!((status, &made["sessions"]), (StatusCode::OK, &json!(0)), "{made}");
    for session in &sessions {
        let (_, seen) = ada.send(Method::GET, &format!("/api/v1/sessions/{session}"), None).await?;
        assert_eq!((&seen["relaunch"], &seen["state"]), (&Value::Null, &json!("running")), "{seen}");
    }
    Ok(())
}

/// What an offer rests on may change after it was made.
#[tokio::test]
async fn an_offer_stands_as_long_as_the_new_zone_offers_the_workspace() -> Result<()> {
    let site = Site::start().await?;
    let (admin, ada) = (site.admin().await?, site.user("ada").await?);
    let agent = site.agent("london", 4).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (_, session) = ada.launch(&desktop, "london", "one").await?;
    agent.say(&id(&session), 1, Observation::Running).await?;
    let (status, made) = post(&admin, "reassignments", json!({"user": "ada", "to": "virginia"})).await?;
    assert_eq!((status, &made["sessions"]), (StatusCode::OK, &json!(1)), "{made}");
    let path = format!("/api/v1/sessions/{}", id(&session));
    assert_eq!(ada.send(Method::GET, &path, None).await?.1["relaunch"]["zone"], "virginia");
    patch(&admin, &format!("workspaces/{desktop}"), json!({"zones": ["london"]})).await?;
    assert_eq!(ada.send(Method::GET, &path, None).await?.1["relaunch"], Value::Null);
    Ok(())
}
