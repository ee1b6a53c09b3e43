//! From what was seen to figures, and to whether the scenario's promise held. Pure.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    report::{Figures, Stall},
    scenarios::Promise,
    viewer::Journal,
};

/// What was seen from the fault on. Times are since the lab began.
pub(crate) struct Seen {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
    pub(crate) streams: Vec<SeenStream>,
    /// Those of real browsers, whose pages were asked too.
    pub(crate) browsers: Vec<SeenStream>,
    /// Streams of the other zone, which nothing may touch.
    pub(crate) bystanders: Vec<SeenStream>,
    /// What the control plane says of sessions that do not run.
    pub(crate) not_running: Vec<String>,
    pub(crate) requests_failed: usize,
    /// How long after the fault a request failed last.
    pub(crate) last_failure: Option<Duration>,
    pub(crate) tickets: u64,
    pub(crate) cpu: Duration,
    /// The scenario's own figures.
    pub(crate) notes: BTreeMap<&'static str, f64>,
    /// What of the scenario's own expectations did not hold.
    pub(crate) broken: Vec<String>,
    /// Warnings and errors of Meridian's processes, for a person who looks into what did not hold.
    pub(crate) troubles: Vec<String>,
}

pub(crate) struct SeenStream {
    pub(crate) session: String,
    /// It is attached at the end and showed a picture just now.
    pub(crate) shows: bool,
    pub(crate) journal: Journal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Untouched,
    Resumed,
    Restarted,
    /// Its stream is not back, or its bytes were wrong.
    Lost,
}

impl Seen {
    fn fate(&self, stream: &SeenStream) -> Fate {
        let (resumed, restarted) = stream.journal.attaches_after(self.from);
        match (stream.shows && stream.journal.failure.is_none(), resumed, restarted) {
            (false, ..) => Fate::Lost,
            (true, _, 1..) => Fate::Restarted,
            (true, 1.., 0) => Fate::Resumed,
            (true, 0, 0) => Fate::Untouched,
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        let fates: Vec<_> = self.streams.iter().map(|stream| (self.fate(stream), stream)).collect();
        let count = |wanted: Fate| fates.iter().filter(|(fate, _)| *fate == wanted).count();
        let stalls = |touched: bool| -> Vec<u64> {
            let of = fates.iter().filter(|(fate, _)| (*fate != Fate::Untouched) == touched);
            of.map(|(_, stream)| whole_ms(stream.journal.stall(self.from, self.until))).collect()
        };
        let (touched, untouched) = (stalls(true), stalls(false));
        let untouched_stall_ms = untouched.iter().copied().max().unwrap_or_default();
        let noticed = fates.iter().filter_map(|(_, stream)| stream.journal.noticed_after(self.from)).max();
        let attached = fates.iter().filter_map(|(_, stream)| stream.journal.attached_after(self.from)).max();
        let missing = self.not_running.len();
        let lost_pages = self.browsers.iter().filter(|page| self.fate(page) == Fate::Lost).count();
        Figures {
            // A session whose stream is gone and that does not run either is lost once.
            sessions_lost: (count(Fate::Lost) + lost_pages).max(missing),
            streams_resumed: count(Fate::Resumed),
            streams_restarted: count(Fate::Restarted),
            streams_untouched: count(Fate::Untouched),
            stall_ms: Stall::of(if touched.is_empty() { untouched } else { touched }),
            untouched_stall_ms,
            others_touched: self
                .bystanders
                .iter()
                .filter(|other| self.fate(other) != Fate::Untouched)
                .count(),
            requests_failed: self.requests_failed,
            noticed_ms: noticed.map(whole_ms),
            recovered_ms: attached.or(self.last_failure).map(whole_ms),
            tickets_asked: self.tickets,
            cpu_s: (self.cpu.as_secs_f64() * 100.0).round() / 100.0,
            own: [self.notes.clone(), self.of_browsers()].into_iter().flatten().collect(),
        }
    }

    /// How real browsers fared, where there were any.
    fn of_browsers(&self) -> BTreeMap<&'static str, f64> {
        if self.browsers.is_empty() {
            return BTreeMap::new();
        }
        let fates: Vec<_> = self.browsers.iter().map(|page| self.fate(page)).collect();
        let count = |wanted: Fate| fates.iter().filter(|fate| **fate == wanted).count() as f64;
        let stalls = self.browsers.iter().map(|page| whole_ms(page.journal.stall(self.from, self.until)));
        BTreeMap::from([
            ("browsers_resumed", count(Fate::Resumed)),
            ("browsers_restarted", count(Fate::Restarted)),
            ("browsers_untouched", count(Fate::Untouched)),
            ("browsers_lost", count(Fate::Lost)),
            ("browsers_stall_max_ms", stalls.max().unwrap_or_default() as f64),
        ])
    }

    /// What befell the stream that stood still longest, of those whose path broke.
    pub(crate) fn slowest(&self) -> Vec<String> {
        let broke = self.streams.iter().filter(|stream| self.fate(stream) != Fate::Untouched);
        let slowest = broke.max_by_key(|stream| stream.journal.stall(self.from, self.until));
        slowest.map(|stream| stream.journal.story_after(self.from)).unwrap_or_default()
    }

