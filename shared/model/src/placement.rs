//! The placement decision, as a pure function.
//!
//! The database makes this decision in one SQL function (`launch_v2`), because it must be exact under any race. This is the same decision
//! over a snapshot: the property tests' oracle, and the words in which a verdict is explained. When one changes, so does the
//! other; `control/tests/placement.rs` compares them on random deployments.
//!
//! A launch tries zones in order, beginning with the one asked for; in each it takes the first agent that fits, in the order of
//! the zone's strategy.

use std::{cmp::Ordering, collections::BTreeMap};

use meridian_ids::{NodeId, ZoneId};

use crate::{ImagePolicy, LoadStrategy, Network, Resources};

/// What a session asks of its agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub resources: Resources,
    pub network: Network,
    /// Graphics cards.
    pub gpus: i64,
    /// Labels that the agent must have, with these values.
    pub labels: BTreeMap<String, String>,
    /// The zones where the workspace is offered; none: all.
    pub zones: Option<Vec<ZoneId>>,
    /// What the workspace says for itself; none: as the zone says.
    pub image_policy: Option<ImagePolicy>,
}

/// How much of something an agent may promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// What the agent says it has.
    pub reported: i64,
    /// What an administrator says in its place.
    pub override_: Option<i64>,
    /// How much of it is promised, in hundredths.
    pub overcommit: i64,
}

impl Capacity {
    #[must_use]
    pub fn exactly(reported: i64) -> Self {
        Self { reported, override_: None, overcommit: 100 }
    }

    #[must_use]
    pub fn promised(self) -> i64 {
        self.override_.unwrap_or(self.reported) * self.overcommit / 100
    }
}

/// An agent as placement sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub node: NodeId,
    pub reachable: bool,
    pub draining: bool,
    /// It stays; one that comes and goes with demand is not static.
    pub is_static: bool,
    /// Its disk takes writes: only what it wrote down does an agent carry out.
    pub writes: bool,
    /// Network modes besides `none`, which every agent has.
    pub networks: Vec<Network>,
    pub labels: BTreeMap<String, String>,
    pub has_image: bool,
    /// It tried to load the image, and failed the last time.
    pub failed_to_load: bool,
    pub cpu_milli: Capacity,
    pub memory_mb: Capacity,
    pub gpus: Capacity,
    pub used: Resources,
    pub gpus_used: i64,
    pub sessions: i64,
    /// Sessions at most; none: as many as its resources bear.
    pub session_limit: Option<i64>,
    /// Rises with each placement anywhere; the value of this agent's latest one.
    pub last_placed: i64,
}

/// Why a candidate was chosen or passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Chosen,
    /// It fitted, and another one came first.
    Fits,
    /// It fitted, and would have had to load the image first.
    FitsWithoutImage,
    /// The same, and the last time it tried to load it, that failed.
    FitsAfterFailure,
    Unreachable,
    Draining,
    DiskRefuses,
    NoNetwork {
        mode: Network,
    },
    LabelMissing {
        key: String,
        value: String,
    },
    NoGpu,
    NoImage,
    GpuShort {
        gpus: i64,
    },
    CpuShort {
        milli: i64,
    },
    MemoryShort {
        mb: i64,
    },
    SessionsFull {
        limit: i64,
    },
}

impl Verdict {
    /// The reason alone, by which candidates are counted. The same words come out of `candidates_v2`.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::Fits => "fits",
            Self::FitsWithoutImage => "fits, without its image",
            Self::FitsAfterFailure => "fits, but failed to load its image",
            Self::Unreachable => "unreachable",
            Self::Draining => "draining",
            Self::DiskRefuses => "its disk takes no writes",
            Self::NoNetwork { .. } => "network mode not offered",
            Self::LabelMissing { .. } => "label missing",
            Self::NoGpu => "no graphics card",
            Self::NoImage => "no image yet",
            Self::GpuShort { .. } => "too few graphics cards free",
            Self::CpuShort { .. } => "too little CPU free",
            Self::MemoryShort { .. } => "too little memory free",
            Self::SessionsFull { .. } => "as many sessions as allowed",
        }
    }

    /// The verdict in words, for people. The same words come out of `candidates_v2`.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::NoNetwork { mode } => format!("network mode {} is not offered", mode.as_str()),
            Self::LabelMissing { key, value } => format!("label {key}={value} is missing"),
            Self::GpuShort { gpus } => format!("{gpus} of its graphics cards short"),
            Self::CpuShort { milli } => format!("{} core short", cores(*milli)),
            Self::MemoryShort { mb } => format!("{mb} MB memory short"),
            Self::SessionsFull { limit } => format!("at its session limit of {limit}"),
            Self::FitsWithoutImage => "fits, and would load the image first".to_owned(),
            Self::FitsAfterFailure => {
                "fits, and would load the image first, which failed the last time".to_owned()
            }
            Self::Chosen
            | Self::Fits
            | Self::Unreachable
            | Self::Draining
            | Self::DiskRefuses
            | Self::NoGpu
            | Self::NoImage => self.reason().to_owned(),
        }
    }
}

