//! Images: what zones want, who hears of it, and what is where.

mod support;

use anyhow::{Context, Result, ensure};
use meridian_model::{NodeRole, ProgressStep};
use meridian_wire::{ImageStanding, ImageState, Observation};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Site, joined::JoinedNode};

const ONE: &str = "registry.example.org/one:1";
const PASSWORD: &str = "of the registry alone";

async fn want(client: &Client, zone: &str, reference: &str) -> Result<(StatusCode, Value)> {
    client
        .send(Method::PUT, &format!("/api/v1/zones/{zone}/images"), Some(json!({"reference": reference})))
        .await
}

async fn log_in(client: &Client, zone: &str, host: &str) -> Result<(StatusCode, Value)> {
    let login = json!({"host": host, "username": "puller", "password": PASSWORD});
    client.send(Method::PUT, &format!("/api/v1/zones/{zone}/registries"), Some(login)).await
}

/// The row of an image in a zone.
async fn row(client: &Client, zone: &str, reference: &str) -> Result<Value> {
    let (status, list) = client.send(Method::GET, &format!("/api/v1/images?zone={zone}"), None).await?;
    ensure!(status == StatusCode::OK, "{list}");
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().find(|item| item["reference"] == reference).context("no such row")
}

fn standing(reference: &str, state: ImageState) -> ImageStanding {
    ImageStanding { reference: reference.into(), state }
}

fn present(id: &str) -> ImageState {
    ImageState::Present { image_id: id.into(), digest: None, size_bytes: 5 }
}

