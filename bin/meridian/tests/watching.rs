//! Looking on from the command line: asked, taken back, allowed with an address, stopped, declined.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod site;

use std::{
    process::{Child, Output},
    time::Duration,
};

use anyhow::{Result, ensure};
use meridian_harness::wait_for;
use meridian_wire::{Observation, ObservedSession};
use reqwest::Method;
use serde_json::{Value, json};
use site::{Agent, PASSWORD, Site};

const LIMIT: Duration = Duration::from_secs(30);

/// A session of ada's, who is at her desktop.
struct Desk {
    site: Site,
    http: reqwest::Client,
    ada: String,
    agent: Agent,
    session: String,
}

impl Desk {
    async fn start() -> Result<Self> {
        let site = Site::start().await?;
        let http = reqwest::Client::new();
        let made = site.admin(None, &["users", "create", "ada"], PASSWORD).await;
        ensure!(made.code == 0, "{made:?}");
        let agent = Agent::join(&site, &["desktop", "browser", "terminal"]).await?;
        let mut desk = Self { site, http, ada: String::new(), agent, session: String::new() };
        let login = json!({"username": "ada", "password": PASSWORD});
        desk.ada = text(&desk.call(Method::POST, "/api/v1/auth/login", login).await?["token"]);
        let list = desk.call(Method::GET, "/api/v1/workspaces", Value::Null).await?;
        let launch = json!({"workspace_id": list["items"][0]["id"]});
        desk.session = text(&desk.call(Method::POST, "/api/v1/sessions", launch).await?["id"]);
        desk.beat().await?;
        Ok(desk)
    }

    /// As ada, once she has signed in.
    async fn call(&self, method: Method, path: &str, body: Value) -> Result<Value> {
        let request = self.http.request(method, format!("http://{}{path}", self.site.web.address));
        let answer = request.bearer_auth(&self.ada).json(&body).send().await?;
        ensure!(answer.status().is_success(), "{path}: {}", answer.text().await?);
        Ok(serde_json::from_str(&answer.text().await?)?)
    }

    /// The agent says that the session runs.
    async fn beat(&self) -> Result<()> {
        let running = ObservedSession {
            session_id: self.session.parse()?,
            epoch: 1,
            generation: 1,
            observation: Observation::Running,
            streams: 0,
            active_at: None,
        };
        self.agent.beat(&self.site, vec![running]).await
    }

    /// The administrator asks; gives the command that waits, and the question once it is there.
    async fn asked(&self, more: &[&str]) -> Result<(Child, String)> {
        self.beat().await?;
        let arguments = [&["sessions", "watch", &self.session, "--reason", "your ticket 17"], more].concat();
        let child = self.site.command(None, &arguments).spawn()?;
        let watch = wait_for("the question", LIMIT, async || {
            let session =
                self.call(Method::GET, &format!("/api/v1/sessions/{}", self.session), Value::Null).await?;
            let asked = session["watches"].as_array().into_iter().flatten();
            let asked = asked.into_iter().find(|watch| watch["state"] == "asked").cloned();
            asked.ok_or_else(|| anyhow::anyhow!("{session}"))
        });
        let watch = watch.await?;
        ensure!(watch["reason"] == "your ticket 17", "{watch}");
        Ok((child, text(&watch["id"])))
    }

    async fn answer(&self, watch: &str, answer: &str) -> Result<Value> {
        let path = format!("/api/v1/sessions/{}/watches/{watch}/answer", self.session);
        self.call(Method::POST, &path, json!({"answer": answer})).await
    }

    /// What became of a question.
    async fn watch(&self, id: &str) -> Result<Value> {
        let session =
            self.call(Method::GET, &format!("/api/v1/sessions/{}", self.session), Value::Null).await?;
        let watches = session["watches"].as_array().into_iter().flatten();
        Ok(watches.into_iter().find(|watch| watch["id"] == id).cloned().unwrap_or_default())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// How a command ended: its code, and what it said.
async fn ended(child: Child) -> Result<(i32, String, String)> {
    let Output { status, stdout, stderr } =
        tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
    Ok((status.code().unwrap_or(-1), String::from_utf8(stdout)?, String::from_utf8(stderr)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_asked_from_the_command_line_and_their_answer_decides() -> Result<()> {
    let desk = Desk::start().await?;
    let stop = ["sessions", "watch", &desk.session, "--stop"];
    let nothing = desk.site.admin(None, &stop, "").await;
    assert!(nothing.code == 3 && nothing.err.contains("do not look on"), "{nothing:?}");
    assert_eq!(desk.site.admin(None, &["sessions", "watch", &desk.session], "").await.code, 2, "why?");

    // Ctrl-C takes the question back.
    let (child, watch) = desk.asked(&[]).await?;
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)?;
    let (code, out, err) = ended(child).await?;
    assert!(code == 1 && out.is_empty() && err.contains("taken back"), "{code} {out} {err}");
    assert_eq!(desk.watch(&watch).await?["state"], "withdrawn");

    // Allowed: an address without any secret, of the page that shows the desktop.
    let (child, watch) = desk.asked(&[]).await?;
    desk.answer(&watch, "seen").await?;
    desk.answer(&watch, "allow").await?;
    let (code, out, err) = ended(child).await?;
    let address =
        format!("http://{}/admin/sessions/{}/watches/{watch}\n", desk.site.web.address, desk.session);
    assert_eq!((code, out), (0, address), "{err}");
    let stopped = desk.site.admin(None, &stop, "").await;
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert_eq!(desk.watch(&watch).await?["because"], "whoever looked on left");

    // For a program, and stopped by another as well.
    let (child, watch) = desk.asked(&["--json"]).await?;
    desk.answer(&watch, "allow").await?;
    let (code, out, err) = ended(child).await?;
    assert_eq!(code, 0, "{err}");
    let answer: Value = serde_json::from_str(&out)?;
    assert_eq!(
        (&answer["id"], &answer["state"], &answer["user"]),
        (&json!(watch), &json!("allowed"), &json!("ada"))
    );
    assert!(text(&answer["address"]).ends_with(&watch), "{answer}");
    let stopped = desk.site.admin(None, &[&stop[..], &["--json"]].concat(), "").await.json();
    assert_eq!(stopped["items"][0]["state"], "ended");

    let (child, watch) = desk.asked(&[]).await?;
    desk.answer(&watch, "decline").await?;
    let (code, out, err) = ended(child).await?;
    assert!(code == 1 && out.is_empty() && err.contains("ada declined"), "{code} {out} {err}");
    desk.beat().await?;
    let again = ["sessions", "watch", &desk.session, "--reason", "please"];
    let again = desk.site.admin(None, &again, "").await;
    assert!(again.code == 3 && again.err.contains("just declined"), "{again:?}");
    Ok(())
}
