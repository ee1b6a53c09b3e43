//! Moves of people from zone to zone: looked at, made, undone.

use axum::{Json, extract::State, http::StatusCode};
use meridian_ids::ReassignmentId;
use meridian_model::Permission;

use super::{
    error::ApiError,
    extract::{Body, From, Path, Query},
    names::{PageQuery, check_limit, next_of, read_cursor},
    permit::{Permit, ZonesModify, ZonesView},
};
use crate::{
    app::{caller::Caller, rules::shown, words::counted},
    state::AppState,
    store::reassignments::{Move, MoveKind, Reassigned, Undone},
    views::{ErrorView, NewReassignment, Page, ReassignedView, ReassignmentView},
};

/// Refused people that a message names.
const NAMED: usize = 5;

/// Moves a user, a group's members or everybody of a zone to another zone: it becomes their home zone, and sessions elsewhere are offered to
/// be launched again there. With `dry_run` it only tells who and which sessions. All of them are moved or nobody; nobody is moved across
/// the border of an isolated zone.
#[utoipa::path(post, path = "/api/v1/reassignments", tag = "zones", request_body = NewReassignment,
    responses((status = 200, body = ReassignedView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 409, body = ErrorView), (status = 422, body = ErrorView)))]
pub(super) async fn reassign(
    State(state): State<AppState>,
    permit: Permit<ZonesModify>,
    From(origin): From,
    Body(new): Body<NewReassignment>,
) -> Result<Json<ReassignedView>, ApiError> {
    let (kind, subject) = subject_of(&new)?;
    demand(&permit.caller, kind)?;
    let what = Move { kind, subject, to: &new.to, dry_run: new.dry_run };
    match state.store.reassign(what, permit.caller.id(), &origin).await? {
        Reassigned::Would(view) => Ok(Json(*view)),
        Reassigned::Ok(view) => {
            tracing::info!(
                zone = view.to,
                people = view.people,
                sessions = view.sessions,
                "people were moved"
            );
            Ok(Json(*view))
        }
        Reassigned::Refused(view) => Err(refused(&view)),
        Reassigned::NotFound { what } => Err(ApiError::not_found(&what)),
        Reassigned::NoZone { zone } => Err(ApiError::field("to", format!("{} is not a zone", shown(&zone)))),
        Reassigned::SameZone { zone } => Err(ApiError::field("to", format!("they are in {zone} already"))),
        Reassigned::Isolated { zone } => Err(isolated(&zone)),
    }
}

/// Moves that were made, the latest first.
#[utoipa::path(get, path = "/api/v1/reassignments", tag = "zones",
    params(("cursor" = Option<String>, Query), ("limit" = Option<i32>, Query)),
    responses((status = 200, body = Page<ReassignmentView>), (status = 403, body = ErrorView)))]
pub(super) async fn list_reassignments(
    State(state): State<AppState>,
    _: Permit<ZonesView>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<ReassignmentView>>, ApiError> {
    let limit = check_limit(query.limit)?;
    let items = state.store.list_reassignments(read_cursor(query.cursor.as_deref())?, limit).await?;
    let next = next_of(&items, limit, |made| made.id.to_string());
    Ok(Json(Page { items, next }))
}

/// Puts back what a move replaced, where nobody changed it since, and takes its offers back. What was launched again stays where it is.
#[utoipa::path(post, path = "/api/v1/reassignments/{id}/undo", tag = "zones", params(("id" = String, Path)),
    responses((status = 200, body = ReassignmentView), (status = 403, body = ErrorView), (status = 404, body = ErrorView),
        (status = 409, body = ErrorView)))]
pub(super) async fn undo_reassignment(
    State(state): State<AppState>,
    permit: Permit<ZonesModify>,
    From(origin): From,
    Path(id): Path,
) -> Result<Json<ReassignmentView>, ApiError> {
    let id: ReassignmentId = id.parse().map_err(|_| ApiError::not_found("reassignment"))?;
    let kind = state.store.reassignment_kind(id).await?.ok_or_else(|| ApiError::not_found("reassignment"))?;
    demand(&permit.caller, kind)?;
    match state.store.undo_reassignment(id, permit.caller.id(), &origin).await? {
        Undone::Ok { reassignment } => Ok(Json(*reassignment)),
        Undone::NotFound => Err(ApiError::not_found("reassignment")),
        Undone::Isolated { zone } => Err(isolated(&zone)),
    }
}

fn subject_of(new: &NewReassignment) -> Result<(MoveKind, &str), ApiError> {
    match (&new.user, &new.group, &new.zone) {
        (Some(user), None, None) => Ok((MoveKind::User, user)),
        (None, Some(group), None) => Ok((MoveKind::Group, group)),
        (None, None, Some(zone)) => Ok((MoveKind::Zone, zone)),
        (_, _, _) => Err(ApiError::invalid("name one of user, group and zone, and no more")),
    }
}

/// Whoever moves people changes what they and their groups are told.
fn demand(caller: &Caller, kind: MoveKind) -> Result<(), ApiError> {
    let needs: &[Permission] = match kind {
        MoveKind::User => &[Permission::UsersModify],
        MoveKind::Group => &[Permission::GroupsModify],
        MoveKind::Zone => &[Permission::UsersModify, Permission::GroupsModify],
    };
    match needs.iter().find(|permission| !caller.may(**permission)) {
        None => Ok(()),
        Some(lacking) => Err(ApiError::lacks(lacking.as_str())),
    }
}

fn refused(view: &ReassignedView) -> ApiError {
    let named = view.first_people.iter().filter_map(|person| {
        person.refused_because.as_ref().map(|because| format!("{} ({because})", person.name))
    });
    let named: Vec<String> = named.take(NAMED).collect();
    let more = if view.refused > i64::try_from(NAMED).unwrap_or(i64::MAX) { ", and more" } else { "" };
    ApiError::new(
        StatusCode::CONFLICT,
        "reassignment_refused",
        format!(
            "{} of {} may not be moved, so nobody was: {}{more}",
            view.refused,
            counted(view.people, "person", "people"),
            named.join(", ")
        ),
    )
    .hint("Look first with dry_run, and change what is against it, or move fewer people")
}

fn isolated(zone: &str) -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "zone_isolated",
        format!("Zone {zone} is isolated: nobody is moved across its border"),
    )
    .hint("Whoever shall work on the other side needs a group that says so")
}
