//! The Docker Engine, over its unix socket.
//!
//! A session has one container, one home volume, and (with `internet`) one bridge network, all named after it and labelled with their owner. Names are
//! derived, never stored, so that removing works after any crash. A call that does not answer within its limit says nothing about containers:
//! it is [`EngineError::Unavailable`] and is tried again by whoever asked.

mod client;
mod container;
mod firewall;
mod home;
mod image;
mod kept_homes;
mod network;
mod shared_home;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bollard::{
    models::ContainerSummaryStateEnum,
    query_parameters::{
        CreateContainerOptionsBuilder, EventsOptionsBuilder, InspectContainerOptions,
        ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
        StopContainerOptionsBuilder,
    },
};
use futures_util::{StreamExt, stream};
use meridian_ids::SessionId;
use meridian_model::{Network, PersistentHome, Resources, Seccomp};
use tokio::sync::OnceCell;

use crate::{
    Answer, Capabilities, ContainerState, Disk, DisplayPlaces, Engine, EngineError, Events, Found, Frozen,
    HomeStorage, Image, Loaded, Order, Owner, Problem, Pull, Pulling, Step,
    names::{self, session_name},
    shared_homes::watch::Watch,
};
use client::Client;
use firewall::Firewall;
use kept_homes::KeptHomes;

/// How long a workspace may take to put its things in order.
const STOP_LIMIT_S: i32 = 3;

/// Where and how the engine is found.
#[derive(Clone, Debug)]
pub struct DockerSettings {
    pub socket: PathBuf,
    pub run_directory: PathBuf,
    pub seccomp_directory: Option<PathBuf>,
    /// Where homes that outlive their sessions are kept, if the engine's storage has no quotas.
    pub homes_directory: PathBuf,
    /// How long any answer may take.
    pub wait: Duration,
    /// What may be promised; 0 takes what the machine has.
    pub total: Resources,
}

/// The Docker Engine, as one agent uses it.
pub struct DockerEngine {
    client: Client,
    owner: Owner,
    settings: DockerSettings,
    places: DisplayPlaces,
    firewall: Firewall,
    home_storage: OnceCell<HomeStorage>,
    homes: KeptHomes,
    /// Why homes cannot be kept here, if they cannot.
    keeps_homes: OnceCell<Result<(), String>>,
    shared_homes: Watch,
}

impl DockerEngine {
    /// Makes the agent's folder; the engine itself is first asked when it is needed.
    ///
    /// # Errors
    /// When the run directory cannot be made.
    pub fn new(settings: DockerSettings, owner: Owner) -> io::Result<Self> {
        let places = DisplayPlaces::open(&settings.run_directory, &owner)?;
        let client = Client::new(settings.socket.clone(), settings.wait);
        let firewall = Firewall::new(&owner);
        let homes = KeptHomes::new(settings.homes_directory.clone(), places.user());
        Ok(Self {
            client,
            owner,
            settings,
            places,
            firewall,
            home_storage: OnceCell::new(),
            homes,
            keeps_homes: OnceCell::new(),
            shared_homes: Watch::default(),
        })
    }

    async fn judge(&self) -> Result<Capabilities, EngineError> {
        let info = self.client.call("its description", |docker| async move { docker.info().await }).await?;
        let mut problems = Vec::new();
        let mut networks = vec![Network::None, Network::Full];
        // Rules that someone flushed under running workspaces are put back here.
        let rules = if network::has_bridges(&self.client, &self.owner).await? {
            self.firewall.install().await.map(drop)
        } else {
            self.firewall.check().await
        };
        match rules {
            Ok(()) => networks.push(Network::Internet),
            Err(reason) => problems.push(Problem { code: "network_rules", message: reason }),
        }
        if let Err(EngineError::Refused(message)) = self.seccomp(Seccomp::Chromium) {
            problems.push(Problem { code: "seccomp_profile", message });
        }
        if !self.places.is_bounded() {
            let message = "display directories are not bounded, because this agent may not mount".into();
            problems.push(Problem { code: "display_directory", message });
        }
        let cores = info.ncpu.unwrap_or(1) * 1000;
        let memory_mb = info.mem_total.unwrap_or(0) / (1 << 20) * 9 / 10;
        let given = self.settings.total;
        let total = Resources {
            cpu_milli: if given.cpu_milli > 0 { given.cpu_milli } else { cores },
            memory_mb: if given.memory_mb > 0 { given.memory_mb } else { memory_mb },
        };
        let disk = info.docker_root_dir.as_deref().and_then(disk_of);
        let home_storage = self.home_storage().await?;
        let keeps_homes = self.keeps_homes(home_storage).await?;
        Ok(Capabilities { total, home_storage, networks, keeps_homes, problems, disk })
    }

    async fn home_storage(&self) -> Result<HomeStorage, EngineError> {
        self.home_storage.get_or_try_init(|| home::probe(&self.client, &self.owner)).await.copied()
    }

