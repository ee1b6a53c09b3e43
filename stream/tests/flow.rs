//! Flow control is for latency: over any path, what is on its way stays near two bandwidth-delay products, and yet the path is filled.
//!
//! The path is a queue that empties at a rate, with a delay behind it, as a modem's or a shaper's is; nothing is lost, only late. The viewer
//! acknowledges as docs/integrators/stream.md asks.

use std::{collections::VecDeque, time::Duration};

use meridian_stream::{FLOOR_BYTES, Window};
use proptest::prelude::*;

/// Longest DATA.
const PIECE: u64 = 32 << 10;
/// The viewer acknowledges at least this often, and this long after the last byte.
const ACK_EVERY: u64 = 16 << 10;
const ACK_WITHIN_MS: u64 = 40;
const CEILING: u32 = 64 << 20;

#[derive(Clone, Copy, Debug)]
struct Path {
    bytes_per_ms: u64,
    round_trip_ms: u64,
}

impl Path {
    fn product(self) -> u64 {
        self.bytes_per_ms * self.round_trip_ms
    }

    /// What may be in flight: about two products, or the floor, and what messages that are never measured apart from their acknowledgements add.
    fn bound(self) -> u64 {
        (self.product() * 22 / 10).max(FLOOR_BYTES) + 5 * PIECE
    }
}

/// A sender that always has more, a path, and a viewer.
struct Line {
    path: Path,
    window: Window,
    now_ms: u64,
    /// When the queue has let out all that is in it, in thousandths of a millisecond.
    free_at_us: u64,
    to_viewer: VecDeque<(u64, u64)>,
    to_agent: VecDeque<(u64, u64)>,
    received: u64,
    acknowledged: u64,
    ack_at: Option<u64>,
}

impl Line {
    fn new(path: Path) -> Self {
        Self {
            path,
            window: Window::new(CEILING, Duration::ZERO),
            now_ms: 0,
            free_at_us: 0,
            to_viewer: VecDeque::new(),
            to_agent: VecDeque::new(),
            received: 0,
            acknowledged: 0,
            ack_at: None,
        }
    }

    /// Lets a millisecond go by; the sender may write so much in it.
    fn step(&mut self, mut has: u64) {
        self.now_ms += 1;
        let now = Duration::from_millis(self.now_ms);
        while let Some((_, received)) = self.to_agent.pop_front_if(|(at, _)| *at <= self.now_ms) {
            assert!(self.window.on_acked(received, now));
        }
        while let Some((_, end)) = self.to_viewer.pop_front_if(|(at, _)| *at <= self.now_ms) {
            self.received = end;
            if self.received - self.acknowledged >= ACK_EVERY {
                self.acknowledge();
            } else {
                self.ack_at.get_or_insert(self.now_ms + ACK_WITHIN_MS);
            }
        }
        if self.ack_at.is_some_and(|at| at <= self.now_ms) {
            self.acknowledge();
        }
        while has.min(self.window.room()) > 0 {
            let length = has.min(self.window.room()).min(PIECE);
            has -= length;
            self.window.on_sent(length, now);
            self.free_at_us =
                self.free_at_us.max(self.now_ms * 1000) + length * 1000 / self.path.bytes_per_ms;
            let arrives_at = self.free_at_us.div_ceil(1000) + self.path.round_trip_ms / 2;
            self.to_viewer.push_back((arrives_at, self.window.sent()));
        }
    }

    fn acknowledge(&mut self) {
        self.ack_at = None;
        self.acknowledged = self.received;
        let at = self.now_ms + self.path.round_trip_ms.div_ceil(2);
        self.to_agent.push_back((at, self.received));
    }

    /// Runs with a sender that always has more: how much of the path was used, in percent, and the most that was in flight.
    fn run(&mut self, ms: u64) -> (u64, u64) {
        let (before, mut most) = (self.received, 0);
        for _ in 0..ms {
            self.step(u64::MAX);
            most = most.max(self.window.in_flight());
        }
        ((self.received - before) * 100 / (ms * self.path.bytes_per_ms), most)
    }
}

