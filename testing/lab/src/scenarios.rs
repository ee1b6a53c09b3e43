//! The faults, a file each: what is broken, what must be seen, and the goal beside which the times are reported (DESIGN.md §7).

mod balancer_killed;
mod proxy_host_lost;
mod proxy_killed;
mod wan_cut;
mod web_node_killed;

use std::{pin::Pin, time::Duration};

use anyhow::Result;

use crate::{report::Goals, stage::Stage};

/// Streams are back, and processes in their places again, within this time; else they are judged as they are.
const BACK_LIMIT: Duration = Duration::from_secs(60);

/// What must hold of counts; no session is ever lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Every stream whose path broke goes on where it was.
    Resumed,
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
    pub(crate) promise: Promise,
    pub(crate) goals: Goals,
    /// Strikes, mends what does not mend itself, and waits until all is well again.
    pub(crate) play: Play,
}

/// All of them, in the order in which `all` plays them.
pub const SCENARIOS: [Scenario; 5] = [
    proxy_killed::SCENARIO,
    proxy_host_lost::SCENARIO,
    balancer_killed::SCENARIO,
    web_node_killed::SCENARIO,
    wan_cut::SCENARIO,
];

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
