//! Which streams live, who owns them, and telling them to stop.
//!
//! Every path has a [`Ticket`] from its upgrade on. A `meridian.v1` stream has one owner, in whose inbox later paths of it arrive, and the ticket of
//! the latest of them; so whatever stops a path's stream stops a parked one too. Further paths of a stream that has an owner take no place of the
//! configured number: were all of them taken by streams that wait for their viewers, none could come back.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use jiff::Timestamp;
use meridian_ids::{NodeId, SessionId, StreamId, WatchId};
use meridian_model::Transport;
use meridian_runtime::{Clock, Tasks};
use meridian_ticket::{Grant, Watch};
use meridian_wire::{CutReason, NodeSettings, Revocation, WatchEnd, WatchEndCause};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    activity::{Activity, Use},
    departed::Departed,
    handshake::Arrival,
};
use crate::{grants::is_before, metrics::Metrics, refusal::Refusal};

/// Why a stream has to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Superseded,
    Ended(String),
    Revoked,
    /// Nobody used the session for as long as its user's policy allows.
    Idle,
    Draining,
}

/// More streams of one session are forgotten from the lowest attach number on; a viewer makes one per page.
const MAX_ATTACHED: usize = 256;
/// Streams of one session that wait for their viewers: each page that was left without a word is one. The one that waits longest goes first.
const MAX_PARKED: usize = 4;
/// Paths of those who look on at one session: two people, and each may come back while the path before is still there.
const MAX_WATCHING: usize = 4;
/// Of a session, looking on that this agent ended itself and still knows of.
const MAX_WATCHES_ENDED: usize = 64;
/// Paths that wait for a stream's owner; more wait before the door.
const INBOX: usize = 4;

/// The live streams of the agent. Clones share them.
#[derive(Clone)]
pub(crate) struct Streams {
    state: Arc<Mutex<State>>,
    next: Arc<AtomicU64>,
    activity: Arc<Activity>,
    gauge: Gauge,
    parked: Gauge,
}

#[derive(Default)]
struct State {
    live: HashMap<u64, Live>,
    owners: HashMap<(SessionId, StreamId), mpsc::Sender<Arrival>>,
    /// The highest attach number of each stream, kept as long as its session may have streams.
    attached: HashMap<SessionId, HashMap<StreamId, u64>>,
    /// Looking on that this agent ended, the latest last.
    watches_ended: HashMap<SessionId, VecDeque<WatchEnd>>,
    departed: Departed,
}

struct Live {
    session: SessionId,
    stream: StreamId,
    issued_s: i64,
    /// The relay that carries the path.
    proxy: NodeId,
    /// Its viewer looks on, by this.
    watch: Option<Watch>,
    /// Its viewer is the session's own user, with a page that says who looks on.
    is_page: bool,
    stop: watch::Sender<Option<Stop>>,
    move_off: watch::Sender<bool>,
    /// A path of a stream that has an owner already, until the owner takes it.
    is_further: bool,
    /// Since when, in the order of numbers, it waits for its viewer.
    parked: Option<u64>,
}

/// A live stream's entry, or that of a path on its way to one; dropping it takes it off the list.
pub(crate) struct Ticket {
    number: u64,
    streams: Streams,
    pub(crate) stop: watch::Receiver<Option<Stop>>,
    /// True once the path's relay stops soon.
    pub(super) move_off: watch::Receiver<bool>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut state = self.streams.lock();
        let live = state.live.remove(&self.number);
        if let Some(watch) = live.as_ref().and_then(|live| live.watch) {
            state.departed.note(watch.id, Instant::now());
        }
        drop(state);
        if live.is_some_and(|live| live.parked.is_some()) {
            self.streams.parked.dec();
        }
        self.streams.gauge.dec();
    }
}

/// Whether a stream has an owner.
pub(super) enum Place {
    Taken(mpsc::Sender<Arrival>),
    /// None had, and now the asker is it.
    Free(Inbox),
}

