//! The owner task: takes orders, looks at the engine, and does one idempotent step per session at a time.
//!
//! Work on a session (a start, a removal, waiting for a display) runs as a task of its own and reports to the inbox; while it runs, the session
//! is left alone, until an order to end it takes the work's place. The engine's list is asked for by a task too, so that a slow engine holds up no order;
//! a list that was begun before the latest work ended says nothing and is asked for again. An engine that does not answer changes nothing about any
//! session: it is a problem of the node.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::StreamExt;
use meridian_engine::{Engine, EngineError, Found, Step};
use meridian_ids::SessionId;
use meridian_model::ProgressStep;
use meridian_node::NodeClient;
use meridian_runtime::{Backoff, Clock, Tasks};
use meridian_wire::{Command, Observation, ObservedSession, Update};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    ledger::{self, Ledger},
    record::{Record, Stage, Verdict, judge},
    report::starting,
    step::Work,
    view::View,
};
use crate::{images::Images, stream::Streams};

/// The guarantee: everything is looked at this often, whatever hints were lost.
const PERIOD: Duration = Duration::from_secs(5);
pub(super) const FIRST_RETRY: Duration = Duration::from_millis(250);
pub(super) const LONGEST_RETRY: Duration = Duration::from_secs(5);

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

/// What the owner works with.
pub(super) struct Parts {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) images: Images,
    pub(super) streams: Streams,
    pub(super) tasks: Tasks,
    pub(super) clock: Clock,
    pub(super) inbox: mpsc::Sender<Event>,
    pub(super) display_wait: Duration,
    pub(super) client: NodeClient,
}

pub(super) struct Owner {
    pub(super) parts: Parts,
    pub(super) ledger: Ledger,
    pub(super) publish: watch::Sender<Arc<View>>,
    pub(super) since: i64,
    pub(super) epoch: i64,
    pub(super) work: HashMap<SessionId, Work>,
    pub(super) begun: u64,
    pub(super) ended: u64,
    pub(super) listing: bool,
    pub(super) engine_backoff: Backoff,
    /// Where a start stands.
    pub(super) steps: HashMap<SessionId, Observation>,
    /// Sessions whose last try the engine did not answer, and when the next is due.
    pub(super) retries: HashMap<SessionId, (Backoff, Instant)>,
    /// The engine's own list, once it was heard, and how much work had ended when it was asked for.
    pub(super) found: Option<(u64, Vec<Found>)>,
    pub(super) problems: HashMap<&'static str, String>,
    /// Orders to run something that the disk refused: they come again with every update, and until then the user reads why nothing moves.
    pub(super) unwritten: Vec<ObservedSession>,
    /// Epoch and generation of all orders that the disk refused: until each was written, no later update is acknowledged, for then they would
    /// never come again.
    pub(super) refused: HashMap<SessionId, (i64, i64)>,
    /// Tombstones that were carried out and are still to be told, and after how many answered heartbeats they are not any more: a month's
    /// tombstones are not said every two seconds.
    pub(super) gone: HashMap<SessionId, u64>,
}

/// The problem of a disk that refuses.
const DISK: &str = "disk";

