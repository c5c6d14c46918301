//! Decides who has the least to do for its share, and draws among those who are level.

use super::{Candidate, next_random};

/// The seat to take: the one that will have the least to do for its share after the next request; ties by lot.
///
/// Two are level when neither has as much to do now as the other would have with one request more. With equal
/// weights that is the same number in flight; at rest it is everybody, and shares follow the weights exactly.
pub(super) fn among(seats: &[Option<Candidate>], random: u64) -> Option<usize> {
    let afterwards = |candidate: Candidate| (u64::from(candidate.load) + 1, u64::from(candidate.share));
    let all = seats.iter().flatten().copied();
    let least = all.map(afterwards).min_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)))?;
    let is_level =
        |candidate: &Candidate| u64::from(candidate.load) * least.1 < least.0 * u64::from(candidate.share);
    drawn(seats.iter().map(|seat| seat.filter(is_level)), random)
}

/// A seat drawn in proportion to its share (reservoir sampling).
pub(super) fn drawn(seats: impl Iterator<Item = Option<Candidate>>, random: u64) -> Option<usize> {
    let (mut taken, mut total, mut draw) = (None, 0_u64, random);
    for (seat, candidate) in seats.enumerate() {
        let Some(candidate) = candidate else { continue };
        let share = u64::from(candidate.share);
        total += share;
        draw = next_random(draw);
        if taken.is_none() || (draw >> 16) % total < share {
            taken = Some(seat);
        }
    }
    taken
}

/// Whether `a` has less to do for its share than `b`.
pub(super) fn is_less_loaded(a: Candidate, b: Candidate) -> bool {
    u64::from(a.load) * u64::from(b.share) < u64::from(b.load) * u64::from(a.share)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidates(loads: &[(u32, u32)]) -> Vec<Option<Candidate>> {
        loads.iter().map(|(load, weight)| Some(Candidate { load: *load, share: weight * 1000 })).collect()
    }

    fn taken(loads: &[(u32, u32)], random: u64) -> Option<usize> {
        among(&candidates(loads), random)
    }

    #[test]
    fn the_least_loaded_for_its_weight_is_taken() {
        for (loads, expected) in [
            (&[][..], None),
            (&[(7, 1)][..], Some(0)),
            (&[(2, 1), (1, 1), (3, 1)][..], Some(1)),
            (&[(1, 1), (2, 3)][..], Some(1)),
            (&[(0, 1), (10, 10)][..], Some(0)),
            (&[(1, 1), (9, 10)][..], Some(1)),
            (&[(u32::MAX, 1000), (u32::MAX, 1)][..], Some(0)),
        ] {
            for random in 0..50 {
                assert_eq!(taken(loads, next_random(random)), expected, "{loads:?}");
            }
        }
    }

    #[track_caller]
    fn shares(loads: &[(u32, u32)], expected: &[f64]) {
        const DRAWS: u32 = 30_000;
        let mut counts = vec![0_u32; loads.len()];
        for _ in 0..DRAWS {
            counts[taken(loads, cirque_shared::request_id::random()).unwrap()] += 1;
        }
        for (count, share) in counts.iter().zip(expected) {
            let seen = f64::from(*count) / f64::from(DRAWS);
            assert!((seen - share).abs() < 0.02, "{counts:?} for {loads:?}");
        }
    }

    #[test]
    fn ties_are_drawn_evenly() {
        shares(&[(4, 1), (4, 1), (4, 1)], &[1.0 / 3.0; 3]);
    }

    #[test]
    fn at_rest_shares_follow_the_weights() {
        shares(&[(0, 1), (0, 3)], &[0.25, 0.75]);
        shares(&[(0, 1), (2, 3)], &[0.25, 0.75]);
    }

    #[test]
    fn under_load_shares_follow_the_weights() {
        // A closed system of twenty: whoever has been served longest leaves.
        let weights = [1, 5, 2];
        let (mut loads, mut counts) = (weights.map(|weight| (0, weight)), [0_u32; 3]);
        let mut served = std::collections::VecDeque::new();
        for _ in 0..8000 {
            let seat = taken(&loads, cirque_shared::request_id::random()).unwrap();
            (loads[seat].0, counts[seat]) = (loads[seat].0 + 1, counts[seat] + 1);
            served.push_back(seat);
            if served.len() > 20 {
                loads[served.pop_front().unwrap()].0 -= 1;
            }
        }
        for (count, weight) in counts.iter().zip(weights) {
            let seen = f64::from(*count) * 8.0 / 8000.0 / f64::from(weight);
            assert!((0.85..1.15).contains(&seen), "{counts:?}");
        }
    }

    proptest! {
        #[test]
        fn nobody_is_taken_who_has_more_to_do_than_another_would_have_after_it(
            loads in prop::collection::vec((0_u32..50, 1_u32..9), 1..32),
            random: u64,
        ) {
            let (load, weight) = loads[taken(&loads, random).unwrap()];
            for (other, its_weight) in &loads {
                prop_assert!(load * its_weight < (other + 1) * weight);
            }
        }
    }
}
