//! Who listens where, and what each role is told: the settings of every role on this machine.

mod primary;

use std::{fs, net::SocketAddr, path::PathBuf};

use meridian_identity::NodeFiles;
use meridian_model::{NodeRole, ZoneSettings};
use meridian_settings::{
    AgentSettings, BackendSettings, BalanceSettings, CheckKind, CheckSettings, DirectSettings,
    FurnishCertificate, FurnishEnrollment, FurnishSettings, FurnishZone, NodeSection, ProxySettings,
    RouteSettings,
};

use self::primary::Addresses;
pub use self::primary::PrimaryLayout;
use super::{
    UpArguments,
    ports::Ports,
    welcome::{Welcome, write_private},
};
use crate::{data::DataDirectory, exit::Failure};

/// Proxies of a zone when every role has a process of its own.
const PROXIES_APART: usize = 2;
/// The profile under which Chromium's own sandbox works; agents elsewhere have it as a file beside their configuration.
const CHROMIUM_PROFILE: &str = include_str!("../../../../images/seccomp/chromium.json");

/// Everything of one `meridian up`.
pub struct Layout {
    pub primary: PrimaryLayout,
    pub zones: Vec<ZoneLayout>,
    /// Certificate and key of the front; none: plain HTTP.
    pub front_tls: Option<(PathBuf, PathBuf)>,
    pub run_directory: PathBuf,
    pub config_directory: PathBuf,
    pub welcome: Welcome,
}

/// One zone's roles.
pub struct ZoneLayout {
    pub name: String,
    /// `proxy_path`: where the front hands its streams over.
    pub path: String,
    pub agent: AgentSettings,
    pub proxies: Vec<ProxySettings>,
    /// Between Web App and proxies on one side and the agent on the other; only when roles are apart.
    pub private_balancer: Option<BalanceSettings>,
    /// In front of the zone's proxies; only when roles are apart.
    pub entry_balancer: Option<BalanceSettings>,
}

impl Layout {
    pub fn make(arguments: &UpArguments, data: &DataDirectory, database: &str) -> Result<Self, Failure> {
        let (run_directory, config_directory) = (data.private("run")?, data.private("config")?);
        let (nodes, secrets) = (data.private("nodes")?, data.private("secrets")?);
        let seccomp = data.private("config/seccomp")?;
        fs::write(seccomp.join("chromium.json"), CHROMIUM_PROFILE)?;
        let database_file = secrets.join("database");
        write_private(&database_file, database)?;
        let ports = Ports::open(config_directory.join("ports.toml"));
        let addresses = Addresses::give(&ports, arguments.separate)?;
        let upstream = format!("http://{}", addresses.entrance());
        let wants_tls =
            arguments.tls || !arguments.listen.ip().is_loopback() || arguments.tls_certificate.is_some();
        let given = arguments.tls_certificate.clone().zip(arguments.tls_key.clone());
        let own = (wants_tls && given.is_none()).then(|| FurnishCertificate {
            names: certificate_names(arguments.listen),
            certificate_file: secrets.join("front.pem"),
            key_file: secrets.join("front.key"),
            ca_file: data.path().join("ca.pem"),
        });
        let welcome = Welcome::prepare(&secrets, own.as_ref().map(|own| own.ca_file.clone()))?;
        let front_tls =
            given.or_else(|| own.as_ref().map(|own| (own.certificate_file.clone(), own.key_file.clone())));
        let place = Place {
            upstream: &upstream,
            node_listens: addresses.node_listens(),
            nodes,
            secrets,
            seccomp,
            arguments,
            ports,
            front_tls: front_tls.clone(),
        };
        let zones = arguments.zones.iter().map(|name| place.zone(name)).collect::<Result<Vec<_>, _>>()?;
        let furnish = FurnishSettings {
            admin_password_file: Some(welcome.password_file.clone()),
            admin_made_file: Some(welcome.made_file.clone()),
            zones: zones.iter().map(|zone| zone.furnish(&upstream)).collect(),
            enrollments: zones.iter().flat_map(ZoneLayout::enrollments).collect(),
            certificate: own,
        };
        let primary = PrimaryLayout::make(&addresses, data, &place.nodes, database_file, furnish)?;
        place.ports.save()?;
        Ok(Self { primary, zones, front_tls, run_directory, config_directory, welcome })
    }

    /// How many nodes a user must be able to count on before Meridian is ready.
    pub fn nodes(&self) -> usize {
        self.zones.iter().map(|zone| 1 + zone.proxies.len()).sum()
    }
}

impl ZoneLayout {
    fn furnish(&self, upstream: &str) -> FurnishZone {
        let private_balancer =
            self.private_balancer.as_ref().map(|balancer| balancer.listen.to_string()).unwrap_or_default();
        let settings = ZoneSettings {
            proxy_path: self.path.clone(),
            upstream_auth_address: upstream.to_owned(),
            private_balancer,
            ..ZoneSettings::default()
        };
        FurnishZone { name: self.name.clone(), settings }
    }

    /// Tokens for those that have no identity yet.
    fn enrollments(&self) -> Vec<FurnishEnrollment> {
        let proxies = self.proxies.iter().map(|proxy| (NodeRole::Proxy, &proxy.node));
        std::iter::once((NodeRole::Agent, &self.agent.node))
            .chain(proxies)
            .filter_map(|(role, node)| {
                let token_file = node.enroll_token_file.clone()?;
                Some(FurnishEnrollment { role, zone: self.name.clone(), token_file })
            })
            .collect()
    }
}

