//! A zone's Upstream Auth Address leads to a dead node: live streams must not notice, resumes go on by their passes, and a new
//! connection is refused in words that name the hop.

use std::time::Duration;

use anyhow::Result;
use reqwest::Method;
use serde_json::json;

use super::{BACK_LIMIT, ORDINARY, Scenario};
use crate::{
    site::{LONDON, public_url},
    stage::Stage,
};

/// An address of the primary region where nobody is.
const NOBODY: &str = "https://10.77.1.250";
const TOLD_LIMIT: Duration = Duration::from_secs(15);

pub(super) const SCENARIO: Scenario = Scenario {
    name: "auth_address_dead",
    about: "the zone's Upstream Auth Address is set to an address where nobody is, and then one of its proxies is killed",
    play: |stage| Box::pin(play(stage)),
    ..ORDINARY
};

async fn play(stage: &mut Stage) -> Result<()> {
    let zone = stage.api.zone_id(LONDON.name).await?;
    let set = |address: String| json!({"upstream_auth_address": address});
    let path = format!("/zones/{zone}");
    stage.api.call(Method::PATCH, &path, Some(set(NOBODY.into()))).await?;
    let refused = stage.refused_connection(TOLD_LIMIT).await?;
    stage.expect(
        refused.contains("auth") || refused.contains("control plane"),
        format!("a new connection's refusal does not say where it failed: {refused}"),
    );
    let proxy = stage.any_proxy().await;
    let killed = stage.strike(|site| site.kill(&proxy))?;
    stage.all_back(BACK_LIMIT).await;
    stage.site.part(&proxy)?.replaced(killed, BACK_LIMIT).await?;
    stage.api.call(Method::PATCH, &path, Some(set(public_url()))).await?;
    stage.all_show_anew(BACK_LIMIT).await;
    Ok(())
}
