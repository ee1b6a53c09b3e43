//! The owner task: takes orders and needs, begins pulls where there is room, and publishes how everything stands.
//!
//! A pull runs as a task of its own. It looks first whether the image is there by now, so that nothing is loaded twice. Progress is read once a
//! second and told with the next heartbeat; only a change of state brings one forward.

use std::{
    collections::{BTreeMap, HashMap},
    mem::discriminant,
    sync::Arc,
    time::Duration,
};

use meridian_engine::{Engine, Image, Loaded, Login, Pull, PullError, Source};
use meridian_model::{ImageReference, registry_of};
use meridian_node::NodeClient;
use meridian_runtime::{Clock, Secret, Tasks};
use meridian_wire::{ImageOrders, ImageState};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};

use super::{
    Need, View,
    archives::Archives,
    entry::{Entry, Progress, Work},
};
use crate::inventory::Inventory;

/// How often progress is read.
const TICK: Duration = Duration::from_secs(1);
/// Everything is looked at this often, whatever happens.
const PERIOD: Duration = Duration::from_secs(10);
/// Whatever a registry sends that long is not an image.
pub(super) const LONGEST_PULL: Duration = Duration::from_secs(4 * 60 * 60);
/// More than a zone may want.
const MAX_WANTED: usize = 1000;

pub(super) enum Event {
    Ordered(ImageOrders),
    Needed { reference: String, told: watch::Sender<Need> },
    Pulled { reference: String, number: u64, result: Result<Image, PullError> },
    AskedAgain { reference: String, number: u64, result: Result<(), PullError> },
}

pub(super) struct Parts {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) inventory: Inventory,
    pub(super) archives: Arc<Archives>,
    pub(super) tasks: Tasks,
    pub(super) clock: Clock,
    pub(super) client: NodeClient,
    pub(super) inbox: mpsc::Sender<Event>,
    pub(super) at_once: usize,
    pub(super) keep_free_mb: u64,
    /// How often what is there by a tag is asked for again.
    pub(super) look_again: Option<Duration>,
}

pub(super) struct Owner {
    pub(super) parts: Parts,
    publish: watch::Sender<Arc<View>>,
    version: String,
    pub(super) logins: HashMap<String, Login>,
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) begun: u64,
}

impl Owner {
    pub(super) fn new(parts: Parts, publish: watch::Sender<Arc<View>>) -> Self {
        Self {
            parts,
            publish,
            version: String::new(),
            logins: HashMap::new(),
            entries: BTreeMap::new(),
            begun: 0,
        }
    }

    pub(super) async fn run(mut self, mut events: mpsc::Receiver<Event>) {
        let mut lists = self.parts.inventory.lists();
        loop {
            self.step();
            tokio::select! {
                () = sleep_until(self.next_look()) => {}
                event = events.recv() => match event {
                    Some(event) => self.take(event),
                    None => return,
                },
                changed = lists.changed() => if changed.is_err() { return },
            }
        }
    }

