//! Looking on at somebody else's session: asked, seen, allowed, begun, and over for every reason there is.

mod support;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use meridian_harness::wait_for;
use meridian_wire::{Observation, WatchEnd, WatchEndCause};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Client, FakeAgent, FakeProxy, Site};

const LIMIT: Duration = Duration::from_secs(30);

/// A session of ada's that runs, and grace, who may see sessions and ask to look on.
struct Desk {
    site: Site,
    agent: FakeAgent,
    proxy: FakeProxy,
    ada: Client,
    grace: Client,
    session: String,
}

/// What a ticket, a grant or a pass says.
fn claims(token: &str) -> Result<Value> {
    let body = token.split('.').nth(1).context("no token")?;
    Ok(serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(body)?)?)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Desk {
    async fn start() -> Result<Self> {
        let site = Site::start().await?;
        let (admin, ada) = (site.admin().await?, site.user("ada").await?);
        let group =
            json!({"name": "Help desk", "priority": 10, "permissions": ["sessions:view", "sessions:watch"]});
        let (status, made) = admin.send(Method::POST, "/api/v1/groups", Some(group)).await?;
        ensure!(status == StatusCode::CREATED, "{made}");
        let (grace, proxy) = (Self::helper(&site, "grace").await?, FakeProxy::enroll(&site).await?);
        let desktop = site.workspace(&ada, "Desktop").await?;
        // Last: an agent that is silent for long is given nothing.
        let agent = site.agent("london", 8).await?;
        let (status, launched) = ada.launch(&desktop, "london", "one").await?;
        ensure!(status == StatusCode::CREATED, "{launched}");
        let session = text(&launched["id"]);
        Ok(Self { site, agent, proxy, ada, grace, session })
    }

    /// Somebody of the help desk.
    async fn helper(site: &Site, name: &str) -> Result<Client> {
        let client = site.user(name).await?;
        let path = format!("/api/v1/groups/Help%20desk/members/{name}");
        let (status, answer) = site.admin().await?.send(Method::PUT, &path, None).await?;
        ensure!(status == StatusCode::NO_CONTENT, "{answer}");
        Ok(client)
    }

    fn path(&self, rest: &str) -> String {
        format!("/api/v1/sessions/{}{rest}", self.session)
    }

    async fn ask(&self, by: &Client) -> Result<(StatusCode, Value)> {
        // Its agent is heard.
        self.agent.say(&self.session, 1, Observation::Running).await?;
        by.send(Method::POST, &self.path("/watches"), Some(json!({"reason": "your ticket 17"}))).await
    }

    /// Asked by grace.
    async fn asked(&self) -> Result<String> {
        let (status, watch) = self.ask(&self.grace).await?;
        ensure!(status == StatusCode::CREATED, "{watch}");
        Ok(text(&watch["id"]))
    }

    async fn answer(&self, watch: &str, answer: &str) -> Result<(StatusCode, Value)> {
        let path = self.path(&format!("/watches/{watch}/answer"));
        self.ada.send(Method::POST, &path, Some(json!({"answer": answer}))).await
    }

    /// Asked by grace, allowed by ada.
    async fn allowed(&self) -> Result<String> {
        let watch = self.asked().await?;
        let (status, answer) = self.answer(&watch, "allow").await?;
        ensure!(status == StatusCode::OK, "{answer}");
        Ok(watch)
    }

    async fn connect(&self, by: &Client, watch: &str) -> Result<(StatusCode, Value)> {
        let path = self.path(&format!("/watches/{watch}/connect"));
        by.send(Method::POST, &path, Some(json!({"jkt": "k".repeat(43)}))).await
    }

    async fn ticket(&self, watch: &str) -> Result<String> {
        let (status, answer) = self.connect(&self.grace, watch).await?;
        ensure!(status == StatusCode::OK, "{answer}");
        let ticket = answer["protocols"][1].as_str().and_then(|text| text.strip_prefix("meridian.ticket."));
        Ok(ticket.context("no ticket")?.to_owned())
    }

    /// Allowed, and a stream was granted.
    async fn begun(&self) -> Result<String> {
        let watch = self.allowed().await?;
        let (status, answer) = self.proxy.ask(&self.ticket(&watch).await?, &"a".repeat(32)).await?;
        ensure!(status == StatusCode::OK, "{answer}");
        Ok(watch)
    }

    async fn end(&self, by: &Client, watch: &str) -> Result<(StatusCode, Value)> {
        by.send(Method::DELETE, &self.path(&format!("/watches/{watch}")), None).await
    }

    /// As the session's user sees it.
    async fn watch(&self) -> Result<Value> {
        Ok(self.ada.send(Method::GET, &self.path(""), None).await?.1["watches"][0].clone())
    }

    /// Waits until it is over; why.
    async fn over(&self, state: &str) -> Result<String> {
        let over = wait_for("the end", LIMIT, async || {
            let watch = self.watch().await?;
            ensure!(watch["state"] == state && watch["ended_at"].is_string(), "{watch}");
            Ok(watch)
        });
        Ok(text(&over.await?["because"]))
    }

    async fn audited(&self, action: &str) -> Result<Vec<Value>> {
        let path = format!("/api/v1/audit?action={action}");
        let (_, list) = self.site.admin().await?.send(Method::GET, &path, None).await?;
        list["items"].as_array().cloned().context("no audit")
    }

    /// What the agent is told of looking on that is over.
    async fn told(&self) -> Result<Value> {
        Ok(self.agent.report(Vec::new()).await?["settings"]["watches_over"].clone())
    }

    async fn sql(&self, statement: &str) -> Result<()> {
        Ok(self.site.sql().await?.batch_execute(statement).await?)
    }
}

