//! Accounts, for whoever may administer them.

use axum::{Json, extract::State, http::StatusCode};
use meridian_model::Permission;
use meridian_runtime::Secret;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    error::ApiError,
    extract::{Body, From, Path, Query},
    names::{check_limit, check_name, find_user_id, next_of, page, read_cursor},
    permit::{Known, Permit, UsersCreate, UsersDelete, UsersModify, UsersView},
};
use crate::{
    app::{
        passwords::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS},
        rules::shown,
        words::counted,
    },
    state::AppState,
    store::users::{UserChange, UserDeletion},
    views::{ErrorView, NewUser, Page, UserPatch, UserPolicyView, UserRowView},
};

const MAX_SESSION_LIMIT: u32 = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UserQuery {
    #[serde(default)]
    search: String,
    #[serde(default)]
    cursor: Option<String>,
    #[serde(default = "page")]
    limit: i32,
}

/// Accounts by name; `search` is a part of it.
#[utoipa::path(get, path = "/api/v1/users", tag = "users",
    params(("search" = Option<String>, Query), ("cursor" = Option<String>, Query), ("limit" = Option<i32>, Query)),
    responses((status = 200, body = Page<UserRowView>), (status = 401, body = ErrorView), (status = 403, body = ErrorView)))]
pub(super) async fn list_users(
    State(state): State<AppState>,
    _: Permit<UsersView>,
    Query(query): Query<UserQuery>,
) -> Result<Json<Page<UserRowView>>, ApiError> {
    let limit = check_limit(query.limit)?;
    let after = read_cursor(query.cursor.as_deref())?;
    let items = state.store.list_users(&query.search, after, limit).await?;
    let next = next_of(&items, limit, |user| user.id.to_string());
    Ok(Json(Page { items, next }))
}

/// One account, by id or name.
#[utoipa::path(get, path = "/api/v1/users/{id}", tag = "users", params(("id" = String, Path)),
    responses((status = 200, body = UserRowView), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 404, body = ErrorView)))]
pub(super) async fn get_user(
    State(state): State<AppState>,
    _: Permit<UsersView>,
    Path(id): Path,
) -> Result<Json<UserRowView>, ApiError> {
    state.store.find_user(&id).await?.map(Json).ok_or_else(|| ApiError::not_found("user"))
}

/// Makes an account.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", request_body = NewUser,
    responses((status = 201, body = UserRowView), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 409, body = ErrorView), (status = 422, body = ErrorView)))]
pub(super) async fn create_user(
    State(state): State<AppState>,
    permit: Permit<UsersCreate>,
    From(origin): From,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<UserRowView>), ApiError> {
    let name = check_name("username", &new.username)?;
    check_password("password", &new.password)?;
    let hash = state.passwords.hash(Secret::new(new.password)).await?;
    let by = Some((&permit.caller, &origin));
    match state.store.create_user(&name, &hash, new.role, new.must_change_password, by).await {
        Ok(change) => answer(change).map(|user| (StatusCode::CREATED, Json(user))),
        Err(error) if error.violates("users_name") => Err(ApiError::taken("user").at("username")),
        Err(error) => Err(error.into()),
    }
}

/// Renames, locks, unlocks, disables or enables an account, gives it a password, or a limit or a home zone of its own.
#[utoipa::path(patch, path = "/api/v1/users/{id}", tag = "users", request_body = UserPatch, params(("id" = String, Path)),
    responses((status = 200, body = UserRowView), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 404, body = ErrorView), (status = 409, body = ErrorView), (status = 422, body = ErrorView)))]
pub(super) async fn update_user(
    State(state): State<AppState>,
    permit: Permit<UsersModify>,
    From(origin): From,
    Path(id): Path,
    Body(patch): Body<UserPatch>,
) -> Result<Json<UserRowView>, ApiError> {
    let id = find_user_id(&state, &id).await?;
    let home = patch.home_zone.clone().flatten().unwrap_or_default();
    let patch = checked(&state, patch).await?;
    match state.store.change_user(id, &patch, &permit.caller, &origin).await {
        Ok(UserChange::NoZone) => {
            Err(ApiError::field("home_zone", format!("there is no zone {}", shown(&home)))
                .hint("GET /api/v1/zones lists what there is"))
        }
        Ok(change) => answer(change).map(Json),
        Err(error) if error.violates("users_name") => Err(ApiError::taken("user").at("name")),
        Err(error) => Err(error.into()),
    }
}

