//! API keys: for programs, with some of their user's permissions.

use axum::{Json, extract::State, http::StatusCode};
use meridian_ids::{ApiKeyId, ZoneId};
use meridian_model::{OWN_SESSIONS, Permission};
use meridian_runtime::random_token;
use serde::Deserialize;

use super::{
    error::ApiError,
    extract::{Body, From, KEY_PREFIX, Path, Query, hash_token},
    groups::check_permissions,
    names::{check_limit, check_name, find_user_id, next_of, page, read_cursor},
    permit::{Known, Person},
};
use crate::{
    app::{caller::Caller, rules::shown},
    state::AppState,
    store::api_keys::{KeyCreation, KeyParts, KeyRevocation},
    views::{ApiKeyView, ErrorView, NewApiKey, NewApiKeyView, Page},
};

const MAX_DAYS: i32 = 3650;
/// So much of a key's token is kept, for people to tell it from others.
const HINT_CHARS: usize = KEY_PREFIX.len() + 6;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyQuery {
    /// Whose: an id or a name.
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    all: bool,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default = "page")]
    limit: i32,
}

/// The caller's keys, newest first; somebody else's, or all, for whoever may view users.
#[utoipa::path(get, path = "/api/v1/api-keys", tag = "api-keys",
    params(("user" = Option<String>, Query), ("all" = Option<bool>, Query), ("cursor" = Option<String>, Query),
        ("limit" = Option<i32>, Query)),
    responses((status = 200, body = Page<ApiKeyView>), (status = 401, body = ErrorView), (status = 403, body = ErrorView)))]
pub(super) async fn list_keys(
    State(state): State<AppState>,
    Known(caller): Known,
    Query(query): Query<KeyQuery>,
) -> Result<Json<Page<ApiKeyView>>, ApiError> {
    let limit = check_limit(query.limit)?;
    let others = query.all || query.user.is_some() || caller.key_id.is_some();
    if others && (!caller.may(Permission::UsersView) || caller.zones.is_some()) {
        return Err(ApiError::lacks(Permission::UsersView.as_str()));
    }
    let user = match &query.user {
        Some(user) => Some(find_user_id(&state, user).await?),
        None => Some(caller.id()).filter(|_| !query.all),
    };
    let items = state.store.list_keys(user, read_cursor(query.cursor.as_deref())?, limit).await?;
    let next = next_of(&items, limit, |key| key.id.to_string());
    Ok(Json(Page { items, next }))
}

/// Makes a key for the caller, who must have signed in: a key makes no keys. Its token is shown once.
#[utoipa::path(post, path = "/api/v1/api-keys", tag = "api-keys", request_body = NewApiKey,
    responses((status = 201, body = NewApiKeyView), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 409, body = ErrorView), (status = 422, body = ErrorView)))]
pub(super) async fn create_key(
    State(state): State<AppState>,
    Person(caller): Person,
    From(origin): From,
    Body(new): Body<NewApiKey>,
) -> Result<(StatusCode, Json<NewApiKeyView>), ApiError> {
    let token = format!("{KEY_PREFIX}{}", random_token());
    let parts = checked(&state, &caller, new, &token).await?;
    match state.store.create_key(caller.id(), hash_token(&token), &parts, &origin).await? {
        KeyCreation::Ok { key } => Ok((StatusCode::CREATED, Json(NewApiKeyView { token, key: *key }))),
        KeyCreation::Beyond => Err(ApiError::beyond().at("permissions")),
        KeyCreation::TooMany => Err(ApiError::new(
            StatusCode::CONFLICT,
            "too_many_keys",
            "You have as many keys as one person may",
        )
        .hint("Revoke those that you no longer need")),
    }
}

async fn checked(
    state: &AppState,
    caller: &Caller,
    new: NewApiKey,
    token: &str,
) -> Result<KeyParts, ApiError> {
    if !(1..=MAX_DAYS).contains(&new.expires_in_days) {
        return Err(ApiError::invalid(format!("expires_in_days must be between 1 and {MAX_DAYS}"))
            .at("expires_in_days"));
    }
    let own = new.permissions.iter().any(|permission| permission == OWN_SESSIONS);
    let mut wanted = new.permissions;
    wanted.retain(|permission| permission != OWN_SESSIONS);
    let mut permissions = check_permissions(&wanted)?;
    if let Some(lacking) = permissions.iter().find(|wanted| !caller.permissions().contains(wanted)) {
        return Err(ApiError::beyond().at("permissions").hint(format!("You lack {lacking}")));
    }
    let zones = match &new.zones {
        None => None,
        Some(zones) => Some(checked_zones(state, zones, &permissions).await?),
    };
    if own {
        permissions.push(OWN_SESSIONS.to_owned());
    }
    if permissions.is_empty() {
        return Err(ApiError::invalid("a key without permissions is good for nothing")
            .at("permissions")
            .hint(format!("Name some of your own permissions, or {OWN_SESSIONS}")));
    }
    let name = check_name("name", &new.name)?;
    let hint = token.chars().take(HINT_CHARS).collect();
    Ok(KeyParts { name, hint, permissions, zones, days: new.expires_in_days })
}

/// A key for some zones administers them, and nothing that belongs to no zone. Its user's own sessions it uses there.
async fn checked_zones(
    state: &AppState,
    zones: &[String],
    permissions: &[String],
) -> Result<Vec<ZoneId>, ApiError> {
    let refuse = |message: String| Err(ApiError::invalid(message).at("zones"));
    if zones.is_empty() || zones.len() > 1000 {
        return refuse("zones must name 1 to 1000 zones; leave it out for all".into());
    }
    let beside =
        permissions.iter().find(|text| !Permission::parse(text).is_some_and(Permission::belongs_to_zones));
    if let Some(beside) = beside {
        return refuse(format!("a key for some zones cannot have {beside}, which belongs to no zone"));
    }
    let mut found = Vec::new();
    for (name, zone) in zones.iter().zip(state.store.find_zones(zones).await?) {
        match zone {
            Some(zone) if !found.contains(&zone) => found.push(zone),
            Some(_) => {}
            None => return refuse(format!("there is no zone {}", shown(name))),
        }
    }
    Ok(found)
}

/// Revokes a key at once: one's own, or anybody's for whoever may modify users. Somebody else's looks like none to others.
#[utoipa::path(delete, path = "/api/v1/api-keys/{id}", tag = "api-keys", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = ErrorView), (status = 403, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn revoke_key(
    State(state): State<AppState>,
    Known(caller): Known,
    From(origin): From,
    Path(id): Path,
) -> Result<StatusCode, ApiError> {
    let id: ApiKeyId = id.parse().map_err(|_| ApiError::not_found("API key"))?;
    let others = caller.may(Permission::UsersModify) && caller.zones.is_none();
    // A key may revoke itself, and others only with the permission.
    if caller.key_id.is_some_and(|key| key != id) && !others {
        return Err(ApiError::not_found("API key"));
    }
    match state.store.revoke_key(id, others, &caller, &origin).await? {
        KeyRevocation::Ok => Ok(StatusCode::NO_CONTENT),
        KeyRevocation::NotFound => Err(ApiError::not_found("API key")),
        KeyRevocation::Beyond => Err(ApiError::beyond()),
    }
}
