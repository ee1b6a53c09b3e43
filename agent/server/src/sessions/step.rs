//! The one step that a session needs next, and the work that it means.

use std::sync::Arc;

use meridian_engine::{ContainerState, EngineError, Order};
use meridian_ids::SessionId;
use meridian_model::ProgressStep;
use meridian_runtime::Backoff;
use meridian_wire::Command;
use tokio::{task::JoinHandle, time::Instant};

use super::{
    owner::{Event, FIRST_RETRY, LONGEST_RETRY, Outcome, Owner},
    record::{Record, Stage},
    report::starting,
};
use crate::workspace;

/// What is known of a session's container.
enum Container {
    /// No list is recent enough.
    Unknown,
    Absent,
    Is(ContainerState),
}

/// A task that works on a session; it ends when it is dropped.
pub(super) struct Work {
    pub(super) number: u64,
    task: JoinHandle<()>,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Owner {
    pub(super) async fn step_all(&mut self) {
        let sessions: Vec<SessionId> = self.ledger.records().map(Record::session).collect();
        for session in sessions {
            self.step(session).await;
        }
        self.publish();
    }

    /// One step for one session, if it needs one and none is under way.
    async fn step(&mut self, session: SessionId) {
        self.stop_waiting_for_the_dead(session);
        if self.work.contains_key(&session)
            || self.retries.get(&session).is_some_and(|(_, due)| *due > Instant::now())
        {
            return;
        }
        let Some(record) = self.ledger.get(session).cloned() else { return };
        match (record.stage, self.container(session)) {
            // Both are idempotent, so they need not wait for a list.
            (
                Stage::Ordered,
                Container::Unknown | Container::Absent | Container::Is(ContainerState::Created),
            ) => {
                self.start(session);
            }
            (Stage::Ending, _) => self.remove(session),
            (Stage::Ordered, Container::Is(ContainerState::Running)) => {
                // A start whose end this process, or its predecessor, did not see.
                self.move_on(session, Stage::Ordered, Stage::Started).await;
                self.await_picture(session);
            }
            (Stage::Started, Container::Unknown | Container::Is(ContainerState::Running)) => {
                self.await_picture(session);
            }
            (Stage::Ordered | Stage::Started, Container::Is(ContainerState::Exited { reason })) => {
                let reason = format!("it ended before it showed anything: {reason}");
                self.fail(session, reason).await;
            }
            (Stage::Started | Stage::Ready, Container::Absent | Container::Is(ContainerState::Created)) => {
                self.exit(session, "its container was removed by someone else".into()).await;
            }
            (Stage::Ready, Container::Is(ContainerState::Exited { reason })) => {
                self.exit(session, reason).await
            }
            (Stage::Failed { .. }, Container::Is(_)) => self.remove(session),
            (Stage::Gone { .. }, Container::Is(_)) => {
                // It came back by no order of ours: a start that the engine finished late.
                tracing::warn!(session.id = %session, "a container of an ended session is removed");
                self.remove(session);
            }
            (Stage::Ready, Container::Unknown | Container::Is(ContainerState::Running))
            | (Stage::Failed { .. } | Stage::Gone { .. }, Container::Unknown | Container::Absent)
            | (Stage::Exited { .. }, _) => {}
        }
    }

    /// Nothing will be seen of a workspace that has ended.
    fn stop_waiting_for_the_dead(&mut self, session: SessionId) {
        let is_started = self.ledger.get(session).is_some_and(|record| record.stage == Stage::Started);
        if is_started
            && !matches!(self.container(session), Container::Unknown | Container::Is(ContainerState::Running))
        {
            self.work.remove(&session);
        }
    }

    fn container(&self, session: SessionId) -> Container {
        match &self.found {
            Some((ended, found)) if *ended == self.ended => found
                .iter()
                .find(|found| found.session == session)
                .map_or(Container::Absent, |found| Container::Is(found.state.clone())),
            Some(_) | None => Container::Unknown,
        }
    }

    fn start(&mut self, session: SessionId) {
        let Some(Record { desired, .. }) = self.ledger.get(session) else { return };
        let Command::Run { spec } = &desired.command else { return };
        let order =
            Order { session, epoch: desired.epoch, generation: desired.generation, spec: spec.clone() };
        let (engine, images) = (Arc::clone(&self.parts.engine), self.parts.images.clone());
        let inbox = self.parts.inbox.clone();
        self.work_on(session, "start", async move {
            // A step that finds no room is not worth waiting for: the next one says more.
            let report = move |step| drop(inbox.try_send(Event::Stepped { session, step }));
            let started = match engine.start(&order, &report).await {
                Err(EngineError::NoImage(_)) => match images.need(&order.spec.image, &report).await {
                    Ok(()) => engine.start(&order, &report).await,
                    Err(error) => Err(error),
                },
                started => started,
            };
            Outcome::Started(started)
        });
    }

    fn await_picture(&mut self, session: SessionId) {
        self.steps.insert(session, starting(ProgressStep::Display, String::new()));
        let directory = self.parts.engine.display_directory(session);
        let (uid, limit) = (self.parts.engine.workspace_uid(), self.parts.display_wait);
        self.work_on(session, "await picture", async move {
            Outcome::Showed(workspace::await_picture(&directory, uid, limit).await)
        });
    }

    fn remove(&mut self, session: SessionId) {
        let engine = Arc::clone(&self.parts.engine);
        self.work_on(session, "remove", async move { Outcome::Removed(engine.remove(session).await) });
    }

    fn work_on(
        &mut self,
        session: SessionId,
        name: &'static str,
        work: impl Future<Output = Outcome> + Send + 'static,
    ) {
        self.begun += 1;
        let (number, inbox) = (self.begun, self.parts.inbox.clone());
        let task = self.parts.tasks.spawn_until_stop(name, async move {
            let outcome = work.await;
            // A closed inbox means that the agent stops; the next one finds the container by its labels.
            let _ = inbox.send(Event::Worked { session, number, outcome }).await;
        });
        self.work.insert(session, Work { number, task });
    }

    async fn fail(&mut self, session: SessionId, reason: String) {
        let Some(stage) = self.ledger.get(session).map(|record| record.stage.clone()) else { return };
        tracing::warn!(session.id = %session, reason, "the workspace failed");
        self.move_on(session, stage, Stage::Failed { reason }).await;
        self.tell();
    }

    async fn exit(&mut self, session: SessionId, reason: String) {
        let Some(stage) = self.ledger.get(session).map(|record| record.stage.clone()) else { return };
        tracing::info!(session.id = %session, reason, "the workspace ended");
        self.parts.streams.end(session, &reason);
        self.move_on(session, stage, Stage::Exited { reason }).await;
        self.tell();
    }

    pub(super) fn retry_later(&mut self, session: SessionId) {
        let (backoff, due) = self
            .retries
            .entry(session)
            .or_insert_with(|| (Backoff::new(FIRST_RETRY, LONGEST_RETRY), Instant::now()));
        *due = Instant::now() + backoff.next_wait();
    }
}
