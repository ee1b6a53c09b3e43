//! Launches that name no zone, beside an isolated one: nobody slips into it, and nobody whose home it is slips out.

mod support;

use anyhow::{Result, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Site};

struct Enclave {
    site: Site,
    sql: tokio_postgres::Client,
    admin: Client,
    desktop: String,
    /// Ids of London, which is isolated and the first of all, and of Virginia.
    zones: [String; 2],
}

impl Enclave {
    async fn start() -> Result<Self> {
        let site = Site::start().await?;
        let (sql, admin) = (site.sql().await?, site.admin().await?);
        for zone in ["london", "virginia"] {
            site.agent(zone, 8).await?;
        }
        let patch = json!({"isolated": true, "search_alternate_zones": false});
        let (status, answer) = admin.send(Method::PATCH, "/api/v1/zones/london", Some(patch)).await?;
        ensure!(status == StatusCode::OK, "{answer}");
        let desktop = site.workspace(&admin, "Desktop").await?;
        let mut zones = Vec::new();
        for zone in ["london", "virginia"] {
            zones.push(sql.query_one("SELECT id::text FROM zones WHERE name = $1", &[&zone]).await?.get(0));
        }
        let zones = zones.try_into().map_err(|zones| anyhow::anyhow!("{zones:?}"))?;
        Ok(Self { site, sql, admin, desktop, zones })
    }

    async fn everyone(&self, settings: Value) -> Result<()> {
        let statement = "UPDATE groups SET settings = $1 WHERE system = 'everyone'";
        self.sql.execute(statement, &[&settings]).await?;
        Ok(())
    }

    async fn launch(&self, user: &Client) -> Result<(StatusCode, Value)> {
        user.send(Method::POST, "/api/v1/sessions", Some(json!({"workspace_id": self.desktop}))).await
    }

    /// Where such a launch goes, and why.
    async fn goes(&self, user: &Client) -> Result<(String, String)> {
        let (status, session) = self.launch(user).await?;
        ensure!(status == StatusCode::CREATED, "{session}");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok((text(&session["zone"]), text(&session["choice"]["because"])))
    }
}

fn because(zone: &str, words: &str) -> (String, String) {
    (zone.to_owned(), words.to_owned())
}

#[tokio::test]
async fn neither_order_nor_nearness_leads_into_an_isolated_zone() -> Result<()> {
    let enclave = Enclave::start().await?;
    let ada = enclave.site.user("ada").await?;
    let [london, virginia] = &enclave.zones;
    enclave.everyone(json!({"session_limit": 100})).await?;
    let first = because("virginia", "it is the first of the zones that you may use");
    assert_eq!(enclave.goes(&ada).await?, first);

    let measured = json!({"zones": [{"zone": "london", "round_trips_ms": [9.0, 8.0, 9.5]},
        {"zone": "virginia", "round_trips_ms": [85.0, 84.0, 90.0]}]});
    let (_, nearest) = ada.send(Method::POST, "/api/v1/zones/measurements", Some(measured.clone())).await?;
    assert_eq!(nearest["zone"], "virginia", "{nearest}");
    assert_eq!(enclave.goes(&ada).await?, because("virginia", "it is the nearest to you, as measured"));

    // Allowed by name, it is a zone like any other; and where there is no other, it is that one.
    enclave.everyone(json!({"session_limit": 100, "allowed_zones": [london, virginia]})).await?;
    let bob = enclave.site.user("bob").await?;
    bob.send(Method::POST, "/api/v1/zones/measurements", Some(measured)).await?;
    assert_eq!(enclave.goes(&bob).await?, because("london", "it is the nearest to you, as measured"));
    enclave.everyone(json!({"session_limit": 100})).await?;
    let path = format!("/api/v1/workspaces/{}", enclave.desktop);
    let (status, answer) =
        enclave.admin.send(Method::PATCH, &path, Some(json!({"zones": ["london"]}))).await?;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(enclave.goes(&ada).await?, because("london", "there is no other zone that you may use"));
    Ok(())
}

#[tokio::test]
async fn nobody_whose_home_is_isolated_begins_outside_of_it() -> Result<()> {
    let enclave = Enclave::start().await?;
    let ada = enclave.site.user("ada").await?;
    let [london, _] = &enclave.zones;
    enclave.everyone(json!({"session_limit": 100, "home_zone": london})).await?;
    assert_eq!(enclave.goes(&ada).await?, because("london", "it is your home zone"));
    let names = async || -> Result<Vec<Value>> {
        let (_, list) = ada.send(Method::GET, "/api/v1/workspaces", None).await?;
        Ok(list["items"].as_array().into_iter().flatten().map(|item| item["name"].clone()).collect())
    };
    assert_eq!(names().await?, ["Desktop", "Browser", "Terminal"]);

    let path = format!("/api/v1/workspaces/{}", enclave.desktop);
    let (status, answer) =
        enclave.admin.send(Method::PATCH, &path, Some(json!({"zones": ["virginia"]}))).await?;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let (status, refused) = enclave.launch(&ada).await?;
    assert_eq!(
        (status, refused["error"]["code"].as_str()),
        (StatusCode::CONFLICT, Some("not_offered")),
        "{refused}"
    );
    assert_eq!(names().await?, ["Browser", "Terminal"], "the catalogue shows what can be launched from here");
    let path = "/api/v1/explain?workspace=Desktop&user=ada";
    let (_, why) = enclave.admin.send(Method::GET, path, None).await?;
    assert_eq!(why["hidden_because"], "london: this workspace is not offered there", "{why}");
    Ok(())
}
