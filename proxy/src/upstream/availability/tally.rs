//! Counts what attempts came to: how many went well and badly of late, and how many went badly in a row.
//!
//! Counted by everybody at once and without a lock; what follows from it is decided elsewhere.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Slices of a window: it slides on by one of them at a time.
const SLICES: u64 = 10;

/// What was wrong with an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There was no answer: no connection, a broken one, too long a silence, no HTTP.
    Connection,
    /// 502, 503 or 504: the backend is there and cannot answer.
    Gateway,
    /// Another status from 500 on.
    Answer,
}

/// What is known when an attempt went wrong, itself included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Evidence {
    /// Connection faults since the backend last answered anything.
    pub(crate) faults_in_row: u32,
    /// Answers 502, 503 and 504 since the last good one.
    pub(crate) errors_in_row: u32,
    /// Attempts in the window.
    pub(crate) attempts: u32,
    /// Those among them that went wrong.
    pub(crate) failed: u32,
}

/// The recent past of one backend.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    faults_in_row: AtomicU32,
    errors_in_row: AtomicU32,
    good: Window,
    bad: Window,
}

impl Tally {
    /// An attempt went well.
    pub(crate) fn succeeded(&self, now_ms: u64, window: Duration) {
        for in_row in [&self.faults_in_row, &self.errors_in_row] {
            // Read first: a line that everybody only reads is not passed around between cores.
            if in_row.load(Ordering::Relaxed) != 0 {
                in_row.store(0, Ordering::Relaxed);
            }
        }
        self.good.add(now_ms, slice(window));
    }

    /// An attempt went wrong.
    pub(crate) fn failed(&self, fault: Fault, now_ms: u64, window: Duration) -> Evidence {
        let slice = slice(window);
        self.bad.add(now_ms, slice);
        match fault {
            Fault::Connection => {
                self.faults_in_row.fetch_add(1, Ordering::Relaxed);
            }
            Fault::Gateway => {
                self.faults_in_row.store(0, Ordering::Relaxed);
                self.errors_in_row.fetch_add(1, Ordering::Relaxed);
            }
            Fault::Answer => self.faults_in_row.store(0, Ordering::Relaxed),
        }
        let failed = self.bad.sum(now_ms, slice);
        Evidence {
            faults_in_row: self.faults_in_row.load(Ordering::Relaxed),
            errors_in_row: self.errors_in_row.load(Ordering::Relaxed),
            attempts: failed.saturating_add(self.good.sum(now_ms, slice)),
            failed,
        }
    }

    /// Forgets everything: what led to an ejection does not count again after it.
    pub(crate) fn forget(&self) {
        self.faults_in_row.store(0, Ordering::Relaxed);
        self.errors_in_row.store(0, Ordering::Relaxed);
        self.good.clear();
        self.bad.clear();
    }
}

fn slice(window: Duration) -> u64 {
    u64::try_from(window.as_millis()).unwrap_or(u64::MAX).div_ceil(SLICES).max(1)
}

/// A count over the last while, which slides.
#[derive(Debug, Default)]
struct Window {
    /// By slice: which it is, modulo 2³², in the upper half, and its count in the lower.
    slices: [AtomicU64; SLICES as usize],
}

impl Window {
    fn add(&self, now_ms: u64, slice_ms: u64) {
        let slice = now_ms / slice_ms;
        let counter = &self.slices[(slice % SLICES) as usize];
        let current = counter.load(Ordering::Relaxed);
        if current >> 32 == number(slice) {
            counter.fetch_add(1, Ordering::Relaxed);
        } else if counter
            .compare_exchange(current, number(slice) << 32 | 1, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            // Somebody else has just begun the slice.
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sum(&self, now_ms: u64, slice_ms: u64) -> u32 {
        let latest = now_ms / slice_ms;
        let oldest = latest.saturating_sub(SLICES - 1);
        let count = |slice: u64| {
            let current = self.slices[(slice % SLICES) as usize].load(Ordering::Relaxed);
            if current >> 32 == number(slice) { current as u32 } else { 0 }
        };
        (oldest..=latest).map(count).fold(0, u32::saturating_add)
    }

    fn clear(&self) {
        for slice in &self.slices {
            slice.store(0, Ordering::Relaxed);
        }
    }
}

/// How a slice is told from the others at its place. Never 0, which is what a place begins with.
fn number(slice: u64) -> u64 {
    (slice + 1) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    #[test]
    fn faults_and_answers_are_told_apart() {
        use Fault::{Answer, Connection, Gateway};
        for (faults, expected) in [
            (&[Connection, Connection][..], (2, 0)),
            (&[Gateway, Gateway, Gateway], (0, 3)),
            (&[Connection, Gateway], (0, 1)),
            (&[Gateway, Connection, Connection], (2, 1)),
            (&[Gateway, Answer, Gateway], (0, 2)),
            (&[Connection, Answer], (0, 0)),
        ] {
            let tally = Tally::default();
            let last = faults.iter().map(|fault| tally.failed(*fault, 5, WINDOW)).last().unwrap();
            assert_eq!((last.faults_in_row, last.errors_in_row), expected, "{faults:?}");
            assert_eq!((last.failed, last.attempts), (faults.len() as u32, faults.len() as u32));
            tally.succeeded(5, WINDOW);
            let next = tally.failed(Connection, 5, WINDOW);
            assert_eq!((next.faults_in_row, next.errors_in_row), (1, 0), "a good answer ends every row");
        }
    }

    #[test]
    fn what_is_forgotten_does_not_count_again() {
        let tally = Tally::default();
        for _ in 0..9 {
            tally.succeeded(5, WINDOW);
            tally.failed(Fault::Gateway, 5, WINDOW);
        }
        tally.forget();
        let evidence = tally.failed(Fault::Gateway, 5, WINDOW);
        assert_eq!(evidence, Evidence { faults_in_row: 0, errors_in_row: 1, attempts: 1, failed: 1 });
    }

    #[test]
    fn nothing_is_lost_when_many_count_at_once() {
        let tally = Tally::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| tally.succeeded(5, WINDOW)));
            }
        });
        assert_eq!(tally.failed(Fault::Answer, 5, WINDOW).attempts, 40_001);
    }

    proptest! {
        #[test]
        fn the_window_counts_all_of_the_last_nine_tenths_and_nothing_older_than_itself(
            pauses in prop::collection::vec(0_u64..3_000, 1..200),
        ) {
            let (window, slice) = (Window::default(), slice(WINDOW));
            let (mut now, mut events) = (1_u64, Vec::new());
            for pause in pauses {
                now += pause;
                events.push(now);
                window.add(now, slice);
                let within = |ms: u64| events.iter().filter(|event| now - **event <= ms).count() as u32;
                let sum = window.sum(now, slice);
                prop_assert!(within(9_000) <= sum && sum <= within(10_000), "{sum} at {now}: {events:?}");
            }
        }
    }
}
