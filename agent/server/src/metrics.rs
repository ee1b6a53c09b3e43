//! What the agent counts.

use std::sync::{Arc, atomic::AtomicU64};

use meridian_stream::Verdict;
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

/// What an attach came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct VerdictLabel {
    verdict: &'static str,
}

impl VerdictLabel {
    pub(crate) fn of(verdict: Verdict) -> Self {
        let verdict = match verdict {
            Verdict::New => "new",
            Verdict::Resumed => "resumed",
            Verdict::Restarted => "restarted",
        };
        Self { verdict }
    }
}

/// The agent's metrics; every series carries zone and role.
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    pub(crate) streams: Gauge,
    pub(crate) parked: Gauge,
    pub(crate) kept: Gauge,
    pub(crate) attached: Family<VerdictLabel, Counter>,
    pub(crate) opened: Counter,
    pub(crate) left: Counter,
    pub(crate) refused: Family<ReasonLabel, Counter>,
    pub(crate) bytes: Family<WayLabel, Counter<u64, AtomicU64>>,
}

impl Metrics {
    /// `more` adds what else this process counts.
    pub(crate) fn new(zone: &str, more: impl FnOnce(&mut Registry)) -> Self {
        let labels = [("zone".into(), zone.to_owned().into()), ("role".into(), "agent".into())];
        let mut registry = Registry::with_labels(labels.into_iter());
        let (streams, parked, kept) = (Gauge::default(), Gauge::default(), Gauge::default());
        let (opened, left) = (Counter::default(), Counter::default());
        let (attached, refused, bytes) = (Family::default(), Family::default(), Family::default());
        registry.register("meridian_agent_streams", "Live streams", streams.clone());
        registry.register(
            "meridian_agent_streams_parked",
            "Streams whose path broke, waiting for another",
            parked.clone(),
        );
        registry.register(
            "meridian_agent_kept_bytes",
            "Bytes that streams keep: not acknowledged by viewers, not taken by displays, copied while no path was there",
            kept.clone(),
        );
        registry.register(
            "meridian_agent_attaches",
            "Attaches accepted, by what they came to",
            Family::clone(&attached),
        );
        registry.register("meridian_agent_streams_opened", "Streams opened", opened.clone());
        registry.register(
            "meridian_agent_streams_left",
            "Streams whose viewer said that it goes for good",
            left.clone(),
        );
        registry.register("meridian_agent_refusals", "Requests refused, by reason", Family::clone(&refused));
        registry.register(
            "meridian_agent_display_bytes",
            "Bytes of display connections, by way",
            Family::clone(&bytes),
        );
        more(&mut registry);
        Self { registry: Arc::new(registry), streams, parked, kept, attached, opened, left, refused, bytes }
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }
}
