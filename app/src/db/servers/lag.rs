//! Decides how far behind a replica is in time: by when the primary was where the replica is now.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::db::Position;

/// The most places that are remembered.
const MOST: usize = 256;

/// Where the primary was, and when.
#[derive(Debug)]
pub(super) struct Track {
    /// Oldest first, each further than the one before it.
    places: VecDeque<(Instant, Position)>,
    /// When the primary was seen last, and where.
    last: Option<(Instant, Position)>,
    /// Places are remembered so far apart at least.
    apart: Duration,
}

impl Track {
    /// One that can tell lags up to twice `max_lag`.
    pub(super) fn new(max_lag: Duration) -> Self {
        Self { places: VecDeque::new(), last: None, apart: max_lag / 100 }
    }

    /// The primary is at `position` now.
    pub(super) fn note(&mut self, position: Position, now: Instant) {
        if self.last.is_some_and(|(_, last)| last.timeline() != position.timeline()) {
            self.places.clear();
        }
        // The last moment at which the primary was where a replica is, is what counts: a place is dated by its end.
        match self.places.back_mut() {
            Some((at, place)) if *place == position => *at = now,
            Some((at, _)) if now - *at < self.apart => {}
            _ => self.places.push_back((now, position)),
        }
        if self.places.len() > MOST {
            self.places.pop_front();
        }
        self.last = Some((now, position));
    }

    /// Where the primary was when it was seen last.
    pub(super) fn primary(&self) -> Option<Position> {
        self.last.map(|(_, position)| position)
    }

    /// For how long a replica at `position` has lacked something of what the primary had when it was seen last; `None`
    /// before the primary was seen, and across timelines.
    pub(super) fn lag(&self, position: Position) -> Option<Duration> {
        let (seen, primary) = self.last?;
        if position.includes(primary) {
            return Some(Duration::ZERO);
        }
        if position.timeline() != primary.timeline() {
            return None;
        }
        let had = self.places.iter().rev().find(|(_, place)| position.includes(*place));
        let since = had.or_else(|| self.places.front()).map(|(at, _)| *at)?;
        Some(seen.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_as_old_as_the_place_where_it_is() {
        let start = Instant::now();
        let s = Duration::from_secs;
        let at = |lsn| Position::new(1, lsn);
        let mut track = Track::new(s(10));
        assert_eq!(track.lag(at(0)), None);
        for (second, lsn) in [(0, 100), (1, 100), (2, 100), (3, 200), (4, 300), (5, 300)] {
            track.note(at(lsn), start + s(second));
        }
        for (lsn, expected) in [(300, 0), (350, 0), (299, 2), (200, 2), (150, 3), (100, 3), (50, 3)] {
            assert_eq!(track.lag(at(lsn)), Some(s(expected)), "{lsn}");
        }
        assert_eq!(track.lag(Position::new(2, 300)), None);
        // A primary that is not seen any more does not make its replicas older.
        assert_eq!(track.primary(), Some(at(300)));
        track.note(Position::new(2, 310), start + s(60));
        assert_eq!(track.lag(at(300)), None);
        assert_eq!(track.lag(Position::new(2, 310)), Some(Duration::ZERO));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_reaches_back_twice_the_allowed_lag() {
        let start = Instant::now();
        let mut track = Track::new(Duration::from_secs(10));
        for tick in 0..100_000_u32 {
            track.note(Position::new(1, u64::from(tick)), start + Duration::from_millis(10) * tick);
        }
        assert!(track.places.len() <= MOST, "{}", track.places.len());
        assert!(track.lag(Position::new(1, 0)).is_some_and(|lag| lag > Duration::from_secs(20)));
    }
}
