//! Looking on at somebody else's session: whoever may asks, the person at the desktop answers, and either ends it.
//!
//! What either sees of it is in the session's view and its events (`watches`); nothing is asked for over and over.

use axum::{Json, extract::State, http::StatusCode};
use meridian_ids::WatchId;
use meridian_model::{Permission, Policy, Transport};
use meridian_ticket::Watch;

use super::{
    error::{ApiError, Hop},
    extract::{Body, From, OptionalBody, Page as PageOf, Path, PathOfTwo, Token},
    names::check_name,
    permit::nobody,
    sessions::{check_jkt, mint, no_entry, parse},
};
use crate::{
    app::tickets::{self, ConnectTarget},
    state::AppState,
    store::watches::{AnswerWatch, AskToWatch, ConnectWatch, EndWatch},
    views::{ConnectRequest, ConnectView, ErrorView, NewWatch, SessionView, WatchAnswer, WatchView},
};

/// Asks the session's user whether the caller may look on. The question goes away after a minute. Asked twice, it is one question.
#[utoipa::path(post, path = "/api/v1/sessions/{id}/watches", tag = "sessions", params(("id" = String, Path)), request_body = NewWatch,
    responses((status = 201, body = WatchView), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 404, body = ErrorView), (status = 409, body = ErrorView), (status = 422, body = ErrorView)))]
pub(super) async fn ask_to_watch(
    State(state): State<AppState>,
    From(origin): From,
    Token(token): Token,
    Path(id): Path,
    Body(new): Body<NewWatch>,
) -> Result<(StatusCode, Json<WatchView>), ApiError> {
    let (session, reason) = (parse(&id)?, check_name("reason", &new.reason)?);
    match state.store.ask_to_watch(token, session, &reason, &origin).await? {
        AskToWatch::Ok { watch } => {
            tracing::info!(session.id = %session, watch = %watch.id, "somebody asks to look on");
            Ok((StatusCode::CREATED, Json(*watch)))
        }
        AskToWatch::Unauthenticated => Err(nobody(&state, token).await),
        AskToWatch::NotFound => Err(ApiError::not_found("session")),
        AskToWatch::Forbidden => Err(ApiError::lacks(Permission::SessionsWatch.as_str())),
        AskToWatch::Own => Err(conflict("own_session", "This session is your own").hint("Open it instead")),
        AskToWatch::NotLive { state, reason } => {
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            Err(conflict("session_not_live", format!("This session is {state}{reason}"))
                .hint("Only a session that runs can be looked on at"))
        }
        AskToWatch::NotServed => Err(conflict(
            "watch_not_served",
            "The agent of this session is of a release that lets nobody look on",
        )
        .hop(Hop::Agent)
        .hint("Upgrade the agent; the session goes on meanwhile")),
        AskToWatch::Declined => {
            Err(conflict("watch_declined", "The person at the desktop has just declined")
                .hint("Ask again in a minute, or talk to them first")
                .retry_after(60))
        }
        AskToWatch::Full => Err(conflict(
            "watch_full",
            "Two people look on at this session, or ask to, which is as many as may",
        )
        .hint("Wait until one of them has left")),
    }
}

/// The answer of the session's user, who is at the desktop: `allow` or `decline`; `seen` says that their page shows the question.
#[utoipa::path(post, path = "/api/v1/sessions/{id}/watches/{watch}/answer", tag = "sessions",
    params(("id" = String, Path), ("watch" = String, Path)), request_body = WatchAnswer,
    responses((status = 200, body = SessionView), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 404, body = ErrorView), (status = 409, body = ErrorView)))]
