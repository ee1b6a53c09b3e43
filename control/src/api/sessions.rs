//! Launch, look, watch, connect, end.

pub(super) mod list;

use std::{collections::BTreeMap, convert::Infallible};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{
        Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{Stream, stream};
use meridian_ids::{SessionId, UserId};
use meridian_model::{Permission, Transport};
use tokio::sync::broadcast;

use super::{
    error::{ApiError, Hop},
    extract::{Body, From, OptionalBody, Page as PageOf, Path, Token},
    permit::nobody,
};
use crate::{
    app::{
        bus::{Changed, next_look},
        live::{Full, MAX_OF_A_USER, Place},
        tickets::{self, ConnectTarget, RequestPage},
        words::counted,
    },
    state::AppState,
    store::{
        logins::TokenHash,
        sessions::{Connect, EndSession, GetSession, HomeProblem, Launch, LaunchContext, Stay},
    },
    views::{ConnectRequest, ConnectView, ErrorView, ExplanationView, NewSession, SessionView},
};

const MAX_KEY_BYTES: usize = 200;

/// Launches a workspace. With an `Idempotency-Key` header, a repeated request gets the session that the first one made.
#[utoipa::path(post, path = "/api/v1/sessions", tag = "sessions", request_body = NewSession,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = SessionView), (status = 401, body = ErrorView), (status = 404, body = ErrorView),
        (status = 409, body = ErrorView), (status = 503, body = ErrorView)))]
pub(super) async fn launch_session(
    State(state): State<AppState>,
    From(origin): From,
    PageOf(page): PageOf,
    Token(token): Token,
    headers: HeaderMap,
    Body(new): Body<NewSession>,
) -> Result<(StatusCode, Json<SessionView>), ApiError> {
    let key = match headers.get("idempotency-key").map(|key| key.to_str()) {
        None => None,
        Some(Ok(key)) if (1..=MAX_KEY_BYTES).contains(&key.len()) => Some(key),
        Some(_) => {
            return Err(ApiError::invalid(format!(
                "Idempotency-Key must have 1 to {MAX_KEY_BYTES} characters"
            )));
        }
    };
    let host = page.host.to_ascii_lowercase();
    let home = new.home.unwrap_or_default();
    let context = LaunchContext { host: &host, node_zone: state.settings.zone.as_deref(), home };
    match state.store.launch(token, new.workspace_id, new.zone.as_deref(), key, &context, &origin).await? {
        Launch::Ok { session, replayed, push } => {
            state.pusher.push(push);
            if !replayed {
                state.metrics.launches.inc();
            }
            tracing::info!(session.id = %session.id, session.zone = session.zone, agent = session.agent, replayed, "session launched");
            Ok((StatusCode::CREATED, Json(*session)))
        }
        Launch::Unauthenticated => Err(nobody(&state, token).await),
        Launch::NoWorkspace => Err(ApiError::not_found("workspace")),
        Launch::NoZone => Err(ApiError::not_found("zone")),
        Launch::KeyReused => Err(ApiError::new(
            StatusCode::CONFLICT,
            "key_reused",
            "This Idempotency-Key was used for another launch: another workspace, or another zone",
        )
        .hint("Use a new key for a new launch")),
        Launch::Limit { limit } => Err(ApiError::new(
            StatusCode::CONFLICT,
            "session_limit",
            format!("You have {}, which is as many as you may have", counted(limit, "session", "sessions")),
        )
        .hint("End one that you no longer need, or ask an administrator for more")
        .explanation(Vec::new())),
        Launch::Policy { setting, allowed } => Err(against_policy(&setting, &allowed)),
        Launch::NotOffered { zone, zones } => {
            let why = zones.first().map_or("it is not offered there", |first| first.verdict.as_str());
            Err(ApiError::new(
                StatusCode::CONFLICT,
                "not_offered",
                format!("This workspace cannot be launched in zone {zone}: {why}"),
            )
            .hop(Hop::Web)
            .hint("Choose another zone, or ask an administrator where this workspace is offered")
            .explanation(Vec::new()))
        }
        Launch::Home { problem, words } => Err(without_home(problem, &words)),
        Launch::Capacity { zone, isolated, counts, explanation } => {
            let (message, hint) = no_room(&zone, isolated, &counts);
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_capacity", message)
                .hop(Hop::Agent)
                .hint(hint)
                .explanation(explanation)
                .retry_after(10))
        }
    }
}

