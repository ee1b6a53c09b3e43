//! What a workspace may reach: nothing, the internet over a bridge of its own, or everything.

use std::collections::HashMap;

use bollard::{models::NetworkCreateRequest, query_parameters::ListNetworksOptionsBuilder};
use meridian_ids::SessionId;
use meridian_model::Network;

use super::{client::Client, firewall::Firewall};
use crate::{EngineError, Owner, names::session_name};

/// Makes what the mode needs; the answer is what the container is to be connected to.
pub(super) async fn create(
    client: &Client,
    owner: &Owner,
    firewall: &Firewall,
    session: SessionId,
    mode: Network,
) -> Result<String, EngineError> {
    match mode {
        Network::None => Ok("none".into()),
        Network::Full => Ok("bridge".into()),
        Network::Internet => {
            // Before each start: rules that someone flushed meanwhile are there again before the workspace is.
            let _rules = firewall.install().await.map_err(|reason| {
                EngineError::Refused(format!("this node cannot keep a workspace to the internet: {reason}"))
            })?;
            create_bridge(client, owner, session).await
        }
    }
}

async fn create_bridge(client: &Client, owner: &Owner, session: SessionId) -> Result<String, EngineError> {
    let name = session_name(session);
    // The engine allows two networks of one name: a start that was interrupted may have left its own.
    remove_bridge(client, owner, session).await?;
    let options = HashMap::from([
        ("com.docker.network.bridge.name".into(), owner.bridge(session)),
        ("com.docker.network.bridge.enable_icc".into(), "false".into()),
    ]);
    let request = NetworkCreateRequest {
        name: name.clone(),
        driver: Some("bridge".into()),
        enable_ipv6: Some(false),
        options: Some(options),
        labels: Some(owner.session_labels(session)),
        ..NetworkCreateRequest::default()
    };
    client
        .call("the session's network", |docker| async move { docker.create_network(request).await })
        .await?;
    Ok(name)
}

/// Removes a session's bridge and, after the last one, the rules.
pub(super) async fn remove(
    client: &Client,
    owner: &Owner,
    firewall: &Firewall,
    session: SessionId,
) -> Result<(), EngineError> {
    if remove_bridge(client, owner, session).await? {
        firewall.remove_unless(has_bridges(client, owner)).await?;
    }
    Ok(())
}

/// Whether there is any bridge of this owner's.
pub(super) async fn has_bridges(client: &Client, owner: &Owner) -> Result<bool, EngineError> {
    let options = ListNetworksOptionsBuilder::new().filters(&owner.filter()).build();
    let networks = client
        .call("the list of networks", |docker| async move { docker.list_networks(Some(options)).await })
        .await?;
    Ok(!networks.is_empty())
}

async fn remove_bridge(client: &Client, owner: &Owner, session: SessionId) -> Result<bool, EngineError> {
    let name = session_name(session);
    let inspected = name.clone();
    let found = client
        .find("a network", |docker| async move { docker.inspect_network(&inspected, None).await })
        .await?;
    let is_ours = found.is_some_and(|network| network.labels.is_some_and(|labels| owner.owns(&labels)));
    if is_ours {
        client
            .find("the network's removal", |docker| async move { docker.remove_network(&name).await })
            .await?;
    }
    Ok(is_ours)
}
