//! `meridian admin doctor`: what is not as it should be, as the deployment says of itself and as this machine sees it. It changes nothing.
//!
//! Of each zone: what its requirements warn of, names that do not resolve here, and whether a proxy answers at its entry. Of nodes: those that do
//! not answer, and what the others complain of. It ends with 1 where it found anything.

use std::time::Duration;

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{net::lookup_host, time::timeout};

use super::{
    output::{Column, show_table},
    server::{MOST, Server, segment},
};
use crate::exit::{Failure, print};

const RESOLVE_LIMIT: Duration = Duration::from_secs(5);

#[derive(Args)]
pub struct Doctor {
    /// Look at this zone and its nodes alone.
    #[arg(long)]
    zone: Option<String>,
}

impl Doctor {
    fn is_about(&self, zone: &str) -> bool {
        self.zone.as_deref().is_none_or(|wanted| wanted == zone)
    }
}

/// What was found, item by item.
#[derive(Default)]
struct Findings(Vec<Value>);

impl Findings {
    fn add(&mut self, about: &str, code: &str, message: &str) {
        self.0.push(json!({"about": about, "code": code, "message": message}));
    }
}

pub async fn run(server: &Server, doctor: Doctor, json: bool) -> Result<(), Failure> {
    let mut findings = Findings::default();
    let zones = server.call(Method::GET, "/zones", None).await?;
    let zones: Vec<&Value> = items(&zones).filter(|zone| doctor.is_about(text(zone, "name"))).collect();
    if let (Some(wanted), true) = (&doctor.zone, zones.is_empty()) {
        return Err(Failure::new(format!("there is no zone {wanted}"))
            .hint("See meridian admin zones list")
            .code(3));
    }
    for zone in zones {
        look_at_zone(server, zone, &mut findings).await?;
    }
    let nodes = server.list("/nodes", MOST).await?;
    for node in items(&nodes).filter(|node| node["zone"].as_str().is_none_or(|zone| doctor.is_about(zone))) {
        look_at_node(node, &mut findings);
    }
    let Findings(found) = findings;
    if found.is_empty() && !json {
        return print("Nothing is wrong, as far as it can be seen from here");
    }
    let count = found.len();
    let columns = [Column("ABOUT", "about"), Column("CODE", "code"), Column("WHAT", "message")];
    show_table(&json!({"items": found}), &columns, "Nothing is wrong", json)?;
    match count {
        0 => Ok(()),
        1 => Err(Failure::new("one thing is not as it should be")),
        _ => Err(Failure::new(format!("{count} things are not as they should be"))),
    }
}

async fn look_at_zone(server: &Server, zone: &Value, findings: &mut Findings) -> Result<(), Failure> {
    let about = format!("zone {}", text(zone, "name"));
    let path = format!("/zones/{}/requirements", segment(text(zone, "name")));
    let needs = server.call(Method::GET, &path, None).await?;
    for warning in needs["warnings"].as_array().into_iter().flatten() {
        findings.add(&about, text(warning, "code"), text(warning, "message"));
    }
    for need in needs["dns"].as_array().into_iter().flatten() {
        let (name, points_to) = (text(need, "name"), text(need, "points_to"));
        if !resolves(name).await {
            let message = format!("{name} does not resolve on this machine; it must point to {points_to}");
            findings.add(&about, "name_unresolved", &message);
        }
    }
    // Where streams go straight to agents there is no entry to ask.
    if zone["proxy_connections"] != false
        && let Err(why) = server.probe(text(zone, "probe")).await
    {
        let message = format!("no proxy answers at {}: {why}", text(zone, "probe"));
        findings.add(&about, "entry_silent", &message);
    }
    Ok(())
}

fn look_at_node(node: &Value, findings: &mut Findings) {
    let about = format!("{} {}", text(node, "role"), text(node, "name"));
    match text(node, "state") {
        "unreachable" => findings.add(&about, "unreachable", "it does not answer"),
        "enrolled" => findings.add(&about, "never_seen", "it was enrolled, and never heard of since"),
        _ => {}
    }
    for problem in node["problems"].as_array().into_iter().flatten() {
        findings.add(&about, text(problem, "code"), text(problem, "message"));
    }
}

/// Whatever the resolver says in time: names of this machine's own files count, too.
async fn resolves(name: &str) -> bool {
    match timeout(RESOLVE_LIMIT, lookup_host((name, 443))).await {
        Ok(Ok(mut addresses)) => addresses.next().is_some(),
        Ok(Err(_)) | Err(_) => false,
    }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
