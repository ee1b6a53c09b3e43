//! How many bytes may be on their way to the viewer: about two bandwidth-delay products.
//!
//! Flow control here is for latency, not memory: what is in flight beyond the path's own capacity only waits in buffers, and every
//! key pressed meanwhile waits behind it. The rate is the best that acknowledgements showed lately; the delay is the shortest round trip of this
//! path, because a later one may only have measured our own bytes waiting. A path that can carry more shows it: with two products in
//! flight the rate measured doubles each round trip until the path is full. Since a path may become a longer one under way, the shortest round trip
//! counts for ten seconds, then it is measured again: with half a product in flight, so that nothing of ours waits before what is measured.
//! Measured with two in flight, it would take our own waiting bytes for distance, and from one measurement to the next let more of them wait. Another path is another measurement: [`Window::resume`] forgets
//! what the last one showed, and nothing counts as in flight on it until it is sent again.
//!
//! Invariant: `acked <= sent <= highest`.

use std::{collections::VecDeque, time::Duration};

/// Never less than this in flight.
pub const FLOOR_BYTES: u64 = 64 << 10;
/// How long a measured rate counts, in slices within which the best is kept.
const SLICES: usize = 20;
const SLICE: Duration = Duration::from_millis(500);
const LATEST_SLICES: usize = 2;
/// How long a shortest round trip counts.
const ROUND_TRIP_FOR: Duration = Duration::from_secs(10);
/// In flight at least while it is measured again.
const MEASURED_BYTES: u64 = 16 << 10;
/// Sends that are remembered until they are acknowledged; further ones are measured by those.
const MAX_MARKS: usize = 128;

/// The window of a stream, measured anew on each of its paths. Times are since any fixed moment.
#[derive(Debug)]
pub struct Window {
    ceiling: u64,
    /// Up to where bytes were sent on this path.
    sent: u64,
    acked: u64,
    /// Up to where bytes were sent on any path.
    highest: u64,
    /// When the latest acknowledgement came.
    acked_at: Duration,
    /// When the latest bytes that are acknowledged had left.
    acked_sent_at: Duration,
    marks: VecDeque<Mark>,
    rates: VecDeque<Rate>,
    round_trip: Option<Duration>,
    /// When the shortest round trip was measured.
    round_trip_at: Duration,
    /// Since when it is measured again.
    measuring: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    end: u64,
    sent_at: Duration,
    /// What was acknowledged, and when, as these bytes left.
    acked_then: u64,
    acked_then_at: Duration,
    acked_then_sent_at: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    slice: u128,
    bytes_per_s: u64,
}

