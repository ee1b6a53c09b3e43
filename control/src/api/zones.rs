//! Zones: names for everybody, settings for whoever may view zones.

use std::collections::BTreeSet;

use axum::{Json, extract::State, http::StatusCode};

use meridian_ids::ZoneId;
use meridian_model::{NodeRole, Permission, ZoneSettings};
use serde::Deserialize;

use super::{
    configuration::in_use,
    error::ApiError,
    extract::{Body, Page as PageOf, Path, Query, Token},
    permit::{Permit, ZonePermit, ZonesCreate, ZonesDelete, ZonesModify, ZonesView, nobody},
};
use crate::{
    app::{
        configuration::ZoneFile,
        requirements::{ZoneNeeds, requirements},
        rules::{MOST_NAMED, check_zone, shown},
        tickets::{self, RequestPage},
    },
    state::AppState,
    store::{
        nodes::WhichNodes,
        zones::{DeletedZone, SavedZone, ZoneRow},
    },
    views::{ErrorView, Page, RequirementsView, ZoneDeletionView, ZonePatch, ZoneSettingsView, ZoneView},
};

/// What a zone needs is said of each of its nodes; they are read page by page.
const NODES_AT_ONCE: i32 = 1000;

/// Where workspaces can run.
#[utoipa::path(get, path = "/api/v1/zones", tag = "zones",
    responses((status = 200, body = Page<ZoneView>), (status = 401, body = ErrorView)))]
pub(super) async fn list_zones(
    State(state): State<AppState>,
    PageOf(page): PageOf,
    Token(token): Token,
) -> Result<Json<Page<ZoneView>>, ApiError> {
    let list = state.store.list_zones(token).await?;
    let Some(caller) = list.caller else { return Err(nobody(&state, token).await) };
    if !caller.own && !caller.view {
        return Err(ApiError::lacks(Permission::ZonesView.as_str()));
    }
    let shown =
        |zone: &ZoneRow| caller.view && caller.zones.as_ref().is_none_or(|zones| zones.contains(&zone.id));
    let view = |zone: ZoneRow| {
        let shown = shown(&zone);
        view(zone, shown, &page)
    };
    Ok(Json(Page::whole(list.items.into_iter().map(view).collect())))
}

/// Changes any of a zone's settings; `id` is its id or its name.
#[utoipa::path(patch, path = "/api/v1/zones/{id}", tag = "zones", request_body = ZonePatch, params(("id" = String, Path)),
    responses((status = 200, body = ZoneView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 409, body = ErrorView), (status = 422, body = ErrorView)))]
pub(super) async fn update_zone(
    State(state): State<AppState>,
    permit: ZonePermit<ZonesModify>,
    PageOf(page): PageOf,
    Path(id): Path,
    Body(patch): Body<ZonePatch>,
) -> Result<Json<ZoneView>, ApiError> {
    let zone = state.store.find_zone(&id).await?.ok_or_else(|| ApiError::not_found("zone"))?;
    let caller = permit.within(Some(zone.id))?;
    let name = patch.zone_name.clone().unwrap_or_else(|| zone.name.clone());
    let labels = patch.labels.clone().unwrap_or_else(|| zone.labels.clone());
    let mut alternates = zone.alternates.clone();
    let mut settings = patch.clone().apply(zone.settings.clone());
    if let Some(wanted) = &patch.alternate_zones {
        (alternates, settings.alternate_zones) = find_alternates(&state, &zone, wanted).await?;
    }
    ApiError::refuse(check_zone(&name, &settings, &labels))?;
    let by = Some(caller.id());
    match state.store.replace_zone(&zone, &name, &settings, &alternates, &labels, by).await {
        Ok(true) => {
            let drifted = zone.drifted || !zone.applied_revision.is_empty();
            let row = ZoneRow { name, settings, alternates, labels, drifted, ..zone };
            Ok(Json(view(row, true, &page)))
        }
        Ok(false) => Err(ApiError::changed_meanwhile("zone")),
        Err(error) if error.violates("zones_name_key") => Err(ApiError::taken("zone")),
        Err(error) => Err(error.into()),
    }
}

