//! The lab: regions of real processes on one machine, scripted viewers that check every byte, and faults.
//!
//! Each scenario starts a Meridian of its own: two regions and the people's own as network namespaces with distance between them, a host for
//! each part, real PostgreSQL, the simulated engine unless it says otherwise. It opens a stream on each of some sessions, breaks something, and
//! reports what every viewer saw. What must hold of counts decides whether a scenario passes; times are figures beside their goals, because
//! machines are noisy. No packet leaves the namespaces, every wait is bounded, and whatever happens neither a process nor a directory is left.
//!
//! ```text
//! scenarios ──> stage ──> site (processes) ──> net (hosts, regions, distance)
//!                 │──> viewers, probe (steady requests)
//!                 └─────> judge ──> report ──> document
//! ```

mod api;
mod browser;
mod chance;
mod cpu;
mod docker;
mod document;
mod hand;
mod judge;
mod leftovers;
mod net;
mod probe;
mod report;
mod scenarios;
mod site;
mod stage;
mod trust;
mod viewer;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use meridian_bench::Host;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

pub use docker::serve_workspace;
pub use document::document;
pub use report::{Figures, Goals, Parameters, Report, Stall, Table, Took};
pub use scenarios::{SCENARIOS, Scenario};

use site::{Make, Site};
use stage::Stage;
use viewer::{HEIGHT, Pace};

/// More sessions than one machine's processes can hold streams for.
pub const MAX_SESSIONS: usize = 6000;
/// More pages than a machine draws beside everything else.
pub const MAX_BROWSERS: usize = 16;
/// The engine whose workspaces outlive their agent's process.
const DOCKER: &str = "docker";
/// Bytes of a row of a picture, and of what comes before the first.
const ROW_BYTES: u32 = 256;
const HEAD_BYTES: u32 = 16;

/// How to play.
#[derive(Clone, Debug)]
pub struct Options {
    /// The executable whose roles run.
    pub executable: PathBuf,
    /// One of an earlier build, for rolling upgrades from it; none: from the same build.
    pub previous: Option<PathBuf>,
    pub sessions: usize,
    /// Pages of a real Chromium among the viewers, each with a session of its own.
    pub browsers: usize,
    /// Repeats what a scenario picks, and its viewers' jitter.
    pub seed: u64,
}

impl Options {
    /// So many streams as fit a small machine: the more, the slower and smaller their pictures.
    fn pace(&self) -> Pace {
        let (every_ms, rows) = match self.sessions {
            ..=60 => (50, HEIGHT),
            61..=300 => (100, 8),
            301..=1500 => (400, 4),
            _ => (4000, 1),
        };
        Pace { every: Duration::from_millis(every_ms), rows }
    }
}

/// A scenario whose Meridian runs, and whose streams are not there yet. Dropped, nothing of it is left.
pub struct Ready {
    scenario: Scenario,
    options: Options,
    site: Site,
    start_s: f64,
}

/// Starts the Meridian of a scenario.
///
/// # Errors
/// When it did not start.
pub async fn prepare(scenario: &Scenario, options: &Options) -> Result<Ready> {
    ensure!((1..=MAX_SESSIONS).contains(&options.sessions), "between 1 and {MAX_SESSIONS} sessions");
    ensure!(options.browsers <= MAX_BROWSERS, "at most {MAX_BROWSERS} browsers");
    let make = Make {
        executable: first_executable(scenario, options).to_owned(),
        seed: options.seed,
        engine: scenario.engine,
        front: scenario.front,
        disks: if scenario.own_disks { site::with_own_disks() } else { Vec::new() },
    };
    let began = Instant::now();
    if scenario.engine == DOCKER {
        let executable = options.executable.clone();
        tokio::task::spawn_blocking(move || docker::make_image(&executable)).await??;
    }
    let site = Site::start(&make).await?;
    let start_s = began.elapsed().as_secs_f64();
    Ok(Ready { scenario: *scenario, options: options.clone(), site, start_s })
}

/// Plays one scenario. What did not hold is in the report; `troubles` are what the processes logged meanwhile, where something did not.
/// `measured` is cancelled when nothing is measured any more: from then on the machine may be busy with the next.
///
/// # Errors
/// When it could not be played: its streams did not open, or it was not over in time.
pub async fn play(mut ready: Ready, measured: CancellationToken) -> Result<(Report, Vec<String>)> {
    let people = ready.site.people()?.file();
    within(people, move || async move {
        let _measured = measured.clone().drop_guard();
        let limit = ready.scenario.limit;
        let played = timeout(limit, play_here(ready, &measured)).await;
        played.with_context(|| format!("the scenario was not over within {limit:?}"))?
    })
    .await
}

