//! How each job stands, and what of it speaks against readiness.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use meridian_runtime::Health;

use crate::store::StoreError;

/// The readiness reason while the database is away.
const DATABASE: &str = "database";
/// Failures in a row after which a job's own trouble speaks against readiness.
const ENOUGH: u32 = 3;

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The database is away, or does not answer.
    Database,
    /// A row cannot be worked on. The rest of the job was done, or is done the next time.
    Row,
    /// The job's own.
    Job,
}

impl Fault {
    fn of(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Tls { .. } | StoreError::Timeout => Self::Database,
            StoreError::Text(_) | StoreError::Shape(_) | StoreError::Corrupt(_) => Self::Row,
            // Class 22 is a value that does not fit, 23 a constraint.
            StoreError::Query(error)
                if error
                    .code()
                    .is_some_and(|code| ["22", "23"].iter().any(|class| code.code().starts_with(class))) =>
            {
                Self::Row
            }
            StoreError::Query(_) | StoreError::Migrate(_) | StoreError::MigrationBusy { .. } => Self::Job,
        }
    }
}

#[derive(Clone, Debug)]
struct Standing {
    fault: Fault,
    text: String,
    /// In a row, of this fault.
    times: u32,
}

/// All jobs' standings; only failing ones are in it. Clones share.
#[derive(Clone)]
pub(super) struct Standings {
    failing: Arc<Mutex<BTreeMap<&'static str, Standing>>>,
    health: Health,
}

impl Standings {
    pub(super) fn new(health: Health) -> Self {
        Self { failing: Arc::default(), health }
    }

    /// Writes down how a job's turn ended. Logged once when it begins to fail and once when that is over: an outage of the database is one
    /// event, not thousands.
    pub(super) fn note(&self, job: &'static str, outcome: &Result<(), StoreError>) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => {
                if failing.remove(job).is_some() {
                    tracing::info!(job, "the job works again");
                }
                self.health.restore(job);
            }
            Err(error) => {
                let fault = Fault::of(error);
                let times = match failing.get(job) {
                    Some(known) if known.fault == fault => known.times.saturating_add(1),
                    Some(_) | None => 1,
                };
                match (fault, times) {
                    (Fault::Database, 1) => {
                        tracing::warn!(job, %error, "a job does not get through to the database")
                    }
                    (Fault::Row, 1) => {
                        tracing::error!(job, %error, "a job meets a row that it cannot work on")
                    }
                    (Fault::Job, 1) => tracing::error!(job, %error, "a job fails"),
                    (Fault::Database | Fault::Row | Fault::Job, _) => {}
                }
                failing.insert(job, Standing { fault, text: error.to_string(), times });
                if fault == Fault::Job && times >= ENOUGH {
                    self.health.degrade(job, error.to_string());
                } else {
                    self.health.restore(job);
                }
            }
        }
        let away = failing.iter().find(|(_, standing)| standing.fault == Fault::Database);
        match away {
            Some((job, standing)) => self.health.degrade(DATABASE, format!("{job}: {}", standing.text)),
            None => self.health.restore(DATABASE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(health: &Health) -> Vec<&'static str> {
        health.reasons().into_keys().collect()
    }

    #[test]
    fn one_jobs_success_does_not_clear_anothers_failure() {
        let health = Health::default();
        let standings = Standings::new(health.clone());
        standings.note("a", &Err(StoreError::Timeout));
        standings.note("b", &Ok(()));
        assert_eq!(reasons(&health), ["database"]);
        standings.note("b", &Err(StoreError::Timeout));
        standings.note("a", &Ok(()));
        assert_eq!(reasons(&health), ["database"]);
        standings.note("b", &Ok(()));
        assert!(reasons(&health).is_empty());
    }

    #[test]
    fn a_job_that_goes_on_failing_is_named_and_the_database_is_not() {
        let health = Health::default();
        let standings = Standings::new(health.clone());
        let own = || Err(StoreError::MigrationBusy { wait_s: 1, holder: "somebody".into() });
        for _ in 0..ENOUGH {
            assert!(reasons(&health).is_empty(), "once is not enough");
            standings.note("a", &own());
        }
        assert_eq!(reasons(&health), ["a"]);
        standings.note("b", &Ok(()));
        assert_eq!(reasons(&health), ["a"]);
        standings.note("a", &Ok(()));
        assert!(reasons(&health).is_empty());
    }

    #[test]
    fn a_bad_row_does_not_speak_against_readiness() {
        let health = Health::default();
        let standings = Standings::new(health.clone());
        for _ in 0..10 {
            standings.note("a", &Err(StoreError::Corrupt("a role is house".into())));
        }
        assert!(reasons(&health).is_empty());
    }
}
