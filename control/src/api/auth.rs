//! Sign in, sign out, who am I.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header::SET_COOKIE},
    response::{IntoResponse, Response},
};
use meridian_runtime::{Secret, random_token};

use super::{
    error::ApiError,
    extract::{Body, COOKIE_NAME, From, Page, Token, hash_token},
    users::check_password,
};
use crate::{
    app::passwords::MAX_PASSWORD_BYTES,
    state::AppState,
    store::logins::{LoginBegin, LoginFinish, Logout, PasswordBegin, PasswordFinish, Whoami},
    views::{Credentials, ErrorView, LoginView, PasswordChange, UserView},
};

/// How long a login lasts.
const LIFETIME_S: i32 = 12 * 60 * 60;
const MAX_NAME_BYTES: usize = 512;

/// Signs in. Two database round trips: the stored hash and the throttles; then, argon2 done, the outcome.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "auth", request_body = Credentials,
    responses((status = 200, body = LoginView), (status = 401, body = ErrorView), (status = 403, body = ErrorView),
        (status = 429, body = ErrorView)))]
pub(super) async fn login(
    State(state): State<AppState>,
    From(origin): From,
    Page(page): Page,
    Body(credentials): Body<Credentials>,
) -> Result<Response, ApiError> {
    if credentials.username.len() > MAX_NAME_BYTES || credentials.password.len() > MAX_PASSWORD_BYTES {
        return Err(bad_credentials());
    }
    let name = credentials.username;
    let (user, stored) = match state.store.begin_login(&name, &origin).await? {
        LoginBegin::Ok { delay_s, user_id, password_hash } => {
            tokio::time::sleep(Duration::from_secs(delay_s)).await;
            (user_id, password_hash)
        }
        LoginBegin::Throttled { wait_s } => {
            return Err(throttled(wait_s));
        }
    };
    let verified = state.passwords.verify(Secret::new(credentials.password), stored).await?;
    let token = random_token();
    let finish =
        state.store.finish_login(user, verified, &name, hash_token(&token), LIFETIME_S, &origin).await?;
    let user = match finish {
        LoginFinish::Ok { user } => user,
        LoginFinish::Refused => return Err(bad_credentials()),
        LoginFinish::Locked => return Err(locked()),
    };
    let cookie = cookie(&token, LIFETIME_S, page.secure);
    Ok(([(SET_COOKIE, cookie)], Json(LoginView { token, user })).into_response())
}

/// Signs out, at once and everywhere this login is used.
#[utoipa::path(post, path = "/api/v1/auth/logout", tag = "auth",
    responses((status = 204), (status = 401, body = ErrorView)))]
pub(super) async fn logout(
    State(state): State<AppState>,
    From(origin): From,
    Page(page): Page,
    Token(token): Token,
) -> Result<Response, ApiError> {
    match state.store.logout(token, &origin).await? {
        Logout::Ok => {
            Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie("", 0, page.secure))]).into_response())
        }
        Logout::Unauthenticated => Err(ApiError::unauthenticated()),
    }
}

/// The signed-in user, what they may administer, and whether they must choose a new password first.
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "auth",
    responses((status = 200, body = UserView), (status = 401, body = ErrorView)))]
pub(super) async fn me(
    State(state): State<AppState>,
    Token(token): Token,
) -> Result<Json<UserView>, ApiError> {
    match state.store.whoami(token).await? {
        Whoami::Ok(caller) => Ok(Json(caller.user)),
        Whoami::Unauthenticated => Err(ApiError::unauthenticated()),
    }
}

/// Chooses a new password of one's own; every other login ends. Somebody who must do this first may do nothing else.
#[utoipa::path(post, path = "/api/v1/auth/password", tag = "auth", request_body = PasswordChange,
    responses((status = 204), (status = 401, body = ErrorView), (status = 403, body = ErrorView), (status = 422, body = ErrorView),
        (status = 429, body = ErrorView)))]
pub(super) async fn change_password(
    State(state): State<AppState>,
    From(origin): From,
    Token(token): Token,
    Body(change): Body<PasswordChange>,
) -> Result<StatusCode, ApiError> {
    // Who asks comes first: rubbish is not told what a password must be.
    let stored = match state.store.begin_password(token, &origin).await? {
        PasswordBegin::Ok { password_hash } => password_hash,
        PasswordBegin::Throttled { wait_s } => return Err(throttled(wait_s)),
        PasswordBegin::Unauthenticated => return Err(ApiError::unauthenticated()),
    };
    check_password("new_password", &change.new_password)?;
    if change.new_password == change.current_password {
        return Err(ApiError::invalid("the new password must be another one").at("new_password"));
    }
    if change.current_password.len() > MAX_PASSWORD_BYTES {
        return Err(wrong_password());
    }
    let fits = state.passwords.verify(Secret::new(change.current_password), Some(stored.clone())).await?;
    let hash = match fits {
        true => Some(state.passwords.hash(Secret::new(change.new_password)).await?),
        false => None,
    };
    match state.store.finish_password(token, &stored, hash.as_deref(), &origin).await? {
        PasswordFinish::Ok => Ok(StatusCode::NO_CONTENT),
        PasswordFinish::Refused => Err(wrong_password()),
        PasswordFinish::Unauthenticated => Err(ApiError::unauthenticated()),
    }
}

fn wrong_password() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "wrong_password", "The current password is wrong")
        .at("current_password")
        .hint("Try again; an administrator can set a new one")
}

fn throttled(wait_s: u64) -> ApiError {
    ApiError::new(
        StatusCode::TOO_MANY_REQUESTS,
        "throttled",
        "There were too many wrong sign-ins from this address",
    )
    .hint(format!("Try again in {wait_s} seconds"))
    .retry_after(wait_s)
}

fn locked() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "account_locked", "This account is locked")
        .hint("An administrator locked it and can unlock it; your sessions go on meanwhile")
}

fn bad_credentials() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "bad_credentials", "These sign-in details are wrong")
        .hint("Check the username and the password and try again; an administrator can set a new one")
}

fn cookie(token: &str, lifetime_s: i32, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    let text =
        format!("{COOKIE_NAME}={token}; Path=/api; Max-Age={lifetime_s}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).expect("a token is hex digits")
}