    /// Found out once: what is missing is missing until somebody does something about it and starts the agent anew.
    async fn keeps_homes(&self, storage: HomeStorage) -> Result<bool, EngineError> {
        let known = self
            .keeps_homes
            .get_or_try_init(|| async {
                match home::keeps(storage, &self.homes).await {
                    Ok(()) => Ok(Ok(())),
                    Err(EngineError::Refused(reason)) => {
                        tracing::info!(reason, "this node keeps no homes");
                        Ok(Err(reason))
                    }
                    Err(error @ (EngineError::Unavailable(_) | EngineError::NoImage(_))) => Err(error),
                }
            })
            .await?;
        Ok(known.is_ok())
    }

    /// The seccomp profile as the engine's API wants it: its text.
    fn seccomp(&self, seccomp: Seccomp) -> Result<Option<String>, EngineError> {
        match seccomp {
            Seccomp::Default => Ok(None),
            Seccomp::Chromium => {
                let folder = self.settings.seccomp_directory.as_deref().unwrap_or(Path::new(""));
                let path = folder.join("chromium.json");
                let text = std::fs::read_to_string(&path).map_err(|error| {
                    let text = format!("the seccomp profile {} cannot be read: {error}", path.display());
                    EngineError::Refused(text)
                })?;
                Ok(Some(text))
            }
        }
    }

    async fn start_one(
        &self,
        order: &Order,
        steps: &(dyn Fn(Step) + Send + Sync),
    ) -> Result<(), EngineError> {
        match self.inspect(order.session).await? {
            Some(ContainerState::Running) => return Ok(()),
            Some(ContainerState::Exited { reason }) => return Err(EngineError::Refused(reason)),
            // Made by a start that was interrupted, perhaps half: made anew.
            Some(ContainerState::Created) => self.remove_one(order.session).await?,
            None => {}
        }
        let seccomp = self.seccomp(order.spec.seccomp)?;
        steps(Step::Image { message: format!("looking for {}", order.spec.image), percent: None });
        image::find(&self.client, &order.spec.image).await?;
        steps(Step::Container);
        let started = self.make(order, seccomp).await;
        if let Err(EngineError::Refused(_)) = &started {
            // What stays behind now is removed with the session's tombstone.
            if let Err(error) = self.remove_one(order.session).await {
                tracing::warn!(session.id = %order.session, %error, "a failed start could not be cleared away");
            }
        }
        started
    }

    async fn make(&self, order: &Order, seccomp: Option<String>) -> Result<(), EngineError> {
        let session = order.session;
        let leaf = self.prepare_place(session).await?;
        let home = self.home_storage().await?;
        let user = self.places.user();
        // The two do not depend on each other, and each is a turn-around of some tens of milliseconds.
        let (volume, network) = tokio::join!(
            home::create(&self.client, &self.owner, order, home, user, &self.homes),
            network::create(&self.client, &self.owner, &self.firewall, session, order.spec.network),
        );
        volume?;
        let network = network?;
        let accounts = self.places.account_files().map_err(|error| {
            EngineError::Refused(format!("the workspace's account files could not be written: {error}"))
        })?;
        let home = match (&order.spec.home, home) {
            (Some(kept), HomeStorage::Quota) if kept.shared.is_none() => names::home_name(kept.id),
            (Some(_) | None, HomeStorage::Quota | HomeStorage::Tmpfs) => session_name(session),
        };
        let parts = container::Parts { leaf, network, seccomp, user, accounts, home };
        let body = container::body(&self.owner, order, &parts);
        let name = session_name(session);
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        self.client
            .call(
                "the new container",
                |docker| async move { docker.create_container(Some(options), body).await },
            )
            .await?;
        self.client
            .call("the container's start", |docker| async move {
                docker.start_container(&name, None::<StartContainerOptions>).await
            })
            .await
    }

    async fn prepare_place(&self, session: SessionId) -> Result<PathBuf, EngineError> {
        self.places.prepare(session).map_err(|error| {
            EngineError::Refused(format!("the display directory could not be made: {error}"))
        })
    }

    async fn inspect(&self, session: SessionId) -> Result<Option<ContainerState>, EngineError> {
        let name = session_name(session);
        let answer = self
            .client
            .find("a container", |docker| async move {
                docker.inspect_container(&name, None::<InspectContainerOptions>).await
            })
            .await?;
        let Some(answer) = answer else { return Ok(None) };
        let labels = answer.config.and_then(|config| config.labels).unwrap_or_default();
        if !self.owner.owns(&labels) {
            return Err(EngineError::Refused("the container is another agent's".into()));
        }
        Ok(Some(container::state(answer.state.unwrap_or_default())))
    }

