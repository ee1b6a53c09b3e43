//! What is said of the sessions: to the control plane, and to the streams.

use std::sync::Arc;

use meridian_model::ProgressStep;
use meridian_wire::{Command, Observation, ObservedSession, ProblemReport};

use super::{
    owner::Owner,
    record::{Record, Stage},
    view::{Phase, Standing, View},
};

impl Owner {
    pub(super) fn tell(&self) {
        self.publish();
        self.parts.client.wake();
    }

    pub(super) fn publish(&self) {
        let observed = self.ledger.records().filter_map(|record| self.observe(record));
        let quarantined = self.found.iter().flat_map(|(_, found)| found);
        let quarantined = quarantined.filter(|found| self.ledger.get(found.session).is_none());
        let quarantined = quarantined.map(|found| ObservedSession {
            session_id: found.session,
            epoch: found.epoch,
            generation: found.generation,
            observation: Observation::Quarantined,
            streams: 0,
            active_at: None,
        });
        let problems = self
            .problems
            .iter()
            .map(|(code, message)| ProblemReport { code: (*code).into(), message: message.clone() });
        let view = View {
            since: self.since,
            observed: observed.chain(quarantined).chain(self.unwritten.iter().cloned()).collect(),
            problems: problems.collect(),
            standings: self.ledger.records().map(|record| (record.session(), standing(record))).collect(),
        };
        self.publish.send_replace(Arc::new(view));
    }

    /// What is said of a session; nothing while its end is under way, because nothing is certain then, and nothing more
    /// once its end was told.
    fn observe(&self, record: &Record) -> Option<ObservedSession> {
        let session = record.session();
        let observation = match &record.stage {
            Stage::Ordered | Stage::Started => {
                let step = self.steps.get(&session).cloned();
                step.unwrap_or_else(|| starting(ProgressStep::Pushed, String::new()))
            }
            Stage::Ready => Observation::Running,
            Stage::Failed { reason } => Observation::Failed { reason: reason.clone() },
            Stage::Exited { reason } => Observation::Exited { reason: reason.clone() },
            Stage::Ending => return None,
            Stage::Gone { .. } if self.gone.contains_key(&session) => Observation::Gone,
            Stage::Gone { .. } => return None,
        };
        let (epoch, generation) = record.pair();
        Some(ObservedSession {
            session_id: session,
            epoch,
            generation,
            observation,
            streams: 0,
            active_at: None,
        })
    }
}

pub(super) fn starting(step: ProgressStep, message: String) -> Observation {
    Observation::Starting { step, message, percent: None }
}

fn standing(record: &Record) -> Standing {
    let phase = match (&record.stage, &record.desired.command) {
        (_, Command::End { reason }) => Phase::Ended(reason.clone()),
        (Stage::Ordered | Stage::Started, Command::Run { .. }) => Phase::Starting,
        (Stage::Ready, Command::Run { .. }) => Phase::Up,
        (Stage::Failed { reason }, Command::Run { .. }) => Phase::Failed(reason.clone()),
        (Stage::Exited { reason }, Command::Run { .. }) => Phase::Ended(reason.clone()),
        (Stage::Ending | Stage::Gone { .. }, Command::Run { .. }) => Phase::Ended("it was ended".into()),
    };
    let (epoch, generation) = record.pair();
    Standing { epoch, generation, phase }
}
