//! Signing in and out, and what keeps strangers away from it.

mod support;

use anyhow::Result;
use reqwest::{Method, StatusCode, header};
use serde_json::json;
use support::{PASSWORD, Site};

#[tokio::test]
async fn the_right_password_opens_a_login_that_sign_out_ends_at_once() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let (status, me) = admin.send(Method::GET, "/api/v1/auth/me", None).await?;
    assert_eq!((status, me["role"].as_str()), (StatusCode::OK, Some("admin")));
    let (status, _) = admin.send(Method::POST, "/api/v1/auth/logout", None).await?;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, body) = admin.send(Method::GET, "/api/v1/auth/me", None).await?;
    assert_eq!((status, body["error"]["code"].as_str()), (StatusCode::UNAUTHORIZED, Some("unauthenticated")));
    Ok(())
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_look_the_same() -> Result<()> {
    let site = Site::start().await?;
    let mut wrong = site.anonymous().try_sign_in("admin", "wrong password").await?;
    let mut unknown = site.anonymous().try_sign_in("nobody", "wrong password").await?;
    for answer in [&mut wrong, &mut unknown] {
        answer.1["error"]["request_id"] = json!("");
    }
    assert_eq!(wrong, unknown);
    assert_eq!(wrong.0, StatusCode::UNAUTHORIZED);
    assert_eq!(wrong.1["error"]["code"], "bad_credentials");
    Ok(())
}

