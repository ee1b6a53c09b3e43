//! What a Web App node counts. Every series carries `zone` (empty: the control plane belongs to none) and `role`.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Outcome {
    Done,
    /// The client's fault, or a rule's: 4xx.
    Refused,
    /// Ours, or the database's: 5xx.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    pub outcome: Outcome,
}

/// Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Answered requests, the node listener's too.
    pub requests: Family<RequestLabels, Counter>,
    /// Sessions that were placed.
    pub launches: Counter,
    /// Sessions marked unreachable because their agent fell silent.
    pub unreachable: Counter,
}

impl Metrics {
    /// Everything under its name.
    pub(crate) fn register(&self) -> Registry {
        let labels = [("zone".into(), String::new().into()), ("role".into(), "web".into())];
        let mut registry = Registry::with_labels(labels.into_iter());
        registry.register("meridian_web_requests", "Answered requests", self.requests.clone());
        registry.register("meridian_web_launches", "Sessions that were placed", self.launches.clone());
        registry.register(
            "meridian_web_sessions_unreachable",
            "Sessions marked unreachable",
            self.unreachable.clone(),
        );
        registry
    }

    pub(crate) fn count_request(&self, status: axum::http::StatusCode) {
        let outcome = match status.as_u16() {
            500.. => Outcome::Failed,
            400.. => Outcome::Refused,
            _ => Outcome::Done,
        };
        self.requests.get_or_create(&RequestLabels { outcome }).inc();
    }
}
