//! What the balancer counts. Every series carries `role` and `zone`, which is empty for a balancer that stands in no zone.

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
    /// The PROXY header or the ClientHello did not come in time.
    SlowHello,
    NoBackend,
    Full,
    /// A trusted balancer's connection does not begin with a PROXY header.
    BadHeader,
    /// A client sent a PROXY header of its own.
    ForgedHeader,
}

/// How the dial of a backend for a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum DialEnd {
    Answered,
    Failed,
    /// Another backend answered first.
    Lost,
    /// This machine had no descriptor, port or memory left.
    Local,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum CheckEnd {
    Passed,
    Sick,
    Unreachable,
    Local,
}

/// What became of a changed configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Reload {
    Applied,
    Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: Refused,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    result: Reload,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabels {
    rule: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackendLabels {
    rule: Arc<str>,
    backend: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DialLabels {
    rule: Arc<str>,
    backend: Arc<str>,
    result: DialEnd,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    rule: Arc<str>,
    backend: Arc<str>,
    result: CheckEnd,
}

/// The balancer's own counters, readable by tests as well.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) accepted: Counter,
    refused: Family<RefusedLabels, Counter>,
    pub(crate) open: Gauge,
    pub(crate) bytes: Counter,
    pub(crate) spliced: Counter,
    pub(crate) pipes: Gauge,
    healthy: Family<BackendLabels, Gauge>,
    draining: Family<BackendLabels, Gauge>,
    connections: Family<BackendLabels, Gauge>,
    dials: Family<DialLabels, Counter>,
    checks: Family<CheckLabels, Counter>,
    routed: Family<RuleLabels, Counter>,
    reset: Family<RuleLabels, Counter>,
    panic: Family<RuleLabels, Gauge>,
    reloads: Family<ReloadLabels, Counter>,
}

impl Metrics {
    pub(crate) fn register(&self, zone: &str) -> Arc<Registry> {
        let labels =
            [("role", "balance"), ("zone", zone)].map(|(name, value)| (name.into(), value.to_owned().into()));
        let mut registry = Registry::with_labels(labels.into_iter().map(|pair: (Cow<'static, str>, _)| pair));
        let name = |text: &str| format!("meridian_balance_{text}");
        registry.register(name("connections_accepted"), "Connections taken", self.accepted.clone());
        registry.register(
            name("connections_refused"),
            "Connections closed without a backend",
            self.refused.clone(),
        );
        registry.register(name("connections_routed"), "Connections that got a backend", self.routed.clone());
        registry.register(name("connections_open"), "Connections relayed now", self.open.clone());
        registry.register(
            name("connections_reset"),
            "Connections reset because their backend is unreachable",
            self.reset.clone(),
        );
        registry.register_with_unit(
            name("relayed"),
            "Bytes passed on, both ways",
            Unit::Bytes,
            self.bytes.clone(),
        );
        registry.register_with_unit(
            name("spliced"),
            "Bytes passed on by splice(2), of all those passed on",
            Unit::Bytes,
            self.spliced.clone(),
        );
        registry.register(name("pipes_held"), "Pipes with bytes of connections in bulk", self.pipes.clone());
        registry.register(name("backend_healthy"), "1: the backend is in", self.healthy.clone());
        registry.register(name("backend_draining"), "1: it gets no new connections", self.draining.clone());
        registry.register(
            name("backend_connections"),
            "Connections of the backend, dials included",
            self.connections.clone(),
        );
        registry.register(name("dials"), "Dials for clients", self.dials.clone());
        registry.register(name("checks"), "Checks", self.checks.clone());
        registry.register(
            name("rule_panic"),
            "1: no backend of the rule is in, and all are tried",
            self.panic.clone(),
        );
        registry.register(name("reloads"), "Changed configurations", self.reloads.clone());
        Arc::new(registry)
    }

    /// Bytes passed on by splice(2).
    #[must_use]
    pub fn spliced(&self) -> u64 {
        self.spliced.get()
    }

    /// Pipes with bytes of connections in bulk.
    #[must_use]
    pub fn pipes_held(&self) -> i64 {
        self.pipes.get()
    }

    pub(crate) fn refuse(&self, reason: Refused) {
        self.refused.get_or_create(&RefusedLabels { reason }).inc();
    }

    pub(crate) fn reloaded(&self, result: Reload) {
        self.reloads.get_or_create(&ReloadLabels { result }).inc();
    }

    /// The series of one rule.
    pub(crate) fn rule(&self, rule: &Arc<str>) -> RuleSeries {
        RuleSeries { metrics: self.clone(), labels: RuleLabels { rule: rule.clone() } }
    }

    /// The series of one rule's backend.
    pub(crate) fn backend(&self, rule: &Arc<str>, backend: &str) -> BackendSeries {
        let labels = BackendLabels { rule: rule.clone(), backend: backend.into() };
        let connections = self.connections.get_or_create(&labels).clone();
        BackendSeries { metrics: self.clone(), labels, connections }
    }

    /// How many connections were refused for a reason.
    #[must_use]
    pub fn refused(&self, reason: Refused) -> u64 {
        self.refused.get_or_create(&RefusedLabels { reason }).get()
    }

    /// How many changed configurations were applied, or refused.
    #[must_use]
    pub fn reloads(&self, result: Reload) -> u64 {
        self.reloads.get_or_create(&ReloadLabels { result }).get()
    }

    /// Whether a rule's backend is in; none: there is no such backend.
    #[must_use]
    pub fn backend_is_in(&self, rule: &str, backend: &str) -> Option<bool> {
        let labels = BackendLabels { rule: rule.into(), backend: backend.into() };
        self.healthy.get(&labels).map(|gauge| gauge.get() == 1)
    }

    /// How many connections are relayed now.
    #[must_use]
    pub fn open(&self) -> i64 {
        self.open.get()
    }
}

#[derive(Clone, Debug)]
pub(crate) struct RuleSeries {
    metrics: Metrics,
    labels: RuleLabels,
}

impl RuleSeries {
    pub(crate) fn routed(&self) {
        self.metrics.routed.get_or_create(&self.labels).inc();
    }

    pub(crate) fn reset(&self) {
        self.metrics.reset.get_or_create(&self.labels).inc();
    }

    pub(crate) fn panic(&self, panics: bool) {
        self.metrics.panic.get_or_create(&self.labels).set(i64::from(panics));
    }

    pub(crate) fn forget(&self) {
        self.metrics.panic.remove(&self.labels);
        self.metrics.routed.remove(&self.labels);
        self.metrics.reset.remove(&self.labels);
    }
}

#[derive(Clone, Debug)]
pub(crate) struct BackendSeries {
    metrics: Metrics,
    labels: BackendLabels,
    pub(crate) connections: Gauge,
}

impl BackendSeries {
    pub(crate) fn healthy(&self, healthy: bool) {
        self.metrics.healthy.get_or_create(&self.labels).set(i64::from(healthy));
    }

    pub(crate) fn draining(&self, draining: bool) {
        self.metrics.draining.get_or_create(&self.labels).set(i64::from(draining));
    }

    pub(crate) fn dialled(&self, result: DialEnd) {
        let BackendLabels { rule, backend } = self.labels.clone();
        self.metrics.dials.get_or_create(&DialLabels { rule, backend, result }).inc();
    }

    pub(crate) fn checked(&self, result: CheckEnd) {
        let BackendLabels { rule, backend } = self.labels.clone();
        self.metrics.checks.get_or_create(&CheckLabels { rule, backend, result }).inc();
    }

    /// The backend is no longer in the configuration.
    pub(crate) fn forget(&self) {
        self.metrics.healthy.remove(&self.labels);
        self.metrics.draining.remove(&self.labels);
        self.metrics.connections.remove(&self.labels);
        let BackendLabels { rule, backend } = &self.labels;
        for result in [DialEnd::Answered, DialEnd::Failed, DialEnd::Lost, DialEnd::Local] {
            let labels = DialLabels { rule: rule.clone(), backend: backend.clone(), result };
            self.metrics.dials.remove(&labels);
        }
        for result in [CheckEnd::Passed, CheckEnd::Sick, CheckEnd::Unreachable, CheckEnd::Local] {
            let labels = CheckLabels { rule: rule.clone(), backend: backend.clone(), result };
            self.metrics.checks.remove(&labels);
        }
    }
}
