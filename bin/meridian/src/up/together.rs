//! Every role in this process.

use std::net::SocketAddr;

use meridian_control::{Web, store::Database};
use meridian_runtime::{Clock, Health, Tasks, role_span};
use tracing::Instrument;

use super::layout::Layout;
use crate::{exit::Failure, role::start_agent};

/// Starts all; gives each zone's stream entries.
pub async fn start(
    layout: &Layout,
    database: &Database,
    tasks: &Tasks,
) -> Result<Vec<Vec<SocketAddr>>, Failure> {
    let clock = Clock::system;
    for (_, web) in &layout.primary.web {
        Web::start(web.clone(), database.clone(), clock(), tasks.clone(), Health::default())
            .instrument(role_span("web"))
            .await?;
    }
    let mut entries = Vec::new();
    for zone in &layout.zones {
        start_agent(zone.agent.clone(), clock(), tasks).instrument(role_span("agent")).await?;
        let mut proxies = Vec::new();
        for proxy in &zone.proxies {
            let proxy = meridian_proxy::start(proxy.clone(), clock(), tasks, &Health::default())
                .instrument(role_span("proxy"))
                .await?;
            proxies.push(proxy.local_addr);
        }
        entries.push(proxies);
    }
    Ok(entries)
}