    /// What of the promise did not hold, in words; nothing when all did.
    pub(crate) fn broken(&self, promise: Promise) -> Vec<String> {
        let mut broken = [self.broken.clone(), self.not_running.clone()].concat();
        for other in self.bystanders.iter().filter(|other| self.fate(other) != Fate::Untouched) {
            let word = other.journal.last_word();
            broken.push(format!("session {} of the other zone was touched: {word}", other.session));
        }
        let pages = self.browsers.iter().map(|page| (page, "a browser's page of session"));
        for (stream, what) in self.streams.iter().map(|stream| (stream, "session")).chain(pages) {
            let journal = &stream.journal;
            let why = match (self.fate(stream), promise) {
                (Fate::Lost, _) => format!("its stream is not back: {}", journal.last_word()),
                (Fate::Restarted, Promise::Resumed | Promise::Untouched) => "its stream began anew".into(),
                (Fate::Resumed, Promise::Untouched) => "its stream was cut".into(),
                (Fate::Restarted, Promise::Back)
                | (Fate::Resumed, Promise::Resumed | Promise::Back)
                | (Fate::Untouched, _) => continue,
            };
            broken.push(format!("{what} {}: {why}", stream.session));
        }
        let hit = self.streams.iter().any(|stream| self.fate(stream) != Fate::Untouched);
        if promise != Promise::Untouched && !hit {
            broken.push("the fault touched no stream, so that nothing was shown".into());
        }
        broken
    }
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use meridian_stream::Verdict;

    use super::*;

    const FROM: Duration = Duration::from_secs(10);
    const UNTIL: Duration = Duration::from_secs(20);

    /// A stream that runs to the end, and met these verdicts half a second after the fault.
    fn stream(verdicts: &[Verdict]) -> SeenStream {
        let mut journal = Journal::default();
        journal.attached(Duration::from_secs(1), Verdict::New);
        for at in [9990, 10_500, 19_999] {
            journal.arrived(Duration::from_millis(at));
        }
        for verdict in verdicts {
            journal.broke(FROM + Duration::from_millis(100));
            journal.attached(FROM + Duration::from_millis(500), *verdict);
        }
        SeenStream { session: "s".into(), shows: true, journal }
    }

    fn seen(streams: Vec<SeenStream>) -> Seen {
        Seen {
            from: FROM,
            until: UNTIL,
            streams,
            browsers: Vec::new(),
            bystanders: Vec::new(),
            not_running: Vec::new(),
            requests_failed: 0,
            last_failure: None,
            tickets: 0,
            cpu: Duration::ZERO,
            notes: BTreeMap::new(),
            broken: Vec::new(),
            troubles: Vec::new(),
        }
    }

    #[test]
    fn streams_are_counted_by_their_fate() {
        let lost = SeenStream { shows: false, ..stream(&[]) };
        let seen = seen(vec![
            stream(&[]),
            stream(&[Verdict::Resumed]),
            stream(&[Verdict::Resumed, Verdict::Restarted]),
            lost,
        ]);
        let figures = seen.figures();
        let counts = (figures.streams_untouched, figures.streams_resumed, figures.streams_restarted);
        assert_eq!((counts, figures.sessions_lost), ((1, 1, 1), 1));
        assert_eq!((figures.noticed_ms, figures.recovered_ms), (Some(100), Some(500)));
        assert_eq!(seen.broken(Promise::Resumed).len(), 2);
        assert_eq!(seen.broken(Promise::Untouched).len(), 3);
    }

    #[test]
    fn a_fault_that_touches_nothing_shows_nothing() {
        assert_eq!(seen(vec![stream(&[])]).broken(Promise::Resumed).len(), 1);
        assert!(seen(vec![stream(&[])]).broken(Promise::Untouched).is_empty());
        assert!(seen(vec![stream(&[Verdict::Resumed])]).broken(Promise::Resumed).is_empty());
    }

    #[test]
    fn nothing_may_touch_the_other_zone() {
        let mut seen = seen(vec![stream(&[Verdict::Resumed])]);
        seen.bystanders = vec![stream(&[]), stream(&[Verdict::Resumed])];
        assert_eq!(seen.figures().others_touched, 1);
        assert_eq!(seen.broken(Promise::Resumed).len(), 1);
    }

    #[test]
    fn a_browsers_page_must_hold_what_viewers_must() {
        let mut seen = seen(vec![stream(&[Verdict::Resumed])]);
        let shows_an_error = SeenStream { shows: false, ..stream(&[Verdict::Resumed]) };
        seen.browsers = vec![stream(&[Verdict::Resumed]), stream(&[Verdict::Restarted]), shows_an_error];
        let figures = seen.figures();
        assert_eq!((figures.streams_resumed, figures.sessions_lost), (1, 1));
        let own = |name: &str| figures.own.get(name).copied();
        assert_eq!((own("browsers_resumed"), own("browsers_lost")), (Some(1.0), Some(1.0)));
        assert_eq!(own("browsers_stall_max_ms"), Some(9499.0));
        assert_eq!(seen.broken(Promise::Resumed).len(), 2);
    }

    #[test]
    fn wrong_bytes_lose_a_session_though_its_stream_goes_on() {
        let mut wrong = stream(&[Verdict::Resumed]);
        wrong.journal.failure = Some("DATA with a gap before it".into());
        let seen = seen(vec![wrong]);
        assert_eq!(seen.figures().sessions_lost, 1);
        assert!(seen.broken(Promise::Resumed)[0].contains("gap"));
    }
}
