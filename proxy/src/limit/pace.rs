//! Decides whether a side that is waited for moves its bytes too slowly.

use std::time::Duration;

use tokio::time::Instant;

/// How fast one side of one message is, while it is waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// When it was last looked at, and what had moved by then.
    since: Option<(Instant, u64)>,
}

/// The slowest that a side may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    /// Bytes a second; 0: any pace will do.
    pub(crate) rate: u64,
    /// Over how long they are averaged.
    pub(crate) window: Duration,
}

impl Pace {
    /// The side is waited for, and `moved` bytes in total went through: is that too slow?
    ///
    /// To be asked at each move, not while nothing moves: silence has a timeout of its own. The first question
    /// begins a window; at the end of each window its bytes are counted.
    pub(crate) fn is_too_slow(&mut self, now: Instant, moved: u64, floor: Floor) -> bool {
        if floor.rate == 0 {
            return false;
        }
        let Some((since, before)) = self.since else {
            self.since = Some((now, moved));
            return false;
        };
        let took = now.saturating_duration_since(since);
        if took < floor.window {
            return false;
        }
        self.since = Some((now, moved));
        let wanted = floor.rate.saturating_mul(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)) / 1000;
        moved.saturating_sub(before) < wanted
    }

    /// The side has kept up: it is not waited for any more.
    pub(crate) fn rest(&mut self) {
        self.since = None;
    }
}

impl Floor {
    /// How long a client may take over so many bytes that wait for it: a window, and the time that they need at the
    /// slowest pace. `None`: any time.
    pub(crate) fn time_for(self, bytes: u64) -> Option<Duration> {
        (self.rate > 0).then(|| self.window + Duration::from_millis(bytes.saturating_mul(1000) / self.rate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Floor = Floor { rate: 100, window: Duration::from_secs(10) };

    /// Whether moves at these (second, total of bytes) are too slow at the last of them.
    fn is_too_slow(moves: &[(u64, u64)], floor: Floor) -> bool {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let ask =
            |(at, total): &(u64, u64)| pace.is_too_slow(start + Duration::from_secs(*at), *total, floor);
        moves.iter().map(ask).last() == Some(true)
    }

    #[test]
    fn a_window_with_too_few_bytes_is_too_slow() {
        for (moves, expected) in [
            (&[(0, 0), (5, 1)][..], false),
            (&[(0, 0), (5, 1), (10, 999)], true),
            (&[(0, 0), (5, 1), (10, 1000)], false),
            // Later than the window: more is wanted.
            (&[(0, 0), (20, 1999)], true),
            (&[(0, 0), (20, 2000)], false),
            // A new window begins where the last one ended.
            (&[(0, 0), (10, 5000), (20, 5100)], true),
        ] {
            assert_eq!(is_too_slow(moves, FLOOR), expected, "{moves:?}");
        }
        assert!(!is_too_slow(&[(0, 0), (1000, 1)], Floor { rate: 0, ..FLOOR }));
    }

    #[test]
    fn what_waits_has_a_window_and_the_time_of_the_slowest_pace() {
        assert_eq!(FLOOR.time_for(0), Some(FLOOR.window));
        assert_eq!(FLOOR.time_for(500), Some(FLOOR.window + Duration::from_secs(5)));
        assert_eq!(Floor { rate: 0, ..FLOOR }.time_for(1), None);
    }

    #[test]
    fn a_side_that_kept_up_begins_anew() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        pace.is_too_slow(start, 0, FLOOR);
        pace.rest();
        assert!(!pace.is_too_slow(start + Duration::from_secs(100), 1, FLOOR));
    }
}
