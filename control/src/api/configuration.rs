//! Zones, groups and workspaces as files: read together, applied together.

use axum::{
    Json,
    body::to_bytes,
    extract::{FromRequest, Request, State},
    http::StatusCode,
};
use meridian_model::Permission;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    error::ApiError,
    extract::{From, too_large},
    permit::{FilesPermit, Permit, ZonesView},
    shape,
};
use crate::{
    app::{
        caller::Caller,
        configuration::{CurrentGroup, CurrentZone, Plan, WantedFiles, plan},
        words::counted,
    },
    state::AppState,
    store::zones::Applied,
    views::{AppliedView, ConfigurationView, ErrorView, NewConfiguration, PlannedView},
};

/// Where files are applied; the one request that may be long.
pub(super) const APPLY_PATH: &str = "/api/v1/configuration/apply";
const MAX_BYTES: usize = 8 << 20;
/// Somebody else may write between look and change, now and then.
const TRIES: usize = 5;

/// All zones, groups and workspaces, as their files have them; groups for those who may view groups.
#[utoipa::path(get, path = "/api/v1/configuration", tag = "zones",
    responses((status = 200, body = ConfigurationView), (status = 403, body = ErrorView)))]
pub(super) async fn get_configuration(
    State(state): State<AppState>,
    permit: Permit<ZonesView>,
) -> Result<Json<ConfigurationView>, ApiError> {
    let current = state.store.configuration().await?;
    Ok(Json(ConfigurationView {
        zones: current.zones.iter().map(CurrentZone::file).collect(),
        groups: permit
            .caller
            .may(Permission::GroupsView)
            .then(|| current.groups.iter().map(CurrentGroup::file).collect()),
        workspaces: current.workspaces.into_iter().map(|row| row.entry).collect(),
    }))
}

