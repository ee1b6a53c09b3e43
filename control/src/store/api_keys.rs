//! API keys. Only the hash of a key's token is stored.

use std::collections::HashMap;

use meridian_ids::{ApiKeyId, UserId, Uuid, ZoneId};
use serde::Deserialize;

use super::{
    Store, StoreError,
    logins::{Origin, TokenHash},
};
use crate::{app::caller::Caller, views::ApiKeyView};

/// How the making of a key ended.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum KeyCreation {
    /// It would have permissions that its user lacks.
    Beyond,
    TooMany,
    Ok {
        key: Box<ApiKeyView>,
    },
}

/// How the revocation of a key ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum KeyRevocation {
    NotFound,
    Beyond,
    Ok,
}

/// What a key is to be.
#[derive(Clone, Debug)]
pub struct KeyParts {
    pub name: String,
    /// How its token begins.
    pub hint: String,
    pub permissions: Vec<String>,
    pub zones: Option<Vec<ZoneId>>,
    pub days: i32,
}

impl Store {
    /// # Errors
    /// When the database does not answer.
    pub async fn create_key(
        &self,
        user: UserId,
        token: TokenHash,
        parts: &KeyParts,
        origin: &Origin,
    ) -> Result<KeyCreation, StoreError> {
        let KeyParts { name, hint, permissions, zones, days } = parts;
        let zones: Option<Vec<Uuid>> = zones.as_ref().map(|zones| zones.iter().map(|zone| zone.0).collect());
        let token = token.0.as_slice();
        self.call(
            "SELECT create_key_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            &[
                &ApiKeyId::generate().0,
                &user.0,
                name,
                &token,
                hint,
                permissions,
                &zones,
                days,
                &origin.address,
                &origin.request_id,
            ],
        )
        .await
    }

    /// Newest first; of one user, or everybody's.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn list_keys(
        &self,
        user: Option<UserId>,
        after: Option<ApiKeyId>,
        limit: i32,
    ) -> Result<Vec<ApiKeyView>, StoreError> {
        let (user, after) = (user.map(|user| user.0), after.map(|after| after.0));
        self.call("SELECT list_keys_v1($1, $2, $3)", &[&user, &after, &limit]).await
    }

    /// `others`: also a key that is not the caller's.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revoke_key(
        &self,
        key: ApiKeyId,
        others: bool,
        by: &Caller,
        origin: &Origin,
    ) -> Result<KeyRevocation, StoreError> {
        self.call(
            "SELECT revoke_key_v1($1, $2, $3, $4, $5, $6)",
            &[&key.0, &by.id().0, &others, &by.permissions(), &origin.address, &origin.request_id],
        )
        .await
    }

    /// Writes down that keys were used, and from where.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn touch_keys(&self, uses: &HashMap<[u8; 32], String>) -> Result<(), StoreError> {
        let (hashes, addresses): (Vec<&[u8]>, Vec<&str>) =
            uses.iter().map(|(hash, address)| (hash.as_slice(), address.as_str())).unzip();
        self.rows("SELECT touch_keys_v1($1, $2)", &[&hashes, &addresses]).await.map(drop)
    }
}
