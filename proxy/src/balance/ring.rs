//! Decides which backend a key belongs to, so that a key stays where it is when another backend comes or goes.
//!
//! Ketama: every backend stands at many points of a ring, a key belongs to the next point. A backend that leaves
//! takes nothing but its own keys with it, about 1/n of all.

use std::net::IpAddr;

/// Points of a backend per unit of weight (nginx's number).
const POINTS: u64 = 160;

/// Points of a ring. Where the weights ask for more, all have half as many, or a quarter, and so on.
const MOST_POINTS: u64 = 1 << 17;

/// What a request is recognised by, hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u64);

impl Key {
    /// Of a request that nothing is recognised by.
    pub(crate) const ANY: Self = Self(0);

    /// The key of these bytes; the same in every process and version.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(hash(bytes))
    }

    /// The key of an address.
    pub(crate) fn of_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of(&address.octets()),
            IpAddr::V6(address) => Self::of(&address.octets()),
        }
    }
}

/// The points of a pool's backends.
#[derive(Debug)]
pub(super) struct Ring {
    /// Where each point is and whose it is, in order.
    points: Vec<(u64, u32)>,
}

impl Ring {
    pub(super) fn new<'a>(seats: impl Iterator<Item = (&'a str, u32)> + Clone) -> Self {
        let wanted: u64 = seats.clone().map(|(_, weight)| u64::from(weight) * POINTS).sum();
        // A power of two, so that it rarely changes when a backend comes or goes.
        let divisor = wanted.div_ceil(MOST_POINTS).next_power_of_two();
        let mut points = Vec::new();
        for (seat, (id, weight)) in (0_u32..).zip(seats) {
            let n = (u64::from(weight) * POINTS / divisor).max(1);
            let own = hash(id.as_bytes());
            points.extend((0..n).map(|point| (mixed(own ^ mixed(point)), seat)));
        }
        points.sort_unstable();
        Self { points }
    }

    /// The seat that a key belongs to; when it may not be taken, the next one on the ring that may.
    pub(super) fn find(&self, key: Key, may_be_taken: impl Fn(usize) -> bool) -> Option<usize> {
        let start = self.points.partition_point(|(point, _)| *point < key.0);
        let (before, after) = self.points.split_at(start);
        let mut refused = None;
        after.iter().chain(before).map(|(_, seat)| *seat as usize).find(|seat| {
            // Neighbours are often the same backend, which need not be asked again.
            let is_new = refused != Some(*seat);
            refused = Some(*seat);
            is_new && may_be_taken(*seat)
        })
    }
}

/// FNV-1a, and its bits mixed: short keys that differ in their last byte must not be neighbours.
fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mixed(fnv)
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood, 2014).
fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: u32 = 20_000;

    fn ids(n: u32) -> Vec<String> {
        (1..=n).map(|n| format!("app-{n}")).collect()
    }

    fn owners(ids: &[String], out: Option<usize>) -> Vec<String> {
        let ring = Ring::new(ids.iter().map(|id| (id.as_str(), 1)));
        let owner = |key: u32| ring.find(Key::of(&key.to_le_bytes()), |seat| Some(seat) != out).unwrap();
        (0..KEYS).map(|key| ids[owner(key)].clone()).collect()
    }

    #[test]
    fn a_key_has_the_same_place_in_every_version() {
        // Two edges side by side, and one before and after an upgrade, must agree.
        let places = ["", "a", "session-1"].map(|key| Key::of(key.as_bytes()).0);
        assert_eq!(places, [0xc381_7c01_6ba4_ff30, 0x5f29_c2aa_dd9b_8527, 0xdf01_6efc_657a_36d2]);
    }

    #[test]
    fn weights_are_kept_also_where_points_are_scarce() {
        let seats = [("light", 250), ("heavy", 1000)];
        let ring = Ring::new(seats.into_iter());
        assert!(ring.points.len() as u64 <= MOST_POINTS, "{}", ring.points.len());
        let heavy =
            (0..KEYS).filter(|key| ring.find(Key::of(&key.to_le_bytes()), |_| true) == Some(1)).count();
        let share = heavy as f64 / f64::from(KEYS);
        assert!((0.77..0.83).contains(&share), "{share}");
    }

    #[test]
    fn nobody_is_found_when_nobody_may_be_taken() {
        let ring = Ring::new([("a", 1), ("b", 1)].into_iter());
        assert_eq!(ring.find(Key::of(b"x"), |_| false), None);
        assert_eq!(Ring::new(std::iter::empty()).find(Key::of(b"x"), |_| true), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn a_backend_that_leaves_moves_its_own_keys_and_no_other(n in 2_u32..30, leaver: prop::sample::Index) {
            let all = ids(n);
            let leaver = leaver.index(all.len());
            let before = owners(&all, None);
            let remaining: Vec<String> =
                all.iter().enumerate().filter(|(place, _)| *place != leaver).map(|(_, id)| id.clone()).collect();
            let after = owners(&remaining, None);
            let moved = before.iter().zip(&after).filter(|(a, b)| a != b);
            let mut n_moved = 0_u32;
            for (was, _) in moved {
                prop_assert_eq!(was, &all[leaver], "only the keys of the one that left move");
                n_moved += 1;
            }
            let expected = f64::from(KEYS) / f64::from(n);
            prop_assert!((0.6..1.5).contains(&(f64::from(n_moved) / expected)), "{n_moved} of about {expected}");
            // One that is only unavailable leaves its keys to the same neighbours, until it is back.
            prop_assert_eq!(after, owners(&all, Some(leaver)));
        }
    }
}
