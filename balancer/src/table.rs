//! A plan at work: the rules of now with their backends, and which of the rules before they continue.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Instant};

use meridian_settings::BalanceSettings;
use tokio_util::sync::CancellationToken;

use crate::{
    backend::Backend,
    metrics::Metrics,
    plan::{Plan, PlannedRule, RuleKey, Terms},
    route::Routes,
    rule::{Entry, Rule},
};

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) settings: BalanceSettings,
    pub(crate) terms: Terms,
    pub(crate) listeners: BTreeMap<SocketAddr, Routes>,
    pub(crate) rules: Vec<Arc<Rule>>,
    keys: Vec<RuleKey>,
    /// Cancelled when another table takes over: its checks end.
    pub(crate) replaced: CancellationToken,
}

impl Table {
    /// A backend that was in the same rule before keeps what is known of it, and its connections.
    pub(crate) fn new(
        settings: BalanceSettings,
        plan: Plan,
        before: Option<&Table>,
        metrics: &Metrics,
    ) -> Self {
        let Plan { terms, listeners, rules: planned } = plan;
        let (mut rules, mut keys) = (Vec::with_capacity(planned.len()), Vec::with_capacity(planned.len()));
        for PlannedRule { key, terms, backends, .. } in planned {
            let earlier = before.and_then(|table| table.rule(&key));
            let entries = backends
                .iter()
                .map(|backend| Entry {
                    backend: earlier.and_then(|rule| rule.backend(&backend.address)).unwrap_or_else(|| {
                        let series = metrics.backend(&terms.name, &backend.address);
                        Backend::new(&backend.address, earlier.map(|_| Instant::now()), series)
                    }),
                    drains: backend.drain,
                })
                .collect();
            let series = metrics.rule(&terms.name);
            rules.push(Rule::new(terms, entries, series));
            keys.push(key);
        }
        Self { settings, terms, listeners, rules, keys, replaced: CancellationToken::new() }
    }

    fn rule(&self, key: &RuleKey) -> Option<&Arc<Rule>> {
        self.keys.iter().position(|own| own == key).map(|index| &self.rules[index])
    }

    /// Takes the series of what `next` no longer has out of the metrics.
    pub(crate) fn forget_gone(&self, next: &Table) {
        for (rule, key) in self.rules.iter().zip(&self.keys) {
            let later = next.rule(key);
            if later.is_none() {
                rule.series.forget();
            }
            for Entry { backend, .. } in &rule.entries {
                if later.is_none_or(|later| later.backend(&backend.address).is_none()) {
                    backend.series.forget();
                }
            }
        }
    }

    /// Whether any rule has a backend that is in: one agent that is down is that agent's trouble, and shows in the metrics.
    pub(crate) fn any_in(&self) -> bool {
        self.rules.iter().any(|rule| rule.any_in())
    }
}
