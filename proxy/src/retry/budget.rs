//! Decides whether one more retry is affordable: retries are a share of requests, plus a few a second for free.
//!
//! A token bucket in thousandths of a retry: each request deposits its share, each retry withdraws a whole
//! one. Without it a failing upstream gets up to `attempts` times its traffic just when it can bear least
//! (the retry storms of Envoy's and Finagle's documentation, where the idea comes from).

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

const UNIT: f64 = 1000.0;

/// The most that can be saved up, in retries: a burst after a quiet time stays bounded.
const MOST_SAVED: f64 = 100.0;

/// A route's retry budget.
#[derive(Debug)]
pub(crate) struct Budget {
    share: i64,
    free_per_second: f64,
    balance: AtomicI64,
    started: Instant,
    last_free_ms: AtomicU64,
}

impl Budget {
    /// A budget of this share of requests (0.0 to 1.0), and so many retries a second for free: a site with little
    /// traffic could not retry at all without.
    pub(crate) fn new(share: f64, floor: u32) -> Self {
        // Full at the start: the first backend to fail must not cost a request of a young process.
        Self { free_per_second: f64::from(floor), ..Self::of(share, MOST_SAVED) }
    }

    /// A budget that starts with `retries` and gets none for free.
    pub(crate) fn of(share: f64, retries: f64) -> Self {
        Self {
            share: (share * UNIT) as i64,
            free_per_second: 0.0,
            balance: AtomicI64::new((retries * UNIT) as i64),
            started: Instant::now(),
            last_free_ms: AtomicU64::new(0),
        }
    }

    #[cfg(test)]
    pub(crate) fn full() -> Self {
        Self::of(1.0, MOST_SAVED)
    }

    /// A request began: its share is added.
    pub(crate) fn deposit(&self) {
        // One read in the common case of a full budget; the bound may be passed by a few, never for long.
        if self.share > 0 && self.balance.load(Ordering::Relaxed) < (MOST_SAVED * UNIT) as i64 {
            self.balance.fetch_add(self.share, Ordering::Relaxed);
        }
    }

    /// Takes one retry; `false` when the budget is empty.
    pub(crate) fn withdraw(&self) -> bool {
        self.add_free(self.started.elapsed());
        let take = |balance: i64| (balance >= UNIT as i64).then_some(balance - UNIT as i64);
        self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn add_free(&self, now: Duration) {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let last_ms = self.last_free_ms.load(Ordering::Relaxed);
        let earned =
            (now_ms.saturating_sub(last_ms) as f64 / 1000.0 * self.free_per_second).min(self.free_per_second);
        let earned = (earned * UNIT) as i64;
        // Whoever wins the exchange adds for both; the loser's time is not counted twice.
        if earned > 0
            && self
                .last_free_ms
                .compare_exchange(last_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let cap = (MOST_SAVED * UNIT) as i64;
            let add = |balance: i64| (balance < cap).then_some((balance + earned).min(cap));
            let _ = self.balance.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn withdrawn(budget: &Budget, tries: usize) -> usize {
        (0..tries).filter(|_| budget.withdraw()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_fifth_of_requests_may_be_retried() {
        let budget = Budget::of(0.2, 0.0);
        for _ in 0..100 {
            budget.deposit();
        }
        assert_eq!(withdrawn(&budget, 100), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_a_second_are_free() {
        let budget = Budget::new(0.0, 3);
        assert_eq!(withdrawn(&budget, 1000), MOST_SAVED as usize);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(withdrawn(&budget, 100), 3);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(withdrawn(&budget, 100), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn savings_are_bounded() {
        let budget = Budget::new(1.0, 3);
        for _ in 0..1_000_000 {
            budget.deposit();
        }
        assert!(withdrawn(&budget, 10_000) <= MOST_SAVED as usize + 1);
    }

    #[tokio::test(start_paused = true)]
    async fn concurrent_withdrawals_never_overdraw() {
        let budget = std::sync::Arc::new(Budget::of(0.0, 50.0));
        let taken: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| withdrawn(&budget, 1000))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(taken, 50);
    }
}
