//! What zones want on their agents, how it stands there, and logins for registries, whose passwords are sealed before they come here.

use meridian_ids::{UserId, Uuid, ZoneId};
use serde::Deserialize;

use super::{Store, StoreError};
use crate::{
    app::rules::{MAX_IMAGES, MAX_REGISTRIES},
    views::{ImageCellView, RegistryLoginView, WantedImageView},
};

pub const MATRIX: &str = "SELECT image_matrix_v2($1, $2, $3, $4, $5, $6)";

/// How a wish ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Wish {
    NoZone,
    TooMany,
    Ok,
}

/// A page of the matrix.
#[derive(Debug, Deserialize)]
pub struct MatrixPage {
    pub rows: Vec<MatrixRow>,
    /// Whether rows come after these.
    pub more: bool,
}

/// One image in one zone.
#[derive(Debug, Deserialize)]
pub struct MatrixRow {
    pub zone: String,
    /// The zone's place in lists.
    pub position: i32,
    pub reference: String,
    pub wanted: bool,
    pub workspaces: Vec<String>,
    pub agents: Vec<ImageCellView>,
}

impl Store {
    /// What a zone wants, by reference.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn wanted_images(&self, zone: ZoneId) -> Result<Vec<WantedImageView>, StoreError> {
        let statement =
            "SELECT coalesce(jsonb_agg(jsonb_build_object('reference', i.reference, 'wanted_at', i.wanted_at,
                'wanted_by', u.name) ORDER BY i.reference), '[]')
            FROM zone_images i LEFT JOIN users u ON u.id = i.wanted_by WHERE i.zone_id = $1";
        self.call(statement, &[&zone.0]).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn want_image(&self, zone: ZoneId, reference: &str, by: UserId) -> Result<Wish, StoreError> {
        self.call("SELECT want_image_v1($1, $2, $3, $4)", &[&zone.0, &reference, &MAX_IMAGES, &by.0]).await
    }

    /// Whether the zone wanted it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unwant_image(&self, zone: ZoneId, reference: &str, by: UserId) -> Result<bool, StoreError> {
        self.call("SELECT to_jsonb(unwant_image_v1($1, $2, $3))", &[&zone.0, &reference, &by.0]).await
    }

    /// Zone by image, with how each agent stands: of one zone or of those that a key is bound to, after a zone's position and a reference.
    /// The page ends with `limit` rows, or before with the row that reaches so many `cells`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn image_matrix(
        &self,
        zone: Option<ZoneId>,
        zones: Option<&[ZoneId]>,
        after: Option<&(i32, String)>,
        limit: i32,
        cells: i64,
    ) -> Result<MatrixPage, StoreError> {
        let zone = zone.map(|zone| zone.0);
        let zones: Option<Vec<Uuid>> = zones.map(|zones| zones.iter().map(|zone| zone.0).collect());
        let (position, reference) =
            (after.map(|(position, _)| position), after.map(|(_, reference)| reference));
        self.call(MATRIX, &[&zone, &zones, &position, &reference, &limit, &cells]).await
    }

    /// Who a zone's agents are at registries, without passwords.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn registry_logins(&self, zone: ZoneId) -> Result<Vec<RegistryLoginView>, StoreError> {
        let statement = "SELECT coalesce(jsonb_agg(jsonb_build_object('host', r.host, 'username', r.username, 'set_at', r.set_at,
                'set_by', u.name) ORDER BY r.host), '[]')
            FROM zone_registries r LEFT JOIN users u ON u.id = r.set_by WHERE r.zone_id = $1";
        self.call(statement, &[&zone.0]).await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn set_registry_login(
        &self,
        zone: ZoneId,
        host: &str,
        username: &str,
        sealed_password: &[u8],
        by: UserId,
    ) -> Result<Wish, StoreError> {
        self.call(
            "SELECT set_registry_v1($1, $2, $3, $4, $5, $6)",
            &[&zone.0, &host, &username, &sealed_password, &MAX_REGISTRIES, &by.0],
        )
        .await
    }

    /// Whether there was one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn remove_registry_login(
        &self,
        zone: ZoneId,
        host: &str,
        by: UserId,
    ) -> Result<bool, StoreError> {
        self.call("SELECT to_jsonb(remove_registry_v1($1, $2, $3))", &[&zone.0, &host, &by.0]).await
    }
}
