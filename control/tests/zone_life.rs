//! A zone is made, judged, renamed, deleted, and applied from files; and what its addresses come to.

mod support;

use anyhow::Result;
use meridian_runtime::Tasks;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Site, read};
use tokio_postgres::NoTls;

async fn zones(admin: &Client) -> Result<Vec<Value>> {
    let (_, list) = admin.send(Method::GET, "/api/v1/zones", None).await?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

fn fields(body: &Value) -> Vec<&str> {
    let fields = body["error"]["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    fields.iter().filter_map(|field| field["field"].as_str()).collect()
}

#[tokio::test]
async fn a_zone_is_made_judged_at_each_field_and_deleted_when_nothing_works_in_it() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let make = async |body: Value| admin.send(Method::POST, "/api/v1/zones", Some(body)).await;
    let (status, made) =
        make(json!({"zone_name": "oslo", "alternate_zones": ["virginia"], "labels": {"law": "no"}})).await?;
    assert_eq!((status, &made["alternate_zones"]), (StatusCode::CREATED, &json!(["virginia"])), "{made}");
    assert_eq!(made["labels"], json!({"law": "no"}));
    assert_eq!(make(json!({"zone_name": "oslo"})).await?.0, StatusCode::CONFLICT);
    let (status, body) = make(json!({"zone_name": "Oslo!", "isolated": true, "alternate_zones": ["london"],
        "proxy_path": "api", "upstream_auth_address": "web-1"}))
    .await?;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    assert_eq!(fields(&body), ["zone_name", "upstream_auth_address", "proxy_path", "alternate_zones"]);
    let (_, body) = make(json!({"zone_name": "bergen", "alternate_zones": ["atlantis"]})).await?;
    assert_eq!(fields(&body), ["alternate_zones"]);
    assert_eq!(zones(&admin).await?.len(), 3, "nothing of what is wrong is written");

    // A renamed zone keeps its sessions; one that works is not deleted.
    let agent = site.agent("oslo", 4).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (_, session) = admin.launch(&desktop, "oslo", "one").await?;
    let session = session["id"].as_str().unwrap_or_default().to_owned();
    agent.say(&session, 1, Observation::Running).await?;
    let rename = json!({"zone_name": "bergen"});
    assert_eq!(admin.send(Method::PATCH, "/api/v1/zones/oslo", Some(rename)).await?.0, StatusCode::OK);
    let (_, seen) = admin.send(Method::GET, &format!("/api/v1/sessions/{session}"), None).await?;
    assert_eq!((&seen["zone"], &seen["state"]), (&json!("bergen"), &json!("running")));
    let delete =
        async |query: &str| admin.send(Method::DELETE, &format!("/api/v1/zones/bergen{query}"), None).await;
    let (status, body) = delete("").await?;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (StatusCode::CONFLICT, Some("zone_in_use")),
        "{body}"
    );

    // Drained, its sessions end with the reason; then it goes.
    let (status, body) = delete("?drain=true").await?;
    assert_eq!((status, &body["sessions"]), (StatusCode::ACCEPTED, &json!(1)), "{body}");
    let (_, seen) = admin.send(Method::GET, &format!("/api/v1/sessions/{session}"), None).await?;
    assert_eq!(
        (&seen["state"], &seen["reason"]),
        (&json!("ending"), &json!("its zone bergen is being deleted"))
    );
    agent.say(&session, 2, Observation::Gone).await?;
    let (status, body) = delete("").await?;
    assert_eq!((status, &body["state"]), (StatusCode::OK, &json!("deleted")), "{body}");
    let (_, seen) = admin.send(Method::GET, &format!("/api/v1/sessions/{session}"), None).await?;
    assert_eq!(
        (&seen["zone"], &seen["state"]),
        (&json!("bergen"), &json!("ended")),
        "what was is still told: {seen}"
    );
    assert_eq!(site.store().audit_counters().await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_dead_zone_can_always_be_deleted_and_opens_no_other() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let tasks = Tasks::new();
    let (sql, connection) = site.database.superuser_config().connect(NoTls).await?;
    tasks.spawn("test connection", async move { drop(connection.await) });
    let agent = site.agent("virginia", 4).await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (_, session) = admin.launch(&desktop, "virginia", "one").await?;
    let session = session["id"].as_str().unwrap_or_default().to_owned();
    let patch = json!({"search_alternate_zones": true, "alternate_zones": ["virginia"]});
    assert_eq!(admin.send(Method::PATCH, "/api/v1/zones/london", Some(patch)).await?.0, StatusCode::OK);
    let only = json!({"zones": ["virginia"]});
    let path = format!("/api/v1/workspaces/{desktop}");
    assert_eq!(admin.send(Method::PATCH, &path, Some(only)).await?.0, StatusCode::OK);
    sql.execute("UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE id = $1", &[&agent.node.0])
        .await?;

    let (status, body) = admin.send(Method::DELETE, "/api/v1/zones/virginia", None).await?;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (_, seen) = admin.send(Method::GET, &format!("/api/v1/sessions/{session}"), None).await?;
    assert_eq!((&seen["state"], &seen["reason"]), (&json!("lost"), &json!("its zone virginia was deleted")));
    assert_eq!(site.store().audit_counters().await?, 0);
    // The list of alternates is empty now, which would mean any zone; and the workspace was offered there alone.
    let london = zones(&admin).await?.remove(0);
    assert_eq!((&london["alternate_zones"], &london["search_alternate_zones"]), (&json!([]), &json!(false)));
    let (_, why) = admin.send(Method::GET, "/api/v1/explain?workspace=Desktop", None).await?;
    assert_eq!(why["hidden_because"], "no zone is left that offers it");
    let (status, body) = admin.send(Method::DELETE, "/api/v1/zones/london", None).await?;
    assert_eq!((status, body["error"]["code"].as_str()), (StatusCode::CONFLICT, Some("last_zone")));
    Ok(())
}

#[tokio::test]
async fn a_zone_comes_back_from_its_file_and_is_deleted_again() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let before = admin.send(Method::GET, "/api/v1/configuration", None).await?.1;
    for round in ["first", "second"] {
        let (status, body) = admin.send(Method::DELETE, "/api/v1/zones/virginia", None).await?;
        assert_eq!(status, StatusCode::OK, "the {round} time: {body}");
        let apply = json!({"zones": before["zones"], "revision": round});
        let (status, body) = admin.send(Method::POST, "/api/v1/configuration/apply", Some(apply)).await?;
        assert_eq!(status, StatusCode::OK, "the {round} time: {body}");
        let ids = |zones: &[Value]| zones.iter().map(|zone| zone["id"].clone()).collect::<Vec<_>>();
        let mut wanted = ids(before["zones"].as_array().map(Vec::as_slice).unwrap_or_default());
        let mut made = ids(&zones(&admin).await?);
        wanted.sort_by_key(Value::to_string);
        made.sort_by_key(Value::to_string);
        assert_eq!(made, wanted, "the {round} time");
    }
    Ok(())
}

