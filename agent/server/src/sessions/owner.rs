//! The owner task: takes orders, looks at the engine, and does one idempotent step per session at a time.
//!
//! Work on a session (a start, a removal, waiting for a display) runs as a task of its own and reports to the inbox; while it runs, the session
//! is left alone, until an order to end it takes the work's place. The engine's list is asked for by a task too, so that a slow engine holds up no order;
//! a list that was begun before the latest work ended says nothing and is asked for again. An engine that does not answer changes nothing about any
//! session: it is a problem of the node.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::StreamExt;
use meridian_engine::{ContainerState, Engine, EngineError, Found, Order, Step};
use meridian_ids::SessionId;
use meridian_model::ProgressStep;
use meridian_runtime::{Backoff, Clock, Tasks};
use meridian_wire::{Command, Observation, ObservedSession, ProblemReport, Update};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until},
};

use super::{
    ledger::{self, Ledger},
    record::{Record, Stage, Verdict, judge},
    view::{Phase, Standing, View},
};
use crate::{stream::Streams, workspace};

/// The guarantee: everything is looked at this often, whatever hints were lost.
const PERIOD: Duration = Duration::from_secs(5);
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

/// What reaches the owner.
pub(super) enum Event {
    Updated(Box<Update>),
    /// The engine says that something may have changed.
    Hinted,
    Stepped {
        session: SessionId,
        step: Step,
    },
    /// The engine's list, as of the moment when so much work had ended.
    Listed {
        ended: u64,
        result: Result<Vec<Found>, EngineError>,
    },
    /// Work on a session ended. Of work that something else took the place of, nobody hears.
    Worked {
        session: SessionId,
        number: u64,
        outcome: Outcome,
    },
}

pub(super) enum Outcome {
    Started(Result<(), EngineError>),
    Showed(Result<(), String>),
    Removed(Result<(), EngineError>),
}

/// What is known of a session's container.
enum Container {
    /// No list is recent enough.
    Unknown,
    Absent,
    Is(ContainerState),
}

/// A task that works on a session; it ends when it is dropped.
struct Work {
    number: u64,
    task: JoinHandle<()>,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the owner works with.
pub(super) struct Parts {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) streams: Streams,
    pub(super) tasks: Tasks,
    pub(super) clock: Clock,
    pub(super) inbox: mpsc::Sender<Event>,
    pub(super) display_wait: Duration,
    /// Tells the control plane soon.
    pub(super) news: Arc<dyn Fn() + Send + Sync>,
}

pub(super) struct Owner {
    parts: Parts,
    ledger: Ledger,
    publish: watch::Sender<Arc<View>>,
    since: i64,
    epoch: i64,
    work: HashMap<SessionId, Work>,
    begun: u64,
    ended: u64,
    listing: bool,
    engine_backoff: Backoff,
    /// Where a start stands.
    steps: HashMap<SessionId, Observation>,
    /// Sessions whose last try the engine did not answer, and when the next is due.
    retries: HashMap<SessionId, (Backoff, Instant)>,
    /// The engine's own list, once it was heard, and how much work had ended when it was asked for.
    found: Option<(u64, Vec<Found>)>,
    problems: HashMap<&'static str, String>,
}

