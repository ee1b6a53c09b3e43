//! An engine in memory, for tests and for zones of a thousand nodes on one machine.
//!
//! Its containers are entries of a [`Daemon`], which outlives the engine as a real daemon outlives an agent. Each running one has a display that really
//! answers on `rfb.sock`, and a helper on `helper.sock`, so that the whole path from a viewer on is the real one.

mod display;
mod helper;
mod shared;

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use meridian_ids::SessionId;
use meridian_model::{Network, PersistentHome, Resources};
use meridian_runtime::Tasks;
use tokio::sync::watch;

use crate::{
    Answer, Capabilities, ContainerState, Disk, DisplayPlaces, Engine, EngineError, Events, Found, Frozen,
    HomeStorage, Image, Loaded, Login, Order, Owner, Pull, PullError, Pulling, Source, Step,
    names::session_name,
    shared_homes::watch::{Watch, Writer},
};

/// What may go wrong, as a test wants it.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Every answer takes this long.
    pub slow: Duration,
    /// The engine does not answer at all.
    pub stopped: bool,
    /// Every start is refused with this reason.
    pub refuses: Option<String>,
    /// Displays are not served: containers run and show nothing.
    pub blind: bool,
    /// No helper in the containers.
    pub without_helper: bool,
    /// The registry does not answer.
    pub registry_away: bool,
    /// Pulls stay half way.
    pub pulls_held: bool,
}

/// What the engine speaks to. Clones share it.
#[derive(Clone)]
pub struct Daemon {
    state: Arc<Mutex<DaemonState>>,
    changes: watch::Sender<u64>,
    tasks: Tasks,
}

/// Serves the inside of a workspace in a directory, as each simulated one has it: for a real container that shows what viewers can check.
///
/// # Errors
/// When the sockets cannot be made.
pub fn serve_workspace(directory: &Path, tasks: &Tasks) -> io::Result<()> {
    let inside = Arc::new(Inside::default());
    display::serve(directory, Arc::clone(&inside), tasks)?;
    helper::serve(directory, inside, tasks)
}

#[derive(Default)]
struct DaemonState {
    containers: BTreeMap<String, Container>,
    images: Vec<Image>,
    /// What the registry has: bytes, and who may have it.
    registry: BTreeMap<String, (u64, Option<(String, String)>)>,
    /// Pulls that are under way, and the most that ever were at once.
    pulls: (usize, usize),
    faults: Faults,
}

struct Container {
    labels: HashMap<String, String>,
    found: Found,
    inside: Arc<Inside>,
    tasks: Tasks,
    home: Option<PersistentHome>,
    /// The file on shared storage that its home is.
    file: Option<PathBuf>,
    is_frozen: bool,
}

/// What happened inside a simulated workspace, for tests to look at.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    /// Messages that reached the display.
    pub(crate) messages: Mutex<Vec<Vec<u8>>>,
    /// Texts that reached the clipboard.
    pub(crate) texts: Mutex<Vec<String>>,
    /// Texts that the workspace copies.
    pub(crate) copies: watch::Sender<Option<String>>,
}

impl Daemon {
    /// A daemon that has `images`. Its displays run as tasks of `tasks`.
    #[must_use]
    pub fn new(images: &[&str], tasks: Tasks) -> Self {
        let images = images.iter().map(|reference| image(reference, 1 << 20)).collect();
        let state = DaemonState { images, ..DaemonState::default() };
        Self { state: Arc::new(Mutex::new(state)), changes: watch::Sender::new(0), tasks }
    }