#[tokio::test]
async fn a_deletion_that_is_refused_leaves_the_zones_tokens_and_two_at_once_leave_a_zone() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    site.agent("virginia", 4).await?;
    let token = std::fs::read_to_string(site.token(meridian_model::NodeRole::Agent, "virginia").await?)?;
    let (status, body) = admin.send(Method::DELETE, "/api/v1/zones/virginia", None).await?;
    assert_eq!((status, body["error"]["code"].as_str()), (StatusCode::CONFLICT, Some("zone_in_use")));
    support::enroll(&site.anonymous(), token, "after-all").await?;

    site.sql()
        .await?
        .execute("UPDATE nodes SET last_seen_at = now() - interval '1 hour' WHERE role <> 'web'", &[])
        .await?;
    let deleted = async |zone: &str| admin.send(Method::DELETE, &format!("/api/v1/zones/{zone}"), None).await;
    let (one, two) = tokio::join!(deleted("london"), deleted("virginia"));
    let mut outcomes = [one?, two?].map(|(status, _)| status);
    outcomes.sort_by_key(|status| status.as_u16());
    assert_eq!(outcomes, [StatusCode::OK, StatusCode::CONFLICT]);
    assert_eq!(zones(&admin).await?.len(), 1);
    Ok(())
}

#[tokio::test]
async fn files_are_applied_all_or_nothing_and_again_without_effect() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let export =
        async || -> Result<Value> { Ok(admin.send(Method::GET, "/api/v1/configuration", None).await?.1) };
    let apply = async |body: Value| admin.send(Method::POST, "/api/v1/configuration/apply", Some(body)).await;
    let before = export().await?;
    let (status, body) = apply(json!({"zones": before["zones"], "revision": "a1"})).await?;
    assert_eq!((status, &body["plan"]), (StatusCode::OK, &json!([])), "{body}");
    assert_eq!(export().await?, before, "what was exported changes nothing");
    let london = zones(&admin).await?.remove(0);
    assert_eq!((&london["applied_revision"], &london["drifted"]), (&json!("a1"), &json!(false)));
    let grace = london["outage_grace"].clone();
    admin.send(Method::PATCH, "/api/v1/zones/london", Some(json!({"outage_grace": grace}))).await?;
    assert_eq!(zones(&admin).await?[0]["drifted"], false, "nothing is another than in its file");
    let patch = json!({"outage_grace": 60});
    admin.send(Method::PATCH, "/api/v1/zones/london", Some(patch)).await?;
    assert_eq!(zones(&admin).await?[0]["drifted"], true, "somebody changed it since");

    // Two zones trade alternates with a new one, and one is renamed by its id; a dry run only tells.
    let mut wanted = before["zones"].clone();
    wanted[0]["alternate_zones"] = json!(["oslo"]);
    wanted[1]["zone_name"] = json!("ohio");
    if let Some(list) = wanted.as_array_mut() {
        list.push(
            json!({"zone_name": "oslo", "alternate_zones": ["london", "ohio"], "labels": {"law": "no"}}),
        );
    }
    let mut body = json!({"zones": wanted, "revision": "a2", "dry_run": true});
    let (status, told) = apply(body.clone()).await?;
    assert_eq!((status, &told["applied"]), (StatusCode::OK, &json!(false)), "{told}");
    assert_eq!(zones(&admin).await?.len(), 2);
    body["dry_run"] = json!(false);
    let (status, done) = apply(body.clone()).await?;
    assert_eq!((status, &done["plan"]), (StatusCode::OK, &told["plan"]), "{done}");
    let names: Vec<_> = zones(&admin).await?.iter().map(|zone| zone["name"].clone()).collect();
    assert_eq!(names, ["london", "ohio", "oslo"]);
    let after = export().await?;
    assert_eq!(apply(body).await?.1["plan"], json!([]), "again without effect");
    assert_eq!(export().await?, after);

    // A zone's new name stands in the files of those whose alternate it is.
    assert_eq!(zones(&admin).await?[0]["drifted"], false);
    for (old, new) in [("oslo", "bergen"), ("bergen", "oslo")] {
        let path = format!("/api/v1/zones/{old}");
        let (status, body) = admin.send(Method::PATCH, &path, Some(json!({"zone_name": new}))).await?;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!(zones(&admin).await?[0]["drifted"], true, "{old} is {new} now");
    }
    assert_eq!(export().await?, after);
    let (_, audit) = admin.send(Method::GET, "/api/v1/audit?action=update_zone&target=bergen", None).await?;
    let detail = &audit["items"][0]["detail"];
    assert_eq!((&detail["renamed_from"], &detail["labels"]), (&json!("oslo"), &json!({"law": "no"})));

    // What is wrong is said at its place, all of it, and nothing is written.
    let mut wrong = after["zones"].clone();
    wrong[0]["outage_grace"] = json!(5);
    wrong[1]["proxy_path"] = json!("api");
    wrong[2]["alternate_zones"] = json!(["atlantis"]);
    let (status, body) = apply(json!({"zones": wrong})).await?;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    assert_eq!(fields(&body), ["zones.ohio.proxy_path", "zones.oslo.alternate_zones"]);
    let unknown = json!({"zones": [{"zone_name": "london", "speed": 9}]});
    assert_eq!(apply(unknown).await?.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(export().await?, after);

    // Deleting needs to be asked for; a zone that works is not deleted, nor is anything else written then.
    let mut fewer = after["zones"].clone();
    let gone = fewer.as_array_mut().and_then(Vec::pop);
    fewer[0]["alternate_zones"] = json!([]);
    let (_, kept) = apply(json!({"zones": fewer})).await?;
    assert_eq!(kept["plan"][1]["action"], "unlisted", "{kept}");
    assert_eq!(zones(&admin).await?.len(), 3);
    let agent = site.agent("oslo", 4).await?;
    fewer[1]["outage_grace"] = json!(77);
    let (status, body) = apply(json!({"zones": fewer, "prune": true})).await?;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (StatusCode::CONFLICT, Some("zone_in_use")),
        "{body}"
    );
    assert_ne!(zones(&admin).await?[1]["outage_grace"], 77, "all or nothing");
    admin.send(Method::POST, &format!("/api/v1/nodes/{}/drain", agent.node), None).await?;
    assert_eq!(apply(json!({"zones": fewer, "prune": true})).await?.0, StatusCode::OK, "{gone:?}");
    assert_eq!(zones(&admin).await?.len(), 2);

    // Workspaces alike; many of them, in one long request.
    let mut entries: Vec<Value> = (0..300)
        .map(|number| json!({"name": format!("W{number}"), "image": "x", "description": "d".repeat(300)}))
        .collect();
    let (status, body) = apply(json!({"workspaces": entries})).await?;
    assert_eq!(status, StatusCode::OK, "{}", body["error"]);
    assert_eq!(apply(json!({"workspaces": entries})).await?.1["plan"].as_array().map(Vec::len), Some(3));
    entries.truncate(1);
    assert_eq!(apply(json!({"workspaces": entries, "prune": true})).await?.0, StatusCode::OK);
    assert_eq!(export().await?["workspaces"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test]
async fn applies_that_race_leave_one_of_their_states() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let (_, now) = admin.send(Method::GET, "/api/v1/configuration", None).await?;
    let state = |path: &str| {
        let mut zones = now["zones"].clone();
        zones[0]["proxy_path"] = json!(format!("{path}-0"));
        zones[1]["proxy_path"] = json!(format!("{path}-1"));
        json!({"zones": zones, "revision": path})
    };
    let apply =
        async |path: &str| admin.send(Method::POST, "/api/v1/configuration/apply", Some(state(path))).await;
    for _ in 0..5 {
        let (a, b) = tokio::join!(apply("a"), apply("b"));
        assert_eq!((a?.0, b?.0), (StatusCode::OK, StatusCode::OK));
        let found = zones(&admin).await?;
        let paths: Vec<_> = found.iter().map(|zone| zone["proxy_path"].clone()).collect();
        assert!(paths == ["a-0", "a-1"] || paths == ["b-0", "b-1"], "{paths:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_a_web_app_node_of_the_release_before_does_not_know_of_a_zone_stays() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let newer = json!({"image_policy": "wait", "proxy_alternates": ["other.example.org:8443"], "home_storage": "/srv/homes"});
    let (status, changed) = admin.send(Method::PATCH, "/api/v1/zones/london", Some(newer.clone())).await?;
    assert_eq!(status, StatusCode::OK, "{changed}");
    // It writes all settings that it knows.
    site.sql()
        .await?
        .batch_execute(
            "UPDATE zones SET settings = settings - '{image_policy,proxy_alternates,home_storage}'::text[] || '{\"proxy_port\": 7}'
                WHERE name = 'london'",
        )
        .await?;
    let london =
        zones(&admin).await?.into_iter().find(|zone| zone["zone_name"] == "london").unwrap_or_default();
    assert_eq!(london["proxy_port"], 7, "{london}");
    for (setting, value) in newer.as_object().into_iter().flatten() {
        assert_eq!(&london[setting], value, "{london}");
    }
    // Taken back on purpose, it is gone.
    let nothing = json!({"proxy_alternates": [], "home_storage": ""});
    let (_, changed) = admin.send(Method::PATCH, "/api/v1/zones/london", Some(nothing)).await?;
    assert_eq!(
        (&changed["proxy_alternates"], &changed["home_storage"]),
        (&json!([]), &json!("")),
        "{changed}"
    );
    Ok(())
}

#[tokio::test]
async fn addresses_follow_the_page_behind_any_host_and_port_and_only_a_trusted_proxys_word_counts()
-> Result<()> {
    let site = Site::start().await?;
    site.agent("london", 4).await?;
    let admin = site.admin().await?;
    let desktop = site.workspace(&admin, "Desktop").await?;
    let (_, session) = admin.launch(&desktop, "london", "one").await?;
    let path = format!("/api/v1/sessions/{}/connect", session["id"].as_str().unwrap_or_default());
    let url = async |client: &Client, headers: &[(&str, &str)]| -> Result<String> {
        let mut request = client.request(Method::POST, &path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (status, body) = read(request.send().await?).await?;
        anyhow::ensure!(status == StatusCode::OK, "{body}");
        let url = body["url"].as_str().unwrap_or_default();
        Ok(url.split("/desktop-london").next().unwrap_or_default().to_owned())
    };
    let forwarded = [("x-forwarded-host", "work.example.org:9443"), ("x-forwarded-proto", "https")];
    assert_eq!(
        url(&admin, &forwarded).await?,
        "wss://work.example.org:9443",
        "behind a proxy on an odd port"
    );
    assert_eq!(url(&admin, &[("host", "10.0.0.7:8080")]).await?, "ws://10.0.0.7:8080");
    assert_eq!(url(&admin, &[("host", "[fd00::1]:8080")]).await?, "ws://[fd00::1]:8080");
    let secure = [("x-forwarded-host", "work.example.org"), ("x-forwarded-proto", "https")];
    assert_eq!(url(&admin, &secure).await?, "wss://work.example.org", "the scheme's own port is not named");
    let patch = json!({"proxy_port": 8443, "proxy_hostname": "london.$request_host$"});
    assert_eq!(admin.send(Method::PATCH, "/api/v1/zones/london", Some(patch)).await?.0, StatusCode::OK);
    assert_eq!(url(&admin, &secure).await?, "wss://london.work.example.org:8443");
    let patch = json!({"proxy_alternates": ["b.$request_host$", "203.0.113.9:9443"]});
    assert_eq!(admin.send(Method::PATCH, "/api/v1/zones/london", Some(patch)).await?.0, StatusCode::OK);
    let request = admin.request(Method::POST, &path).header("x-forwarded-host", "work.example.org");
    let (_, body) = read(request.send().await?).await?;
    let alternates = body["alternates"].as_array().cloned().unwrap_or_default();
    let at = |index: usize, address: &str| {
        alternates.get(index).and_then(Value::as_str).is_some_and(|url| url.starts_with(address))
    };
    assert!(
        at(0, "ws://b.work.example.org:8443/desktop-london/") && at(1, "ws://203.0.113.9:9443/"),
        "{body}"
    );
    let (_, list) = read(
        admin
            .request(Method::GET, "/api/v1/zones")
            .header("x-forwarded-host", "w.example.org")
            .send()
            .await?,
    )
    .await?;
    assert_eq!(list["items"][0]["probe"], "http://london.w.example.org:8443/desktop-london/probe");

    // The same words from somebody who is not trusted change nothing.
    let mut settings = support::web_settings(site.folder.path(), "web-2")?;
    settings.trusted_proxies = vec!["192.0.2.1".into()];
    let second = support::Another::start(settings, site.database.config()).await?;
    let there = admin.at(&second.web);
    let own = format!("ws://london.{}:8443", second.web.address.ip());
    assert_eq!(url(&there, &forwarded).await?, own);
    Ok(())
}

#[tokio::test]
async fn a_zone_says_what_it_needs_of_the_world() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let patch = json!({"proxy_hostname": "london.example.org", "upstream_auth_address": "https://10.0.0.1"});
    assert_eq!(admin.send(Method::PATCH, "/api/v1/zones/london", Some(patch)).await?.0, StatusCode::OK);
    let (status, needs) = admin.send(Method::GET, "/api/v1/zones/london/requirements", None).await?;
    assert_eq!(status, StatusCode::OK, "{needs}");
    assert_eq!(needs["dns"][0]["name"], "london.example.org");
    let codes: Vec<_> =
        needs["warnings"].as_array().into_iter().flatten().map(|warning| &warning["code"]).collect();
    assert_eq!(codes, ["few_web", "few_agent", "few_proxy", "upstream_internal"], "{needs}");
    Ok(())
}