impl Owner {
    pub(super) fn new(parts: Parts, ledger: Ledger, publish: watch::Sender<Arc<View>>) -> Self {
        let epoch = ledger.records().map(|record| record.desired.epoch).max().unwrap_or(0);
        let owner = Self {
            parts,
            ledger,
            publish,
            since: 0,
            epoch,
            work: HashMap::new(),
            begun: 0,
            ended: 0,
            listing: false,
            engine_backoff: Backoff::new(FIRST_RETRY, LONGEST_RETRY),
            steps: HashMap::new(),
            retries: HashMap::new(),
            found: None,
            problems: HashMap::new(),
        };
        owner.publish();
        owner
    }

    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        self.listen_to_engine();
        self.list();
        let mut look_at = Instant::now() + PERIOD;
        loop {
            let due = self.retries.values().map(|(_, due)| *due).fold(look_at, Instant::min);
            tokio::select! {
                () = sleep_until(due) => {
                    if Instant::now() >= look_at {
                        look_at = Instant::now() + PERIOD;
                        self.list();
                    }
                    self.step_all().await;
                }
                event = events.recv() => {
                    let Some(event) = event else { return };
                    if let Some(next) = self.take(event).await {
                        look_at = look_at.min(Instant::now() + next);
                    }
                }
            }
        }
    }

    fn listen_to_engine(&self) {
        let (engine, inbox) = (Arc::clone(&self.parts.engine), self.parts.inbox.clone());
        self.parts.tasks.spawn_until_stop("engine events", async move {
            let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
            loop {
                let mut hints = engine.events();
                while hints.next().await.is_some() {
                    backoff.reset();
                    if inbox.send(Event::Hinted).await.is_err() {
                        return;
                    }
                }
                sleep(backoff.next_wait()).await;
            }
        });
    }

    /// Takes an event; the answer is how soon the engine is to be asked again, where that is not the usual period.
    async fn take(&mut self, event: Event) -> Option<Duration> {
        match event {
            Event::Updated(update) => {
                self.take_update(*update).await;
                self.step_all().await;
            }
            Event::Hinted => self.list(),
            Event::Stepped { session, step } => {
                let observation = match step {
                    Step::Image { message, percent } => {
                        Observation::Starting { step: ProgressStep::Image, message, percent }
                    }
                    Step::Container => starting(ProgressStep::Container, String::new()),
                };
                if self.work.contains_key(&session) {
                    self.steps.insert(session, observation);
                    self.tell();
                }
            }
            Event::Listed { ended, result } => return self.take_list(ended, result).await,
            Event::Worked { session, number, outcome } => {
                if self.work.get(&session).is_some_and(|work| work.number == number) {
                    self.work.remove(&session);
                    self.ended += 1;
                    self.take_outcome(session, outcome).await;
                    self.list();
                }
            }
        }
        None
    }

    async fn take_outcome(&mut self, session: SessionId, outcome: Outcome) {
        match outcome {
            Outcome::Started(result) => self.take_start(session, result).await,
            Outcome::Showed(result) => self.take_picture(session, result).await,
            Outcome::Removed(result) => self.take_removal(session, result).await,
        }
        self.tell();
    }

    fn list(&mut self) {
        if self.listing {
            return;
        }
        self.listing = true;
        let (engine, inbox, ended) = (Arc::clone(&self.parts.engine), self.parts.inbox.clone(), self.ended);
        self.parts.tasks.spawn_until_stop("list", async move {
            let result = engine.list().await;
            let _ = inbox.send(Event::Listed { ended, result }).await;
        });
    }

    async fn take_list(&mut self, ended: u64, result: Result<Vec<Found>, EngineError>) -> Option<Duration> {
        self.listing = false;
        match result {
            Ok(_) if ended != self.ended => {
                self.list();
                None
            }
            Ok(found) => {
                self.engine_backoff.reset();
                if self.problems.remove("engine").is_some() {
                    tracing::info!("the container engine answers again");
                }
                self.found = Some((ended, found));
                self.step_all().await;
                None
            }
            Err(error) => {
                if self.problems.insert("engine", error.to_string()).is_none() {
                    tracing::warn!(hop = "engine", %error, "the container engine does not answer; nothing is changed");
                    self.tell();
                }
                Some(self.engine_backoff.next_wait())
            }
        }
    }

    /// Writes down what is new in an update, before anything comes of it.
    async fn take_update(&mut self, update: Update) {
        let mut news = Vec::new();
        for order in &update.sessions {
            match judge(self.ledger.get(order.session_id), order) {
                Verdict::Take(record) => news.push(*record),
                Verdict::Known => {}
                Verdict::Lower => tracing::info!(
                    session.id = %order.session_id,
                    epoch = order.epoch,
                    generation = order.generation,
                    "an order older than what is known is refused"
                ),
            }
        }
        let written = self.write(news.clone()).await;
        if !written {
            // Not acknowledged, so it comes again.
            return;
        }
        if update.epoch > self.epoch {
            (self.epoch, self.since) = (update.epoch, 0);
        }
        self.since = self.since.max(update.version);
        for record in news {
            let session = record.session();
            self.retries.remove(&session);
            if let Command::End { reason } = &record.desired.command {
                tracing::info!(session.id = %session, reason, "the session is to end");
                self.parts.streams.end(session, reason);
                // Whatever is being done for it is not wanted any more.
                self.work.remove(&session);
                self.ended += 1;
            }
        }
        self.tell();
    }

    async fn take_start(&mut self, session: SessionId, result: Result<(), EngineError>) {
        match result {
            Ok(()) => {
                self.retries.remove(&session);
                self.steps.insert(session, starting(ProgressStep::Display, String::new()));
                self.move_on(session, Stage::Ordered, Stage::Started).await;
            }
            Err(EngineError::Refused(reason)) => {
                tracing::warn!(session.id = %session, reason, "the workspace could not be started");
                self.move_on(session, Stage::Ordered, Stage::Failed { reason }).await;
            }
            Err(EngineError::Unavailable(reason)) => {
                let message = format!("waiting for the container engine: {reason}");
                self.steps.insert(session, starting(ProgressStep::Container, message));
                self.retry_later(session);
            }
        }
    }

    async fn take_picture(&mut self, session: SessionId, result: Result<(), String>) {
        match result {
            Ok(()) => self.move_on(session, Stage::Started, Stage::Ready).await,
            Err(missing) => {
                let reason = format!(
                    "the workspace started, but showed nothing within {} seconds: {missing}",
                    self.parts.display_wait.as_secs()
                );
                tracing::warn!(session.id = %session, reason, "the workspace is given up");
                self.move_on(session, Stage::Started, Stage::Failed { reason }).await;
            }
        }
    }

    async fn take_removal(&mut self, session: SessionId, result: Result<(), EngineError>) {
        match result {
            Ok(()) => {
                self.retries.remove(&session);
                self.steps.remove(&session);
                let at = self.parts.clock.now();
                self.move_on(session, Stage::Ending, Stage::Gone { at }).await;
                self.ledger.forget_old(at);
            }
            Err(error) => {
                tracing::warn!(hop = "engine", session.id = %session, %error, "a session could not be removed yet");
                self.retry_later(session);
            }
        }
    }

    async fn step_all(&mut self) {
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
        let (engine, inbox) = (Arc::clone(&self.parts.engine), self.parts.inbox.clone());
        self.work_on(session, "start", async move {
            // A step that finds no room is not worth waiting for: the next one says more.
            let report = move |step| drop(inbox.try_send(Event::Stepped { session, step }));
            Outcome::Started(engine.start(&order, &report).await)
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

    fn retry_later(&mut self, session: SessionId) {
        let (backoff, due) = self
            .retries
            .entry(session)
            .or_insert_with(|| (Backoff::new(FIRST_RETRY, LONGEST_RETRY), Instant::now()));
        *due = Instant::now() + backoff.next_wait();
    }

    /// Moves a session from the stage in which its work began; an order that came meanwhile wins.
    async fn move_on(&mut self, session: SessionId, from: Stage, to: Stage) {
        let Some(record) = self.ledger.get(session).filter(|record| record.stage == from) else { return };
        let moved = Record { stage: to, ..record.clone() };
        self.write(vec![moved]).await;
    }

    /// Puts records on disk and into memory; false, with nothing changed, when the disk refuses.
    async fn write(&mut self, records: Vec<Record>) -> bool {
        if records.is_empty() {
            return true;
        }
        let (folder, copies) = (self.ledger.folder(), records.clone());
        let written = tokio::task::spawn_blocking(move || ledger::write(&folder, &copies)).await;
        match written {
            Ok(Ok(())) => {
                self.problems.remove("disk");
                self.ledger.adopt(records);
                true
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "this agent's disk refuses; no order is carried out");
                let text = format!("the agent cannot write to its data directory: {error}");
                self.problems.insert("disk", text);
                self.tell();
                false
            }
            // Only a stopping runtime does not finish it.
            Err(_) => false,
        }
    }

    fn tell(&self) {
        self.publish();
        (self.parts.news)();
    }

    fn publish(&self) {
        let observed = self.ledger.records().filter_map(|record| self.observe(record));
        let quarantined = self.found.iter().flat_map(|(_, found)| found);
        let quarantined = quarantined.filter(|found| self.ledger.get(found.session).is_none());
        let quarantined = quarantined.map(|found| ObservedSession {
            session_id: found.session,
            epoch: found.epoch,
            generation: found.generation,
            observation: Observation::Quarantined,
            streams: 0,
        });
        let problems = self
            .problems
            .iter()
            .map(|(code, message)| ProblemReport { code: (*code).into(), message: message.clone() });
        let view = View {
            since: self.since,
            observed: observed.chain(quarantined).collect(),
            problems: problems.collect(),
            standings: self.ledger.records().map(|record| (record.session(), standing(record))).collect(),
        };
        self.publish.send_replace(Arc::new(view));
    }

    /// What is said of a session; nothing while its end is under way, because nothing is certain then.
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
            Stage::Gone { .. } => Observation::Gone,
        };
        let (epoch, generation) = record.pair();
        Some(ObservedSession { session_id: session, epoch, generation, observation, streams: 0 })
    }
}

fn starting(step: ProgressStep, message: String) -> Observation {
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
