//! Groups are applied from files beside zones and workspaces: all of it or nothing, and nobody gives away more than they have.

mod support;

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Site};

async fn apply(client: &Client, body: Value) -> Result<(StatusCode, Value)> {
    client.send(Method::POST, "/api/v1/configuration/apply", Some(body)).await
}

async fn export(client: &Client) -> Result<Value> {
    Ok(client.send(Method::GET, "/api/v1/configuration", None).await?.1)
}

fn actions(plan: &Value) -> Vec<(&str, &str)> {
    let items = plan["plan"].as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .map(|item| (item["name"].as_str().unwrap_or(""), item["action"].as_str().unwrap_or("")))
        .collect()
}

#[tokio::test]
async fn groups_are_what_the_files_say_with_the_zones_and_workspaces_beside_them() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let before = export(&admin).await?;
    let (status, body) = apply(&admin, json!({"groups": before["groups"], "prune": true})).await?;
    assert_eq!(
        (status, &body["plan"]),
        (StatusCode::OK, &json!([])),
        "what was exported changes nothing: {body}"
    );

    // One file names a zone, another a group, that come with them.
    let mut zones = before["zones"].clone();
    if let Some(zones) = zones.as_array_mut() {
        zones.push(json!({"zone_name": "oslo"}));
    }
    let desk = json!({"name": "Desk", "priority": 20, "description": "", "permissions": ["users:view", "audit:view"],
        "settings": {"allowed_zones": ["oslo", "london"], "home_zone": "oslo", "max_cpu": 2}});
    let paint = json!({"name": "Paint", "image": "x", "groups": ["Desk"]});
    let wanted = json!({"zones": zones, "groups": [desk], "workspaces": [paint]});
    let (status, done) = apply(&admin, wanted.clone()).await?;
    assert_eq!(status, StatusCode::OK, "{done}");
    assert!(actions(&done).contains(&("Desk", "create")), "{done}");
    let (_, group) = admin.send(Method::GET, "/api/v1/groups/Desk", None).await?;
    assert_eq!(group["settings"]["allowed_zones"], json!(["oslo", "london"]));
    assert_eq!(group["permissions"], json!(["audit:view", "users:view"]));
    let again = apply(&admin, wanted).await?.1;
    assert!(actions(&again).iter().all(|(_, action)| *action == "unlisted"), "again without effect: {again}");

    // Changed, and a zone renamed: the group follows by the zone's id.
    let rename = json!({"zone_name": "bergen"});
    admin.send(Method::PATCH, "/api/v1/zones/oslo", Some(rename)).await?;
    let now = export(&admin).await?;
    let groups = now["groups"].as_array().cloned().unwrap_or_default();
    let mut desk = groups.iter().find(|group| group["name"] == "Desk").cloned().unwrap_or_default();
    assert_eq!(desk["settings"]["home_zone"], "bergen");
    desk["priority"] = json!(30);
    let (_, told) = apply(&admin, json!({"groups": [desk]})).await?;
    assert_eq!(told["plan"][0]["changes"], json!([{"field": "priority", "from": 20, "to": 30}]));

    // What is wrong is said at its place, and nothing is written; deleting needs to be asked for.
    let wrong =
        json!({"groups": [{"name": "Desk", "settings": {"speed": 9}}, {"name": "Everyone", "priority": 5}]});
    let (status, body) = apply(&admin, wrong).await?;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let fields: Vec<_> =
        body["error"]["fields"].as_array().into_iter().flatten().map(|field| &field["field"]).collect();
    assert_eq!(fields, ["groups.Desk.settings.speed", "groups.Everyone.priority"], "{body}");
    let system: Vec<_> = groups.iter().filter(|group| group["name"] != "Desk").collect();
    let (_, kept) = apply(&admin, json!({"groups": system})).await?;
    assert_eq!(actions(&kept), [("Desk", "unlisted")]);
    let (status, gone) = apply(&admin, json!({"groups": system, "prune": true})).await?;
    assert_eq!((status, actions(&gone)), (StatusCode::OK, vec![("Desk", "delete")]), "{gone}");
    assert_eq!(admin.send(Method::GET, "/api/v1/groups/Desk", None).await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn whoever_applies_files_gives_nobody_more_than_they_have() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let key = async |permissions: &[&str]| -> Result<Client> {
        let body = json!({"name": permissions.join(" "), "permissions": permissions});
        let (status, key) = admin.send(Method::POST, "/api/v1/api-keys", Some(body)).await?;
        anyhow::ensure!(status == StatusCode::CREATED, "{key}");
        Ok(Client { token: key["token"].as_str().map(str::to_owned), ..site.anonymous() })
    };
    let zones = key(&["zones:view", "zones:modify"]).await?;
    assert_eq!(export(&zones).await?["groups"], Value::Null, "who may not view groups sees none");
    let new = json!({"groups": [{"name": "Desk"}]});
    let (status, body) = apply(&zones, new.clone()).await?;
    assert_eq!(
        (status, body["error"]["code"].as_str()),
        (StatusCode::FORBIDDEN, Some("forbidden")),
        "{body}"
    );
    let groups = key(&["zones:modify", "groups:create", "groups:modify"]).await?;
    assert_eq!(apply(&groups, new).await?.0, StatusCode::OK);
    let more = json!({"groups": [{"name": "Desk", "permissions": ["users:delete"]}]});
    let (status, body) = apply(&groups, more).await?;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    let (_, desk) = admin.send(Method::GET, "/api/v1/groups/Desk", None).await?;
    assert_eq!(desk["permissions"], json!([]));
    Ok(())
}

