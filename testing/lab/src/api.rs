//! A signed-in client of the API.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{site::Part, trust::Trust, viewer::Way};

/// No call takes longer; one that does has failed.
const LIMIT: Duration = Duration::from_secs(10);
/// Of sessions.
const MAX_PAGES: usize = 200;
/// The account that every Meridian begins with.
pub(crate) const USER: &str = "admin";

/// One session, as its user reads it.
#[derive(Clone, Debug)]
pub(crate) struct SessionState {
    pub(crate) state: String,
    /// What is said of its start.
    pub(crate) said: String,
    /// The name of the agent that it is on.
    pub(crate) agent: String,
}

/// Clones share its connections.
#[derive(Clone)]
pub(crate) struct Api {
    base: String,
    token: String,
    http: reqwest::Client,
    pub(crate) trust: Trust,
}

impl Api {
    pub(crate) async fn sign_in(base: &str, password: &str, trust: Trust) -> Result<Self> {
        let builder = reqwest::Client::builder().timeout(LIMIT).no_proxy();
        let http = builder.tls_backend_preconfigured(rustls::ClientConfig::clone(&trust.tls())).build()?;
        let mut api = Self { base: base.to_owned(), token: String::new(), http, trust };
        let body = json!({"username": USER, "password": password});
        let login = api.call(Method::POST, "/auth/login", Some(body)).await.context("sign in")?;
        login["token"].as_str().context("a login without a token")?.clone_into(&mut api.token);
        Ok(api)
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.http.request(method, format!("{}/api/v1{path}", self.base));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        if text.is_empty() { Ok(Value::Null) } else { Ok(serde_json::from_str(&text)?) }
    }

    /// A workspace so small that hundreds fit into a simulated host; its id. The account's own limit is lifted to as many.
    pub(crate) async fn prepare(&self, sessions: usize, image: &str) -> Result<String> {
        let users = self.call(Method::GET, "/users", None).await?;
        let items = users["items"].as_array().into_iter().flatten();
        let id = items.filter(|user| user["name"] == USER).find_map(|user| user["id"].as_str());
        let id = id.context("the administrator is not listed")?;
        let patch = json!({"session_limit": sessions + 10});
        self.call(Method::PATCH, &format!("/users/{id}"), Some(patch)).await?;
        let workspace =
            json!({"name": "Lab", "image": image, "cpu": 0.05, "memory_mb": 128, "network": "none"});
        let made = self.call(Method::POST, "/workspaces", Some(workspace)).await?;
        Ok(made["id"].as_str().context("a workspace without an id")?.to_owned())
    }

    pub(crate) async fn launch(&self, workspace: &str, zone: &str) -> Result<String> {
        let body = json!({"workspace_id": workspace, "zone": zone});
        let session = self.call(Method::POST, "/sessions", Some(body)).await?;
        Ok(session["id"].as_str().context("a session without an id")?.to_owned())
    }

    pub(crate) async fn session(&self, session: &str) -> Result<SessionState> {
        let session = self.call(Method::GET, &format!("/sessions/{session}"), None).await?;
        let text =
            |place: &str| session.pointer(place).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(SessionState { state: text("/state"), said: text("/progress/message"), agent: text("/agent") })
    }

    /// What is wrong with a node in one respect, as far as the control plane knows.
    pub(crate) async fn problem(&self, node: &str, code: &str) -> Result<Option<String>> {
        let nodes = self.call(Method::GET, "/nodes?limit=1000", None).await?;
        let nodes = nodes["items"].as_array().into_iter().flatten();
        let problems =
            nodes.filter(|item| item["name"] == node).filter_map(|item| item["problems"].as_array());
        let mut problems = problems.flatten().filter(|problem| problem["code"] == code);
        Ok(problems.next().map(|problem| problem["message"].as_str().unwrap_or_default().to_owned()))
    }

    /// The state of each of the caller's sessions, by id.
    pub(crate) async fn states(&self) -> Result<BTreeMap<String, String>> {
        let mut states = BTreeMap::new();
        let mut path = "/sessions".to_owned();
        for _ in 0..MAX_PAGES {
            let page = self.call(Method::GET, &path, None).await?;
            for session in page["items"].as_array().into_iter().flatten() {
                let text = |name: &str| session[name].as_str().unwrap_or_default().to_owned();
                states.insert(text("id"), text("state"));
            }
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/sessions?cursor={next}");
        }
        Ok(states)
    }

    /// How many nodes the control plane calls ready, its own among them not.
    pub(crate) async fn nodes_ready(&self) -> Result<usize> {
        let nodes = self.call(Method::GET, "/nodes?limit=1000", None).await?;
        let items = nodes["items"].as_array().into_iter().flatten();
        Ok(items.filter(|node| node["role"] != "web" && node["state"] == "ready").count())
    }

    pub(crate) async fn end(&self, session: &str) -> Result<()> {
        self.call(Method::DELETE, &format!("/sessions/{session}"), None).await.map(drop)
    }

    /// Whether an address of any part answers well.
    pub(crate) async fn is_good(&self, url: &str) -> bool {
        self.http.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
    }

    /// A gauge that a part shows on its operator's listener; 0 where it shows none.
    pub(crate) async fn gauge(&self, part: &Part, name: &str) -> u64 {
        let asked = self.http.get(format!("http://{}/metrics", part.ops())).send();
        let Ok(answer) = asked.await else { return 0 };
        gauge(&answer.text().await.unwrap_or_default(), name)
    }

    pub(crate) async fn zone_id(&self, name: &str) -> Result<String> {
        let zones = self.call(Method::GET, "/zones", None).await?;
        let items = zones["items"].as_array().into_iter().flatten();
        let id = items.filter(|zone| zone["name"] == name).find_map(|zone| zone["id"].as_str());
        Ok(id.context("the zone is not listed")?.to_owned())
    }

    /// A connect ticket for the owner of a key.
    pub(crate) async fn connect(&self, session: &str, thumbprint: &str) -> Result<Way> {
        let body = json!({"transport": "meridian.v1", "jkt": thumbprint});
        let way = self.call(Method::POST, &format!("/sessions/{session}/connect"), Some(body)).await?;
        Ok(serde_json::from_value(way)?)
    }
}

/// The value of a series in Prometheus's text format.
fn gauge(text: &str, name: &str) -> u64 {
    let value = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let is_it = series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'));
        value.parse().ok().filter(|_| is_it)
    };
    text.lines().find_map(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_is_found_by_its_whole_name() {
        let text = "# HELP streams Streams.\nstreams_opened_total{zone=\"a b\"} 9\nstreams{zone=\"a b\"} 4\n";
        assert_eq!((gauge(text, "streams"), gauge(text, "other")), (4, 0));
    }
}
