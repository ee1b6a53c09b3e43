//! What an agent remembers of a session: the highest order, and how far it was carried out.
//!
//! ```text
//! Run: ordered ──> started ──> ready ──> exited
//!         └─────────────┴──> failed
//! End: ending ──> gone                 (final: no Run of this session is taken any more)
//! ```

use jiff::Timestamp;
use meridian_ids::SessionId;
use meridian_wire::{Command, DesiredSession};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    #[serde(flatten)]
    pub(super) desired: DesiredSession,
    pub(super) stage: Stage,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    Ordered,
    /// The container was started; nothing has been seen of it yet.
    Started,
    /// Its display was seen once.
    Ready,
    Failed {
        reason: String,
    },
    Exited {
        reason: String,
    },
    Ending,
    Gone {
        at: Timestamp,
    },
}

/// What an order means for a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To be written down, and acted upon then.
    Take(Box<Record>),
    /// As it is already.
    Known,
    /// Older than what is known.
    Lower,
}

impl Record {
    pub(super) fn session(&self) -> SessionId {
        self.desired.session_id
    }

    pub(super) fn pair(&self) -> (i64, i64) {
        (self.desired.epoch, self.desired.generation)
    }

    fn fresh(desired: DesiredSession) -> Self {
        let stage = match desired.command {
            Command::Run { .. } => Stage::Ordered,
            Command::End { .. } => Stage::Ending,
        };
        Self { desired, stage }
    }
}

/// Judges an order against what is known of the session.
pub(super) fn judge(known: Option<&Record>, order: &DesiredSession) -> Verdict {
    let Some(known) = known else { return Verdict::Take(Box::new(Record::fresh(order.clone()))) };
    let pair = (order.epoch, order.generation);
    if pair < known.pair() {
        return Verdict::Lower;
    }
    match (&known.desired.command, &order.command) {
        (Command::End { .. }, Command::Run { .. }) if pair == known.pair() => Verdict::Lower,
        (Command::End { .. }, Command::End { .. }) | (Command::Run { .. }, Command::Run { .. })
            if pair == known.pair() =>
        {
            Verdict::Known
        }
        // An end is final, whatever is ordered later (a restored database may not remember it): the answer is that it is gone,
        // under the number by which it was asked for.
        (Command::End { .. }, Command::Run { .. } | Command::End { .. }) => {
            let command = known.desired.command.clone();
            let desired = DesiredSession { command, ..order.clone() };
            Verdict::Take(Box::new(Record { desired, stage: known.stage.clone() }))
        }
        (Command::Run { .. }, Command::End { .. }) => Verdict::Take(Box::new(Record::fresh(order.clone()))),
        // The same workspace under a higher number: what runs goes on, what failed or ended stays so.
        (Command::Run { .. }, Command::Run { .. }) => {
            Verdict::Take(Box::new(Record { desired: order.clone(), stage: known.stage.clone() }))
        }
    }
}

#[cfg(test)]
mod tests {
    use meridian_model::{Network, Seccomp, WorkspaceSpec};

    use super::*;

    fn order(session_id: SessionId, epoch: i64, generation: i64, run: bool) -> DesiredSession {
        let spec = WorkspaceSpec {
            image: "x".into(),
            cpu_milli: 1,
            memory_mb: 1,
            shm_mb: 1,
            home_mb: 1,
            tmp_mb: 1,
            pids_limit: 1,
            network: Network::None,
            seccomp: Seccomp::Default,
            home: None,
        };
        let command = if run { Command::Run { spec } } else { Command::End { reason: "asked to".into() } };
        DesiredSession { session_id, epoch, generation, command }
    }

    fn taken(verdict: Verdict) -> Record {
        let Verdict::Take(record) = verdict else { panic!("{verdict:?}") };
        *record
    }

    #[test]
    fn lower_numbers_are_refused_and_the_epoch_counts_before_the_generation() {
        let id = SessionId::generate();
        let known = taken(judge(None, &order(id, 2, 5, true)));
        assert_eq!(judge(Some(&known), &order(id, 2, 4, false)), Verdict::Lower);
        assert_eq!(judge(Some(&known), &order(id, 1, 9, false)), Verdict::Lower);
        assert_eq!(judge(Some(&known), &order(id, 2, 5, true)), Verdict::Known);
        assert_eq!(taken(judge(Some(&known), &order(id, 3, 1, false))).stage, Stage::Ending);
    }

    #[test]
    fn nothing_is_resurrected() {
        let id = SessionId::generate();
        let ended = taken(judge(None, &order(id, 1, 3, false)));
        let gone = Record { stage: Stage::Gone { at: Timestamp::UNIX_EPOCH }, ..ended };
        assert_eq!(judge(Some(&gone), &order(id, 1, 3, true)), Verdict::Lower);
        let later = taken(judge(Some(&gone), &order(id, 2, 1, true)));
        assert!(matches!(later.desired.command, Command::End { .. }));
        assert_eq!((later.pair(), later.stage), ((2, 1), gone.stage));
    }

    #[test]
    fn a_record_survives_the_disk() {
        let record = taken(judge(None, &order(SessionId::generate(), 1, 1, true)));
        let text = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
    }
}
