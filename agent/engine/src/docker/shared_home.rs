//! Homes on storage that several agents share, for real containers: a file system in a file on the storage, mounted on this host while a
//! session has it.
//!
//! The session's volume is made first, with the home in its labels: whatever is done to the home after that is undone with the session. A home
//! taken from a writer that may write on is a copy of that writer's file, so that two of them never have one file mounted.

use std::{io, path::Path, time::Duration};

use bollard::{models::ContainerSummaryStateEnum, query_parameters::ListContainersOptionsBuilder};
use meridian_ids::{HomeId, SessionId};
use meridian_model::{PersistentHome, SharedHome};
use tokio::time::timeout;

use super::{
    client::Client,
    home::{is_held, lead_to},
    kept_homes::{KeptHomes, close},
};
use crate::{
    EngineError, Frozen, Owner,
    names::{self, session_name},
    shared_homes::{
        Storage,
        claims::Refusal,
        watch::{Watch, Writer},
    },
};

/// How long a storage may take for what is small.
const STORAGE_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to make or copy a home of many gigabytes.
const COPY_LIMIT: Duration = Duration::from_secs(600);

pub(super) async fn create(
    client: &Client,
    owner: &Owner,
    session: SessionId,
    kept: &PersistentHome,
    shared: &SharedHome,
    homes: &KeptHomes,
) -> Result<(), EngineError> {
    if is_held(client, owner, kept.id, Some(session)).await? {
        return Err(EngineError::Unavailable("the home is still held by another session".into()));
    }
    let place = homes.place_of(session);
    lead_to(client, owner, session, kept.id, &place, Some(&shared.storage)).await?;
    let (storage, homes) = (Storage::new(Path::new(&shared.storage), owner.agent), homes.clone());
    let (kept, shared) = (kept.clone(), shared.clone());
    let taken = on_storage(COPY_LIMIT, move || {
        let _alone = homes.alone_with(kept.id)?;
        let (claim, image) = match storage.take(kept.id, session, &shared)? {
            Ok(taken) => taken,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let source = storage.source(kept.id, &claim);
        homes.prepare_file(&image, source.as_deref(), kept.size_mb, &place)?;
        Ok(Ok(()))
    });
    taken.await?.map_err(in_words)
}

fn in_words(refusal: Refusal) -> EngineError {
    match refusal {
        // It may be given up any moment.
        Refusal::Held { by } => {
            EngineError::Unavailable(format!("the home is held by agent {by}, which has not released it"))
        }
        Refusal::Overtaken => EngineError::Refused("the home was given to a later session".into()),
        Refusal::Missing => {
            EngineError::Refused("the home is not on its storage any more: somebody removed it there".into())
        }
    }
}

/// Unmounts a session's home and gives it up.
pub(super) async fn put_away(
    owner: &Owner,
    session: SessionId,
    home: HomeId,
    storage: &str,
    homes: &KeptHomes,
) -> Result<(), EngineError> {
    let (homes, storage) = (homes.clone(), Storage::new(Path::new(storage), owner.agent));
    on_storage(STORAGE_LIMIT, move || {
        let _alone = homes.alone_with(home)?;
        close(&homes.place_of(session))?;
        storage.give_up(home, session)
    })
    .await
}

pub(super) async fn remove(
    owner: &Owner,
    home: HomeId,
    shared: &SharedHome,
    homes: &KeptHomes,
) -> Result<(), EngineError> {
    let storage = Storage::new(Path::new(&shared.storage), owner.agent);
    let (homes, shared) = (homes.clone(), shared.clone());
    let removed = on_storage(STORAGE_LIMIT, move || {
        let _alone = homes.alone_with(home)?;
        storage.remove(home, &shared)
    });
    removed.await?.map_err(in_words)
}

pub(super) async fn probe(owner: &Owner, watch: &Watch, storage: &Path) -> Result<(), EngineError> {
    if !rustix::process::geteuid().is_root() {
        return Err(EngineError::Refused("only root can mount the homes on it".into()));
    }
    watch.probe(owner.agent, storage).await.map_err(EngineError::Unavailable)
}

/// Freezes and unfreezes what [`Watch`] says.
pub(super) async fn guard(client: &Client, owner: &Owner, watch: &Watch) -> Result<Vec<Frozen>, EngineError> {
    let mut frozen = Vec::new();
    for (writer, trouble) in watch.look(owner.agent, writers(client, owner).await?).await {
        let name = session_name(writer.session);
        match (trouble, writer.is_frozen) {
            (Some(trouble), was_frozen) => {
                if !was_frozen {
                    tracing::warn!(session.id = %writer.session, home = %writer.home, %trouble, "a session is frozen");
                    client
                        .find("the freezing of a container", |docker| async move {
                            docker.pause_container(&name).await
                        })
                        .await?;
                }
                frozen.push(Frozen { session: writer.session, home: writer.home, trouble });
            }
            (None, true) => {
                tracing::info!(session.id = %writer.session, home = %writer.home, "a frozen session runs on");
                client
                    .find("the unfreezing of a container", |docker| async move {
                        docker.unpause_container(&name).await
                    })
                    .await?;
            }
            (None, false) => {}
        }
    }
    Ok(frozen)
}

/// The sessions that have homes on shared storage.
async fn writers(client: &Client, owner: &Owner) -> Result<Vec<Writer>, EngineError> {
    let options = ListContainersOptionsBuilder::new().all(true).filters(&owner.shared_filter()).build();
    let found = client
        .call("the containers with shared homes", |docker| async move {
            docker.list_containers(Some(options)).await
        })
        .await?;
    let mut writers = Vec::new();
    for summary in found {
        let is_frozen = match summary.state {
            Some(ContainerSummaryStateEnum::RUNNING) => false,
            Some(ContainerSummaryStateEnum::PAUSED) => true,
            Some(
                ContainerSummaryStateEnum::CREATED
                | ContainerSummaryStateEnum::EXITED
                | ContainerSummaryStateEnum::DEAD
                | ContainerSummaryStateEnum::RESTARTING
                | ContainerSummaryStateEnum::REMOVING
                | ContainerSummaryStateEnum::STOPPING
                | ContainerSummaryStateEnum::EMPTY,
            )
            | None => continue,
        };
        let labels = summary.labels.unwrap_or_default();
        let session = labels.get(names::SESSION).and_then(|text| text.parse().ok());
        let home = labels.get(names::HOME).and_then(|text| text.parse().ok());
        if let (Some(session), Some(home), Some(storage)) = (session, home, labels.get(names::STORAGE)) {
            writers.push(Writer { session, home, storage: storage.into(), is_frozen });
        }
    }
    Ok(writers)
}

/// Work that waits for the storage. What fails may go well when the storage is back.
async fn on_storage<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, EngineError> {
    match timeout(limit, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(outcome)) => {
            outcome.map_err(|error| EngineError::Unavailable(format!("the storage of homes: {error}")))
        }
        Ok(Err(_)) => Err(EngineError::Unavailable("the agent is stopping".into())),
        Err(_) => Err(EngineError::Unavailable("the storage of homes does not answer".into())),
    }
}