impl Window {
    /// A window of at most `ceiling` bytes, at offset 0.
    #[must_use]
    pub fn new(ceiling: u32, now: Duration) -> Self {
        Self {
            ceiling: u64::from(ceiling).max(FLOOR_BYTES),
            sent: 0,
            acked: 0,
            highest: 0,
            acked_at: now,
            acked_sent_at: now,
            marks: VecDeque::new(),
            rates: VecDeque::new(),
            round_trip: None,
            round_trip_at: now,
            measuring: None,
        }
    }

    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked
    }

    /// Up to where bytes were ever sent.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Bytes that are sent on this path and not acknowledged.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.sent - self.acked
    }

    /// Bytes that may be sent now.
    #[must_use]
    pub fn room(&self) -> u64 {
        self.limit().saturating_sub(self.in_flight())
    }

    /// The shortest round trip, if any was measured.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Two bandwidth-delay products, between floor and ceiling; half of one while the round trip is measured again.
    #[must_use]
    pub fn limit(&self) -> u64 {
        let (slices, part, least) = match self.measuring {
            // What the path carried a while ago may be far more than it does now, and would wait.
            Some(_) => (LATEST_SLICES, 1, MEASURED_BYTES),
            None => (SLICES, 4, FLOOR_BYTES),
        };
        let rate = self.rates.iter().rev().take(slices).map(|rate| rate.bytes_per_s).max().unwrap_or(0);
        let delay = self.round_trip.unwrap_or_default();
        let half = u128::from(rate) * delay.as_micros() / 2_000_000;
        u64::try_from(half * part).unwrap_or(u64::MAX).clamp(least, self.ceiling)
    }

    pub fn on_sent(&mut self, bytes: u64, now: Duration) {
        if self.in_flight() == 0 {
            // Nothing was on its way: the pause before this says nothing about the path.
            (self.acked_at, self.acked_sent_at) = (now, now);
        }
        self.sent += bytes;
        self.highest = self.highest.max(self.sent);
        if self.marks.len() < MAX_MARKS {
            self.marks.push_back(Mark {
                end: self.sent,
                sent_at: now,
                acked_then: self.acked,
                acked_then_at: self.acked_at,
                acked_then_sent_at: self.acked_sent_at,
            });
        }
    }

    /// Goes on over another path, whose viewer has `received`: all after that is sent again. What was acknowledged stays so.
    pub fn resume(&mut self, received: u64, now: Duration) {
        self.acked = self.acked.max(received.min(self.highest));
        self.sent = self.acked;
        (self.acked_at, self.acked_sent_at) = (now, now);
        self.marks.clear();
        self.rates.clear();
        self.round_trip = None;
        self.measuring = None;
    }

    /// Takes an acknowledgement; false when it acknowledges what was never sent.
    pub fn on_acked(&mut self, received: u64, now: Duration) -> bool {
        if received > self.highest {
            return false;
        }
        if received > self.sent {
            // The viewer has more of the last path's bytes than it said when it signed its attach: they need no sending again, and say
            // nothing about this path.
            self.resume(received, now);
            return true;
        }
        if received <= self.acked {
            return true;
        }
        self.acked = received;
        self.acked_at = now;
        let mut newest = None;
        while self.marks.front().is_some_and(|mark| mark.end <= received) {
            newest = self.marks.pop_front();
        }
        if let Some(mark) = newest {
            self.acked_sent_at = mark.sent_at;
            self.measure(mark, now);
        }
        true
    }

    fn measure(&mut self, mark: Mark, now: Duration) {
        // Two acknowledgements may come close to each other for bytes that took long: a path carries nothing faster than it was sent, either.
        let over = now
            .saturating_sub(mark.acked_then_at)
            .max(mark.sent_at.saturating_sub(mark.acked_then_sent_at))
            .max(Duration::from_micros(100));
        let bytes = u128::from(self.acked - mark.acked_then);
        let bytes_per_s = u64::try_from(bytes * 1_000_000 / over.as_micros()).unwrap_or(u64::MAX);
        self.measure_round_trip(mark.sent_at, now);
        let slice = now.as_millis() / SLICE.as_millis();
        match self.rates.back_mut().filter(|rate| rate.slice == slice) {
            Some(rate) => rate.bytes_per_s = rate.bytes_per_s.max(bytes_per_s),
            None => self.rates.push_back(Rate { slice, bytes_per_s }),
        }
        while self.rates.len() > SLICES {
            self.rates.pop_front();
        }
    }

    fn measure_round_trip(&mut self, sent_at: Duration, now: Duration) {
        let round_trip = now.saturating_sub(sent_at);
        let is_shortest = self.round_trip.is_none_or(|known| round_trip <= known);
        // What was sent since then had little before it.
        let is_measured = self.measuring.is_some_and(|since| sent_at > since);
        if is_shortest || is_measured {
            // What came out much shorter than was thought may still have waited: it says by how much less to try again.
            let is_far_shorter = self.round_trip.is_some_and(|known| round_trip * 8 < known * 7);
            self.measuring = (is_measured && is_far_shorter).then_some(now);
            (self.round_trip, self.round_trip_at) = (Some(round_trip), now);
        } else if now.saturating_sub(self.round_trip_at) >= ROUND_TRIP_FOR {
            self.measuring.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Sends as much as the window allows over a path of `rate` bytes a millisecond and `delay`; the window at the end.
    fn run(ceiling: u32, rate: u64, delay: u64, length: u64) -> Window {
        let mut window = Window::new(ceiling, ms(0));
        let mut on_path: VecDeque<(u64, u64)> = VecDeque::new();
        let mut free_at = 0;
        for now in 0..length {
            while on_path.front().is_some_and(|(at, _)| *at <= now) {
                let (_, end) = on_path.pop_front().unwrap();
                assert!(window.on_acked(end, ms(now)));
            }
            while window.room() >= 16_384 {
                window.on_sent(16_384, ms(now));
                free_at = free_at.max(now) + 16_384 / rate;
                on_path.push_back((free_at + delay, window.sent()));
            }
        }
        window
    }

    #[test]
    fn a_long_fat_path_is_filled_and_a_short_one_stays_at_the_floor() {
        // 8 MB/s at 100 ms: a product of 800 kB.
        let long = run(16 << 20, 8_192, 100, 5_000);
        assert!((800_000..4_000_000).contains(&long.limit()), "{}", long.limit());
        let short = run(16 << 20, 8_192, 2, 2_000);
        assert!(short.limit() < 200_000, "{}", short.limit());
        assert_eq!(run(300_000, 8_192, 100, 5_000).limit(), 300_000);
    }

    #[test]
    fn another_path_is_measured_anew_and_nothing_is_in_flight_on_it() {
        let mut window = run(16 << 20, 8_192, 100, 5_000);
        let (sent, acked) = (window.sent(), window.acked());
        assert!(sent > acked);
        window.resume(acked + 10, ms(6_000));
        assert_eq!((window.sent(), window.in_flight(), window.highest()), (acked + 10, 0, sent));
        assert_eq!((window.limit(), window.round_trip()), (FLOOR_BYTES, None));
        window.on_sent(1000, ms(6_000));
        assert!(window.on_acked(acked + 1010, ms(6_020)));
        assert_eq!(window.round_trip(), Some(ms(20)));
    }

    #[test]
    fn a_resume_below_what_was_acknowledged_goes_on_there() {
        let mut window = Window::new(1 << 20, ms(0));
        window.on_sent(100, ms(0));
        assert!(window.on_acked(60, ms(1)));
        window.resume(40, ms(2));
        assert_eq!((window.acked(), window.sent()), (60, 60));
    }

    #[test]
    fn what_the_last_path_brought_after_the_attach_was_signed_is_passed_over() {
        let mut window = Window::new(1 << 20, ms(0));
        window.on_sent(1000, ms(0));
        window.resume(0, ms(5));
        window.on_sent(100, ms(5));
        assert!(window.on_acked(900, ms(6)));
        assert_eq!((window.acked(), window.sent(), window.round_trip()), (900, 900, None));
        assert!(!window.on_acked(1001, ms(7)));
    }

    #[test]
    fn an_acknowledgement_of_the_future_is_refused_and_an_old_one_changes_nothing() {
        let mut window = Window::new(1 << 20, ms(0));
        window.on_sent(100, ms(1));
        assert!(!window.on_acked(101, ms(2)));
        assert!(window.on_acked(100, ms(2)));
        assert!(window.on_acked(50, ms(3)));
        assert_eq!(window.in_flight(), 0);
    }
}
