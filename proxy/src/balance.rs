//! Decides which of the available backends gets the next attempt.

use crate::config::policy::Balance;

/// Up to this many candidates are all compared; above it two random ones are, which is nearly as even
/// (Mitzenmacher, "The power of two choices", 2001) and costs the same for any number.
const FULL_SCAN: usize = 32;

/// How often a place is drawn in search of a candidate.
const MOST_DRAWS: usize = 8;

/// What a decision needs to know of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its place in the pool.
    pub(crate) index: usize,
    /// Requests that it is working on, those being connected included.
    pub(crate) in_flight: u32,
    /// Its share, 1 or more.
    pub(crate) weight: u32,
}

/// The place of the backend to take among `len`, `None` when no place has a candidate.
///
/// `candidate` says who stands at a place, or nobody who may be taken. `random` decides ties (in proportion to
/// weight, so that idle backends share fairly) and draws.
pub(crate) fn pick(
    policy: Balance,
    len: usize,
    candidate: impl Fn(usize) -> Option<Candidate>,
    random: u64,
) -> Option<usize> {
    match policy {
        Balance::LeastConn if len <= FULL_SCAN => least_conn((0..len).filter_map(candidate), random),
        Balance::LeastConn => {
            let drawn = two_of(len, random, &candidate);
            // So many are out that two could not be drawn: look at everyone.
            drawn.or_else(|| least_conn((0..len).filter_map(&candidate), random))
        }
    }
}

/// The better of two candidates drawn at random; `None` when too few places have one.
fn two_of(len: usize, random: u64, candidate: impl Fn(usize) -> Option<Candidate>) -> Option<usize> {
    let mut seed = random;
    let mut places = std::iter::repeat_with(|| {
        seed = next_random(seed);
        (seed >> 33) as usize % len
    });
    let first = places.by_ref().take(MOST_DRAWS).find_map(&candidate)?;
    let second = places.take(MOST_DRAWS).filter(|place| *place != first.index).find_map(&candidate)?;
    least_conn([first, second].into_iter(), random)
}

/// A linear congruential step (Knuth's MMIX); only its upper bits are used.
fn next_random(seed: u64) -> u64 {
    seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f)
}

/// The lowest `(in_flight + 1) / weight`; ties are drawn in proportion to weight (reservoir sampling).
fn least_conn(candidates: impl Iterator<Item = Candidate>, random: u64) -> Option<usize> {
    let mut best: Option<Candidate> = None;
    let mut tied_weight = 0_u64;
    let mut draw = random;
    for candidate in candidates {
        let Some(current) = best else {
            best = Some(candidate);
            tied_weight = u64::from(candidate.weight);
            continue;
        };
        match load_order(candidate, current) {
            std::cmp::Ordering::Less => {
                best = Some(candidate);
                tied_weight = u64::from(candidate.weight);
            }
            std::cmp::Ordering::Equal => {
                tied_weight += u64::from(candidate.weight);
                draw = next_random(draw);
                if (draw >> 33) % tied_weight < u64::from(candidate.weight) {
                    best = Some(candidate);
                }
            }
            std::cmp::Ordering::Greater => {}
        }
    }
    best.map(|candidate| candidate.index)
}

/// Compares `(in_flight + 1) / weight` without dividing.
fn load_order(a: Candidate, b: Candidate) -> std::cmp::Ordering {
    let a_side = (u64::from(a.in_flight) + 1) * u64::from(b.weight);
    let b_side = (u64::from(b.in_flight) + 1) * u64::from(a.weight);
    a_side.cmp(&b_side)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidates(loads: &[(u32, u32)]) -> Vec<Candidate> {
        let made = loads.iter().enumerate();
        made.map(|(index, (in_flight, weight))| Candidate { index, in_flight: *in_flight, weight: *weight })
            .collect()
    }

    fn picked(loads: &[(u32, u32)], random: u64) -> Option<usize> {
        let candidates = candidates(loads);
        pick(Balance::LeastConn, candidates.len(), |place| Some(candidates[place]), random)
    }

    #[test]
    fn the_least_loaded_for_its_weight_is_taken() {
        for (loads, expected) in [
            (&[][..], None),
            (&[(7, 1)][..], Some(0)),
            (&[(2, 1), (1, 1), (3, 1)][..], Some(1)),
            (&[(1, 1), (2, 3)][..], Some(1)),
            (&[(0, 1), (2, 2)][..], Some(0)),
            (&[(u32::MAX, 1000), (u32::MAX, 1)][..], Some(0)),
        ] {
            assert_eq!(picked(loads, 7), expected, "{loads:?}");
        }
    }

    #[track_caller]
    fn shares(loads: &[(u32, u32)], expected: &[f64]) {
        const DRAWS: usize = 30_000;
        let mut counts = vec![0_usize; loads.len()];
        for _ in 0..DRAWS {
            counts[picked(loads, cirque_shared::request_id::random()).unwrap()] += 1;
        }
        for (count, share) in counts.iter().zip(expected) {
            let seen = *count as f64 / DRAWS as f64;
            assert!((seen - share).abs() < 0.02, "{counts:?} for {loads:?}");
        }
    }

    #[test]
    fn ties_are_drawn_evenly() {
        shares(&[(4, 1), (4, 1), (4, 1)], &[1.0 / 3.0; 3]);
    }

    #[test]
    fn ties_between_unequal_weights_are_drawn_in_proportion() {
        shares(&[(0, 1), (2, 3)], &[0.25, 0.75]);
    }

    #[test]
    fn the_only_candidate_among_many_is_found() {
        for random in 0..200_u64 {
            let only = |place| (place == 77).then_some(Candidate { index: 77, in_flight: 9, weight: 1 });
            assert_eq!(pick(Balance::LeastConn, 100, only, next_random(random)), Some(77));
        }
        assert_eq!(pick(Balance::LeastConn, 100, |_| None, 1), None);
    }

    #[test]
    fn many_backends_share_evenly_through_two_choices() {
        let mut in_flight = vec![0_u32; 100];
        for _ in 0..10_000 {
            let loads: Vec<(u32, u32)> = in_flight.iter().map(|load| (*load, 1)).collect();
            in_flight[picked(&loads, cirque_shared::request_id::random()).unwrap()] += 1;
        }
        let (least, most) = (in_flight.iter().min().unwrap(), in_flight.iter().max().unwrap());
        assert!(most - least <= 8, "{least}..{most}");
    }

    proptest! {
        #[test]
        fn nobody_with_less_load_is_passed_over(
            loads in prop::collection::vec((0_u32..50, 1_u32..9), 1..FULL_SCAN),
            random: u64,
        ) {
            let taken = candidates(&loads)[picked(&loads, random).unwrap()];
            for other in candidates(&loads) {
                prop_assert!(load_order(other, taken).is_ge());
            }
        }
    }
}
