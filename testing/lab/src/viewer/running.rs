//! The task that owns a viewer.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use meridian_runtime::Tasks;
use meridian_stream::{Code, Verdict};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    Journal, QUEUE, SETTLED_AFTER, Status, Way,
    core::{Core, Effect, Lost, PathId},
    entry::{self, Opened, WayBack},
    lock,
    path::carry,
    script::Script,
};
use crate::{api::Api, chance::Chance, trust::Trust};

const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_LAST: Duration = Duration::from_secs(10);
/// A viewer with nothing due looks up this often.
const IDLE: Duration = Duration::from_secs(1);

/// A path that takes nothing more does not keep a viewer from going.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);

pub(super) enum Event {
    /// A path was opened, or why not, with the ticket that was asked for.
    Opened {
        ticket: Option<Way>,
        opened: Result<Box<Opened>>,
    },
    Message(PathId, Bytes, Duration),
    Closed(PathId),
}

pub(super) struct Path {
    out: mpsc::Sender<Bytes>,
    address: SocketAddr,
}

pub(super) struct Running {
    pub(super) thumbprint: String,
    pub(super) api: Api,
    pub(super) trust: Trust,
    pub(super) session: String,
    pub(super) tasks: Tasks,
    pub(super) chance: Chance,
    pub(super) began: Instant,
    pub(super) core: Core,
    pub(super) script: Script,
    pub(super) journal: Arc<Mutex<Journal>>,
    pub(super) status: watch::Sender<Status>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) paths: BTreeMap<PathId, Path>,
    pub(super) opening: bool,
    pub(super) attempt: u32,
    pub(super) attached_at: Option<Duration>,
    pub(super) retry_at: Option<Duration>,
    pub(super) way_back: WayBack,
    /// The attached path drains or looks dead: wanted is another, beside it.
    pub(super) wants_another: bool,
    /// The entry of a path that looked dead: not the first to try.
    pub(super) suspect: Option<SocketAddr>,
    pub(super) over: bool,
}

impl Running {
    /// Until its tasks stop; then it leaves as a page does that is closed.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Event>) {
        let stopping = self.tasks.stopping();
        while !self.over {
            let due = [self.core.next_deadline(), self.script.due(), self.retry_at];
            let due = due.into_iter().flatten().min().unwrap_or_else(|| self.now() + IDLE);
            tokio::select! {
                () = stopping.cancelled() => return self.leave_stream(),
                event = inbox.recv() => match event {
                    Some(event) => self.hear(event),
                    None => return,
                },
                () = sleep_until(self.began + due) => {}
            }
            self.tick();
            self.perform();
            self.tell();
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// What the paths still have to say is said before they end.
    fn leave_stream(&mut self) {
        self.core.leave();
        for effect in self.core.take() {
            if let Effect::Send(path, message) = effect
                && let Some(path) = self.paths.get(&path)
            {
                // One that takes nothing more leads nowhere.
                let _ = path.out.try_send(message);
            }
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Opened { ticket, opened } => {
                self.opening = false;
                if let Some(ticket) = ticket {
                    lock(&self.journal).tickets += 1;
                    self.way_back.remember(ticket);
                }
                match opened {
                    Ok(opened) => self.adopt(*opened),
                    Err(error) => self.path_lost(&format!("{error:#}")),
                }
            }
            Event::Message(path, message, at) => self.core.receive(path, message, at),
            Event::Closed(path) => {
                if self.paths.remove(&path).is_some() {
                    self.core.path_closed(path);
                    self.path_lost("the path closed");
                }
            }
        }
    }

    fn adopt(&mut self, opened: Opened) {
        let Opened { socket, address } = opened;
        lock(&self.journal).tell(self.now(), "another path is open");
        let id = self.core.path_opened(self.now());
        let (out, queue) = mpsc::channel(QUEUE);
        self.paths.insert(id, Path { out, address });
        let carried = carry(socket, id, queue, self.events.clone(), self.began);
        let stopping = self.tasks.stopping();
        self.tasks.spawn("viewer's path", async move {
            let too_late = async {
                stopping.cancelled().await;
                sleep(LEAVE_WITHIN).await;
            };
            tokio::select! {
                () = carried => {}
                () = too_late => {}
            }
        });
    }

    fn tick(&mut self) {
        let now = self.now();
        self.core.tick(now);
        if let Some(said) = self.script.tick(now) {
            self.core.send_display(&said);
        }
        if self.retry_at.is_some_and(|at| now >= at) {
            self.open_path();
        }
    }

    fn open_path(&mut self) {
        self.retry_at = None;
        if self.opening {
            return;
        }
        self.opening = true;
        let (way, suspect) = (self.way_back.next(), self.suspect);
        let by = if way.is_some() { "tries by its pass" } else { "tries with a new ticket" };
        lock(&self.journal).tell(self.now(), by);
        let (api, trust, events) = (self.api.clone(), self.trust.clone(), self.events.clone());
        let (session, thumbprint) = (self.session.clone(), self.thumbprint.clone());
        let mut chance = self.chance.split();
        self.tasks.spawn_until_stop("viewer's opening", async move {
            let asked = match way {
                Some(way) => Ok((way, false)),
                None => api.connect(&session, &thumbprint).await.map(|way| (way, true)),
            };
            let event = match asked {
                Ok((way, new)) => {
                    let opened = entry::open(&way, &trust, suspect, &mut chance).await.map(Box::new);
                    Event::Opened { ticket: new.then_some(way), opened }
                }
                Err(error) => Event::Opened { ticket: None, opened: Err(error) },
            };
            // A viewer that ended needs no path.
            let _ = events.send(event).await;
        });
    }

    /// Carries out what the core decided, and what follows from that.
    fn perform(&mut self) {
        loop {
            let effects = self.core.take();
            if effects.is_empty() || self.over {
                return;
            }
            for effect in effects {
                self.perform_one(effect);
            }
        }
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::Send(path, message) => {
                let taken = self.paths.get(&path).map(|known| known.out.try_send(message));
                if let Some(Err(_)) = taken {
                    // It takes nothing more, and what was not sent is sent again on the next.
                    self.leave(path, "the path took nothing more");
                }
            }
            Effect::Close(path) => {
                self.paths.remove(&path);
                self.path_lost("the path was given up");
            }
            Effect::Attached(verdict) => self.attached(verdict),
            Effect::Refused { code, message, overtaken } => self.refused(code, &message, overtaken),
            Effect::Notice { path, code, message, overtaken } => {
                self.noticed(path, code, &message, overtaken);
            }
            Effect::Suspect => {
                {
                    let (mut journal, now) = (lock(&self.journal), self.began.elapsed());
                    journal.broke(now);
                    journal.tell(now, "the path is silent");
                }
                self.suspect = self.paths.first_key_value().map(|(_, path)| path.address);
                self.open_another();
            }
            Effect::Display(bytes) => self.display(&bytes),
            Effect::Ended(reason) => self.fail(format!("the session ended: {reason}")),
            Effect::Lost(Lost(why)) => self.fail(why.to_owned()),
        }
    }