/// The first answered heartbeat may have been on its way already.
const TELL_GONE: u64 = 3;

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
            unwritten: Vec::new(),
            refused: HashMap::new(),
            gone: HashMap::new(),
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

    pub(super) fn list(&mut self) {
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
                let answered = self.parts.client.heartbeats_answered();
                self.gone.retain(|_, until| *until >= answered);
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
        let mut asked_again = false;
        for order in &update.sessions {
            match judge(self.ledger.get(order.session_id), order) {
                Verdict::Take(record) => news.push(*record),
                // Asked again: the control plane has not heard how it stands.
                Verdict::Known => asked_again |= self.tell_if_gone(order.session_id),
                Verdict::Lower => tracing::info!(
                    session.id = %order.session_id,
                    epoch = order.epoch,
                    generation = order.generation,
                    "an order older than what is known is refused"
                ),
            }
        }
        if let Err(problem) = self.write(news.clone()).await {
            // Not acknowledged, so it comes again.
            self.refused.extend(news.iter().map(|record| (record.session(), record.pair())));
            return self.wait_for_disk(&news, problem);
        }
        for order in &update.sessions {
            let pair = (order.epoch, order.generation);
            if self.refused.get(&order.session_id).is_some_and(|refused| *refused <= pair) {
                self.refused.remove(&order.session_id);
            }
        }
        let is_restored = update.epoch > self.epoch;
        if is_restored {
            // The database was promoted or restored: its numbers are others, so everything is asked for anew.
            (self.epoch, self.since) = (update.epoch, 0);
            self.refused.clear();
        } else if self.refused.is_empty() {
            self.since = self.since.max(update.version);
        }
        let is_news = is_restored || asked_again || !news.is_empty();
        for record in news {
            let session = record.session();
            self.retries.remove(&session);
            self.tell_if_gone(session);
            if let Command::End { reason } = &record.desired.command {
                tracing::info!(session.id = %session, reason, "the session is to end");
                self.parts.streams.end(session, reason);
                // Whatever is being done for it is not wanted any more.
                self.work.remove(&session);
                self.ended += 1;
            }
        }
        // Each heartbeat is answered with an update: if one without news brought the next heartbeat forward, they would never rest.
        if is_news { self.tell() } else { self.publish() }
    }

    async fn take_start(&mut self, session: SessionId, result: Result<(), EngineError>) {
        match result {
            Ok(()) => {
                self.retries.remove(&session);
                self.steps.insert(session, starting(ProgressStep::Display, String::new()));
                self.move_on(session, Stage::Ordered, Stage::Started).await;
            }
            Err(error @ (EngineError::Refused(_) | EngineError::NoImage(_))) => {
                let reason = error.to_string();
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
                self.tell_if_gone(session);
                self.ledger.forget_old(at);
            }
            Err(error) => {
                tracing::warn!(hop = "engine", session.id = %session, %error, "a session could not be removed yet");
                self.retry_later(session);
            }
        }
    }

    /// Has the next heartbeats say of a session that it is gone; whether that is new to them.
    fn tell_if_gone(&mut self, session: SessionId) -> bool {
        let is_gone = matches!(self.ledger.get(session), Some(Record { stage: Stage::Gone { .. }, .. }));
        is_gone && self.gone.insert(session, self.parts.client.heartbeats_answered() + TELL_GONE).is_none()
    }

    /// Moves a session from the stage in which its work began; an order that came meanwhile wins.
    pub(super) async fn move_on(&mut self, session: SessionId, from: Stage, to: Stage) {
        let Some(record) = self.ledger.get(session).filter(|record| record.stage == from) else { return };
        let moved = Record { stage: to, ..record.clone() };
        if let Err(problem) = self.write(vec![moved]).await {
            self.wait_for_disk(&[], problem);
        }
    }

    /// Puts records on disk and into memory. The error is what is wrong with the disk; nothing has changed then.
    async fn write(&mut self, records: Vec<Record>) -> Result<(), String> {
        if records.is_empty() {
            return Ok(());
        }
        let (folder, copies) = (self.ledger.folder(), records.clone());
        let written = tokio::task::spawn_blocking(move || ledger::write(&folder, &copies)).await;
        match written {
            Ok(Ok(())) => {
                if self.problems.remove(DISK).is_some() {
                    tracing::info!("this agent's disk takes what is written again");
                }
                self.unwritten.clear();
                self.ledger.adopt(records);
                Ok(())
            }
            Ok(Err(error)) => Err(format!("the agent cannot write to its data directory: {error}")),
            Err(_) => Err("the agent is stopping".into()),
        }
    }

    /// Says what the disk's state is and what waits for it: once, because telling brings the next heartbeat forward, and its answer the
    /// same orders again.
    fn wait_for_disk(&mut self, orders: &[Record], problem: String) {
        let runs = orders.iter().filter(|record| matches!(record.desired.command, Command::Run { .. }));
        let unwritten: Vec<_> = runs
            .map(|record| {
                let (epoch, generation) = record.pair();
                let observation = starting(ProgressStep::Pushed, format!("waiting: {problem}"));
                ObservedSession {
                    session_id: record.session(),
                    epoch,
                    generation,
                    observation,
                    streams: 0,
                    active_at: None,
                }
            })
            .filter(|order| self.ledger.get(order.session_id).is_none())
            .collect();
        let news = self.problems.get(DISK) != Some(&problem) || self.unwritten != unwritten;
        if news {
            tracing::error!(problem, "this agent's disk refuses; no order is carried out");
            self.problems.insert(DISK, problem);
            self.unwritten = unwritten;
            self.tell();
        }
    }
}