#[tokio::test]
async fn whoever_may_view_may_compare_and_write_nothing() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let before = export(&admin).await?;
    let mut zones = before["zones"].clone();
    zones[0]["outage_grace"] = json!(77);
    zones[0]["desired_images"] = json!(["registry.example.org/one:1"]);
    zones.as_array_mut().map(Vec::pop);
    // Things to create, to change and to delete, of each kind.
    let group = json!({"name": "Desk", "permissions": ["users:view"]});
    let workspace = json!({"name": "Paint", "image": "x"});
    let of_kind = [("zones", zones), ("groups", json!([group])), ("workspaces", json!([workspace]))];
    for (kind, files) in &of_kind {
        let body = |dry: bool| json!({*kind: files, "dry_run": dry, "prune": true});
        for (viewed, _) in &of_kind {
            let permission = format!("{viewed}:view");
            let key = json!({"name": format!("{kind} {viewed}"), "permissions": [permission]});
            let (_, key) = admin.send(Method::POST, "/api/v1/api-keys", Some(key)).await?;
            let auditor = Client { token: key["token"].as_str().map(str::to_owned), ..site.anonymous() };
            let (status, told) = apply(&auditor, body(true)).await?;
            if viewed == kind {
                assert_eq!(status, StatusCode::OK, "{kind}: {told}");
                let done: Vec<_> = actions(&told).into_iter().map(|(_, action)| action).collect();
                assert!(done.contains(&"delete") || *kind == "groups", "{kind}: {told}");
                assert!(!done.is_empty() && told["applied"] == false, "{kind}: {told}");
            } else {
                assert_eq!(status, StatusCode::FORBIDDEN, "{viewed} is not {kind}: {told}");
                assert!(told.to_string().contains(&format!("{kind}:view")), "{told}");
            }
            let (status, told) = apply(&auditor, body(false)).await?;
            assert_eq!(status, StatusCode::FORBIDDEN, "{kind}: {told}");
            assert!(told.to_string().contains("zones:modify"), "{told}");
        }
    }
    // A key that is bound to a zone sees no whole.
    let key = json!({"name": "bound", "permissions": ["zones:view"], "zones": ["london"]});
    let (_, key) = admin.send(Method::POST, "/api/v1/api-keys", Some(key)).await?;
    let bound = Client { token: key["token"].as_str().map(str::to_owned), ..site.anonymous() };
    let (status, told) = apply(&bound, json!({"zones": before["zones"], "dry_run": true})).await?;
    assert_eq!((status, told["error"]["code"].as_str()), (StatusCode::FORBIDDEN, Some("other_zone")));
    assert_eq!(export(&admin).await?, before);
    Ok(())
}