/// Thousandths as a decimal number without idle zeros.
fn cores(milli: i64) -> String {
    let text = format!("{}.{:03}", milli / 1000, milli % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Judges one candidate on its own, of a zone with this policy for images: that it fits, with its image or without, or the first reason
/// against it.
#[must_use]
pub fn judge(candidate: &Candidate, wanted: &Wanted, images: ImagePolicy) -> Verdict {
    let missing = wanted.labels.iter().find(|(key, value)| candidate.labels.get(*key) != Some(value));
    let gpus_short = candidate.gpus_used + wanted.gpus - candidate.gpus.promised();
    let cpu_short = candidate.used.cpu_milli + wanted.resources.cpu_milli - candidate.cpu_milli.promised();
    let memory_short = candidate.used.memory_mb + wanted.resources.memory_mb - candidate.memory_mb.promised();
    if !candidate.reachable {
        Verdict::Unreachable
    } else if candidate.draining {
        Verdict::Draining
    } else if !candidate.writes {
        Verdict::DiskRefuses
    } else if wanted.network != Network::None && !candidate.networks.contains(&wanted.network) {
        Verdict::NoNetwork { mode: wanted.network }
    } else if let Some((key, value)) = missing {
        Verdict::LabelMissing { key: key.clone(), value: value.clone() }
    } else if wanted.gpus > candidate.gpus.promised() {
        Verdict::NoGpu
    } else if !candidate.has_image && wanted.image_policy.unwrap_or(images) == ImagePolicy::Elsewhere {
        Verdict::NoImage
    } else if wanted.gpus > 0 && gpus_short > 0 {
        Verdict::GpuShort { gpus: gpus_short }
    } else if cpu_short > 0 {
        Verdict::CpuShort { milli: cpu_short }
    } else if memory_short > 0 {
        Verdict::MemoryShort { mb: memory_short }
    } else {
        match candidate.session_limit {
            Some(limit) if candidate.sessions >= limit => Verdict::SessionsFull { limit },
            Some(_) | None if candidate.has_image => Verdict::Fits,
            Some(_) | None if candidate.failed_to_load => Verdict::FitsAfterFailure,
            Some(_) | None => Verdict::FitsWithoutImage,
        }
    }
}

impl Verdict {
    /// How late a candidate comes that would have to load the image; none: it does not fit.
    fn image_turn(&self) -> Option<u8> {
        match self {
            Self::Fits => Some(0),
            // A launch waits for an image only where nobody who has it fits,
            Self::FitsWithoutImage => Some(1),
            // and where it failed to load only when it can be loaded nowhere else.
            Self::FitsAfterFailure => Some(2),
            Self::Chosen
            | Self::Unreachable
            | Self::Draining
            | Self::DiskRefuses
            | Self::NoNetwork { .. }
            | Self::LabelMissing { .. }
            | Self::NoGpu
            | Self::NoImage
            | Self::GpuShort { .. }
            | Self::CpuShort { .. }
            | Self::MemoryShort { .. }
            | Self::SessionsFull { .. } => None,
        }
    }
}

/// The agent of one zone that gets the session, or none. Ties go to the lower node id.
#[must_use]
pub fn choose(
    candidates: &[Candidate],
    wanted: &Wanted,
    strategy: LoadStrategy,
    static_first: bool,
    images: ImagePolicy,
) -> Option<NodeId> {
    let comes_and_goes = |candidate: &Candidate| static_first && !candidate.is_static;
    candidates
        .iter()
        .filter_map(|candidate| Some((judge(candidate, wanted, images).image_turn()?, candidate)))
        .min_by(|(a_turn, a), (b_turn, b)| {
            a_turn
                .cmp(b_turn)
                .then(comes_and_goes(a).cmp(&comes_and_goes(b)))
                .then(rank(a, b, strategy))
                .then(a.node.cmp(&b.node))
        })
        .map(|(_, candidate)| candidate.node)
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
    share(candidate.used.cpu_milli, candidate.cpu_milli.promised())
        .max(share(candidate.used.memory_mb, candidate.memory_mb.promised()))
}

/// A zone as placement sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementZone {
    pub zone: ZoneId,
    pub strategy: LoadStrategy,
    pub static_first: bool,
    /// Whether it looks elsewhere when it has no room.
    pub search_alternates: bool,
    /// In order; empty: any, in the order of the list.
    pub alternates: Vec<ZoneId>,
    /// Neither lends nor borrows.
    pub isolated: bool,
    /// For workspaces that say nothing for themselves.
    pub image_policy: ImagePolicy,
    pub candidates: Vec<Candidate>,
}

/// The zones that a launch asked for in `first` may be placed in, in the order in which they are tried. `zones` is in the deployment's
/// own order.
#[must_use]
pub fn tried<'a>(zones: &'a [PlacementZone], first: ZoneId, wanted: &Wanted) -> Vec<&'a PlacementZone> {
    let by_id = |id: &ZoneId| zones.iter().find(|zone| zone.zone == *id);
    let Some(asked) = by_id(&first) else { return Vec::new() };
    let mut order = vec![asked];
    if asked.search_alternates && !asked.isolated {
        let others: Vec<&PlacementZone> = if asked.alternates.is_empty() {
            zones.iter().collect()
        } else {
            asked.alternates.iter().filter_map(by_id).collect()
        };
        order.extend(others.into_iter().filter(|zone| zone.zone != first && !zone.isolated));
    }
    order.retain(|zone| wanted.zones.as_ref().is_none_or(|offered| offered.contains(&zone.zone)));
    order
}

