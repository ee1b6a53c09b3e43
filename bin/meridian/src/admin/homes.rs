//! `meridian admin homes`.

use clap::Subcommand;
use meridian_control::app::words::counted;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    output::{Column, confirmed, show_one, show_table},
    server::{MOST, Server, segment},
};
use crate::exit::{Failure, print};

#[derive(Subcommand)]
pub enum Homes {
    /// Your homes: where each lies, how it stands, and when it was used last.
    List {
        /// Everybody's.
        #[arg(long)]
        all: bool,
        /// This user's alone.
        #[arg(long, value_name = "USER", requires = "all")]
        of: Option<String>,
        /// Of this workspace alone.
        #[arg(long, requires = "all")]
        workspace: Option<String>,
        #[arg(long, requires = "all")]
        zone: Option<String>,
        #[arg(long, requires = "all")]
        agent: Option<String>,
        #[arg(long, requires = "all", value_parser = STATES)]
        state: Option<String>,
        /// Only those whose user or workspace was deleted.
        #[arg(long, requires = "all")]
        gone: bool,
    },
    /// Remove a home with everything in it; its user's next launch begins with an empty one.
    Reset {
        home: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Take a home on its zone's storage from an agent that has not released it; the session that had it ends.
    Release {
        home: String,
        /// Whether that agent answers or not: what its session wrote last may be missing.
        #[arg(long)]
        force: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Remove the homes whose user or workspace was deleted; those that a session still has stay.
    Delete {
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

const STATES: [&str; 7] = ["free", "in_use", "put_away", "away", "held", "lost", "removing"];

pub async fn run(server: &Server, homes: Homes, json: bool) -> Result<(), Failure> {
    match homes {
        Homes::List { all, of, workspace, zone, agent, state, gone } => {
            let filters = [
                ("all", all.then(|| "true".to_owned())),
                ("user", of),
                ("workspace", workspace),
                ("zone", zone),
                ("agent", agent),
                ("state", state),
                ("gone", gone.then(|| "true".to_owned())),
            ];
            list(server, &filters, all, json).await
        }
        Homes::Reset { home, yes } => {
            if !yes && !confirmed(&format!("Remove home {home} with everything in it?"))? {
                return Err(Failure::new("nothing was removed"));
            }
            server.call(Method::DELETE, &format!("/homes/{}", segment(&home)), None).await?;
            print(&format!("{home} is being removed; the next launch begins with an empty home"))
        }
        Homes::Release { home, force, yes } => {
            let question =
                format!("Take home {home} from the agent that has it? What was written last may be missing.");
            if force && !yes && !confirmed(&question)? {
                return Err(Failure::new("nothing was released"));
            }
            let path = format!("/homes/{}/release", segment(&home));
            server.call(Method::POST, &path, Some(json!({"force": force}))).await?;
            print(&format!("{home} is free: the next launch has it, on any agent that reaches its storage"))
        }
        Homes::Delete { yes } => {
            if !yes && !confirmed("Remove all homes whose user or workspace was deleted?")? {
                return Err(Failure::new("nothing was removed"));
            }
            delete(server, json).await
        }
    }
}

async fn list(
    server: &Server,
    filters: &[(&str, Option<String>)],
    all: bool,
    json: bool,
) -> Result<(), Failure> {
    let query: Vec<_> = filters
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", segment(value.as_ref()?))))
        .collect();
    let path = if query.is_empty() { "/homes".to_owned() } else { format!("/homes?{}", query.join("&")) };
    let list = server.list(&path, MOST).await?;
    let mut columns = vec![
        Column("WORKSPACE", "name"),
        Column("USER", "user.name"),
        Column("ZONE", "zone"),
        Column("AGENT", "agent"),
        Column("STORAGE", "storage"),
        Column("STATE", "state"),
        Column("SIZE MB", "size_mb"),
        Column("LAST USE", "used_at"),
        Column("DELETED", "gone"),
        Column("ID", "id"),
    ];
    if !all {
        columns.retain(|Column(heading, _)| !["USER", "DELETED"].contains(heading));
    }
    show_table(&list, &columns, if all { "No home is like that" } else { "You have no homes" }, json)
}

/// Call after call, until nothing is left that could be removed.
async fn delete(server: &Server, json: bool) -> Result<(), Failure> {
    let mut deleted = 0;
    loop {
        let mut outcome = server.call(Method::DELETE, "/homes", None).await?;
        let now = outcome["deleted"].as_i64().unwrap_or_default();
        deleted += now;
        if now > 0 {
            continue;
        }
        outcome["deleted"] = Value::from(deleted);
        if json {
            return show_one(&outcome);
        }
        let kept = outcome["in_use"].as_i64().unwrap_or_default();
        let removed = counted(deleted, "home is", "homes are");
        let stay = match kept {
            0 => String::new(),
            1 => "; 1 stays, because a session still has it".to_owned(),
            _ => format!("; {kept} stay, because sessions still have them"),
        };
        return print(&format!("{removed} being removed{stay}"));
    }
}
