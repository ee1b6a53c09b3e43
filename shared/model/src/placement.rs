//! The placement decision, as a pure function.
//!
//! The database makes this decision in one SQL function (`launch_v1`), because it must be exact under any race. This is the same decision
//! over a snapshot: the property tests' oracle, and the words in which a verdict is explained. When one changes, so does the
//! other; `control/tests/placement.rs` compares them on random zones.

use std::cmp::Ordering;

use meridian_ids::NodeId;
use serde::{Deserialize, Serialize};

use crate::{LoadStrategy, Network, Resources};

/// What a session asks of its agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub resources: Resources,
    pub network: Network,
    /// Graphics cards.
    pub gpus: u32,
}

/// An agent as placement sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub node: NodeId,
    pub reachable: bool,
    pub draining: bool,
    /// Its disk takes writes: only what it wrote down does an agent carry out.
    pub writes: bool,
    /// Network modes besides `none`, which every agent has.
    pub networks: Vec<Network>,
    pub gpus: u32,
    pub has_image: bool,
    pub total: Resources,
    pub used: Resources,
    pub sessions: i64,
    /// Rises with each placement anywhere; the value of this agent's latest one.
    pub last_placed: i64,
}

/// Why a candidate was chosen or passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    Chosen,
    /// It fitted, and another one came first.
    Fits,
    Unreachable,
    Draining,
    DiskRefuses,
    NoNetwork {
        mode: Network,
    },
    NoGpu,
    NoImage,
    CpuShort {
        milli: i64,
    },
    MemoryShort {
        mb: i64,
    },
}

impl Verdict {
    /// The verdict in words, for people. The same words come out of `launch_v1`.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Chosen => "chosen".into(),
            Self::Fits => "fits".into(),
            Self::Unreachable => "unreachable".into(),
            Self::Draining => "draining".into(),
            Self::DiskRefuses => "its disk takes no writes".into(),
            Self::NoNetwork { mode } => format!("network mode {} is not offered", mode.as_str()),
            Self::NoGpu => "no graphics card".into(),
            Self::NoImage => "no image yet".into(),
            Self::CpuShort { milli } => format!("{}.{:03} core short", milli / 1000, milli % 1000),
            Self::MemoryShort { mb } => format!("{mb} MB memory short"),
        }
    }
}

/// Judges one candidate on its own: `Fits` or the first reason against it.
#[must_use]
pub fn judge(candidate: &Candidate, wanted: Wanted) -> Verdict {
    let cpu_short = candidate.used.cpu_milli + wanted.resources.cpu_milli - candidate.total.cpu_milli;
    let memory_short = candidate.used.memory_mb + wanted.resources.memory_mb - candidate.total.memory_mb;
    if !candidate.reachable {
        Verdict::Unreachable
    } else if candidate.draining {
        Verdict::Draining
    } else if !candidate.writes {
        Verdict::DiskRefuses
    } else if wanted.network != Network::None && !candidate.networks.contains(&wanted.network) {
        Verdict::NoNetwork { mode: wanted.network }
    } else if wanted.gpus > candidate.gpus {
        Verdict::NoGpu
    } else if !candidate.has_image {
        Verdict::NoImage
    } else if cpu_short > 0 {
        Verdict::CpuShort { milli: cpu_short }
    } else if memory_short > 0 {
        Verdict::MemoryShort { mb: memory_short }
    } else {
        Verdict::Fits
    }
}

/// The agent that gets the session, or none. Ties go to the lower node id.
#[must_use]
pub fn choose(candidates: &[Candidate], wanted: Wanted, strategy: LoadStrategy) -> Option<NodeId> {
    candidates
        .iter()
        .filter(|candidate| judge(candidate, wanted) == Verdict::Fits)
        .min_by(|a, b| rank(a, b, strategy).then(a.node.cmp(&b.node)))
        .map(|candidate| candidate.node)
}

fn rank(a: &Candidate, b: &Candidate, strategy: LoadStrategy) -> Ordering {
    match strategy {
        LoadStrategy::LeastLoad => load_millionths(a).cmp(&load_millionths(b)),
        LoadStrategy::MostLoad => load_millionths(b).cmp(&load_millionths(a)),
        LoadStrategy::LeastSessions => a.sessions.cmp(&b.sessions),
        LoadStrategy::MostSessions => b.sessions.cmp(&a.sessions),
        LoadStrategy::RoundRobin => a.last_placed.cmp(&b.last_placed),
    }
}

/// The larger of the two promised shares, in whole millionths: integers compare alike here and in SQL.
fn load_millionths(candidate: &Candidate) -> i64 {
    let share = |used: i64, total: i64| if total > 0 { used * 1_000_000 / total } else { 1_000_000 };
    share(candidate.used.cpu_milli, candidate.total.cpu_milli)
        .max(share(candidate.used.memory_mb, candidate.total.memory_mb))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(used: i64, sessions: i64) -> Candidate {
        Candidate {
            node: NodeId::generate(),
            reachable: true,
            draining: false,
            writes: true,
            networks: vec![Network::Internet],
            gpus: 0,
            has_image: true,
            total: Resources { cpu_milli: 4000, memory_mb: 8000 },
            used: Resources { cpu_milli: used, memory_mb: 0 },
            sessions,
            last_placed: 0,
        }
    }

    const ONE_CORE: Wanted = Wanted {
        resources: Resources { cpu_milli: 1000, memory_mb: 1000 },
        network: Network::Internet,
        gpus: 0,
    };

    #[test]
    fn least_load_takes_the_emptiest_and_most_load_the_fullest_that_fits() {
        let agents = [agent(3000, 3), agent(1000, 1), agent(3500, 4)];
        assert_eq!(choose(&agents, ONE_CORE, LoadStrategy::LeastLoad), Some(agents[1].node));
        assert_eq!(choose(&agents, ONE_CORE, LoadStrategy::MostLoad), Some(agents[0].node));
    }

    #[test]
    fn a_verdict_names_what_is_missing_in_words() {
        assert_eq!(judge(&agent(3500, 1), ONE_CORE).words(), "0.500 core short");
        assert_eq!(judge(&Candidate { draining: true, ..agent(0, 0) }, ONE_CORE).words(), "draining");
        assert_eq!(
            judge(&Candidate { networks: Vec::new(), ..agent(0, 0) }, ONE_CORE).words(),
            "network mode internet is not offered"
        );
        assert_eq!(judge(&agent(0, 0), Wanted { gpus: 1, ..ONE_CORE }).words(), "no graphics card");
    }

    #[test]
    fn nothing_fits_when_nobody_has_room() {
        assert_eq!(choose(&[agent(4000, 1)], ONE_CORE, LoadStrategy::RoundRobin), None);
    }
}
