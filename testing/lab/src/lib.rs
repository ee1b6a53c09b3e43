//! The lab: zones of real processes on one machine, scripted viewers that check every byte, and faults.
//!
//! Each scenario starts a Meridian of its own (`meridian up --separate` on the simulated engine), opens a stream on each of some sessions,
//! breaks one part, and reports what every viewer saw. What must hold of counts decides whether a scenario passes; times are
//! figures beside their goals, because machines are noisy. All traffic is on loopback, every wait is bounded, and whatever happens neither a
//! process nor a directory is left.
//!
//! ```text
//! scenarios ──> stage ──> site (processes), viewers, probe (steady requests)
//!                 └─────> judge ──> report ──> document
//! ```

mod api;
mod chance;
mod document;
mod judge;
mod leftovers;
mod probe;
mod report;
mod scenarios;
mod site;
mod stage;
mod viewer;

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use meridian_bench::Host;
use tokio::time::timeout;

pub use document::document;
pub use report::{Figures, Goals, Parameters, Report, Stall, Table};
pub use scenarios::{SCENARIOS, Scenario};

use stage::Stage;

/// A scenario is over by then, one way or the other.
const LIMIT: Duration = Duration::from_secs(420);
/// More sessions than one machine's processes can hold streams for.
pub const MAX_SESSIONS: usize = 1000;

/// How to play.
#[derive(Clone, Debug)]
pub struct Options {
    pub sessions: usize,
    /// Repeats what a scenario picks, and its viewers' jitter.
    pub seed: u64,
    /// From a picture's arrival to the next request.
    pub frame_every: Duration,
}

/// Plays one scenario with an executable of Meridian's. What did not hold is in the report; `troubles` are what the processes
/// logged meanwhile, where something did not.
///
/// # Errors
/// When it could not be played: Meridian did not start, or its streams did not open.
pub async fn play(
    scenario: &Scenario,
    executable: &Path,
    options: &Options,
) -> Result<(Report, Vec<String>)> {
    ensure!((1..=MAX_SESSIONS).contains(&options.sessions), "between 1 and {MAX_SESSIONS} sessions");
    let played = async {
        let mut stage = Stage::set(executable, options).await?;
        let played = (scenario.play)(&mut stage).await;
        let (seen, stopped) = stage.end().await?;
        let mut broken = seen.broken(scenario.promise);
        for failed in [played, stopped].into_iter().filter_map(Result::err) {
            broken.push(format!("{failed:#}"));
        }
        let report = Report {
            name: scenario.name.to_owned(),
            parameters: Parameters {
                sessions: options.sessions,
                seed: options.seed,
                frame_every_ms: u64::try_from(options.frame_every.as_millis()).unwrap_or(u64::MAX),
                engine: "simulated",
            },
            figures: seen.figures(),
            peers: Vec::new(),
            host: Host::this(),
            held: broken.is_empty(),
            promise: scenario.promise.words(),
            goals: scenario.goals,
            slowest: seen.slowest(),
            broken,
        };
        let troubles = if report.held { Vec::new() } else { seen.troubles };
        Ok((report, troubles))
    };
    timeout(LIMIT, played).await.with_context(|| format!("the scenario was not over within {LIMIT:?}"))?
}
