//! `meridian admin explain`: why a session is where it is, why a launch was refused, and what would become of one now.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    output::{Column, show_one, show_table},
    server::{Server, segment},
};
use crate::exit::{Failure, print};

#[derive(Args)]
#[command(after_help = "Examples:
  meridian admin explain 0190a5de-0000-7000-8000-000000000000
  meridian admin explain --refused --of ada
  meridian admin explain --workspace Desktop --of ada --zone london")]
pub struct Explain {
    /// A session's id, or with --refused the request id that the refused person was shown.
    #[arg(value_name = "SESSION")]
    id: Option<String>,
    /// Launches that were refused, the newest first.
    #[arg(long, conflicts_with = "workspace")]
    refused: bool,
    /// What would become of a launch of this workspace now.
    #[arg(long, conflicts_with = "id")]
    workspace: Option<String>,
    /// The user it is about; left out: you, or with --refused everybody.
    #[arg(long, value_name = "USER")]
    of: Option<String>,
    /// As if this zone was asked for.
    #[arg(long, requires = "workspace")]
    zone: Option<String>,
}

const CANDIDATES: [Column; 3] =
    [Column("ZONE", "zone"), Column("AGENT", "agent"), Column("VERDICT", "verdict")];

pub async fn run(server: &Server, explain: Explain, json: bool) -> Result<(), Failure> {
    let Explain { id, refused, workspace, of, zone } = explain;
    match (id, workspace) {
        (request_id, None) if refused => run_refused(server, request_id, of, json).await,
        (Some(session), None) => run_session(server, &session, json).await,
        (None, Some(workspace)) => run_preview(server, &workspace, of, zone, json).await,
        (None, None) | (Some(_), Some(_)) => Err(Failure::new("nothing is named that could be explained")
            .hint("Name a session, or --refused, or --workspace NAME")
            .code(2)),
    }
}

pub async fn run_session(server: &Server, session: &str, json: bool) -> Result<(), Failure> {
    let explanation = server.call(Method::GET, &format!("/sessions/{session}/explanation"), None).await?;
    if json {
        return show_one(&explanation);
    }
    say_choice(&explanation["choice"])?;
    show(&explanation)
}

async fn run_refused(
    server: &Server,
    request_id: Option<String>,
    of: Option<String>,
    json: bool,
) -> Result<(), Failure> {
    let mut query = Vec::new();
    query.extend(request_id.as_ref().map(|id| format!("request_id={}", segment(id))));
    query.extend(of.as_ref().map(|user| format!("user={}", segment(user))));
    let list = server.call(Method::GET, &format!("/refusals?{}", query.join("&")), None).await?;
    if json {
        return show_one(&list);
    }
    if request_id.is_some()
        && let Some(refusal) = list["items"].get(0)
    {
        let text = |key: &str| refusal[key].as_str().unwrap_or("-").to_owned();
        print(&format!(
            "{} for {} in {}: {} {}",
            text("workspace"),
            text("user"),
            text("zone"),
            text("outcome"),
            refusal["setting"].as_str().unwrap_or_default()
        ))?;
        return show(refusal);
    }
    let columns = [
        Column("AT", "at"),
        Column("USER", "user"),
        Column("WORKSPACE", "workspace"),
        Column("ZONE", "zone"),
        Column("OUTCOME", "outcome"),
        Column("COUNTS", "counts"),
        Column("REQUEST", "request_id"),
    ];
    show_table(&list, &columns, "No launch was refused", false)
}

async fn run_preview(
    server: &Server,
    workspace: &str,
    of: Option<String>,
    zone: Option<String>,
    json: bool,
) -> Result<(), Failure> {
    let mut query = format!("/explain?workspace={}", segment(workspace));
    for (name, value) in [("user", &of), ("zone", &zone)] {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", segment(value)));
        }
    }
    let mut preview = server.call(Method::GET, &query, None).await?;
    // The rest of the candidates, page by page.
    while let Some(cursor) = preview["next"].as_str().map(str::to_owned) {
        let mut more = server.call(Method::GET, &format!("{query}&cursor={cursor}"), None).await?;
        let rest = more["candidates"].as_array_mut().map(std::mem::take).unwrap_or_default();
        if let Some(candidates) = preview["candidates"].as_array_mut() {
            candidates.extend(rest);
        }
        preview["next"] = more["next"].take();
    }
    if json {
        return show_one(&preview);
    }
    let user = preview["user"].as_str().unwrap_or_default();
    match preview["hidden_because"].as_str() {
        Some(reason) => print(&format!("{user} does not see it: {reason}"))?,
        None => print(&format!("{user} sees it"))?,
    }
    if let Some(refusal) = preview["refusal"].as_str() {
        print(&format!("It would be refused: {refusal}"))?;
    }
    say_home(&preview)?;
    say_choice(&preview["choice"])?;
    show(&preview)
}

/// Where the home is, which decides where the workspace runs.
fn say_home(preview: &Value) -> Result<(), Failure> {
    let home = &preview["home"];
    let text = |key: &str| home[key].as_str().unwrap_or("-").to_owned();
    if home.is_object() {
        let (agent, zone, state) = (text("agent"), text("zone"), text("state"));
        return print(&match home["storage"].as_str() {
            None => format!("Its home is on {agent} in {zone} ({state}): it runs there, and nowhere else"),
            Some(storage) => {
                format!("Its home is on {zone}'s storage {storage} ({state}): it runs in {zone}")
            }
        });
    }
    if preview["keeps_home"] == true {
        return print("A home will be kept for it where it runs first: from then on it runs there");
    }
    Ok(())
}

fn say_choice(choice: &Value) -> Result<(), Failure> {
    let Some(zone) = choice["zone"].as_str() else { return Ok(()) };
    let because = choice["because"].as_str().unwrap_or_default();
    print(&format!("Meant for {zone}: {because}"))?;
    match choice["elsewhere_because"].as_str() {
        Some(reason) => print(&format!("It runs elsewhere, since of {zone}: {reason}")),
        None => Ok(()),
    }
}

/// Zones, counts and candidates.
fn show(explanation: &Value) -> Result<(), Failure> {
    let zones = json!({"items": explanation["zones"]});
    show_table(&zones, &[Column("ZONE", "zone"), Column("VERDICT", "verdict")], "No zone was asked", false)?;
    for (reason, count) in explanation["counts"].as_object().into_iter().flatten() {
        print(&format!("{count:>6}  {reason}"))?;
    }
    show_table(&json!({"items": explanation["candidates"]}), &CANDIDATES, "No agent was asked", false)
}