    fn display(&mut self, bytes: &[u8]) {
        let now = self.now();
        lock(&self.journal).arrived(now);
        let frames = self.script.frames();
        match self.script.take(bytes, now) {
            Ok(said) if said.is_empty() => {}
            Ok(said) => self.core.send_display(&said),
            Err(Lost(why)) => return self.fail(why.to_owned()),
        }
        if self.script.frames() > frames {
            self.status.send_modify(|status| status.frame_at = Some(now));
        }
    }

    fn attached(&mut self, verdict: Verdict) {
        let now = self.now();
        lock(&self.journal).attached(now, verdict);
        self.way_back.arrived();
        self.attached_at = Some(now);
        self.retry_at = None;
        self.wants_another = false;
        self.suspect = None;
        if verdict != Verdict::Resumed {
            self.script.restart();
        }
    }

    fn path_lost(&mut self, trouble: &str) {
        if self.core.attached() && !self.wants_another {
            return;
        }
        {
            let mut journal = lock(&self.journal);
            journal.tell(self.began.elapsed(), trouble);
            if !self.core.attached() && self.attached_at.is_some() {
                journal.broke(self.began.elapsed());
            }
        }
        if !self.core.attached() {
            self.settle_backoff();
        }
        self.schedule_open();
    }

    fn open_another(&mut self) {
        self.wants_another = true;
        self.settle_backoff();
        self.schedule_open();
    }

    /// Opens a path after a random wait, unless one is on its way already.
    fn schedule_open(&mut self) {
        if self.opening || self.core.handshakes() > 0 || self.retry_at.is_some() {
            return;
        }
        let limit = BACKOFF_FIRST.saturating_mul(1 << self.attempt.min(16)).min(BACKOFF_LAST);
        self.retry_at = Some(self.now() + limit.mul_f64(self.chance.part()));
        self.attempt += 1;
    }

    /// After a path that lived a while, the next failure is a new one and not the next of a row.
    fn settle_backoff(&mut self) {
        let now = self.now();
        if self.attached_at.take().is_some_and(|at| now.saturating_sub(at) > SETTLED_AFTER) {
            self.attempt = 0;
        }
    }

    fn refused(&mut self, code: Code, message: &str, overtaken: bool) {
        match code {
            Code::Superseded if overtaken => {}
            Code::Superseded | Code::Ended | Code::Revoked | Code::Idle | Code::Protocol | Code::Key => {
                self.fail(format!("refused: {code:?} {message}"));
            }
            Code::DisplayUnavailable | Code::Draining | Code::ClipboardRefused | Code::Unknown(_) => {
                lock(&self.journal).tell(self.began.elapsed(), format!("refused: {code:?} {message}"));
            }
        }
    }

    fn noticed(&mut self, path: PathId, code: Code, message: &str, overtaken: bool) {
        match code {
            Code::Superseded if overtaken => self.leave(path, "left for a later path"),
            Code::Superseded if !self.core.newest(path) => {}
            Code::Superseded | Code::Ended | Code::Revoked | Code::Idle | Code::Protocol => {
                self.fail(format!("told: {code:?} {message}"));
            }
            Code::Draining => self.open_another(),
            Code::DisplayUnavailable => self.leave(path, message),
            Code::Key | Code::ClipboardRefused | Code::Unknown(_) => {}
        }
    }

    fn leave(&mut self, path: PathId, trouble: &str) {
        self.core.path_closed(path);
        self.paths.remove(&path);
        self.path_lost(trouble);
    }

    fn fail(&mut self, why: String) {
        lock(&self.journal).failure.get_or_insert(why);
        self.status.send_modify(|status| (status.failed, status.attached) = (true, false));
        self.paths.clear();
        self.over = true;
    }

    fn tell(&self) {
        let attached = self.core.attached();
        self.status.send_if_modified(|status| std::mem::replace(&mut status.attached, attached) != attached);
    }
}
