//! One of two Web App nodes dies: requests that it was answering fail, the balancer sends the others to the second node, and no stream notices.

use anyhow::Result;

use super::{BACK_LIMIT, ORDINARY, Promise, Scenario};
use crate::{
    report::Goals,
    site::{Front, Part},
    stage::Stage,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "web_node_killed",
    about: "one of two Web App nodes is killed (SIGKILL) under steady requests and live streams",
    promise: Promise::Untouched,
    goals: Goals { stall_p99_ms: None, recovered_ms: Some(2000) },
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

pub(super) const BEHIND_HAPROXY: Scenario = Scenario {
    name: "web_node_killed_haproxy",
    about: "the same behind a real HAProxy, configured as deploy/haproxy ships it",
    front: Front::HaProxy,
    ..SCENARIO
};

pub(super) const BEHIND_NGINX: Scenario = Scenario {
    name: "web_node_killed_nginx",
    about: "the same behind a real nginx that ends TLS, configured as deploy/nginx/reverse-proxy.conf ships it",
    front: Front::Nginx,
    ..SCENARIO
};

async fn play(stage: &mut Stage) -> Result<()> {
    let web = Part::web(stage.any_number());
    let killed = stage.strike(|site| site.kill(&web))?;
    stage.answers(BACK_LIMIT).await?;
    stage.site.part(&web)?.replaced(killed, BACK_LIMIT).await?;
    stage.all_show_anew(BACK_LIMIT).await;
    Ok(())
}
