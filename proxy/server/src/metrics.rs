//! What a proxy counts. Every series carries `zone` and `role`.

use std::{borrow::Cow, sync::Arc};

use meridian_proxy_core::Refusal;
use meridian_runtime::Way;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RefusedLabels {
    code: &'static str,
}

/// Which way relayed bytes went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Direction {
    ToAgent,
    ToBrowser,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct DirectionLabels {
    direction: Direction,
}

/// Why a live stream was cut by the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Cut {
    Revoked,
    Stopping,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CutLabels {
    reason: Cut,
}

/// The proxy's counters; tests read them too.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) streams: Gauge,
    pub(crate) pending: Gauge,
    pub(crate) opened: Counter,
    pub(crate) authorize: Histogram,
    pub(crate) left: Counter,
    refused: Family<RefusedLabels, Counter>,
    cut: Family<CutLabels, Counter>,
    relayed: Family<DirectionLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            streams: Gauge::default(),
            pending: Gauge::default(),
            opened: Counter::default(),
            // 1 ms to 8 s: from the same machine to a lost answer on another continent.
            authorize: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            left: Counter::default(),
            refused: Family::default(),
            cut: Family::default(),
            relayed: Family::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, zone: &str) -> Arc<Registry> {
        let labels = [("role", "proxy"), ("zone", zone)];
        let labels = labels.map(|(name, value)| (Cow::from(name), Cow::from(value.to_owned())));
        let mut registry = Registry::with_labels(labels.into_iter());
        self.register_in(&mut registry);
        Arc::new(registry)
    }

    /// Registers them among what else a process counts.
    pub fn register_in(&self, registry: &mut Registry) {
        registry.register("meridian_proxy_streams", "Streams relayed now", self.streams.clone());
        registry.register(
            "meridian_proxy_pending",
            "Connections that are no streams yet",
            self.pending.clone(),
        );
        registry.register("meridian_proxy_streams_opened", "Streams opened", self.opened.clone());
        registry.register("meridian_proxy_refused", "Connections refused, by code", self.refused.clone());
        registry.register("meridian_proxy_left", "Browsers that left before the answer", self.left.clone());
        registry.register("meridian_proxy_streams_cut", "Streams cut by the proxy", self.cut.clone());
        registry.register_with_unit(
            "meridian_proxy_authorize",
            "From the question to the Web App's answer",
            Unit::Seconds,
            self.authorize.clone(),
        );
        registry.register_with_unit(
            "meridian_proxy_relayed",
            "Bytes relayed",
            Unit::Bytes,
            self.relayed.clone(),
        );
    }

    pub(crate) fn refuse(&self, refusal: &Refusal) {
        self.refused.get_or_create(&RefusedLabels { code: refusal.label() }).inc();
    }

    pub(crate) fn count_cut(&self, reason: Cut) {
        self.cut.get_or_create(&CutLabels { reason }).inc();
    }

    /// The counter of one way. `Way::FirstToSecond` is from the browser to the agent.
    pub(crate) fn relayed(&self, way: Way) -> Counter {
        let direction = match way {
            Way::FirstToSecond => Direction::ToAgent,
            Way::SecondToFirst => Direction::ToBrowser,
        };
        self.relayed.get_or_create(&DirectionLabels { direction }).clone()
    }

    /// Streams relayed now.
    #[must_use]
    pub fn streams(&self) -> i64 {
        self.streams.get()
    }

    /// Connections that are no streams yet.
    #[must_use]
    pub fn pending(&self) -> i64 {
        self.pending.get()
    }

    /// Browsers that left before the answer.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// Connections refused with a code.
    #[must_use]
    pub fn refused(&self, code: &'static str) -> u64 {
        self.refused.get_or_create(&RefusedLabels { code }).get()
    }

    /// Streams cut for a reason.
    #[must_use]
    pub fn cut(&self, reason: Cut) -> u64 {
        self.cut.get_or_create(&CutLabels { reason }).get()
    }
}
