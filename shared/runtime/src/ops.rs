//! The operator's listener of every role: `/healthz`, `/readyz`, `/metrics`.
//!
//! It binds loopback unless configured otherwise and shows nothing secret.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;

use crate::Tasks;

/// Why a role is not ready: stable codes with a text each. Ready when there is none. Clones share.
#[derive(Clone, Debug, Default)]
pub struct Health {
    reasons: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Health {
    /// States a reason against readiness, or replaces its text.
    pub fn degrade(&self, code: &'static str, text: impl Into<String>) {
        self.lock().insert(code, text.into());
    }

    /// Takes a reason back.
    pub fn restore(&self, code: &'static str) {
        self.lock().remove(code);
    }

    /// The reasons now, by code.
    #[must_use]
    pub fn reasons(&self) -> BTreeMap<&'static str, String> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.reasons.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The metrics could not be written down.
#[derive(Debug, thiserror::Error)]
#[error("the metrics could not be encoded")]
pub struct OpsError(#[from] std::fmt::Error);

/// Serves the three paths until the tasks stop.
pub fn serve_ops(tasks: &Tasks, listener: TcpListener, health: Health, metrics: Arc<Registry>) {
    let (stop, tasks_of_connections) = (tasks.stopping(), tasks.clone());
    tasks.spawn("ops", async move {
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((socket, _)) = accepted else { continue };
            let (health, metrics) = (health.clone(), metrics.clone());
            tasks_of_connections.spawn_until_stop("ops connection", async move {
                let service = service_fn(move |request| {
                    let answer = answer(&request, &health, &metrics);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let mut server = hyper::server::conn::http1::Builder::new();
                server.timer(TokioTimer::new()).max_buf_size(16 * 1024);
                // A scraper that went away is not an error.
                let _ = server.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
}

fn answer(request: &Request<Incoming>, health: &Health, metrics: &Registry) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return text(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET\n".into());
    }
    match request.uri().path() {
        "/healthz" => text(StatusCode::OK, "application/json", r#"{"ok":true}"#.into()),
        "/readyz" => {
            let reasons = health.reasons();
            let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let body = serde_json::json!({"ready": reasons.is_empty(), "reasons": reasons});
            text(status, "application/json", body.to_string())
        }
        "/metrics" => match encode_metrics(metrics) {
            Ok(body) => {
                text(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", body)
            }
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{error}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "text/plain", "/healthz, /readyz, /metrics\n".into()),
    }
}

fn encode_metrics(metrics: &Registry) -> Result<String, OpsError> {
    let mut body = String::new();
    encode(&mut body, metrics)?;
    Ok(body)
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