/// Makes a zone. `zone_name` must be there; what is left out is as in any new zone.
#[utoipa::path(post, path = "/api/v1/zones", tag = "zones", request_body = ZonePatch,
    responses((status = 201, body = ZoneView), (status = 403, body = ErrorView), (status = 409, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn create_zone(
    State(state): State<AppState>,
    permit: Permit<ZonesCreate>,
    PageOf(page): PageOf,
    Body(patch): Body<ZonePatch>,
) -> Result<(StatusCode, Json<ZoneView>), ApiError> {
    let name = patch.zone_name.clone().unwrap_or_default();
    let labels = patch.labels.clone().unwrap_or_default();
    let file = ZoneFile::new(None, name, patch.apply(ZoneSettings::default()), labels);
    ApiError::refuse(file.problems())?;
    match state.store.make_zone(&file, permit.caller.id()).await {
        Ok(SavedZone::Ok { zone }) => Ok((StatusCode::CREATED, Json(view(*zone, true, &page)))),
        Ok(SavedZone::NoAlternate { zone }) => {
            Err(ApiError::field("alternate_zones", format!("{} is not another zone", shown(&zone))))
        }
        Err(error) if error.violates("zones_name_key") => Err(ApiError::taken("zone")),
        Err(error) => Err(error.into()),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteQuery {
    #[serde(default)]
    drain: bool,
}

/// Deletes a zone of which no node works any more; nodes that are dead go with it, and their sessions are lost. With `drain`, nodes that
/// work are drained and their sessions told to end: 202, until it can be deleted.
#[utoipa::path(delete, path = "/api/v1/zones/{id}", tag = "zones",
    params(("id" = String, Path), ("drain" = Option<bool>, Query)),
    responses((status = 200, body = ZoneDeletionView), (status = 202, body = ZoneDeletionView), (status = 403, body = ErrorView),
        (status = 404, body = ErrorView), (status = 409, body = ErrorView)))]
pub(super) async fn delete_zone(
    State(state): State<AppState>,
    permit: ZonePermit<ZonesDelete>,
    Path(id): Path,
    Query(query): Query<DeleteQuery>,
) -> Result<(StatusCode, Json<ZoneDeletionView>), ApiError> {
    let zone = state.store.find_zone(&id).await?.ok_or_else(|| ApiError::not_found("zone"))?;
    let caller = permit.within(Some(zone.id))?;
    let stands = |state: &str, nodes, sessions| ZoneDeletionView { state: state.to_owned(), nodes, sessions };
    match state.store.delete_zone(zone.id, query.drain, caller.id()).await? {
        DeletedZone::Ok => Ok((StatusCode::OK, Json(stands("deleted", 0, 0)))),
        DeletedZone::Draining { nodes, sessions } => {
            Ok((StatusCode::ACCEPTED, Json(stands("draining", nodes, sessions))))
        }
        DeletedZone::InUse { nodes, sessions } => Err(in_use(&zone.name, nodes, sessions)),
        DeletedZone::Last => Err(ApiError::new(
            StatusCode::CONFLICT,
            "last_zone",
            format!("{} is the last zone, and a deployment has one", zone.name),
        )
        .hint("Make another zone first, or rename this one")),
        DeletedZone::NotFound => Err(ApiError::not_found("zone")),
    }
}

/// What the zone needs of the DNS and of certificates, and what is unwise about it as it is.
#[utoipa::path(get, path = "/api/v1/zones/{id}/requirements", tag = "zones", params(("id" = String, Path)),
    responses((status = 200, body = RequirementsView), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn zone_requirements(
    State(state): State<AppState>,
    permit: ZonePermit<ZonesView>,
    Path(id): Path,
) -> Result<Json<RequirementsView>, ApiError> {
    let zone = state.store.find_zone(&id).await?.ok_or_else(|| ApiError::not_found("zone"))?;
    permit.within(Some(zone.id))?;
    let web = WhichNodes { role: Some(NodeRole::Web), ..WhichNodes::default() };
    let here = WhichNodes { zone: Some(zone.id), ..WhichNodes::default() };
    let mut nodes = state.store.list_nodes(None, &web, None, NODES_AT_ONCE).await?;
    loop {
        let after = nodes.last().filter(|node| node.role != NodeRole::Web).map(|node| node.id);
        let page = state.store.list_nodes(None, &here, after, NODES_AT_ONCE).await?;
        if page.is_empty() {
            break;
        }
        nodes.extend(page);
    }
    let public_url = &state.settings.public_url;
    let isolated = state.store.isolated_alternates(zone.id).await?;
    let needs = ZoneNeeds {
        zone: &zone.name,
        settings: &zone.settings,
        public_url,
        nodes: &nodes,
        isolated: &isolated,
    };
    Ok(Json(requirements(&needs)))
}

/// The zones that are meant, and their names of now.
async fn find_alternates(
    state: &AppState,
    zone: &ZoneRow,
    wanted: &[String],
) -> Result<(Vec<ZoneId>, Vec<String>), ApiError> {
    if wanted.len() > MOST_NAMED {
        return Err(ApiError::field("alternate_zones", format!("must be at most {MOST_NAMED}")));
    }
    let (mut ids, mut names) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for (text, found) in wanted.iter().zip(state.store.name_zones(wanted).await?) {
        let (id, name) = found.filter(|(id, _)| *id != zone.id).ok_or_else(|| {
            ApiError::field("alternate_zones", format!("{} is not another zone", shown(text)))
                .hint("It was deleted or renamed, perhaps: GET /api/v1/zones lists what there is")
        })?;
        if !seen.insert(id) {
            return Err(ApiError::field("alternate_zones", format!("{} is named twice", shown(text))));
        }
        ids.push(id);
        names.push(name);
    }
    Ok((ids, names))
}

fn view(zone: ZoneRow, shown: bool, page: &RequestPage) -> ZoneView {
    let (id, name, default) = (zone.id, zone.name.clone(), zone.default);
    let probe = tickets::probe_address(&zone.settings, zone.direct.as_deref(), page);
    let settings = shown.then(|| ZoneSettingsView::new(zone));
    ZoneView { id, zone_name: name.clone(), name, default, probe, settings }
}
