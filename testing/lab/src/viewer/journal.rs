//! What happened to one viewer, and when. Times are since the lab began.

use std::time::Duration;

use meridian_stream::Verdict;

/// Shorter pauses between two bytes are not told apart from none.
const SHORTEST: Duration = Duration::from_millis(5);
/// Further parts of the story take the place of the last.
const MAX_STORY: usize = 40;
/// More than any scenario makes; later ones are only kept when they are longer than all before.
const MAX_PAUSES: usize = 50_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    attaches: Vec<(Duration, Verdict)>,
    /// When the attached path was found broken or looked dead.
    broken: Vec<Duration>,
    pauses: Vec<(Duration, Duration)>,
    longest: Duration,
    last_byte: Option<Duration>,
    pub(crate) tickets: u64,
    /// Why this stream will not come back; in the lab always a finding.
    pub(crate) failure: Option<String>,
    /// What befell its paths, the first of them and the latest.
    story: Vec<(Duration, String)>,
}

impl Journal {
    pub(crate) fn tell(&mut self, at: Duration, what: impl Into<String>) {
        self.story.truncate(MAX_STORY - 1);
        self.story.push((at, what.into()));
    }

    /// What befell its paths after `at`, in order.
    pub(crate) fn story_after(&self, at: Duration) -> Vec<String> {
        let after = self.story.iter().filter(|(when, _)| *when > at);
        after.map(|(when, what)| format!("+{:.3} s {what}", (*when - at).as_secs_f64())).collect()
    }

    /// Why it does not come back, or what befell it last.
    pub(crate) fn last_word(&self) -> String {
        let last = self.story.last().map(|(_, what)| what.clone());
        self.failure.clone().or(last).unwrap_or_default()
    }

    pub(crate) fn attached(&mut self, at: Duration, verdict: Verdict) {
        self.tell(at, format!("{verdict:?}").to_uppercase());
        self.attaches.push((at, verdict));
    }

    pub(crate) fn broke(&mut self, at: Duration) {
        self.broken.push(at);
    }

    /// Bytes of the counted stream arrived.
    pub(crate) fn arrived(&mut self, at: Duration) {
        if let Some(before) = self.last_byte.replace(at) {
            let pause = at.saturating_sub(before);
            if pause >= SHORTEST && (self.pauses.len() < MAX_PAUSES || pause > self.longest) {
                self.pauses.push((before, at));
                self.longest = self.longest.max(pause);
            }
        }
    }

    /// How often the stream was attached after `at` with each verdict: resumed, and begun anew.
    pub(crate) fn attaches_after(&self, at: Duration) -> (usize, usize) {
        let after = self.attaches.iter().filter(|(when, _)| *when > at);
        let resumed = after.clone().filter(|(_, verdict)| *verdict == Verdict::Resumed).count();
        (resumed, after.count() - resumed)
    }

    /// How long after `at` the stream was attached last.
    pub(crate) fn attached_after(&self, at: Duration) -> Option<Duration> {
        self.attaches.last().filter(|(when, _)| *when > at).map(|(when, _)| *when - at)
    }

    /// The first that the viewer noticed after `at`.
    pub(crate) fn noticed_after(&self, at: Duration) -> Option<Duration> {
        self.broken.iter().find(|when| **when > at).map(|when| *when - at)
    }

    /// The longest time without a byte that ends after `from`, and what still lasts at `until`.
    pub(crate) fn stall(&self, from: Duration, until: Duration) -> Duration {
        let around = self.pauses.iter().filter(|(begin, end)| *end > from && *begin < until);
        let pauses = around.map(|(begin, end)| *end - *begin);
        let lasting = until.saturating_sub(self.last_byte.unwrap_or_default());
        pauses.chain([lasting]).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_stall_is_the_longest_pause_around_the_fault() {
        let mut journal = Journal::default();
        for at in [0, 300, 310, 360, 900, 910] {
            journal.arrived(ms(at));
        }
        assert_eq!(journal.stall(ms(400), ms(920)), ms(540));
        assert_eq!(journal.stall(ms(305), ms(350)), ms(50));
        assert_eq!(journal.stall(ms(901), ms(3000)), ms(2090));
    }

    #[test]
    fn what_was_before_the_fault_does_not_count() {
        let mut journal = Journal::default();
        journal.attached(ms(1), Verdict::New);
        journal.broke(ms(20));
        journal.broke(ms(31));
        journal.attached(ms(40), Verdict::Resumed);
        assert_eq!(journal.attaches_after(ms(10)), (1, 0));
        assert_eq!(journal.attaches_after(ms(0)), (1, 1));
        assert_eq!(journal.noticed_after(ms(30)), Some(ms(1)));
        assert_eq!(journal.noticed_after(ms(31)), None);
    }
}
