//! A session's home: a volume of bounded size.
//!
//! Where the storage has quotas, it is on disk. Elsewhere it is a tmpfs volume of the engine's: the engine mounts it with the container and keeps it as long as
//! the container runs, whatever becomes of the agent, and it counts against the container's memory. So that a full home leaves room to work, it is at
//! most half of that.

use std::collections::HashMap;

use bollard::{
    models::VolumeCreateRequest,
    query_parameters::{RemoveVolumeOptions, RemoveVolumeOptionsBuilder},
};
use meridian_ids::SessionId;

use super::client::Client;
use crate::{EngineError, HomeStorage, Order, Owner, names::session_name};

/// Where images have their user's home.
pub(super) const HOME_DIRECTORY: &str = "/home/user";

/// Finds out whether the engine's storage has quotas, by asking for a volume with one.
pub(super) async fn probe(client: &Client, owner: &Owner) -> Result<HomeStorage, EngineError> {
    let name = format!("meridian-probe-{}", owner.short());
    let request = VolumeCreateRequest {
        name: Some(name.clone()),
        driver_opts: Some(HashMap::from([("size".into(), "1m".into())])),
        labels: Some(owner.labels()),
        ..VolumeCreateRequest::default()
    };
    let made = client
        .call("a volume with a quota", |docker| async move { docker.create_volume(request).await })
        .await;
    match made {
        Ok(_) => {
            remove_volume(client, name).await?;
            Ok(HomeStorage::Quota)
        }
        Err(EngineError::Refused(_)) => {
            remove_volume(client, name).await?;
            Ok(HomeStorage::Tmpfs)
        }
        Err(error @ (EngineError::Unavailable(_) | EngineError::NoImage(_))) => Err(error),
    }
}

pub(super) async fn create(
    client: &Client,
    owner: &Owner,
    order: &Order,
    storage: HomeStorage,
    (user, group): (u32, u32),
) -> Result<(), EngineError> {
    let options = match storage {
        HomeStorage::Quota => HashMap::from([("size".into(), format!("{}m", order.spec.home_mb))]),
        HomeStorage::Tmpfs => {
            let size_mb = order.spec.home_mb.min(order.spec.memory_mb / 2).max(1);
            let options = format!("size={size_mb}m,uid={user},gid={group},mode=0700,nosuid,nodev");
            HashMap::from([
                ("type".into(), "tmpfs".into()),
                ("device".into(), "tmpfs".into()),
                ("o".into(), options),
            ])
        }
    };
    let request = VolumeCreateRequest {
        name: Some(session_name(order.session)),
        driver: Some("local".into()),
        driver_opts: Some(options),
        labels: Some(owner.session_labels(order.session)),
        ..VolumeCreateRequest::default()
    };
    client.call("the home volume", |docker| async move { docker.create_volume(request).await }).await?;
    Ok(())
}

pub(super) async fn remove(client: &Client, session: SessionId) -> Result<(), EngineError> {
    remove_volume(client, session_name(session)).await
}

async fn remove_volume(client: &Client, name: String) -> Result<(), EngineError> {
    let options: RemoveVolumeOptions = RemoveVolumeOptionsBuilder::new().force(true).build();
    client
        .find(
            "the volume's removal",
            |docker| async move { docker.remove_volume(&name, Some(options)).await },
        )
        .await?;
    Ok(())
}
