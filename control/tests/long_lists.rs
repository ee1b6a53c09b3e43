//! Lists that are longer than anybody needs are refused at their field, before anything of them is looked up.

mod support;

use anyhow::Result;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::Site;

fn first(answer: &Value) -> (&str, &str) {
    let field = &answer["error"]["fields"][0];
    (field["field"].as_str().unwrap_or_default(), field["message"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn what_names_too_much_is_refused_at_its_field_and_nothing_is_written() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let names = |number: usize| (0..number).map(|name| format!("zone-{name}")).collect::<Vec<_>>();
    let zone = "/api/v1/zones/london";

    let alternates = json!({"alternate_zones": names(1001)});
    let (status, answer) = admin.send(Method::PATCH, zone, Some(alternates)).await?;
    assert_eq!(
        (status, first(&answer)),
        (StatusCode::UNPROCESSABLE_ENTITY, ("alternate_zones", "must be at most 1000"))
    );
    let unknown = json!({"alternate_zones": ["virginia", "x".repeat(50_000)]});
    let (status, answer) = admin.send(Method::PATCH, zone, Some(unknown)).await?;
    assert_eq!((status, first(&answer).0), (StatusCode::UNPROCESSABLE_ENTITY, "alternate_zones"));
    assert!(first(&answer).1.len() < 200, "a name comes back as far as it can be read: {answer}");
    let both = json!({"alternate_zones": ["virginia"], "search_alternate_zones": true});
    let (status, answer) = admin.send(Method::PATCH, zone, Some(both)).await?;
    assert_eq!((status, &answer["alternate_zones"]), (StatusCode::OK, &json!(["virginia"])), "{answer}");

    let tool = |field: &str| json!({"name": "Tool", "image": "example.org/tool:1", field: names(1001)});
    for field in ["zones", "groups"] {
        let (status, answer) = admin.send(Method::POST, "/api/v1/workspaces", Some(tool(field))).await?;
        assert_eq!((status, first(&answer).0), (StatusCode::UNPROCESSABLE_ENTITY, field), "{answer}");
    }

    // As files, of which there may be megabytes: what there is too much of is told, once.
    let zones: Vec<Value> = names(100_000).into_iter().map(|name| json!({"zone_name": name})).collect();
    let apply = json!({"zones": zones, "revision": "r1"});
    let (status, answer) = admin.send(Method::POST, "/api/v1/configuration/apply", Some(apply)).await?;
    assert_eq!(
        (status, first(&answer)),
        (StatusCode::UNPROCESSABLE_ENTITY, ("zones", "must be at most 1000 files, and these are 100000"))
    );
    // And what is wrong with each of many is told of the first.
    let wrong: Vec<Value> = names(1000)
        .into_iter()
        .map(|name| json!({"zone_name": name, "alternate_zones": ["atlantis"], "proxy_path": "api"}))
        .collect();
    let apply = json!({"zones": wrong, "revision": "r1"});
    let (status, answer) = admin.send(Method::POST, "/api/v1/configuration/apply", Some(apply)).await?;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let told = answer["error"]["fields"].as_array().map(Vec::len);
    assert_eq!(told, Some(101), "a hundred, and that there are more");
    let (_, list) = admin.send(Method::GET, "/api/v1/zones", None).await?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "nothing was written");
    Ok(())
}
