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
};
use crate::{
    app::passwords::MAX_PASSWORD_BYTES,
    state::AppState,
    store::logins::{LoginBegin, LoginFinish, Logout, Whoami},
    views::{Credentials, ErrorView, LoginView, UserView},
};

/// How long a login lasts.
const LIFETIME_S: i32 = 12 * 60 * 60;
const MAX_NAME_BYTES: usize = 512;

/// Signs in. Two database round trips: the stored hash and the throttles; then, argon2 done, the outcome.
#[utoipa::path(post, path = "/api/v1/auth/login", tag = "auth", request_body = Credentials,
    responses((status = 200, body = LoginView), (status = 401, body = ErrorView), (status = 429, body = ErrorView)))]
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
            return Err(ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "throttled",
                "There were too many wrong sign-ins from this address",
            )
            .hint(format!("Try again in {wait_s} seconds"))
            .retry_after(wait_s));
        }
    };
    let verified = state.passwords.verify(Secret::new(credentials.password), stored).await?;
    let token = random_token();
    let finish =
        state.store.finish_login(user, verified, &name, hash_token(&token), LIFETIME_S, &origin).await?;
    let LoginFinish::Ok { user } = finish else { return Err(bad_credentials()) };
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

/// The signed-in user.
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "auth",
    responses((status = 200, body = UserView), (status = 401, body = ErrorView)))]
pub(super) async fn me(
    State(state): State<AppState>,
    Token(token): Token,
) -> Result<Json<UserView>, ApiError> {
    match state.store.whoami(token).await? {
        Whoami::Ok { user } => Ok(Json(user)),
        Whoami::Unauthenticated => Err(ApiError::unauthenticated()),
    }
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