/// Why no machine takes a launch, and what to do.
fn no_room(zone: &str, isolated: bool, counts: &BTreeMap<String, i64>) -> (String, &'static str) {
    if counts.is_empty() {
        let beyond =
            if isolated { ", which neither lends nor borrows" } else { ", nor to one where it may look" };
        return (
            format!("No machine belongs to zone {zone}{beyond}"),
            "Choose another zone, or ask an administrator to give this one an agent",
        );
    }
    let beyond = if isolated { ", and this zone neither lends nor borrows" } else { "" };
    let reasons = in_words(counts);
    (
        format!("No machine for this workspace in zone {zone} has room{beyond}{reasons}"),
        "End a session, choose another zone, or try again later; the explanation says what each machine lacked",
    )
}

/// A launch whose home cannot be had. An empty one in its place is only for those who ask for it.
fn without_home(problem: HomeProblem, words: &str) -> ApiError {
    let (status, code, hint, wait_s) = match problem {
        HomeProblem::InUse => (
            StatusCode::CONFLICT,
            "home_in_use",
            "Open or end that session, or launch with a temporary home",
            None,
        ),
        HomeProblem::PutAway => (StatusCode::CONFLICT, "home_in_use", "Try again in a few seconds", Some(2)),
        HomeProblem::Elsewhere => (
            StatusCode::CONFLICT,
            "home_elsewhere",
            "Launch without choosing a zone, or with a temporary home",
            None,
        ),
        HomeProblem::Away => (
            StatusCode::SERVICE_UNAVAILABLE,
            "home_away",
            "Wait until the machine is back, or launch with a temporary home, which ends with its session",
            Some(10),
        ),
        HomeProblem::Held => (
            StatusCode::SERVICE_UNAVAILABLE,
            "home_held",
            "Wait until the machine is back, ask an administrator to release the home, or launch with a temporary home",
            Some(10),
        ),
        HomeProblem::Lost => (
            StatusCode::CONFLICT,
            "home_lost",
            "Reset the home to begin with an empty one, or launch with a temporary home",
            None,
        ),
    };
    let error = ApiError::new(status, code, format!("This workspace cannot be launched: {words}"))
        .hop(Hop::Agent)
        .hint(hint)
        .explanation(Vec::new());
    match wait_s {
        Some(seconds) => error.retry_after(seconds),
        None => error,
    }
}

/// A launch that a policy's setting is against.
fn against_policy(setting: &str, allowed: &str) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "policy", policy_words(setting, allowed))
        .hint(format!("An administrator can change {setting} in one of your groups"))
        .explanation(Vec::new())
}

/// What a policy's setting has against a launch, in words. A setting of a later release is named as it is.
pub(super) fn policy_words(setting: &str, allowed: &str) -> String {
    match setting {
        "workspace_session_limit" => {
            format!("You have as many sessions of this workspace as your policy allows: {allowed}")
        }
        "max_cpu" => format!("This workspace takes more than the {allowed} cores that your policy allows"),
        "max_memory_mb" => {
            format!("This workspace takes more than the {allowed} MB of memory that your policy allows")
        }
        "network" => {
            format!("This workspace's network is freer than your policy allows, which is {allowed}")
        }
        "zone_choice" => "Your policy chooses the zone for you, and not this one".to_owned(),
        other => format!("Your policy does not allow this launch: {other} is {allowed}"),
    }
}

/// How many machines were passed over for what, the commonest reason first.
fn in_words(counts: &BTreeMap<String, i64>) -> String {
    let mut reasons: Vec<_> = counts.iter().collect();
    reasons.sort_by_key(|(_, count)| -**count);
    let words: Vec<_> = reasons.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    format!(" ({})", words.join(", "))
}

/// One session.
#[utoipa::path(get, path = "/api/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = SessionView), (status = 401, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn get_session(
    State(state): State<AppState>,
    Token(token): Token,
    Path(id): Path,
) -> Result<Json<SessionView>, ApiError> {
    look(&state, token, parse(&id)?).await.map(|seen| Json(seen.session))
}

