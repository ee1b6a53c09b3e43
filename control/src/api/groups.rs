//! Groups: what they decide about their members, and what members may administer.

use axum::{Json, extract::State, http::StatusCode};
use meridian_model::{
    GroupSettings, Permission, UserPolicy,
    policy::{Kind, SETTINGS, SettingError},
};
use serde_json::{Map, Value};

use super::{
    error::ApiError,
    extract::{Body, From, Path, PathOfTwo, Query},
    names::{PageQuery, check_limit, check_name, find_user_id, next_of, read_cursor},
    permit::{GroupsCreate, GroupsDelete, GroupsModify, GroupsView, Known, Permit},
};
use crate::{
    app::rules::LAST_PRIORITY,
    state::AppState,
    store::groups::{GroupChange, GroupDeletion, GroupParts, Membership},
    views::{ErrorView, GroupPatch, GroupView, NamedView, NewGroup, Page, SettingView},
};

const MAX_DESCRIPTION_CHARS: usize = 1000;

/// Groups by priority; Everyone is the last.
#[utoipa::path(get, path = "/api/v1/groups", tag = "groups",
    params(("cursor" = Option<String>, Query), ("limit" = Option<i32>, Query)),
    responses((status = 200, body = Page<GroupView>), (status = 401, body = ErrorView), (status = 403, body = ErrorView)))]
pub(super) async fn list_groups(
    State(state): State<AppState>,
    _: Permit<GroupsView>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<GroupView>>, ApiError> {
    let limit = check_limit(query.limit)?;
    let items = state.store.list_groups(read_cursor(query.cursor.as_deref())?, limit).await?;
    let next = next_of(&items, limit, |group| group.id.to_string());
    Ok(Json(Page { items, next }))
}

/// One group, by id or name.
#[utoipa::path(get, path = "/api/v1/groups/{id}", tag = "groups", params(("id" = String, Path)),
    responses((status = 200, body = GroupView), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 404, body = ErrorView)))]
pub(super) async fn get_group(
    State(state): State<AppState>,
    _: Permit<GroupsView>,
    Path(id): Path,
) -> Result<Json<GroupView>, ApiError> {
    find(&state, &id).await.map(Json)
}

async fn find(state: &AppState, id: &str) -> Result<GroupView, ApiError> {
    state.store.find_group(id).await?.ok_or_else(|| ApiError::not_found("group"))
}

/// Makes a group.
#[utoipa::path(post, path = "/api/v1/groups", tag = "groups", request_body = NewGroup,
    responses((status = 201, body = GroupView), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 409, body = ErrorView), (status = 422, body = ErrorView)))]
pub(super) async fn create_group(
    State(state): State<AppState>,
    permit: Permit<GroupsCreate>,
    From(origin): From,
    Body(new): Body<NewGroup>,
) -> Result<(StatusCode, Json<GroupView>), ApiError> {
    let parts = GroupParts {
        name: Some(check_name("name", &new.name)?),
        priority: Some(check_priority(new.priority)?),
        description: Some(check_description(&new.description)?),
        settings: Some(check_settings(&state, &new.settings).await?),
        permissions: Some(check_permissions(&new.permissions)?),
    };
    let change = state.store.create_group(&parts, &permit.caller, &origin).await;
    answer(change).map(|group| (StatusCode::CREATED, Json(group)))
}

/// Changes a group. Live streams to which something else applies from now on are cut, and come back with it.
#[utoipa::path(patch, path = "/api/v1/groups/{id}", tag = "groups", request_body = GroupPatch, params(("id" = String, Path)),
    responses((status = 200, body = GroupView), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 404, body = ErrorView), (status = 409, body = ErrorView), (status = 422, body = ErrorView)))]
pub(super) async fn update_group(
    State(state): State<AppState>,
    permit: Permit<GroupsModify>,
    From(origin): From,
    Path(id): Path,
    Body(patch): Body<GroupPatch>,
) -> Result<Json<GroupView>, ApiError> {
    let group = find(&state, &id).await?;
    check_system(&group, &patch)?;
    let settings = match &patch.settings {
        None => None,
        Some(changes) => Some(check_settings(&state, &merged(&group.settings, changes)).await?),
    };
    let parts = GroupParts {
        name: patch.name.map(|name| check_name("name", &name)).transpose()?,
        priority: patch.priority.filter(|new| *new != group.priority).map(check_priority).transpose()?,
        description: patch.description.map(|text| check_description(&text)).transpose()?,
        settings,
        permissions: patch.permissions.map(|permissions| check_permissions(&permissions)).transpose()?,
    };
    let change = state.store.change_group(group.id, group.version, &parts, &permit.caller, &origin).await;
    answer(change).map(Json)
}

