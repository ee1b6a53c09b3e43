//! Which part runs on which host, and what each is told.
//!
//! Everything there is two of: Web App nodes in the primary region, and proxies, agents and entry balancers in each zone. A zone has one private
//! balancer, and the primary region one balancer in front of its Web App nodes. A host has one part.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::Result;
use meridian_model::{NodeRole, ZoneSettings};
use meridian_settings::{
    AgentSettings, BackendSettings, BalanceSettings, CheckKind, CheckSettings, FurnishEnrollment,
    FurnishSettings, FurnishZone, NodeSection, ProxySettings, RouteSettings, WebSettings,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{front::Front, lean::lean};
use crate::net::address;

/// A zone and its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) name: &'static str,
    pub(crate) region: u8,
}

/// The zone whose parts are broken.
pub(crate) const LONDON: Zone = Zone { name: "london", region: 2 };
/// The zone in the primary region.
pub(crate) const VIRGINIA: Zone = Zone { name: "virginia", region: PRIMARY };
pub(crate) const ZONES: [Zone; 2] = [LONDON, VIRGINIA];
pub(crate) const PRIMARY: u8 = 1;
/// Where viewers are, and the lab itself.
pub(crate) const PEOPLE: u8 = 9;
pub(crate) const PEOPLE_HOST: u8 = 2;

/// Entries, proxies and agents of a zone, and Web App nodes: each.
pub(crate) const EACH: u8 = 2;
/// What an agent promises: simulated workspaces use nothing, and Docker's are few and small.
const CPU_MILLI: i64 = 400_000;
const MEMORY_MB: i64 = 1_000_000;
const PUBLIC: u16 = 443;
const NODES: u16 = 7443;
const PRIVATE: u16 = 8443;
const AGENT: u16 = 8445;
const OPS: u16 = 9100;

/// A part: its name, the subcommand that runs it, and its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) command: &'static str,
    pub(crate) region: u8,
    pub(crate) host: u8,
}

impl Part {
    fn new(name: String, command: &'static str, region: u8, host: u8) -> Self {
        Self { name, command, region, host }
    }

    pub(crate) fn web(number: u8) -> Self {
        Self::new(format!("web-primary-{number}"), "web", PRIMARY, 10 + number)
    }

    pub(crate) fn primary_balancer() -> Self {
        Self::new("balance-primary-1".into(), "balance", PRIMARY, 10)
    }

    pub(crate) fn private_balancer(zone: Zone) -> Self {
        Self::new(format!("balance-{}-private", zone.name), "balance", zone.region, 20)
    }

    pub(crate) fn entry(zone: Zone, number: u8) -> Self {
        Self::new(format!("balance-{}-entry-{number}", zone.name), "balance", zone.region, 20 + number)
    }

    pub(crate) fn proxy(zone: Zone, number: u8) -> Self {
        Self::new(format!("proxy-{}-{number}", zone.name), "proxy", zone.region, 30 + number)
    }

    pub(crate) fn agent(zone: Zone, number: u8) -> Self {
        Self::new(format!("agent-{}-{number}", zone.name), "agent", zone.region, 40 + number)
    }

    /// The parts of a zone.
    pub(crate) fn of_zone(zone: Zone) -> Vec<Self> {
        let each = |part: fn(Zone, u8) -> Self| (1..=EACH).map(move |number| part(zone, number));
        std::iter::once(Self::private_balancer(zone))
            .chain(each(Self::agent))
            .chain(each(Self::proxy))
            .chain(each(Self::entry))
            .collect()
    }

    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::from((self.address(), port))
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        address(self.region, self.host)
    }

    pub(crate) fn public(&self) -> SocketAddr {
        self.at(PUBLIC)
    }

    /// Whether people's connections end here or pass through.
    pub(crate) fn is_entry(&self) -> bool {
        let entries =
            ZONES.into_iter().flat_map(|zone| (1..=EACH).map(move |number| Self::entry(zone, number)));
        entries.chain([Self::primary_balancer()]).any(|entry| entry == *self)
    }

    pub(crate) fn ops(&self) -> SocketAddr {
        self.at(OPS)
    }
}

