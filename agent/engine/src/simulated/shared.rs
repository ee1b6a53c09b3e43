//! Homes on shared storage of simulated workspaces: the same claims as of real ones, and a file of lines in place of a file system.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use meridian_ids::SessionId;
use meridian_model::PersistentHome;

use crate::{
    EngineError, Order, Owner,
    shared_homes::{Storage, claims::Refusal},
};

/// Takes the home of an order, if it has one on shared storage; the file that it is.
pub(super) async fn take(owner: &Owner, order: &Order) -> Result<Option<PathBuf>, EngineError> {
    let Some(home) = order.spec.home.clone() else { return Ok(None) };
    let Some(shared) = home.shared else { return Ok(None) };
    let (storage, session) = (Storage::new(Path::new(&shared.storage), owner.agent), order.session);
    let taken = on_storage(move || {
        let (claim, file) = match storage.take(home.id, session, &shared)? {
            Ok(taken) => taken,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if !file.try_exists()? {
            match storage.source(home.id, &claim) {
                Some(source) => fs::copy(source, &file).map(drop)?,
                None => fs::write(&file, b"")?,
            }
        }
        Ok(Ok(file))
    });
    taken.await?.map(Some).map_err(in_words)
}

pub(super) async fn give_up(
    owner: &Owner,
    session: SessionId,
    home: Option<&PersistentHome>,
) -> Result<(), EngineError> {
    let Some((home, shared)) = home.and_then(|home| Some((home.id, home.shared.as_ref()?))) else {
        return Ok(());
    };
    let storage = Storage::new(Path::new(&shared.storage), owner.agent);
    on_storage(move || storage.give_up(home, session)).await
}

pub(super) async fn remove(owner: &Owner, home: &PersistentHome) -> Result<(), EngineError> {
    let Some(shared) = home.shared.clone() else { return Ok(()) };
    let (storage, home) = (Storage::new(Path::new(&shared.storage), owner.agent), home.id);
    on_storage(move || storage.remove(home, &shared)).await?.map_err(in_words)
}

fn in_words(refusal: Refusal) -> EngineError {
    match refusal {
        Refusal::Held { by } => EngineError::Unavailable(format!("the home is held by agent {by}")),
        Refusal::Overtaken => EngineError::Refused("the home was given to a later session".into()),
        Refusal::Missing => EngineError::Refused("the home is not on its storage any more".into()),
    }
}

async fn on_storage<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, EngineError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome.map_err(|error| EngineError::Unavailable(error.to_string())),
        Err(_) => Err(EngineError::Unavailable("the agent is stopping".into())),
    }
}