/// The settings with the changes: a value sets one, null takes one out.
fn merged(settings: &Map<String, Value>, changes: &Map<String, Value>) -> Map<String, Value> {
    let mut settings = settings.clone();
    for (name, value) in changes {
        if value.is_null() {
            settings.remove(name);
        } else {
            settings.insert(name.clone(), value.clone());
        }
    }
    settings
}

/// What belongs to a system group stays.
fn check_system(group: &GroupView, patch: &GroupPatch) -> Result<(), ApiError> {
    let Some(system) = group.system.as_deref() else { return Ok(()) };
    let fixed = |field: &'static str| {
        Err(ApiError::invalid(format!("{field} of {} cannot be changed", group.name)).at(field))
    };
    if patch.name.as_ref().is_some_and(|name| *name != group.name) {
        return fixed("name");
    }
    if system == "everyone" && patch.priority.is_some_and(|priority| priority != group.priority) {
        return fixed("priority");
    }
    if system == "administrators" && patch.permissions.as_ref().is_some_and(|new| *new != group.permissions) {
        return fixed("permissions");
    }
    Ok(())
}

fn answer(change: Result<GroupChange, crate::store::StoreError>) -> Result<GroupView, ApiError> {
    match change {
        Ok(GroupChange::Ok { group }) => Ok(*group),
        Ok(GroupChange::NotFound) => Err(ApiError::not_found("group")),
        Ok(GroupChange::Beyond) => Err(ApiError::beyond().at("permissions")),
        Ok(GroupChange::ChangedMeanwhile) => Err(ApiError::changed_meanwhile("group")),
        Err(error) if error.violates("groups_name") => Err(ApiError::taken("group").at("name")),
        Err(error) => Err(error.into()),
    }
}

/// Deletes a group. What it decided, others decide from now on.
#[utoipa::path(delete, path = "/api/v1/groups/{id}", tag = "groups", params(("id" = String, Path)),
    responses((status = 204), (status = 401, body = ErrorView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn delete_group(
    State(state): State<AppState>,
    permit: Permit<GroupsDelete>,
    From(origin): From,
    Path(id): Path,
) -> Result<StatusCode, ApiError> {
    let group = find(&state, &id).await?;
    match state.store.delete_group(group.id, &permit.caller, &origin).await? {
        GroupDeletion::Ok => Ok(StatusCode::NO_CONTENT),
        GroupDeletion::NotFound => Err(ApiError::not_found("group")),
        GroupDeletion::System => Err(ApiError::invalid(format!("{} is always there", group.name))),
        GroupDeletion::Beyond => Err(ApiError::beyond()),
    }
}

/// Who belongs to a group, by name.
#[utoipa::path(get, path = "/api/v1/groups/{id}/members", tag = "groups",
    params(("id" = String, Path), ("cursor" = Option<String>, Query), ("limit" = Option<i32>, Query)),
    responses((status = 200, body = Page<NamedView>), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 404, body = ErrorView)))]
pub(super) async fn list_members(
    State(state): State<AppState>,
    _: Permit<GroupsView>,
    Path(id): Path,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<NamedView>>, ApiError> {
    let limit = check_limit(query.limit)?;
    let group = find(&state, &id).await?;
    let items = state.store.list_members(group.id, read_cursor(query.cursor.as_deref())?, limit).await?;
    let next = next_of(&items, limit, |user| user.id.clone());
    Ok(Json(Page { items, next }))
}

/// Puts somebody into a group; who belongs to it already stays.
#[utoipa::path(put, path = "/api/v1/groups/{id}/members/{user}", tag = "groups",
    params(("id" = String, Path), ("user" = String, Path)),
    responses((status = 204), (status = 401, body = ErrorView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn add_member(
    State(state): State<AppState>,
    permit: Permit<GroupsModify>,
    From(origin): From,
    PathOfTwo(group, user): PathOfTwo,
) -> Result<StatusCode, ApiError> {
    set_membership(&state, &permit, &origin, (&group, &user), true).await
}

/// Takes somebody out of a group.
#[utoipa::path(delete, path = "/api/v1/groups/{id}/members/{user}", tag = "groups",
    params(("id" = String, Path), ("user" = String, Path)),
    responses((status = 204), (status = 401, body = ErrorView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 409, body = ErrorView), (status = 422, body = ErrorView)))]
pub(super) async fn remove_member(
    State(state): State<AppState>,
    permit: Permit<GroupsModify>,
    From(origin): From,
    PathOfTwo(group, user): PathOfTwo,
) -> Result<StatusCode, ApiError> {
    set_membership(&state, &permit, &origin, (&group, &user), false).await
}

async fn set_membership(
    state: &AppState,
    permit: &Permit<GroupsModify>,
    origin: &crate::store::logins::Origin,
    (group, user): (&str, &str),
    member: bool,
) -> Result<StatusCode, ApiError> {
    let group = find(state, group).await?;
    let user = find_user_id(state, user).await?;
    match state.store.set_membership(group.id, user, member, &permit.caller, origin).await? {
        Membership::Ok => Ok(StatusCode::NO_CONTENT),
        Membership::NotFound { what } => Err(ApiError::not_found(&what)),
        Membership::System => Err(ApiError::invalid(format!("all users belong to {}", group.name))),
        Membership::Beyond => Err(ApiError::beyond()),
        Membership::LastAdministrator => Err(ApiError::last_administrator()),
    }
}

/// Every setting that a group can decide: what it means, what its value must be, and what holds where no group says anything.
#[utoipa::path(get, path = "/api/v1/policy/settings", tag = "groups",
    responses((status = 200, body = Page<SettingView>), (status = 401, body = ErrorView)))]