pub(super) async fn answer_watch(
    State(state): State<AppState>,
    From(origin): From,
    Token(token): Token,
    PathOfTwo(id, watch): PathOfTwo,
    Body(WatchAnswer { answer }): Body<WatchAnswer>,
) -> Result<Json<SessionView>, ApiError> {
    match state.store.answer_watch(token, parse(&id)?, parse_watch(&watch)?, answer, &origin).await? {
        AnswerWatch::Ok { session } => Ok(Json(*session)),
        AnswerWatch::Unauthenticated => Err(nobody(&state, token).await),
        AnswerWatch::NotFound => Err(ApiError::not_found("question")),
        AnswerWatch::NoPerson => Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "not_for_keys",
            "Only the person at the desktop can answer this, not an API key",
        )
        .hint("Answer in the page that shows the desktop")),
        AnswerWatch::Over => Err(conflict("watch_over", "This question is not there any more")
            .hint("Whoever wants to look on can ask again")),
    }
}

/// Ends it: the session's user stops it, or whoever looks on leaves or takes the question back.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}/watches/{watch}", tag = "sessions",
    params(("id" = String, Path), ("watch" = String, Path)),
    responses((status = 200, body = WatchView), (status = 401, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn end_watch(
    State(state): State<AppState>,
    From(origin): From,
    Token(token): Token,
    PathOfTwo(id, watch): PathOfTwo,
) -> Result<Json<WatchView>, ApiError> {
    match state.store.end_watch(token, parse(&id)?, parse_watch(&watch)?, &origin).await? {
        EndWatch::Ok { watch } => Ok(Json(*watch)),
        EndWatch::Unauthenticated => Err(nobody(&state, token).await),
        EndWatch::NotFound => Err(ApiError::not_found("question")),
    }
}

/// A ticket for a stream to look on by, once that is allowed: `meridian.v1`, pictures alone.
#[utoipa::path(post, path = "/api/v1/sessions/{id}/watches/{watch}/connect", tag = "sessions",
    params(("id" = String, Path), ("watch" = String, Path)), request_body = ConnectRequest,
    responses((status = 200, body = ConnectView), (status = 401, body = ErrorView), (status = 404, body = ErrorView),
        (status = 409, body = ErrorView), (status = 410, body = ErrorView)))]
pub(super) async fn connect_watch(
    State(state): State<AppState>,
    PageOf(page): PageOf,
    Token(token): Token,
    PathOfTwo(id, watch): PathOfTwo,
    OptionalBody(request): OptionalBody<ConnectRequest>,
) -> Result<Json<ConnectView>, ApiError> {
    let (session, watch) = (parse(&id)?, parse_watch(&watch)?);
    check_jkt(&request)?;
    if request.transport.is_some_and(|transport| transport != Transport::MeridianV1) {
        return Err(ApiError::invalid("transport must be meridian.v1 to look on").at("transport"));
    }
    match state.store.connect_watch(token, session, watch).await? {
        ConnectWatch::Ok {
            user_id,
            zone_id,
            agent_id,
            epoch,
            generation,
            settings,
            until_s,
            agent,
            direct_address,
        } => {
            let target = ConnectTarget {
                session,
                user: user_id,
                zone: zone_id,
                agent: agent_id,
                epoch,
                generation,
                policy: Policy::ONLOOKER,
                watch: Some(Watch { id: watch, until: until_s }),
            };
            let entries = tickets::stream_entries(&settings, direct_address.as_deref(), &page);
            if entries.is_empty() {
                return Err(no_entry(&agent));
            }
            Ok(Json(mint(&state, &target, Transport::MeridianV1, request.jkt, &entries, &page)))
        }
        ConnectWatch::Unauthenticated => Err(nobody(&state, token).await),
        ConnectWatch::NotFound => Err(ApiError::not_found("question")),
        ConnectWatch::NotAnswered => {
            Err(conflict("watch_not_answered", "The person at the desktop has not answered yet")
                .hint("Wait for the answer: the session's events say when it comes"))
        }
        ConnectWatch::Over { because } => {
            let because = because.unwrap_or_else(|| "it is not allowed any more".into());
            Err(ApiError::new(StatusCode::GONE, "watch_over", format!("Looking on is over: {because}"))
                .hint("Ask again"))
        }
    }
}

fn conflict(code: &'static str, message: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, code, message)
}

/// What is no id at all names no question either.
fn parse_watch(id: &str) -> Result<WatchId, ApiError> {
    id.parse().map_err(|_| ApiError::not_found("question"))
}
