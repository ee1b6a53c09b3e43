//! What the balancer counts. Every series carries `role`; a balancer belongs to no zone of its own, so `zone` is empty.

use std::{borrow::Cow, sync::Arc};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};

/// Why a connection was closed without a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Refused {
    NoRoute,
    BadHello,
    SlowHello,
    NoBackend,
    Full,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RefusedLabels {
    reason: Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct BackendLabels {
    pub(crate) backend: String,
}

/// The balancer's own counters, readable by tests as well.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) accepted: Counter,
    refused: Family<RefusedLabels, Counter>,
    pub(crate) open: Gauge,
    pub(crate) bytes: Counter,
    pub(crate) healthy: Family<BackendLabels, Gauge>,
}

impl Metrics {
    pub(crate) fn register(&self) -> Arc<Registry> {
        let labels =
            [("role", "balance"), ("zone", "")].map(|(name, value)| (Cow::from(name), Cow::from(value)));
        let mut registry = Registry::with_labels(labels.into_iter());
        registry.register(
            "meridian_balance_connections_accepted",
            "Connections taken",
            self.accepted.clone(),
        );
        registry.register(
            "meridian_balance_connections_refused",
            "Connections closed without a backend",
            self.refused.clone(),
        );
        registry.register("meridian_balance_connections_open", "Connections relayed now", self.open.clone());
        registry.register_with_unit(
            "meridian_balance_relayed",
            "Bytes passed on, both ways",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register("meridian_balance_backend_healthy", "1: checks succeed", self.healthy.clone());
        Arc::new(registry)
    }

    pub(crate) fn refuse(&self, reason: Refused) {
        self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    /// How many connections were refused for a reason.
    #[must_use]
    pub fn refused(&self, reason: Refused) -> u64 {
        self.refused.get_or_create(&RefusedLabels { reason }).get()
    }

    /// How many connections are relayed now.
    #[must_use]
    pub fn open(&self) -> i64 {
        self.open.get()
    }
}
