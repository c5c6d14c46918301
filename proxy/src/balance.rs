//! Decides which of the backends that may be taken gets the next attempt.
//!
//! Pure but for two turns that round robin keeps. A [`Chooser`] holds what is prepared once for the backends of
//! one tier, so that a pick costs the same however many there are, above [`FULL_SCAN`].

pub(crate) mod key;
mod least_conn;
pub(crate) mod load;
mod ring;
mod shares;
mod turns;

use crate::config::policy::Balance;
use ring::Ring;
use shares::Shares;
use turns::{Smooth, Spread};

pub(crate) use ring::Key;

/// Up to this many backends are all compared; above it two random ones are, which is nearly as even
/// (Mitzenmacher, "The power of two choices", 2001) and costs the same for any number.
pub(crate) const FULL_SCAN: usize = 32;

/// How often a backend is drawn in search of one that may be taken, before everybody is looked at: only when
/// nearly all are out does a pick cost more the more there are.
const MOST_DRAWS: usize = 16;

/// What a backend weighs at its full weight of one: the slow start divides it.
pub(crate) const WHOLE: u32 = 1000;

/// A backend that shares in the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seat<'a> {
    /// Its place in the pool.
    pub(crate) index: usize,
    /// Its name, by which a hash knows it.
    pub(crate) id: &'a str,
    /// Its share, 1 or more.
    pub(crate) weight: u32,
}

/// What a decision needs to know of a backend that may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Requests that it is working on, those being connected included, and a few more for each recent failure.
    pub(crate) load: u32,
    /// Its weight in thousandths ([`WHOLE`]), less while it starts slowly; 1 or more.
    pub(crate) share: u32,
}

/// A way to choose among the backends of one tier.
#[derive(Debug)]
pub(crate) struct Chooser {
    policy: Balance,
    /// Place in the pool, by seat.
    places: Vec<usize>,
    weights: Vec<u32>,
    shares: Shares,
    smooth: Smooth,
    spread: Spread,
    ring: Option<Ring>,
}

impl Chooser {
    /// Prepares a choice among these; a backend that shares in nothing has no seat.
    pub(crate) fn new(policy: Balance, seats: &[Seat<'_>]) -> Self {
        Self {
            policy,
            places: seats.iter().map(|seat| seat.index).collect(),
            weights: seats.iter().map(|seat| seat.weight).collect(),
            shares: Shares::new(seats.iter().map(|seat| seat.weight)),
            smooth: Smooth::new(seats.len()),
            spread: Spread::default(),
            ring: (policy == Balance::Hash)
                .then(|| Ring::new(seats.iter().map(|seat| (seat.id, seat.weight)))),
        }
    }

    /// The places in the pool of those who share.
    pub(crate) fn places(&self) -> &[usize] {
        &self.places
    }

    /// The place in the pool of the backend to take, `None` when nobody may be taken.
    ///
    /// `candidate` says who stands at a place, or `None` where nobody may be taken. `key` is what a hash goes by,
    /// `random` decides ties and draws.
    pub(crate) fn pick(
        &self,
        key: Key,
        candidate: impl Fn(usize) -> Option<Candidate>,
        random: u64,
    ) -> Option<usize> {
        let at = |seat: usize| candidate(self.places[seat]);
        let len = self.places.len();
        if len <= FULL_SCAN && self.policy != Balance::Hash {
            // Asked once each: what is in flight changes while it is compared.
            let mut seats = [None; FULL_SCAN];
            seats.iter_mut().zip(0..len).for_each(|(seen, seat)| *seen = at(seat));
            return self.pick_of_all(&seats[..len], random).map(|seat| self.places[seat]);
        }
        let seat = match self.policy {
            Balance::LeastConn => self.two_choices(&at, random),
            Balance::RoundRobin => {
                self.spread.points(self.shares.total()).take(MOST_DRAWS).find_map(|point| {
                    let seat = self.shares.at(point);
                    self.accepts(seat, at(seat)?, random ^ point).then_some(seat)
                })
            }
            Balance::Random => self.draws(&at, random).next().map(|(seat, _)| seat),
            Balance::Hash => self.ring.as_ref().and_then(|ring| ring.find(key, |seat| at(seat).is_some())),
        };
        // So many are out that none was drawn: everyone is looked at.
        let seat = seat.or_else(|| {
            let all = || least_conn::among(&(0..len).map(at).collect::<Vec<_>>(), random);
            (self.policy != Balance::Hash).then(all).flatten()
        });
        seat.map(|seat| self.places[seat])
    }

    /// The seat to take where everybody is looked at.
    fn pick_of_all(&self, seats: &[Option<Candidate>], random: u64) -> Option<usize> {
        match self.policy {
            Balance::RoundRobin => self.smooth.next(seats),
            Balance::Random => least_conn::drawn(seats.iter().copied(), random),
            Balance::LeastConn | Balance::Hash => least_conn::among(seats, random),
        }
    }

    /// The one of two drawn by weight that has less to do for its share; at rest, shares follow the weights.
    fn two_choices(&self, at: &impl Fn(usize) -> Option<Candidate>, random: u64) -> Option<usize> {
        let mut draws = self.draws(at, random);
        let first = draws.next()?;
        match draws.find(|second| second.0 != first.0) {
            Some(second) if least_conn::is_less_loaded(second.1, first.1) => Some(second.0),
            _ => Some(first.0),
        }
    }

    /// Candidates drawn in proportion to their shares; few, and some perhaps twice.
    fn draws(
        &self,
        at: &impl Fn(usize) -> Option<Candidate>,
        random: u64,
    ) -> impl Iterator<Item = (usize, Candidate)> {
        let mut seed = random;
        let draw = move || {
            seed = next_random(seed);
            seed
        };
        std::iter::repeat_with(draw).take(MOST_DRAWS).filter_map(move |draw| {
            let seat = self.shares.at((draw >> 16) % self.shares.total());
            let candidate = at(seat)?;
            self.accepts(seat, candidate, draw).then_some((seat, candidate))
        })
    }

    /// Whether a seat drawn by its weight is taken: less often while its share is below it.
    fn accepts(&self, seat: usize, candidate: Candidate, random: u64) -> bool {
        let whole = u64::from(self.weights[seat]) * u64::from(WHOLE);
        u64::from(candidate.share) >= whole
            || (next_random(random) >> 16) % whole < u64::from(candidate.share)
    }
}

/// A linear congruential step (Knuth's MMIX); only its upper bits are used.
fn next_random(seed: u64) -> u64 {
    seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f)
}

#[cfg(test)]
mod tests;
