//! The deployment's own identity: its authority and signing keys, opened with the master key.

use std::path::Path;

use meridian_identity::{Authority, IdentityError};
use meridian_ids::{DeploymentId, KeyId};
use meridian_runtime::Clock;
use meridian_ticket::{KeyError, KeySet, SigningKey};

use super::seal::{KeyRoot, SealError, Sealer};
use crate::store::{
    Store, StoreError,
    keys::{Founded, Founding},
};

const CHECK: &[u8] = b"meridian";

/// The deployment could not be founded or opened.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// What a Web App node holds in memory, and nobody else at all.
pub struct Deployment {
    pub id: DeploymentId,
    pub authority: Authority,
    pub signing_key: SigningKey,
    pub key_set: KeySet,
    pub key_root: KeyRoot,
    pub sealer: Sealer,
}

impl Deployment {
    /// Opens the deployment that the database holds, or founds it.
    ///
    /// # Errors
    /// As [`FoundingError`] says; a wrong or missing master key among it.
    pub async fn open(store: &Store, master_key_file: &Path, clock: &Clock) -> Result<Self, FoundingError> {
        let founded = store.founded().await?;
        let sealer = Sealer::open(master_key_file, founded.is_none())?;
        let founded = match founded {
            Some(founded) => founded,
            None => {
                store.found(&founding(&sealer, clock)?).await?;
                // Whoever came first, this is what holds.
                store
                    .founded()
                    .await?
                    .ok_or_else(|| StoreError::Corrupt("the founding was not written down".into()))?
            }
        };
        Self::unseal(&founded, sealer)
    }

    fn unseal(founded: &Founded, sealer: Sealer) -> Result<Self, FoundingError> {
        sealer.open_sealed("check", &founded.seal_check)?;
        let key_pem = sealer.open_sealed("authority", &founded.sealed_authority_key)?;
        let key_pem = std::str::from_utf8(key_pem.expose()).map_err(|_| SealError::WrongKey)?;
        let authority = Authority::from_pem(&founded.authority_pem, key_pem)?;
        let keys = founded
            .keys
            .iter()
            .map(|(id, sealed)| {
                let pkcs8 = sealer.open_sealed(&key_purpose(*id), sealed)?;
                Ok::<_, FoundingError>(SigningKey::from_pkcs8(*id, pkcs8.expose())?)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let key_set = KeySet { keys: keys.iter().map(SigningKey::public).collect() };
        let signing_key = keys
            .into_iter()
            .next()
            .ok_or_else(|| StoreError::Corrupt("the database holds no signing key".into()))?;
        let key_root = sealer.root();
        Ok(Self { id: founded.deployment, authority, signing_key, key_set, key_root, sealer })
    }
}

fn founding(sealer: &Sealer, clock: &Clock) -> Result<Founding, FoundingError> {
    let deployment = DeploymentId::generate();
    let authority = Authority::generate(deployment, clock.control_now())?;
    let key = SigningKey::generate()?;
    Ok(Founding {
        deployment,
        seal_check: sealer.seal("check", CHECK),
        authority_pem: authority.certificate_pem().to_owned(),
        sealed_authority_key: sealer.seal("authority", authority.key_pem().as_bytes()),
        key: key.id(),
        key_public: key.public().x,
        sealed_key: sealer.seal(&key_purpose(key.id()), key.pkcs8()),
    })
}

fn key_purpose(id: KeyId) -> String {
    format!("signing {id}")
}