/// Why the session is where it is.
#[utoipa::path(get, path = "/api/v1/sessions/{id}/explanation", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = ExplanationView), (status = 401, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn explain_session(
    State(state): State<AppState>,
    Token(token): Token,
    Path(id): Path,
) -> Result<Json<ExplanationView>, ApiError> {
    look(&state, token, parse(&id)?).await.map(|seen| Json(seen.explanation))
}

/// The session as it changes: server-sent events, each the session's JSON, until it is over or the login ends.
#[utoipa::path(get, path = "/api/v1/sessions/{id}/events", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = String, content_type = "text/event-stream"), (status = 401, body = ErrorView),
        (status = 404, body = ErrorView), (status = 429, body = ErrorView)))]
pub(super) async fn watch_session(
    State(state): State<AppState>,
    Token(token): Token,
    Path(id): Path,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let id = parse(&id)?;
    // Subscribed before the first look, so that no change falls between the two.
    let news = state.bus.subscribe();
    let seen = look(&state, token, id).await?;
    let place = state.live.take(seen.caller).map_err(too_many)?;
    let watch =
        Watch { state, token, id, news, pending: Some(seen.session), shown: String::new(), _place: place };
    Ok(Sse::new(stream::unfold(watch, Watch::next)).keep_alive(KeepAlive::default()))
}

struct Watch {
    state: AppState,
    token: TokenHash,
    id: SessionId,
    news: broadcast::Receiver<Changed>,
    pending: Option<SessionView>,
    shown: String,
    _place: Place,
}

fn too_many(full: Full) -> ApiError {
    let (message, hint) = match full {
        Full::User => (
            format!("You watch {MAX_OF_A_USER} sessions already, which is as many as one person may"),
            "Close pages or programs that you no longer need",
        ),
        Full::Node => {
            ("This node has as many live updates open as it can".to_owned(), "Try again in a minute")
        }
    };
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_live_updates", message)
        .hop(Hop::Web)
        .hint(hint)
        .retry_after(60)
}

impl Watch {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if self.state.tasks.stopping().is_cancelled() {
            return None;
        }
        loop {
            let session = match self.pending.take() {
                Some(session) => session,
                None if self.shown.is_empty() => return None,
                None => {
                    let (id, stopping) = (self.id, self.state.tasks.stopping());
                    tokio::select! {
                        () = stopping.cancelled() => return None,
                        () = next_look(&mut self.news, |changed| is_of(changed, id)) => {}
                    }
                    match look(&self.state, self.token, self.id).await {
                        Ok(seen) => seen.session,
                        Err(_) => return None,
                    }
                }
            };
            let text = serde_json::to_string(&session).unwrap_or_default();
            if text == self.shown {
                continue;
            }
            let over = session.state.is_final();
            // An empty text is the sign, for the next round, that nothing more will come.
            self.shown = if over { String::new() } else { text.clone() };
            return Some((Ok(Event::default().data(text)), self));
        }
    }
}

fn is_of(changed: &Changed, id: SessionId) -> bool {
    match changed {
        Changed::Session { session, .. } => *session == id,
        Changed::Zone(_) => false,
    }
}

/// Ends a session: its workspace is stopped and everything in it is removed.
#[utoipa::path(delete, path = "/api/v1/sessions/{id}", tag = "sessions", params(("id" = String, Path)),
    responses((status = 202, body = SessionView), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 404, body = ErrorView)))]
pub(super) async fn end_session(
    State(state): State<AppState>,
    From(origin): From,
    Token(token): Token,
    Path(id): Path,
) -> Result<(StatusCode, Json<SessionView>), ApiError> {
    match state.store.end_session(token, parse(&id)?, &origin).await? {
        EndSession::Ok { session, push } => {
            state.pusher.push(push);
            tracing::info!(session.id = %session.id, session.zone = session.zone, "session is ending");
            Ok((StatusCode::ACCEPTED, Json(*session)))
        }
        EndSession::Unauthenticated => Err(nobody(&state, token).await),
        EndSession::Forbidden => Err(ApiError::lacks(Permission::SessionsDelete.as_str())),
        EndSession::NotFound => Err(ApiError::not_found("session")),
    }
}