    /// Changes what goes wrong, from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.lock().faults = faults;
        self.change();
    }

    /// Lets the registry have an image of so many bytes, for whoever comes or for one name and password.
    pub fn publish(&self, reference: &str, bytes: u64, login: Option<(&str, &str)>) {
        let login = login.map(|(username, password)| (username.to_owned(), password.to_owned()));
        self.lock().registry.insert(reference.to_owned(), (bytes, login));
    }

    /// Takes an image from the node, as whoever tidies it by hand.
    pub fn forget_image(&self, reference: &str) {
        self.lock().images.retain(|image| image.reference != reference);
    }

    /// Pulls that are under way.
    #[must_use]
    pub fn pulls(&self) -> usize {
        self.lock().pulls.0
    }

    /// The most pulls that were ever under way at once.
    #[must_use]
    pub fn most_pulls(&self) -> usize {
        self.lock().pulls.1
    }

    /// Lets a workspace end by itself.
    pub fn exit(&self, session: SessionId, reason: &str) {
        if let Some(container) = self.lock().containers.get_mut(&session_name(session)) {
            container.found.state = ContainerState::Exited { reason: reason.into() };
            container.tasks.stopping().cancel();
        }
        self.change();
    }

    /// A running container that nobody ordered.
    pub fn plant(&self, owner: &Owner, session: SessionId) {
        let container = Container {
            labels: owner.session_labels(session),
            found: Found { session, epoch: 1, generation: 1, state: ContainerState::Running },
            inside: Arc::default(),
            tasks: self.tasks.child(),
            home: None,
            file: None,
            is_frozen: false,
        };
        self.lock().containers.insert(session_name(session), container);
        self.change();
    }

    /// Lets a blind workspace show something at last, in its display directory.
    ///
    /// # Errors
    /// When its sockets cannot be made.
    pub fn show(&self, session: SessionId, leaf: &Path) -> io::Result<()> {
        let found = {
            let state = self.lock();
            let container = state.containers.get(&session_name(session));
            container.map(|container| (Arc::clone(&container.inside), container.tasks.clone()))
        };
        let Some((inside, tasks)) = found else { return Err(io::ErrorKind::NotFound.into()) };
        display::serve(leaf, Arc::clone(&inside), &tasks)?;
        helper::serve(leaf, inside, &tasks)
    }

    /// The names of all containers, whoever's they are.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.lock().containers.keys().cloned().collect()
    }

    /// The messages that reached a session's display.
    #[must_use]
    pub fn messages(&self, session: SessionId) -> Vec<Vec<u8>> {
        self.inside(session).map(|inside| lock(&inside.messages).clone()).unwrap_or_default()
    }

    /// A workspace writes a line to its home on shared storage. One that is frozen, or has no such home, does not: false.
    ///
    /// # Errors
    /// When the storage does not take it.
    pub fn write(&self, session: SessionId, line: &str) -> io::Result<bool> {
        let file = {
            let state = self.lock();
            let container = state.containers.get(&session_name(session));
            container.filter(|container| !container.is_frozen).and_then(|container| container.file.clone())
        };
        let Some(file) = file else { return Ok(false) };
        writeln!(std::fs::OpenOptions::new().append(true).open(file)?, "{line}")?;
        Ok(true)
    }

    /// The texts that reached a session's clipboard.
    #[must_use]
    pub fn texts(&self, session: SessionId) -> Vec<String> {
        self.inside(session).map(|inside| lock(&inside.texts).clone()).unwrap_or_default()
    }

    /// Lets a session's workspace copy a text.
    pub fn copy(&self, session: SessionId, text: &str) {
        if let Some(inside) = self.inside(session) {
            inside.copies.send_replace(Some(text.into()));
        }
    }

    fn inside(&self, session: SessionId) -> Option<Arc<Inside>> {
        self.lock().containers.get(&session_name(session)).map(|container| Arc::clone(&container.inside))
    }

    fn change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, DaemonState> {
        lock(&self.state)
    }
}

fn image(reference: &str, size_bytes: u64) -> Image {
    Image { reference: reference.into(), id: format!("sha256:{reference}"), digest: None, size_bytes }
}

/// A pull that is counted as long as it is under way.
struct Counted<'a>(&'a Daemon);

