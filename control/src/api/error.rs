//! The one error of the API, and its one mapping to status, words and hop.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};

use crate::{
    app::{passwords::PasswordError, rules::Problems},
    store::StoreError,
    views::{CandidateView, ErrorBodyView, ErrorView, FieldView},
};

/// The part of the way that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    Web,
    Database,
    Agent,
    Proxy,
}

impl Hop {
    fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Database => "database",
            Self::Agent => "agent",
            Self::Proxy => "proxy",
        }
    }
}

/// A refusal or failure: what the user may read, and for the log what happened.
#[derive(Debug)]
pub struct ApiError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    message: String,
    hop: Option<Hop>,
    hint: Option<String>,
    explanation: Option<Vec<CandidateView>>,
    fields: Vec<FieldView>,
    retry_after_s: Option<u64>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            status,
            code,
            message: message.into(),
            hop: None,
            hint: None,
            explanation: None,
            fields: Vec::new(),
            retry_after_s: None,
            cause: None,
        }))
    }

    #[must_use]
    pub fn hop(mut self, hop: Hop) -> Self {
        self.0.hop = Some(hop);
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// It is this field of the body, or parameter, that is wrong.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.0.fields.push(FieldView { field: field.into(), message: self.0.message.clone() });
        self
    }

    #[must_use]
    pub fn explanation(mut self, explanation: Vec<CandidateView>) -> Self {
        self.0.explanation = Some(explanation);
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds);
        self
    }

    #[must_use]
    pub fn cause(mut self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    pub fn unauthenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthenticated",
            "You are not signed in, or your sign-in has expired",
        )
        .hint("Sign in again; your sessions go on meanwhile")
    }

    /// Somebody who is known lacks a permission.
    pub fn lacks(permission: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            format!("You need the permission {permission} for this"),
        )
        .hint("Ask an administrator: groups grant permissions; an API key has those that it was made with")
    }

    /// What is asked would give or take more than the caller has.
    pub fn beyond() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "beyond_you",
            "This concerns permissions that you do not have yourself",
        )
        .hint("Somebody who has them must do it: nobody can give away, or take away, what they lack")
    }

    pub fn last_administrator() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "last_administrator",
            "This is the last administrator, and there must be one",
        )
        .hint("Make somebody else an administrator first")
    }

    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("There is no such {what}, or it is not yours"))
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
    }

    /// What is wrong with a body, field by field; the message has all of it, for those who read nothing else.
    pub fn fields(problems: Problems) -> Self {
        let words: Vec<_> =
            problems.0.iter().map(|problem| format!("{} {}", problem.field, problem.message)).collect();
        let mut error = Self::invalid(words.join("; "));
        error.0.fields = problems.0;
        error
    }

    /// One field that is wrong for a reason that only the database knew.
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        let mut problems = Problems::default();
        problems.add(field, message);
        Self::fields(problems)
    }

    /// Refuses what has problems.
    pub fn refuse(problems: Problems) -> Result<(), Self> {
        if problems.0.is_empty() { Ok(()) } else { Err(Self::fields(problems)) }
    }

    /// Somebody else wrote between the caller's look and their change.
    pub fn changed_meanwhile(what: &str) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "changed_meanwhile",
            format!("Somebody else changed this {what} in the same moment"),
        )
        .hint("Look at it again, then repeat your change")
    }

    /// `bound` says in words how much there may be.
    pub fn too_many(bound: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "too_many", format!("{bound}, and it does"))
            .hint("Take away what is no longer needed")
    }

    pub fn taken(what: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "name_taken", format!("A {what} of that name exists already"))
            .hint("Choose another name")
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let unavailable = |code, message: &str| {
            Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message)
                .hop(Hop::Database)
                .hint("Running sessions are not affected. Try again in a few seconds; if it stays, tell an administrator")
                .retry_after(2)
        };
        if let Some(bound) = error.bound() {
            return Self::too_many(bound);
        }
        match error {
            StoreError::Unavailable(_) => {
                unavailable("database_unavailable", "Meridian's database cannot be reached").cause(error)
            }
            StoreError::Tls { fault, .. } => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "database_tls",
                format!("Meridian's database cannot be reached over TLS: {}", fault.words()),
            )
            .hop(Hop::Database)
            .hint(format!("Running sessions are not affected. For an administrator: {}", fault.hint()))
            .retry_after(10)
            .cause(error),
            StoreError::Timeout => {
                unavailable("database_slow", "Meridian's database did not answer in time").cause(error)
            }
            StoreError::Text(_) => {
                Self::invalid("A text has a character that cannot be stored, such as U+0000").cause(error)
            }
            StoreError::Query(_)
            | StoreError::Shape(_)
            | StoreError::MigrationBusy { .. }
            | StoreError::Migrate(_)
            | StoreError::Corrupt(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Meridian could not do this because of an error of its own",
            )
            .hop(Hop::Web)
            .hint("Tell an administrator the request id")
            .cause(error),
        }
    }
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "Too many people are signing in just now")
            .hop(Hop::Web)
            .hint("Try again in a few seconds")
            .retry_after(5)
            .cause(error)
    }
}

/// Travels from the handler to [`super::layers::frame`], which knows the request's id and writes body and log.
#[derive(Clone)]
pub(super) struct Unframed(std::sync::Arc<ApiError>);

impl Unframed {
    /// The answer with its body.
    pub(super) fn frame(self, request_id: &str) -> Response {
        let error = &self.0.0;
        let causes = error.cause.as_deref().map(chain);
        if error.status.is_server_error() {
            tracing::warn!(
                code = error.code,
                status = error.status.as_u16(),
                cause = causes,
                "a request failed"
            );
        } else {
            tracing::debug!(
                code = error.code,
                status = error.status.as_u16(),
                cause = causes,
                "a request was refused"
            );
        }
        let body = ErrorView {
            error: ErrorBodyView {
                code: error.code.to_owned(),
                message: error.message.clone(),
                hop: error.hop.map(|hop| hop.as_str().to_owned()),
                hint: error.hint.clone(),
                explanation: error.explanation.clone(),
                fields: error.fields.clone(),
                request_id: request_id.to_owned(),
            },
        };
        let mut response = (error.status, Json(body)).into_response();
        if let Some(seconds) = error.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(Unframed(std::sync::Arc::new(self)));
        response
    }
}

fn chain(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// A bug of ours must not look like a hang.
pub(super) fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal",
        "Meridian could not do this because of an error of its own",
    )
    .hop(Hop::Web)
    .hint("Tell an administrator the request id")
    .into_response()
}
