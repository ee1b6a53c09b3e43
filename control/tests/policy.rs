//! Policy: what groups say about their members, resolved for one user, and what follows from it.

mod support;

use anyhow::{Context, Result};
use meridian_model::{Permission, UserPolicy, policy::SETTINGS};
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    FakeProxy, Site,
    people::{id_of, join_group, make_group, patch_user, text},
};
use tokio_postgres::Client;

/// SQL of the test's own, beside the Web App.
struct Sql(Client);

impl Sql {
    async fn open(site: &Site) -> Result<Self> {
        Ok(Self(site.sql().await?))
    }

    async fn group(&self, name: &str, priority: i32, settings: Value) -> Result<()> {
        self.0
            .execute(
                "INSERT INTO groups (id, name, priority, settings) VALUES (gen_random_uuid(), $1, $2, $3)",
                &[&name, &priority, &settings],
            )
            .await?;
        Ok(())
    }

    async fn join(&self, group: &str, user: &str) -> Result<()> {
        self.0
            .execute(
                "INSERT INTO group_members (group_id, user_id)
                 SELECT g.id, u.id FROM groups g, users u WHERE g.name = $1 AND u.name = $2",
                &[&group, &user],
            )
            .await?;
        Ok(())
    }

    async fn policy(&self, user: &str) -> Result<Value> {
        let row = self.0.query_one("SELECT policy_v1(u) FROM users u WHERE u.name = $1", &[&user]).await?;
        Ok(row.get(0))
    }

    /// What the policy has against the launch of a shipped workspace.
    async fn refusal(&self, user: &str, workspace: &str) -> Result<Option<Value>> {
        let row = self
            .0
            .query_one(
                "SELECT may_launch_v1(u, w, policy_v1(u)) FROM users u, workspaces w WHERE u.name = $1 AND w.name = $2",
                &[&user, &workspace],
            )
            .await?;
        Ok(row.get(0))
    }
}

#[tokio::test]
async fn the_smallest_priority_wins_setting_by_setting_and_everyone_comes_last() -> Result<()> {
    let site = Site::start().await?;
    let sql = Sql::open(&site).await?;
    site.user("ada").await?;
    site.user("bob").await?;
    assert_eq!(sql.policy("ada").await?["session_limit"], 10, "nobody says anything");
    sql.0
        .execute(
            "UPDATE groups SET settings = '{\"session_limit\": 2, \"clipboard_out\": false, \"network\": \"internet\"}' WHERE system = 'everyone'",
            &[],
        )
        .await?;
    sql.group("Makers", 50, json!({"session_limit": 7})).await?;
    sql.group("Guests", 20, json!({"view_only": true, "session_limit": 5})).await?;
    sql.join("Makers", "ada").await?;
    let policy = sql.policy("ada").await?;
    assert_eq!((&policy["session_limit"], &policy["clipboard_out"]), (&json!(7), &json!(false)));
    sql.join("Guests", "ada").await?;
    let policy = sql.policy("ada").await?;
    assert_eq!((&policy["session_limit"], &policy["view_only"]), (&json!(5), &json!(true)));
    assert_eq!(policy["network"], "internet", "what they leave out, Everyone says");
    let policy = sql.policy("bob").await?;
    assert_eq!((&policy["session_limit"], &policy["view_only"]), (&json!(2), &json!(false)));
    sql.0.execute("UPDATE users SET session_limit = 3 WHERE name = 'ada'", &[]).await?;
    assert_eq!(sql.policy("ada").await?["session_limit"], 3, "the account's own limit comes first");
    Ok(())
}

#[tokio::test]
async fn a_policy_refuses_what_it_says() -> Result<()> {
    let site = Site::start().await?;
    let sql = Sql::open(&site).await?;
    site.user("ada").await?;
    assert_eq!(sql.refusal("ada", "Browser").await?, None);
    let cases = [
        (json!({"session_limit": 0}), json!({"outcome": "limit", "limit": 0})),
        (
            json!({"workspace_session_limit": 0}),
            json!({"outcome": "policy", "setting": "workspace_session_limit", "allowed": "0"}),
        ),
        (json!({"max_cpu": 0.25}), json!({"outcome": "policy", "setting": "max_cpu", "allowed": "0.25"})),
        (
            json!({"max_memory_mb": 1024}),
            json!({"outcome": "policy", "setting": "max_memory_mb", "allowed": "1024"}),
        ),
        (json!({"network": "none"}), json!({"outcome": "policy", "setting": "network", "allowed": "none"})),
    ];
    for (settings, refusal) in cases {
        sql.0.execute("UPDATE groups SET settings = $1 WHERE system = 'everyone'", &[&settings]).await?;
        assert_eq!(sql.refusal("ada", "Browser").await?, Some(refusal), "{settings}");
    }
    sql.0.execute("UPDATE groups SET settings = '{\"max_cpu\": 0.5, \"max_memory_mb\": 1536, \"network\": \"internet\"}' WHERE system = 'everyone'", &[]).await?;
    assert_eq!(sql.refusal("ada", "Browser").await?, None, "a ceiling may be reached");
    Ok(())
}