/// The patch as the database takes it: with a hash in place of the password, and only what was said.
async fn checked(state: &AppState, patch: UserPatch) -> Result<Value, ApiError> {
    let mut changes = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            changes.insert(name.into(), value);
        }
    };
    set("name", patch.name.map(|name| check_name("name", &name)).transpose()?.map(Value::from));
    set("must_change_password", patch.must_change_password.map(Value::from));
    set("locked", patch.locked.map(Value::from));
    set("disabled", patch.disabled.map(Value::from));
    if patch.session_limit.flatten().is_some_and(|limit| limit > MAX_SESSION_LIMIT) {
        return Err(ApiError::invalid(format!("session_limit must be between 0 and {MAX_SESSION_LIMIT}"))
            .at("session_limit"));
    }
    set("session_limit", patch.session_limit.map(|limit| json!(limit)));
    set("home_zone", patch.home_zone.map(|zone| json!(zone)));
    if let Some(password) = patch.password {
        check_password("password", &password)?;
        set("password_hash", Some(state.passwords.hash(Secret::new(password)).await?.into()));
    }
    Ok(Value::Object(changes))
}

pub(super) fn check_password(field: &'static str, password: &str) -> Result<(), ApiError> {
    if password.chars().count() < MIN_PASSWORD_CHARS || password.len() > MAX_PASSWORD_BYTES {
        return Err(ApiError::invalid(format!(
            "{field} must have {MIN_PASSWORD_CHARS} characters or more, and at most {MAX_PASSWORD_BYTES} bytes"
        ))
        .at(field));
    }
    Ok(())
}

fn answer(change: UserChange) -> Result<UserRowView, ApiError> {
    match change {
        UserChange::Ok { user } => Ok(*user),
        UserChange::NotFound => Err(ApiError::not_found("user")),
        UserChange::Beyond => Err(ApiError::beyond()),
        UserChange::Yourself => Err(yourself("lock or disable")),
        UserChange::LastAdministrator => Err(ApiError::last_administrator()),
        UserChange::NoZone => Err(ApiError::not_found("zone")),
        UserChange::ZoneNotAllowed { zone } => Err(ApiError::field(
            "home_zone",
            format!("{zone} is not among the zones that this user's policy allows"),
        )
        .hint("GET /api/v1/users/{id}/policy says which those are (allowed_zones), and which group says so")),
    }
}

fn yourself(action: &str) -> ApiError {
    ApiError::invalid(format!("you cannot {action} yourself"))
        .hint("Let another administrator do it, so that nobody locks everybody out")
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteQuery {
    #[serde(default)]
    end_sessions: bool,
}

/// Deletes an account; its name is free again. Where sessions would end by it, `end_sessions=true` confirms that they may.
#[utoipa::path(delete, path = "/api/v1/users/{id}", tag = "users",
    params(("id" = String, Path), ("end_sessions" = Option<bool>, Query)),
    responses((status = 204), (status = 401, body = ErrorView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 409, body = ErrorView), (status = 422, body = ErrorView)))]
pub(super) async fn delete_user(
    State(state): State<AppState>,
    permit: Permit<UsersDelete>,
    From(origin): From,
    Path(id): Path,
    Query(query): Query<DeleteQuery>,
) -> Result<StatusCode, ApiError> {
    let id = find_user_id(&state, &id).await?;
    match state.store.delete_user(id, query.end_sessions, &permit.caller, &origin).await? {
        UserDeletion::Ok { sessions } => {
            tracing::info!(user.id = %id, sessions, "user deleted");
            Ok(StatusCode::NO_CONTENT)
        }
        UserDeletion::NotFound => Err(ApiError::not_found("user")),
        UserDeletion::Beyond => Err(ApiError::beyond()),
        UserDeletion::Yourself => Err(yourself("delete")),
        UserDeletion::LastAdministrator => Err(ApiError::last_administrator()),
        UserDeletion::HasSessions { sessions } => Err(ApiError::new(
            StatusCode::CONFLICT,
            "user_has_sessions",
            format!(
                "This user has {} with the account, and everything in it is removed",
                counted(sessions, "session, which ends", "sessions, which end")
            ),
        )
        .hint("Confirm it with end_sessions=true, or disable the account instead")),
    }
}

/// The policy that holds for a user, and which group each setting comes from: for the user, and whoever may view users.
#[utoipa::path(get, path = "/api/v1/users/{id}/policy", tag = "users", params(("id" = String, Path)),
    responses((status = 200, body = UserPolicyView), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 404, body = ErrorView)))]
pub(super) async fn get_user_policy(
    State(state): State<AppState>,
    Known(caller): Known,
    Path(id): Path,
) -> Result<Json<UserPolicyView>, ApiError> {
    let mine =
        caller.own && (id == caller.id().to_string() || id.to_lowercase() == caller.user.name.to_lowercase());
    // Whether others exist is a secret from whoever may not see them.
    if !mine && (!caller.may(Permission::UsersView) || caller.zones.is_some()) {
        return Err(ApiError::lacks(Permission::UsersView.as_str()));
    }
    let id = if mine { caller.id() } else { find_user_id(&state, &id).await? };
    state.store.user_policy(id).await?.map(Json).ok_or_else(|| ApiError::not_found("user"))
}
