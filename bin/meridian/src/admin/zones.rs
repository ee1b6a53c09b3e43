//! `meridian admin zones`: make, change, delete, what they need, and their files.

use clap::{Args, Subcommand};
use meridian_control::app::words::counted;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    files::{self, Files, Kind},
    output::{self, Column, show_one, show_table},
    server::{Server, segment},
};
use crate::exit::{Failure, print};

/// Settings that are lists; on the command line their entries may stand with commas between.
const LISTS: [&str; 2] = ["alternate_zones", "proxy_alternates"];

#[derive(Subcommand)]
pub enum Zones {
    List,
    /// Make a zone.
    Create {
        name: String,
        /// Settings, as KEY=VALUE; text needs no quotes, and lists have commas between their entries.
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
    /// Change settings, as KEY=VALUE; zone_name=NEW renames, and lists have commas between their entries.
    Set {
        zone: String,
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
    },
    /// Delete a zone of which no node works any more.
    Delete {
        zone: String,
        /// Drain its nodes and end its sessions first; repeat it until the zone is gone.
        #[arg(long)]
        drain: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// DNS records and certificate names that a zone needs, and what is unwise about it.
    Requirements {
        zone: String,
    },
    /// Move a user, a group's members or everybody of a zone to another zone: their home zone changes, and sessions elsewhere are
    /// offered to be launched again there.
    Reassign(Reassign),
    /// Moves that were made.
    Reassignments,
    /// Put back what a move replaced.
    UndoReassignment {
        /// Its id, as `zones reassignments` lists it.
        id: String,
    },
    #[command(flatten)]
    Files(Files),
}

#[derive(Args)]
pub struct Reassign {
    #[command(flatten)]
    whom: Whom,
    /// The zone they are moved to.
    #[arg(long)]
    to: String,
    /// Only say who would be moved, and which sessions it concerns.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// One user.
    #[arg(long)]
    user: Option<String>,
    /// The members of a group.
    #[arg(long)]
    group: Option<String>,
    /// Everybody whose home is this zone, and whoever has a session there and no home zone.
    #[arg(long)]
    zone: Option<String>,
}

pub async fn run(server: &Server, zones: Zones, json: bool) -> Result<(), Failure> {
    match zones {
        Zones::List => {
            let list = server.call(Method::GET, "/zones", None).await?;
            let columns = [
                Column("NAME", "name"),
                Column("DEFAULT", "default"),
                Column("READY", "nodes_ready"),
                Column("STRATEGY", "load_strategy"),
                Column("ISOLATED", "isolated"),
                Column("APPLIED", "applied_revision"),
                Column("DRIFTED", "drifted"),
            ];
            show_table(&list, &columns, "There is no zone", json)
        }
        Zones::Create { name, settings } => {
            let mut body = patch(&settings)?;
            body["zone_name"] = Value::String(name.clone());
            let made = server.call(Method::POST, "/zones", Some(body)).await?;
            if json { show_one(&made) } else { print(&format!("made {name}")) }
        }
        Zones::Set { zone, settings } => {
            let path = format!("/zones/{}", segment(&zone));
            let changed = server.call(Method::PATCH, &path, Some(patch(&settings)?)).await?;
            if json { show_one(&changed) } else { print(&format!("changed {zone}")) }
        }
        Zones::Delete { zone, drain, yes } => {
            if !yes && !output::confirmed(&format!("Delete zone {zone}? What runs there ends."))? {
                return Err(Failure::new("nothing was deleted"));
            }
            let path = format!("/zones/{}?drain={drain}", segment(&zone));
            let stands = server.call(Method::DELETE, &path, None).await?;
            if json {
                return show_one(&stands);
            }
            if stands["state"] == "deleted" {
                print(&format!("{zone} is deleted"))
            } else {
                let number = |key: &str| stands[key].as_i64().unwrap_or_default();
                let nodes = counted(number("nodes"), "node works", "nodes work");
                let sessions = counted(number("sessions"), "session", "sessions");
                print(&format!("{zone} drains: {nodes} still, with {sessions}; repeat this"))
            }
        }
        Zones::Requirements { zone } => {
            let needs =
                server.call(Method::GET, &format!("/zones/{}/requirements", segment(&zone)), None).await?;
            if json {
                return show_one(&needs);
            }
            let table = |key: &str, columns: &[Column], none: &str| {
                show_table(&json!({"items": needs[key]}), columns, none, false)
            };
            let dns = [Column("DNS NAME", "name"), Column("POINTS TO", "points_to")];
            table("dns", &dns, "It needs no name of its own in the DNS")?;
            let certificates = [Column("CERTIFICATE NAME", "name"), Column("HELD BY", "held_by")];
            table("certificates", &certificates, "It needs no certificate of its own")?;
            for warning in needs["warnings"].as_array().into_iter().flatten() {
                print(&format!("warning: {}", warning["message"].as_str().unwrap_or_default()))?;
            }
            Ok(())
        }
        Zones::Reassign(what) => reassign(server, &what, json).await,
        Zones::Reassignments => {
            let list = server.call(Method::GET, "/reassignments", None).await?;
            let columns = [
                Column("ID", "id"),
                Column("KIND", "kind"),
                Column("MOVED", "subject"),
                Column("TO", "to"),
                Column("PEOPLE", "people"),
                Column("SESSIONS", "sessions"),
                Column("BY", "made_by"),
                Column("AT", "made_at"),
                Column("UNDONE", "undone_at"),
            ];
            show_table(&list, &columns, "Nobody was moved yet", json)
        }
        Zones::UndoReassignment { id } => {
            let path = format!("/reassignments/{}/undo", segment(&id));
            let undone = server.call(Method::POST, &path, None).await?;
            if json {
                show_one(&undone)
            } else {
                print(&format!("{} is back where it was", text(&undone["subject"])))
            }
        }
        Zones::Files(what) => files::run(server, Kind::Zones, what, json).await,
    }
}

async fn reassign(server: &Server, what: &Reassign, json: bool) -> Result<(), Failure> {
    let Whom { user, group, zone } = &what.whom;
    let ask = async |dry_run: bool| {
        let body = json!({"user": user, "group": group, "zone": zone, "to": what.to, "dry_run": dry_run});
        server.call(Method::POST, "/reassignments", Some(body)).await
    };
    if what.dry_run || !what.yes {
        let look = ask(true).await?;
        if what.dry_run && json {
            return show_one(&look);
        }
        if !json {
            say_move(&look)?;
        }
        if what.dry_run {
            return print("Nothing was changed");
        }
        let question = format!(
            "Move {} to {}? Sessions run on until they are launched again.",
            text(&look["subject"]),
            what.to
        );
        if !output::confirmed(&question)? {
            return Err(Failure::new("nobody was moved"));
        }
    }
    let done = ask(false).await?;
    if json {
        return show_one(&done);
    }
    if what.yes {
        say_move(&done)?;
    }
    print(&format!("Moved; to undo it: meridian admin zones undo-reassignment {}", text(&done["id"])))
}

/// Who is moved, and what is offered to be launched again.
fn say_move(view: &Value) -> Result<(), Failure> {
    let number = |key: &str| view[key].as_i64().unwrap_or_default();
    let (people, sessions) = (number("people"), number("sessions"));
    if people == 0 {
        return print(&format!("Nobody would go to {}", text(&view["to"])));
    }
    let people = counted(people, "person", "people");
    let offered = match sessions {
        0 => "no session is to be launched again".to_owned(),
        1 => "1 session is offered to be launched again there".to_owned(),
        _ => format!("{sessions} sessions are offered to be launched again there"),
    };
    print(&format!("{people} to {}; {offered}", text(&view["to"])))?;
    let columns = [
        Column("USER", "name"),
        Column("HOME ZONE", "from"),
        Column("REFUSED BECAUSE", "refused_because"),
        Column("STAYS BECAUSE", "stays_because"),
    ];
    show_table(&json!({"items": view["first_people"]}), &columns, "", false)?;
    if view["first_sessions"].as_array().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let columns = [
        Column("SESSION", "id"),
        Column("WORKSPACE", "workspace"),
        Column("USER", "user"),
        Column("ZONE", "zone"),
        Column("STATE", "state"),
        Column("STAYS BECAUSE", "stays_because"),
    ];
    show_table(&json!({"items": view["first_sessions"]}), &columns, "", false)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Settings as the API takes them: what reads as JSON is that, everything else is text.
fn patch(settings: &[String]) -> Result<Value, Failure> {
    let mut body = json!({});
    for setting in settings {
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("{setting} is no setting")).hint("KEY=VALUE").code(2))?;
        body[key] = serde_json::from_str(value).unwrap_or_else(|_| no_json(key, value));
    }
    Ok(body)
}

/// What is no JSON: a text, or where a list belongs, its entries.
fn no_json(key: &str, value: &str) -> Value {
    if LISTS.contains(&key) {
        let entries = value.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(|entry| Value::String(entry.to_owned())).collect()
    } else {
        Value::String(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_json_where_they_read_so_and_else_text() {
        let given = [
            "isolated=true",
            "proxy_port=8443",
            "proxy_path=desktop",
            "alternate_zones=[\"a\"]",
            "proxy_alternates=a.example.org, [fd00::2]:8443",
        ];
        let patch = patch(&given.map(str::to_owned)).unwrap();
        let wanted = json!({"isolated": true, "proxy_port": 8443, "proxy_path": "desktop", "alternate_zones": ["a"],
            "proxy_alternates": ["a.example.org", "[fd00::2]:8443"]});
        assert_eq!(patch, wanted);
    }
}
