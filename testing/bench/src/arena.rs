//! Contenders, each in a process of its own and in turn, round after round; the median of the rounds counts.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    net::{SocketAddr, TcpListener},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Host, Report,
    cores::Cores,
    process::{Relay, cpu_of, version},
    report::{Figures, Goals},
};

/// One round's figures of one contender.
pub(crate) type Samples = BTreeMap<String, f64>;

/// A relay that can be started again and again.
pub(crate) struct Contender {
    name: &'static str,
    version: String,
    command: Vec<OsString>,
    address: SocketAddr,
    rounds: Vec<Samples>,
}

pub(crate) struct Arena {
    pub(crate) folder: TempDir,
    pub(crate) cores: Cores,
    contenders: Vec<Contender>,
}

impl Arena {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { folder: tempfile::tempdir()?, cores: Cores::split()?, contenders: Vec::new() })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Meridian's own is the first one.
    pub(crate) fn add_own(&mut self, address: SocketAddr, command: Vec<OsString>) {
        let version = meridian_runtime::VERSION.to_owned();
        self.contenders.push(Contender { name: "meridian", version, command, address, rounds: Vec::new() });
    }

    pub(crate) async fn add_peer(&mut self, name: &'static str, address: SocketAddr, command: Vec<OsString>) {
        let version = match command.first() {
            Some(program) => version(program, "-v").await,
            None => String::new(),
        };
        self.contenders.push(Contender { name, version, command, address, rounds: Vec::new() });
    }

    /// Lets the contenders take turns, `rounds` times.
    pub(crate) async fn compare(
        &mut self,
        rounds: usize,
        measure: impl AsyncFn(&Relay, &Cores) -> anyhow::Result<Samples>,
    ) -> anyhow::Result<()> {
        ensure!(rounds > 0, "at least one round");
        for _ in 0..rounds {
            for contender in &mut self.contenders {
                let log = self.folder.path().join(format!("{}.log", contender.name));
                let relay = Relay::start(&contender.command, contender.address, &log, &self.cores).await?;
                let samples = measure(&relay, &self.cores).await.with_context(|| contender.name)?;
                contender.rounds.push(samples);
                relay.stop().await?;
            }
        }
        Ok(())
    }

    pub(crate) fn report(self, name: &str, parameters: Figures, goals: Goals) -> anyhow::Result<Report> {
        let (ours, peers) = self.contenders.split_first().context("nothing was measured")?;
        Ok(Report {
            name: name.into(),
            parameters,
            figures: figures(ours),
            peers: peers.iter().map(|peer| (peer.name.to_owned(), figures(peer))).collect(),
            goals,
            host: Host::this(),
        })
    }
}

fn figures(contender: &Contender) -> Figures {
    let mut figures = summary(&contender.rounds);
    figures.insert("version".into(), json!(contender.version));
    figures
}

/// Each figure's median, and the figure of every round.
pub(crate) fn summary(rounds: &[Samples]) -> Figures {
    let mut figures = Figures::new();
    let names = rounds.first().map(|first| first.keys().cloned().collect::<Vec<_>>());
    for name in names.unwrap_or_default() {
        let rounds: Vec<f64> = rounds.iter().filter_map(|round| round.get(&name)).copied().collect();
        let shown: Vec<Value> = rounds.iter().copied().map(rounded).collect();
        figures.insert(name.clone(), rounded(median(rounds)));
        figures.insert(format!("rounds_{name}"), Value::Array(shown));
    }
    figures
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Three digits or so: a shared machine gives no more.
pub(crate) fn rounded(value: f64) -> Value {
    let scale = match value.abs() {
        100.0.. => 1.0,
        10.0.. => 10.0,
        _ => 100.0,
    };
    json!((value * scale).round() / scale)
}

/// What a relay and the load spend on processors while something is measured.
pub(crate) struct Meter<'a> {
    relay: &'a Relay,
    load_cores: u32,
    started: Instant,
    relay_before: Duration,
    load_before: Duration,
}

pub(crate) struct Spent {
    pub(crate) wall_s: f64,
    pub(crate) relay_s: f64,
    /// Shares of the core, or cores, that each has. Where the load's is near 100 it may have been what was slow.
    pub(crate) relay_busy_percent: f64,
    pub(crate) load_busy_percent: f64,
}

impl<'a> Meter<'a> {
    pub(crate) fn start(relay: &'a Relay, cores: &Cores) -> anyhow::Result<Self> {
        Ok(Self {
            relay,
            load_cores: cores.for_load(),
            started: Instant::now(),
            relay_before: relay.cpu()?,
            load_before: cpu_of("self")?,
        })
    }

    pub(crate) fn stop(self) -> anyhow::Result<Spent> {
        let wall_s = self.started.elapsed().as_secs_f64();
        let relay_s = self.relay.cpu()?.saturating_sub(self.relay_before).as_secs_f64();
        let load_s = cpu_of("self")?.saturating_sub(self.load_before).as_secs_f64();
        // A run that is too short for the kernel's accounts is no division by zero.
        let relay_s = relay_s.max(1e-6);
        Ok(Spent {
            wall_s,
            relay_s,
            relay_busy_percent: 100.0 * relay_s / wall_s,
            load_busy_percent: 100.0 * load_s / wall_s / f64::from(self.load_cores),
        })
    }
}

impl Spent {
    /// Adds the shares to a round's figures.
    pub(crate) fn note(&self, samples: &mut Samples, of: &str) {
        samples.insert(format!("{of}_relay_busy_percent"), self.relay_busy_percent);
        samples.insert(format!("{of}_load_busy_percent"), self.load_busy_percent);
    }
}

pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_the_rounds_counts_and_all_are_told() {
        let round = |value| Samples::from([("mb".to_owned(), value)]);
        let contender = Contender {
            name: "x",
            version: "1".into(),
            command: Vec::new(),
            address: "127.0.0.1:1".parse().unwrap(),
            rounds: vec![round(1234.56), round(3.456), round(20.06)],
        };
        let figures = figures(&contender);
        assert_eq!(figures["mb"], json!(20.1));
        assert_eq!(figures["rounds_mb"], json!([1235.0, 3.46, 20.1]));
    }
}
