//! The deployment itself: its id, authority and signing keys. Secrets are sealed before they come here.

use meridian_ids::{DeploymentId, KeyId, Uuid};

use super::{Store, StoreError};

/// What a new database is given, once, whoever comes first.
pub struct Founding {
    pub deployment: DeploymentId,
    pub seal_check: Vec<u8>,
    pub authority_pem: String,
    pub sealed_authority_key: Vec<u8>,
    pub key: KeyId,
    pub key_public: String,
    pub sealed_key: Vec<u8>,
}

/// What every Web App node reads at its start.
pub struct Founded {
    pub deployment: DeploymentId,
    pub seal_check: Vec<u8>,
    pub authority_pem: String,
    pub sealed_authority_key: Vec<u8>,
    /// Signing keys that are not retired, newest first.
    pub keys: Vec<(KeyId, Vec<u8>)>,
}

impl Store {
    /// Writes the founding down unless another node did; the caller reads what holds with [`Store::founded`].
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn found(&self, founding: &Founding) -> Result<(), StoreError> {
        self.execute(
            "WITH d AS (INSERT INTO deployment (id, seal_check) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING id),
             a AS (INSERT INTO authority (certificate_pem, sealed_key) SELECT $3, $4 FROM d)
             INSERT INTO signing_keys (id, public_x, sealed_pkcs8) SELECT $5, $6, $7 FROM d",
            &[
                &founding.deployment.0,
                &founding.seal_check,
                &founding.authority_pem,
                &founding.sealed_authority_key,
                &founding.key.0,
                &founding.key_public,
                &founding.sealed_key,
            ],
        )
        .await
        .map(drop)
    }

    /// What the database was founded with; none when it is new.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn founded(&self) -> Result<Option<Founded>, StoreError> {
        let rows = self
            .rows(
                "SELECT d.id, d.seal_check, a.certificate_pem, a.sealed_key, k.id, k.sealed_pkcs8
                 FROM deployment d, authority a, signing_keys k WHERE k.retired_at IS NULL ORDER BY k.created_at DESC",
                &[],
            )
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let keys = rows
            .iter()
            .map(|row| Ok((KeyId(row.try_get::<_, Uuid>(4)?), row.try_get(5)?)))
            .collect::<Result<_, tokio_postgres::Error>>()?;
        Ok(Some(Founded {
            deployment: DeploymentId(row.try_get::<_, Uuid>(0)?),
            seal_check: row.try_get(1)?,
            authority_pem: row.try_get(2)?,
            sealed_authority_key: row.try_get(3)?,
            keys,
        }))
    }
}
