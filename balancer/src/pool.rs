//! The backends of one rule: which are healthy, how busy they are, and in which order to try them. Pure.
//!
//! A backend counts as healthy until a check or a dial fails, and again from the first check or dial that succeeds. Sick backends
//! come last in the order but stay in it: when every check fails, the checks may be what is wrong.

/// The state of one rule's backends, by their place in the configuration.
#[derive(Debug)]
pub(crate) struct Pool {
    backends: Vec<Backend>,
    /// Where the next round begins, so that equally busy backends take turns.
    turn: usize,
}

#[derive(Clone, Debug)]
struct Backend {
    healthy: bool,
    connections: usize,
}

impl Pool {
    pub(crate) fn new(count: usize) -> Self {
        Self { backends: vec![Backend { healthy: true, connections: 0 }; count], turn: 0 }
    }

    /// The backends in the order to be tried: healthy ones first, the least busy of them first, equals in turn.
    pub(crate) fn order(&mut self) -> Vec<usize> {
        let count = self.backends.len();
        let mut order: Vec<usize> = (0..count).map(|step| (self.turn + step) % count).collect();
        self.turn = (self.turn + 1) % count.max(1);
        order.sort_by_key(|&index| (!self.backends[index].healthy, self.backends[index].connections));
        order
    }

    /// Notes what a check or a dial found; true when that is news.
    pub(crate) fn note(&mut self, index: usize, healthy: bool) -> bool {
        std::mem::replace(&mut self.backends[index].healthy, healthy) != healthy
    }

    pub(crate) fn opened(&mut self, index: usize) {
        self.backends[index].connections += 1;
    }

    pub(crate) fn closed(&mut self, index: usize) {
        let backend = &mut self.backends[index];
        backend.connections = backend.connections.saturating_sub(1);
    }

    pub(crate) fn any_healthy(&self) -> bool {
        self.backends.iter().any(|backend| backend.healthy)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equals_take_turns_and_the_least_busy_comes_first() {
        let mut pool = Pool::new(3);
        let firsts: Vec<usize> = (0..4).map(|_| pool.order()[0]).collect();
        assert_eq!(firsts, [0, 1, 2, 0]);
        pool.opened(0);
        pool.opened(1);
        assert!((0..3).all(|_| pool.order()[0] == 2));
        pool.closed(1);
        pool.opened(2);
        assert!((0..3).all(|_| pool.order()[0] == 1));
    }

    #[test]
    fn sick_backends_come_last_but_stay() {
        let mut pool = Pool::new(2);
        assert!(pool.note(0, false));
        assert!(!pool.note(0, false), "no news");
        assert!((0..3).all(|_| pool.order() == [1, 0]));
        pool.note(1, false);
        assert!(!pool.any_healthy());
        assert_eq!(pool.order().len(), 2);
    }

    proptest! {
        #[test]
        fn every_backend_is_in_the_order_once_and_no_sick_one_before_a_healthy_one(
            count in 1_usize..9,
            events in prop::collection::vec((0_usize..9, 0_u8..4), 0..60),
        ) {
            let mut pool = Pool::new(count);
            for (index, event) in events {
                let index = index % count;
                match event {
                    0 => pool.opened(index),
                    1 => pool.closed(index),
                    other => { pool.note(index, other == 2); }
                }
                let order = pool.order();
                let mut sorted = order.clone();
                sorted.sort_unstable();
                prop_assert_eq!(sorted, (0..count).collect::<Vec<_>>());
                prop_assert!(order.is_sorted_by_key(|&index| !pool.backends[index].healthy));
            }
        }
    }
}
