//! A Meridian of real processes: two regions and the people's own, a host for each part, real PostgreSQL, and distance.
//!
//! [`Site::stop`] ends it softly. Dropped, it leaves neither processes nor directories; killed outright, the lab takes its processes and networks
//! with it, and leaves its directory and its PostgreSQL.

mod certificates;
mod disk;
mod front;
mod keeper;
mod lean;
mod plan;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use meridian_embedded::EmbeddedPostgres;
use meridian_runtime::{Tasks, random_token};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use self::{
    certificates::{FINGERPRINT, make_certificates},
    plan::{Folder, PEOPLE_HOST, write},
};
pub(crate) use self::{
    disk::Disk,
    front::Front,
    keeper::{Keeper, Program},
    plan::{
        EACH, LONDON, PEOPLE, PRIMARY, Part, VIRGINIA, ZONES, Zone, public_entry, public_url, resolve,
        with_own_disks,
    },
};
use crate::{
    browser,
    cpu::{Processor, cpu_of},
    net::{Host, Line, Region, Wan, join},
};

/// PostgreSQL, the Web App and two zones start within this time.
const START_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Where workspaces' display directories are: their paths must be short.
const RUN_DIRECTORY: &str = "/run";

/// How far regions are apart, each way.
pub(crate) const DISTANCES: [(u8, u8, Line); 3] = [
    (PEOPLE, LONDON.region, line(4, 1)),
    (PEOPLE, PRIMARY, line(38, 2)),
    (LONDON.region, PRIMARY, line(37, 2)),
];

const fn line(delay_ms: u64, jitter_ms: u64) -> Line {
    Line {
        delay: Duration::from_millis(delay_ms),
        jitter: Duration::from_millis(jitter_ms),
        loss: 0.0,
        bytes_per_s: None,
        cut: false,
    }
}

/// What a Meridian of the lab is made of.
#[derive(Clone, Debug)]
pub(crate) struct Make {
    pub(crate) executable: PathBuf,
    pub(crate) seed: u64,
    pub(crate) engine: &'static str,
    pub(crate) front: Front,
    /// Parts that keep what they have on a disk of their own.
    pub(crate) disks: Vec<Part>,
}

pub(crate) struct Site {
    pub(crate) wan: Wan,
    pub(crate) password: String,
    folder: Folder,
    regions: BTreeMap<u8, Region>,
    keepers: BTreeMap<String, Keeper>,
    disks: BTreeMap<String, Disk>,
    processor: Processor,
    database: Option<EmbeddedPostgres>,
    /// Processes of parts, and what keeps the database.
    tasks: Tasks,
    base: Tasks,
    /// Removed when this is dropped, the last of all.
    _directories: [TempDir; 2],
}

impl Site {
    /// Starts everything; returns when every node has reported to the control plane.
    pub(crate) async fn start(make: &Make) -> Result<Self> {
        let mut site = Self::lay(make).await?;
        site.attach_disks(&make.disks)?;
        timeout(START_LIMIT, site.start_parts(&make.executable)).await.context("not ready in time")??;
        Ok(site)
    }

