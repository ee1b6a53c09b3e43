//! `meridian admin images`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    output::{Column, confirmed, read_secret, show_one, show_table},
    server::{MOST, Server, segment},
};
use crate::exit::{Failure, print};

const MB: f64 = 1_048_576.0;

#[derive(Subcommand)]
pub enum Images {
    /// What a zone wants on each of its agents.
    List { zone: String },
    /// Want images on each of a zone's agents: they load them ahead of need.
    Want {
        zone: String,
        /// With a tag or a digest, such as registry.example.org/desktop:1.
        #[arg(required = true)]
        references: Vec<String>,
    },
    /// Want an image no longer; agents keep what they have.
    Unwant { zone: String, reference: String },
    /// What is where: zone by image by agent, with what is not as it should be.
    Matrix {
        /// This zone alone.
        #[arg(long)]
        zone: Option<String>,
        /// Only images that something is wrong with.
        #[arg(long)]
        warnings: bool,
    },
    /// Who a zone's agents are at registries.
    Logins { zone: String },
    /// Set the login that a zone's agents use at a registry; the password is asked for, or read from standard input.
    Login {
        zone: String,
        /// As references begin with it, such as registry.example.org:5000.
        host: String,
        #[arg(long)]
        user: String,
    },
    /// Take a login away from a zone's agents.
    Logout {
        zone: String,
        host: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(server: &Server, images: Images, json: bool) -> Result<(), Failure> {
    let path = |zone: &str, what: &str| format!("/zones/{}/{what}", segment(zone));
    match images {
        Images::List { zone } => {
            let list = server.call(Method::GET, &path(&zone, "images"), None).await?;
            let columns = [
                Column("REFERENCE", "reference"),
                Column("WANTED BY", "wanted_by"),
                Column("SINCE", "wanted_at"),
            ];
            show_table(&list, &columns, "The zone wants no images", json)
        }
        Images::Want { zone, references } => {
            for reference in &references {
                let body = json!({"reference": reference});
                server.call(Method::PUT, &path(&zone, "images"), Some(body)).await?;
            }
            print(&format!(
                "{zone} wants {}; `meridian admin images matrix --zone {zone}` shows how far its agents are",
                references.join(", ")
            ))
        }
        Images::Unwant { zone, reference } => {
            let path = format!("{}?reference={}", path(&zone, "images"), segment(&reference));
            server.call(Method::DELETE, &path, None).await?;
            print(&format!("{zone} does not want {reference} any more; agents that have it keep it"))
        }
        Images::Matrix { zone, warnings } => {
            let query = zone.map(|zone| format!("?zone={}", segment(&zone))).unwrap_or_default();
            let mut list = server.list(&format!("/images{query}"), MOST).await?;
            if let Some(items) = list["items"].as_array_mut().filter(|_| warnings) {
                items.retain(|row| row["warnings"].as_array().is_some_and(|warnings| !warnings.is_empty()));
            }
            if json { show_one(&list) } else { show_matrix(&list) }
        }
        Images::Logins { zone } => {
            let list = server.call(Method::GET, &path(&zone, "registries"), None).await?;
            let columns = [
                Column("REGISTRY", "host"),
                Column("USER", "username"),
                Column("SET BY", "set_by"),
                Column("SET AT", "set_at"),
            ];
            show_table(&list, &columns, "The zone has no logins for registries", json)
        }
        Images::Login { zone, host, user } => {
            let password = read_secret(&format!("Password of {user} at {host}: "))?;
            let body = json!({"host": host, "username": user, "password": password});
            server.call(Method::PUT, &path(&zone, "registries"), Some(body)).await?;
            print(&format!("the agents of {zone} are {user} at {host}"))
        }
        Images::Logout { zone, host, yes } => {
            if !yes && !confirmed(&format!("Take the login for {host} away from the agents of {zone}?"))? {
                return Err(Failure::new("nothing was taken away"));
            }
            let path = format!("{}?host={}", path(&zone, "registries"), segment(&host));
            server.call(Method::DELETE, &path, None).await?;
            print(&format!("the agents of {zone} are nobody at {host}"))
        }
    }
}

/// A line for each image and agent, and beneath the table what is not as it should be.
fn show_matrix(list: &Value) -> Result<(), Failure> {
    let rows = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let lines: Vec<Value> = rows.iter().flat_map(lines_of).collect();
    let columns = [
        Column("ZONE", "zone"),
        Column("IMAGE", "reference"),
        Column("WANTED", "wanted"),
        Column("AGENT", "agent"),
        Column("STATE", "state"),
        Column("SIZE", "size"),
        Column("DIGEST", "digest"),
        Column("DISK FREE", "disk_free"),
    ];
    show_table(&json!({"items": lines}), &columns, "No zone wants an image, and no agent has one", false)?;
    let warnings: Vec<String> = rows.iter().flat_map(warnings_of).collect();
    if warnings.is_empty() { Ok(()) } else { print(&format!("\n{}", warnings.join("\n"))) }
}

fn lines_of(row: &Value) -> Vec<Value> {
    let line = |cell: &Value| {
        json!({
            "zone": row["zone"], "reference": row["reference"], "wanted": if row["wanted"] == true { "yes" } else { "no" },
            "agent": cell["agent"], "state": state_of(cell), "size": megabytes(&cell["size_bytes"]),
            "digest": short(cell), "disk_free": gigabytes(&cell["disk_free_mb"]),
        })
    };
    match row["agents"].as_array().map(Vec::as_slice) {
        Some([]) | None => vec![line(&Value::Null)],
        Some(cells) => cells.iter().map(line).collect(),
    }
}

fn state_of(cell: &Value) -> Option<String> {
    let state = cell["state"].as_str()?;
    let shown = match (cell["done_bytes"].as_u64(), cell["total_bytes"].as_u64()) {
        (Some(done), Some(total)) if total > 0 => format!("{state} {}%", done.saturating_mul(100) / total),
        (Some(_) | None, Some(_) | None) => state.to_owned(),
    };
    Some(if cell["reachable"] == false { format!("{shown} (unreachable)") } else { shown })
}

/// So much of a digest as tells it from others.
fn short(cell: &Value) -> Option<String> {
    let digest = cell["digest"].as_str().or_else(|| cell["image_id"].as_str())?;
    Some(digest.trim_start_matches("sha256:").chars().take(12).collect())
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn megabytes(bytes: &Value) -> Option<String> {
    bytes.as_u64().map(|bytes| format!("{:.0} MB", bytes as f64 / MB))
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn gigabytes(mb: &Value) -> Option<String> {
    mb.as_u64().map(|mb| format!("{:.1} GB", mb as f64 / 1024.0))
}

fn warnings_of(row: &Value) -> Vec<String> {
    let name = format!(
        "{} {}",
        row["zone"].as_str().unwrap_or_default(),
        row["reference"].as_str().unwrap_or_default()
    );
    let warnings = row["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
    warnings.map(|warning| format!("warning: {name}: {warning}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_says_how_far_it_is_and_whether_its_agent_is_heard() {
        let cell = json!({"state": "pulling", "done_bytes": 1, "total_bytes": 4, "reachable": true});
        assert_eq!(state_of(&cell).as_deref(), Some("pulling 25%"));
        let cell = json!({"state": "present", "reachable": false});
        assert_eq!(state_of(&cell).as_deref(), Some("present (unreachable)"));
        let row = json!({"zone": "london", "reference": "a:1", "wanted": true, "agents": [], "warnings": ["it is so"]});
        assert_eq!(lines_of(&row)[0]["agent"], Value::Null, "a zone without agents has its line");
        assert_eq!(warnings_of(&row), ["warning: london a:1: it is so"]);
    }
}
