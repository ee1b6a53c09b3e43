//! Images: what zones want on their agents, how it stands there, and who the agents are at registries.

use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;

use super::{
    error::ApiError,
    extract::{Body, Path, Query},
    names::{check_limit, find_zone_id, page},
    permit::{ImagesCreate, ImagesDelete, ImagesModify, ImagesView, ZonePermit},
};
use crate::{
    app::{
        images::seal_password,
        rules::{MAX_IMAGES, MAX_REGISTRIES, check_image, check_login},
    },
    state::AppState,
    store::images::{MatrixRow, Wish},
    views::{
        ErrorView, ImageRowView, NewRegistryLogin, NewWantedImage, Page, RegistryLoginView, WantedImageView,
        image_warnings,
    },
};

/// Rows of a page at most.
const MOST_ROWS: i32 = 100;
/// Cells of a page, one for each of a zone's agents in each row: a page is full with the row that reaches so many.
const MOST_CELLS: i64 = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MatrixQuery {
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default = "page")]
    limit: i32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReferenceQuery {
    reference: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HostQuery {
    host: String,
}

/// Zone by image by agent: what is where, and what is not as it should be. A page has 100 rows at most, whatever `limit` says, and ends
/// with the row that brings it to 1,000 cells.
#[utoipa::path(get, path = "/api/v1/images", tag = "images",
    params(("zone" = Option<String>, Query), ("cursor" = Option<String>, Query), ("limit" = Option<i32>, Query)),
    responses((status = 200, body = Page<ImageRowView>), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn image_matrix(
    State(state): State<AppState>,
    permit: ZonePermit<ImagesView>,
    Query(query): Query<MatrixQuery>,
) -> Result<Json<Page<ImageRowView>>, ApiError> {
    let limit = check_limit(query.limit)?.min(MOST_ROWS);
    let after = query.cursor.as_deref().map(read_place).transpose()?;
    let zone = match &query.zone {
        Some(zone) => Some(find_zone_id(&state, zone).await?),
        None => None,
    };
    let page = state.store.image_matrix(zone, permit.zones(), after.as_ref(), limit, MOST_CELLS).await?;
    let last = page.rows.last().filter(|_| page.more);
    let next = last.map(|row| format!("{}/{}", row.position, row.reference));
    Ok(Json(Page { items: page.rows.into_iter().map(row_view).collect(), next }))
}

fn row_view(row: MatrixRow) -> ImageRowView {
    let MatrixRow { zone, reference, wanted, workspaces, agents, position: _ } = row;
    let warnings = image_warnings(wanted, &agents);
    ImageRowView { zone, reference, wanted, workspaces, agents, warnings }
}

/// A cursor is a zone's position and a reference.
fn read_place(cursor: &str) -> Result<(i32, String), ApiError> {
    let place = cursor.split_once('/').and_then(|(position, reference)| {
        position.parse().ok().map(|position| (position, reference.to_owned()))
    });
    place.ok_or_else(|| {
        ApiError::invalid("cursor is not one of this list")
            .at("cursor")
            .hint("A cursor is the `next` of the page before")
    })
}

/// What a zone wants on each of its agents; `id` is the zone's id or name.
#[utoipa::path(get, path = "/api/v1/zones/{id}/images", tag = "images", params(("id" = String, Path)),
    responses((status = 200, body = Page<WantedImageView>), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn list_wanted_images(
    State(state): State<AppState>,
    permit: ZonePermit<ImagesView>,
    Path(id): Path,
) -> Result<Json<Page<WantedImageView>>, ApiError> {
    let zone = find_zone_id(&state, &id).await?;
    permit.within(Some(zone))?;
    Ok(Json(Page::whole(state.store.wanted_images(zone).await?)))
}

/// Wants an image on each of the zone's agents: they load it ahead of need. Wanted already, nothing changes.
#[utoipa::path(put, path = "/api/v1/zones/{id}/images", tag = "images", request_body = NewWantedImage, params(("id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorView), (status = 404, body = ErrorView), (status = 409, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn want_image(
    State(state): State<AppState>,
    permit: ZonePermit<ImagesCreate>,
    Path(id): Path,
    Body(new): Body<NewWantedImage>,
) -> Result<StatusCode, ApiError> {
    let zone = find_zone_id(&state, &id).await?;
    let caller = permit.within(Some(zone))?;
    ApiError::refuse(check_image(&new.reference))?;
    let wish = state.store.want_image(zone, &new.reference, caller.id()).await?;
    granted(wish, &format!("A zone may want {MAX_IMAGES} images"))
}

/// Agents keep what they have, and do not load it again.
#[utoipa::path(delete, path = "/api/v1/zones/{id}/images", tag = "images",
    params(("id" = String, Path), ("reference" = String, Query)),
    responses((status = 204), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn unwant_image(
    State(state): State<AppState>,
    permit: ZonePermit<ImagesDelete>,
    Path(id): Path,
    Query(query): Query<ReferenceQuery>,
) -> Result<StatusCode, ApiError> {
    let zone = find_zone_id(&state, &id).await?;
    let caller = permit.within(Some(zone))?;
    removed(state.store.unwant_image(zone, &query.reference, caller.id()).await?, "image")
}

/// Who the zone's agents are at registries. No password is shown.
#[utoipa::path(get, path = "/api/v1/zones/{id}/registries", tag = "images", params(("id" = String, Path)),
    responses((status = 200, body = Page<RegistryLoginView>), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn list_registry_logins(
    State(state): State<AppState>,
    permit: ZonePermit<ImagesView>,
    Path(id): Path,
) -> Result<Json<Page<RegistryLoginView>>, ApiError> {
    let zone = find_zone_id(&state, &id).await?;
    permit.within(Some(zone))?;
    Ok(Json(Page::whole(state.store.registry_logins(zone).await?)))
}

/// Sets the login that the zone's agents use at a registry, in place of the one before. The password reaches these agents and nobody else.
#[utoipa::path(put, path = "/api/v1/zones/{id}/registries", tag = "images", request_body = NewRegistryLogin,
    params(("id" = String, Path)),
    responses((status = 204), (status = 403, body = ErrorView), (status = 404, body = ErrorView), (status = 409, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn set_registry_login(
    State(state): State<AppState>,
    permit: ZonePermit<ImagesModify>,
    Path(id): Path,
    Body(new): Body<NewRegistryLogin>,
) -> Result<StatusCode, ApiError> {
    let zone = find_zone_id(&state, &id).await?;
    let caller = permit.within(Some(zone))?;
    ApiError::refuse(check_login(&new))?;
    let sealed = seal_password(&state.deployment.sealer, zone, &new.host, &new.password);
    let wish = state.store.set_registry_login(zone, &new.host, &new.username, &sealed, caller.id()).await?;
    granted(wish, &format!("A zone may have logins for {MAX_REGISTRIES} registries"))
}

/// Takes a login away; agents forget it within seconds.
#[utoipa::path(delete, path = "/api/v1/zones/{id}/registries", tag = "images",
    params(("id" = String, Path), ("host" = String, Query)),
    responses((status = 204), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn remove_registry_login(
    State(state): State<AppState>,
    permit: ZonePermit<ImagesModify>,
    Path(id): Path,
    Query(query): Query<HostQuery>,
) -> Result<StatusCode, ApiError> {
    let zone = find_zone_id(&state, &id).await?;
    let caller = permit.within(Some(zone))?;
    removed(state.store.remove_registry_login(zone, &query.host, caller.id()).await?, "login")
}

fn granted(wish: Wish, bound: &str) -> Result<StatusCode, ApiError> {
    match wish {
        Wish::Ok => Ok(StatusCode::NO_CONTENT),
        Wish::NoZone => Err(ApiError::not_found("zone")),
        Wish::TooMany => Err(ApiError::too_many(bound)),
    }
}

fn removed(was_there: bool, what: &str) -> Result<StatusCode, ApiError> {
    if was_there { Ok(StatusCode::NO_CONTENT) } else { Err(ApiError::not_found(what)) }
}
