//! Hosts and regions on one machine: a network namespace for each host, a bridge for each region, and distance between regions.
//!
//! ```text
//!   host ── veth ──┐                                     ┌── veth ── host
//!   host ── veth ──┤ bridge, router ── TUN ══ wan ══ TUN ── router, bridge ├── veth ── host
//! ```
//!
//! All addresses are 10.77.REGION.HOST, and no namespace has a way out: traffic stays among them. Namespaces have no names and end with
//! the threads and processes within them, so that nothing is left to be removed.

mod host;
mod packet;
mod wan;

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use anyhow::{Context, Result};
use tun_rs::{DeviceBuilder, SyncDevice};

pub(crate) use self::{
    host::Host,
    wan::{Line, Wan},
};

/// The network of everything; a region is the third byte.
const NETWORK: &str = "10.77.0.0/16";
const ROUTER: u8 = 1;
const MTU: u16 = 1500;

pub(crate) fn address(region: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, region, host)
}

/// A region: its router, and a host for each part.
pub(crate) struct Region {
    number: u8,
    router: Host,
    hosts: BTreeMap<u8, Arc<Host>>,
    device: Option<SyncDevice>,
}

impl Region {
    /// A region without hosts; blocks for some milliseconds.
    pub(crate) fn lay(number: u8) -> Result<Self> {
        let router = Host::make(&format!("router-{number}"))?;
        let device = router.within(|| DeviceBuilder::new().name("wan").mtu(MTU).build_sync())?;
        let device = device.context("a TUN device cannot be made; is /dev/net/tun there?")?;
        let gateway = address(number, ROUTER);
        router.configure(&format!(
            "link set lo up\nlink add lan type bridge\nlink set lan up\naddr add {gateway}/24 dev lan\n\
             link set wan up\nroute add {NETWORK} dev wan\n"
        ))?;
        router.within(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?.context("forwarding")?;
        Ok(Self { number, router, hosts: BTreeMap::new(), device: Some(device) })
    }

    /// The host with this last byte of its address, made when it is new; blocks for some milliseconds.
    pub(crate) fn host(&mut self, number: u8) -> Result<Arc<Host>> {
        if let Some(host) = self.hosts.get(&number) {
            return Ok(Arc::clone(host));
        }
        let host = Arc::new(Host::make(&format!("host-{}-{number}", self.number))?);
        self.router.configure(&format!(
            "link add port{number} type veth peer name eth0 netns {}\n\
             link set port{number} master lan\nlink set port{number} up\n",
            host.namespace()
        ))?;
        let (own, gateway) = (address(self.number, number), address(self.number, ROUTER));
        host.configure(&format!(
            "link set lo up\naddr add {own}/24 dev eth0\nlink set eth0 up\nroute add default via {gateway}\n"
        ))?;
        self.hosts.insert(number, Arc::clone(&host));
        Ok(host)
    }

    /// Pulls or plugs a host's cable: what it says and what is said to it is gone, and nothing is closed.
    pub(crate) fn connect(&self, number: u8, connected: bool) -> Result<()> {
        let state = if connected { "up" } else { "down" };
        self.router.configure(&format!("link set port{number} {state}\n"))
    }
}

/// Joins regions by a wide-area network; lines that are not set have no length.
pub(crate) fn join(regions: &mut [Region], seed: u64) -> Result<Wan> {
    let devices = regions.iter_mut().map(|region| {
        let device = region.device.take().context("a region is joined once")?;
        Ok((region.number, device))
    });
    Wan::start(devices.collect::<Result<_>>()?, seed)
}
