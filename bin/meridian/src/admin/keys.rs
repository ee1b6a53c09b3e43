//! `meridian admin keys`.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    output::{Column, confirmed, show_one, show_table},
    server::{MOST, Server, segment},
};
use crate::exit::{Failure, print};

#[derive(Subcommand)]
pub enum Keys {
    /// Your keys, newest first.
    List {
        /// Somebody else's, by name or id.
        #[arg(long)]
        user: Option<String>,
        /// Everybody's.
        #[arg(long, conflicts_with = "user")]
        all: bool,
    },
    /// Make a key for yourself. It is printed alone, once, fit for a file.
    Create {
        name: String,
        /// One of your permissions, such as zones:view, or sessions:own to use your own sessions; as often as needed.
        #[arg(long = "permission", value_name = "PERMISSION", required = true)]
        permissions: Vec<String>,
        #[arg(long, default_value_t = 90)]
        days: i32,
        /// Only for this zone; as often as needed.
        #[arg(long = "zone", value_name = "ZONE")]
        zones: Vec<String>,
    },
    /// Revoke a key at once, by its id.
    Revoke {
        key: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

pub async fn run(server: &Server, keys: Keys, json: bool) -> Result<(), Failure> {
    match keys {
        Keys::List { user, all } => {
            let path = match user {
                Some(user) => format!("/api-keys?user={}", segment(&user)),
                None => format!("/api-keys?all={all}"),
            };
            let list = server.list(&path, MOST).await?;
            let columns = [
                Column("NAME", "name"),
                Column("USER", "user.name"),
                Column("KEY", "hint"),
                Column("STATE", "state"),
                Column("EXPIRES", "expires_at"),
                Column("LAST USED", "last_used_at"),
                Column("ZONES", "zones"),
                Column("PERMISSIONS", "permissions"),
                Column("ID", "id"),
            ];
            show_table(&list, &columns, "There are no keys", json)
        }
        Keys::Create { name, permissions, days, zones } => {
            let zones = if zones.is_empty() { Value::Null } else { json!(zones) };
            let body =
                json!({"name": name, "permissions": permissions, "expires_in_days": days, "zones": zones});
            let made = server.call(Method::POST, "/api-keys", Some(body)).await?;
            if json { show_one(&made) } else { print(made["token"].as_str().unwrap_or_default()) }
        }
        Keys::Revoke { key, yes } => {
            if !yes && !confirmed(&format!("Revoke key {key}? Programs that use it are refused at once."))? {
                return Err(Failure::new("nothing was revoked"));
            }
            server.call(Method::DELETE, &format!("/api-keys/{}", segment(&key)), None).await?;
            print(&format!("{key} is revoked"))
        }
    }
}
