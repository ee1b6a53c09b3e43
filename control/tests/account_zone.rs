//! An account's own home zone: before those of its groups, within its policy, and apart from moves that came before.

mod support;

use anyhow::Result;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Site};

async fn set(client: &Client, user: &str, home: Value) -> Result<(StatusCode, Value)> {
    let patch = json!({"home_zone": home});
    client.send(Method::PATCH, &format!("/api/v1/users/{user}"), Some(patch)).await
}

async fn post(admin: &Client, path: &str, body: Value) -> Result<Value> {
    let (status, answer) = admin.send(Method::POST, &format!("/api/v1/{path}"), Some(body)).await?;
    anyhow::ensure!(status.is_success(), "{answer}");
    Ok(answer)
}

async fn get(client: &Client, path: &str) -> Result<Value> {
    Ok(client.send(Method::GET, &format!("/api/v1/{path}"), None).await?.1)
}

/// Where a launch that names no zone goes.
async fn meant(admin: &Client, user: &str) -> Result<Value> {
    Ok(get(admin, &format!("explain?workspace=Desktop&user={user}")).await?["choice"]["zone"].clone())
}

/// The home zone that holds for a user, and where it comes from.
async fn resolved(admin: &Client, user: &str) -> Result<(Value, Value)> {
    let policy = get(admin, &format!("users/{user}/policy")).await?;
    let items = policy["items"].as_array().cloned().unwrap_or_default();
    let home = items.into_iter().find(|item| item["setting"] == "home_zone").unwrap_or_default();
    Ok((home["value"].clone(), home["source"].clone()))
}

