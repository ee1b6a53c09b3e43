//! `meridian admin` for what a person does with their own account and sessions, as the pages do it.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod site;

use anyhow::Result;
use reqwest::StatusCode;
use serde_json::json;
use site::{Agent, PASSWORD, Site};
use tempfile::TempDir;

const NEXT: &str = "another password, as long";

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_is_launched_by_its_name_and_seen_until_it_ends() -> Result<()> {
    let site = Site::start().await?;
    let run = async |arguments: &[&str]| site.admin(None, arguments, "").await;
    let list = run(&["workspaces", "list", "--all"]).await;
    assert!(list.out.starts_with("NAME") && list.out.contains("meridian/desktop:dev"), "{list:?}");
    let unknown = run(&["sessions", "launch", "Emacs"]).await;
    assert!(unknown.code == 3 && unknown.err.contains("workspaces list"), "{unknown:?}");
    let early = run(&["sessions", "launch", "Desktop"]).await;
    assert!(
        early.code == 3 && early.err.contains("No machine belongs to zone"),
        "nobody could run it: {early:?}"
    );

    Agent::join(&site, &["desktop", "browser", "terminal"]).await?;
    let launched = run(&["sessions", "launch", "Desktop", "--zone", "london"]).await;
    let address = launched.out.trim().strip_prefix("Desktop is starting in london: ").unwrap_or_default();
    let id = address.rsplit('/').next().unwrap_or_default().to_owned();
    assert_eq!(address, format!("http://{}/sessions/{id}", site.web.address), "{launched:?}");
    let shown = run(&["sessions", "show", &id]).await.json();
    assert_eq!((&shown["id"], &shown["state"]), (&json!(id), &json!("starting")));
    let mine = run(&["sessions", "list"]).await;
    assert!(mine.out.contains(&id), "{mine:?}");
    let found =
        run(&["sessions", "list", "--user", "ADMIN", "--zone", "london", "--node", "agent-london"]).await;
    assert!(found.code == 0 && found.out.contains(&id), "{found:?}");
    let none = run(&["sessions", "list", "--user", "admin", "--state", "unreachable"]).await;
    assert_eq!((none.code, none.out.as_str()), (0, "There are no such sessions\n"), "{none:?}");
    let unknown = run(&["sessions", "list", "--user", "nobody"]).await;
    assert!(unknown.code == 3 && unknown.err.contains("user"), "{unknown:?}");
    assert_eq!(run(&["sessions", "list", "--state", "cosy"]).await.code, 2);
    let second = run(&["sessions", "launch", "Terminal", "--temporary-home", "--json"]).await.json();
    assert_eq!(second["home"], "temporary");
    assert_eq!(run(&["sessions", "end", &id, "--yes"]).await.code, 0);
    assert_eq!(run(&["sessions", "show", &id]).await.json()["state"], "ending");
    assert_eq!(run(&["sessions", "show", "0190a5de-0000-7000-8000-000000000000"]).await.code, 3);
    assert_eq!(run(&["sessions", "launch", "Desktop", "--zone", "atlantis"]).await.code, 3);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_changes_their_password_and_signs_out() -> Result<()> {
    let site = Site::start().await?;
    let wrong = site.admin(None, &["password"], &format!("not it, by far\n{NEXT}\n")).await;
    assert_eq!(wrong.code, 3, "{wrong:?}");
    let changed = site.admin(None, &["password"], &format!("{PASSWORD}\n{NEXT}\n")).await;
    assert_eq!(changed.code, 0, "{changed:?}");
    assert_eq!(site.admin(None, &["zones", "list"], "").await.code, 3, "the old one is good no more");

    let home = TempDir::new()?;
    let with_profile = |arguments: &[&str]| {
        let mut command = site.command(None, arguments);
        command.env_remove("MERIDIAN_USERNAME").env("MERIDIAN_PASSWORD", NEXT).env("HOME", home.path());
        command
    };
    let ended = async |mut command: std::process::Command| {
        tokio::task::spawn_blocking(move || command.output().unwrap().status.code().unwrap()).await.unwrap()
    };
    assert_eq!(ended(with_profile(&["login", "--username", "admin"])).await, 0);
    let profile = home.path().join(".config/meridian/profile.json");
    let kept: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&profile)?)?;
    assert_eq!(ended(with_profile(&["zones", "list"])).await, 0);
    assert_eq!(ended(with_profile(&["logout"])).await, 0);
    assert!(!profile.exists());
    assert_eq!(ended(with_profile(&["zones", "list"])).await, 1, "nobody is signed in any more");
    let me = format!("http://{}/api/v1/auth/me", site.web.address);
    let answer = reqwest::Client::new().get(me).bearer_auth(kept["token"].as_str().unwrap()).send().await?;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "the server heard of it: {}", json!(kept));
    Ok(())
}