impl<'a> Counted<'a> {
    fn begin(daemon: &'a Daemon) -> Self {
        let mut state = daemon.lock();
        state.pulls.0 += 1;
        state.pulls.1 = state.pulls.1.max(state.pulls.0);
        drop(state);
        Self(daemon)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.lock().pulls.0 -= 1;
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The engine of one agent.
pub struct SimulatedEngine {
    daemon: Daemon,
    owner: Owner,
    places: DisplayPlaces,
    total: Resources,
    watch: Watch,
}

impl SimulatedEngine {
    /// # Errors
    /// When the run directory cannot be made.
    pub fn new(daemon: Daemon, owner: Owner, run_directory: &Path, total: Resources) -> io::Result<Self> {
        let places = DisplayPlaces::open_unmounted(run_directory, &owner)?;
        Ok(Self { daemon, owner, places, total, watch: Watch::default() })
    }

    async fn answer(&self) -> Result<Faults, EngineError> {
        let faults = self.daemon.lock().faults.clone();
        if !faults.slow.is_zero() {
            tokio::time::sleep(faults.slow).await;
        }
        if faults.stopped { Err(EngineError::Unavailable("it is stopped".into())) } else { Ok(faults) }
    }

    async fn start_one(
        &self,
        order: &Order,
        steps: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<(), EngineError> {
        steps(Step::Image { message: String::new(), percent: None });
        let faults = self.answer().await?;
        if let Some(reason) = faults.refuses {
            return Err(EngineError::Refused(reason));
        }
        if !self.daemon.lock().images.iter().any(|image| image.reference == order.spec.image) {
            return Err(EngineError::NoImage(order.spec.image.clone()));
        }
        steps(Step::Container);
        let name = session_name(order.session);
        let file = shared::take(&self.owner, order).await?;
        let (inside, tasks) = (Arc::new(Inside::default()), self.daemon.tasks.child());
        {
            let mut state = self.daemon.lock();
            let home = order.spec.home.as_ref().map(|home| home.id);
            let is_held = |(other, container): (&String, &Container)| {
                *other != name
                    && self.owner.owns(&container.labels)
                    && container.home.as_ref().map(|home| home.id) == home
            };
            if home.is_some() && state.containers.iter().any(is_held) {
                return Err(EngineError::Unavailable("the home is still held by another session".into()));
            }
            if let Some(known) = state.containers.get(&name) {
                return if known.found.state == ContainerState::Running {
                    Ok(())
                } else {
                    Err(EngineError::Refused("the workspace has ended".into()))
                };
            }
            let container = Container {
                labels: self.owner.session_labels(order.session),
                found: Found {
                    session: order.session,
                    epoch: order.epoch,
                    generation: order.generation,
                    state: ContainerState::Running,
                },
                inside: Arc::clone(&inside),
                tasks: tasks.clone(),
                home: order.spec.home.clone(),
                file,
                is_frozen: false,
            };
            state.containers.insert(name, container);
        }
        let served = self.serve(order.session, &faults, &inside, &tasks);
        self.daemon.change();
        served.map_err(|error| {
            EngineError::Refused(format!("the display directory could not be made: {error}"))
        })
    }

    async fn pull_one(
        &self,
        pull: &Pull,
        progress: &(dyn Fn(Loaded) + Send + Sync),
    ) -> Result<(), PullError> {
        self.answer().await.map_err(|error| PullError::Passing(error.to_string()))?;
        let total_bytes = match &pull.source {
            Source::Registry { login } => self.ask_registry(&pull.reference, login.as_ref())?,
            Source::Archive(path) => std::fs::metadata(path)
                .map_err(|error| PullError::Lasting(format!("the archive cannot be read: {error}")))?
                .len(),
        };
        let _counted = Counted::begin(&self.daemon);
        progress(Loaded { done_bytes: total_bytes / 2, total_bytes });
        let mut changes = self.daemon.changes.subscribe();
        while self.daemon.lock().faults.pulls_held {
            // The daemon outlives its engines, and so does the sender.
            let _ = changes.changed().await;
        }
        if self.daemon.lock().faults.registry_away && matches!(pull.source, Source::Registry { .. }) {
            return Err(PullError::Passing("the registry broke off".into()));
        }
        let mut state = self.daemon.lock();
        // A name means one image.
        state.images.retain(|image| image.reference != pull.reference);
        state.images.push(image(&pull.reference, total_bytes));
        Ok(())
    }

    fn ask_registry(&self, reference: &str, login: Option<&Login>) -> Result<u64, PullError> {
        let state = self.daemon.lock();
        if state.faults.registry_away {
            return Err(PullError::Passing("the registry does not answer".into()));
        }
        let Some((bytes, wanted)) = state.registry.get(reference) else {
            return Err(PullError::Lasting(format!("the registry does not have {reference}")));
        };
        let given = login.map(|login| (login.username.clone(), login.password.expose().clone()));
        match wanted {
            Some(_) if *wanted != given => Err(PullError::Lasting("the registry refuses the login".into())),
            Some(_) | None => Ok(*bytes),
        }
    }

    /// The sessions that have homes on shared storage.
    fn writers(&self) -> Vec<Writer> {
        let state = self.daemon.lock();
        let ours = state.containers.values().filter(|container| self.owner.owns(&container.labels));
        let writer = |container: &Container| {
            let home = container.home.as_ref()?;
            let storage = PathBuf::from(&home.shared.as_ref()?.storage);
            let (session, is_frozen) = (container.found.session, container.is_frozen);
            Some(Writer { session, home: home.id, storage, is_frozen })
        };
        ours.filter_map(writer).collect()
    }

    fn serve(
        &self,
        session: SessionId,
        faults: &Faults,
        inside: &Arc<Inside>,
        tasks: &Tasks,
    ) -> io::Result<()> {
        let leaf = self.places.prepare(session)?;
        if !faults.blind {
            display::serve(&leaf, Arc::clone(inside), tasks)?;
            if !faults.without_helper {
                helper::serve(&leaf, Arc::clone(inside), tasks)?;
            }
        }
        Ok(())
    }
}

impl Engine for SimulatedEngine {
    fn capabilities(&self) -> Answer<'_, Capabilities> {
        Box::pin(async {
            self.answer().await?;
            Ok(Capabilities {
                total: self.total,
                home_storage: HomeStorage::Tmpfs,
                networks: vec![Network::None, Network::Internet, Network::Full],
                keeps_homes: true,
                problems: Vec::new(),
                disk: Some(Disk { free_mb: 50_000, total_mb: 100_000 }),
            })
        })
    }

    fn images(&self) -> Answer<'_, Vec<Image>> {
        Box::pin(async {
            self.answer().await?;
            Ok(self.daemon.lock().images.clone())
        })
    }

    fn pull<'a>(&'a self, pull: &'a Pull, progress: &'a (dyn Fn(Loaded) + Send + Sync)) -> Pulling<'a> {
        Box::pin(self.pull_one(pull, progress))
    }

    fn start<'a>(&'a self, order: &'a Order, steps: &'a (dyn Fn(Step) + Send + Sync)) -> Answer<'a, ()> {
        Box::pin(self.start_one(order, steps))
    }

    fn list(&self) -> Answer<'_, Vec<Found>> {
        Box::pin(async {
            self.answer().await?;
            let state = self.daemon.lock();
            let ours = state.containers.values().filter(|container| self.owner.owns(&container.labels));
            Ok(ours.map(|container| container.found.clone()).collect())
        })
    }

    fn remove(&self, session: SessionId) -> Answer<'_, ()> {
        Box::pin(async move {
            self.answer().await?;
            let name = session_name(session);
            let removed = {
                let mut state = self.daemon.lock();
                match state.containers.get(&name) {
                    Some(container) if !self.owner.owns(&container.labels) => {
                        return Err(EngineError::Refused("the container is another agent's".into()));
                    }
                    Some(_) | None => state.containers.remove(&name),
                }
            };
            if let Some(container) = removed {
                container.tasks.stop(Duration::from_secs(5)).await;
                if let Err(error) = shared::give_up(&self.owner, session, container.home.as_ref()).await {
                    // What is left of it is tried again, as a real one's volume.
                    let left = Container { is_frozen: true, ..container };
                    self.daemon.lock().containers.insert(session_name(session), left);
                    return Err(error);
                }
            }
            self.daemon.change();
            self.places
                .remove(session)
                .map_err(|error| EngineError::Unavailable(format!("the display directory stays: {error}")))
        })
    }

    fn remove_home<'a>(&'a self, home: &'a PersistentHome) -> Answer<'a, ()> {
        Box::pin(async move {
            self.answer().await?;
            let has = |container: &Container| {
                self.owner.owns(&container.labels)
                    && container.home.as_ref().is_some_and(|had| had.id == home.id)
            };
            if self.daemon.lock().containers.values().any(has) {
                return Err(EngineError::Refused("a session has the home".into()));
            }
            shared::remove(&self.owner, home).await
        })
    }

    fn probe_storage<'a>(&'a self, storage: &'a Path) -> Answer<'a, ()> {
        Box::pin(async move {
            self.answer().await?;
            self.watch.probe(self.owner.agent, storage).await.map_err(EngineError::Unavailable)
        })
    }

    fn guard_homes(&self) -> Answer<'_, Vec<Frozen>> {
        Box::pin(async {
            self.answer().await?;
            let mut frozen = Vec::new();
            for (writer, trouble) in self.watch.look(self.owner.agent, self.writers()).await {
                if let Some(container) = self.daemon.lock().containers.get_mut(&session_name(writer.session))
                {
                    container.is_frozen = trouble.is_some();
                }
                let (session, home) = (writer.session, writer.home);
                frozen.extend(trouble.map(|trouble| Frozen { session, home, trouble }));
            }
            Ok(frozen)
        })
    }

    fn events(&self) -> Events<'_> {
        let changes = self.daemon.changes.subscribe();
        stream::unfold(changes, |mut changes| async {
            changes.changed().await.ok()?;
            Some(((), changes))
        })
        .boxed()
    }

    fn display_directory(&self, session: SessionId) -> PathBuf {
        self.places.leaf(session)
    }

    fn workspace_uid(&self) -> u32 {
        self.places.user().0
    }
}
