//! Holds the only place where the harness lets time pass, and how its threads share state.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets time pass. For pacing and polling inside the harness only: a test waits with [`crate::eventually()`].
#[expect(clippy::disallowed_methods, reason = "harness threads are plain threads; nothing else runs on them")]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Locks, also after another thread panicked: the panic is reported by its own test.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A flag that is raised once and wakes everyone who waits for it.
#[derive(Debug, Default)]
pub struct Gate {
    raised: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    pub fn raise(&self) {
        *lock(&self.raised) = true;
        self.changed.notify_all();
    }

    pub fn is_raised(&self) -> bool {
        *lock(&self.raised)
    }

    /// Waits at most `bound`; true when the gate was raised.
    pub fn wait(&self, bound: Duration) -> bool {
        let until = Instant::now() + bound;
        let mut raised = lock(&self.raised);
        while !*raised {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            raised = self.changed.wait_timeout(raised, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_wakes_who_waits_and_stays_raised() {
        let gate = std::sync::Arc::new(Gate::default());
        assert!(!gate.wait(Duration::from_millis(1)));
        let other = std::sync::Arc::clone(&gate);
        let waiter = std::thread::spawn(move || other.wait(Duration::from_secs(10)));
        gate.raise();
        assert!(waiter.join().unwrap());
        assert!(gate.wait(Duration::ZERO) && gate.is_raised());
    }
}
