//! Whatever somebody changes is in the audit log with the address it came from: each route that changes something is taken from the route table.

mod support;

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use meridian_wire::Observation;
use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use support::{Client, PASSWORD, Site};

/// Before the balancer, which a Web App node trusts to say so.
const ADDRESS: &str = "203.0.113.7";

/// Routes that change nothing which is written down, or whose function is told the address: those have tests of their own.
const ELSEWHERE: [(&str, &str); 10] = [
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/logout"),
    ("POST", "/api/v1/auth/password"),
    ("POST", "/api/v1/zones/measurements"),
    ("POST", "/api/v1/sessions/{id}/stay"),
    ("POST", "/api/v1/sessions/{id}/connect"),
    ("POST", "/api/v1/sessions/{id}/watches"),
    ("POST", "/api/v1/sessions/{id}/watches/{watch}/answer"),
    ("POST", "/api/v1/sessions/{id}/watches/{watch}/connect"),
    ("DELETE", "/api/v1/sessions/{id}/watches/{watch}"),
];

/// Somebody who comes from that address, and the routes that they used.
struct Admin {
    client: Client,
    used: BTreeSet<(String, String)>,
}

impl Admin {
    async fn sign_in(site: &Site) -> Result<Self> {
        let headers = HeaderMap::from_iter([("x-forwarded-for".parse()?, ADDRESS.parse()?)]);
        let http = reqwest::Client::builder().default_headers(headers).build()?;
        let client = Client { http, ..site.anonymous() }.sign_in("admin", PASSWORD).await?;
        Ok(Self { client, used: BTreeSet::new() })
    }

    /// Uses a route with its variable parts filled in; what it answers.
    async fn change(&mut self, method: &str, route: &str, parts: &[&str], body: Value) -> Result<Value> {
        let mut path = String::new();
        let mut rest = route;
        for part in parts {
            let (before, after) = rest.split_once('{').context("a part too many")?;
            path = path + before + part;
            rest = after.split_once('}').context("no route")?.1;
        }
        let body = Some(body).filter(|body| !body.is_null());
        let (status, answer) = self.client.send(method.parse()?, &(path + rest), body).await?;
        ensure!(status.is_success(), "{method} {route}: {status} {answer}");
        let template = route.split('?').next().unwrap_or_default();
        self.used.insert((method.to_owned(), template.to_owned()));
        Ok(answer)
    }
}

fn id(answer: &Value) -> String {
    answer["id"].as_str().unwrap_or_default().to_owned()
}

/// Makes, changes and deletes one of everything.
async fn change_everything(site: &Site, admin: &mut Admin) -> Result<()> {
    let none = Value::Null;
    let zone = admin.change("POST", "/api/v1/zones", &[], json!({"zone_name": "oslo"})).await?;
    let zone = id(&zone);
    admin.change("PATCH", "/api/v1/zones/{id}", &[&zone], json!({"load_strategy": "most_load"})).await?;
    let image = json!({"reference": "registry.example.org/a:1"});
    admin.change("PUT", "/api/v1/zones/{id}/images", &[&zone], image).await?;
    let image = "/api/v1/zones/{id}/images?reference=registry.example.org%2Fa%3A1";
    admin.change("DELETE", image, &[&zone], none.clone()).await?;
    let login = json!({"host": "registry.example.org", "username": "puller", "password": "secret"});
    admin.change("PUT", "/api/v1/zones/{id}/registries", &[&zone], login).await?;
    let login = "/api/v1/zones/{id}/registries?host=registry.example.org";
    admin.change("DELETE", login, &[&zone], none.clone()).await?;
    let apply = json!({"zones": [{"zone_name": "oslo", "desired_images": ["registry.example.org/b:1"]}],
        "workspaces": [{"name": "Files", "image": "registry.example.org/files:1"}], "revision": "r1"});
    admin.change("POST", "/api/v1/configuration/apply", &[], apply).await?;
    admin.change("DELETE", "/api/v1/zones/{id}?drain=true", &[&zone], none.clone()).await?;

    let new = json!({"name": "Tool", "image": "registry.example.org/tool:1"});
    let workspace = id(&admin.change("POST", "/api/v1/workspaces", &[], new).await?);
    admin.change("PATCH", "/api/v1/workspaces/{id}", &[&workspace], json!({"cpu": 2.0})).await?;
    admin.change("DELETE", "/api/v1/workspaces/{id}", &[&workspace], none.clone()).await?;

    let new = json!({"username": "ada", "password": PASSWORD});
    let user = id(&admin.change("POST", "/api/v1/users", &[], new).await?);
    admin.change("PATCH", "/api/v1/users/{id}", &[&user], json!({"locked": true})).await?;
    let move_ = json!({"user": "ada", "to": "virginia"});
    let made = id(&admin.change("POST", "/api/v1/reassignments", &[], move_).await?);
    admin.change("POST", "/api/v1/reassignments/{id}/undo", &[&made], none.clone()).await?;
    let new = json!({"name": "Keepers", "priority": 10, "settings": {"persistent_home": true}});
    let group = id(&admin.change("POST", "/api/v1/groups", &[], new).await?);
    admin.change("PATCH", "/api/v1/groups/{id}", &[&group], json!({"description": "They keep."})).await?;
    let member = "/api/v1/groups/{id}/members/{user}";
    admin.change("PUT", member, &[&group, "ada"], none.clone()).await?;
    admin.change("DELETE", member, &[&group, "ada"], none.clone()).await?;
    admin.change("DELETE", "/api/v1/users/{id}", &[&user], none.clone()).await?;
    let key = json!({"name": "k", "permissions": ["zones:view"]});
    let key = id(&admin.change("POST", "/api/v1/api-keys", &[], key).await?);
    admin.change("DELETE", "/api/v1/api-keys/{id}", &[&key], none.clone()).await?;

    let enrolment = json!({"role": "agent", "zone": "london"});
    admin.change("POST", "/api/v1/nodes/enrollments", &[], enrolment).await?;
    change_a_home(site, admin, &group).await?;
    admin.change("DELETE", "/api/v1/groups/{id}", &[&group], none).await?;
    Ok(())
}