/// Says that the user is there, where a session would soon count as idle.
#[utoipa::path(post, path = "/api/v1/sessions/{id}/stay", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = SessionView), (status = 401, body = ErrorView), (status = 404, body = ErrorView)))]
pub(super) async fn stay_in_session(
    State(state): State<AppState>,
    Token(token): Token,
    Path(id): Path,
) -> Result<Json<SessionView>, ApiError> {
    match state.store.stay(token, parse(&id)?).await? {
        Stay::Ok { session } => Ok(Json(*session)),
        Stay::Unauthenticated => Err(nobody(&state, token).await),
        Stay::NotFound => Err(ApiError::not_found("session")),
    }
}

/// A ticket for one stream of the caller's own session, and where to take it.
#[utoipa::path(post, path = "/api/v1/sessions/{id}/connect", tag = "sessions", params(("id" = String, Path)),
    request_body = ConnectRequest,
    responses((status = 200, body = ConnectView), (status = 401, body = ErrorView), (status = 404, body = ErrorView),
        (status = 409, body = ErrorView)))]
pub(super) async fn connect_session(
    State(state): State<AppState>,
    PageOf(page): PageOf,
    Token(token): Token,
    Path(id): Path,
    OptionalBody(request): OptionalBody<ConnectRequest>,
) -> Result<Json<ConnectView>, ApiError> {
    let id = parse(&id)?;
    let transport = request.transport.unwrap_or(Transport::MeridianV1);
    check_jkt(&request)?;
    let (target, entries) = match state.store.connect(token, id).await? {
        Connect::Ok {
            user_id,
            zone_id,
            agent_id,
            epoch,
            generation,
            settings,
            policy,
            agent,
            direct_address,
        } => {
            let target = ConnectTarget {
                session: id,
                user: user_id,
                zone: zone_id,
                agent: agent_id,
                epoch,
                generation,
                policy: policy.stream(),
                watch: None,
            };
            let entries = tickets::stream_entries(&settings, direct_address.as_deref(), &page);
            if entries.is_empty() {
                return Err(no_entry(&agent));
            }
            (target, entries)
        }
        Connect::Unauthenticated => return Err(nobody(&state, token).await),
        Connect::NotFound => return Err(ApiError::not_found("session")),
        Connect::NotLive { state, reason } => {
            let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "session_not_live",
                format!("This session is {state}{reason}"),
            )
            .hint("Launch the workspace again"));
        }
    };
    Ok(Json(mint(&state, &target, transport, request.jkt, &entries, &page)))
}

pub(super) fn check_jkt(request: &ConnectRequest) -> Result<(), ApiError> {
    if request.jkt.as_ref().is_some_and(|jkt| jkt.len() != 43) {
        return Err(ApiError::invalid("jkt must be a base64url SHA-256 thumbprint of 43 characters"));
    }
    Ok(())
}

/// A ticket, the pass that goes with it, and where to take them.
pub(super) fn mint(
    state: &AppState,
    target: &ConnectTarget,
    transport: Transport,
    jkt: Option<String>,
    entries: &[String],
    page: &RequestPage,
) -> ConnectView {
    let ticket = tickets::ticket(state.deployment.id, target, transport, jkt, state.clock.control_now());
    let key = &state.deployment.signing_key;
    let pass = tickets::pass(&ticket, target.zone, target.policy).map(|pass| key.sign_pass(&pass));
    let token = key.sign_ticket(&ticket);
    tickets::connect_view(entries, page, target.session, transport, &token, pass.as_deref())
}

pub(super) fn no_entry(agent: &str) -> ApiError {
    ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "no_direct_address",
        format!("This session's streams go to the agent {agent} itself, and it has not said where browsers reach it"),
    )
    .hop(Hop::Agent)
    .hint("An administrator can set direct.listen and direct.address in the agent's configuration, or the zone's proxy_connections to true")
}

/// A session, why it is where it is, and who looks.
struct Seen {
    caller: UserId,
    session: SessionView,
    explanation: ExplanationView,
}

async fn look(state: &AppState, token: TokenHash, id: SessionId) -> Result<Seen, ApiError> {
    match state.store.get_session(token, id).await? {
        GetSession::Ok { caller, session, explanation } => {
            Ok(Seen { caller, session: *session, explanation: *explanation })
        }
        GetSession::Unauthenticated => Err(nobody(state, token).await),
        GetSession::NotFound => Err(ApiError::not_found("session")),
    }
}

/// What is no id at all names no session either.
pub(super) fn parse(id: &str) -> Result<SessionId, ApiError> {
    id.parse().map_err(|_| ApiError::not_found("session"))
}
