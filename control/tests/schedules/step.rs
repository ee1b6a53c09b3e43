//! The things that happen in a schedule, and how often each is drawn.

use proptest::{prelude::*, sample::subsequence};

use crate::{AGENTS, KEEPERS, KEPT, MOVED, USERS, ZONES};

/// One thing that happens. Numbers choose among what there is at that moment.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Launch { user: usize, zone: Option<usize> },
    LaunchKept { keeper: usize, workspace: usize, zone: Option<usize>, temporary: bool },
    Reset { home: usize },
    Release { home: usize },
    End { session: usize },
    EndKept { session: usize },
    Beat { agent: usize },
    RepeatedBeat { agent: usize },
    Die { agent: usize },
    Return { agent: usize, rebooted: bool },
    Drain { agent: usize, drains: bool },
    Remove { agent: usize },
    Break { agent: usize, which: usize, error: bool },
    Move { whom: usize, to: usize },
    Undo { which: usize },
    Borders { zone: usize, isolated: bool, search: bool, alternates: Vec<usize> },
    Jobs,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let agent = || 0..AGENTS.len();
    prop_oneof![
        14 => (0..USERS.len(), proptest::option::weighted(0.7, 0..ZONES.len()))
            .prop_map(|(user, zone)| Step::Launch { user, zone }),
        8 => (0..KEEPERS.len(), 0..KEPT.len(), proptest::option::weighted(0.6, 0..ZONES.len()), proptest::bool::weighted(0.1))
            .prop_map(|(keeper, workspace, zone, temporary)| Step::LaunchKept { keeper, workspace, zone, temporary }),
        1 => any::<usize>().prop_map(|home| Step::Reset { home }),
        1 => any::<usize>().prop_map(|home| Step::Release { home }),
        4 => any::<usize>().prop_map(|session| Step::End { session }),
        5 => any::<usize>().prop_map(|session| Step::EndKept { session }),
        12 => agent().prop_map(|agent| Step::Beat { agent }),
        3 => agent().prop_map(|agent| Step::RepeatedBeat { agent }),
        1 => agent().prop_map(|agent| Step::Die { agent }),
        2 => (agent(), any::<bool>()).prop_map(|(agent, rebooted)| Step::Return { agent, rebooted }),
        1 => (agent(), any::<bool>()).prop_map(|(agent, drains)| Step::Drain { agent, drains }),
        1 => agent().prop_map(|agent| Step::Remove { agent }),
        2 => (agent(), any::<usize>(), any::<bool>())
            .prop_map(|(agent, which, error)| Step::Break { agent, which, error }),
        3 => (0..MOVED.len(), 0..ZONES.len()).prop_map(|(whom, to)| Step::Move { whom, to }),
        2 => any::<usize>().prop_map(|which| Step::Undo { which }),
        2 => (0..ZONES.len(), proptest::bool::weighted(0.25), any::<bool>(), subsequence((0..ZONES.len()).collect::<Vec<_>>(), 0..3))
            .prop_map(|(zone, isolated, search, alternates)| Step::Borders { zone, isolated, search, alternates }),
        2 => Just(Step::Jobs),
    ]
}

pub(crate) fn step_agent(step: &Step) -> usize {
    match step {
        Step::Beat { agent }
        | Step::RepeatedBeat { agent }
        | Step::Die { agent }
        | Step::Return { agent, .. }
        | Step::Drain { agent, .. }
        | Step::Remove { agent }
        | Step::Break { agent, .. } => *agent,
        Step::Launch { .. }
        | Step::LaunchKept { .. }
        | Step::Reset { .. }
        | Step::Release { .. }
        | Step::End { .. }
        | Step::EndKept { .. }
        | Step::Move { .. }
        | Step::Undo { .. }
        | Step::Borders { .. }
        | Step::Jobs => 0,
    }
}

/// The zone whose settings a step writes.
pub(crate) fn redrawn(step: &Step) -> Option<usize> {
    if let Step::Borders { zone, .. } = step { Some(*zone) } else { None }
}
