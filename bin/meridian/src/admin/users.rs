//! `meridian admin users` and `policy`.

use clap::Subcommand;
use meridian_control::app::words::counted;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    output::{Column, confirmed, read_secret, show_one, show_table},
    server::{MOST, Server, segment},
};
use crate::exit::{Failure, print};

#[derive(Subcommand)]
pub enum Users {
    /// Accounts by name.
    List {
        /// Only those whose name has this in it.
        #[arg(long, default_value = "")]
        search: String,
    },
    /// One account, by name or id.
    Show { user: String },
    /// Make an account; the password is read from standard input.
    Create {
        /// The new account's name. Not `username`: that is who asks.
        #[arg(value_name = "USERNAME")]
        account: String,
        /// An administrator.
        #[arg(long)]
        admin: bool,
        /// The user chooses a password of their own at the first sign-in.
        #[arg(long)]
        must_change_password: bool,
    },
    /// Give an account another name.
    Rename { user: String, name: String },
    /// Set a password, read from standard input; the user's logins end.
    SetPassword {
        user: String,
        /// The user chooses a password of their own at the next sign-in.
        #[arg(long)]
        must_change: bool,
    },
    /// The user must choose a new password before anything else.
    RequirePassword { user: String },
    /// Keep somebody from signing in; what runs goes on.
    Lock { user: String },
    /// Let somebody sign in again.
    Unlock { user: String },
    /// Keep somebody from signing in, and cut their live streams; their sessions stay.
    Disable { user: String },
    /// Take a disabling back.
    Enable { user: String },
    /// Set the account's own limit of sessions; `groups` leaves it to its groups.
    SetLimit {
        user: String,
        #[arg(value_parser = parse_limit)]
        limit: Limit,
    },
    /// Set the account's own home zone, which comes before those of its groups; `groups` leaves it to them.
    #[command(after_help = "Examples:
  meridian admin users set-home-zone ada virginia
  meridian admin users set-home-zone ada groups

A zone that is called groups is named by its id.")]
    SetHomeZone { user: String, zone: String },
    /// Delete an account. Its sessions end, and everything in them is removed.
    Delete {
        user: String,
        /// Do not ask; end its sessions, too.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Subcommand)]
pub enum Policy {
    /// Each setting that holds for a user, and the group it comes from.
    Show { user: String },
    /// Every setting that groups can decide, what it means and what it takes.
    Settings,
}

/// A limit of an account's own, or none.
#[derive(Clone, Copy, Debug)]
pub struct Limit(Option<u32>);

fn parse_limit(text: &str) -> Result<Limit, String> {
    if text == "groups" {
        return Ok(Limit(None));
    }
    text.parse().map(|limit| Limit(Some(limit))).map_err(|_| "it is a number, or the word groups".into())
}

pub async fn run(server: &Server, users: Users, json: bool) -> Result<(), Failure> {
    let change = async |user: &str, patch: Value, said: String| {
        let path = format!("/users/{}", segment(user));
        let changed = server.call(Method::PATCH, &path, Some(patch)).await?;
        if json { show_one(&changed) } else { print(&said) }
    };
    match users {
        Users::List { search } => {
            let mut list = server.list(&format!("/users?search={}", segment(&search)), MOST).await?;
            list["items"].as_array_mut().into_iter().flatten().for_each(summarise);
            let columns = [
                Column("NAME", "name"),
                Column("ROLE", "role"),
                Column("STATE", "state"),
                Column("SESSIONS", "sessions"),
                Column("LIMIT", "session_limit"),
                Column("HOME ZONE", "home_zone"),
                Column("GROUPS", "group_names"),
                Column("ID", "id"),
            ];
            show_table(&list, &columns, "No user is called like that", json)
        }
        Users::Show { user } => {
            show_one(&server.call(Method::GET, &format!("/users/{}", segment(&user)), None).await?)
        }
        Users::Create { account, admin, must_change_password } => {
            let password = read_secret("Password for the new account: ")?;
            let role = if admin { "admin" } else { "user" };
            let body = json!({"username": account, "password": password, "role": role,
                "must_change_password": must_change_password});
            let made = server.call(Method::POST, "/users", Some(body)).await?;
            if json { show_one(&made) } else { print(&format!("made {account}")) }
        }
        Users::Rename { user, name } => {
            change(&user, json!({"name": name}), format!("{user} is called {name} now")).await
        }
        Users::SetPassword { user, must_change } => {
            let password = read_secret(&format!("New password of {user}: "))?;
            let mut patch = Map::from_iter([("password".to_owned(), password.into())]);
            if must_change {
                patch.insert("must_change_password".into(), true.into());
            }
            change(&user, patch.into(), format!("{user} has a new password, and is signed out everywhere"))
                .await
        }
        Users::RequirePassword { user } => {
            let said = format!("{user} must choose a new password before anything else");
            change(&user, json!({"must_change_password": true}), said).await
        }
        Users::Lock { user } => {
            change(&user, json!({"locked": true}), format!("{user} is locked; what runs goes on")).await
        }
        Users::Unlock { user } => {
            change(&user, json!({"locked": false}), format!("{user} can sign in again")).await
        }
        Users::Disable { user } => {
            let said = format!("{user} is disabled, and their streams are cut; their sessions stay");
            change(&user, json!({"disabled": true}), said).await
        }
        Users::Enable { user } => {
            change(&user, json!({"disabled": false}), format!("{user} is enabled")).await
        }
        Users::SetLimit { user, limit: Limit(limit) } => {
            let said = match limit {
                Some(limit) => format!("{user} may hold {}", counted(limit, "session", "sessions")),
                None => format!("groups decide how many sessions {user} may hold"),
            };
            change(&user, json!({"session_limit": limit}), said).await
        }
        Users::SetHomeZone { user, zone } => {
            let zone = (zone != "groups").then_some(zone);
            let said = match &zone {
                Some(zone) => format!("{user} is at home in {zone}"),
                None => format!("groups decide where {user} is at home"),
            };
            change(&user, json!({"home_zone": zone}), said).await
        }
        Users::Delete { user, yes } => {
            let question = format!("Delete {user}? Their sessions end, and everything in them is removed.");
            if !yes && !confirmed(&question)? {
                return Err(Failure::new("nothing was deleted"));
            }
            let path = format!("/users/{}?end_sessions=true", segment(&user));
            server.call(Method::DELETE, &path, None).await?;
            print(&format!("{user} is deleted"))
        }
    }
}

/// A row's state and groups in a word each.
fn summarise(user: &mut Value) {
    let on = |field: &str| user[field] == json!(true);
    let state =
        [("disabled", "disabled"), ("locked", "locked"), ("must_change_password", "new password due")]
            .into_iter()
            .find(|(field, _)| on(field))
            .map_or("active", |(_, word)| word);
    let names: Vec<_> =
        user["groups"].as_array().into_iter().flatten().filter_map(|group| group["name"].as_str()).collect();
    let names = if names.is_empty() { "-".to_owned() } else { names.join(", ") };
    user["state"] = state.into();
    user["group_names"] = names.into();
}

pub async fn run_policy(server: &Server, policy: Policy, json: bool) -> Result<(), Failure> {
    match policy {
        Policy::Show { user } => {
            let mut shown =
                server.call(Method::GET, &format!("/users/{}/policy", segment(&user)), None).await?;
            if !json {
                for item in shown["items"].as_array_mut().into_iter().flatten() {
                    let from = match (item["source"].as_str(), item["group"]["name"].as_str()) {
                        (Some("group"), Some(group)) => {
                            format!("{group} (priority {})", item["group"]["priority"])
                        }
                        (Some("account"), _) => "the account itself".into(),
                        (_, _) => "default".into(),
                    };
                    item["from"] = from.into();
                }
            }
            let columns = [Column("SETTING", "setting"), Column("VALUE", "value"), Column("FROM", "from")];
            show_table(&shown, &columns, "There are no settings", json)
        }
        Policy::Settings => {
            let list = server.call(Method::GET, "/policy/settings", None).await?;
            let columns = [
                Column("SETTING", "name"),
                Column("DEFAULT", "default"),
                Column("TAKES", "wanted"),
                Column("MEANING", "meaning"),
            ];
            show_table(&list, &columns, "There are no settings", json)
        }
    }
}
