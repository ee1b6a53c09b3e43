//! Policy: what groups say about their members, resolved for one user, and what follows from it.

mod support;

use anyhow::Result;
use meridian_model::{Permission, UserPolicy, policy::SETTINGS};
use serde_json::{Value, json};
use support::Site;
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
