//! Class guards: what must hold for every route, from the route table itself.

mod support;

use anyhow::{Context, Result};
use reqwest::{Method, StatusCode};
use support::Site;

/// Every documented `(method, path)`, ids filled in.
fn routes() -> Result<Vec<(Method, String)>> {
    let document = serde_json::to_value(meridian_control::api::openapi())?;
    let paths = document["paths"].as_object().context("paths")?;
    let mut routes = Vec::new();
    for (path, methods) in paths {
        for method in methods.as_object().context("methods")?.keys() {
            let nobody = "0190a5de-0000-7000-8000-000000000000";
            let path = path.replace("{id}", nobody).replace("{user}", "x").replace("{watch}", nobody);
            routes.push((method.to_uppercase().parse()?, path));
        }
    }
    assert!(routes.len() > 15, "{routes:?}");
    Ok(routes)
}

#[tokio::test]
async fn what_is_not_there_says_so_in_the_envelope() -> Result<()> {
    let site = Site::start().await?;
    let client = site.anonymous();
    let (status, body) = client.send(Method::GET, "/api/v1/nothing", None).await?;
    assert_eq!((status, body["error"]["code"].as_str()), (StatusCode::NOT_FOUND, Some("no_such_route")));
    let (status, body) = client.send(Method::GET, "/api/__healthcheck", None).await?;
    assert_eq!((status, body), (StatusCode::OK, serde_json::json!({"ok": true})));
    let (status, body) = client.send(Method::GET, "/readyz", None).await?;
    assert_eq!((status, body), (StatusCode::OK, serde_json::json!({"ready": true, "reasons": {}})));
    let (status, body) = client.send(Method::GET, "/.well-known/jwks.json", None).await?;
    assert_eq!((status, body["keys"][0]["crv"].as_str()), (StatusCode::OK, Some("Ed25519")));
    Ok(())
}

#[test]
fn the_committed_openapi_document_is_current() -> Result<()> {
    let committed = include_str!("../../openapi/openapi.json");
    let current = meridian_control::api::openapi().to_pretty_json()?;
    assert!(
        committed.trim() == current.trim(),
        "run: cargo run -p meridian -- openapi > openapi/openapi.json"
    );
    assert!(current.contains("\"openapi\": \"3.1"));
    Ok(())
}

#[tokio::test]
async fn whoever_sends_too_much_is_told_so_and_not_cut_off() -> Result<()> {
    let site = Site::start().await?;
    for bytes in [70_000, 3 << 20] {
        let body = serde_json::json!({"username": "x".repeat(bytes), "password": "x"});
        let (status, answer) = site.anonymous().send(Method::POST, "/api/v1/auth/login", Some(body)).await?;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");
        assert_eq!(answer["error"]["code"], "body_too_large");
    }
    Ok(())
}

#[tokio::test]
async fn every_refusal_is_the_one_envelope() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let nobody = "/api/v1/sessions/0190a5de-0000-7000-8000-000000000000";
    let json = "application/json";
    let connect = format!("{nobody}/connect");
    let cases = [
        (Method::GET, "/api/v1/sessions?cursor=rubbish", json, String::new(), 400, "bad_query"),
        (Method::GET, "/api/v1/sessions?ended=perhaps", json, String::new(), 400, "bad_query"),
        (Method::GET, "/api/v1/sessions?colour=blue", json, String::new(), 400, "bad_query"),
        (Method::GET, "/api/v1/sessions/%ff", json, String::new(), 400, "bad_path"),
        (Method::GET, "/api", json, String::new(), 404, "no_such_route"),
        (Method::GET, "/api/", json, String::new(), 404, "no_such_route"),
        (Method::POST, "/api/v2/sessions", json, String::new(), 404, "no_such_route"),
        (Method::POST, &connect, "text/plain", "{}".to_owned(), 415, "not_json"),
        (Method::POST, &connect, json, "{".to_owned(), 400, "malformed"),
        (Method::POST, "/api/v1/sessions", "text/plain", "{}".to_owned(), 415, "not_json"),
        (Method::POST, "/api/v1/sessions", json, "{".to_owned(), 400, "malformed"),
        (Method::POST, &connect, json, " ".repeat(70_000), 413, "body_too_large"),
        (Method::POST, "/api/v1/connections/authorize", json, " ".repeat(70_000), 413, "body_too_large"),
        (Method::DELETE, "/api/__healthcheck", json, String::new(), 405, "method_not_allowed"),
        (Method::POST, "/", json, String::new(), 405, "method_not_allowed"),
    ];
    for (method, path, kind, body, status, code) in cases {
        let request = admin.request(method.clone(), path).header("content-type", kind).body(body);
        let response = request.send().await?;
        let allow = response.headers().contains_key("allow");
        let (got, answer) = support::read(response).await?;
        let described = format!("{method} {path}: {got} {answer}");
        assert_eq!((got.as_u16(), answer["error"]["code"].as_str()), (status, Some(code)), "{described}");
        assert!(answer["error"]["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{described}");
        assert_eq!(allow, status == 405, "{described}");
    }
    Ok(())
}

#[tokio::test]
async fn every_route_names_the_methods_that_it_has() -> Result<()> {
    let site = Site::start().await?;
    let client = site.anonymous();
    let routes = routes()?;
    for (_, path) in &routes {
        let response = client.request(Method::TRACE, path).send().await?;
        let allow = response.headers().get("allow").context("no Allow")?.to_str()?.to_owned();
        let (status, answer) = support::read(response).await?;
        assert_eq!(
            (status, answer["error"]["code"].as_str()),
            (StatusCode::METHOD_NOT_ALLOWED, Some("method_not_allowed")),
            "{path}: {answer}"
        );
        for (method, _) in routes.iter().filter(|(_, other)| other == path) {
            assert!(allow.split(',').any(|name| name.trim() == method.as_str()), "{path}: {allow}");
        }
    }
    Ok(())
}