/// A home on storage, its session and its agent.
async fn change_a_home(site: &Site, admin: &mut Admin, group: &str) -> Result<()> {
    let none = Value::Null;
    admin.change("PUT", "/api/v1/groups/{id}/members/{user}", &[group, "admin"], none.clone()).await?;
    let storage = json!({"home_storage": "/srv/homes"});
    admin.change("PATCH", "/api/v1/zones/{id}", &["london"], storage).await?;
    let mut agent = site.agent("london", 4).await?;
    agent.shared_homes = Some("/srv/homes".into());
    agent.report(Vec::new()).await?;
    let node = agent.node.to_string();
    admin.change("PATCH", "/api/v1/nodes/{id}", &[&node], json!({"session_limit": 3})).await?;
    admin.change("POST", "/api/v1/nodes/{id}/drain", &[&node], none.clone()).await?;
    admin.change("POST", "/api/v1/nodes/{id}/undrain", &[&node], none.clone()).await?;
    let desktop = site.workspace(&admin.client, "Desktop").await?;
    let launch = json!({"workspace_id": desktop, "zone": "london"});
    let session = id(&admin.change("POST", "/api/v1/sessions", &[], launch).await?);
    agent.say(&session, 1, Observation::Running).await?;
    let (_, homes) = admin.client.send(Method::GET, "/api/v1/homes", None).await?;
    let home = id(&homes["items"][0]);
    admin.change("POST", "/api/v1/homes/{id}/release", &[&home], json!({"force": true})).await?;
    admin.change("DELETE", "/api/v1/sessions/{id}", &[&session], none.clone()).await?;
    agent.say(&session, 2, Observation::Gone).await?;
    admin.change("DELETE", "/api/v1/homes/{id}", &[&home], none.clone()).await?;
    admin.change("DELETE", "/api/v1/homes", &[], none.clone()).await?;
    admin.change("POST", "/api/v1/nodes/{id}/remove?drain=true", &[&node], none).await?;
    Ok(())
}

#[tokio::test]
async fn whatever_is_changed_is_written_down_with_where_that_came_from() -> Result<()> {
    let site = Site::start().await?;
    let sql = site.sql().await?;
    // What the deployment's own beginning wrote came from nowhere.
    let begun: i64 = sql.query_one("SELECT coalesce(max(id), 0) FROM audit", &[]).await?.get(0);
    let mut admin = Admin::sign_in(&site).await?;
    change_everything(&site, &mut admin).await?;

    let document = serde_json::to_value(meridian_control::api::openapi())?;
    for (template, methods) in document["paths"].as_object().context("paths")? {
        for method in methods.as_object().context("methods")?.keys().map(|method| method.to_uppercase()) {
            let used = admin.used.contains(&(method.clone(), template.clone()));
            let elsewhere = ELSEWHERE.contains(&(method.as_str(), template.as_str()));
            ensure!(method == "GET" || used || elsewhere, "use {method} {template} in change_everything()");
        }
    }
    // The site itself lets agents and their tokens in from beside the node.
    let rows =
        "SELECT action, address, request_id FROM audit WHERE id > $1 AND user_id IS NOT NULL ORDER BY id";
    let rows = sql.query(rows, &[&begun]).await?;
    let mut actions = BTreeSet::new();
    for row in &rows {
        let (action, address, request): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        let known = [ADDRESS, "127.0.0.1"].contains(&address.as_str()) && !request.is_empty();
        ensure!(known, "{action} came from {address:?}, request {request:?}");
        if address == ADDRESS {
            actions.insert(action);
        }
    }
    for action in ["want_image", "unwant_image", "set_registry", "remove_registry", "update_zone", "drain"] {
        ensure!(actions.contains(action), "{action} is not among {actions:?}");
    }

    // And nothing of it stays on a connection for whoever comes next.
    let left = "SELECT count(*) FROM audit WHERE id > $1 AND user_id IS NULL AND address = $2";
    let left: i64 = sql.query_one(left, &[&begun, &ADDRESS]).await?.get(0);
    ensure!(left == 0, "{left} things that nobody did came from there");
    let (status, _) = admin.client.send(Method::POST, "/api/v1/auth/logout", None).await?;
    ensure!(status == StatusCode::NO_CONTENT, "{status}");
    Ok(())
}
