//! The faults, a file each: what is broken, what must be seen, and the goal beside which the times are reported (DESIGN.md §7).

mod agent_host_lost;
mod agent_process_killed;
mod auth_address_dead;
mod balancer_killed;
mod clock_skewed;
mod disk_full;
mod disk_slow;
mod entry_untouched;
mod half_open;
mod primary_region_gone;
mod private_balancer_killed;
mod proxy_drained;
mod proxy_host_lost;
mod proxy_killed;
mod random_faults;
mod resume_storm;
mod rolling_upgrade;
mod wan_cut;
mod web_node_frozen;
mod web_node_killed;
mod zone_gone;

use std::{pin::Pin, time::Duration};

use anyhow::Result;

use crate::{report::Goals, site::Front, stage::Stage};

/// Streams are back, and processes in their places again, within this time; else they are judged as they are.
const BACK_LIMIT: Duration = Duration::from_secs(60);

/// What must hold of counts; no session is ever lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Every stream whose path broke goes on where it was.
    Resumed,
    /// Every stream whose path broke is back, resumed or on a display shaken hands with anew.
    Back,
    /// No stream notices anything.
    Untouched,
}

type Play = for<'a> fn(&'a mut Stage) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>>;

/// A fault to play.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// What happens, in a sentence.
    pub about: &'static str,
    /// With so many sessions it is played, once each, unless others are asked for.
    pub sizes: &'static [usize],
    /// Takes too long for `all`: `lab run long` plays it.
    pub long: bool,
    pub(crate) promise: Promise,
    pub(crate) goals: Goals,
    pub(crate) engine: &'static str,
    /// What stands at the public entries.
    pub(crate) front: Front,
    /// Whether one agent and one proxy of the zone keep what they have on disks of their own.
    pub(crate) own_disks: bool,
    /// Whether a few streams of the other zone stand by, which nothing may touch.
    pub(crate) bystanders: bool,
    /// It is over by then, one way or the other.
    pub(crate) limit: Duration,
    /// Strikes, mends what does not mend itself, and waits until all is well again.
    pub(crate) play: Play,
}

/// All of them, in the order in which they are played.
pub const SCENARIOS: &[Scenario] = &[
    proxy_killed::SCENARIO,
    proxy_killed::BEHIND_HAPROXY,
    proxy_killed::BEHIND_NGINX,
    proxy_host_lost::SCENARIO,
    proxy_drained::SCENARIO,
    balancer_killed::SCENARIO,
    private_balancer_killed::SCENARIO,
    web_node_killed::SCENARIO,
    web_node_killed::BEHIND_HAPROXY,
    web_node_killed::BEHIND_NGINX,
    web_node_frozen::SCENARIO,
    agent_process_killed::SCENARIO,
    agent_host_lost::SCENARIO,
    zone_gone::SCENARIO,
    wan_cut::SCENARIO,
    primary_region_gone::SCENARIO,
    rolling_upgrade::WEB,
    rolling_upgrade::BALANCE,
    rolling_upgrade::PROXY,
    rolling_upgrade::AGENT,
    auth_address_dead::SCENARIO,
    half_open::SCENARIO,
    entry_untouched::SCENARIO,
    clock_skewed::SCENARIO,
    disk_full::SCENARIO,
    disk_slow::SCENARIO,
    resume_storm::SCENARIO,
    random_faults::SCENARIO,
    wan_cut::LONG,
    random_faults::LONG,
];

/// What most scenarios have.
pub(crate) const ORDINARY: Scenario = Scenario {
    name: "",
    about: "",
    sizes: &[20],
    long: false,
    promise: Promise::Resumed,
    goals: Goals { stall_p99_ms: None, recovered_ms: None },
    engine: "simulated",
    front: Front::Meridian,
    own_disks: false,
    bystanders: true,
    limit: Duration::from_secs(420),
    play: |_| Box::pin(async { anyhow::bail!("a scenario without a play") }),
};

impl Scenario {
    /// What must hold, in words.
    #[must_use]
    pub fn promise(&self) -> &'static str {
        self.promise.words()
    }
}

impl Promise {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Resumed => "no session lost, every stream whose path broke RESUMED",
            Self::Back => "no session lost, every stream whose path broke RESUMED or RESTARTED",
            Self::Untouched => "no session lost, no stream touched",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let mut names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SCENARIOS.len());
    }
}
