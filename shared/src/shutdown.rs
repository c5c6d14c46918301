//! Decides what a signal means and how long a stop may take: finish what is in flight, then go.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// What the outside world asked of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM or SIGINT: stop, finishing what is in flight.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
    /// SIGUSR1: open log files anew, they were moved away.
    Reopen,
    /// SIGUSR2: let a new process of the binary take over.
    Upgrade,
}

/// Listens for the signals of the process. Make it once, before anything is announced.
#[derive(Debug)]
pub struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hangup: tokio::signal::unix::Signal,
    user1: tokio::signal::unix::Signal,
    user2: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2.
    ///
    /// # Errors
    ///
    /// When the system refuses the handlers; must be called inside a runtime.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next request.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
            _ = self.hangup.recv() => Request::Reload,
            _ = self.user1.recv() => Request::Reopen,
            _ = self.user2.recv() => Request::Upgrade,
        }
    }
}

/// Counts what is in flight, so that a stop ends as soon as nothing is.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    count: AtomicUsize,
    idle: Notify,
}

/// One thing in flight; dropping it, in whatever way, ends it.
#[derive(Debug)]
pub struct Guard(Arc<Counted>);

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything finished.
    Clean,
    /// The time was up with this many still in flight.
    Cut(usize),
}

impl InFlight {
    /// Counts one more until the guard is dropped.
    pub fn enter(&self) -> Guard {
        self.0.count.fetch_add(1, Ordering::AcqRel);
        Guard(Arc::clone(&self.0))
    }

    /// How many are in flight.
    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// Waits until nothing is in flight, for `at_most` at the longest.
    pub async fn drained(&self, at_most: Duration) -> Drained {
        let idle = async {
            loop {
                let notified = self.0.idle.notified();
                tokio::pin!(notified);
                // Registered before the count is read: an end in between is not missed.
                notified.as_mut().enable();
                if self.count() == 0 {
                    return;
                }
                notified.await;
            }
        };
        match tokio::time::timeout(at_most, idle).await {
            Ok(()) => Drained::Clean,
            Err(_) => Drained::Cut(self.count()),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_drain_with_nothing_in_flight_ends_at_once() {
        let started = tokio::time::Instant::now();
        assert_eq!(InFlight::default().drained(LONG).await, Drained::Clean);
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_with_the_last_guard() {
        let in_flight = InFlight::default();
        let guards = [in_flight.enter(), in_flight.enter()];
        let started = tokio::time::Instant::now();
        let waiting = tokio::spawn({
            let in_flight = in_flight.clone();
            async move { in_flight.drained(LONG).await }
        });
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(guards);
        assert_eq!(waiting.await.unwrap(), Drained::Clean);
        assert_eq!(started.elapsed(), Duration::from_secs(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_that_takes_too_long_says_how_many_were_cut() {
        let in_flight = InFlight::default();
        let _guard = in_flight.enter();
        assert_eq!(in_flight.drained(LONG).await, Drained::Cut(1));
    }
}
