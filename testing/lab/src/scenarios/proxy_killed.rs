//! A proxy's process dies: the kernel closes its sockets at once, and its viewers come back through the zone's other proxy.

use anyhow::Result;

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{report::Goals, site::Front, stage::Stage};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "proxy_killed",
    about: "one of the zone's two proxies is killed (SIGKILL) under live streams",
    sizes: &[20, 200, 1000],
    goals: Goals { stall_p99_ms: Some(1000), recovered_ms: None },
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

pub(super) const BEHIND_HAPROXY: Scenario = Scenario {
    name: "proxy_killed_haproxy",
    about: "the same with a real HAProxy at every public entry, configured as deploy/haproxy ships it",
    sizes: &[20],
    front: Front::HaProxy,
    ..SCENARIO
};

pub(super) const BEHIND_NGINX: Scenario = Scenario {
    name: "proxy_killed_nginx",
    about: "the same with a real nginx that ends TLS at every public entry, configured as deploy/nginx/reverse-proxy.conf ships it",
    sizes: &[20],
    front: Front::Nginx,
    ..SCENARIO
};

async fn play(stage: &mut Stage) -> Result<()> {
    let proxy = stage.any_proxy().await;
    let killed = stage.strike(|site| site.kill(&proxy))?;
    stage.all_back(BACK_LIMIT).await;
    stage.site.part(&proxy)?.replaced(killed, BACK_LIMIT).await
}
