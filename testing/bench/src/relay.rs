//! `meridian bench relay`: what streams cost a relay, TLS on both sides.
//!
//! Meridian's proxy, nginx and HAProxy, each in a process of its own on one core and in turn, carry the same streams from the same viewers
//! to the same agent; the load has the other cores. Its processor time is not counted, only shown. All of it writes no line per
//! connection into a log. What each kind of measurement does stands in the module of its name.

pub(crate) mod bulk;
mod frames;
mod handshakes;
mod idle;
mod peers;
mod setting;

use std::{ffi::OsString, time::Duration};

use anyhow::ensure;
use meridian_runtime::Tasks;
use serde_json::json;

use crate::{
    Report,
    arena::Samples,
    cores::Cores,
    process::Relay,
    report::{Figures, Goals},
    viewers::Viewers,
};

/// A process may hold 20,000 descriptors, and the viewers' end and the agent's are in this one.
pub const MAX_STREAMS: usize = 5000;
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayLoad {
    /// Memory of streams that carry nothing.
    Idle,
    /// Bytes as fast as they are taken, on 1, 16 and 128 streams.
    Bulk,
    /// Thirty frames of 4 KiB a second on each of many streams, and how late they arrive on a third of those.
    Frames,
    /// Opening streams: whole handshakes and resumed ones.
    Handshakes,
}

impl RelayLoad {
    pub const ALL: [Self; 4] = [Self::Idle, Self::Bulk, Self::Frames, Self::Handshakes];
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct RelayBench {
    /// Streams at once, or, with handshakes, in each round; none: what the goals are set for.
    pub streams: Option<usize>,
    /// How often each relay is measured; the median counts.
    pub rounds: usize,
    /// How long each load is measured in each round.
    pub wanted: Duration,
    /// Runs a proxy with the settings file that is appended to it: `meridian proxy --config`.
    pub proxy: Vec<OsString>,
}

impl RelayBench {
    /// Measures one kind of load. A peer that is not installed is left out.
    ///
    /// # Errors
    /// When a relay cannot be run or does not relay; its last words are in the error.
    pub async fn run(&self, load: RelayLoad) -> anyhow::Result<Report> {
        let streams = self.streams.unwrap_or(match load {
            RelayLoad::Idle | RelayLoad::Handshakes => 1000,
            RelayLoad::Bulk => 128,
            RelayLoad::Frames => 600,
        });
        ensure!((1..=MAX_STREAMS).contains(&streams), "between 1 and {MAX_STREAMS} streams");
        let tasks = Tasks::new();
        let (mut arena, viewers) = setting::prepare(&self.proxy, &tasks).await?;
        let wanted = self.wanted;
        let (name, goals) = match load {
            RelayLoad::Idle => {
                let measure =
                    async |relay: &Relay, _: &Cores| idle::measure(relay, &viewers, streams, wanted).await;
                arena.compare(self.rounds, measure).await?;
                ("relay_idle", idle::goals())
            }
            RelayLoad::Bulk => {
                let measure = async |relay: &Relay, cores: &Cores| {
                    bulk::measure(relay, cores, &viewers, streams, wanted).await
                };
                arena.compare(self.rounds, measure).await?;
                ("relay_bulk", bulk::goals(streams))
            }
            RelayLoad::Frames => {
                let measure = async |relay: &Relay, cores: &Cores| {
                    frames::measure(relay, cores, &viewers, streams, wanted).await
                };
                arena.compare(self.rounds, measure).await?;
                ("relay_frames", frames::goals())
            }
            RelayLoad::Handshakes => {
                let measure = async |relay: &Relay, cores: &Cores| {
                    handshakes::measure(relay, cores, &viewers, streams).await
                };
                arena.compare(self.rounds, measure).await?;
                ("relay_handshakes", handshakes::goals())
            }
        };
        tasks.stop(STOP_LIMIT).await;
        let parameters = Figures::from([
            ("streams".into(), json!(streams)),
            ("rounds".into(), json!(self.rounds)),
            ("seconds".into(), json!(wanted.as_secs_f64())),
            ("tls".into(), json!("both sides")),
        ]);
        arena.report(name, parameters, goals)
    }
}
