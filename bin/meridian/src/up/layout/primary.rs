//! The primary region's part of this machine: the Web App nodes, and the balancer in front of them.
//!
//! In one process there is one Web App. With every role apart there are two behind a balancer that asks each whether it is well, so that
//! one of them may die or be replaced while people work.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use meridian_settings::{
    BalanceSettings, CheckKind, CheckSettings, FurnishSettings, RouteSettings, WebSettings,
};
use meridian_wire::WEB_SERVER_NAME;

use super::{balancer, ops_name, route};
use crate::{data::DataDirectory, exit::Failure, up::ports::Ports};

/// Web App nodes when every role has a process of its own.
const WEB_NODES_APART: usize = 2;
const BALANCER: &str = "balance-primary-1";

/// What the primary region's roles are told.
pub struct PrimaryLayout {
    /// Each with the name of its process. The first one furnishes the deployment.
    pub web: Vec<(String, WebSettings)>,
    /// In front of the Web App nodes; only when roles are apart.
    pub balancer: Option<BalanceSettings>,
    /// Where the front and the zones' signed calls go.
    pub entrance: SocketAddr,
}

/// Where one Web App node listens.
struct WebAddresses {
    name: String,
    listen: SocketAddr,
    nodes: SocketAddr,
    ops: SocketAddr,
}

/// Where the primary region's roles listen.
pub struct Addresses {
    web: Vec<WebAddresses>,
    balancer: Option<(SocketAddr, SocketAddr)>,
}

impl Addresses {
    pub fn give(ports: &Ports, apart: bool) -> Result<Self, Failure> {
        let count = if apart { WEB_NODES_APART } else { 1 };
        let web = (1..=count)
            .map(|number| {
                let name = format!("web-primary-{number}");
                let (listen, nodes) = (ports.give(&name)?, ports.give(&format!("{name}-nodes"))?);
                let ops = ports.give(&ops_name(&name))?;
                Ok(WebAddresses { name, listen, nodes, ops })
            })
            .collect::<Result<_, Failure>>()?;
        let balancer = match apart {
            true => Some((ports.give(BALANCER)?, ports.give(&ops_name(BALANCER))?)),
            false => None,
        };
        Ok(Self { web, balancer })
    }

    pub fn entrance(&self) -> SocketAddr {
        self.balancer.map_or(self.web[0].listen, |(listen, _)| listen)
    }

    pub fn node_listens(&self) -> Vec<SocketAddr> {
        self.web.iter().map(|web| web.nodes).collect()
    }
}

impl PrimaryLayout {
    pub fn make(
        addresses: &Addresses,
        data: &DataDirectory,
        nodes: &Path,
        database_file: PathBuf,
        furnish: FurnishSettings,
    ) -> Result<Self, Failure> {
        let mut web = Vec::new();
        for (index, node) in addresses.web.iter().enumerate() {
            let first = index == 0;
            let folder = if first { data.path().to_owned() } else { nodes.join(&node.name) };
            fs::create_dir_all(&folder)?;
            let settings = WebSettings {
                name: format!("web-{}", index + 1),
                data: folder,
                node_advertise: node.nodes.to_string(),
                database_url_file: Some(database_file.clone()),
                master_key_file: Some(data.path().join("master.key")),
                // The front, which writes these headers itself.
                trusted_proxies: vec!["127.0.0.1".into()],
                furnish: first.then(|| furnish.clone()),
                ops_listen: Some(node.ops),
                ..toml::from_str(&format!(
                    "name = \"\"\ndata = \"\"\nlisten = \"{}\"\nnode_listen = \"{}\"\nnode_advertise = \"\"\n\
                     public_url = \"http://{}\"\n",
                    node.listen,
                    node.nodes,
                    addresses.entrance()
                ))?
            };
            web.push((node.name.clone(), settings));
        }
        let listens: Vec<_> = addresses.web.iter().map(|web| web.listen).collect();
        let in_front = |(listen, ops)| balancer(listen, ops, vec![web_route(&listens)]);
        let balancer = addresses.balancer.map(in_front).transpose()?;
        Ok(Self { web, balancer, entrance: addresses.entrance() })
    }
}

/// In front of the Web App nodes: each is asked whether it serves and reaches the database.
fn web_route(listens: &[SocketAddr]) -> RouteSettings {
    let check = CheckSettings {
        kind: CheckKind::Http,
        path: "/api/__healthcheck".into(),
        body: Some("\"ok\":true".into()),
        ..CheckSettings::default()
    };
    RouteSettings { reset_when_unreachable: true, check, ..route(None, listens) }
}

/// To the Web App nodes' own listener for nodes. A handshake is awaited: a kernel accepts for a frozen process too.
pub fn node_listener_route(listens: &[SocketAddr]) -> RouteSettings {
    let check = CheckSettings { kind: CheckKind::Tls, ..CheckSettings::default() };
    RouteSettings { reset_when_unreachable: true, check, ..route(Some(WEB_SERVER_NAME), listens) }
}
