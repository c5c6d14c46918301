//! Decides whose turn it is in round robin: spread out by weight, never a run of the heaviest.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::Candidate;

/// nginx's smooth weighted round robin, exact, for as many as can all be looked at.
#[derive(Debug)]
pub(super) struct Smooth {
    owed: Mutex<Vec<i64>>,
}

/// A sequence of points that fills any stretch evenly from the first on, for any number.
///
/// Multiples of the golden ratio, modulo one (Weyl): after N points no share is more than a few off.
#[derive(Debug, Default)]
pub(super) struct Spread {
    turn: AtomicU64,
}

impl Smooth {
    pub(super) fn new(len: usize) -> Self {
        Self { owed: Mutex::new(vec![0; len]) }
    }

    /// The seat whose turn it is: everybody is owed its share, whoever is owed most is taken and pays for all.
    pub(super) fn next(&self, seats: &[Option<Candidate>]) -> Option<usize> {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut total, mut taken) = (0, None);
        for (seat, candidate) in seats.iter().enumerate() {
            let Some(candidate) = candidate else { continue };
            let share = i64::from(candidate.share);
            total += share;
            owed[seat] += share;
            if taken.is_none_or(|best: usize| owed[seat] > owed[best]) {
                taken = Some(seat);
            }
        }
        owed[taken?] -= total;
        taken
    }
}

impl Spread {
    /// The points of the next turns, below `total`; each one that is looked at is a turn taken.
    pub(super) fn points(&self, total: u64) -> impl Iterator<Item = u64> {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        std::iter::repeat_with(move || {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed);
            ((u128::from(turn.wrapping_mul(GOLDEN)) * u128::from(total)) >> 64) as u64
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seats(weights: &[u32]) -> Vec<Option<Candidate>> {
        weights.iter().map(|weight| (*weight > 0).then_some(Candidate { load: 0, share: *weight })).collect()
    }

    #[test]
    fn the_heaviest_is_not_taken_in_a_run() {
        let smooth = Smooth::new(3);
        let taken: Vec<usize> = (0..7).map(|_| smooth.next(&seats(&[5, 1, 1])).unwrap()).collect();
        assert_eq!(taken, [0, 0, 1, 0, 2, 0, 0], "nginx's own example");
    }

    #[test]
    fn whoever_is_out_is_passed_over_and_has_nothing_saved_up_when_back() {
        let smooth = Smooth::new(2);
        assert!((0..100).all(|_| smooth.next(&seats(&[0, 1])) == Some(1)));
        let first = (0..10).filter(|_| smooth.next(&seats(&[1, 1])) == Some(0)).count();
        assert_eq!(first, 5);
        assert_eq!(smooth.next(&seats(&[0, 0])), None);
    }

    proptest! {
        #[test]
        fn each_round_gives_everybody_exactly_its_weight(weights in prop::collection::vec(1_u32..20, 1..32)) {
            let smooth = Smooth::new(weights.len());
            let mut counts = vec![0_u32; weights.len()];
            for _ in 0..weights.iter().sum() {
                counts[smooth.next(&seats(&weights)).unwrap()] += 1;
            }
            prop_assert_eq!(counts, weights);
        }

        #[test]
        fn spread_points_fill_every_stretch_evenly(total in 1_u64..10_000, from: u32) {
            let spread = Spread { turn: AtomicU64::new(u64::from(from)) };
            let low = spread.points(total).take(1000).filter(|point| point * 4 < total).count();
            let quarter = total.div_ceil(4) as f64 / total as f64;
            prop_assert!((low as f64 - 1000.0 * quarter).abs() < 8.0, "{low} of {quarter}");
        }
    }
}