/// The parts whose disks are their own, where a scenario asks for it: one agent and one proxy of the zone that is broken.
pub(crate) fn with_own_disks() -> Vec<Part> {
    vec![Part::agent(LONDON, 1), Part::proxy(LONDON, 1)]
}

/// The primary's public address.
pub(crate) fn public_url() -> String {
    format!("https://{}", public_entry().0)
}

/// Its address and port.
pub(crate) fn public_entry() -> (Ipv4Addr, u16) {
    (Part::primary_balancer().address(), PUBLIC)
}

/// The name under which browsers find a zone's entries.
pub(crate) fn entry_name(zone: Zone) -> String {
    format!("{}.meridian.test", zone.name)
}

/// A name of the Web App nodes, for peers that judge their certificate.
pub(crate) fn web_name() -> &'static str {
    "meridian.test"
}

/// What a name server would answer.
pub(crate) fn resolve(name: &str) -> Vec<IpAddr> {
    let zone = ZONES.into_iter().find(|zone| entry_name(*zone) == name);
    let entries = zone.into_iter().flat_map(|zone| (1..=EACH).map(move |number| Part::entry(zone, number)));
    entries.map(|entry| entry.at(PUBLIC).ip()).collect()
}

/// The same, as lines of /etc/hosts.
pub(crate) fn hosts() -> String {
    let zones = ZONES.into_iter().map(entry_name);
    let lines =
        zones.flat_map(|name| resolve(&name).into_iter().map(move |address| format!("{address} {name}\n")));
    std::iter::once("127.0.0.1 localhost\n".to_owned()).chain(lines).collect()
}

/// Names and addresses that the public certificate is for.
pub(crate) fn certificate_names() -> Vec<String> {
    let zones = ZONES.into_iter().map(entry_name);
    zones.chain([public_entry().0.to_string(), web_name().into()]).collect()
}

/// Where the parts keep what they have, and what they are told of secrets.
pub(crate) struct Folder {
    pub(crate) root: PathBuf,
    /// Where workspaces' displays are.
    pub(crate) run: PathBuf,
    pub(crate) engine: &'static str,
    pub(crate) front: Front,
}

impl Folder {
    pub(crate) fn config(&self, part: &Part) -> PathBuf {
        self.root.join("config").join(format!("{}.toml", part.name))
    }

    pub(crate) fn log(&self, part: &Part) -> PathBuf {
        self.root.join("logs").join(format!("{}.log", part.name))
    }

    pub(crate) fn data(&self, part: &Part) -> PathBuf {
        self.root.join("nodes").join(&part.name)
    }

    pub(crate) fn secret(&self, name: &str) -> PathBuf {
        self.root.join("secrets").join(name)
    }

    /// Whether the Web App has written what the others need to enrol.
    pub(crate) fn token_written(&self) -> bool {
        let parts = ZONES.into_iter().flat_map(Part::of_zone);
        let mut enrolled = parts.filter(|part| ["agent", "proxy"].contains(&part.command));
        enrolled.all(|part| self.token(&part).exists())
    }

    /// Who may say for whom it speaks: entries that end TLS.
    fn trusted(&self) -> Vec<String> {
        let entries =
            ZONES.into_iter().flat_map(|zone| (1..=EACH).map(move |number| Part::entry(zone, number)));
        let entries = entries.chain([Part::primary_balancer()]).map(|part| part.address().to_string());
        if self.front == Front::Nginx { entries.collect() } else { Vec::new() }
    }

    fn token(&self, part: &Part) -> PathBuf {
        self.secret(&format!("{}.token", part.name))
    }

