//! In which order the backends of a rule are tried for one client. Pure.
//!
//! Those that are in come first, by the rule's choice. Those that are out stay at the end, as a last resort; when all are out,
//! they are chosen from as if all were in: then the checks may be what is wrong. One that drains is never tried.

use std::net::IpAddr;

use meridian_settings::Choice;
use siphasher::sip::SipHasher13;

/// What the choice knows of one backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) is_in: bool,
    pub(crate) drains: bool,
    pub(crate) connections: usize,
    /// Above 0 and at most 1: less while it has just come back.
    pub(crate) share: f64,
    /// [`backend_key`] of its address.
    pub(crate) key: u64,
}

/// The backends by their place among the candidates, best first. `turn` rises by one with each call.
pub(crate) fn order(candidates: &[Candidate], choice: Choice, turn: usize, client: IpAddr) -> Vec<usize> {
    let eligible = |index: &usize| !candidates[*index].drains;
    let (mut first, mut last): (Vec<usize>, Vec<usize>) =
        (0..candidates.len()).filter(eligible).partition(|&index| candidates[index].is_in);
    if first.is_empty() {
        std::mem::swap(&mut first, &mut last);
    }
    let count = first.len().max(1);
    first.rotate_left(turn % count);
    match choice {
        // The sorts are stable, so equals stay in their turn.
        Choice::LeastConnections => first.sort_by(|&one, &other| {
            let load = |index: usize| (candidates[index].connections + 1) as f64 / candidates[index].share;
            load(one).total_cmp(&load(other))
        }),
        Choice::RoundRobin => {
            let round = turn / count;
            first.sort_by_key(|&index| !takes_its_turn(round, candidates[index].share));
        }
        Choice::SourceHash => {
            let client = client_key(client);
            first.sort_by_key(|&index| std::cmp::Reverse(pair_hash(client, candidates[index].key)));
        }
    }
    last.sort_by_key(|&index| candidates[index].connections);
    first.append(&mut last);
    first
}

/// Whether a backend with this share is served in this round: in one of ten with a share of a tenth.
fn takes_its_turn(round: usize, share: f64) -> bool {
    let served = |rounds: usize| (rounds as f64 * share).floor();
    served(round + 1) > served(round)
}

/// A number for a backend's address, the same in every balancer.
pub(crate) fn backend_key(address: &str) -> u64 {
    SipHasher13::new().hash(address.as_bytes())
}

/// A number for a client. Of IPv6 the network counts: a host changes its address in it as it likes.
fn client_key(client: IpAddr) -> u64 {
    match client.to_canonical() {
        IpAddr::V4(address) => SipHasher13::new().hash(&address.octets()),
        IpAddr::V6(address) => SipHasher13::new().hash(&address.octets()[..8]),
    }
}

/// Rendezvous hashing: each client ranks the backends in an order of its own, so one that goes away moves only its own clients.
fn pair_hash(client: u64, backend: u64) -> u64 {
    SipHasher13::new_with_keys(client, backend).hash(b"pair")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn candidates(connections: &[usize]) -> Vec<Candidate> {
        let one = |(index, &connections): (usize, &usize)| Candidate {
            is_in: true,
            drains: false,
            connections,
            share: 1.0,
            key: backend_key(&format!("10.0.0.{index}:1")),
        };
        connections.iter().enumerate().map(one).collect()
    }

    fn firsts(all: &[Candidate], choice: Choice, turns: usize) -> Vec<usize> {
        (0..turns).map(|turn| order(all, choice, turn, CLIENT)[0]).collect()
    }

    #[test]
    fn equals_take_turns_and_the_least_busy_comes_first() {
        assert_eq!(firsts(&candidates(&[0, 0, 0]), Choice::LeastConnections, 4), [0, 1, 2, 0]);
        assert_eq!(firsts(&candidates(&[1, 1, 0]), Choice::LeastConnections, 3), [2, 2, 2]);
        assert_eq!(firsts(&candidates(&[9, 0, 5]), Choice::RoundRobin, 4), [0, 1, 2, 0]);
    }

    #[test]
    fn a_dead_backend_does_not_double_its_neighbours_turns() {
        let mut all = candidates(&[0, 0, 0]);
        all[1].is_in = false;
        assert_eq!(firsts(&all, Choice::RoundRobin, 4), [0, 2, 0, 2]);
        assert_eq!(order(&all, Choice::RoundRobin, 0, CLIENT), [0, 2, 1], "but it stays the last resort");
    }

    #[test]
    fn a_backend_that_came_back_gets_its_share_slowly() {
        let mut all = candidates(&[4, 0]);
        all[1].share = 0.1;
        assert_eq!(firsts(&all, Choice::LeastConnections, 2), [0, 0]);
        all[1].share = 0.5;
        assert_eq!(firsts(&all, Choice::LeastConnections, 2), [1, 1]);
        all[1].share = 0.1;
        let rounds = firsts(&all, Choice::RoundRobin, 200);
        assert_eq!(rounds.iter().filter(|&&index| index == 1).count(), 10);
    }

    #[test]
    fn a_client_keeps_its_backend_and_a_backend_that_goes_moves_only_its_own_clients() {
        let mut all = candidates(&[0; 5]);
        let clients: Vec<IpAddr> = (0..250_u8).map(|last| IpAddr::from([10, 1, 2, last])).collect();
        let home = |all: &[Candidate], client| order(all, Choice::SourceHash, 0, client)[0];
        let before: Vec<usize> = clients.iter().map(|&client| home(&all, client)).collect();
        assert!((0..5).all(|backend| before.iter().filter(|&&index| index == backend).count() > 20));
        all[3].is_in = false;
        for (&client, &was) in clients.iter().zip(&before) {
            assert!(was == 3 || home(&all, client) == was);
        }
        let (one, same_network) = ("2001:db8::1".parse().unwrap(), "2001:db8::ffff".parse().unwrap());
        assert_eq!(home(&all, one), home(&all, same_network));
    }

    #[test]
    fn the_hash_is_the_same_in_every_build() {
        assert_eq!(pair_hash(client_key(CLIENT), backend_key("10.0.0.1:443")), 12_662_320_509_614_882_807);
    }

    #[test]
    fn when_all_are_out_they_are_chosen_from_like_the_healthy() {
        let mut all = candidates(&[3, 1, 0]);
        all.iter_mut().for_each(|candidate| candidate.is_in = false);
        all[2].drains = true;
        assert_eq!(order(&all, Choice::LeastConnections, 0, CLIENT), [1, 0]);
    }

    fn any_choice() -> impl Strategy<Value = Choice> {
        prop::sample::select(vec![Choice::LeastConnections, Choice::RoundRobin, Choice::SourceHash])
    }

    proptest! {
        #[test]
        fn all_but_the_draining_come_once_and_none_that_is_out_before_one_that_is_in(
            states in prop::collection::vec((any::<bool>(), any::<bool>(), 0_usize..9, 1_u8..=10), 0..9),
            choice in any_choice(),
            turn in any::<usize>(),
            client in any::<u32>(),
        ) {
            let all: Vec<Candidate> = states
                .iter()
                .zip(0_u64..)
                .map(|(&(is_in, drains, connections, tenths), key)| Candidate {
                    is_in, drains, connections, share: f64::from(tenths) / 10.0, key,
                })
                .collect();
            let order = order(&all, choice, turn, IpAddr::from(client.to_be_bytes()));
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..all.len()).filter(|&index| !all[index].drains).collect::<Vec<_>>());
            prop_assert!(order.is_sorted_by_key(|&index| !all[index].is_in));
        }
    }
}
