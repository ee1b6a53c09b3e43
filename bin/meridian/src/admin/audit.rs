//! `meridian admin audit`.

use clap::Args;

use super::{
    output::{Column, show_table},
    server::{Server, segment},
};
use crate::exit::Failure;

#[derive(Args)]
pub struct Audit {
    /// Who did it, by name or id.
    #[arg(long)]
    user: Option<String>,
    /// The API key that it was done with, by name or id.
    #[arg(long)]
    key: Option<String>,
    /// What was done, such as launch, sign_in or update_group.
    #[arg(long)]
    action: Option<String>,
    /// What it was done to.
    #[arg(long)]
    target: Option<String>,
    /// How it ended, such as ok or refused.
    #[arg(long)]
    outcome: Option<String>,
    /// From this time on, such as 2026-11-23T08:00:00Z.
    #[arg(long)]
    since: Option<String>,
    /// Before this time.
    #[arg(long)]
    until: Option<String>,
    /// At most so many entries.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

pub async fn run(server: &Server, audit: Audit, json: bool) -> Result<(), Failure> {
    let filters = [
        ("user", audit.user),
        ("key", audit.key),
        ("action", audit.action),
        ("target", audit.target),
        ("outcome", audit.outcome),
        ("since", audit.since),
        ("until", audit.until),
    ];
    let query: Vec<_> = filters
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", segment(&value?))))
        .collect();
    let path = if query.is_empty() { "/audit".to_owned() } else { format!("/audit?{}", query.join("&")) };
    let list = server.list(&path, audit.limit).await?;
    let columns = [
        Column("TIME", "at"),
        Column("USER", "user.name"),
        Column("KEY", "key.name"),
        Column("ACTION", "action"),
        Column("TARGET", "target"),
        Column("OUTCOME", "outcome"),
        Column("NODE", "node.name"),
        Column("ADDRESS", "address"),
        Column("DETAIL", "detail"),
    ];
    show_table(&list, &columns, "Nothing like that is in the audit log", json)
}
