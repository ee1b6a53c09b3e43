//! `meridian admin sessions watch`: asks somebody to let the caller look on, waits for the answer, and says where to look.
//!
//! The address that it prints has no secret: whoever opens it signs in as the account that asked. A question that nobody waits for is taken back.

use std::{cell::OnceCell, io::Write, time::Duration};

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    output::show_one,
    server::{Server, segment},
};
use crate::{
    exit::{Failure, print},
    role::told_to_stop,
};

/// The server lets go of a question after a minute. Longer than that is its silence.
const ANSWER_LIMIT: Duration = Duration::from_secs(75);
/// Between two looks, where the server ended its events.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

#[derive(Args)]
#[command(after_help = "Examples:
  meridian admin sessions watch 0190a5de-0000-7000-8000-000000000000 --reason 'your ticket 17'
  meridian admin sessions watch 0190a5de-0000-7000-8000-000000000000 --stop

It needs sessions:watch. Ctrl-C takes the question back. It ends with 0 when looking on is allowed, 1 when it is not (declined, not answered, taken
back), 3 when the server refuses to ask.")]
pub struct Watch {
    /// The session's id; `meridian admin sessions list --all` has it.
    session: String,
    /// Why: the person at the desktop reads it.
    #[arg(long, required_unless_present = "stop")]
    reason: Option<String>,
    /// Look on no more, or take a question back that is not answered yet.
    #[arg(long, conflicts_with = "reason")]
    stop: bool,
}

pub async fn run(server: &Server, watch: Watch, json: bool) -> Result<(), Failure> {
    match watch.reason {
        Some(reason) => ask(server, &watch.session, &reason, json).await,
        None => stop(server, &watch.session, json).await,
    }
}

async fn ask(server: &Server, session: &str, reason: &str, json: bool) -> Result<(), Failure> {
    let path = format!("/sessions/{}", segment(session));
    let question = OnceCell::new();
    let waiting = async {
        let body = json!({"reason": reason});
        let asked = server.call(Method::POST, &format!("{path}/watches"), Some(body)).await?;
        let id = question.get_or_init(|| segment(asked["id"].as_str().unwrap_or_default()));
        Ok(timeout(ANSWER_LIMIT, answered(server, &path, id)).await.ok())
    };
    let answer = tokio::select! {
        // First: from before there is a question, a signal takes it back.
        biased;
        stopped = told_to_stop() => stopped.map(|_| None),
        answer = waiting => answer,
    };
    let Some(id) = question.get() else {
        return answer.and(Err(Failure::new("nobody was asked")));
    };
    let Some(mut answer) = answer? else {
        server.call(Method::DELETE, &format!("{path}/watches/{id}"), None).await?;
        return Err(Failure::new("the question was taken back before it was answered"));
    };
    if answer["state"] != "allowed" {
        return Err(Failure::new(why_not(&answer)).hint("Whoever was declined can ask again after a minute"));
    }
    let address = format!("{}/admin/sessions/{}/watches/{id}", server.url(), segment(session));
    if json {
        answer["address"] = address.into();
        return show_one(&answer);
    }
    tell("Allowed: open this address in a browser where you are signed in as the one who asked")?;
    print(&address)
}

/// Waits until the question is answered, or gone; the watch as it is then, with its session's user.
async fn answered(server: &Server, path: &str, id: &str) -> Value {
    let mut said = String::new();
    loop {
        match server.events(&format!("{path}/events")).await {
            Ok(mut events) => {
                while let Some(session) = events.next().await {
                    if let Some(watch) = settled(&session, id, &mut said) {
                        return watch;
                    }
                }
            }
            // The server has as many who follow events as it bears: one look, then. Whatever else is wrong, the limit of the whole ends it.
            Err(_) => {
                let session = server.call(Method::GET, path, None).await.unwrap_or_default();
                if let Some(watch) = settled(&session, id, &mut said) {
                    return watch;
                }
            }
        }
        sleep(AGAIN_AFTER).await;
    }
}

/// The watch, once it is more than a question; until then whoever waits is told when something changed.
fn settled(session: &Value, id: &str, said: &mut String) -> Option<Value> {
    let watch = session["watches"].as_array()?.iter().find(|watch| watch["id"] == id)?;
    if watch["state"] != "asked" {
        let mut watch = watch.clone();
        watch["user"] = session["user"]["name"].clone();
        return Some(watch);
    }
    let words = waiting(session, watch);
    if words != *said {
        // A terminal that went away is no reason to take the question back.
        let _ = tell(&words);
        *said = words;
    }
    None
}

fn waiting(session: &Value, watch: &Value) -> String {
    let name = session["user"]["name"].as_str().unwrap_or_default();
    if watch["seen"] == true {
        format!("{name} sees your question; nothing is shown to you before they allow it")
    } else {
        format!("{name} is asked and has a minute; no page of theirs shows the question yet")
    }
}

fn why_not(watch: &Value) -> String {
    let name = watch["user"].as_str().unwrap_or_default();
    match (watch["state"].as_str().unwrap_or_default(), watch["seen"] == true) {
        ("declined", _) => format!("{name} declined"),
        ("expired", true) => format!("{name} did not answer within a minute"),
        ("expired", false) => format!("nobody was at the desktop: no page of {name}'s shows it"),
        (_, _) => {
            format!(
                "nobody looks on: {}",
                watch["because"].as_str().unwrap_or("the question is not there any more")
            )
        }
    }
}

async fn stop(server: &Server, session: &str, json: bool) -> Result<(), Failure> {
    let path = format!("/sessions/{}", segment(session));
    let me = server.call(Method::GET, "/auth/me", None).await?;
    let view = server.call(Method::GET, &path, None).await?;
    let mine = view["watches"].as_array().into_iter().flatten().filter(|watch| {
        watch["watcher"]["id"] == me["id"] && (watch["state"] == "asked" || watch["state"] == "allowed")
    });
    let mut ended = Vec::new();
    for watch in mine {
        let id = segment(watch["id"].as_str().unwrap_or_default());
        ended.push(server.call(Method::DELETE, &format!("{path}/watches/{id}"), None).await?);
    }
    if ended.is_empty() {
        return Err(Failure::new(format!("you do not look on at {session}, and did not ask to")).code(3));
    }
    if json {
        return show_one(&json!({"items": ended, "next": null}));
    }
    print(&format!("you do not look on at {session} any more"))
}

/// What is no result goes to standard error.
fn tell(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stderr().lock(), "{text}")?)
}