/// What the roles of all zones share.
struct Place<'a> {
    upstream: &'a str,
    /// The node listeners of the Web App nodes.
    node_listens: Vec<SocketAddr>,
    nodes: PathBuf,
    secrets: PathBuf,
    seccomp: PathBuf,
    arguments: &'a UpArguments,
    ports: Ports,
    /// Certificate and key of everything that browsers come to.
    front_tls: Option<(PathBuf, PathBuf)>,
}

impl Place<'_> {
    fn zone(&self, name: &str) -> Result<ZoneLayout, Failure> {
        let apart = self.arguments.separate;
        let agent_listen = self.ports.give(&format!("agent-{name}-1"))?;
        let private = self.ports.give(&format!("balance-{name}-1"))?;
        let via = if apart { private } else { self.node_listens[0] };
        let agent = self.agent(name, agent_listen, via)?;
        let count = if apart { PROXIES_APART } else { 1 };
        let proxies =
            (1..=count).map(|number| self.proxy(name, number, via)).collect::<Result<Vec<_>, _>>()?;
        let (mut private_balancer, mut entry_balancer) = (None, None);
        if apart {
            // The agent's rule fits any agent's name: there is one in this zone, and its id is not known before it has enrolled.
            let web = primary::node_listener_route(&self.node_listens);
            let routes = [web, route(Some("*.meridian"), &[agent_listen])];
            let ops = |number| self.ports.give(&ops_name(&format!("balance-{name}-{number}")));
            private_balancer = Some(balancer(private, ops(1)?, routes.into())?);
            let entries: Vec<_> = proxies.iter().map(|proxy| proxy.listen).collect();
            let entry = self.ports.give(&format!("balance-{name}-2"))?;
            // A kernel accepts for a frozen process too: what counts is that the proxy answers.
            let check =
                CheckSettings { kind: CheckKind::Http, path: "/readyz".into(), ..CheckSettings::default() };
            let rule = RouteSettings { check, ..route(None, &entries) };
            entry_balancer = Some(balancer(entry, ops(2)?, vec![rule])?);
        }
        let path = format!("desktop-{name}");
        Ok(ZoneLayout { name: name.to_owned(), path, agent, proxies, private_balancer, entry_balancer })
    }

    fn agent(&self, zone: &str, listen: SocketAddr, via: SocketAddr) -> Result<AgentSettings, Failure> {
        let node = self.node(NodeRole::Agent, zone, 1, Some(listen), via)?;
        let run_directory =
            if rustix::process::geteuid().is_root() { "/run/meridian".into() } else { node.data.join("run") };
        Ok(AgentSettings {
            node,
            run_directory,
            engine: self.arguments.engine.clone(),
            seccomp_directory: Some(self.seccomp.clone()),
            direct: Some(self.direct(zone)?),
            ..toml::from_str(&bare_node(listen))?
        })
    }

    /// Where browsers come to the agent itself, once the zone's `proxy_connections` is false: beside the front, on a port of its own.
    fn direct(&self, zone: &str) -> Result<DirectSettings, Failure> {
        let port = self.ports.give(&format!("agent-{zone}-1-direct"))?.port();
        let (tls_certificate_file, tls_key_file) = self.front_tls.clone().unzip();
        Ok(DirectSettings {
            listen: SocketAddr::new(self.arguments.listen.ip(), port),
            address: format!("$request_host$:{port}"),
            tls_certificate_file,
            tls_key_file,
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
        })
    }

    fn proxy(&self, zone: &str, number: usize, via: SocketAddr) -> Result<ProxySettings, Failure> {
        let node = self.node(NodeRole::Proxy, zone, number, None, via)?;
        let listen = self.ports.give(&node.name)?;
        let trusted_proxies = vec!["127.0.0.1".into()];
        Ok(ProxySettings { node, trusted_proxies, ..toml::from_str(&bare_node(listen))? })
    }

    fn node(
        &self,
        role: NodeRole,
        zone: &str,
        number: usize,
        advertise: Option<SocketAddr>,
        via: SocketAddr,
    ) -> Result<NodeSection, Failure> {
        let name = format!("{role}-{zone}-{number}");
        let data = self.nodes.join(&name);
        fs::create_dir_all(&data)?;
        let enroll_token_file =
            (!NodeFiles::new(&data).exist()).then(|| self.secrets.join(format!("{name}.token")));
        Ok(NodeSection {
            data,
            upstream: self.upstream.to_owned(),
            enroll_token_file,
            advertise: advertise.map(|address| address.to_string()),
            via: Some(via.to_string()),
            upstream_ca_file: None,
            ops_listen: Some(self.ports.give(&ops_name(&name))?),
            name,
        })
    }
}

/// The least that a node's file must say; everything else has its default.
fn bare_node(listen: SocketAddr) -> String {
    format!("listen = \"{listen}\"\n[node]\nname = \"\"\ndata = \"\"\nupstream = \"\"\n")
}

/// Under which name a role's operator listener is among the ports.
fn ops_name(name: &str) -> String {
    format!("{name}-ops")
}

fn balancer(
    listen: SocketAddr,
    ops: SocketAddr,
    routes: Vec<RouteSettings>,
) -> Result<BalanceSettings, Failure> {
    Ok(BalanceSettings {
        routes,
        ops_listen: Some(ops),
        ..toml::from_str(&format!("listen = \"{listen}\"\nroute = []\n"))?
    })
}

fn route(sni: Option<&str>, backends: &[SocketAddr]) -> RouteSettings {
    RouteSettings::new(sni, backends.iter().map(BackendSettings::new).collect())
}

fn certificate_names(listen: SocketAddr) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    if listen.ip().is_unspecified() {
        names.extend(rustix::system::uname().nodename().to_str().ok().map(str::to_owned));
    } else if !names.contains(&listen.ip().to_string()) {
        names.push(listen.ip().to_string());
    }
    names
}