fn refused(answer: &(StatusCode, Value)) -> (StatusCode, &str) {
    let (status, body) = answer;
    (*status, body["error"]["fields"][0]["field"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn it_comes_before_groups_within_policy_and_is_taken_away_again() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    for name in ["ada", "bob"] {
        site.user(name).await?;
    }
    post(&admin, "groups", json!({"name": "Desk", "priority": 5, "settings": {"home_zone": "london"}}))
        .await?;
    admin.send(Method::PUT, "/api/v1/groups/Desk/members/ada", None).await?;
    assert_eq!(get(&admin, "users/ada").await?["home_zone"], Value::Null, "the group's is not its own");

    let (status, ada) = set(&admin, "ada", json!("virginia")).await?;
    assert_eq!((status, &ada["home_zone"]), (StatusCode::OK, &json!("virginia")), "{ada}");
    assert_eq!(resolved(&admin, "ada").await?, (json!("virginia"), json!("account")));
    assert_eq!(meant(&admin, "ada").await?, "virginia");
    let audit = get(&admin, "audit?action=update_user&target=ada").await?;
    assert_eq!(audit["items"][0]["detail"], json!({"home_zone": "virginia"}));
    // Another field leaves it, and a renamed zone stays it.
    admin.send(Method::PATCH, "/api/v1/users/ada", Some(json!({"session_limit": 3}))).await?;
    admin.send(Method::PATCH, "/api/v1/zones/virginia", Some(json!({"zone_name": "ohio"}))).await?;
    let list = get(&admin, "users?search=ad").await?;
    let listed = list["items"].as_array().into_iter().flatten().find(|user| user["name"] == "ada");
    assert_eq!(listed.map(|user| &user["home_zone"]), Some(&json!("ohio")), "{list}");

    let (_, ada) = set(&admin, "ada", Value::Null).await?;
    assert_eq!(ada["home_zone"], Value::Null);
    assert_eq!(resolved(&admin, "ada").await?, (json!("london"), json!("group")));
    assert_eq!(meant(&admin, "ada").await?, "london");

    // What is none, or what policy forbids, is refused at the field, with all that came with it.
    let nowhere = set(&admin, "ada", json!("atlantis")).await?;
    assert_eq!(refused(&nowhere), (StatusCode::UNPROCESSABLE_ENTITY, "home_zone"), "{nowhere:?}");
    let bound = json!({"settings": {"allowed_zones": ["london"]}});
    admin.send(Method::PATCH, "/api/v1/groups/Desk", Some(bound)).await?;
    let patch = json!({"name": "Ada", "home_zone": "ohio"});
    let forbidden = admin.send(Method::PATCH, "/api/v1/users/ada", Some(patch)).await?;
    assert_eq!(refused(&forbidden), (StatusCode::UNPROCESSABLE_ENTITY, "home_zone"), "{forbidden:?}");
    assert_eq!(get(&admin, "users/ada").await?["name"], "ada");
    let zones = get(&admin, "zones").await?;
    assert_eq!(set(&admin, "ada", zones["items"][0]["id"].clone()).await?.0, StatusCode::OK, "by its id");
    assert_eq!(set(&admin, "bob", json!("ohio")).await?.0, StatusCode::OK, "whom nothing binds");

    // It takes users:modify, and is not for accounts that may more than who asks.
    let key = async |permission: &str| -> Result<Client> {
        let key = post(&admin, "api-keys", json!({"name": permission, "permissions": [permission]})).await?;
        Ok(Client { token: key["token"].as_str().map(str::to_owned), ..site.anonymous() })
    };
    let (viewer, zones, modifier) =
        (key("users:view").await?, key("zones:modify").await?, key("users:modify").await?);
    for (client, user, wanted) in [
        (&viewer, "ada", StatusCode::FORBIDDEN),
        (&zones, "ada", StatusCode::FORBIDDEN),
        (&modifier, "admin", StatusCode::FORBIDDEN),
        (&modifier, "ada", StatusCode::OK),
    ] {
        let (status, answer) = set(client, user, json!("london")).await?;
        assert_eq!(status, wanted, "{user}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn what_was_decided_since_a_move_is_left_alone_when_the_move_is_undone() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let ada = site.user("ada").await?;
    for name in ["bob", "eve"] {
        site.user(name).await?;
    }
    let agent = site.agent("london", 4).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (_, session) = ada.launch(&desktop, "london", "one").await?;
    let id = session["id"].as_str().unwrap_or_default().to_owned();
    agent.say(&id, 1, Observation::Running).await?;
    let offer =
        async || -> Result<Value> { Ok(get(&ada, &format!("sessions/{id}")).await?["relaunch"].clone()) };
    let home = async |user: &str| -> Result<Value> {
        Ok(get(&admin, &format!("users/{user}")).await?["home_zone"].clone())
    };

    // Three are at home in london by their own accounts, and moved together.
    for name in ["ada", "bob", "eve"] {
        assert_eq!(set(&admin, name, json!("london")).await?.0, StatusCode::OK);
    }
    let moved = post(&admin, "reassignments", json!({"zone": "london", "to": "virginia"})).await?;
    assert_eq!((home("ada").await?, home("bob").await?), (json!("virginia"), json!("virginia")), "{moved}");
    assert_eq!(offer().await?["zone"], "virginia");

    // Since then: one back, one where the move led anyway, one as it was left.
    set(&admin, "ada", json!("london")).await?;
    assert_eq!(offer().await?, Value::Null, "nothing leads there any more");
    set(&admin, "ada", Value::Null).await?;
    set(&admin, "bob", json!("virginia")).await?;
    let undo = format!("reassignments/{}/undo", moved["id"].as_str().unwrap_or_default());
    post(&admin, &undo, Value::Null).await?;
    assert_eq!(
        (home("ada").await?, home("bob").await?, home("eve").await?),
        (Value::Null, json!("virginia"), json!("london"))
    );

    // A later move is undone to what was decided before it, and the earlier one does not come into it.
    let first = post(&admin, "reassignments", json!({"user": "eve", "to": "virginia"})).await?;
    set(&admin, "eve", json!("london")).await?;
    let second = post(&admin, "reassignments", json!({"user": "eve", "to": "virginia"})).await?;
    for (undone, wanted) in [(first, "virginia"), (second, "london")] {
        let undo = format!("reassignments/{}/undo", undone["id"].as_str().unwrap_or_default());
        post(&admin, &undo, Value::Null).await?;
        assert_eq!(home("eve").await?, wanted);
    }
    // Asked for anew where a move led, the offer stands.
    post(&admin, "reassignments", json!({"user": "ada", "to": "virginia"})).await?;
    set(&admin, "ada", json!("virginia")).await?;
    assert_eq!(offer().await?["zone"], "virginia");
    Ok(())
}
