//! `meridian admin workspaces`.

use clap::Subcommand;
use reqwest::Method;

use super::{
    files::{self, Files, Kind},
    output::{Column, show_table},
    server::Server,
};
use crate::exit::Failure;

#[derive(Subcommand)]
pub enum Workspaces {
    /// What you can launch.
    List {
        /// The whole catalogue, as administrators see it.
        #[arg(long)]
        all: bool,
    },
    #[command(flatten)]
    Files(Files),
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
        Workspaces::Files(what) => files::run(server, Kind::Workspaces, what, json).await,
    }
}