    /// Directories, networks and the database.
    async fn lay(make: &Make) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("meridian-lab-").tempdir()?;
        let run = tempfile::Builder::new().prefix("mlab-").tempdir_in(RUN_DIRECTORY)?;
        // PostgreSQL's unprivileged user passes through to its cluster, workspaces to their displays.
        for folder in [&directory, &run] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
        }
        let root = directory.path().to_owned();
        for name in ["config", "logs", "nodes", "secrets"] {
            fs::create_dir(root.join(name))?;
        }
        let password = random_token();
        let folder = Folder { root, run: run.path().to_owned(), engine: make.engine, front: make.front };
        fs::write(folder.secret("password"), &password)?;
        make_certificates(&folder, &plan::certificate_names())?;
        let (wan, regions) = lay_network(make.seed)?;
        let base = Tasks::new();
        let database = EmbeddedPostgres::start(&folder.root, &base).await?;
        fs::write(folder.secret("database"), database.url())?;
        Ok(Self {
            wan,
            password,
            folder,
            regions,
            keepers: BTreeMap::new(),
            disks: BTreeMap::new(),
            processor: Processor::default(),
            database: Some(database),
            tasks: Tasks::new(),
            base,
            _directories: [directory, run],
        })
    }

    fn attach_disks(&mut self, parts: &[Part]) -> Result<()> {
        for part in parts {
            let host = self.region(part.region)?.host(part.host)?;
            let image = self.folder.root.join(format!("{}.disk", part.name));
            let disk = Disk::attach(&host, &image, &self.folder.data(part))
                .with_context(|| format!("the disk of {}", part.name))?;
            self.disks.insert(part.name.clone(), disk);
        }
        Ok(())
    }

    async fn start_parts(&mut self, executable: &Path) -> Result<()> {
        let keep = |site: &mut Self, part: Part| site.keep(part, executable);
        self.folder.write_primary_balancer()?;
        keep(self, Part::primary_balancer())?;
        write(&self.folder.config(&Part::web(1)), &self.folder.web(1)?)?;
        keep(self, Part::web(1))?;
        self.until("the Web App serves", |site| site.folder.token_written()).await?;
        for number in 2..=EACH {
            write(&self.folder.config(&Part::web(number)), &self.folder.web(number)?)?;
            keep(self, Part::web(number))?;
        }
        for zone in ZONES {
            write(
                &self.folder.config(&Part::private_balancer(zone)),
                &self.folder.private_balancer(zone, &[])?,
            )?;
            for number in 1..=EACH {
                write(&self.folder.config(&Part::agent(zone, number)), &self.folder.agent(zone, number)?)?;
                write(&self.folder.config(&Part::proxy(zone, number)), &self.folder.proxy(zone, number)?)?;
                self.folder.write_entry(zone, number)?;
            }
            for part in Part::of_zone(zone) {
                keep(self, part)?;
            }
        }
        self.until("every agent is enrolled", |site| {
            ZONES.into_iter().all(|zone| site.agent_names(zone).len() == usize::from(EACH))
        })
        .await?;
        for zone in ZONES {
            let rules = self.folder.private_balancer(zone, &self.agent_names(zone))?;
            write(&self.folder.config(&Part::private_balancer(zone)), &rules)?;
        }
        Ok(())
    }

    fn keep(&mut self, part: Part, executable: &Path) -> Result<()> {
        let host = self.region(part.region)?.host(part.host)?;
        let (config, log) = (self.folder.config(&part), self.folder.log(&part));
        let program = match self.folder.front.program().filter(|_| part.is_entry()) {
            Some((program, arguments)) => Program::peer(program, arguments),
            None => Program::meridian(executable, part.command),
        };
        let keeper = Keeper::start(&part, host, program, config, log, &self.tasks);
        self.keepers.insert(part.name, keeper);
        Ok(())
    }

    fn region(&mut self, number: u8) -> Result<&mut Region> {
        self.regions.get_mut(&number).context("a region that is not laid")
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let until = Instant::now() + START_LIMIT;
        while !holds(self) {
            ensure!(Instant::now() < until, "waiting until {what}: {}", self.troubles(5).join(" | "));
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// What a node knows of itself, once it is enrolled.
    fn node(&self, part: &Part) -> Option<Value> {
        const FILE: &str = "node.json";
        let text = match self.disks.get(&part.name) {
            Some(disk) => disk.read(FILE)?,
            None => fs::read(self.folder.data(part).join(FILE)).ok()?,
        };
        serde_json::from_slice(&text).ok()
    }

    /// The deployment's id, once a node is enrolled.
    fn deployment(&self) -> Option<String> {
        let node = self.node(&Part::agent(LONDON, 1))?;
        Some(node["deployment_id"].as_str()?.to_owned())
    }

    /// How many of its containers run.
    pub(crate) fn containers(&self) -> Result<usize> {
        crate::docker::running(&self.deployment().context("no agent is enrolled")?)
    }

    /// The names that the zone's enrolled agents have certificates for.
    fn agent_names(&self, zone: Zone) -> Vec<(u8, String)> {
        let name = |number| {
            let node = self.node(&Part::agent(zone, number))?;
            let (node, zone) = (node["node_id"].as_str()?, node["zone_id"].as_str()?);
            Some((number, format!("{node}.agent.{zone}.meridian")))
        };
        (1..=EACH).filter_map(name).collect()
    }

    pub(crate) fn part(&self, part: &Part) -> Result<&Keeper> {
        self.keepers.get(&part.name).with_context(|| format!("there is no {}", part.name))
    }

    /// The disk of a part that has one of its own.
    pub(crate) fn disk(&self, part: &Part) -> Result<&Disk> {
        self.disks.get(&part.name).with_context(|| format!("{} has no disk of its own", part.name))
    }

    /// SIGKILL: its sockets are closed by the kernel, and it is started again. The killed process's id.
    pub(crate) fn kill(&self, part: &Part) -> Result<i32> {
        let keeper = self.part(part)?;
        self.processor.remember(keeper.pid());
        keeper.signal(Signal::KILL)
    }

    /// SIGSTOP: it says nothing more and closes nothing.
    pub(crate) fn freeze(&self, part: &Part) -> Result<i32> {
        self.part(part)?.signal(Signal::STOP)
    }

    pub(crate) fn thaw(&self, part: &Part) -> Result<i32> {
        self.part(part)?.signal(Signal::CONT)
    }

    /// Pulls or plugs the cable of a part's host.
    pub(crate) fn connect(&self, part: &Part, connected: bool) -> Result<()> {
        let region = self.regions.get(&part.region).context("a region that is not laid")?;
        region.connect(part.host, connected)
    }

    /// Cuts or mends all lines of a region.
    pub(crate) fn cut_region(&self, region: u8, cut: bool) {
        for other in self.regions.keys().filter(|other| **other != region) {
            self.wan.cut(region, *other, cut);
        }
    }

    /// Gives all lines of a region another length and loss.
    pub(crate) fn slow_region(&self, region: u8, delay: Duration, loss: f64) {
        for other in self.regions.keys().filter(|other| **other != region) {
            let line = self.wan.line(region, *other);
            self.wan.set(region, *other, Line { delay, loss, ..line });
        }
    }

    /// Processor time that Meridian's processes have used so far, ended ones too; not PostgreSQL's.
    pub(crate) fn cpu(&self) -> Duration {
        self.processor.used(self.keepers.values().filter_map(Keeper::pid))
    }

    /// The same of the running processes of one subcommand.
    pub(crate) fn cpu_of(&self, command: &str) -> Duration {
        let parts = self.keepers.values().filter(|keeper| keeper.part().command == command);
        parts.filter_map(Keeper::pid).filter_map(cpu_of).sum()
    }

    /// The latest warnings and errors that its processes logged.
    pub(crate) fn troubles(&self, count: usize) -> Vec<String> {
        let serious =
            |line: &&str| ["\"WARN\"", "\"ERROR\"", "meridian:"].iter().any(|word| line.contains(word));
        let of = |keeper: &Keeper| -> Vec<String> {
            let log = fs::read_to_string(keeper.log()).unwrap_or_default();
            let lines: Vec<_> = log.lines().filter(serious).collect();
            let late = lines[lines.len().saturating_sub(count)..].iter();
            late.map(|line| format!("{}: {line}", keeper.part().name)).collect()
        };
        self.keepers.values().flat_map(of).collect()
    }

    /// Certificates that browsers and nodes trust here.
    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.secret("ca.pem")
    }

    /// What browsers need to know of this Meridian.
    pub(crate) fn for_browsers(&self) -> Result<browser::Setting> {
        Ok(browser::Setting {
            folder: self.folder.root.join("browser"),
            url: public_url(),
            password: self.password.clone(),
            hosts: plan::hosts(),
            trusted_key: fs::read_to_string(self.folder.secret(FINGERPRINT))?,
        })
    }

    /// The host where people are.
    pub(crate) fn people(&mut self) -> Result<Arc<Host>> {
        self.region(PEOPLE)?.host(PEOPLE_HOST)
    }

    /// As a service manager stops it; what does not stop in time is killed.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.disks.values().for_each(|disk| disk.slow(Duration::ZERO));
        let stopped = self.tasks.stop(STOP_LIMIT).await;
        if let Some(database) = self.database.take() {
            database.stop().await?;
        }
        self.base.stop(STOP_LIMIT).await;
        ensure!(stopped, "a part of Meridian did not stop within {STOP_LIMIT:?}");
        Ok(())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // What is killed now is not started again, to write where everything is being removed.
        self.tasks.stopping().cancel();
        // What waits for a slow one ends.
        self.disks.clear();
        for keeper in self.keepers.values() {
            let _ = keeper.signal(Signal::KILL);
        }
        if self.folder.engine == crate::DOCKER
            && let Some(deployment) = self.deployment()
        {
            crate::docker::remove(&deployment);
        }
        crate::leftovers::unmount_below(&self.folder.run);
        if self.database.is_some() {
            crate::leftovers::end_database(&self.folder.root);
        }
    }
}

fn lay_network(seed: u64) -> Result<(Wan, BTreeMap<u8, Region>)> {
    let numbers = [PRIMARY, LONDON.region, PEOPLE];
    let mut regions = numbers.into_iter().map(Region::lay).collect::<Result<Vec<_>>>()?;
    let wan = join(&mut regions, seed)?;
    for (one, other, line) in DISTANCES {
        wan.set(one, other, line);
    }
    Ok((wan, numbers.into_iter().zip(regions).collect()))
}
