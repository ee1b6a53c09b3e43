//! What a scenario showed: one JSON object (DESIGN.md §8), and a table for people.

use std::{collections::BTreeMap, fmt, fs, io::Write, path::Path};

use anyhow::Result;
use meridian_bench::Host;
use serde::Serialize;
use serde_json::Value;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub name: String,
    pub parameters: Parameters,
    pub figures: Figures,
    /// The same figures of what it was run beside: nothing so far.
    pub peers: Vec<Value>,
    pub host: Host,
    /// Whether the scenario's promise on counts held, and if not, why.
    pub held: bool,
    pub broken: Vec<String>,
    pub promise: &'static str,
    pub goals: Goals,
    /// What befell the stream that stood still longest.
    pub slowest: Vec<String>,
    pub took: Took,
}

/// Where a scenario's time went, in seconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Took {
    /// Until every process of Meridian was there.
    pub start_s: f64,
    /// Until all streams had run steadily.
    pub streams_s: f64,
    /// The fault, and until all was well again.
    pub fault_s: f64,
    /// The judgement, and until everything had ended.
    pub end_s: f64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Parameters {
    pub sessions: usize,
    /// Pages of a real browser, beside those.
    pub browsers: usize,
    pub seed: u64,
    /// From a picture's arrival to the next request: what a stall is at least.
    pub frame_every_ms: u64,
    /// Of a picture.
    pub frame_bytes: u32,
    pub engine: &'static str,
    /// What stood at the public entries.
    pub front: &'static str,
    /// Whether it began with an earlier build.
    pub from_previous: bool,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Stall {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures {
    pub sessions_lost: usize,
    /// Streams whose path broke, and that are going on where they were.
    pub streams_resumed: usize,
    pub streams_restarted: usize,
    /// Streams whose path the fault did not touch.
    pub streams_untouched: usize,
    /// The longest time between two bytes of a stream around the fault, over the streams whose path broke; over all where none did.
    pub stall_ms: Stall,
    /// The longest such time among the others.
    pub untouched_stall_ms: u64,
    /// Streams of the other zone that noticed anything.
    pub others_touched: usize,
    /// Of the steady requests to the API.
    pub requests_failed: usize,
    /// From the fault until the last viewer whose path broke knew.
    pub noticed_ms: Option<u64>,
    /// From the fault until the last stream was attached again, or a request failed last where no stream was touched.
    pub recovered_ms: Option<u64>,
    /// New tickets that viewers asked for after the fault.
    pub tickets_asked: u64,
    /// Of all of Meridian's processes, from the fault to the end; not PostgreSQL's.
    pub cpu_s: f64,
    /// Figures of this scenario alone.
    #[serde(flatten)]
    pub own: BTreeMap<&'static str, f64>,
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start_s, streams_s, fault_s, end_s } = self;
        let all = start_s + streams_s + fault_s + end_s;
        write!(
            f,
            "{all:.0} s: {start_s:.1} to start, {streams_s:.1} for streams, {fault_s:.1} with the fault, {end_s:.1} to end"
        )
    }
}

/// Times are reported beside these, never asserted: machines are noisy.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Goals {
    pub stall_p99_ms: Option<u64>,
    pub recovered_ms: Option<u64>,
}

impl Report {
    /// Appends the object as one line.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_json(&self, file: &Path) -> Result<()> {
        let mut output = fs::OpenOptions::new().create(true).append(true).open(file)?;
        writeln!(output, "{}", serde_json::to_string(self)?)?;
        Ok(())
    }
}

impl Report {
    fn misses_goal(&self) -> bool {
        self.goals.stall_p99_ms.is_some_and(|goal| self.figures.stall_ms.p99 > goal)
    }
}

impl Stall {
    /// Nearest-rank percentiles.
    pub(crate) fn of(mut stalls: Vec<u64>) -> Self {
        stalls.sort_unstable();
        let at = |share: usize| {
            let rank = (stalls.len() * share).div_ceil(100).max(1) - 1;
            stalls.get(rank).copied().unwrap_or_default()
        };
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// Reports, a row each.
pub struct Table<'a>(pub &'a [Report]);

const HEADS: [&str; 12] = [
    "scenario",
    "sessions",
    "lost",
    "resumed",
    "restarted",
    "untouched",
    "stall p50/p99/max ms",
    "goal p99",
    "noticed ms",
    "recovered ms",
    "requests failed",
    "cpu s",
];

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<_> = self.0.iter().map(cells).collect();
        let width = |column: usize| {
            rows.iter().map(|row| row[column].len()).chain([HEADS[column].len()]).max().unwrap_or_default()
        };
        let widths: Vec<_> = (0..HEADS.len()).map(width).collect();
        let line = |f: &mut fmt::Formatter<'_>, cells: &[String]| {
            write!(f, "{:<1$}", cells[0], widths[0])?;
            cells[1..].iter().zip(&widths[1..]).try_for_each(|(cell, width)| write!(f, "  {cell:>width$}"))
        };
        line(f, &HEADS.map(str::to_owned))?;
        for (row, report) in rows.iter().zip(self.0) {
            writeln!(f)?;
            line(f, row)?;
            if !report.figures.own.is_empty() {
                let own = report.figures.own.iter().map(|(name, value)| format!("{name} {value}"));
                write!(f, "\n    {}", own.collect::<Vec<_>>().join(", "))?;
            }
            for broken in &report.broken {
                write!(f, "\n    NOT HELD: {broken}")?;
            }
            if report.misses_goal() {
                write!(f, "\n    slower than the goal; the slowest stream: {}", report.slowest.join(", "))?;
            }
        }
        Ok(())
    }
}

fn cells(report: &Report) -> [String; 12] {
    let figures = &report.figures;
    let Stall { p50, p99, max } = figures.stall_ms;
    let known = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    [
        report.name.clone(),
        report.parameters.sessions.to_string(),
        figures.sessions_lost.to_string(),
        figures.streams_resumed.to_string(),
        figures.streams_restarted.to_string(),
        figures.streams_untouched.to_string(),
        format!("{p50}/{p99}/{max}"),
        report.goals.stall_p99_ms.map_or_else(|| "-".to_owned(), |goal| format!("<={goal}")),
        known(figures.noticed_ms),
        known(figures.recovered_ms),
        figures.requests_failed.to_string(),
        format!("{:.1}", figures.cpu_s),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_seen() {
        let stall = Stall::of((1..=20).collect());
        assert_eq!((stall.p50, stall.p99, stall.max), (10, 20, 20));
        let none = Stall::of(Vec::new());
        assert_eq!((none.p50, none.max), (0, 0));
    }
}