#[tokio::test]
async fn agents_hear_what_their_own_zone_wants_and_only_when_it_changed() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let (london, virginia) = (site.agent("london", 4).await?, site.agent("virginia", 4).await?);
    let update = london.report(Vec::new()).await?;
    assert_eq!(update.get("images"), None, "an agent of the release before is told nothing");
    let version = |update: &Value| update["images"]["version"].as_str().unwrap_or_default().to_owned();
    let first = london.report_images("", None).await?;
    assert_eq!(first["images"]["images"], json!([]));
    let known = version(&first);
    assert_eq!(london.report_images(&known, None).await?.get("images"), None);

    assert_eq!(want(&admin, "london", ONE).await?.0, StatusCode::NO_CONTENT);
    let told = london.report_images(&known, None).await?;
    assert_eq!(told["images"]["images"], json!([ONE]));
    assert_eq!(virginia.report_images("", None).await?["images"]["images"], json!([]));
    let known = version(&told);
    // Wanted already: nothing is new.
    assert_eq!(want(&admin, "london", ONE).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(london.report_images(&known, None).await?.get("images"), None);

    let path = format!("/api/v1/zones/london/images?reference={ONE}");
    assert_eq!(admin.send(Method::DELETE, &path, None).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(admin.send(Method::DELETE, &path, None).await?.0, StatusCode::NOT_FOUND);
    assert_eq!(london.report_images(&known, None).await?["images"]["images"], json!([]));

    let (_, audit) = admin.send(Method::GET, "/api/v1/audit", None).await?;
    let text = audit.to_string();
    assert!(text.contains("want_image") && text.contains("unwant_image"), "{audit}");
    for wrong in ["", "registry.example.org/one", "a b:1", "https://registry.example.org/one:1"] {
        let (status, body) = want(&admin, "london", wrong).await?;
        let field = &body["error"]["fields"][0]["field"];
        assert_eq!((status, field), (StatusCode::UNPROCESSABLE_ENTITY, &json!("reference")), "{wrong}");
    }
    assert_eq!(want(&admin, "atlantis", ONE).await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn a_password_of_a_registry_reaches_its_zones_agents_and_nobody_else() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    assert_eq!(log_in(&admin, "london", "registry.example.org").await?.0, StatusCode::NO_CONTENT);

    let beat = |node: &JoinedNode| {
        let tls = node.client.tls();
        let address = site.web.node_address;
        async move { support::joined::beat(address, tls, "").await }
    };
    let london = JoinedNode::join(&site, NodeRole::Agent, "london", None).await?;
    let told = beat(&london).await?;
    let wanted = json!([{"host": "registry.example.org", "username": "puller", "password": PASSWORD}]);
    assert_eq!(told["images"]["registries"], wanted, "{told}");
    let virginia = JoinedNode::join(&site, NodeRole::Agent, "virginia", None).await?;
    let proxy = JoinedNode::join(&site, NodeRole::Proxy, "london", None).await?;
    for node in [&virginia, &proxy] {
        assert!(!beat(node).await?.to_string().contains("puller"));
    }
    // The watch and the push carry none either; the settings, which nodes write to their disks, hold none.
    assert!(site.store().update_for(london.client.name().node, 0).await?.images.is_none());

    let (_, list) = admin.send(Method::GET, "/api/v1/zones/london/registries", None).await?;
    assert_eq!(list["items"][0]["username"], "puller", "{list}");
    let (_, audit) = admin.send(Method::GET, "/api/v1/audit", None).await?;
    let rows = site.sql().await?.query("SELECT r::text FROM zone_registries r", &[]).await?;
    let stored: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let hex: String = PASSWORD.bytes().map(|byte| format!("{byte:02x}")).collect();
    for text in [list.to_string(), audit.to_string(), stored.concat()] {
        assert!(!text.contains(PASSWORD) && !text.contains(&hex), "{text}");
    }
    for wrong in ["https://registry.example.org", "registry", "a/b", ""] {
        let (status, body) = log_in(&admin, "london", wrong).await?;
        assert_eq!(
            (status, &body["error"]["fields"][0]["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("host"))
        );
        assert!(!body.to_string().contains(PASSWORD));
    }
    let path = "/api/v1/zones/london/registries?host=registry.example.org";
    assert_eq!(admin.send(Method::DELETE, path, None).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(beat(&london).await?["images"]["registries"], json!([]));
    Ok(())
}

#[tokio::test]
async fn the_matrix_shows_what_is_where_and_warns_where_agents_differ() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    want(&admin, "london", ONE).await?;
    let nobody = row(&admin, "london", ONE).await?;
    assert_eq!(nobody["warnings"], json!(["the zone has no agent to have it"]), "{nobody}");
    let (first, second) = (site.agent("london", 4).await?, site.agent("london", 4).await?);
    let pulling = ImageState::Pulling { done_bytes: 3, total_bytes: 12 };
    first.report_images("", Some(vec![standing(ONE, present("sha256:a"))])).await?;
    second.report_images("", Some(vec![standing(ONE, pulling)])).await?;
    let found = row(&admin, "london", ONE).await?;
    let states: Vec<_> =
        found["agents"].as_array().context("agents")?.iter().map(|cell| &cell["state"]).collect();
    assert_eq!(states, ["present", "pulling"], "{found}");
    let cell = &found["agents"][1];
    assert_eq!((&cell["done_bytes"], &cell["disk_free_mb"]), (&json!(3), &json!(10)), "{cell}");
    assert_eq!(found["wanted"], true);
    let since = cell["since"].clone();

    // Progress is no other state, and what does not change is not written.
    let further = ImageState::Pulling { done_bytes: 6, total_bytes: 12 };
    second.report_images("", Some(vec![standing(ONE, further.clone())])).await?;
    assert_eq!(row(&admin, "london", ONE).await?["agents"][1]["since"], since);
    let marks = async || -> Result<Vec<String>> {
        let rows = site
            .sql()
            .await?
            .query("SELECT xmin::text || ctid::text FROM image_standings ORDER BY 1", &[])
            .await?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    };
    let before = marks().await?;
    second.report_images("", Some(vec![standing(ONE, further)])).await?;
    second.report_images("", None).await?;
    assert_eq!(marks().await?, before);

    second.report_images("", Some(vec![standing(ONE, present("sha256:b"))])).await?;
    let differ = row(&admin, "london", ONE).await?;
    assert_eq!(differ["warnings"], json!(["agents have 2 different images under this name"]));
    let failed = ImageState::Failed {
        reason: "it is away".into(),
        retry_at: "2026-11-23T12:00:00Z".parse()?,
        tries: 2,
    };
    second.report_images("", Some(vec![standing(ONE, failed)])).await?;
    let partly = row(&admin, "london", ONE).await?;
    assert_eq!(partly["warnings"].as_array().map(Vec::len), Some(2), "{partly}");
    assert_eq!(partly["agents"][1]["reason"], "it is away");

    // What workspaces run is there too, also where nobody wants it.
    let desktop = row(&admin, "virginia", "meridian/desktop:dev").await?;
    assert_eq!((&desktop["wanted"], &desktop["workspaces"]), (&json!(false), &json!(["Desktop"])));
    first.report(Vec::new()).await?;
    let listed = row(&admin, "london", "meridian/desktop:dev").await?;
    assert!(listed["agents"].to_string().contains("\"present\""), "an agent that lists it has it: {listed}");

    // Page by page it is the same.
    let (_, whole) = admin.send(Method::GET, "/api/v1/images", None).await?;
    let (mut pieces, mut cursor) = (Vec::new(), String::new());
    loop {
        let (_, page) = admin.send(Method::GET, &format!("/api/v1/images?limit=2{cursor}"), None).await?;
        pieces.extend(page["items"].as_array().cloned().unwrap_or_default());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let names = |items: &[Value]| {
        items.iter().map(|item| (item["zone"].clone(), item["reference"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(names(&pieces), names(whole["items"].as_array().context("items")?));
    assert_eq!(pieces.len(), 7, "three workspaces in two zones, and what London wants");

    // A page is full with its cells, too: London's two agents make one row a page.
    let (mut rows, mut after) = (Vec::new(), None);
    for pages in 1.. {
        let page = site.store().image_matrix(None, None, after.as_ref(), 100, 2).await?;
        ensure!(pages < 8, "pages without end");
        rows.extend(page.rows.iter().map(|row| (json!(row.zone), json!(row.reference))));
        let last = page.rows.last().context("a page without rows")?;
        ensure!(last.zone == "virginia" || page.rows.len() == 1, "{page:?}");
        after = Some((last.position, last.reference.clone()));
        if !page.more {
            break;
        }
    }
    assert_eq!(rows, names(&pieces));
    Ok(())
}

#[tokio::test]
async fn a_zone_wants_so_many_images_and_a_key_for_one_zone_changes_no_other() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    site.sql()
        .await?
        .batch_execute(
            "INSERT INTO zone_images (zone_id, reference) SELECT z.id, 'registry.example.org/many:' || g
                 FROM zones z, generate_series(1, 200) g WHERE z.name = 'london'",
        )
        .await?;
    let (status, body) = want(&admin, "london", ONE).await?;
    assert_eq!((status, body["error"]["code"].as_str()), (StatusCode::CONFLICT, Some("too_many")), "{body}");

    let key =
        json!({"name": "images", "permissions": ["images:view", "images:create"], "zones": ["virginia"]});
    let (status, key) = admin.send(Method::POST, "/api/v1/api-keys", Some(key)).await?;
    ensure!(status == StatusCode::CREATED, "{key}");
    let key = Client { token: key["token"].as_str().map(str::to_owned), ..admin.clone() };
    assert_eq!(want(&key, "virginia", ONE).await?.0, StatusCode::NO_CONTENT);
    assert_eq!(want(&key, "london", ONE).await?.0, StatusCode::FORBIDDEN);
    let (_, rows) = key.send(Method::GET, "/api/v1/images", None).await?;
    let zones: Vec<_> = rows["items"].as_array().context("items")?.iter().map(|row| &row["zone"]).collect();
    assert!(zones.iter().all(|zone| *zone == "virginia") && zones.len() == 4, "{rows}");
    Ok(())
}

#[tokio::test]
async fn a_launch_without_the_image_goes_elsewhere_or_waits_as_its_workspace_says() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let agent = site.agent("london", 8).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let path = format!("/api/v1/workspaces/{desktop}");
    let (status, changed) = admin.send(Method::PATCH, &path, Some(json!({"image": ONE}))).await?;
    assert_eq!((status, &changed["image_policy"]), (StatusCode::OK, &json!(null)), "{changed}");
    let (status, body) = admin.launch(&desktop, "london", "refused").await?;
    let verdict = &body["error"]["explanation"][0]["verdict"];
    assert_eq!((status, verdict), (StatusCode::SERVICE_UNAVAILABLE, &json!("no image yet")), "{body}");

    // The zone's policy is for workspaces that say nothing themselves.
    let explain = format!("/api/v1/explain?user=admin&workspace={desktop}&zone=london");
    let verdict = async || -> Result<Value> {
        let (_, beforehand) = admin.send(Method::GET, &explain, None).await?;
        Ok(beforehand["candidates"][0]["verdict"].clone())
    };
    let zone = "/api/v1/zones/london";
    let (_, changed) = admin.send(Method::PATCH, zone, Some(json!({"image_policy": "wait"}))).await?;
    assert_eq!(changed["image_policy"], "wait", "{changed}");
    assert_eq!(verdict().await?, "fits, and would load the image first");
    admin.send(Method::PATCH, &path, Some(json!({"image_policy": "elsewhere"}))).await?;
    assert_eq!(verdict().await?, "no image yet");
    let (_, changed) = admin.send(Method::PATCH, &path, Some(json!({"image_policy": null}))).await?;
    assert_eq!(changed["image_policy"], json!(null), "{changed}");
    assert_eq!(verdict().await?, "fits, and would load the image first");
    // A Web App node of the release before writes settings without it.
    site.sql()
        .await?
        .batch_execute("UPDATE zones SET settings = settings - 'image_policy' || '{\"proxy_port\": 7}' WHERE name = 'london'")
        .await?;
    assert_eq!(verdict().await?, "fits, and would load the image first", "what it does not know stays");
    admin.send(Method::PATCH, zone, Some(json!({"image_policy": "elsewhere", "proxy_port": 0}))).await?;
    assert_eq!(verdict().await?, "no image yet");

    let (_, changed) = admin.send(Method::PATCH, &path, Some(json!({"image_policy": "wait"}))).await?;
    assert_eq!(changed["image_policy"], "wait", "{changed}");
    assert_eq!(verdict().await?, "fits, and would load the image first");
    let (status, session) = admin.launch(&desktop, "london", "waits").await?;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    let session = session["id"].as_str().context("id")?.to_owned();
    let (_, why) = admin.send(Method::GET, &format!("/api/v1/sessions/{session}/explanation"), None).await?;
    assert_eq!(why["candidates"][0]["verdict"], "chosen; it loads the image first", "{why}");
    assert_eq!(why["counts"], json!({"chosen": 1}));

    // How far it has come is in the session's view.
    let loading = Observation::Starting {
        step: ProgressStep::Image,
        message: format!("loading {ONE}: 3 of 12 MB"),
        percent: Some(25),
    };
    agent.say(&session, 1, loading).await?;
    let (_, view) = admin.send(Method::GET, &format!("/api/v1/sessions/{session}"), None).await?;
    assert_eq!(
        (&view["progress"]["step"], &view["progress"]["percent"]),
        (&json!("image"), &json!(25)),
        "{view}"
    );
    Ok(())
}

#[tokio::test]
async fn an_agent_that_failed_to_load_the_image_comes_last_and_the_explanation_says_so() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let (first, second) = (site.agent("london", 8).await?, site.agent("london", 8).await?);
    let desktop = site.workspace(&admin, "Desktop").await?;
    let patch = json!({"image": ONE, "image_policy": "wait"});
    admin.send(Method::PATCH, &format!("/api/v1/workspaces/{desktop}"), Some(patch)).await?;
    let failed = ImageState::Failed {
        reason: "it is away".into(),
        retry_at: "2026-11-23T12:00:00Z".parse()?,
        tries: 2,
    };
    // The first would be taken: they are equal but for this, and it joined earlier.
    first.report_images("", Some(vec![standing(ONE, failed)])).await?;
    second.report_images("", None).await?;
    let (status, session) = admin.launch(&desktop, "london", "one").await?;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    let path = format!("/api/v1/sessions/{}/explanation", session["id"].as_str().context("id")?);
    let (_, why) = admin.send(Method::GET, &path, None).await?;
    assert_eq!(why["counts"], json!({"chosen": 1, "fits, but failed to load its image": 1}), "{why}");
    let verdicts: Vec<_> =
        why["candidates"].as_array().context("candidates")?.iter().map(|one| &one["verdict"]).collect();
    assert_eq!(
        verdicts,
        [
            "chosen; it loads the image first",
            "fits, and would load the image first, which failed the last time"
        ]
    );

    // Where nobody else can, it tries again.
    admin.send(Method::POST, &format!("/api/v1/nodes/{}/drain", second.node), None).await?;
    let (status, session) = admin.launch(&desktop, "london", "two").await?;
    assert_eq!(status, StatusCode::CREATED, "{session}");
    Ok(())
}