#[tokio::test]
async fn administrators_are_who_has_the_role_and_who_has_the_role_is_one() -> Result<()> {
    let site = Site::start().await?;
    let sql = Sql::open(&site).await?;
    site.user("ada").await?;
    let members = async || -> Result<Vec<String>> {
        let rows = sql
            .0
            .query(
                "SELECT u.name FROM group_members m JOIN groups g ON g.id = m.group_id JOIN users u ON u.id = m.user_id
                 WHERE g.system = 'administrators' ORDER BY u.name",
                &[],
            )
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    assert_eq!(members().await?, ["admin"], "made by a program that knows roles alone");
    sql.join("Administrators", "ada").await?;
    let role: String = sql.0.query_one("SELECT role FROM users WHERE name = 'ada'", &[]).await?.get(0);
    assert_eq!(role, "admin");
    sql.0
        .execute("DELETE FROM group_members WHERE user_id = (SELECT id FROM users WHERE name = 'ada')", &[])
        .await?;
    let role: String = sql.0.query_one("SELECT role FROM users WHERE name = 'ada'", &[]).await?.get(0);
    assert_eq!(role, "user");
    Ok(())
}

#[tokio::test]
async fn the_database_and_the_model_have_the_same_words() -> Result<()> {
    let site = Site::start().await?;
    let sql = site.sql().await?;
    let defaults: Value = sql.query_one("SELECT policy_defaults_v1()", &[]).await?.get(0);
    let defaults: UserPolicy = serde_json::from_value(defaults)?;
    assert_eq!(defaults, UserPolicy::default());
    let names: Vec<String> = sql
        .query("SELECT key FROM jsonb_each(policy_defaults_v1()) ORDER BY key", &[])
        .await?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let mut settings = SETTINGS.map(|setting| setting.name);
    settings.sort_unstable();
    assert_eq!(names, settings);
    let permissions: Vec<String> = sql.query_one("SELECT all_permissions_v1()", &[]).await?.get(0);
    assert_eq!(permissions, Permission::ALL.map(Permission::as_str));
    Ok(())
}

#[tokio::test]
async fn a_policy_is_shown_with_the_group_that_each_value_comes_from() -> Result<()> {
    let site = Site::start().await?;
    let (ada, admin) = (site.user("ada").await?, site.admin().await?);
    admin
        .send(Method::PATCH, "/api/v1/groups/Everyone", Some(json!({"settings": {"clipboard_out": false}})))
        .await?;
    let settings = json!({"allowed_zones": ["virginia", "london"], "home_zone": "virginia", "max_cpu": 1.5});
    let makers = make_group(&admin, json!({"name": "Makers", "priority": 50, "settings": settings})).await?;
    join_group(&admin, &makers, "ada").await?;
    patch_user(&admin, "ada", json!({"session_limit": 4})).await?;
    let path = format!("/api/v1/users/{}/policy", id_of(&ada).await?);
    let (status, mine) = ada.send(Method::GET, &path, None).await?;
    assert_eq!(status, StatusCode::OK, "{mine}");
    assert_eq!(admin.send(Method::GET, "/api/v1/users/ADA/policy", None).await?.1, mine);
    let of = |policy: &Value, setting: &str| -> Result<(Value, String, Value)> {
        let items = policy["items"].as_array().context("items")?;
        let item = items.iter().find(|item| item["setting"] == setting).context("no such setting")?;
        Ok((item["value"].clone(), text(item, "source"), item["group"]["name"].clone()))
    };
    assert_eq!(of(&mine, "session_limit")?, (json!(4), "account".into(), Value::Null));
    assert_eq!(of(&mine, "clipboard_out")?, (json!(false), "group".into(), json!("Everyone")));
    assert_eq!(of(&mine, "allowed_zones")?, (json!(["virginia", "london"]), "group".into(), json!("Makers")));
    assert_eq!(of(&mine, "home_zone")?.0, json!("virginia"));
    assert_eq!(of(&mine, "network")?, (json!("full"), "default".into(), Value::Null));
    let (_, list) = ada.send(Method::GET, "/api/v1/policy/settings", None).await?;
    assert_eq!(
        list["items"].as_array().map(Vec::len),
        mine["items"].as_array().map(Vec::len),
        "each has a meaning"
    );
    // A setting that a group leaves to others again.
    admin
        .send(
            Method::PATCH,
            &format!("/api/v1/groups/{makers}"),
            Some(json!({"settings": {"max_cpu": null}})),
        )
        .await?;
    assert_eq!(of(&admin.send(Method::GET, &path, None).await?.1, "max_cpu")?.1, "default");
    Ok(())
}

/// What a grant says, which the agent enforces.
fn claims(grant: &str) -> Result<Value> {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let body = grant.split('.').nth(1).context("a token")?;
    Ok(serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(body)?)?)
}

