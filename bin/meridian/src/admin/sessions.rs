//! `meridian admin sessions`.

use clap::{Args, Subcommand};
use meridian_model::SessionState;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    explain,
    output::{Column, confirmed, show_one, show_table},
    server::{MOST, Server, segment},
    watch,
};
use crate::exit::{Failure, print};

#[derive(Subcommand)]
pub enum Sessions {
    /// Your sessions.
    #[command(after_help = "Examples:
  meridian admin sessions list --ended
  meridian admin sessions list --user ada
  meridian admin sessions list --zone london --node agent-london-1 --state unreachable

--user, --zone, --node and --state are about everybody's sessions, and mean --all.")]
    List(List),
    /// One session, as it is now.
    Show { session: String },
    /// Launch a workspace for yourself.
    Launch(Launch),
    /// Why a session is where it is.
    Explain { session: String },
    /// Ask a session's user to let you look on, and wait for the answer.
    Watch(watch::Watch),
    /// End a session: its workspace and everything in it is removed.
    End {
        session: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
pub struct List {
    /// Everybody's.
    #[arg(long)]
    all: bool,
    /// Those that are over, too.
    #[arg(long)]
    ended: bool,
    /// Of this user.
    #[arg(long = "user", value_name = "USER")]
    of: Option<String>,
    /// In this zone.
    #[arg(long)]
    zone: Option<String>,
    /// On this agent.
    #[arg(long)]
    node: Option<String>,
    /// In this state.
    #[arg(long, value_parser = SessionState::ALL.map(SessionState::as_str))]
    state: Option<String>,
}

impl List {
    fn is_of_all(&self) -> bool {
        let Self { all, ended: _, of, zone, node, state } = self;
        *all || [of, zone, node, state].into_iter().any(Option::is_some)
    }

    fn path(&self) -> String {
        let Self { all: _, ended, of, zone, node, state } = self;
        let filters = [("user", of), ("zone", zone), ("node", node), ("state", state)];
        let filters =
            filters.iter().filter_map(|(name, value)| Some(format!("&{name}={}", segment(value.as_ref()?))));
        format!("/sessions?all={}&ended={ended}{}", self.is_of_all(), filters.collect::<String>())
    }
}

#[derive(Args)]
pub struct Launch {
    /// The workspace's name or id.
    workspace: String,
    /// In this zone; left out, Meridian decides.
    #[arg(long)]
    zone: Option<String>,
    /// Do without the home that your policy keeps: an empty one, which ends with the session.
    #[arg(long)]
    temporary_home: bool,
}

pub async fn run(server: &Server, sessions: Sessions, json: bool) -> Result<(), Failure> {
    match sessions {
        Sessions::List(which) => {
            let list = server.list(&which.path(), MOST).await?;
            let columns = [
                Column("ID", "id"),
                Column("WORKSPACE", "name"),
                Column("USER", "user.name"),
                Column("ZONE", "zone"),
                Column("AGENT", "agent"),
                Column("STATE", "state"),
                Column("STANDS STILL", "frozen.because"),
                Column("CREATED", "created_at"),
            ];
            let none = if which.is_of_all() { "There are no such sessions" } else { "You have no sessions" };
            show_table(&list, &columns, none, json)
        }
        Sessions::Show { session } => {
            show_one(&server.call(Method::GET, &format!("/sessions/{}", segment(&session)), None).await?)
        }
        Sessions::Launch(what) => launch(server, &what, json).await,
        Sessions::Explain { session } => explain::run_session(server, &session, json).await,
        Sessions::Watch(what) => watch::run(server, what, json).await,
        Sessions::End { session, yes } => {
            if !yes && !confirmed(&format!("End session {session}? Everything in it is removed."))? {
                return Err(Failure::new("nothing was ended"));
            }
            let path = format!("/sessions/{}", segment(&session));
            let ending = server.call(Method::DELETE, &path, None).await?;
            if json {
                show_one(&ending)
            } else {
                print(&format!("{session} is {}", ending["state"].as_str().unwrap_or_default()))
            }
        }
    }
}

async fn launch(server: &Server, what: &Launch, json: bool) -> Result<(), Failure> {
    let mut body = json!({"workspace_id": find_workspace(server, &what.workspace).await?, "zone": what.zone});
    if what.temporary_home {
        body["home"] = "temporary".into();
    }
    let session = server.call(Method::POST, "/sessions", Some(body)).await?;
    if json {
        return show_one(&session);
    }
    let text = |key: &str| session[key].as_str().unwrap_or("-").to_owned();
    let address = format!("{}/sessions/{}", server.url(), text("id"));
    print(&format!("{} is {} in {}: {address}", text("name"), text("state"), text("zone")))
}

/// A workspace's id by its name or id, of those that the caller can launch.
async fn find_workspace(server: &Server, workspace: &str) -> Result<Value, Failure> {
    let list = server.call(Method::GET, "/workspaces", None).await?;
    let mut items = list["items"].as_array().into_iter().flatten();
    let found = items.find(|item| item["name"] == workspace || item["id"] == workspace);
    found.map(|item| item["id"].clone()).ok_or_else(|| {
        Failure::new(format!("there is no workspace {workspace} that you can launch"))
            .hint("See meridian admin workspaces list; meridian admin explain --workspace NAME says why one is hidden")
            .code(3)
    })
}
