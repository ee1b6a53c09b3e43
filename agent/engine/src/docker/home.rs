//! A session's home: a volume of bounded size.
//!
//! Where the storage has quotas, it is on disk. Elsewhere it is a tmpfs volume of the engine's: the engine mounts it with the container and keeps it as long as
//! the container runs, whatever becomes of the agent, and it counts against the container's memory. So that a full home leaves room to work, it is at
//! most half of that.
//!
//! A home on storage that several agents share has a room of its own ([`super::shared_home`]). Another home that outlives its sessions is a volume of its own where the storage has quotas, and else a file system in a file ([`super::kept_homes`]),
//! which the session's volume leads to: what belongs to the session is removed with it, and the home stays.

use std::{collections::HashMap, io, path::Path, time::Duration};

use bollard::{
    models::VolumeCreateRequest,
    query_parameters::{ListContainersOptionsBuilder, RemoveVolumeOptions, RemoveVolumeOptionsBuilder},
};
use meridian_ids::{HomeId, SessionId};
use meridian_model::PersistentHome;
use tokio::time::timeout;

use super::{client::Client, kept_homes::KeptHomes, shared_home};
use crate::{
    EngineError, HomeStorage, Order, Owner,
    names::{self, home_name, session_name},
};

/// How long a disk may take for a home of many gigabytes.
const DISK_LIMIT: Duration = Duration::from_secs(60);

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
    homes: &KeptHomes,
) -> Result<(), EngineError> {
    if let Some(kept) = &order.spec.home {
        if let Some(shared) = &kept.shared {
            return shared_home::create(client, owner, order.session, kept, shared, homes).await;
        }
        return create_kept(client, owner, order.session, kept, storage, homes).await;
    }
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
    create_volume(client, session_name(order.session), options, owner.session_labels(order.session)).await
}

pub(super) async fn create_volume(
    client: &Client,
    name: String,
    options: HashMap<String, String>,
    labels: HashMap<String, String>,
) -> Result<(), EngineError> {
    let request = VolumeCreateRequest {
        name: Some(name),
        driver: Some("local".into()),
        driver_opts: Some(options),
        labels: Some(labels),
        ..VolumeCreateRequest::default()
    };
    client.call("the home volume", |docker| async move { docker.create_volume(request).await }).await?;
    Ok(())
}

async fn create_kept(
    client: &Client,
    owner: &Owner,
    session: SessionId,
    kept: &PersistentHome,
    storage: HomeStorage,
    homes: &KeptHomes,
) -> Result<(), EngineError> {
    if is_held(client, owner, kept.id, Some(session)).await? {
        // The control plane lets one session at a time have it; what is left of another one is on its way out.
        return Err(EngineError::Unavailable("the home is still held by another session".into()));
    }
    match storage {
        HomeStorage::Quota => {
            let options = HashMap::from([("size".into(), format!("{}m", kept.size_mb))]);
            let name = home_name(kept.id);
            let looked = name.clone();
            let found =
                client.find("the home", |docker| async move { docker.inspect_volume(&looked).await }).await?;
            if found.is_some() {
                return Ok(());
            }
            create_volume(client, name, options, owner.home_labels(kept.id)).await
        }
        HomeStorage::Tmpfs => {
            let (homes, id, size_mb) = (homes.clone(), kept.id, kept.size_mb);
            let place = on_disk("the home could not be opened", move || homes.prepare(id, size_mb)).await?;
            lead_to(client, owner, session, kept.id, &place, None).await
        }
    }
}

/// Makes a session's volume, which leads to where its home is on this host; `storage`, if the home is on one.
pub(super) async fn lead_to(
    client: &Client,
    owner: &Owner,
    session: SessionId,
    home: HomeId,
    place: &Path,
    storage: Option<&str>,
) -> Result<(), EngineError> {
    let options = HashMap::from([
        ("type".into(), "none".into()),
        ("device".into(), place.display().to_string()),
        ("o".into(), "bind".into()),
    ]);
    let mut labels = owner.session_labels(session);
    labels.insert(names::HOME.into(), home.to_string());
    labels.extend(storage.map(|storage| (names::STORAGE.into(), storage.to_owned())));
    create_volume(client, session_name(session), options, labels).await
}

/// Work that waits for the disk. What it refuses would be refused again.
async fn on_disk<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, EngineError> {
    let done = timeout(DISK_LIMIT, tokio::task::spawn_blocking(work)).await;
    match done {
        Ok(Ok(outcome)) => outcome.map_err(|error| EngineError::Refused(format!("{what}: {error}"))),
        Ok(Err(_)) => Err(EngineError::Unavailable("the agent is stopping".into())),
        Err(_) => Err(EngineError::Unavailable(format!("{what}: the disk does not answer"))),
    }
}

/// Whether a session other than `by` has a home.
pub(super) async fn is_held(
    client: &Client,
    owner: &Owner,
    home: HomeId,
    by: Option<SessionId>,
) -> Result<bool, EngineError> {
    let options = ListContainersOptionsBuilder::new().all(true).filters(&owner.home_filter(home)).build();
    let found = client
        .call("the containers of a home", |docker| async move { docker.list_containers(Some(options)).await })
        .await?;
    let by = by.map(|session| session.to_string());
    let others = found.iter().filter(|container| {
        let session = container.labels.as_ref().and_then(|labels| labels.get(names::SESSION));
        session != by.as_ref()
    });
    Ok(others.count() > 0)
}

/// Removes the session's volume. A home that it led to stays, and is put away.
pub(super) async fn remove(
    client: &Client,
    owner: &Owner,
    session: SessionId,
    homes: &KeptHomes,
) -> Result<(), EngineError> {
    let name = session_name(session);
    let looked = name.clone();
    let found =
        client.find("the home volume", |docker| async move { docker.inspect_volume(&looked).await }).await?;
    let labels = found.map(|volume| volume.labels).unwrap_or_default();
    let kept = labels.get(names::HOME).and_then(|home| home.parse::<HomeId>().ok());
    if let (Some(home), Some(storage)) = (kept, labels.get(names::STORAGE)) {
        shared_home::put_away(owner, session, home, storage, homes).await?;
    } else if let Some(home) = kept {
        // First: were the volume gone and this not done, nobody would know of it.
        let homes = homes.clone();
        on_disk("the home could not be put away", move || homes.release(home))
            .await
            .map_err(|error| EngineError::Unavailable(error.to_string()))?;
    }
    remove_volume(client, name).await
}

/// Removes a home for good.
pub(super) async fn remove_kept(
    client: &Client,
    owner: &Owner,
    kept: &PersistentHome,
    homes: &KeptHomes,
) -> Result<(), EngineError> {
    let home = kept.id;
    if is_held(client, owner, home, None).await? {
        return Err(EngineError::Refused("a session has the home".into()));
    }
    if let Some(shared) = &kept.shared {
        return shared_home::remove(owner, home, shared, homes).await;
    }
    remove_volume(client, home_name(home)).await?;
    let homes = homes.clone();
    on_disk("the home could not be removed", move || homes.remove(home)).await
}

/// Whether homes can be kept here.
pub(super) async fn keeps(storage: HomeStorage, homes: &KeptHomes) -> Result<(), EngineError> {
    match storage {
        HomeStorage::Quota => Ok(()),
        HomeStorage::Tmpfs => {
            let homes = homes.clone();
            on_disk("homes cannot be kept on this node", move || homes.probe()).await
        }
    }
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