/// Long enough for the rate to double from the floor as often as it must.
fn warm_up(path: Path) -> u64 {
    1_000 + 12 * (path.round_trip_ms + PIECE / path.bytes_per_ms)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn over_any_path_two_products_are_in_flight_and_the_path_is_filled(
        // From 20 kB/s to 20 MB/s, a neighbour's or the other side of the world.
        bytes_per_ms in prop_oneof![20_u64..200, 200_u64..2_000, 2_000_u64..20_000],
        round_trip_ms in prop_oneof![1_u64..20, 20_u64..400],
    ) {
        let path = Path { bytes_per_ms, round_trip_ms };
        let mut line = Line::new(path);
        let (_, at_first) = line.run(warm_up(path));
        let (used, most) = line.run(25_000);
        prop_assert!(at_first.max(most) <= path.bound(), "{} in flight of {}", at_first.max(most), path.bound());
        prop_assert!(used >= 85, "{used} % of the path");
    }

    #[test]
    fn a_path_that_becomes_another_is_measured_anew(
        bytes_per_ms in 400_u64..8_000,
        round_trip_ms in 40_u64..200,
        // By a fourth of it to four times as much.
        quarters in (1_u64..16, 1_u64..16),
    ) {
        let before = Path { bytes_per_ms, round_trip_ms };
        let after = Path {
            bytes_per_ms: bytes_per_ms * quarters.0 / 4,
            round_trip_ms: round_trip_ms * quarters.1 / 4,
        };
        let mut line = Line::new(before);
        line.run(15_000);
        line.path = after;
        // What was measured counts for ten seconds.
        line.run(25_000);
        let (used, most) = line.run(15_000);
        prop_assert!(most <= 2 * after.bound(), "{most} in flight of {}", after.bound());
        prop_assert!(used >= 80, "{used} % of the path");
    }
}

#[test]
fn at_a_hundred_milliseconds_the_path_is_full_within_two_seconds() {
    for bytes_per_ms in [500, 2_000, 8_000] {
        let mut line = Line::new(Path { bytes_per_ms, round_trip_ms: 100 });
        line.run(2_000);
        let (used, _) = line.run(1_000);
        assert!(used >= 95, "{used} % of {bytes_per_ms} kB/s");
    }
}

#[test]
fn a_sender_that_has_little_waits_for_nothing() {
    // Thirty frames of 4 KiB a second at 200 ms: an eighth of a second's worth is always on its way.
    let mut line = Line::new(Path { bytes_per_ms: 2_000, round_trip_ms: 200 });
    let mut written = 0;
    for ms in 0..10_000_u64 {
        let frame = if ms % 33 == 0 { 4_096 } else { 0 };
        written += frame;
        line.step(frame);
        assert_eq!(line.window.sent(), written, "nothing is held back");
    }
}

#[test]
fn a_path_that_becomes_longer_under_way_is_filled_again() {
    for (before, after) in [(20, 100), (5, 100), (20, 200)] {
        let mut line = Line::new(Path { bytes_per_ms: 8_000, round_trip_ms: before });
        line.run(5_000);
        line.path.round_trip_ms = after;
        line.run(25_000);
        let (used, most) = line.run(5_000);
        assert!(used >= 90, "{used} % of the path, {before} to {after} ms");
        assert!(most <= line.path.bound(), "{most} in flight of {}", line.path.bound());
    }
}

#[test]
fn acknowledgements_that_come_close_together_are_no_faster_path() {
    // A message of 16 KiB takes 42 ms here, and the viewer acknowledges after 40: one acknowledgement follows the other within 4 ms.
    for (bytes_per_ms, round_trip_ms) in [(385, 1), (395, 1), (355, 3)] {
        let path = Path { bytes_per_ms, round_trip_ms };
        let (_, most) = Line::new(path).run(26_000);
        assert!(most <= path.bound(), "{most} in flight of {}", path.bound());
    }
}