/// Starts a Meridian with a stream on each of some sessions, and breaks what a person says, until they are done. `say` shows them text.
///
/// # Errors
/// When it could not be started.
pub async fn up(options: &Options, say: fn(&str)) -> Result<()> {
    ensure!((1..=MAX_SESSIONS).contains(&options.sessions), "between 1 and {MAX_SESSIONS} sessions");
    let make = Make {
        executable: options.executable.clone(),
        seed: options.seed,
        engine: scenarios::ORDINARY.engine,
        front: scenarios::ORDINARY.front,
        disks: Vec::new(),
    };
    let mut site = Site::start(&make).await?;
    let people = site.people()?.file();
    let options = options.clone();
    within(people, move || async move {
        let mut stage = Stage::set(site, &options, &scenarios::ORDINARY).await?;
        stage.strike(|_| Ok(()))?;
        hand::play(&mut stage, say).await?;
        stage.close().await
    })
    .await
}

/// A rolling upgrade begins with the earlier build.
fn first_executable<'a>(scenario: &Scenario, options: &'a Options) -> &'a Path {
    let previous = options.previous.as_deref().filter(|_| scenario.name.starts_with("rolling_upgrade"));
    previous.unwrap_or(&options.executable)
}

async fn play_here(ready: Ready, measured: &CancellationToken) -> Result<(Report, Vec<String>)> {
    let Ready { scenario, options, site, start_s } = ready;
    let mut lap = Instant::now();
    let mut took = || {
        let now = Instant::now();
        (now - std::mem::replace(&mut lap, now)).as_secs_f64()
    };
    let mut stage = Stage::set(site, &options, &scenario).await?;
    let streams_s = took();
    let played = (scenario.play)(&mut stage).await;
    let fault_s = took();
    let (seen, stopped) = stage.end(measured).await?;
    let took = Took { start_s, streams_s, fault_s, end_s: took() };
    let mut broken = seen.broken(scenario.promise);
    for failed in [played, stopped].into_iter().filter_map(Result::err) {
        broken.push(format!("{failed:#}"));
    }
    let pace = options.pace();
    let report = Report {
        name: scenario.name.to_owned(),
        parameters: Parameters {
            sessions: options.sessions,
            browsers: options.browsers,
            seed: options.seed,
            frame_every_ms: u64::try_from(pace.every.as_millis()).unwrap_or(u64::MAX),
            frame_bytes: u32::from(pace.rows) * ROW_BYTES + HEAD_BYTES,
            engine: scenario.engine,
            front: scenario.front.name(),
            from_previous: options.previous.is_some(),
        },
        figures: seen.figures(),
        peers: Vec::new(),
        host: Host::this(),
        held: broken.is_empty(),
        promise: scenario.promise.words(),
        goals: scenario.goals,
        slowest: seen.slowest(),
        broken,
        took,
    };
    let troubles = if report.held { Vec::new() } else { seen.troubles };
    Ok((report, troubles))
}

/// Runs a future on a host: on a runtime of its own, whose threads are all in the host's namespace. Dropped, it ends before this returns.
async fn within<T, F, W>(namespace: Arc<File>, work: W) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>>,
    W: FnOnce() -> F + Send + 'static,
{
    let stop = CancellationToken::new();
    let (done, is_done) = oneshot::channel();
    let (stopping, entering) = (stop.clone(), Arc::clone(&namespace));
    let living = move || {
        let outcome = net::Host::enter(&namespace).and_then(|()| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .on_thread_start(move || {
                    net::Host::enter(&entering).expect("the maker's thread entered it as well")
                })
                .build()?;
            runtime.block_on(async {
                tokio::select! {
                    outcome = work() => outcome,
                    () = stopping.cancelled() => anyhow::bail!("stopped"),
                }
            })
        });
        // Nobody waits any more where it was stopped.
        let _ = done.send(outcome);
    };
    let thread = std::thread::Builder::new().name("people".into()).spawn(living)?;
    let _ended = Ended { stop, thread: Some(thread) };
    is_done.await.context("the lab's thread ended")?
}

/// Stops a thread and waits for its end.
struct Ended {
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // Its panic was told where it happened.
            let _ = thread.join();
        }
    }
}
