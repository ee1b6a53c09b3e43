//! Zones and their settings.

use std::collections::BTreeMap;

use meridian_ids::{UserId, Uuid, ZoneId};
use meridian_model::{ZoneSettings, nearest::Nearest};
use serde::Deserialize;
use tokio_postgres::types::Json;

use super::{
    Store, StoreError,
    logins::{Origin, TokenHash},
};
use crate::app::{
    caller::Caller,
    configuration::{Configuration, ZoneFile},
};

/// A zone as stored.
#[derive(Clone, Debug, Deserialize)]
pub struct ZoneRow {
    pub id: ZoneId,
    pub name: String,
    pub default: bool,
    pub nodes_ready: i64,
    /// Rises with each change.
    pub version: i64,
    /// With the alternates' names of now.
    pub settings: ZoneSettings,
    /// The alternates themselves, in order.
    pub alternates: Vec<ZoneId>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub applied_revision: String,
    #[serde(default)]
    pub applied_at: Option<String>,
    #[serde(default)]
    pub drifted: bool,
    /// Where an agent is that browsers reach without a proxy, in a zone where they do.
    #[serde(default)]
    pub direct: Option<String>,
}

/// How making a zone ended.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum SavedZone {
    NoAlternate { zone: String },
    Ok { zone: Box<ZoneRow> },
}

/// How an application of files ended.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Applied {
    Ok,
    /// Somebody else wrote meanwhile.
    Changed,
    ChangedMeanwhile,
    /// A group has, or would have, permissions that the caller lacks.
    Beyond,
    /// A group that is always there.
    System,
    /// A zone that was to be deleted has nodes that work.
    InUse {
        name: String,
        nodes: i64,
        sessions: i64,
    },
    Last {
        name: String,
    },
    NoAlternate {
        name: String,
    },
    NoZone {
        name: String,
    },
    NoGroup {
        name: String,
    },
    /// A member that a group's file names.
    NoUser {
        name: String,
        user: String,
    },
    /// A group's file leaves nobody who may administer everything.
    LastAdministrator,
    NotFound,
}

/// How a zone's deletion stands.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum DeletedZone {
    NotFound,
    /// It is the only one.
    Last,
    /// Nodes of it work.
    InUse {
        nodes: i64,
        sessions: i64,
    },
    /// They work still, and were told to stop.
    Draining {
        nodes: i64,
        sessions: i64,
    },
    Ok,
}

/// What whoever asks may see of zones.
#[derive(Debug, Deserialize)]
pub struct ZoneViewer {
    /// Whether they may use their own sessions.
    pub own: bool,
    /// Whether they may see settings.
    pub view: bool,
    /// The zones that a key is bound to.
    pub zones: Option<Vec<ZoneId>>,
}

/// The zones, and who asks.
#[derive(Debug, Deserialize)]
pub struct ZoneList {
    /// None when the token is nobody's.
    pub caller: Option<ZoneViewer>,
    pub items: Vec<ZoneRow>,
}

const LIST: &str = "SELECT list_zones_v2($1)";
pub(super) const HOT: &[&str] = &[LIST];

/// A zone, as far as measuring is concerned.
#[derive(Clone, Debug, Deserialize)]
pub struct MeasuredZone {
    pub id: ZoneId,
    pub name: String,
    /// Policy allows it, and it has an agent to run something on.
    pub eligible: bool,
}

/// What a login's page measured before, and what it may measure.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Measured {
    Unauthenticated,
    Ok {
        /// 0: nothing yet.
        version: i64,
        state: Box<Nearest>,
        zones: Vec<MeasuredZone>,
    },
}

impl Store {
    /// Makes a zone as a file has it.
    ///
    /// # Errors
    /// When the database does not answer; `violates("zones_name_key")` when the name is taken.
    pub async fn make_zone(&self, file: &ZoneFile, by: UserId) -> Result<SavedZone, StoreError> {
        let id = file.id.unwrap_or_else(ZoneId::generate);
        self.call("SELECT save_zone_v1($1, $2, $3)", &[&id.0, &Json(file.entry()), &by.0]).await
    }

