//! Zones: names for everybody, settings for whoever may view zones.

use axum::{Json, extract::State};

use meridian_ids::ZoneId;
use meridian_model::Permission;

use super::{
    error::ApiError,
    extract::{Body, Path, Token},
    permit::{ZonePermit, ZonesModify, nobody},
};
use crate::{
    state::AppState,
    store::zones::ZoneRow,
    views::{ErrorView, Page, ZonePatch, ZoneSettingsView, ZoneView},
};

/// Where workspaces can run.
#[utoipa::path(get, path = "/api/v1/zones", tag = "zones",
    responses((status = 200, body = Page<ZoneView>), (status = 401, body = ErrorView)))]
pub(super) async fn list_zones(
    State(state): State<AppState>,
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
        view(zone, shown)
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
    Path(id): Path,
    Body(patch): Body<ZonePatch>,
) -> Result<Json<ZoneView>, ApiError> {
    let zone = state.store.find_zone(&id).await?.ok_or_else(|| ApiError::not_found("zone"))?;
    let caller = permit.within(Some(zone.id))?;
    let name = patch.zone_name.clone().unwrap_or_else(|| zone.name.clone());
    check_name(&name)?;
    let mut alternates = zone.alternates.clone();
    let mut settings = patch.clone().apply(zone.settings.clone());
    if let Some(wanted) = &patch.alternate_zones {
        (alternates, settings.alternate_zones) = find_alternates(&state, &zone, wanted).await?;
    }
    if settings.isolated && settings.search_alternate_zones {
        return Err(ApiError::invalid("an isolated zone does not borrow: turn search_alternate_zones off"));
    }
    match state.store.replace_zone(&zone, &name, &settings, &alternates, Some(caller.id())).await {
        Ok(true) => Ok(Json(view(ZoneRow { name, settings, alternates, ..zone }, true))),
        Ok(false) => Err(ApiError::changed_meanwhile("zone")),
        Err(error) if error.violates("zones_name_key") => Err(ApiError::taken("zone")),
        Err(error) => Err(error.into()),
    }
}

/// The zones that are meant, and their names of now.
async fn find_alternates(
    state: &AppState,
    zone: &ZoneRow,
    wanted: &[String],
) -> Result<(Vec<ZoneId>, Vec<String>), ApiError> {
    let (mut ids, mut names) = (Vec::new(), Vec::new());
    for text in wanted {
        let found = state.store.find_zone(text).await?;
        let found = found.filter(|found| found.id != zone.id).ok_or_else(|| {
            ApiError::invalid(format!("alternate_zones: {text} is not another zone"))
                .hint("It was deleted or renamed, perhaps: GET /api/v1/zones lists what there is")
        })?;
        if ids.contains(&found.id) {
            return Err(ApiError::invalid(format!("alternate_zones: {text} is named twice")));
        }
        ids.push(found.id);
        names.push(found.name);
    }
    Ok((ids, names))
}

/// A zone's name must be fit for a DNS label and a path.
pub(crate) fn check_name(name: &str) -> Result<(), ApiError> {
    let fits = (1..=40).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fits {
        Ok(())
    } else {
        Err(ApiError::invalid("a zone's name has 1 to 40 of a-z, 0-9 and - (not at its ends)"))
    }
}

fn view(zone: ZoneRow, shown: bool) -> ZoneView {
    let settings = shown.then(|| ZoneSettingsView::new(zone.settings, zone.nodes_ready));
    ZoneView { id: zone.id, zone_name: zone.name.clone(), name: zone.name, default: zone.default, settings }
}
