//! `meridian admin`: a deployment over its public API.

mod account;
mod audit;
mod doctor;
mod explain;
pub mod files;
mod groups;
mod homes;
mod images;
mod keys;
mod output;
mod server;
mod sessions;
mod users;
mod watch;
mod workspaces;
mod zones;

use clap::{Args, Subcommand};
use meridian_control::app::words::counted;
use reqwest::Method;
use serde_json::{Value, json};

use self::{
    audit::Audit,
    groups::Groups,
    homes::Homes,
    images::Images,
    keys::Keys,
    output::{Column, show_one, show_table},
    server::{Access, MOST, Server, segment},
    users::{Policy, Users},
};
use crate::exit::{Failure, print};

#[derive(Args)]
#[command(after_help = "Examples:
  meridian admin login --url https://meridian.example.org --username admin
  meridian admin nodes enroll --zone london --role agent > agent.token
  meridian admin sessions list --all --json
  meridian admin groups set Guests view_only=true clipboard_out=false
  meridian admin policy show ada
  meridian admin images want london registry.example.org/desktop:1
  meridian admin keys create ci --permission zones:view --permission zones:modify --zone london

Where the server is and who asks is taken from flags, else from MERIDIAN_URL and MERIDIAN_API_KEY (or MERIDIAN_USERNAME and
MERIDIAN_PASSWORD), else from the profile that `meridian admin login` wrote.")]
pub struct AdminArguments {
    #[command(flatten)]
    access: Access,
    /// Print JSON, as the API gave it.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// What is not as it should be: of zones, names, entries and nodes.
    #[command(after_help = "It ends with 1 where it found anything.")]
    Doctor(doctor::Doctor),
    /// Why a session is where it is, why a launch was refused, or what would become of one.
    Explain(explain::Explain),
    /// Sign in and keep the login in a profile (0600).
    Login,
    /// Sign out, and forget the profile.
    Logout,
    /// Choose another password for yourself; the current and the new one are read from standard input.
    Password,
    /// The running roles.
    #[command(subcommand)]
    Nodes(Nodes),
    /// Launched workspaces.
    #[command(subcommand)]
    Sessions(sessions::Sessions),
    /// Accounts.
    #[command(subcommand)]
    Users(Users),
    /// Groups: what they decide about their members, and what members may administer.
    #[command(subcommand)]
    Groups(Groups),
    /// What holds for a user, and why.
    #[command(subcommand)]
    Policy(Policy),
    /// Images: what zones want on their agents, what is where, and logins for registries.
    #[command(subcommand)]
    Images(Images),
    /// Homes that outlive their sessions.
    #[command(subcommand)]
    Homes(Homes),
    /// API keys.
    #[command(subcommand)]
    Keys(Keys),
    /// What happened, newest first.
    Audit(Audit),
    /// Where workspaces run.
    #[command(subcommand)]
    Zones(zones::Zones),
    /// The catalogue: what can be launched, and all of it as files.
    #[command(subcommand)]
    Workspaces(workspaces::Workspaces),
}

#[derive(Subcommand)]
enum Nodes {
    /// Nodes with their states, by zone, role and name.
    List {
        /// Of this zone alone.
        #[arg(long)]
        zone: Option<String>,
        #[arg(long, value_parser = ["web", "proxy", "agent", "connect", "balance"])]
        role: Option<String>,
    },
    /// A single-use token with which a new node joins; printed alone, fit for a file.
    Enroll {
        #[arg(long)]
        zone: String,
        #[arg(long, value_parser = ["proxy", "agent", "connect", "balance"])]
        role: String,
    },
    /// Set an agent's labels, capacity and limits; what is left out stays.
    Set(NodeChange),
    /// Place nothing new on a node; what runs goes on.
    Drain { node: String },
    /// Let a node take work again.
    Undrain { node: String },
    /// Remove a node that does nothing any more; one that does not answer goes at once, and its sessions are lost.
    Remove {
        node: String,
        /// Drain it and end its sessions first; repeat it until the node is gone.
        #[arg(long)]
        drain: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Args)]
