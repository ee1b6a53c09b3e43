//! What the agent counts.

use std::sync::{Arc, atomic::AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Way {
    ToViewer,
    FromViewer,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct WayLabel {
    pub(crate) way: Way,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ReasonLabel {
    pub(crate) reason: &'static str,
}

/// The agent's metrics; every series carries zone and role.
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    pub(crate) streams: Gauge,
    pub(crate) opened: Counter,
    pub(crate) refused: Family<ReasonLabel, Counter>,
    pub(crate) bytes: Family<WayLabel, Counter<u64, AtomicU64>>,
}

impl Metrics {
    pub(crate) fn new(zone: &str) -> Self {
        let labels = [("zone".into(), zone.to_owned().into()), ("role".into(), "agent".into())];
        let mut registry = Registry::with_labels(labels.into_iter());
        let (streams, opened) = (Gauge::default(), Counter::default());
        let (refused, bytes) = (Family::default(), Family::default());
        registry.register("meridian_agent_streams", "Live streams", streams.clone());
        registry.register("meridian_agent_streams_opened", "Streams opened", opened.clone());
        registry.register("meridian_agent_refusals", "Requests refused, by reason", Family::clone(&refused));
        registry.register(
            "meridian_agent_display_bytes",
            "Bytes of display connections, by way",
            Family::clone(&bytes),
        );
        Self { registry: Arc::new(registry), streams, opened, refused, bytes }
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }
}
