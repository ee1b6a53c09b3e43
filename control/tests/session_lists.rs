//! Lists of sessions: of one user, in one zone, on one agent, in one state, page by page.

mod support;

use anyhow::Result;
use meridian_wire::Observation;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, Site};

async fn list(client: &Client, filter: &str) -> Result<Vec<String>> {
    let path = format!("/api/v1/sessions?{filter}");
    let (status, page) = client.send(Method::GET, &path, None).await?;
    anyhow::ensure!(status == StatusCode::OK, "{filter}: {page}");
    let items = page["items"].as_array().cloned().unwrap_or_default();
    Ok(items.iter().map(|item| item["id"].as_str().unwrap_or_default().to_owned()).collect())
}

#[tokio::test]
async fn everybodys_sessions_are_filtered_by_user_zone_agent_and_state() -> Result<()> {
    let site = Site::start().await?;
    let admin = site.admin().await?;
    let (ada, bob) = (site.user("ada").await?, site.user("bob").await?);
    let (london, virginia) = (site.agent("london", 8).await?, site.agent("virginia", 8).await?);
    let desktop = site.workspace(&admin, "Desktop").await?;
    let mut ids = Vec::new();
    for (client, zone, key) in
        [(&ada, "london", "1"), (&ada, "virginia", "2"), (&bob, "london", "3"), (&ada, "london", "4")]
    {
        let (status, session) = client.launch(&desktop, zone, key).await?;
        assert_eq!(status, StatusCode::CREATED, "{session}");
        ids.push(session["id"].as_str().unwrap_or_default().to_owned());
    }
    let of = |places: &[usize]| places.iter().map(|place| ids[*place].clone()).collect::<Vec<_>>();
    london.say(&ids[0], 1, Observation::Running).await?;
    let (_, me) = ada.send(Method::GET, "/api/v1/auth/me", None).await?;
    let id = me["id"].as_str().unwrap_or_default();

    for (filter, wanted) in [
        ("all=true", &[3, 2, 1, 0][..]),
        ("all=true&user=ada", &[3, 1, 0]),
        ("all=true&user=ADA&zone=london", &[3, 0]),
        (&format!("all=true&user={id}&zone=virginia"), &[1]),
        ("all=true&zone=london", &[3, 2, 0]),
        ("all=true&node=agent-virginia", &[1]),
        (&format!("all=true&node={}", london.node), &[3, 2, 0]),
        (&format!("all=true&node={}&zone=london", virginia.node), &[]),
        ("all=true&state=running", &[0]),
        ("all=true&user=ada&state=starting", &[3, 1]),
        ("all=true&state=ended", &[]),
    ] {
        assert_eq!(list(&admin, filter).await?, of(wanted), "{filter}");
    }

    // What is over is there when it is asked for, and page follows page.
    ada.send(Method::DELETE, &format!("/api/v1/sessions/{}", ids[0]), None).await?;
    london.say(&ids[0], 2, Observation::Gone).await?;
    assert_eq!(list(&admin, "all=true&user=ada&zone=london").await?, of(&[3]));
    assert_eq!(list(&admin, "all=true&user=ada&zone=london&ended=true").await?, of(&[3, 0]));
    assert_eq!(list(&admin, "all=true&user=ada&state=ended").await?, of(&[0]), "a state says it by itself");
    let path = "/api/v1/sessions?all=true&ended=true&user=ada&limit=2";
    let (_, first) = admin.send(Method::GET, path, None).await?;
    let next = first["next"].as_str().unwrap_or_default();
    assert_eq!((first["items"].as_array().map(Vec::len), next), (Some(2), ids[1].as_str()));
    let filter = format!("all=true&ended=true&user=ada&limit=2&cursor={next}");
    assert_eq!(list(&admin, &filter).await?, of(&[0]));

    // What is not there is said; and filters are not for one's own, nor for whoever may not see others'.
    for (filter, status, said) in [
        ("all=true&user=nobody", StatusCode::NOT_FOUND, "user"),
        ("all=true&zone=atlantis", StatusCode::NOT_FOUND, "zone"),
        ("all=true&node=agent-oslo", StatusCode::NOT_FOUND, "node"),
        ("all=true&state=cosy", StatusCode::UNPROCESSABLE_ENTITY, "state"),
        ("user=ada", StatusCode::UNPROCESSABLE_ENTITY, "user"),
    ] {
        let (heard, answer) = admin.send(Method::GET, &format!("/api/v1/sessions?{filter}"), None).await?;
        assert_eq!(heard, status, "{filter}: {answer}");
        assert!(answer["error"].to_string().contains(said), "{filter}: {answer}");
    }
    for filter in ["user=bob", "user=nobody", "node=agent-oslo"] {
        let path = format!("/api/v1/sessions?all=true&{filter}");
        assert_eq!(ada.send(Method::GET, &path, None).await?.0, StatusCode::FORBIDDEN, "{filter}");
    }
    // A key that is bound to a zone sees that zone's, whatever it asks for.
    let key = json!({"name": "bound", "permissions": ["sessions:view"], "zones": ["virginia"]});
    let (_, key) = admin.send(Method::POST, "/api/v1/api-keys", Some(key)).await?;
    let bound = Client { token: key["token"].as_str().map(str::to_owned), ..site.anonymous() };
    assert_eq!(list(&bound, "all=true&user=ada").await?, of(&[1]));
    assert_eq!(list(&bound, "all=true&zone=london").await?, Vec::<String>::new());
    assert_eq!(list(&ada, "ended=true").await?, of(&[3, 1, 0]), "one's own are as ever");
    let none: Value = json!([]);
    let (_, gone) =
        bob.send(Method::GET, "/api/v1/sessions?cursor=00000000-0000-7000-8000-000000000000", None).await?;
    assert_eq!((&gone["items"], &gone["next"]), (&none, &Value::Null));
    Ok(())
}