/// Where a launch asked for in `first` goes, or nowhere.
#[must_use]
pub fn place(zones: &[PlacementZone], first: ZoneId, wanted: &Wanted) -> Option<(ZoneId, NodeId)> {
    tried(zones, first, wanted).into_iter().find_map(|zone| {
        let images = zone.image_policy;
        choose(&zone.candidates, wanted, zone.strategy, zone.static_first, images)
            .map(|node| (zone.zone, node))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(used: i64, sessions: i64) -> Candidate {
        Candidate {
            node: NodeId::generate(),
            reachable: true,
            draining: false,
            is_static: true,
            writes: true,
            networks: vec![Network::Internet],
            labels: BTreeMap::from([("disk".into(), "fast".into())]),
            has_image: true,
            failed_to_load: false,
            cpu_milli: Capacity::exactly(4000),
            memory_mb: Capacity::exactly(8000),
            gpus: Capacity::exactly(0),
            used: Resources { cpu_milli: used, memory_mb: 0 },
            gpus_used: 0,
            sessions,
            session_limit: None,
            last_placed: 0,
        }
    }

    fn one_core() -> Wanted {
        Wanted {
            resources: Resources { cpu_milli: 1000, memory_mb: 1000 },
            network: Network::Internet,
            gpus: 0,
            labels: BTreeMap::new(),
            zones: None,
            image_policy: None,
        }
    }

    /// In a zone whose policy for images is this.
    fn choose_in(
        images: ImagePolicy,
        agents: &[Candidate],
        wanted: &Wanted,
        strategy: LoadStrategy,
    ) -> Option<NodeId> {
        choose(agents, wanted, strategy, true, images)
    }

    fn judge(candidate: &Candidate, wanted: &Wanted) -> Verdict {
        super::judge(candidate, wanted, ImagePolicy::Elsewhere)
    }

    #[test]
    fn least_load_takes_the_emptiest_and_most_load_the_fullest_that_fits() {
        let agents = [agent(3000, 3), agent(1000, 1), agent(3500, 4)];
        let choose = |strategy| choose_in(ImagePolicy::Elsewhere, &agents, &one_core(), strategy);
        assert_eq!(choose(LoadStrategy::LeastLoad), Some(agents[1].node));
        assert_eq!(choose(LoadStrategy::MostLoad), Some(agents[0].node));
    }

    #[test]
    fn static_agents_come_first_where_the_zone_says_so() {
        let agents = [agent(2000, 1), Candidate { is_static: false, ..agent(0, 0) }];
        let choose =
            |first| choose(&agents, &one_core(), LoadStrategy::LeastLoad, first, ImagePolicy::Elsewhere);
        assert_eq!((choose(true), choose(false)), (Some(agents[0].node), Some(agents[1].node)));
    }

    #[test]
    fn overrides_and_overcommit_change_what_is_promised() {
        let full = agent(4000, 1);
        assert_eq!(judge(&full, &one_core()).words(), "1 core short");
        let generous =
            Candidate { cpu_milli: Capacity { overcommit: 150, ..full.cpu_milli }, ..full.clone() };
        assert_eq!(judge(&generous, &one_core()), Verdict::Fits);
        let small = Candidate {
            cpu_milli: Capacity { override_: Some(500), ..full.cpu_milli },
            used: Resources::default(),
            ..full
        };
        assert_eq!(judge(&small, &one_core()).words(), "0.5 core short");
    }

    #[test]
    fn a_verdict_names_what_is_missing_in_words() {
        let words = |candidate: Candidate, wanted: Wanted| judge(&candidate, &wanted).words();
        assert_eq!(words(agent(3500, 1), one_core()), "0.5 core short");
        assert_eq!(words(Candidate { draining: true, ..agent(0, 0) }, one_core()), "draining");
        let offline = Candidate { networks: Vec::new(), ..agent(0, 0) };
        assert_eq!(words(offline, one_core()), "network mode internet is not offered");
        assert_eq!(words(agent(0, 0), Wanted { gpus: 1, ..one_core() }), "no graphics card");
        let taken = Candidate { gpus: Capacity::exactly(2), gpus_used: 2, ..agent(0, 0) };
        assert_eq!(words(taken, Wanted { gpus: 1, ..one_core() }), "1 of its graphics cards short");
        let slow = Wanted { labels: BTreeMap::from([("disk".into(), "slow".into())]), ..one_core() };
        assert_eq!(words(agent(0, 0), slow), "label disk=slow is missing");
        let few = Candidate { session_limit: Some(3), ..agent(0, 3) };
        assert_eq!(words(few, one_core()), "at its session limit of 3");
    }

    #[test]
    fn a_launch_waits_for_its_image_only_where_policy_says_so_and_nobody_has_it() {
        let without = Candidate { has_image: false, ..agent(0, 0) };
        let failed = Candidate { failed_to_load: true, ..agent(0, 0) };
        let (has, failed) = (agent(2000, 2), Candidate { has_image: false, ..failed });
        let agents = [failed.clone(), without.clone(), has.clone()];
        let choose = |images, agents: &[Candidate], wanted: &Wanted| {
            choose_in(images, agents, wanted, LoadStrategy::LeastLoad)
        };
        let own = |policy| Wanted { image_policy: Some(policy), ..one_core() };
        assert_eq!(judge(&without, &one_core()), Verdict::NoImage);
        // The zone's policy, or the workspace's own before it.
        for (images, wanted) in
            [(ImagePolicy::Wait, one_core()), (ImagePolicy::Elsewhere, own(ImagePolicy::Wait))]
        {
            assert_eq!(choose(images, &agents, &wanted), Some(has.node));
            assert_eq!(choose(images, &agents[..2], &wanted), Some(without.node), "where it did not fail");
            assert_eq!(choose(images, &agents[..1], &wanted), Some(failed.node));
        }
        assert_eq!(choose(ImagePolicy::Elsewhere, &agents[..2], &one_core()), None);
        assert_eq!(choose(ImagePolicy::Wait, &agents[..2], &own(ImagePolicy::Elsewhere)), None);
    }

    #[test]
    fn nothing_fits_when_nobody_has_room() {
        let full = [agent(4000, 1)];
        let chosen = choose_in(ImagePolicy::Wait, &full, &one_core(), LoadStrategy::RoundRobin);
        assert_eq!(chosen, None);
    }

    #[test]
    fn an_isolated_zone_neither_lends_nor_borrows() {
        let zone = |candidates: Vec<Candidate>| PlacementZone {
            zone: ZoneId::generate(),
            strategy: LoadStrategy::LeastLoad,
            static_first: true,
            search_alternates: true,
            alternates: Vec::new(),
            isolated: false,
            image_policy: ImagePolicy::Elsewhere,
            candidates,
        };
        let (full, free) = (zone(vec![agent(4000, 1)]), zone(vec![agent(0, 0)]));
        let place = |zones: &[PlacementZone]| place(zones, zones[0].zone, &one_core()).map(|(zone, _)| zone);
        assert_eq!(place(&[full.clone(), free.clone()]), Some(free.zone));
        let enclave = PlacementZone { isolated: true, ..full.clone() };
        assert_eq!(place(&[enclave, free.clone()]), None);
        let enclave = PlacementZone { isolated: true, ..free };
        assert_eq!(place(&[full, enclave]), None);
    }
}
