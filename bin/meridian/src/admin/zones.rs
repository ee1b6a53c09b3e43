//! `meridian admin zones`: make, change, delete, what they need, and their files.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    files::{self, Files, Kind},
    output::{self, Column, show_one, show_table},
    server::{Server, segment},
};
use crate::exit::{Failure, print};

#[derive(Subcommand)]
pub enum Zones {
    List,
    /// Make a zone.
    Create {
        name: String,
        /// Settings, as KEY=VALUE; text needs no quotes.
        #[arg(value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
    /// Change settings, as KEY=VALUE; zone_name=NEW renames.
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
    #[command(flatten)]
    Files(Files),
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
            show_table(&list, &columns, json)
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
                let (nodes, sessions) = (&stands["nodes"], &stands["sessions"]);
                print(&format!(
                    "{zone} drains: {nodes} nodes work still, with {sessions} sessions; repeat this"
                ))
            }
        }
        Zones::Requirements { zone } => {
            let needs =
                server.call(Method::GET, &format!("/zones/{}/requirements", segment(&zone)), None).await?;
            if json {
                return show_one(&needs);
            }
            let table =
                |key: &str, columns: &[Column]| show_table(&json!({"items": needs[key]}), columns, false);
            table("dns", &[Column("DNS NAME", "name"), Column("POINTS TO", "points_to")])?;
            table("certificates", &[Column("CERTIFICATE NAME", "name"), Column("HELD BY", "held_by")])?;
            for warning in needs["warnings"].as_array().into_iter().flatten() {
                print(&format!("warning: {}", warning["message"].as_str().unwrap_or_default()))?;
            }
            Ok(())
        }
        Zones::Files(what) => files::run(server, Kind::Zones, what, json).await,
    }
}

/// Settings as the API takes them: what reads as JSON is that, everything else is text.
fn patch(settings: &[String]) -> Result<Value, Failure> {
    let mut body = json!({});
    for setting in settings {
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| Failure::new(format!("{setting} is no setting")).hint("KEY=VALUE").code(2))?;
        body[key] = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_json_where_they_read_so_and_else_text() {
        let given = ["isolated=true", "proxy_port=8443", "proxy_path=desktop", "alternate_zones=[\"a\"]"];
        let patch = patch(&given.map(str::to_owned)).unwrap();
        let wanted =
            json!({"isolated": true, "proxy_port": 8443, "proxy_path": "desktop", "alternate_zones": ["a"]});
        assert_eq!(patch, wanted);
    }
}