/// Makes zones, groups and workspaces what the files say: everything is judged before anything is written, and all of it is written or nothing.
/// Repeating it changes nothing. Only with `prune` is anything deleted. It takes `zones:modify`, and the permission for each thing that is done; a
/// dry run takes the permissions to view what it compares, and no others.
#[utoipa::path(post, path = "/api/v1/configuration/apply", tag = "zones", request_body = NewConfiguration,
    responses((status = 200, body = AppliedView), (status = 403, body = ErrorView), (status = 409, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn apply_configuration(
    State(state): State<AppState>,
    From(origin): From,
    FilesPermit(caller): FilesPermit,
    Long(new): Long<NewConfiguration>,
) -> Result<Json<AppliedView>, ApiError> {
    let only_looks = only_looks(&caller, &new)?;
    if new.revision.chars().count() > 200 || new.revision.chars().any(char::is_control) {
        return Err(ApiError::field(
            "revision",
            "must have at most 200 characters, and no control characters",
        ));
    }
    let mut wanted = WantedFiles {
        zones: new.zones,
        groups: new.groups,
        workspaces: new.workspaces,
        prune: new.prune,
        unknown_users: Vec::new(),
    };
    ApiError::refuse(wanted.too_many())?;
    let members: Vec<String> =
        wanted.groups.iter().flatten().filter_map(|file| file.members.clone()).flatten().collect();
    for _ in 0..TRIES {
        let current = state.store.configuration().await?;
        wanted.unknown_users = state.store.unknown_users(&members).await?;
        let plan = plan(&current, &wanted).map_err(ApiError::fields)?;
        if !only_looks {
            demand(&caller, &plan)?;
        }
        if new.dry_run {
            return Ok(Json(AppliedView { applied: false, plan: plan.items }));
        }
        let orders = plan.orders(&new.revision);
        match state.store.apply_configuration(&current.mark, &orders, &caller, &origin).await {
            Ok(Applied::Ok) => return Ok(Json(AppliedView { applied: true, plan: plan.items })),
            Ok(Applied::Beyond) => return Err(ApiError::beyond()),
            Ok(Applied::Changed | Applied::ChangedMeanwhile) => {}
            Ok(Applied::InUse { name, nodes, sessions }) => return Err(in_use(&name, nodes, sessions)),
            Ok(Applied::LastAdministrator) => {
                return Err(ApiError::field(
                    "groups.Administrators.members",
                    "would leave nobody who may administer everything",
                ));
            }
            Ok(Applied::Last { name }) => {
                return Err(ApiError::field(&format!("zones.{name}"), "is the last zone, which stays"));
            }
            // Judged before, and gone since: the next look sees it.
            Ok(
                Applied::NoAlternate { .. }
                | Applied::NoZone { .. }
                | Applied::NoGroup { .. }
                | Applied::NoUser { .. }
                | Applied::System
                | Applied::NotFound,
            ) => {}
            Err(error) if error.violates("zones_name_key") => return Err(ApiError::taken("zone")),
            Err(error) if error.violates("groups_name") => return Err(ApiError::taken("group")),
            Err(error) => return Err(error.into()),
        }
    }
    Err(ApiError::changed_meanwhile("deployment's configuration"))
}

/// Whether the caller compares, and may view all that is compared. Whoever may apply the files may try that without, as it would be judged.
fn only_looks(caller: &Caller, new: &NewConfiguration) -> Result<bool, ApiError> {
    let compared = [
        (new.zones.is_some(), Permission::ZonesView),
        (new.groups.is_some(), Permission::GroupsView),
        (new.workspaces.is_some(), Permission::WorkspacesView),
    ];
    let unseen =
        compared.into_iter().find(|(is_named, view)| *is_named && !caller.may(*view)).map(|(_, view)| view);
    let missing = match unseen {
        None if new.dry_run => return Ok(true),
        Some(view) if new.dry_run => view,
        Some(_) | None => Permission::ZonesModify,
    };
    if caller.may(Permission::ZonesModify) { Ok(false) } else { Err(ApiError::lacks(missing.as_str())) }
}

/// Each thing that is done needs its own permission, as if it was done alone.
fn demand(caller: &Caller, plan: &Plan) -> Result<(), ApiError> {
    for item in &plan.items {
        let needs = match (item.kind.as_str(), item.action.as_str()) {
            (_, "unlisted") => continue,
            ("zone", "create") => Permission::ZonesCreate,
            ("zone", "delete") => Permission::ZonesDelete,
            ("zone", _) => Permission::ZonesModify,
            ("group", "create") => Permission::GroupsCreate,
            ("group", "delete") => Permission::GroupsDelete,
            ("group", _) => Permission::GroupsModify,
            (_, "create") => Permission::WorkspacesCreate,
            (_, "delete") => Permission::WorkspacesDelete,
            (_, _) => Permission::WorkspacesModify,
        };
        for needs in std::iter::once(needs).chain(needs_of_images(item)) {
            if !caller.may(needs) {
                return Err(ApiError::lacks(needs.as_str()));
            }
        }
    }
    Ok(())
}

/// What it takes besides that a zone wants other images than before.
fn needs_of_images(item: &PlannedView) -> Vec<Permission> {
    let Some(change) = item.changes.iter().find(|change| change.field == "desired_images") else {
        return Vec::new();
    };
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (from, to) = (list(&change.from), list(&change.to));
    let mut needs = Vec::new();
    needs.extend(to.iter().any(|image| !from.contains(image)).then_some(Permission::ImagesCreate));
    needs.extend(from.iter().any(|image| !to.contains(image)).then_some(Permission::ImagesDelete));
    needs
}

pub(super) fn in_use(zone: &str, nodes: i64, sessions: i64) -> ApiError {
    ApiError::new(
        StatusCode::CONFLICT,
        "zone_in_use",
        format!(
            "{} in zone {zone}, with {}",
            counted(nodes, "node works", "nodes work"),
            counted(sessions, "session", "sessions")
        ),
    )
    .hint(format!("Drain it first, and end what runs there: meridian admin zones delete {zone} --drain"))
}

/// A JSON body that may be long.
pub(super) struct Long<T>(T);

impl<T: DeserializeOwned> FromRequest<AppState> for Long<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &AppState) -> Result<Self, ApiError> {
        let bytes = to_bytes(request.into_body(), MAX_BYTES).await.map_err(|_| too_large())?;
        shape::read(&bytes).map(Self)
    }
}