#[tokio::test]
async fn who_belongs_to_groups_and_which_images_zones_want_is_what_the_files_say() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    for name in ["ada", "bob"] {
        site.user(name).await?;
    }
    let get = async |path: &str| -> Result<Value> { Ok(admin.send(Method::GET, path, None).await?.1) };
    let all = |list: &Value, field: &str| -> Vec<Value> {
        list["items"].as_array().into_iter().flatten().map(|item| item[field].clone()).collect()
    };
    let members = async || Ok::<_, anyhow::Error>(all(&get("/api/v1/groups/Desk/members").await?, "name"));
    let images =
        async || Ok::<_, anyhow::Error>(all(&get("/api/v1/zones/london/images").await?, "reference"));
    let (one, two, three) =
        ("registry.example.org/one:1", "registry.example.org/two:1", "registry.example.org/three:1");
    let mut zones = export(&admin).await?["zones"].clone();
    zones[0]["desired_images"] = json!([two, one]);
    let desk = json!({"name": "Desk", "members": ["BOB", "ada"]});
    let wanted = json!({"zones": zones, "groups": [desk], "revision": "m1"});
    let (status, done) = apply(&admin, wanted.clone()).await?;
    assert_eq!(status, StatusCode::OK, "{done}");
    assert_eq!(
        (members().await?, images().await?),
        (vec![json!("ada"), json!("bob")], vec![json!(one), json!(two)])
    );
    let again = apply(&admin, wanted).await?.1;
    assert!(actions(&again).iter().all(|(_, action)| *action == "unlisted"), "again without effect: {again}");
    let before = export(&admin).await?;
    assert_eq!(before["zones"][0]["desired_images"], json!([one, two]));
    let (_, nothing) =
        apply(&admin, json!({"zones": before["zones"], "groups": before["groups"], "prune": true})).await?;
    assert_eq!((&nothing["plan"], export(&admin).await?), (&json!([]), before.clone()));

    // Whoever wants more than the file says made the zone drift from it.
    let drifted = async || Ok::<_, anyhow::Error>(get("/api/v1/zones").await?["items"][0]["drifted"].clone());
    assert_eq!(drifted().await?, false);
    let want = Some(json!({"reference": three}));
    admin.send(Method::PUT, "/api/v1/zones/london/images", want).await?;
    assert_eq!(drifted().await?, true);
    let (_, back) = apply(&admin, json!({"zones": before["zones"], "revision": "m2"})).await?;
    let change = json!([{"field": "desired_images", "from": [one, three, two], "to": [one, two]}]);
    assert_eq!(back["plan"][0]["changes"], change, "{back}");
    assert_eq!((images().await?.len(), drifted().await?), (2, json!(false)));

    // A file that says nothing of members leaves them; one that does has them all.
    let (_, kept) = apply(&admin, json!({"groups": [{"name": "Desk", "description": "d"}]})).await?;
    assert_eq!((actions(&kept)[0], members().await?.len()), (("Desk", "change"), 2), "{kept}");
    apply(&admin, json!({"groups": [{"name": "Desk", "description": "d", "members": ["bob"]}]})).await?;
    assert_eq!(members().await?, [json!("bob")]);

    // What is wrong is said at its place, and nothing is written.
    let mut administrators = before["groups"][0].clone();
    assert_eq!(administrators["members"], json!(["admin"]));
    administrators["members"] = json!([]);
    let image = json!({"zone_name": "london", "desired_images": ["registry.example.org/one"]});
    let unknown = json!({"name": "Desk", "members": ["nobody"]});
    for (wrong, field) in [
        (json!({"groups": [unknown]}), "groups.Desk.members"),
        (json!({"groups": [administrators]}), "groups.Administrators.members"),
        (json!({"zones": [image]}), "zones.london.desired_images"),
    ] {
        let (status, body) = apply(&admin, wrong).await?;
        let said = &body["error"]["fields"][0]["field"];
        assert_eq!((status, said), (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)), "{body}");
    }
    assert_eq!((members().await?.len(), images().await?.len()), (1, 2));

    // Wanting images takes the permission for images, besides that for zones.
    let key = json!({"name": "zones", "permissions": ["zones:view", "zones:modify"]});
    let (_, key) = admin.send(Method::POST, "/api/v1/api-keys", Some(key)).await?;
    let key = Client { token: key["token"].as_str().map(str::to_owned), ..site.anonymous() };
    let mut zones = before["zones"].clone();
    zones[0]["desired_images"] = json!([one]);
    let (status, body) = apply(&key, json!({"zones": zones})).await?;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    assert!(body.to_string().contains("images:delete"), "{body}");
    Ok(())
}

#[tokio::test]
async fn files_and_people_who_change_the_same_groups_at_once_wait_for_each_other() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    site.user("ada").await?;
    admin.send(Method::POST, "/api/v1/groups", Some(json!({"name": "Desk"}))).await?;
    let ada = admin.send(Method::GET, "/api/v1/users/ada", None).await?.1["id"].clone();
    let member = format!("/api/v1/groups/Desk/members/{}", ada.as_str().unwrap_or_default());
    for round in 0..6 {
        let files = async {
            let desk = json!({"name": "Desk", "description": format!("round {round}"), "members": []});
            apply(&admin, json!({"groups": [desk]})).await
        };
        let person = async {
            let patch = json!({"priority": 100 + round});
            let patched = admin.send(Method::PATCH, "/api/v1/groups/Desk", Some(patch)).await?;
            let joined = admin.send(Method::PUT, &member, None).await?;
            anyhow::Ok((patched, joined))
        };
        let (applied, person) = tokio::join!(files, person);
        let (patched, joined) = person?;
        // A change that came between look and write is told to look again; none waits for ever, or breaks.
        assert_eq!(applied?.0, StatusCode::OK);
        assert!([StatusCode::OK, StatusCode::CONFLICT].contains(&patched.0), "{patched:?}");
        assert!(joined.0.is_success(), "{joined:?}");
    }
    Ok(())
}
