//! Waits for something to become true, for a bounded time, and says what was last seen when it did not.

use std::fmt::Debug;
use std::time::Duration;

use tokio::time::Instant;

use crate::sync::pause;

const SHORTEST_STEP: Duration = Duration::from_millis(2);
const LONGEST_STEP: Duration = Duration::from_millis(50);

/// Observes until `accept` holds and returns that observation; panics with the last one after `bound`.
#[track_caller]
pub fn eventually<T: Debug>(
    what: &str,
    bound: Duration,
    mut observe: impl FnMut() -> T,
    accept: impl Fn(&T) -> bool,
) -> T {
    let started = Instant::now();
    let mut step = SHORTEST_STEP;
    loop {
        let seen = observe();
        if accept(&seen) {
            return seen;
        }
        assert!(started.elapsed() < bound, "{what}: not within {bound:?}; last observed: {seen:#?}");
        pause(step);
        step = (step * 2).min(LONGEST_STEP);
    }
}

/// Observes for the whole of `window` and panics as soon as `accept` does not hold: for things that must not happen.
#[track_caller]
pub fn throughout<T: Debug>(
    what: &str,
    window: Duration,
    mut observe: impl FnMut() -> T,
    accept: impl Fn(&T) -> bool,
) {
    let started = Instant::now();
    loop {
        let seen = observe();
        assert!(accept(&seen), "{what}: no longer true after {:?}; observed: {seen:#?}", started.elapsed());
        if started.elapsed() >= window {
            return;
        }
        pause(LONGEST_STEP.min(window));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_the_first_accepted_observation() {
        let mut n = 0;
        let seen = eventually(
            "three",
            Duration::from_secs(5),
            || {
                n += 1;
                n
            },
            |n| *n == 3,
        );
        assert_eq!(seen, 3);
    }

    #[test]
    #[should_panic(expected = "the answer: not within 10ms; last observed: 41")]
    fn reports_the_last_observation_when_the_bound_is_reached() {
        eventually("the answer", Duration::from_millis(10), || 41, |n| *n == 42);
    }

    #[test]
    #[should_panic(expected = "quiet: no longer true")]
    fn throughout_fails_when_the_condition_breaks() {
        let mut n = 0;
        throughout(
            "quiet",
            Duration::from_secs(5),
            || {
                n += 1;
                n
            },
            |n| *n < 3,
        );
    }
}
