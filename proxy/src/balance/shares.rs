//! Finds whose share of the whole a point falls into, in the same time for any number of shares.

/// Weights laid end to end, with a guide to where each stretch of them begins (Chen and Asau, 1974).
#[derive(Debug)]
pub(super) struct Shares {
    /// Where each share ends.
    ends: Vec<u64>,
    /// The first share that reaches into each of as many equal stretches.
    guide: Vec<usize>,
}

impl Shares {
    pub(super) fn new(weights: impl Iterator<Item = u32>) -> Self {
        let mut total = 0;
        let ends: Vec<u64> = weights
            .map(|weight| {
                total += u64::from(weight);
                total
            })
            .collect();
        let len = ends.len() as u64;
        let mut share = 0;
        let guide = (0..len)
            .map(|stretch| {
                while ends[share] * len <= stretch * total {
                    share += 1;
                }
                share
            })
            .collect();
        Self { ends, guide }
    }

    /// The sum of all weights; 1 where there is none, so that it divides.
    pub(super) fn total(&self) -> u64 {
        self.ends.last().copied().unwrap_or(1)
    }

    /// Whose share a point below the total falls into.
    pub(super) fn at(&self, point: u64) -> usize {
        let mut share = self.guide[(point * self.ends.len() as u64 / self.total()) as usize];
        while self.ends[share] <= point {
            share += 1;
        }
        share
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_weight_has_as_many_points_as_it_weighs(weights in prop::collection::vec(1_u32..40, 1..60)) {
            let shares = Shares::new(weights.iter().copied());
            let mut points = vec![0_u32; weights.len()];
            for point in 0..shares.total() {
                points[shares.at(point)] += 1;
            }
            prop_assert_eq!(points, weights);
        }
    }
}