#[tokio::test]
async fn nobody_looks_on_before_the_person_at_the_desktop_allows_it_and_then_only_looks() -> Result<()> {
    let desk = Desk::start().await?;
    let watch = desk.asked().await?;
    let seen = desk.watch().await?;
    assert_eq!(
        (&seen["state"], &seen["watcher"]["name"], &seen["reason"], &seen["seen"]),
        (&json!("asked"), &json!("grace"), &json!("your ticket 17"), &json!(false)),
    );
    let (status, refused) = desk.connect(&desk.grace, &watch).await?;
    assert_eq!((status, &refused["error"]["code"]), (StatusCode::CONFLICT, &json!("watch_not_answered")));
    desk.answer(&watch, "seen").await?;
    assert_eq!(desk.watch().await?["seen"], true);
    let (_, session) = desk.answer(&watch, "allow").await?;
    assert_eq!(session["watches"][0]["state"], "allowed", "{session}");
    assert_eq!(desk.answer(&watch, "allow").await?.0, StatusCode::OK, "said twice, it is said once");

    // Nobody but whom it was allowed.
    assert_eq!(desk.connect(&desk.site.admin().await?, &watch).await?.0, StatusCode::NOT_FOUND);
    desk.sql("INSERT INTO session_activity SELECT id, now() - interval '1 hour' FROM sessions").await?;
    let used = "SELECT max(active_at)::text FROM session_activity";
    let sql = desk.site.sql().await?;
    let before: String = sql.query_one(used, &[]).await?.get(0);
    let ticket = desk.ticket(&watch).await?;
    assert_eq!(claims(&ticket)?["watch"]["id"], json!(watch));
    let (status, granted) = desk.proxy.ask(&ticket, &"a".repeat(32)).await?;
    assert_eq!(status, StatusCode::OK, "{granted}");
    let grant = claims(granted["grant"].as_str().unwrap_or_default())?;
    let nothing = json!({"input": false, "clipboard_in": false, "clipboard_out": false, "resize": false});
    assert_eq!((&grant["policy"], &grant["watch"]["id"]), (&nothing, &json!(watch)));
    assert_eq!(
        desk.proxy.ask(&ticket, &"b".repeat(32)).await?.0,
        StatusCode::CONFLICT,
        "a ticket is used once"
    );
    let after: String = sql.query_one(used, &[]).await?.get(0);
    assert_eq!(after, before, "looking on is no use of the session");
    assert!(desk.watch().await?["began_at"].is_string());
    for (action, who) in [("watch_asked", "grace"), ("watch_allowed", "ada"), ("watch_began", "grace")] {
        let rows = desk.audited(action).await?;
        assert_eq!((rows.len(), rows[0]["user"]["name"].as_str()), (1, Some(who)), "{action}: {rows:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_pass_of_whoever_looks_on_is_good_no_longer_than_it_is_allowed() -> Result<()> {
    let desk = Desk::start().await?;
    let watch = desk.allowed().await?;
    let (_, answer) = desk.connect(&desk.grace, &watch).await?;
    let pass = answer["resume_protocols"][1].as_str().and_then(|text| text.strip_prefix("meridian.pass."));
    let (ticket, pass) = (claims(&desk.ticket(&watch).await?)?, claims(pass.context("no pass")?)?);
    assert_eq!(pass["exp"], ticket["watch"]["until"], "{pass}");
    let (_, own) =
        desk.ada.send(Method::POST, &desk.path("/connect"), Some(json!({"jkt": "k".repeat(43)}))).await?;
    let own = own["resume_protocols"][1].as_str().and_then(|text| text.strip_prefix("meridian.pass."));
    let own = claims(own.context("no pass")?)?;
    assert!(own["stream"] != pass["stream"] && own.get("watch").is_none(), "{own} {pass}");
    Ok(())
}

#[tokio::test]
async fn the_person_at_the_desktop_stops_it_and_the_agent_is_told() -> Result<()> {
    let desk = Desk::start().await?;
    let watch = desk.begun().await?;
    let late = desk.ticket(&watch).await?;
    assert_eq!(desk.told().await?, json!([]));
    let (status, ended) = desk.end(&desk.ada, &watch).await?;
    assert_eq!((status, &ended["state"]), (StatusCode::OK, &json!("ended")), "{ended}");
    assert_eq!(desk.told().await?, json!([watch]));
    let update = desk.agent.report(Vec::new()).await?;
    assert_eq!(update["settings"]["revocations"], json!([]), "the user's own stream goes on");
    let (status, refused) = desk.proxy.ask(&late, &"b".repeat(32)).await?;
    assert_eq!((status, &refused["error"]["code"]), (StatusCode::CONFLICT, &json!("watch_over")));
    let (status, refused) = desk.connect(&desk.grace, &watch).await?;
    assert_eq!(status, StatusCode::GONE, "{refused}");
    assert!(text(&refused["error"]["message"]).contains("the person at the desktop stopped it"), "{refused}");
    assert_eq!(desk.end(&desk.ada, &watch).await?.0, StatusCode::OK, "nothing is left to do");
    let rows = desk.audited("watch_ended").await?;
    assert_eq!((rows.len(), rows[0]["user"]["name"].as_str()), (1, Some("ada")), "{rows:?}");
    Ok(())
}

#[tokio::test]
async fn whoever_looks_on_leaves_or_takes_the_question_back() -> Result<()> {
    let desk = Desk::start().await?;
    let watch = desk.asked().await?;
    let (_, taken_back) = desk.end(&desk.grace, &watch).await?;
    assert_eq!(taken_back["state"], "withdrawn", "{taken_back}");
    assert_eq!(desk.answer(&watch, "allow").await?.0, StatusCode::CONFLICT);
    let watch = desk.begun().await?;
    let (_, left) = desk.end(&desk.grace, &watch).await?;
    assert_eq!((&left["state"], &left["because"]), (&json!("ended"), &json!("whoever looked on left")));
    assert_eq!(desk.end(&desk.site.admin().await?, &watch).await?.0, StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn a_question_that_nobody_answers_goes_away_and_says_whether_anybody_saw_it() -> Result<()> {
    for (seen, because) in
        [(false, "nobody was at the desktop"), (true, "the person at the desktop did not answer")]
    {
        let desk = Desk::start().await?;
        let watch = desk.asked().await?;
        if seen {
            desk.answer(&watch, "seen").await?;
        }
        desk.sql("UPDATE session_watches SET answer_by = now() - interval '1 second'").await?;
        assert_eq!(desk.answer(&watch, "allow").await?.0, StatusCode::CONFLICT, "too late");
        assert_eq!(desk.over("expired").await?, because);
        assert_eq!(desk.audited("watch_expired").await?.len(), 1);
    }
    Ok(())
}

#[tokio::test]
async fn at_most_two_look_on_and_nobody_asks_again_who_was_just_told_no() -> Result<()> {
    let desk = Desk::start().await?;
    let (hedy, joan) = (Desk::helper(&desk.site, "hedy").await?, Desk::helper(&desk.site, "joan").await?);
    let watch = desk.asked().await?;
    assert_eq!(desk.ask(&desk.grace).await?.1["id"], json!(watch), "asked twice, it is one question");
    let (first, second) = tokio::join!(desk.ask(&hedy), desk.ask(&joan));
    let mut statuses = [first?.0, second?.0];
    statuses.sort();
    assert_eq!(statuses, [StatusCode::CREATED, StatusCode::CONFLICT], "of two at once one comes too late");
    desk.answer(&watch, "decline").await?;
    assert_eq!(desk.watch().await?["state"], "declined");
    let (status, refused) = desk.ask(&desk.grace).await?;
    assert_eq!((status, &refused["error"]["code"]), (StatusCode::CONFLICT, &json!("watch_declined")));
    desk.sql(
        "UPDATE session_watches SET ended_at = ended_at - interval '2 minutes' WHERE ended_at IS NOT NULL",
    )
    .await?;
    assert_eq!(desk.ask(&desk.grace).await?.0, StatusCode::CREATED, "a while later");
    Ok(())
}

#[tokio::test]
async fn who_may_not_look_on_is_not_even_asked_about() -> Result<()> {
    let desk = Desk::start().await?;
    let code = |answer: &(StatusCode, Value)| text(&answer.1["error"]["code"]);
    assert_eq!(desk.ask(&desk.site.user("eve").await?).await?.0, StatusCode::NOT_FOUND);
    assert_eq!(code(&desk.ask(&desk.ada).await?), "own_session");
    for reason in ["", "a\nb", &"x".repeat(129)] {
        let path = desk.path("/watches");
        let (status, _) = desk.grace.send(Method::POST, &path, Some(json!({"reason": reason}))).await?;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{reason}");
    }
    assert_eq!(desk.watch().await?, Value::Null);
    let watch = desk.asked().await?;
    // A program with the user's key is not the person.
    let key = json!({"name": "mine", "permissions": ["sessions:own"]});
    let (_, key) = desk.ada.send(Method::POST, "/api/v1/api-keys", Some(key)).await?;
    let program = Client { token: key["token"].as_str().map(str::to_owned), ..desk.ada.clone() };
    let path = desk.path(&format!("/watches/{watch}/answer"));
    let answer = program.send(Method::POST, &path, Some(json!({"answer": "allow"}))).await?;
    assert_eq!((answer.0, code(&answer).as_str()), (StatusCode::FORBIDDEN, "not_for_keys"));
    let stranger = desk.grace.send(Method::POST, &path, Some(json!({"answer": "allow"}))).await?;
    assert_eq!(stranger.0, StatusCode::NOT_FOUND, "nobody allows themselves");
    assert_eq!(desk.watch().await?["state"], "asked");
    Ok(())
}

#[tokio::test]
async fn it_ends_with_the_permission() -> Result<()> {
    let desk = Desk::start().await?;
    let watch = desk.begun().await?;
    let patch = json!({"permissions": ["sessions:view"]});
    let admin = desk.site.admin().await?;
    assert_eq!(admin.send(Method::PATCH, "/api/v1/groups/Help%20desk", Some(patch)).await?.0, StatusCode::OK);
    assert_eq!(desk.connect(&desk.grace, &watch).await?.0, StatusCode::GONE, "from this moment on");
    assert_eq!(desk.over("ended").await?, "whoever asked may not look on any more");
    assert_eq!(desk.told().await?, json!([watch]));
    Ok(())
}

#[tokio::test]
async fn it_ends_with_its_hour() -> Result<()> {
    let desk = Desk::start().await?;
    let watch = desk.begun().await?;
    let late = desk.ticket(&watch).await?;
    desk.sql("UPDATE session_watches SET until = now() - interval '1 second'").await?;
    assert_ne!(desk.proxy.ask(&late, &"b".repeat(32)).await?.0, StatusCode::OK, "a ticket from before");
    assert_eq!(desk.connect(&desk.grace, &watch).await?.0, StatusCode::GONE);
    assert_eq!(desk.over("ended").await?, "its hour was over");
    Ok(())
}

#[tokio::test]
async fn it_ends_with_the_session() -> Result<()> {
    let desk = Desk::start().await?;
    let watch = desk.begun().await?;
    assert_eq!(desk.ada.send(Method::DELETE, &desk.path(""), None).await?.0, StatusCode::ACCEPTED);
    assert_eq!(desk.connect(&desk.grace, &watch).await?.0, StatusCode::GONE);
    assert_eq!(desk.over("ended").await?, "the session ended");
    Ok(())
}

#[tokio::test]
async fn it_ends_when_the_agent_says_that_nobody_looks_on_any_more() -> Result<()> {
    let mut desk = Desk::start().await?;
    let watch = desk.begun().await?;
    desk.agent.report(Vec::new()).await?;
    assert_eq!(desk.watch().await?["state"], "allowed", "its stream may be on its way");
    desk.sql("UPDATE session_watches SET granted_at = now() - interval '1 minute'").await?;
    desk.agent.watches = Some(vec![watch.parse()?]);
    desk.agent.report(Vec::new()).await?;
    assert_eq!(desk.watch().await?["state"], "allowed", "it goes on");
    desk.agent.watches = Some(Vec::new());
    desk.agent.report(Vec::new()).await?;
    assert_eq!(desk.over("ended").await?, "whoever looked on left");
    Ok(())
}

#[tokio::test]
async fn it_ends_when_the_agent_says_that_it_did() -> Result<()> {
    let causes = [
        (WatchEndCause::Unattended, "nobody was at the desktop any more", None),
        (WatchEndCause::Stopped, "the person at the desktop stopped it", Some("ada")),
    ];
    for (because, words, who) in causes {
        let mut desk = Desk::start().await?;
        desk.agent.watches_ended = vec![WatchEnd { id: desk.begun().await?.parse()?, because }];
        desk.agent.report(Vec::new()).await?;
        assert_eq!(desk.over("ended").await?, words);
        assert_eq!(desk.audited("watch_ended").await?[0]["user"]["name"].as_str(), who);
    }
    Ok(())
}

#[tokio::test]
async fn an_agent_of_the_release_before_lets_nobody_look_on() -> Result<()> {
    let mut desk = Desk::start().await?;
    desk.agent.watches = None;
    desk.agent.report(Vec::new()).await?;
    let (status, refused) = desk.ask(&desk.grace).await?;
    assert_eq!((status, &refused["error"]["code"]), (StatusCode::CONFLICT, &json!("watch_not_served")));
    Ok(())
}
