//! HTTP: the whole table of routes, and the OpenAPI document that is made from it.
//!
//! Handlers extract, make one call, and give a view. The hot interactions' extractors only parse: one SQL function decides. The rest take
//! [`permit::Permit`] as an argument: permission is a type, not a line that somebody may forget.

mod assets;
mod audit;
mod auth;
mod configuration;
mod connections;
mod error;
mod explain;
pub(crate) mod extract;
mod groups;
mod health;
mod homes;
mod images;
mod keys;
mod layers;
mod measurements;
mod names;
pub(crate) mod node_listener;
mod nodes;
mod permit;
mod reassignments;
mod sessions;
mod shape;
mod users;
mod watches;
mod workspaces;
mod zones;

use axum::{
    Router, middleware,
    routing::{any, get},
};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use error::{ApiError, Hop};

use crate::state::AppState;

#[derive(OpenApi)]
#[openapi(
    info(title = "Meridian", description = "The control plane's API.", license(name = "Apache-2.0")),
    components(schemas(crate::views::ErrorView)),
    tags(
        (name = "auth", description = "Sign in and out"),
        (name = "workspaces", description = "The catalogue"),
        (name = "zones", description = "Where workspaces run"),
        (name = "sessions", description = "Launched workspaces"),
        (name = "homes", description = "Homes that outlive sessions"),
        (name = "nodes", description = "The running roles"),
        (name = "images", description = "What agents have, and shall have"),
        (name = "users", description = "Accounts"),
        (name = "groups", description = "Groups, and what they decide"),
        (name = "api-keys", description = "Keys for programs"),
        (name = "audit", description = "What happened"),
    )
)]
struct Document;

fn documented() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(auth::login))
        .routes(routes!(auth::logout))
        .routes(routes!(auth::me))
        .routes(routes!(auth::change_password))
        .routes(routes!(workspaces::list_workspaces, workspaces::create_workspace))
        .routes(routes!(workspaces::update_workspace, workspaces::delete_workspace))
        .routes(routes!(zones::list_zones, zones::create_zone))
        .routes(routes!(zones::update_zone, zones::delete_zone))
        .routes(routes!(zones::zone_requirements))
        .routes(routes!(configuration::get_configuration))
        .routes(routes!(configuration::apply_configuration))
        .routes(routes!(measurements::measure_zones))
        .routes(routes!(reassignments::list_reassignments, reassignments::reassign))
        .routes(routes!(reassignments::undo_reassignment))
        .routes(routes!(sessions::list::list_sessions, sessions::launch_session))
        .routes(routes!(sessions::get_session, sessions::end_session))
        .routes(routes!(sessions::explain_session))
        .routes(routes!(explain::explain_launch))
        .routes(routes!(explain::list_refusals))
        .routes(routes!(sessions::watch_session))
        .routes(routes!(sessions::connect_session))
        .routes(routes!(sessions::stay_in_session))
        .routes(routes!(homes::list_homes, homes::delete_gone_homes))
        .routes(routes!(watches::ask_to_watch))
        .routes(routes!(watches::end_watch))
        .routes(routes!(watches::answer_watch))
        .routes(routes!(watches::connect_watch))
        .routes(routes!(homes::reset_home))
        .routes(routes!(homes::release_home))
        .routes(routes!(nodes::list_nodes))
        .routes(routes!(nodes::update_node))
        .routes(routes!(nodes::drain_node))
        .routes(routes!(nodes::undrain_node))
        .routes(routes!(nodes::remove_node))
        .routes(routes!(nodes::create_enrollment))
        .routes(routes!(nodes::zone_health))
        .routes(routes!(images::image_matrix))
        .routes(routes!(images::list_wanted_images, images::want_image, images::unwant_image))
        .routes(routes!(
            images::list_registry_logins,
            images::set_registry_login,
            images::remove_registry_login
        ))
        .routes(routes!(users::list_users, users::create_user))
        .routes(routes!(users::get_user, users::update_user, users::delete_user))
        .routes(routes!(users::get_user_policy))
        .routes(routes!(groups::list_groups, groups::create_group))
        .routes(routes!(groups::get_group, groups::update_group, groups::delete_group))
        .routes(routes!(groups::list_members))
        .routes(routes!(groups::add_member, groups::remove_member))
        .routes(routes!(groups::list_settings))
        .routes(routes!(keys::list_keys, keys::create_key))
        .routes(routes!(keys::revoke_key))
        .routes(routes!(audit::list_audit))
}

/// The OpenAPI 3.1 document, as served and as committed in openapi/.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    documented().into_openapi()
}

/// Everything that the public listener serves.
pub fn public_router(state: AppState) -> Router {
    let (router, document) = documented().split_for_parts();
    let document = std::sync::Arc::new(document);
    router
        .route("/api/v1/connections/authorize", axum::routing::post(connections::authorize))
        .route("/api/v1/nodes/enroll", axum::routing::post(connections::enroll))
        .route(
            "/api/v1/openapi.json",
            get(move || {
                let document = document.clone();
                async move { axum::Json((*document).clone()) }
            }),
        )
        .route("/api/__healthcheck", get(health::healthcheck))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/.well-known/jwks.json", get(health::jwks))
        .method_not_allowed_fallback(health::method_not_allowed)
        .route("/api", any(health::no_such_route))
        .route("/api/", any(health::no_such_route))
        .route("/api/{*rest}", any(health::no_such_route))
        .fallback(assets::console)
        .layer(axum::extract::DefaultBodyLimit::max(state.settings.max_body_bytes))
        .layer(middleware::from_fn_with_state(state.clone(), layers::note_origin))
        .layer(middleware::from_fn(layers::note_key))
        .layer(middleware::from_fn_with_state(state.clone(), layers::bound_body))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(middleware::from_fn_with_state(state.clone(), layers::guard))
        .layer(middleware::from_fn_with_state(state.clone(), layers::frame))
        .with_state(state)
}
