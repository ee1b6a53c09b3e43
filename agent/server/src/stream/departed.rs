//! Those who looked on until a moment ago. A page that is loaded again leaves before it comes back: until then what was allowed is said to go on, so that
//! nobody is asked anew. Whoever ends their looking on says so to the control plane, and is not waited for.

use std::{collections::HashMap, time::Duration};

use meridian_ids::WatchId;
use tokio::time::Instant;

/// How long somebody's page may take to come back.
pub(super) const COMES_BACK_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Departed(HashMap<WatchId, Instant>);

impl Departed {
    /// A path of theirs is no more. Those whose time is over are forgotten here, so there are never more than left within that time.
    pub(super) fn note(&mut self, watch: WatchId, now: Instant) {
        self.0.retain(|_, left| now < *left + COMES_BACK_WITHIN);
        self.0.insert(watch, now);
    }

    /// Those who may be on their way back.
    pub(super) fn expected(&self, now: Instant) -> impl Iterator<Item = WatchId> {
        self.0.iter().filter(move |(_, left)| now < **left + COMES_BACK_WITHIN).map(|(watch, _)| *watch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_left_is_expected_back_for_a_while_and_then_forgotten() {
        let (one, two) = (WatchId::generate(), WatchId::generate());
        let (mut departed, start) = (Departed::default(), Instant::now());
        departed.note(one, start);
        assert_eq!(departed.expected(start).collect::<Vec<_>>(), [one]);
        let later = start + COMES_BACK_WITHIN;
        assert_eq!(departed.expected(later).count(), 0);
        departed.note(two, later);
        assert_eq!(departed.0.len(), 1, "nothing is kept of those whose time is over");
        departed.note(two, later + COMES_BACK_WITHIN / 2);
        let again = later + COMES_BACK_WITHIN;
        assert_eq!(departed.expected(again).collect::<Vec<_>>(), [two], "the last path counts");
    }
}
