//! `meridian admin workspaces`: the catalogue, entry by entry and as files.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    files::{self, Files, Kind},
    output::{Column, confirmed, show_one, show_table},
    server::{Server, segment},
};
use crate::exit::{Failure, print};

const FIELDS: &str = "Fields, each as NAME=VALUE:
  name, description, icon       text
  image                         a reference, such as registry.example.org/desktop:1
  cpu, memory_mb, gpu           cores, MiB, graphics cards
  network                       none, internet or full
  seccomp                       default or chromium
  shm_mb, home_mb, tmp_mb       MiB
  pids_limit                    processes at most
  image_policy                  elsewhere or wait; null: as each zone says
  zones                         names with commas between: offered there alone; null: everywhere
  groups                        names with commas between: for their members alone; null: for everybody
  required_labels               what an agent must have, as KEY=VALUE with commas between; empty: nothing

Lists and labels may be JSON, too. A field that is left out stays, or is as in any new workspace.";

const CREATE_EXAMPLES: &str = "Examples:
  meridian admin workspaces create Drawing image=registry.example.org/drawing:4 cpu=2 memory_mb=4096
  meridian admin workspaces create Lab image=registry.example.org/lab:1 zones=london,virginia groups=Staff required_labels=gpu=yes";

const SET_EXAMPLES: &str = "Examples:
  meridian admin workspaces set Drawing image=registry.example.org/drawing:5
  meridian admin workspaces set Drawing name=Painting zones=null required_labels=";

#[derive(Subcommand)]
pub enum Workspaces {
    /// What you can launch.
    List {
        /// The whole catalogue, as administrators see it.
        #[arg(long)]
        all: bool,
    },
    /// Add an entry to the catalogue; its image has to be named.
    #[command(after_help = format!("{FIELDS}\n\n{CREATE_EXAMPLES}"))]
    Create {
        name: String,
        #[arg(value_name = "NAME=VALUE", required = true, value_parser = parse_field)]
        fields: Vec<(String, Value)>,
    },
    /// Change an entry, by name or id; name=NEW renames. What runs stays as it is.
    #[command(after_help = format!("{FIELDS}\n\n{SET_EXAMPLES}"))]
    Set {
        workspace: String,
        #[arg(value_name = "NAME=VALUE", required = true, value_parser = parse_field)]
        fields: Vec<(String, Value)>,
    },
    /// Take an entry out of the catalogue, by name or id; its sessions go on.
    #[command(after_help = "Example: meridian admin workspaces delete Drawing --yes")]
    Delete {
        workspace: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    #[command(flatten)]
    Files(Files),
}

/// A field as the API takes it: texts need no quotes, also where they look like a number.
fn parse_field(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("it is NAME=VALUE")?;
    let read = serde_json::from_str::<Value>(value).ok();
    let value = match (name, read) {
        ("name" | "description" | "icon" | "image" | "network" | "seccomp", _) => value.into(),
        ("zones" | "groups", Some(read @ (Value::Null | Value::Array(_)))) => read,
        ("zones" | "groups", _) => entries(value).collect::<Vec<_>>().into(),
        ("required_labels", Some(read @ Value::Object(_))) => read,
        ("required_labels", _) => labels(value)?.into(),
        (_, Some(read)) => read,
        (_, None) => value.into(),
    };
    Ok((name.to_owned(), value))
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn labels(list: &str) -> Result<Map<String, Value>, String> {
    let label = |entry: &str| {
        let (key, value) = entry.split_once('=').ok_or_else(|| format!("{entry} is no label: KEY=VALUE"))?;
        Ok((key.to_owned(), value.into()))
    };
    entries(list).map(label).collect()
}

pub async fn run(server: &Server, workspaces: Workspaces, json: bool) -> Result<(), Failure> {
    match workspaces {
        Workspaces::List { all } => {
            let list = server.call(Method::GET, &format!("/workspaces?all={all}"), None).await?;
            let columns = [
                Column("NAME", "name"),
                Column("IMAGE", "image"),
                Column("CPU", "cpu"),
                Column("MEMORY MB", "memory_mb"),
                Column("GPUS", "gpu"),
                Column("NETWORK", "network"),
                Column("ID", "id"),
            ];
            show_table(&list, &columns, "The catalogue is empty", json)
        }
        Workspaces::Create { name, fields } => {
            let mut body: Map<_, _> = fields.into_iter().collect();
            body.insert("name".into(), json!(name));
            let made = server.call(Method::POST, "/workspaces", Some(body.into())).await?;
            if json { show_one(&made) } else { print(&format!("made {name}")) }
        }
        Workspaces::Set { workspace, fields } => {
            let patch: Map<_, _> = fields.into_iter().collect();
            let changed = server.call(Method::PATCH, &path(&workspace), Some(patch.into())).await?;
            if json {
                show_one(&changed)
            } else {
                print(&format!("changed {}", changed["name"].as_str().unwrap_or(&workspace)))
            }
        }
        Workspaces::Delete { workspace, yes } => {
            if !yes && !confirmed(&format!("Delete workspace {workspace}? Its sessions go on."))? {
                return Err(Failure::new("nothing was deleted"));
            }
            server.call(Method::DELETE, &path(&workspace), None).await?;
            print(&format!("{workspace} is deleted; its sessions go on"))
        }
        Workspaces::Files(what) => files::run(server, Kind::Workspaces, what, json).await,
    }
}

fn path(workspace: &str) -> String {
    format!("/workspaces/{}", segment(workspace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_what_they_are() {
        let value = |text: &str| parse_field(text).unwrap().1;
        assert_eq!(value("cpu=1.5"), json!(1.5));
        assert_eq!(value("memory_mb=4096"), json!(4096));
        assert_eq!(value("description=2026"), json!("2026"));
        assert_eq!(value("name=null"), json!("null"));
        assert_eq!(value("image=registry.example.org/a:1"), json!("registry.example.org/a:1"));
        assert_eq!(value("image_policy=wait"), json!("wait"));
        assert_eq!(value("image_policy=null"), Value::Null);
        assert_eq!(value("zones=london, virginia"), json!(["london", "virginia"]));
        assert_eq!(value("zones=null"), Value::Null);
        assert_eq!(value("groups=[\"Staff, day\", \"7\"]"), json!(["Staff, day", "7"]));
        assert_eq!(value("groups=7"), json!(["7"]));
        assert_eq!(value("required_labels=gpu=yes, law=us"), json!({"gpu": "yes", "law": "us"}));
        assert_eq!(value("required_labels={\"gpu\": \"yes\"}"), json!({"gpu": "yes"}));
        assert_eq!(value("required_labels="), json!({}));
        for wrong in ["cpu", "required_labels=gpu"] {
            assert!(parse_field(wrong).is_err(), "{wrong}");
        }
    }
}
