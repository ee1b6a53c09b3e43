//! What people and administrators see of homes, and what they can do about them.

mod support;

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    Client, FakeAgent, Site,
    homes::{code, end, homes, id, keeping, launch},
};

/// A user with a home of the desktop that no session has.
async fn with_home(site: &Site, agent: &FakeAgent, name: &str) -> Result<Client> {
    let user = site.user(name).await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let (status, session) = launch(&user, &desktop, json!({})).await?;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    end(&user, agent, &id(&session)).await?;
    Ok(user)
}

async fn names(admin: &Client, query: &str) -> Result<Vec<String>> {
    let (status, list) = admin.send(Method::GET, &format!("/api/v1/homes?all=true{query}"), None).await?;
    assert_eq!(status, StatusCode::OK, "{list}");
    let items = list["items"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<_> =
        items.iter().map(|home| home["user"]["name"].as_str().unwrap_or_default().to_owned()).collect();
    names.sort();
    Ok(names)
}

#[tokio::test]
async fn a_home_says_how_it_stands_from_its_launch_to_the_end_of_its_agent() -> Result<()> {
    let site = keeping().await?;
    let agent = site.agent("london", 4).await?;
    let user = site.user("ada").await?;
    let desktop = site.workspace(&user, "Desktop").await?;
    let state = async || -> Result<Value> { Ok(homes(&user).await?[0]["state"].clone()) };
    let (_, session) = launch(&user, &desktop, json!({})).await?;
    let home = homes(&user).await?[0].clone();
    assert_eq!((&home["zone"], &home["agent"]), (&json!("london"), &session["agent"]), "{home}");
    assert!(home["size_mb"].as_i64() > Some(0) && home["used_at"].is_string(), "{home}");
    assert_eq!(state().await?, "in_use");
    user.send(Method::DELETE, &format!("/api/v1/sessions/{}", id(&session)), None).await?;
    assert_eq!(state().await?, "put_away");
    end(&user, &agent, &id(&session)).await?;
    assert_eq!(state().await?, "free");
    let sql = site.sql().await?;
    let away = "UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE id = $1";
    sql.execute(away, &[&agent.node.0]).await?;
    assert_eq!(state().await?, "away");
    sql.execute("UPDATE nodes SET removed_at = now() WHERE id = $1", &[&agent.node.0]).await?;
    assert_eq!(state().await?, "lost");
    Ok(())
}

#[tokio::test]
async fn administrators_list_everybodys_homes_page_by_page_and_as_filtered() -> Result<()> {
    let site = keeping().await?;
    let agent = site.agent("london", 16).await?;
    let ada = with_home(&site, &agent, "ada").await?;
    for name in ["bob", "eve"] {
        with_home(&site, &agent, name).await?;
    }
    let desktop = site.workspace(&ada, "Desktop").await?;
    launch(&ada, &desktop, json!({})).await?;
    let admin = site.admin().await?;
    assert_eq!(names(&admin, "").await?, ["ada", "bob", "eve"]);
    assert_eq!(names(&admin, "&user=bob").await?, ["bob"]);
    assert_eq!(names(&admin, "&state=in_use").await?, ["ada"]);
    assert_eq!(names(&admin, "&state=free&user=ada").await?, Vec::<String>::new());
    assert_eq!(names(&admin, "&workspace=Desktop&zone=london").await?.len(), 3);
    assert_eq!(names(&admin, "&zone=virginia").await?.len(), 0);
    assert_eq!(names(&admin, "&gone=true").await?.len(), 0);

    // Two pages of two are everything once.
    let (_, first) = admin.send(Method::GET, "/api/v1/homes?all=true&limit=2", None).await?;
    let cursor = first["next"].as_str().unwrap_or_default();
    let path = format!("/api/v1/homes?all=true&limit=2&cursor={cursor}");
    let (_, second) = admin.send(Method::GET, &path, None).await?;
    assert_eq!((first["items"].as_array().map(Vec::len), &second["next"]), (Some(2), &Value::Null));
    assert_eq!(second["items"].as_array().map(Vec::len), Some(1), "{second}");
    assert_ne!(first["items"][1]["id"], second["items"][0]["id"]);

    let refused = ada.send(Method::GET, "/api/v1/homes?all=true", None).await?;
    assert_eq!(refused.0, StatusCode::FORBIDDEN, "{}", refused.1);
    for query in ["user=bob", "all=true&state=cosy", "all=true&cursor=x", "all=true&limit=0", "what=else"] {
        let (status, answer) = admin.send(Method::GET, &format!("/api/v1/homes?{query}"), None).await?;
        assert!(status.is_client_error(), "{query}: {status} {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn administrators_reset_anybodys_home_and_it_is_written_down() -> Result<()> {
    let site = keeping().await?;
    let agent = site.agent("london", 4).await?;
    let ada = with_home(&site, &agent, "ada").await?;
    let home = id(&homes(&ada).await?[0]);
    let admin = site.admin().await?;
    let reset = admin.send(Method::DELETE, &format!("/api/v1/homes/{home}"), None).await?;
    assert_eq!(reset.0, StatusCode::NO_CONTENT, "{}", reset.1);
    assert_eq!(homes(&ada).await?, Vec::<Value>::new());
    assert_eq!(names(&admin, "&state=removing").await?, ["ada"], "until its agent has done so");
    let (_, log) = admin.send(Method::GET, "/api/v1/audit?action=reset_home", None).await?;
    assert_eq!(
        (&log["items"][0]["target"], &log["items"][0]["user"]["name"]),
        (&json!(home), &json!("admin"))
    );
    let again = admin.send(Method::DELETE, &format!("/api/v1/homes/{home}"), None).await?;
    assert_eq!(again.0, StatusCode::NOT_FOUND);
    // A machine that is removed takes with it what it was still to remove.
    site.sql().await?.execute("UPDATE nodes SET removed_at = now() WHERE id = $1", &[&agent.node.0]).await?;
    assert_eq!(names(&admin, "").await?, Vec::<String>::new());
    Ok(())
}

#[tokio::test]
async fn homes_of_a_deleted_workspace_go_when_an_administrator_says_so() -> Result<()> {
    let site = keeping().await?;
    let agent = site.agent("london", 16).await?;
    let ada = with_home(&site, &agent, "ada").await?;
    with_home(&site, &agent, "bob").await?;
    let desktop = site.workspace(&ada, "Desktop").await?;
    let (_, session) = launch(&ada, &desktop, json!({})).await?;
    let admin = site.admin().await?;
    let delete = async || admin.send(Method::DELETE, "/api/v1/homes", None).await;
    assert_eq!(delete().await?.1, json!({"deleted": 0, "in_use": 0}), "nothing was deleted yet");
    let sql = site.sql().await?;
    sql.execute("UPDATE workspaces SET deleted_at = now() WHERE name = 'Desktop'", &[]).await?;
    assert_eq!(names(&admin, "&gone=true").await?, ["ada", "bob"]);
    assert_eq!(homes(&ada).await?[0]["gone"], "workspace");
    let refused = ada.send(Method::DELETE, "/api/v1/homes", None).await?;
    assert_eq!(refused.0, StatusCode::FORBIDDEN, "{}", refused.1);
    assert_eq!(delete().await?.1, json!({"deleted": 1, "in_use": 1}), "a session has the other");
    end(&ada, &agent, &id(&session)).await?;
    assert_eq!(delete().await?.1, json!({"deleted": 1, "in_use": 0}));
    let told = agent.report(Vec::new()).await?["forget_homes"].as_array().map(Vec::len);
    assert_eq!(told, Some(2));
    Ok(())
}

#[tokio::test]
async fn a_launch_looked_at_beforehand_says_where_the_home_is_and_that_it_runs_there() -> Result<()> {
    let site = keeping().await?;
    let agent = site.agent("london", 4).await?;
    let admin = site.admin().await?;
    let look = async |query: &str| -> Result<Value> {
        let path = format!("/api/v1/explain?workspace=Desktop&user=ada{query}");
        let (status, preview) = admin.send(Method::GET, &path, None).await?;
        assert_eq!(status, StatusCode::OK, "{preview}");
        Ok(preview)
    };
    site.user("ada").await?;
    let before = look("").await?;
    assert_eq!((&before["keeps_home"], &before["home"]), (&json!(true), &Value::Null), "{before}");
    let ada = site.anonymous().sign_in("ada", support::PASSWORD).await?;
    let desktop = site.workspace(&ada, "Desktop").await?;
    let (_, session) = launch(&ada, &desktop, json!({})).await?;
    let during = look("").await?;
    assert!(during["refusal"].as_str().is_some_and(|why| why.contains("in use")), "{during}");
    end(&ada, &agent, &id(&session)).await?;
    site.agent("london", 32).await?;
    let after = look("").await?;
    assert_eq!(
        (&after["home"]["agent"], &after["home"]["state"]),
        (&session["agent"], &json!("free")),
        "{after}"
    );
    assert_eq!(after["choice"]["because"], "your home of this workspace is there");
    assert_eq!(after["counts"], json!({"fits": 1, "the home is on another agent": 1}), "{after}");
    assert_eq!(after["candidates"][0]["agent"], session["agent"], "{after}");
    assert_eq!(after["refusal"], Value::Null);
    let elsewhere = look("&zone=virginia").await?;
    assert!(elsewhere["refusal"].as_str().is_some_and(|why| why.contains("zone london")), "{elsewhere}");
    let refused = launch(&ada, &desktop, json!({"zone": "virginia"})).await?;
    assert_eq!(code(&refused).1, "home_elsewhere", "as it was foretold");
    Ok(())
}