/// Where the later paths of an owner's stream arrive; dropping it makes room for another owner.
pub(super) struct Inbox {
    streams: Streams,
    /// None once the place is given up.
    key: Option<(SessionId, StreamId)>,
    arrivals: mpsc::Receiver<Arrival>,
}

impl Inbox {
    /// The next path. Safe to drop.
    pub(super) async fn next(&mut self) -> Arrival {
        match self.arrivals.recv().await {
            Some(arrival) => arrival,
            // The list holds the other end until this one is dropped.
            None => std::future::pending().await,
        }
    }

    /// Gives the stream up. Of the paths that came too late the latest is given back, for an owner to be; earlier ones could only be superseded by it.
    pub(super) async fn close(mut self) -> Option<Arrival> {
        self.give_up();
        self.arrivals.close();
        let mut latest: Option<Arrival> = None;
        while let Some(arrival) = self.arrivals.recv().await {
            if latest.as_ref().is_none_or(|other| other.attach.number < arrival.attach.number) {
                latest = Some(arrival);
            }
        }
        latest
    }

    fn give_up(&mut self) {
        // Once: afterwards the place may be another's.
        if let Some(key) = self.key.take() {
            self.streams.lock().owners.remove(&key);
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl State {
    fn end_watch(&mut self, session: SessionId, end: WatchEnd) {
        let ended = self.watches_ended.entry(session).or_default();
        if ended.iter().all(|other| other.id != end.id) {
            ended.push_back(end);
        }
        if ended.len() > MAX_WATCHES_ENDED {
            ended.pop_front();
        }
        for live in self.live.values().filter(|live| live.watch.is_some_and(|watch| watch.id == end.id)) {
            live.stop.send_replace(Some(Stop::Revoked));
        }
    }

    /// The control plane says that these are over. They stay so, also where a node of the release before leaves that out the next time.
    fn heed_watches_over(&mut self, over: &[WatchId]) {
        let named = |live: &Live| {
            let watch = live.watch.filter(|watch| over.contains(&watch.id))?;
            Some((live.session, WatchEnd { id: watch.id, because: WatchEndCause::Told }))
        };
        let ends: Vec<_> = self.live.values().filter_map(named).collect();
        for (session, end) in ends {
            self.end_watch(session, end);
        }
    }
}

impl Streams {
    pub(crate) fn new(metrics: &Metrics, clock: Clock) -> Self {
        Self {
            state: Arc::default(),
            activity: Arc::new(Activity::new(clock)),
            next: Arc::default(),
            gauge: metrics.streams.clone(),
            parked: metrics.parked.clone(),
        }
    }

    /// Puts a path on the list, if there is room.
    pub(crate) fn admit(&self, grant: &Grant, at_most: usize) -> Result<Ticket, Refusal> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (stop, told) = watch::channel(None);
        let (move_off, told_to_move) = watch::channel(false);
        let mut state = self.lock();
        let is_further = state.owners.contains_key(&(grant.sub, grant.stream));
        // As many again may be on their way back at once.
        if state.live.values().filter(|live| live.is_further == is_further).count() >= at_most {
            return Err(Refusal::Busy);
        }
        if let Some(watch) = grant.watch {
            let ended = state.watches_ended.get(&grant.sub);
            if ended.is_some_and(|ended| ended.iter().any(|end| end.id == watch.id)) {
                return Err(Refusal::Revoked);
            }
            let watching = |live: &&Live| live.session == grant.sub && live.watch.is_some();
            if state.live.values().filter(watching).count() >= MAX_WATCHING {
                return Err(Refusal::Busy);
            }
        }
        let live = Live {
            session: grant.sub,
            stream: grant.stream,
            issued_s: grant.iat,
            proxy: grant.proxy,
            watch: grant.watch,
            is_page: grant.watch.is_none() && grant.transport == Transport::MeridianV1,
            stop,
            move_off,
            is_further,
            parked: None,
        };
        state.live.insert(number, live);
        drop(state);
        self.gauge.inc();
        Ok(Ticket { number, streams: self.clone(), stop: told, move_off: told_to_move })
    }

    /// Who owns a stream: whoever asks first, until its inbox closes.
    pub(super) fn place(&self, session: SessionId, stream: StreamId) -> Place {
        let mut state = self.lock();
        let key = (session, stream);
        if let Some(owner) = state.owners.get(&key) {
            return Place::Taken(owner.clone());
        }
        let (owner, arrivals) = mpsc::channel(INBOX);
        state.owners.insert(key, owner);
        drop(state);
        Place::Free(Inbox { streams: self.clone(), key: Some(key), arrivals })
    }

    /// The highest attach number that a stream had.
    pub(super) fn highest_attach(&self, session: SessionId, stream: StreamId) -> Option<u64> {
        self.lock().attached.get(&session)?.get(&stream).copied()
    }

    /// Notes an accepted attach: its path's place on the list is the stream's from here on.
    pub(super) fn note_attach(&self, ticket: &Ticket, attach: u64) {
        let mut state = self.lock();
        let State { live, attached, .. } = &mut *state;
        let Some(live) = live.get_mut(&ticket.number) else { return };
        live.is_further = false;
        // Of a session that has ended nothing is kept.
        if live.stop.borrow().is_some() {
            return;
        }
        let attached = attached.entry(live.session).or_default();
        attached.insert(live.stream, attach);
        if attached.len() > MAX_ATTACHED
            && let Some(oldest) =
                attached.iter().filter(|(id, _)| **id != live.stream).min_by_key(|(id, _)| **id)
        {
            let oldest = *oldest.0;
            attached.remove(&oldest);
        }
    }

    /// Notes that a stream waits for its viewer.
    pub(super) fn park(&self, ticket: &Ticket) {
        let since = self.next.fetch_add(1, Ordering::Relaxed);
        let mut state = self.lock();
        let Some(live) = state.live.get_mut(&ticket.number) else { return };
        if live.parked.replace(since).is_none() {
            self.parked.inc();
        }
        // Those who look on and the session's user do not take each other's places.
        let (session, watches) = (live.session, live.watch.is_some());
        let parked = || {
            let of_session =
                state.live.values().filter(|live| live.session == session && live.watch.is_some() == watches);
            of_session.filter(|live| live.parked.is_some() && live.stop.borrow().is_none())
        };
        if parked().count() > MAX_PARKED
            && let Some(oldest) = parked().min_by_key(|live| live.parked)
        {
            oldest.stop.send_replace(Some(Stop::Superseded));
        }
    }

    /// Viewers of a session, without those who look on.
    pub(crate) fn count(&self, session: SessionId) -> u32 {
        let state = self.lock();
        let viewers = state
            .live
            .values()
            .filter(|live| live.session == session && live.parked.is_none() && live.watch.is_none());
        u32::try_from(viewers.count()).unwrap_or(u32::MAX)
    }

    /// Those who look on at any session, or may come back to it: also in a page that was just left.
    pub(crate) fn watches(&self) -> Vec<WatchId> {
        let state = self.lock();
        let live = state.live.values().filter_map(|live| live.watch.map(|watch| watch.id));
        let mut watches: Vec<_> = live.chain(state.departed.expected(Instant::now())).collect();
        watches.sort_unstable();
        watches.dedup();
        watches
    }

    /// Looking on that this agent ended itself.
    pub(crate) fn watches_ended(&self) -> Vec<WatchEnd> {
        let mut ended: Vec<_> = self.lock().watches_ended.values().flatten().copied().collect();
        ended.sort_unstable_by_key(|end| end.id);
        ended
    }

    /// Whether a page of its own user's shows a session now.
    pub(super) fn is_attended(&self, session: SessionId) -> bool {
        let state = self.lock();
        state.live.values().any(|live| live.session == session && live.is_page && live.parked.is_none())
    }

    /// Nobody looks on by this any more, and nobody may come back.
    pub(super) fn end_watch(&self, session: SessionId, id: WatchId, because: WatchEndCause) {
        self.lock().end_watch(session, WatchEnd { id, because });
    }

    /// The person at the desktop wants nobody to look on.
    pub(super) fn stop_watching(&self, session: SessionId) {
        let mut state = self.lock();
        let watching = state.live.values().filter(|live| live.session == session);
        let mut watches: Vec<_> = watching.filter_map(|live| live.watch.map(|watch| watch.id)).collect();
        watches.sort_unstable();
        watches.dedup();
        for id in watches {
            state.end_watch(session, WatchEnd { id, because: WatchEndCause::Stopped });
        }
    }

    /// Control-plane time.
    pub(super) fn now(&self) -> Timestamp {
        self.activity.now()
    }

    /// Where it is noted that a session's user does something. Looking on is no use of it.
    pub(super) fn activity(&self, grant: &Grant) -> Use {
        if grant.watch.is_some() { self.activity.of_nobody() } else { self.activity.of(grant.sub) }
    }

    /// Until when a session counts as used. `is_heard`: the control plane has answered, so its time is known.
    pub(crate) fn active_at(&self, session: SessionId, is_heard: bool) -> Option<Timestamp> {
        if is_heard {
            self.activity.begin();
        }
        self.activity.active_at(session)
    }

    /// The session is over: its streams are told why.
    pub(crate) fn end(&self, session: SessionId, reason: &str) {
        self.activity.forget(session);
        let mut state = self.lock();
        state.attached.remove(&session);
        state.watches_ended.remove(&session);
        for live in state.live.values().filter(|live| live.session == session) {
            live.stop.send_replace(Some(Stop::Ended(reason.to_owned())));
        }
    }

    /// Cuts the streams that revocations name, now and whenever the settings change.
    pub(crate) fn follow_revocations(
        &self,
        tasks: &Tasks,
        mut settings: watch::Receiver<Option<Arc<NodeSettings>>>,
    ) {
        let streams = self.clone();
        tasks.spawn_until_stop("revocations", async move {
            loop {
                let current = settings.borrow_and_update().clone();
                for revocation in current.iter().flat_map(|settings| &settings.revocations) {
                    streams.revoke(revocation);
                }
                if let Some(settings) = &current {
                    streams.lock().heed_watches_over(&settings.watches_over);
                }
                if settings.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    fn revoke(&self, revocation: &Revocation) {
        for live in self.lock().live.values() {
            if live.session == revocation.session_id && is_before(live.issued_s, revocation.issued_before) {
                let stop = match revocation.because {
                    Some(CutReason::Idle) => Stop::Idle,
                    Some(CutReason::Unknown) | None => Stop::Revoked,
                };
                live.stop.send_replace(Some(stop));
            }
        }
    }

    /// A relay stops soon: the viewers whose paths it carries are told to open another first.
    pub(crate) fn move_off(&self, proxy: NodeId) {
        let state = self.lock();
        let mut told = 0_usize;
        for live in state.live.values().filter(|live| live.proxy == proxy && live.parked.is_none()) {
            live.move_off.send_replace(true);
            told += 1;
        }
        tracing::info!(peer = %proxy, told, "a relay is about to stop; its viewers are told to move");
    }

    /// When the agent stops, viewers are told to look for another path; workspaces go on.
    pub(crate) fn drain_at_stop(&self, tasks: &Tasks) {
        let (streams, stopping) = (self.clone(), tasks.stopping());
        tasks.spawn("drain", async move {
            stopping.cancelled().await;
            for live in streams.lock().live.values() {
                live.stop.send_replace(Some(Stop::Draining));
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
