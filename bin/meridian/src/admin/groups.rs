//! `meridian admin groups`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    files::{self, Files, Kind},
    output::{Column, confirmed, show_one, show_table},
    server::{MOST, Server, segment},
};
use crate::exit::{Failure, print};

#[derive(Subcommand)]
pub enum Groups {
    /// Groups by priority; the smaller number wins.
    List,
    /// One group with its settings and permissions, by name or id.
    Show { group: String },
    /// Make a group.
    Create {
        name: String,
        /// From 1 to 999999; the smaller number wins.
        #[arg(long, default_value_t = 1000)]
        priority: i32,
        #[arg(long, default_value = "")]
        description: String,
        /// What members may administer, such as users:view; as often as needed.
        #[arg(long = "permission", value_name = "PERMISSION")]
        permissions: Vec<String>,
    },
    /// Change a group's name, priority or description.
    Change {
        group: String,
        #[arg(long)]
        name: Option<String>,
        #[arg(long)]
        priority: Option<i32>,
        #[arg(long)]
        description: Option<String>,
    },
    /// Set settings, as NAME=VALUE; `meridian admin policy settings` names them. Lists are written with commas.
    Set {
        group: String,
        #[arg(required = true, value_parser = parse_setting)]
        settings: Vec<(String, Value)>,
    },
    /// Leave settings to other groups again.
    Unset {
        group: String,
        #[arg(required = true)]
        settings: Vec<String>,
    },
    /// Let members administer something.
    Grant {
        group: String,
        #[arg(required = true)]
        permissions: Vec<String>,
    },
    /// Take permissions from a group.
    Withdraw {
        group: String,
        #[arg(required = true)]
        permissions: Vec<String>,
    },
    /// Who belongs to a group.
    Members { group: String },
    /// Put somebody into a group.
    Add { group: String, user: String },
    /// Take somebody out of a group.
    Remove { group: String, user: String },
    /// Delete a group; what it decided, others decide from now on.
    Delete {
        group: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    #[command(flatten)]
    Files(Files),
}

/// Numbers and switches are read as such, `[]` is the empty list, and what has to be a list is one.
fn parse_setting(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("it is NAME=VALUE")?;
    let value = if name == "allowed_zones" {
        let zones = value.trim_matches(['[', ']']).split(',').map(str::trim).filter(|zone| !zone.is_empty());
        zones.collect::<Vec<_>>().into()
    } else {
        match serde_json::from_str::<Value>(value) {
            Ok(read @ (Value::Bool(_) | Value::Number(_))) => read,
            Ok(Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_)) | Err(_) => value.into(),
        }
    };
    Ok((name.to_owned(), value))
}

pub async fn run(server: &Server, groups: Groups, json: bool) -> Result<(), Failure> {
    let path = |group: &str| format!("/groups/{}", segment(group));
    let change = async |group: &str, patch: Value| {
        let changed = server.call(Method::PATCH, &path(group), Some(patch)).await?;
        if json {
            show_one(&changed)
        } else {
            print(&format!("changed {}", changed["name"].as_str().unwrap_or(group)))
        }
    };
    match groups {
        Groups::List => {
            let list = server.list("/groups", MOST).await?;
            let columns = [
                Column("NAME", "name"),
                Column("PRIORITY", "priority"),
                Column("MEMBERS", "members"),
                Column("SETTINGS", "settings"),
                Column("ID", "id"),
            ];
            show_table(&list, &columns, "There is no group", json)
        }
        Groups::Show { group } => show_one(&server.call(Method::GET, &path(&group), None).await?),
        Groups::Create { name, priority, description, permissions } => {
            let body = json!({"name": name, "priority": priority, "description": description, "permissions": permissions});
            let made = server.call(Method::POST, "/groups", Some(body)).await?;
            if json { show_one(&made) } else { print(&format!("made {name}")) }
        }
        Groups::Change { group, name, priority, description } => {
            let mut patch = Map::new();
            let parts = [
                ("name", name.map(Value::from)),
                ("priority", priority.map(Value::from)),
                ("description", description.map(Value::from)),
            ];
            for (part, value) in parts {
                if let Some(value) = value {
                    patch.insert(part.into(), value);
                }
            }
            change(&group, patch.into()).await
        }
        Groups::Set { group, settings } => {
            change(&group, json!({"settings": settings.into_iter().collect::<Map<_, _>>()})).await
        }
        Groups::Unset { group, settings } => {
            let settings: Map<_, _> = settings.into_iter().map(|name| (name, Value::Null)).collect();
            change(&group, json!({"settings": settings})).await
        }
        Groups::Grant { group, permissions } => {
            let mut held = held(server, &path(&group)).await?;
            held.extend(permissions);
            change(&group, json!({"permissions": held})).await
        }
        Groups::Withdraw { group, permissions } => {
            let mut held = held(server, &path(&group)).await?;
            if let Some(lacking) = permissions.iter().find(|permission| !held.contains(permission)) {
                return Err(Failure::new(format!("{group} does not have {lacking}")).code(3));
            }
            held.retain(|permission| !permissions.contains(permission));
            change(&group, json!({"permissions": held})).await
        }
        Groups::Members { group } => {
            let list = server.list(&format!("{}/members", path(&group)), MOST).await?;
            show_table(&list, &[Column("NAME", "name"), Column("ID", "id")], "Nobody belongs to it", json)
        }
        Groups::Add { group, user } => {
            server.call(Method::PUT, &format!("{}/members/{}", path(&group), segment(&user)), None).await?;
            print(&format!("{user} belongs to {group}"))
        }
        Groups::Remove { group, user } => {
            server
                .call(Method::DELETE, &format!("{}/members/{}", path(&group), segment(&user)), None)
                .await?;
            print(&format!("{user} does not belong to {group}"))
        }
        Groups::Delete { group, yes } => {
            if !yes
                && !confirmed(&format!("Delete group {group}? What it decided, others decide from now on."))?
            {
                return Err(Failure::new("nothing was deleted"));
            }
            server.call(Method::DELETE, &path(&group), None).await?;
            print(&format!("{group} is deleted"))
        }
        Groups::Files(what) => files::run(server, Kind::Groups, what, json).await,
    }
}

async fn held(server: &Server, path: &str) -> Result<Vec<String>, Failure> {
    let group = server.call(Method::GET, path, None).await?;
    let held = group["permissions"].as_array().into_iter().flatten();
    Ok(held.filter_map(|permission| permission.as_str().map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_what_they_are() {
        let value = |text: &str| parse_setting(text).unwrap().1;
        assert_eq!(value("view_only=true"), json!(true));
        assert_eq!(value("session_limit=5"), json!(5));
        assert_eq!(value("max_cpu=1.5"), json!(1.5));
        assert_eq!(value("network=internet"), json!("internet"));
        assert_eq!(value("home_zone=london"), json!("london"));
        assert_eq!(value("allowed_zones=london, virginia"), json!(["london", "virginia"]));
        assert_eq!(value("allowed_zones="), json!([]));
        assert!(parse_setting("view_only").is_err());
    }
}