    /// Deletes a zone that does nothing any more; with `drain`, what it does is brought to an end first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn delete_zone(
        &self,
        zone: ZoneId,
        drain: bool,
        by: UserId,
    ) -> Result<DeletedZone, StoreError> {
        self.call("SELECT delete_zone_v1($1, $2, $3)", &[&zone.0, &drain, &by.0]).await
    }

    /// All zones, groups and workspaces.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn configuration(&self) -> Result<Configuration, StoreError> {
        self.call("SELECT configuration_v1()", &[]).await
    }

    /// Of these names, those that no user has.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn unknown_users(&self, names: &[String]) -> Result<Vec<String>, StoreError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let statement = "SELECT coalesce(jsonb_agg(n.name), '[]') FROM unnest($1::text[]) n(name)
            WHERE NOT EXISTS (SELECT 1 FROM users u WHERE lower(u.name) = lower(n.name) AND u.deleted_at IS NULL)";
        self.call(statement, &[&names]).await
    }

    /// Carries a plan's orders out, all of them or none, if nothing changed since the state with this mark.
    ///
    /// # Errors
    /// When the database does not answer; `violates("zones_name_key")` or `violates("groups_name")` when a name is taken.
    pub async fn apply_configuration(
        &self,
        mark: &str,
        orders: &serde_json::Value,
        by: &Caller,
        origin: &Origin,
    ) -> Result<Applied, StoreError> {
        self.call(
            "SELECT apply_configuration_v1($1, $2, $3, $4, $5, $6)",
            &[&mark, &Json(orders), &by.id().0, &by.permissions(), &origin.address, &origin.request_id],
        )
        .await
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn measured(&self, token: TokenHash) -> Result<Measured, StoreError> {
        self.call("SELECT measured_v1($1)", &[&token.0.as_slice()]).await
    }

    /// Keeps what follows from a measurement, if no other came meanwhile.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn keep_measured(
        &self,
        token: TokenHash,
        version: i64,
        nearest: &Nearest,
    ) -> Result<bool, StoreError> {
        let zone = nearest.zone.map(|zone| zone.0);
        let changed = self
            .execute(
                "INSERT INTO login_zones (token_hash, zone_id, state) SELECT token_hash, $3, $4 FROM logins WHERE token_hash = $1
                 ON CONFLICT (token_hash) DO UPDATE SET zone_id = excluded.zone_id, state = excluded.state,
                     version = login_zones.version + 1, measured_at = now() WHERE login_zones.version = $2",
                &[&token.0.as_slice(), &version, &zone, &Json(nearest)],
            )
            .await?;
        Ok(changed == 1)
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn list_zones(&self, token: TokenHash) -> Result<ZoneList, StoreError> {
        self.call(LIST, &[&token.0.as_slice()]).await
    }

    /// By id or name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn find_zone(&self, id_or_name: &str) -> Result<Option<ZoneRow>, StoreError> {
        let statement = "SELECT coalesce((SELECT zone_view_v1(z) FROM zones z WHERE z.name = $1 OR z.id::text = $1), 'null')";
        self.call(statement, &[&id_or_name]).await
    }

    /// The zones that are named, each by its name or id, in their order, with their names of now; none where there is no such zone.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn name_zones(&self, named: &[String]) -> Result<Vec<Option<(ZoneId, String)>>, StoreError> {
        let statement =
            "SELECT DISTINCT ON (n.place) z.id, z.name FROM unnest($1::text[]) WITH ORDINALITY n(name, place)
            LEFT JOIN zones z ON z.name = n.name OR z.id::text = n.name ORDER BY n.place";
        let rows = self.rows(statement, &[&named]).await?;
        rows.iter()
            .map(|row| Ok(row.try_get::<_, Option<Uuid>>(0)?.map(ZoneId).zip(row.try_get(1)?)))
            .collect()
    }

    /// The names of those of a zone's alternates that are isolated.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn isolated_alternates(&self, zone: ZoneId) -> Result<Vec<String>, StoreError> {
        let statement = "SELECT coalesce(jsonb_agg(o.name ORDER BY o.position), '[]')
            FROM zones z JOIN zones o ON o.id = ANY (z.alternates) WHERE z.id = $1 AND (o.settings->>'isolated')::boolean";
        self.call(statement, &[&zone.0]).await
    }

    /// Makes a zone without alternates.
    ///
    /// # Errors
    /// When the database does not answer; `violates("zones_name_key")` when the name is taken.
    pub async fn create_zone(&self, name: &str, settings: &ZoneSettings) -> Result<ZoneRow, StoreError> {
        let id = ZoneId::generate();
        let statement = "WITH z AS (INSERT INTO zones (id, name, settings) VALUES ($1, $2, $3::jsonb - 'alternate_zones'::text) RETURNING *)
            SELECT zone_view_v1(ROW(z.*)::zones) FROM z";
        self.call(statement, &[&id.0, &name, &Json(settings)]).await
    }

    /// Replaces a zone's name, settings and alternates, if nobody changed it since the caller read it. The alternates count, not their
    /// names in the settings. Its version says when its file would be another: not when nothing changes, and for the zones that
    /// name it as an alternate when its name does.
    ///
    /// # Errors
    /// When the database does not answer; `violates("zones_name_key")` when the name is taken.
    pub async fn replace_zone(
        &self,
        zone: &ZoneRow,
        name: &str,
        settings: &ZoneSettings,
        alternates: &[ZoneId],
        labels: &BTreeMap<String, String>,
        by: Option<UserId>,
    ) -> Result<bool, StoreError> {
        let by = by.map(|by| by.0);
        let alternates: Vec<Uuid> = alternates.iter().map(|zone| zone.0).collect();
        let changed = self
            .execute(
                "WITH changed AS (UPDATE zones SET name = $2, settings = $3::jsonb - 'alternate_zones'::text, alternates = $6, labels = $7,
                         version = version + ((name, settings, alternates, labels)
                             IS DISTINCT FROM ($2, $3::jsonb - 'alternate_zones'::text, $6, $7))::integer
                     WHERE id = $1 AND version = $4 RETURNING id),
                 referring AS (UPDATE zones z SET version = z.version + 1 FROM changed
                     WHERE $2 <> $8 AND changed.id = ANY (z.alternates) AND z.id <> changed.id)
                 INSERT INTO audit (user_id, action, target, outcome, detail)
                 SELECT $5, 'update_zone', $2, 'ok', $3::jsonb || jsonb_build_object('labels', $7::jsonb)
                     || CASE WHEN $2 <> $8 THEN jsonb_build_object('renamed_from', $8) ELSE '{}' END FROM changed",
                &[&zone.id.0, &name, &Json(settings), &zone.version, &by, &alternates, &Json(labels), &zone.name],
            )
            .await?;
        Ok(changed == 1)
    }
}