    async fn list_all(&self) -> Result<Vec<Found>, EngineError> {
        let options = ListContainersOptionsBuilder::new().all(true).filters(&self.owner.filter()).build();
        let answer =
            self.client
                .call("the list of containers", |docker| async move {
                    docker.list_containers(Some(options)).await
                })
                .await?;
        let mut found = Vec::new();
        for summary in answer {
            let labels = summary.labels.unwrap_or_default();
            let number = |name: &str| labels.get(name).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
            let Some(session) = labels.get(names::SESSION).and_then(|text| text.parse().ok()) else {
                continue;
            };
            // Why a container ended is only in its full description; the list is enough for the others.
            let state = match summary.state {
                Some(ContainerSummaryStateEnum::RUNNING | ContainerSummaryStateEnum::PAUSED) => {
                    ContainerState::Running
                }
                Some(ContainerSummaryStateEnum::CREATED) => ContainerState::Created,
                Some(ContainerSummaryStateEnum::REMOVING) => continue,
                Some(
                    ContainerSummaryStateEnum::EXITED
                    | ContainerSummaryStateEnum::DEAD
                    | ContainerSummaryStateEnum::RESTARTING
                    | ContainerSummaryStateEnum::STOPPING
                    | ContainerSummaryStateEnum::EMPTY,
                )
                | None => match self.inspect(session).await? {
                    Some(state) => state,
                    None => continue,
                },
            };
            found.push(Found {
                session,
                epoch: number(names::EPOCH),
                generation: number(names::GENERATION),
                state,
            });
        }
        Ok(found)
    }

    async fn remove_one(&self, session: SessionId) -> Result<(), EngineError> {
        if self.inspect(session).await?.is_some() {
            let name = session_name(session);
            let stop = StopContainerOptionsBuilder::new().t(STOP_LIMIT_S).build();
            let (stopping, removing) = (name.clone(), name);
            // A container that cannot be stopped is killed by its removal.
            let _ = self
                .client
                .find("the container's stop", |docker| async move {
                    docker.stop_container(&stopping, Some(stop)).await
                })
                .await?;
            let remove = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
            self.client
                .find("the container's removal", |docker| async move {
                    docker.remove_container(&removing, Some(remove)).await
                })
                .await?;
        }
        network::remove(&self.client, &self.owner, &self.firewall, session).await?;
        home::remove(&self.client, &self.owner, session, &self.homes).await?;
        self.places
            .remove(session)
            .map_err(|error| EngineError::Unavailable(format!("the display directory stays: {error}")))
    }
}

impl Engine for DockerEngine {
    fn capabilities(&self) -> Answer<'_, Capabilities> {
        Box::pin(self.judge())
    }

    fn images(&self) -> Answer<'_, Vec<Image>> {
        Box::pin(image::list(&self.client))
    }

    fn pull<'a>(&'a self, pull: &'a Pull, progress: &'a (dyn Fn(Loaded) + Send + Sync)) -> Pulling<'a> {
        Box::pin(image::pull(&self.client, pull, progress))
    }

    fn start<'a>(&'a self, order: &'a Order, steps: &'a (dyn Fn(Step) + Send + Sync)) -> Answer<'a, ()> {
        Box::pin(self.start_one(order, steps))
    }

    fn list(&self) -> Answer<'_, Vec<Found>> {
        Box::pin(self.list_all())
    }

    fn remove(&self, session: SessionId) -> Answer<'_, ()> {
        Box::pin(self.remove_one(session))
    }

    fn remove_home<'a>(&'a self, home: &'a PersistentHome) -> Answer<'a, ()> {
        Box::pin(home::remove_kept(&self.client, &self.owner, home, &self.homes))
    }

    fn probe_storage<'a>(&'a self, storage: &'a Path) -> Answer<'a, ()> {
        Box::pin(shared_home::probe(&self.owner, &self.shared_homes, storage))
    }

    fn guard_homes(&self) -> Answer<'_, Vec<Frozen>> {
        Box::pin(shared_home::guard(&self.client, &self.owner, &self.shared_homes))
    }

    fn events(&self) -> Events<'_> {
        let mut filter = self.owner.filter();
        filter.insert("type".into(), vec!["container".into()]);
        filter.insert("event".into(), ["start", "die", "destroy"].map(String::from).into());
        let options = EventsOptionsBuilder::new().filters(&filter).build();
        stream::once(self.client.connected())
            .filter_map(|docker| async { docker.ok() })
            .flat_map(move |docker| docker.events(Some(options.clone())))
            .take_while(|event| std::future::ready(event.is_ok()))
            .map(drop)
            .boxed()
    }

    fn display_directory(&self, session: SessionId) -> PathBuf {
        self.places.leaf(session)
    }

    fn workspace_uid(&self) -> u32 {
        self.places.user().0
    }
}

/// What is left on the file system of a directory, if it is on this host.
fn disk_of(directory: &str) -> Option<Disk> {
    let found = rustix::fs::statvfs(directory).ok()?;
    let mb = |blocks: u64| blocks.saturating_mul(found.f_frsize) >> 20;
    Some(Disk { free_mb: mb(found.f_bavail), total_mb: mb(found.f_blocks) })
}