    /// The first Web App node sees to zones and tokens; the other finds them.
    pub(crate) fn web(&self, number: u8) -> Result<WebSettings> {
        let part = Part::web(number);
        let furnish = FurnishSettings {
            admin_password_file: Some(self.secret("password")),
            admin_made_file: Some(self.secret("password.made")),
            zones: ZONES.into_iter().map(zone).collect(),
            enrollments: ZONES.into_iter().flat_map(|zone| self.enrollments(zone)).collect(),
            certificate: None,
        };
        Ok(WebSettings {
            data: self.data(&part),
            database_url_file: Some(self.secret("database")),
            master_key_file: Some(self.secret("master.key")),
            tls_certificate_file: Some(self.secret("public.pem")),
            tls_key_file: Some(self.secret("public.key")),
            ops_listen: Some(part.ops()),
            trusted_proxies: self.trusted(),
            furnish: (number == 1).then_some(furnish),
            ..toml::from_str(&format!(
                "name = \"{}\"\ndata = \"\"\nlisten = \"{}\"\nnode_listen = \"{}\"\nnode_advertise = \"{}\"\n\
                 public_url = \"{}\"\n",
                part.name,
                part.at(PUBLIC),
                part.at(NODES),
                part.at(NODES),
                public_url()
            ))?
        })
    }

    fn enrollments(&self, zone: Zone) -> Vec<FurnishEnrollment> {
        let roles = [("agent", NodeRole::Agent), ("proxy", NodeRole::Proxy)];
        let parts = Part::of_zone(zone).into_iter();
        let enrolled = parts.filter_map(|part| {
            let (_, role) = roles.into_iter().find(|(command, _)| *command == part.command)?;
            Some(FurnishEnrollment { role, zone: zone.name.into(), token_file: self.token(&part) })
        });
        enrolled.collect()
    }

    fn node(&self, part: &Part, zone: Zone, advertise: Option<SocketAddr>) -> NodeSection {
        NodeSection {
            name: part.name.clone(),
            data: self.data(part),
            upstream: public_url(),
            enroll_token_file: Some(self.token(part)),
            advertise: advertise.map(|address| address.to_string()),
            via: Some(Part::private_balancer(zone).at(PRIVATE).to_string()),
            upstream_ca_file: Some(self.secret("ca.pem")),
            ops_listen: Some(part.ops()),
        }
    }

    pub(crate) fn proxy(&self, zone: Zone, number: u8) -> Result<ProxySettings> {
        let part = Part::proxy(zone, number);
        Ok(ProxySettings {
            node: self.node(&part, zone, None),
            tls_certificate_file: Some(self.secret("public.pem")),
            tls_key_file: Some(self.secret("public.key")),
            trusted_proxies: self.trusted(),
            ..toml::from_str(&bare(part.at(PUBLIC)))?
        })
    }

    pub(crate) fn agent(&self, zone: Zone, number: u8) -> Result<AgentSettings> {
        let part = Part::agent(zone, number);
        let listen = part.at(AGENT);
        Ok(AgentSettings {
            node: self.node(&part, zone, Some(listen)),
            engine: self.engine.into(),
            run_directory: self.run.clone(),
            cpu_milli: CPU_MILLI,
            memory_mb: MEMORY_MB,
            max_streams: 8192,
            ..toml::from_str(&bare(listen))?
        })
    }

    /// The primary entry's configuration, whatever stands there.
    pub(crate) fn write_primary_balancer(&self) -> Result<()> {
        let file = self.config(&Part::primary_balancer());
        match self.front {
            Front::Meridian => write(&file, &self.primary_balancer()?),
            Front::HaProxy | Front::Nginx => write_text(&file, &self.front.primary(self, LONDON)?),
        }
    }

    /// An entry's configuration, whatever stands there.
    pub(crate) fn write_entry(&self, zone: Zone, number: u8) -> Result<()> {
        let file = self.config(&Part::entry(zone, number));
        match self.front {
            Front::Meridian => write(&file, &self.entry(zone, number)?),
            Front::HaProxy | Front::Nginx => write_text(&file, &self.front.entry(self, zone, number)?),
        }
    }

    fn primary_balancer(&self) -> Result<BalanceSettings> {
        let webs: Vec<_> = (1..=EACH).map(|number| Part::web(number).at(PUBLIC)).collect();
        let check = CheckSettings {
            kind: CheckKind::Https,
            path: "/api/__healthcheck".into(),
            body: Some("\"ok\":true".into()),
            ..CheckSettings::default()
        };
        let rule = RouteSettings { check, reset_when_unreachable: true, ..route(None, &webs) };
        let part = Part::primary_balancer();
        balancer(&part, part.at(PUBLIC), "", vec![rule])
    }

