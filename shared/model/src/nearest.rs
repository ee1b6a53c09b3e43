//! Which zone is nearest to a page, from what the page measured: decided by the server, and so that it sticks.
//!
//! A page sends round trips of several rounds to each zone's entry, now and then. The first report decides at once. After that another zone
//! must be clearly nearer, in several reports one after the other: a browser that fetches badly once moves nobody.
//! Pure: reports in, the next state out.

use std::collections::BTreeMap;

use meridian_ids::ZoneId;
use serde::{Deserialize, Serialize};

/// Rounds to a zone below which it counts as not measured.
pub const LEAST_ROUNDS: usize = 3;
/// How much nearer another zone must be: this many milliseconds, and this share of the way.
const CLEARLY_MS: f64 = 15.0;
const CLEARLY_SHARE: f64 = 0.2;
/// How many reports one after the other must say so.
const WINS_TO_MOVE: u8 = 3;
/// Beyond a minute it is no distance any more.
const MOST_MS: f64 = 60_000.0;

/// What is known of one page's distances.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Nearest {
    pub zone: Option<ZoneId>,
    /// The latest of each zone, in milliseconds.
    pub round_trips_ms: BTreeMap<ZoneId, f64>,
    /// Who would take over, and how many reports in a row said so.
    pub challenger: Option<ZoneId>,
    pub wins: u8,
}

impl Nearest {
    /// The state after a report. `eligible` are the zones that policy allows and that have an agent to run something on.
    #[must_use]
    pub fn after(mut self, report: &BTreeMap<ZoneId, Vec<f64>>, eligible: &[ZoneId]) -> Self {
        let measured: BTreeMap<ZoneId, f64> =
            report.iter().filter_map(|(zone, rounds)| Some((*zone, distance(rounds)?))).collect();
        // What was not reached this time has no distance any more: an old one would speak for a zone that is away.
        self.round_trips_ms.retain(|zone, _| !report.contains_key(zone));
        self.round_trips_ms.extend(&measured);
        let best = measured
            .iter()
            .filter(|(zone, _)| eligible.contains(zone))
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(zone, ms)| (*zone, *ms));
        let Some((best, best_ms)) = best else { return self };
        let Some(current) = self.zone.filter(|zone| eligible.contains(zone)) else {
            return Self { zone: Some(best), challenger: None, wins: 0, ..self };
        };
        let clearly = match measured.get(&current) {
            Some(ms) => best_ms < ms - CLEARLY_MS.max(ms * CLEARLY_SHARE),
            // It was asked and did not answer. Where it was not asked, nothing is known.
            None => report.contains_key(&current),
        };
        if best == current || !clearly {
            return Self { challenger: None, wins: 0, ..self };
        }
        let wins = if self.challenger == Some(best) { self.wins + 1 } else { 1 };
        if wins >= WINS_TO_MOVE {
            Self { zone: Some(best), challenger: None, wins: 0, ..self }
        } else {
            Self { challenger: Some(best), wins, ..self }
        }
    }
}

/// The way without what queues and a busy page add: the shortest round. None where too few came back.
fn distance(rounds: &[f64]) -> Option<f64> {
    let sound = rounds.iter().copied().filter(|ms| (0.0..=MOST_MS).contains(ms));
    if sound.clone().count() < LEAST_ROUNDS { None } else { sound.min_by(f64::total_cmp) }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        zones: [ZoneId; 2],
        state: Nearest,
    }

    impl World {
        fn new() -> Self {
            Self { zones: [ZoneId::generate(), ZoneId::generate()], state: Nearest::default() }
        }

        fn report(&mut self, first: &[f64], second: &[f64]) -> Option<usize> {
            let report = BTreeMap::from([(self.zones[0], first.to_vec()), (self.zones[1], second.to_vec())]);
            self.state = std::mem::take(&mut self.state).after(&report, &self.zones);
            self.zones.iter().position(|zone| Some(*zone) == self.state.zone)
        }
    }

    #[test]
    fn the_first_report_decides_at_once() {
        assert_eq!(World::new().report(&[30.0, 31.0, 80.0], &[90.0, 20.0, 91.0]), Some(1));
    }

    #[test]
    fn one_flapping_fetch_moves_nobody_and_a_lasting_change_does() {
        let mut world = World::new();
        let (near, far) = ([10.0, 11.0, 12.0], [120.0, 121.0, 122.0]);
        assert_eq!(world.report(&near, &far), Some(0));
        assert_eq!(world.report(&far, &near), Some(0));
        assert_eq!(world.report(&near, &far), Some(0));
        assert_eq!(world.report(&far, &near), Some(0));
        assert_eq!(world.report(&far, &near), Some(0));
        assert_eq!(world.report(&far, &near), Some(1));
    }

    #[test]
    fn a_little_nearer_is_not_nearer() {
        let mut world = World::new();
        world.report(&[40.0; 3], &[60.0; 3]);
        for _ in 0..10 {
            assert_eq!(world.report(&[40.0; 3], &[30.0; 3]), Some(0));
        }
    }

    #[test]
    fn a_zone_that_answers_no_more_is_left_and_has_no_distance() {
        let mut world = World::new();
        world.report(&[10.0; 3], &[50.0; 3]);
        world.report(&[], &[50.0; 3]);
        assert_eq!(world.report(&[f64::NAN, -1.0, 1e9], &[50.0; 3]), Some(0));
        assert_eq!(world.report(&[], &[50.0; 3]), Some(1));
        assert!(!world.state.round_trips_ms.contains_key(&world.zones[0]));
    }

    #[test]
    fn a_zone_that_may_not_be_used_is_nobodys_nearest() {
        let mut world = World::new();
        world.report(&[10.0; 3], &[50.0; 3]);
        let report = BTreeMap::from([(world.zones[1], vec![50.0; 3])]);
        assert_eq!(world.state.after(&report, &world.zones[1..]).zone, Some(world.zones[1]));
    }
}
