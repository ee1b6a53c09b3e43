//! Permission as a type: a handler that takes [`Permit<UsersModify>`] is entered by nobody who lacks `users:modify`.
//!
//! Asking costs one round trip, before the handler's own; the hot interactions do not ask here, but within their one SQL function. A key that
//! is bound to zones opens no [`Permit`]: what belongs to zones takes [`ZonePermit`], which gives its caller out only for a zone.

use std::marker::PhantomData;

use axum::{extract::FromRequestParts, http::StatusCode, http::request::Parts};
use meridian_ids::ZoneId;
use meridian_model::Permission;

use super::{error::ApiError, extract::Token};
use crate::{
    app::caller::Caller,
    state::AppState,
    store::logins::{TokenHash, Whoami},
};

/// A permission as a type.
pub(crate) trait Needs {
    const PERMISSION: Permission;
}

macro_rules! needs {
    ($($name:ident),+ $(,)?) => {$(
        pub(crate) enum $name {}

        impl Needs for $name {
            const PERMISSION: Permission = Permission::$name;
        }
    )+};
}

needs!(
    UsersView,
    UsersModify,
    UsersCreate,
    UsersDelete,
    GroupsView,
    GroupsModify,
    GroupsCreate,
    GroupsDelete,
    ZonesView,
    ZonesModify,
    ZonesCreate,
    ZonesDelete,
    SessionsView,
    SessionsDelete,
    NodesView,
    NodesModify,
    NodesCreate,
    NodesDelete,
    ImagesView,
    ImagesModify,
    ImagesCreate,
    ImagesDelete,
    WorkspacesModify,
    WorkspacesCreate,
    WorkspacesDelete,
    AuditView,
);

/// Somebody who may do what `P` says, everywhere.
pub(crate) struct Permit<P> {
    pub caller: Caller,
    needs: PhantomData<P>,
}

/// Somebody who may do what `P` says, in some zones perhaps.
pub(crate) struct ZonePermit<P> {
    caller: Caller,
    needs: PhantomData<P>,
}

impl<P: Needs> ZonePermit<P> {
    /// The caller, if they may do it in this zone.
    pub(crate) fn within(self, zone: Option<ZoneId>) -> Result<Caller, ApiError> {
        match &self.caller.zones {
            Some(zones) if !zone.is_some_and(|zone| zones.contains(&zone)) => Err(elsewhere()),
            Some(_) | None => Ok(self.caller),
        }
    }

    /// The zones that the caller is bound to; none: all.
    pub(crate) fn zones(&self) -> Option<&[ZoneId]> {
        self.caller.zones.as_deref()
    }
}

/// Somebody who may look at something that files are about, or apply files; which of it is asked once the files are read.
pub(crate) struct FilesPermit(pub Caller);

impl FilesPermit {
    /// What lets somebody in.
    const ANY_OF: [Permission; 4] =
        [Permission::ZonesModify, Permission::ZonesView, Permission::GroupsView, Permission::WorkspacesView];
}

/// Anybody who is signed in, or a key; also one that may nothing but what its handler asks further.
pub(crate) struct Known(pub Caller);

/// A person who signed in, and no key.
pub(crate) struct Person(pub Caller);

impl<P: Needs> FromRequestParts<AppState> for Permit<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Known(caller) = Known::from_request_parts(parts, state).await?;
        demand(&caller, P::PERMISSION)?;
        if caller.zones.is_some() {
            return Err(elsewhere());
        }
        Ok(Self { caller, needs: PhantomData })
    }
}

impl<P: Needs> FromRequestParts<AppState> for ZonePermit<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Known(caller) = Known::from_request_parts(parts, state).await?;
        demand(&caller, P::PERMISSION)?;
        Ok(Self { caller, needs: PhantomData })
    }
}

impl FromRequestParts<AppState> for FilesPermit {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Known(caller) = Known::from_request_parts(parts, state).await?;
        if !Self::ANY_OF.into_iter().any(|permission| caller.may(permission)) {
            return Err(ApiError::lacks(Permission::ZonesModify.as_str()));
        }
        if caller.zones.is_some() {
            return Err(elsewhere());
        }
        Ok(Self(caller))
    }
}

impl FromRequestParts<AppState> for Known {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Token(token) = Token::from_request_parts(parts, state).await?;
        match state.store.whoami(token).await? {
            Whoami::Unauthenticated => Err(ApiError::unauthenticated()),
            Whoami::Ok(caller) if caller.user.must_change_password => Err(password_first()),
            Whoami::Ok(caller) => Ok(Self(caller)),
        }
    }
}

impl FromRequestParts<AppState> for Person {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Known(caller) = Known::from_request_parts(parts, state).await?;
        if caller.key_id.is_some() {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "not_for_keys",
                "This is for people who sign in, not for API keys",
            )
            .hint("Sign in with a name and a password: meridian admin login"));
        }
        Ok(Self(caller))
    }
}

/// Why a hot call took the token for nobody's: asked only then, so that what succeeds costs one round trip.
pub(crate) async fn nobody(state: &AppState, token: TokenHash) -> ApiError {
    match state.store.whoami(token).await {
        Ok(Whoami::Ok(caller)) if caller.user.must_change_password => password_first(),
        Ok(Whoami::Ok(_)) => ApiError::lacks(meridian_model::OWN_SESSIONS),
        Ok(Whoami::Unauthenticated) => ApiError::unauthenticated(),
        Err(error) => error.into(),
    }
}

fn demand(caller: &Caller, permission: Permission) -> Result<(), ApiError> {
    if caller.may(permission) { Ok(()) } else { Err(ApiError::lacks(permission.as_str())) }
}

fn password_first() -> ApiError {
    ApiError::new(
        StatusCode::FORBIDDEN,
        "password_change_required",
        "You must choose a new password before anything else",
    )
    .hint("Choose one in the console, or with POST /api/v1/auth/password")
}

fn elsewhere() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "other_zone", "This API key is for other zones")
        .hint("Use a key that is for this zone, or for none in particular")
}
