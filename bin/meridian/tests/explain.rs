//! `meridian admin explain`: why a launch was refused, what would become of one, and why a session is where it is.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod site;

use anyhow::Result;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use site::{Agent, PASSWORD, Site};

/// The administrator's own programs, beside the command line.
struct Admin {
    http: Client,
    url: String,
    token: String,
}

impl Admin {
    async fn sign_in(site: &Site) -> Result<Self> {
        let url = format!("http://{}", site.web.address);
        let mut admin = Self { http: Client::new(), url, token: String::new() };
        let login = json!({"username": "admin", "password": PASSWORD});
        admin.token = admin.post("/api/v1/auth/login", login).await?.1["token"].as_str().unwrap().to_owned();
        Ok(admin)
    }

    async fn post(&self, path: &str, body: Value) -> Result<(StatusCode, Value)> {
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token).json(&body);
        let answer = request.send().await?;
        Ok((answer.status(), serde_json::from_str(&answer.text().await?)?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_a_launch_to_be_and_a_session_are_explained() -> Result<()> {
    let site = Site::start().await?;
    let run = async |arguments: &[&str]| site.admin(None, arguments, "").await;
    let admin = Admin::sign_in(&site).await?;
    let launch = json!({"workspace_id": desktop(&admin).await?, "zone": "london"});

    // Nobody is there to run it.
    let (status, refused) = admin.post("/api/v1/sessions", launch.clone()).await?;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{refused}");
    let request = refused["error"]["request_id"].as_str().unwrap();
    let why = run(&["explain", "--refused", request]).await;
    assert!(why.out.starts_with("Desktop for admin in london: capacity"), "{why:?}");
    assert!(why.out.contains("it has no agents"), "{why:?}");
    let list = run(&["explain", "--refused", "--of", "admin"]).await;
    assert!(list.out.lines().count() == 2 && list.out.contains(request), "{list:?}");
    assert_eq!(run(&["explain", "--refused", "--of", "nobody"]).await.code, 3);

    // Somebody is, who does not have every image.
    let agent = Agent::join(&site, &["desktop"]).await?;
    let lacks = run(&["explain", "--workspace", "Browser", "--of", "admin", "--zone", "london"]).await;
    assert!(lacks.out.starts_with("admin sees it\nMeant for london: "), "{lacks:?}");
    assert!(lacks.out.contains("agent-london  no image yet"), "{lacks:?}");
    agent.beat(&site, Vec::new()).await?;
    let (status, session) = admin.post("/api/v1/sessions", launch).await?;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    let id = session["id"].as_str().unwrap();
    let why = run(&["explain", id]).await;
    assert!(why.out.contains("Meant for london: you chose it") && why.out.contains("chosen"), "{why:?}");
    assert_eq!(run(&["explain", id, "--json"]).await.json()["counts"], json!({"chosen": 1}));

    assert_eq!(run(&["explain", "0190a5de-0000-7000-8000-000000000000"]).await.code, 3);
    assert_eq!(run(&["explain"]).await.code, 2);
    assert_eq!(run(&["explain", id, "--workspace", "Desktop"]).await.code, 2);
    Ok(())
}

async fn desktop(admin: &Admin) -> Result<Value> {
    let list = admin.http.get(format!("{}/api/v1/workspaces", admin.url)).bearer_auth(&admin.token);
    let list: Value = serde_json::from_str(&list.send().await?.text().await?)?;
    let mut entries = list["items"].as_array().into_iter().flatten();
    Ok(entries.find(|entry| entry["name"] == "Desktop").unwrap()["id"].clone())
}