pub(super) async fn list_settings(_: Known) -> Json<Page<SettingView>> {
    let defaults = serde_json::to_value(UserPolicy::default()).unwrap_or_default();
    let view = |setting: &meridian_model::policy::Setting| {
        let (kind, words) = match setting.kind {
            Kind::Switch => ("switch", &[][..]),
            Kind::Number { .. } => ("number", &[][..]),
            Kind::Cores => ("cores", &[][..]),
            Kind::Words(words) => ("words", words),
            Kind::Zone => ("zone", &[][..]),
            Kind::Zones => ("zones", &[][..]),
        };
        SettingView {
            name: setting.name.into(),
            meaning: setting.meaning.into(),
            kind: kind.into(),
            wanted: setting.kind.wanted(),
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            default: defaults[setting.name].clone(),
        }
    };
    Json(Page::whole(SETTINGS.iter().map(view).collect()))
}

fn check_priority(priority: i32) -> Result<i32, ApiError> {
    if (1..LAST_PRIORITY).contains(&priority) {
        Ok(priority)
    } else {
        Err(ApiError::invalid(format!("priority must be between 1 and {}", LAST_PRIORITY - 1)).at("priority"))
    }
}

fn check_description(text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    if text.chars().count() > MAX_DESCRIPTION_CHARS {
        let message = format!("description must have at most {MAX_DESCRIPTION_CHARS} characters");
        return Err(ApiError::invalid(message).at("description"));
    }
    Ok(text.to_owned())
}

pub(super) fn check_permissions(wanted: &[String]) -> Result<Vec<String>, ApiError> {
    let mut permissions = Vec::new();
    for text in wanted {
        let permission = Permission::parse(text).ok_or_else(|| {
            ApiError::invalid(format!("there is no permission {}", text.chars().take(64).collect::<String>()))
                .at("permissions")
                .hint(format!("There are {}", Permission::ALL.map(Permission::as_str).join(", ")))
        })?;
        permissions.push(permission.as_str().to_owned());
    }
    permissions.sort_unstable();
    permissions.dedup();
    Ok(permissions)
}

/// The settings, each judged for itself and beside the others, with zones by their ids.
async fn check_settings(state: &AppState, written: &Map<String, Value>) -> Result<GroupSettings, ApiError> {
    let mut settings = GroupSettings::read(written).map_err(refuse)?;
    if let Some(zones) = &settings.allowed_zones {
        settings.allowed_zones = Some(find_zones(state, "allowed_zones", zones).await?);
    }
    if let Some(zone) = &settings.home_zone {
        settings.home_zone = find_zones(state, "home_zone", std::slice::from_ref(zone)).await?.pop();
    }
    settings.check_together().map_err(refuse)?;
    Ok(settings)
}

async fn find_zones(state: &AppState, field: &str, named: &[String]) -> Result<Vec<String>, ApiError> {
    let found = state.store.find_zones(named).await?;
    named
        .iter()
        .zip(found)
        .map(|(name, zone)| {
            zone.map(|zone| zone.to_string()).ok_or_else(|| {
                ApiError::invalid(format!("{field}: there is no zone {name}"))
                    .at(format!("settings.{field}"))
                    .hint("GET /api/v1/zones lists what there is")
            })
        })
        .collect()
}

fn refuse(error: SettingError) -> ApiError {
    ApiError::invalid(error.to_string())
        .at(format!("settings.{}", error.field))
        .hint("GET /api/v1/policy/settings says what each setting takes")
}