    fn next_look(&self) -> Instant {
        let now = Instant::now();
        let is_pulling = self.entries.values().any(|entry| entry.work.is_some());
        let usual = now + if is_pulling { TICK } else { PERIOD };
        // What is due and finds no room waits for a pull to end.
        let due = self.entries.values().flat_map(|entry| [entry.due(), entry.again.due()]).flatten();
        let due = due.filter(|due| *due > now);
        due.fold(usual, Instant::min)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Ordered(orders) => self.take_orders(orders),
            Event::Needed { reference, told } => {
                self.entries.entry(reference).or_insert_with(Entry::new).wait(told);
            }
            Event::Pulled { reference, number, result } => self.take_result(&reference, number, &result),
            Event::AskedAgain { reference, number, result } => self.take_again(&reference, number, result),
        }
    }

    fn take_orders(&mut self, orders: ImageOrders) {
        if orders.version == self.version {
            return;
        }
        self.version = orders.version;
        self.logins = orders
            .registries
            .into_iter()
            .map(|login| {
                let password = Secret::new(login.password.expose().to_owned());
                (login.host, Login { username: login.username, password })
            })
            .collect();
        for entry in self.entries.values_mut() {
            entry.is_wanted = false;
            // Perhaps it was a login that was missing.
            entry.try_now();
        }
        for reference in orders.images.into_iter().take(MAX_WANTED) {
            self.entries.entry(reference).or_insert_with(Entry::new).is_wanted = true;
        }
    }

    fn take_result(&mut self, reference: &str, number: u64, result: &Result<Image, PullError>) {
        let Some(entry) = self.entries.get_mut(reference) else { return };
        if entry.work.as_ref().is_none_or(|work| work.number != number) {
            return;
        }
        entry.work = None;
        match result {
            Ok(image) => {
                tracing::info!(image = reference, "the image is on the node");
                entry.found(image, Instant::now());
                self.parts.inventory.look_again();
            }
            Err(error) => {
                tracing::warn!(image = reference, %error, "the image could not be loaded; it is tried again");
                entry.failed(error, self.parts.clock.control_now());
            }
        }
    }

    fn step(&mut self) {
        self.entries.retain(|_, entry| entry.is_waited_for() || entry.is_wanted);
        self.look();
        self.begin_pulls();
        self.look_again();
        for (reference, entry) in &mut self.entries {
            entry.read_progress();
            entry.tell_waiting(reference);
        }
        self.tell();
    }

    /// Compares with what the engine listed last.
    fn look(&mut self) {
        let Some((asked_at, images)) = self.parts.inventory.listed() else { return };
        for (reference, entry) in &mut self.entries {
            if entry.work.is_some() {
                continue;
            }
            match listed(&images, reference) {
                Some(image) => entry.found(image, asked_at),
                None if entry.seen_at.is_some_and(|seen_at| seen_at < asked_at) => entry.missed(),
                None => {}
            }
        }
    }

    fn begin_pulls(&mut self) {
        let now = Instant::now();
        let mut due: Vec<(bool, String)> = Vec::new();
        let mut running = 0;
        for (reference, entry) in &mut self.entries {
            running += usize::from(entry.work.is_some());
            if entry.is_due(now) {
                due.push((!entry.is_waited_for(), reference.clone()));
            }
        }
        // Those first that somebody waits for.
        due.sort();
        for (is_ahead_of_need, reference) in due {
            // One more for whoever waits, so that large images ahead of need do not hold up a launch.
            let room = self.parts.at_once + usize::from(!is_ahead_of_need);
            if running >= room {
                continue;
            }
            if let Some(problem) = self.short_of_disk() {
                let control_now = self.parts.clock.control_now();
                if let Some(entry) = self.entries.get_mut(&reference) {
                    entry.failed(&problem, control_now);
                }
                continue;
            }
            self.begin(reference);
            running += 1;
        }
    }

    pub(super) fn short_of_disk(&self) -> Option<PullError> {
        let free_mb = self.parts.inventory.disk()?.free_mb;
        let keep_mb = self.parts.keep_free_mb;
        (free_mb < keep_mb).then(|| {
            PullError::Passing(format!(
                "the node's disk has {free_mb} MB left, and nothing is loaded below {keep_mb} MB: remove images that nobody needs there"
            ))
        })
    }

    fn begin(&mut self, reference: String) {
        self.begun += 1;
        let (number, progress) = (self.begun, Arc::new(Progress::default()));
        let login = registry_of(&reference).and_then(|host| self.logins.get(host)).cloned();
        let (engine, archives) = (Arc::clone(&self.parts.engine), Arc::clone(&self.parts.archives));
        let (inbox, noted, wanted) = (self.parts.inbox.clone(), Arc::clone(&progress), reference.clone());
        let task = self.parts.tasks.spawn_until_stop("pull", async move {
            let note = |loaded| noted.note(loaded);
            let pulled = timeout(LONGEST_PULL, pull(engine.as_ref(), archives, &wanted, login, &note)).await;
            let result = pulled.unwrap_or_else(|_| {
                let hours = LONGEST_PULL.as_secs() / 3600;
                Err(PullError::Passing(format!("it was not loaded within {hours} hours")))
            });
            // A closed inbox means that the agent stops.
            let _ = inbox.send(Event::Pulled { reference: wanted, number, result }).await;
        });
        if let Some(entry) = self.entries.get_mut(&reference) {
            entry.begin(Work { number, progress, task });
        }
    }

    /// Publishes what is new; a change of state brings the next heartbeat forward, progress does not.
    fn tell(&self) {
        let standings = self.entries.iter().map(|(reference, entry)| entry.standing(reference)).collect();
        let view = View { version: self.version.clone(), standings, problems: self.problems() };
        let known = self.publish.borrow().clone();
        if *known == view {
            return;
        }
        let kinds = |view: &View| {
            let kinds = view
                .standings
                .iter()
                .map(|one| (one.reference.clone(), discriminant::<ImageState>(&one.state)));
            (view.version.clone(), kinds.collect::<Vec<_>>())
        };
        let is_news = kinds(&known) != kinds(&view);
        self.publish.send_replace(Arc::new(view));
        if is_news {
            self.parts.client.wake();
        }
    }
}

fn listed<'a>(images: &'a [Image], reference: &str) -> Option<&'a Image> {
    let listed_as = ImageReference::parse(reference).map_or(reference, |parsed| parsed.familiar());
    images.iter().find(|image| image.reference == listed_as)
}

/// Puts an image on the node, unless it is there.
async fn pull(
    engine: &dyn Engine,
    archives: Arc<Archives>,
    reference: &str,
    login: Option<Login>,
    progress: &(dyn Fn(Loaded) + Send + Sync),
) -> Result<Image, PullError> {
    let away = |error: meridian_engine::EngineError| PullError::Passing(error.to_string());
    if let Some(image) = listed(&engine.images().await.map_err(away)?, reference) {
        return Ok(image.clone());
    }
    let wanted = reference.to_owned();
    let archive = tokio::task::spawn_blocking(move || archives.find(&wanted)).await;
    let archive = archive.map_err(|_| PullError::Passing("the agent is stopping".into()))?;
    let source = match archive.map_err(PullError::Lasting)? {
        Some(path) => Source::Archive(path),
        None => Source::Registry { login },
    };
    let order = Pull { reference: reference.to_owned(), source };
    engine.pull(&order, progress).await?;
    let images = engine.images().await.map_err(away)?;
    let found = listed(&images, reference).cloned();
    found.ok_or_else(|| {
        PullError::Lasting(format!("the container engine does not list {reference} after loading it"))
    })
}