#[tokio::test]
async fn too_many_wrong_passwords_throttle_the_account_even_after_a_restart() -> Result<()> {
    let site = Site::start().await?;
    for _ in 0..6 {
        let (status, _) = site.anonymous().try_sign_in("admin", "wrong password").await?;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let throttled = |answer: (StatusCode, serde_json::Value)| {
        assert_eq!(answer.0, StatusCode::TOO_MANY_REQUESTS, "{}", answer.1);
        assert_eq!(answer.1["error"]["code"], "throttled");
        assert!(answer.1["error"]["hint"].as_str().is_some_and(|hint| hint.contains("seconds")));
    };
    throttled(site.anonymous().try_sign_in("admin", PASSWORD).await?);
    let site = site.restart().await?;
    throttled(site.anonymous().try_sign_in("ADMIN", PASSWORD).await?);
    Ok(())
}

#[tokio::test]
async fn parallel_guesses_are_all_counted() -> Result<()> {
    let site = Site::start().await?;
    let guesses = (0..20).map(|guess| {
        let client = site.anonymous();
        site.tasks.spawn("guess", async move {
            client.try_sign_in("admin", &format!("guess number {guess}")).await
        })
    });
    let mut looked_at = 0;
    for guess in guesses.collect::<Vec<_>>() {
        let (status, _) = guess.await??;
        looked_at += usize::from(status == StatusCode::UNAUTHORIZED);
    }
    assert!(looked_at <= 6, "{looked_at} guesses were looked at");
    Ok(())
}

#[tokio::test]
async fn the_cookie_is_for_the_api_of_this_host_alone_and_no_other_site_can_use_it() -> Result<()> {
    let site = Site::start().await?;
    let client = site.anonymous();
    let body = json!({"username": "admin", "password": PASSWORD});
    let login = client.request(Method::POST, "/api/v1/auth/login").json(&body).send().await?;
    let cookie = login.headers()[header::SET_COOKIE].to_str()?.to_owned();
    for part in ["HttpOnly", "Path=/api", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    let pair = cookie.split(';').next().unwrap_or_default();
    let with = |name: &'static str, value: &str| {
        let request = client.request(Method::POST, "/api/v1/auth/logout").header(header::COOKIE, pair);
        request.header(name, value).send()
    };
    assert_eq!(with("origin", "https://evil.example").await?.status(), StatusCode::FORBIDDEN);
    assert_eq!(with("sec-fetch-site", "cross-site").await?.status(), StatusCode::FORBIDDEN);
    assert_eq!(with("sec-fetch-site", "same-origin").await?.status(), StatusCode::NO_CONTENT);
    Ok(())
}

#[tokio::test]
async fn malformed_bodies_are_refused_with_a_reason() -> Result<()> {
    let site = Site::start().await?;
    let client = site.anonymous();
    let send = |kind: &'static str, body: String| {
        client
            .request(Method::POST, "/api/v1/auth/login")
            .header(header::CONTENT_TYPE, kind)
            .body(body)
            .send()
    };
    let cases = [
        ("application/json", "{".to_owned(), StatusCode::BAD_REQUEST, "malformed"),
        (
            "application/json",
            json!({"username": "a"}).to_string(),
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
        ),
        (
            "application/json",
            json!({"username": "a", "password": "b", "otp": "c"}).to_string(),
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid",
        ),
        ("text/plain", "x".to_owned(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json"),
        ("application/json", " ".repeat(70_000), StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
    ];
    for (kind, body, status, code) in cases {
        let (got, answer) = support::read(send(kind, body).await?).await?;
        assert_eq!((got, answer["error"]["code"].as_str()), (status, Some(code)), "{answer}");
        assert!(answer["error"]["request_id"].as_str().is_some_and(|id| !id.is_empty()));
    }
    Ok(())
}

#[tokio::test]
async fn disabling_a_user_ends_their_logins() -> Result<()> {
    let site = Site::start().await?;
    let user = site.user("mallory").await?;
    let admin = site.admin().await?;
    let (_, me) = user.send(Method::GET, "/api/v1/auth/me", None).await?;
    let path = format!("/api/v1/users/{}", me["id"].as_str().unwrap_or_default());
    let (status, changed) = admin.send(Method::PATCH, &path, Some(json!({"disabled": true}))).await?;
    assert_eq!((status, changed["disabled"].as_bool()), (StatusCode::OK, Some(true)), "{changed}");
    assert_eq!(user.send(Method::GET, "/api/v1/auth/me", None).await?.0, StatusCode::UNAUTHORIZED);
    assert_eq!(site.anonymous().try_sign_in("mallory", PASSWORD).await?.0, StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test]
async fn who_has_one_ipv6_address_has_its_network() -> Result<()> {
    let database = support::database().await?;
    let (client, connection) = database.config().connect(tokio_postgres::NoTls).await?;
    let tasks = meridian_runtime::Tasks::new();
    let connection = tasks.spawn("test connection", async move { drop(connection.await) });
    let mut keys = Vec::new();
    for address in ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1", "192.0.2.1", ""] {
        keys.push(client.query_one("SELECT address_key_v1($1)", &[&address]).await?.get::<_, String>(0));
    }
    assert_eq!(
        keys,
        [
            "address:2001:db8::/64",
            "address:2001:db8::/64",
            "address:2001:db8:0:1::/64",
            "address:192.0.2.1",
            "address:"
        ]
    );
    drop(client);
    connection.await?;
    Ok(())
}

/// Signs in from an address, as a trusted proxy in front says.
async fn from(site: &Site, address: &str, password: &str) -> Result<(StatusCode, serde_json::Value)> {
    let client = site.anonymous();
    let body = json!({"username": "admin", "password": password});
    let request =
        client.request(Method::POST, "/api/v1/auth/login").header("x-forwarded-for", address).json(&body);
    support::read(request.send().await?).await
}

#[tokio::test]
async fn whoever_guesses_locks_out_their_own_address_and_not_the_accounts_owner() -> Result<()> {
    let site = Site::start().await?;
    for _ in 0..6 {
        assert_eq!(from(&site, "203.0.113.1", "wrong password").await?.0, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(from(&site, "203.0.113.1", PASSWORD).await?.0, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(from(&site, "203.0.113.2", PASSWORD).await?.0, StatusCode::OK);
    // The owner's success elsewhere gives the guesser nothing back.
    assert_eq!(from(&site, "203.0.113.1", PASSWORD).await?.0, StatusCode::TOO_MANY_REQUESTS);
    Ok(())
}

#[tokio::test]
async fn guesses_from_everywhere_delay_the_account_and_never_refuse_its_owner() -> Result<()> {
    let site = Site::start().await?;
    let (client, connection) = site.database.superuser_config().connect(tokio_postgres::NoTls).await?;
    let connection = site.tasks.spawn("test connection", async move { drop(connection.await) });
    // A hundred addresses' guesses.
    client.execute("INSERT INTO throttles (key, attempts) VALUES ('account:admin', 100)", &[]).await?;
    let began = std::time::Instant::now();
    assert_eq!(from(&site, "203.0.113.2", PASSWORD).await?.0, StatusCode::OK);
    assert!(began.elapsed() >= std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    let attempts: i32 =
        client.query_one("SELECT attempts FROM throttles WHERE key = 'account:admin'", &[]).await?.get(0);
    assert_eq!(attempts, 100, "a success takes its own attempt back and no other");
    client.execute("UPDATE throttles SET counted_since = now() - interval '16 minutes'", &[]).await?;
    assert_eq!(from(&site, "203.0.113.2", PASSWORD).await?.0, StatusCode::OK);
    let attempts: i32 =
        client.query_one("SELECT attempts FROM throttles WHERE key = 'account:admin'", &[]).await?.get(0);
    assert_eq!(attempts, 0, "a quarter of an hour later they are forgotten");
    drop(client);
    connection.await?;
    Ok(())
}
