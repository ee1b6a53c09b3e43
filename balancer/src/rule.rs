//! A rule at work: its backends, the order they are tried in, and what follows from what checks and dials find.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use meridian_settings::Choice;

use crate::{
    backend::Backend,
    choice::{Candidate, order},
    metrics::{CheckEnd, DialEnd, RuleSeries},
    probe::{Found, Probe},
    standing::{Fault, News, Standing, Thresholds},
};

/// What the configuration says of a rule, checked.
#[derive(Debug)]
pub(crate) struct RuleTerms {
    pub(crate) name: Arc<str>,
    pub(crate) choice: Choice,
    pub(crate) proxy_protocol: bool,
    pub(crate) reset_when_unreachable: bool,
    pub(crate) slow_start: Duration,
    pub(crate) thresholds: Thresholds,
    pub(crate) interval: Duration,
    pub(crate) probe: Probe,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) backend: Arc<Backend>,
    pub(crate) drains: bool,
}

#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) terms: RuleTerms,
    pub(crate) entries: Vec<Entry>,
    turn: AtomicUsize,
    /// No backend is in, and this was told.
    panics: AtomicBool,
    pub(crate) series: RuleSeries,
}

impl Rule {
    pub(crate) fn new(terms: RuleTerms, entries: Vec<Entry>, series: RuleSeries) -> Arc<Self> {
        for entry in &entries {
            entry.backend.series.draining(entry.drains);
        }
        let rule = Self { terms, entries, turn: AtomicUsize::new(0), panics: AtomicBool::new(false), series };
        rule.series.panic(false);
        // Backends that were there before may be out.
        rule.settle();
        Arc::new(rule)
    }

    pub(crate) fn backend(&self, address: &str) -> Option<Arc<Backend>> {
        self.entries.iter().map(|entry| &entry.backend).find(|backend| backend.address == address).cloned()
    }

    /// The backends to try for a client, best first, by their place among the entries.
    pub(crate) fn order(&self, client: IpAddr) -> Vec<usize> {
        let now = Instant::now();
        let candidates: Vec<Candidate> = self
            .entries
            .iter()
            .map(|Entry { backend, drains }| {
                let standing = backend.standing();
                Candidate {
                    is_in: standing.is_in(),
                    drains: *drains,
                    connections: backend.connections(),
                    share: standing.share(now, self.terms.slow_start),
                    key: backend.key,
                }
            })
            .collect();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        order(&candidates, self.terms.choice, turn, client)
    }

    /// Whether a new connection has a backend that is in.
    pub(crate) fn any_in(&self) -> bool {
        self.entries.iter().any(|entry| !entry.drains && entry.backend.standing().is_in())
    }

    pub(crate) fn note_check(&self, backend: &Backend, found: &Found) {
        let thresholds = self.terms.thresholds;
        let (end, why) = match found {
            Ok(()) => (CheckEnd::Passed, ""),
            Err(failure) => (failure.end, failure.why.as_str()),
        };
        backend.series.checked(end);
        let fault = match end {
            CheckEnd::Passed => None,
            CheckEnd::Sick => Some(Fault::Sick),
            CheckEnd::Unreachable => Some(Fault::Unreachable),
            CheckEnd::Local => {
                tracing::warn!(rule = %self.terms.name, why, "this machine could not check a backend");
                return;
            }
        };
        self.note(backend, why, |standing| match fault {
            None => standing.check_passed(Instant::now(), thresholds),
            Some(fault) => standing.check_failed(fault, thresholds),
        });
    }

    pub(crate) fn note_dial(&self, backend: &Backend, end: DialEnd, why: &str) {
        let thresholds = self.terms.thresholds;
        backend.series.dialled(end);
        match end {
            DialEnd::Answered => backend.standing().dial_answered(),
            DialEnd::Failed => {
                if backend.standing().is_in() {
                    backend.doubted.notify_one();
                }
                self.note(backend, why, |standing| standing.dial_failed(thresholds));
            }
            DialEnd::Lost => {}
            DialEnd::Local => tracing::warn!(rule = %self.terms.name, why, "this machine could not dial"),
        }
    }

    fn note(&self, backend: &Backend, why: &str, found: impl FnOnce(&mut Standing) -> Option<News>) {
        let news = found(&mut backend.standing());
        let (rule, address) = (&*self.terms.name, &*backend.address);
        match news {
            Some(News::WentOut) => {
                backend.series.healthy(false);
                tracing::warn!(rule, backend = address, why, "backend is out");
            }
            Some(News::CameBack) => {
                backend.series.healthy(true);
                tracing::info!(rule, backend = address, "backend is back");
            }
            None => {}
        }
        self.settle();
    }

    /// What follows for the whole rule.
    fn settle(&self) {
        let any_in = self.any_in();
        if self.panics.swap(!any_in, Ordering::Relaxed) == any_in {
            self.series.panic(!any_in);
            let rule = &*self.terms.name;
            match any_in {
                true => tracing::info!(rule, "the rule has a backend that is in again"),
                false => tracing::warn!(rule, "no backend of the rule is in: all are tried"),
            }
        }
        // A reset helps only a client that finds something better; while nothing answers, its connection may yet live on.
        if self.terms.reset_when_unreachable && any_in {
            for Entry { backend, .. } in &self.entries {
                if backend.standing().is_unreachable(self.terms.thresholds) {
                    backend.cut_connections();
                }
            }
        }
    }
}