#[tokio::test]
async fn a_policy_on_streams_is_in_the_grant_and_a_change_cuts_the_streams_it_concerns() -> Result<()> {
    let site = Site::start().await?;
    let agent = site.agent("london", 8).await?;
    let admin = site.admin().await?;
    let (ada, bob) = (site.user("ada").await?, site.user("bob").await?);
    let desktop = site.workspace(&ada, "Desktop").await?;
    let mut sessions = Vec::new();
    for client in [&ada, &bob] {
        let session = text(&client.launch(&desktop, "london", "one").await?.1, "id");
        agent.say(&session, 1, Observation::Running).await?;
        sessions.push(session);
    }
    let proxy = FakeProxy::enroll(&site).await?;
    let connect = format!("/api/v1/sessions/{}/connect", sessions[0]);
    let policy = async || -> Result<Value> {
        let (_, answer) = proxy.authorize(&ada, &connect).await?;
        Ok(claims(answer["grant"].as_str().unwrap_or_default())?["policy"].clone())
    };
    let owner = json!({"input": true, "clipboard_in": true, "clipboard_out": true, "resize": true});
    assert_eq!(policy().await?, owner);
    let guests =
        make_group(&admin, json!({"name": "Guests", "priority": 5, "settings": {"view_only": true}})).await?;
    let cut = async || -> Result<Vec<bool>> {
        let rows =
            site.sql().await?.query("SELECT cut_before IS NOT NULL FROM sessions ORDER BY id", &[]).await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    assert_eq!(cut().await?, [false, false]);
    let ticket = proxy.ticket(&ada, &connect).await?;
    join_group(&admin, &guests, "ada").await?;
    assert_eq!(cut().await?, [true, false], "hers alone");
    let (_, answer) = proxy.ask(&ticket, &"a".repeat(32)).await?;
    let held = claims(answer["grant"].as_str().unwrap_or_default())?["policy"].clone();
    let viewer = json!({"input": false, "clipboard_in": false, "clipboard_out": true, "resize": false});
    assert_eq!(held, viewer, "a ticket of before opens a stream of now");
    // What a pass of a week says, too.
    let jkt = json!({"jkt": "A".repeat(43)});
    let (_, connected) = ada.send(Method::POST, &connect, Some(jkt)).await?;
    let pass = connected["resume_protocols"][1].as_str().and_then(|pass| pass.strip_prefix("meridian.pass."));
    assert_eq!(claims(pass.context("a pass")?)?["policy"], viewer);

    admin
        .send(
            Method::PATCH,
            &format!("/api/v1/groups/{guests}"),
            Some(json!({"settings": {"time_limit_s": 600}})),
        )
        .await?;
    site.sql().await?.execute("UPDATE sessions SET cut_before = NULL", &[]).await?;
    admin
        .send(
            Method::PATCH,
            &format!("/api/v1/groups/{guests}"),
            Some(json!({"settings": {"time_limit_s": 900}})),
        )
        .await?;
    assert_eq!(cut().await?, [false, false], "what is not about streams cuts none");
    admin
        .send(Method::PATCH, "/api/v1/groups/Everyone", Some(json!({"settings": {"clipboard_out": false}})))
        .await?;
    assert_eq!(cut().await?, [true, true]);
    site.sql().await?.execute("UPDATE sessions SET cut_before = NULL", &[]).await?;
    admin.send(Method::DELETE, &format!("/api/v1/groups/{guests}"), None).await?;
    assert_eq!(cut().await?, [true, false]);
    assert_eq!(
        policy().await?,
        json!({"input": true, "clipboard_in": true, "clipboard_out": false, "resize": true})
    );
    Ok(())
}
