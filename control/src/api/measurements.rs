//! Distances, as a signed-in page measured them, and the zone that follows.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use meridian_ids::ZoneId;

use super::{
    error::ApiError,
    extract::{Body, Token},
    permit::nobody,
};
use crate::{
    state::AppState,
    store::zones::Measured,
    views::{ErrorView, NearestView, NewMeasurement},
};

const MAX_ZONES: usize = 256;
const MAX_ROUNDS: usize = 16;
/// Two pages of one login that report in the same moment.
const TRIES: usize = 3;

/// What the page measured of the zones' entries (GET on a zone's `probe`, several rounds each). The server decides which zone is nearest,
/// and sticks to it: launches that nothing else decides begin there.
#[utoipa::path(post, path = "/api/v1/zones/measurements", tag = "zones", request_body = NewMeasurement,
    responses((status = 200, body = NearestView), (status = 401, body = ErrorView), (status = 409, body = ErrorView),
        (status = 422, body = ErrorView)))]
pub(super) async fn measure_zones(
    State(state): State<AppState>,
    Token(token): Token,
    Body(sent): Body<NewMeasurement>,
) -> Result<Json<NearestView>, ApiError> {
    if sent.zones.len() > MAX_ZONES || sent.zones.iter().any(|zone| zone.round_trips_ms.len() > MAX_ROUNDS) {
        return Err(ApiError::field(
            "zones",
            format!("at most {MAX_ZONES} zones, of {MAX_ROUNDS} rounds each"),
        ));
    }
    for _ in 0..TRIES {
        let Measured::Ok { version, state: before, zones } = state.store.measured(token).await? else {
            return Err(nobody(&state, token).await);
        };
        let by_name: BTreeMap<&str, ZoneId> =
            zones.iter().map(|zone| (zone.name.as_str(), zone.id)).collect();
        // A zone that was renamed or deleted meanwhile is passed over.
        let report: BTreeMap<ZoneId, Vec<f64>> = sent
            .zones
            .iter()
            .filter_map(|zone| Some((*by_name.get(zone.zone.as_str())?, zone.round_trips_ms.clone())))
            .collect();
        let eligible: Vec<ZoneId> = zones.iter().filter(|zone| zone.eligible).map(|zone| zone.id).collect();
        let after = before.after(&report, &eligible);
        // A key has no page to measure with; what it sends is answered and not kept.
        if state.store.keep_measured(token, version, &after).await? || version == 0 {
            let nearest = zones.into_iter().find(|zone| Some(zone.id) == after.zone).map(|zone| zone.name);
            return Ok(Json(NearestView { zone: nearest }));
        }
    }
    Err(ApiError::changed_meanwhile("measurement"))
}