    fn entry(&self, zone: Zone, number: u8) -> Result<BalanceSettings> {
        let proxies: Vec<_> = (1..=EACH).map(|number| Part::proxy(zone, number).at(PUBLIC)).collect();
        let check =
            CheckSettings { kind: CheckKind::Https, path: "/readyz".into(), ..CheckSettings::default() };
        let rule = RouteSettings { check, ..route(None, &proxies) };
        let part = Part::entry(zone, number);
        balancer(&part, part.at(PUBLIC), zone.name, vec![rule])
    }

    /// `agents` are the names that the zone's agents have certificates for, as far as they are enrolled.
    pub(crate) fn private_balancer(&self, zone: Zone, agents: &[(u8, String)]) -> Result<BalanceSettings> {
        let webs: Vec<_> = (1..=EACH).map(|number| Part::web(number).at(NODES)).collect();
        let check = CheckSettings { kind: CheckKind::Tls, ..CheckSettings::default() };
        let web = RouteSettings { check, reset_when_unreachable: true, ..route(Some("web.meridian"), &webs) };
        let to_agent =
            |(number, name): &(u8, String)| route(Some(name), &[Part::agent(zone, *number).at(AGENT)]);
        let rules = std::iter::once(web).chain(agents.iter().map(to_agent)).collect();
        let part = Part::private_balancer(zone);
        balancer(&part, part.at(PRIVATE), zone.name, rules)
    }
}

fn zone(zone: Zone) -> FurnishZone {
    let settings = ZoneSettings {
        proxy_hostname: entry_name(zone),
        proxy_port: PUBLIC,
        // The console comes from the primary's address, not from the zone's.
        allow_origin_domain: public_url(),
        upstream_auth_address: public_url(),
        private_balancer: Part::private_balancer(zone).at(PRIVATE).to_string(),
        ..ZoneSettings::default()
    };
    FurnishZone { name: zone.name.into(), settings }
}

/// The least that a node's file must say; everything else has its default.
fn bare(listen: SocketAddr) -> String {
    format!("listen = \"{listen}\"\n[node]\nname = \"\"\ndata = \"\"\nupstream = \"\"\n")
}

fn balancer(
    part: &Part,
    listen: SocketAddr,
    zone: &str,
    routes: Vec<RouteSettings>,
) -> Result<BalanceSettings> {
    Ok(BalanceSettings {
        name: part.name.clone(),
        zone: zone.into(),
        ops_listen: Some(part.ops()),
        routes,
        ..toml::from_str(&format!("listen = \"{listen}\"\nroute = []\n"))?
    })
}

fn route(sni: Option<&str>, backends: &[SocketAddr]) -> RouteSettings {
    RouteSettings::new(sni, backends.iter().map(BackendSettings::new).collect())
}

/// Writes a part's configuration.
pub(crate) fn write<S: Serialize + DeserializeOwned + PartialEq>(file: &Path, settings: &S) -> Result<()> {
    write_text(file, &toml::to_string(&lean(settings)?)?)
}

/// Whole or not at all: a running balancer reads it at any time.
pub(crate) fn write_text(file: &Path, text: &str) -> Result<()> {
    let new = file.with_extension("new");
    std::fs::write(&new, text)?;
    Ok(std::fs::rename(new, file)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_has_a_host_and_a_name_of_its_own() {
        let parts: Vec<_> = (1..=EACH)
            .map(Part::web)
            .chain([Part::primary_balancer()])
            .chain(ZONES.into_iter().flat_map(Part::of_zone))
            .collect();
        let mut names: Vec<_> = parts.iter().map(|part| part.name.clone()).collect();
        let mut hosts: Vec<_> = parts.iter().map(|part| (part.region, part.host)).collect();
        names.sort();
        names.dedup();
        hosts.sort_unstable();
        hosts.dedup();
        assert_eq!((names.len(), hosts.len()), (parts.len(), parts.len()));
    }

    #[test]
    fn a_zones_name_leads_to_both_its_entries() {
        assert_eq!(resolve("london.meridian.test").len(), usize::from(EACH));
        assert!(resolve("nowhere.test").is_empty());
    }
}
