//! Chance that a seed repeats: what a scenario picks, and the jitter of its viewers.

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to spread viewers.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Another one, which repeats with this one.
    pub(crate) fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// From 0 up to, and without, 1.
    pub(crate) fn part(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
    }

    /// One of `count` (at least 1).
    pub(crate) fn index(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count.max(1) as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_parts_stay_below_one() {
        let (mut one, mut other) = (Chance::new(7), Chance::new(7));
        for _ in 0..1000 {
            let part = one.part();
            assert!((0.0..1.0).contains(&part));
            assert_eq!(part.to_bits(), other.part().to_bits());
            assert!(one.index(3) < 3 && other.index(3) < 3);
        }
    }
}