struct NodeChange {
    node: String,
    /// A label that it has, as KEY=VALUE; all labels are replaced by those named.
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
    /// Take all labels away.
    #[arg(long, conflicts_with = "labels")]
    no_labels: bool,
    /// Cores in place of what it reports; `none`: as it reports.
    #[arg(long)]
    cpu_override: Option<String>,
    /// MiB of memory, alike.
    #[arg(long)]
    memory_override: Option<String>,
    /// Graphics cards, alike.
    #[arg(long)]
    gpus_override: Option<String>,
    /// Sessions at most; `none`: as many as its resources bear.
    #[arg(long)]
    session_limit: Option<String>,
    /// How many times over its CPU is promised.
    #[arg(long)]
    cpu_overcommit: Option<f64>,
    #[arg(long)]
    memory_overcommit: Option<f64>,
    /// Whether it stays (true), or comes and goes with demand.
    #[arg(long = "static")]
    is_static: Option<bool>,
}

impl NodeChange {
    fn body(&self) -> Result<Value, Failure> {
        let mut body = serde_json::Map::new();
        if self.no_labels || !self.labels.is_empty() {
            let mut labels = serde_json::Map::new();
            for label in &self.labels {
                let (key, value) = label
                    .split_once('=')
                    .ok_or_else(|| Failure::new(format!("{label} is no label")).hint("KEY=VALUE").code(2))?;
                labels.insert(key.to_owned(), value.into());
            }
            body.insert("labels".into(), labels.into());
        }
        for (name, value) in [
            ("cpu_override", &self.cpu_override),
            ("memory_mb_override", &self.memory_override),
            ("gpus_override", &self.gpus_override),
            ("session_limit", &self.session_limit),
        ] {
            let Some(text) = value else { continue };
            let number = match text.as_str() {
                "none" => Value::Null,
                text => serde_json::from_str::<serde_json::Number>(text)
                    .map_err(|_| {
                        Failure::new(format!("{name}: {text} is neither a number nor none")).code(2)
                    })?
                    .into(),
            };
            body.insert(name.to_owned(), number);
        }
        for (name, factor) in
            [("cpu_overcommit", self.cpu_overcommit), ("memory_overcommit", self.memory_overcommit)]
        {
            body.extend(factor.map(|factor| (name.to_owned(), json!(factor))));
        }
        body.extend(self.is_static.map(|is_static| ("static".to_owned(), json!(is_static))));
        Ok(body.into())
    }
}

pub async fn run(arguments: AdminArguments) -> Result<(), Failure> {
    let AdminArguments { access, json, command } = arguments;
    if matches!(command, Command::Login) {
        let server = Server::sign_in(&access).await?;
        server.keep()?;
        return print(&format!("signed in at {}", server.url()));
    }
    let server = Server::open(&access).await?;
    match command {
        Command::Login => Ok(()),
        Command::Logout => account::log_out(&server).await,
        Command::Password => account::change_password(&server).await,
        Command::Doctor(what) => doctor::run(&server, what, json).await,
        Command::Explain(what) => explain::run(&server, what, json).await,
        Command::Nodes(nodes) => run_nodes(&server, nodes, json).await,
        Command::Sessions(sessions) => sessions::run(&server, sessions, json).await,
        Command::Users(users) => users::run(&server, users, json).await,
        Command::Groups(groups) => groups::run(&server, groups, json).await,
        Command::Policy(policy) => users::run_policy(&server, policy, json).await,
        Command::Images(images) => images::run(&server, images, json).await,
        Command::Homes(homes) => homes::run(&server, homes, json).await,
        Command::Keys(keys) => keys::run(&server, keys, json).await,
        Command::Audit(audit) => audit::run(&server, audit, json).await,
        Command::Zones(what) => zones::run(&server, what, json).await,
        Command::Workspaces(what) => workspaces::run(&server, what, json).await,
    }
}

async fn run_nodes(server: &Server, nodes: Nodes, json: bool) -> Result<(), Failure> {
    match nodes {
        Nodes::List { zone, role } => {
            let which = [("zone", zone), ("role", role)];
            let which =
                which.iter().filter_map(|(name, value)| Some(format!("{name}={}", segment(value.as_ref()?))));
            let list = server.list(&format!("/nodes?{}", which.collect::<Vec<_>>().join("&")), MOST).await?;
            let columns = [
                Column("NAME", "name"),
                Column("ROLE", "role"),
                Column("ZONE", "zone"),
                Column("STATE", "state"),
                Column("SESSIONS", "sessions"),
                Column("STREAMS", "streams"),
                Column("DATABASE MS", "database_ms"),
                Column("VERSION", "version"),
                Column("ID", "id"),
            ];
            show_table(
                &list,
                &columns,
                "No node has joined yet: meridian admin nodes enroll makes a token for one",
                json,
            )
        }
        Nodes::Enroll { zone, role } => {
            let made = server
                .call(Method::POST, "/nodes/enrollments", Some(json!({"role": role, "zone": zone})))
                .await?;
            if json { show_one(&made) } else { print(made["token"].as_str().unwrap_or_default()) }
        }
        Nodes::Set(change) => {
            let id = find_node(server, &change.node).await?;
            let node = server.call(Method::PATCH, &format!("/nodes/{id}"), Some(change.body()?)).await?;
            let capacity = json!({"items": [node["capacity"]]});
            let columns = [
                Column("CPU", "cpu"),
                Column("MEMORY MB", "memory_mb"),
                Column("GPUS", "gpus"),
                Column("SESSIONS", "sessions"),
                Column("STATIC", "static"),
                Column("LABELS", "labels"),
            ];
            if json { show_one(&node) } else { show_table(&capacity, &columns, "It is no agent", false) }
        }
        Nodes::Drain { node } => {
            server
                .call(Method::POST, &format!("/nodes/{}/drain", find_node(server, &node).await?), None)
                .await?;
            print(&format!(
                "{node} takes nothing new; what runs on it goes on, and viewers move away from a proxy. STREAMS in \
                 `meridian admin nodes list` says how many are left"
            ))
        }
        Nodes::Undrain { node } => {
            server
                .call(Method::POST, &format!("/nodes/{}/undrain", find_node(server, &node).await?), None)
                .await?;
            print(&format!("{node} takes new work again"))
        }
        Nodes::Remove { node, drain, yes } => {
            if !yes && !output::confirmed(&format!("Remove node {node}? Sessions on it end."))? {
                return Err(Failure::new("nothing was removed"));
            }
            let path = format!("/nodes/{}/remove?drain={drain}", find_node(server, &node).await?);
            let stands = server.call(Method::POST, &path, None).await?;
            if json {
                return show_one(&stands);
            }
            if stands["state"] == "draining" {
                let number = |key: &str| stands[key].as_i64().unwrap_or_default();
                let sessions = counted(number("sessions"), "session", "sessions");
                let streams = counted(number("streams"), "stream", "streams");
                print(&format!("{node} drains: left are {sessions} and {streams}; repeat this"))
            } else {
                print(&format!("{node} is removed; to use the machine again, enrol it anew"))
            }
        }
    }
}

/// A node's id by its name or id.
async fn find_node(server: &Server, node: &str) -> Result<String, Failure> {
    let list = server.call(Method::GET, &format!("/nodes?node={}", segment(node)), None).await?;
    let id = list["items"][0]["id"].as_str().map(str::to_owned);
    id.ok_or_else(|| {
        Failure::new(format!("there is no node {node}")).hint("See meridian admin nodes list").code(3)
    })
}
