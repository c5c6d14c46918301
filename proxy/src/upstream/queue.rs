//! Decides who is next when every backend that may be asked has all the requests it may have.
//!
//! First come, first served: only the head of the line tries, and whoever comes new goes to its end. Whoever
//! leaves, in whatever way, has the new head try, so that no freed place is overlooked; a waiter that is dropped
//! leaves. Nobody holds a lock while waiting.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cirque_shared::metrics::Gauge;
use tokio::sync::Notify;

/// The line before one upstream.
#[derive(Debug)]
pub(crate) struct Queue {
    line: Mutex<Line>,
    /// As many as are in the line; read without its lock.
    len: AtomicUsize,
    shown: Gauge,
}

#[derive(Debug, Default)]
struct Line {
    next_number: u64,
    waiting: VecDeque<(u64, Arc<Notify>)>,
}

/// A place in the line, given up when dropped.
#[derive(Debug)]
pub(crate) struct Ticket<'q> {
    queue: &'q Queue,
    number: u64,
    turn: Arc<Notify>,
}

impl Queue {
    /// An empty line, whose length is shown by this gauge.
    pub(crate) fn new(shown: Gauge) -> Self {
        Self { line: Mutex::default(), len: AtomicUsize::new(0), shown }
    }

    /// Whether somebody is waiting: whoever comes now must not overtake them.
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::SeqCst) == 0
    }

    /// Goes to the end of the line, unless `most` are waiting.
    ///
    /// Whoever joined looks for a place again: one that was freed before is seen then, and whoever frees one after
    /// sees the line.
    pub(crate) fn join(&self, most: usize) -> Option<Ticket<'_>> {
        let mut line = self.lock();
        if line.waiting.len() >= most {
            return None;
        }
        let (number, turn) = (line.next_number, Arc::new(Notify::new()));
        line.next_number += 1;
        line.waiting.push_back((number, Arc::clone(&turn)));
        self.len.store(line.waiting.len(), Ordering::SeqCst);
        drop(line);
        self.shown.inc();
        Some(Ticket { queue: self, number, turn })
    }

    /// A place may have become free: the head of the line tries.
    pub(crate) fn freed(&self) {
        if !self.is_empty()
            && let Some((_, turn)) = self.lock().waiting.front()
        {
            turn.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // Nothing under the lock can leave the line half changed.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// Ready when it is time to try. May be so for nothing.
    pub(crate) async fn turn(&self) {
        self.turn.notified().await;
    }

    /// Whether nobody is before this one.
    pub(crate) fn is_first(&self) -> bool {
        self.queue.lock().waiting.front().is_some_and(|(number, _)| *number == self.number)
    }

    /// This one could not use what is free, which the one behind it perhaps can: it tried elsewhere.
    pub(crate) fn pass_on(&self) {
        let line = self.queue.lock();
        let place = line.waiting.partition_point(|(number, _)| *number <= self.number);
        if let Some((_, turn)) = line.waiting.get(place) {
            turn.notify_one();
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.lock();
        if let Ok(place) = line.waiting.binary_search_by_key(&self.number, |(number, _)| *number) {
            line.waiting.remove(place);
        }
        self.queue.len.store(line.waiting.len(), Ordering::SeqCst);
        drop(line);
        self.queue.shown.dec();
        self.queue.freed();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use cirque_shared::metrics::Registry;

    use super::*;

    fn queue() -> Arc<Queue> {
        Arc::new(Queue::new(Registry::new().gauge("waiting", "Waiting.")))
    }

    /// Places that are counted by hand, as backends count theirs.
    struct Places(AtomicU32);

    impl Places {
        fn take(&self) -> bool {
            self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| free.checked_sub(1)).is_ok()
        }

        fn free(&self, queue: &Queue) {
            self.0.fetch_add(1, Ordering::SeqCst);
            queue.freed();
        }
    }

    async fn wait_for_place(queue: &Queue, places: &Places) {
        if queue.is_empty() && places.take() {
            return;
        }
        let ticket = queue.join(10_000).unwrap();
        loop {
            if ticket.is_first() && places.take() {
                return;
            }
            ticket.turn().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_given_in_the_order_of_arrival_and_nobody_overtakes() {
        let (queue, places) = (queue(), Arc::new(Places(AtomicU32::new(0))));
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..5 {
            let (queue, places, order) = (Arc::clone(&queue), Arc::clone(&places), Arc::clone(&order));
            tasks.spawn(async move {
                wait_for_place(&queue, &places).await;
                order.lock().unwrap().push(number);
            });
            tokio::task::yield_now().await;
        }
        places.free(&queue);
        assert!(!queue.is_empty());
        for _ in 0..4 {
            places.free(&queue);
        }
        while tasks.join_next().await.is_some() {}
        assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_line_is_bounded_and_shown() {
        let registry = Registry::new();
        let queue = Queue::new(registry.gauge("waiting", "Waiting."));
        let (first, second) = (queue.join(2).unwrap(), queue.join(2));
        assert!(second.is_some() && queue.join(2).is_none());
        assert!(registry.text().contains("waiting 2"));
        drop(first);
        assert!(registry.text().contains("waiting 1"));
        assert!(second.unwrap().is_first());
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_that_leaves_with_its_turn_gives_it_to_the_next() {
        let queue = queue();
        let (first, second) = (queue.join(9).unwrap(), queue.join(9).unwrap());
        queue.freed();
        drop(first);
        tokio::time::timeout(Duration::from_secs(1), second.turn()).await.expect("the turn was passed on");
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_cannot_use_a_place_lets_the_next_try_and_stays_first() {
        let queue = queue();
        let (first, second) = (queue.join(9).unwrap(), queue.join(9).unwrap());
        queue.freed();
        first.turn().await;
        first.pass_on();
        tokio::time::timeout(Duration::from_secs(1), second.turn()).await.expect("the second may try");
        assert!(first.is_first());
        second.pass_on();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_wake_up_is_lost_however_takers_and_leavers_meet() {
        const WORKERS: usize = 64;
        let (queue, places) = (queue(), Arc::new(Places(AtomicU32::new(3))));
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..WORKERS {
            let (queue, places) = (Arc::clone(&queue), Arc::clone(&places));
            tasks.spawn(async move {
                for turn in 0..300_usize {
                    // Some give up while they wait.
                    let patience = if (worker + turn) % 7 == 0 {
                        Duration::from_micros(50)
                    } else {
                        Duration::from_secs(20)
                    };
                    let waited = tokio::time::timeout(patience, wait_for_place(&queue, &places)).await;
                    assert!(waited.is_ok() || patience < Duration::from_secs(1), "a wake-up was lost");
                    if waited.is_ok() {
                        tokio::task::yield_now().await;
                        places.free(&queue);
                    }
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert!(queue.is_empty());
        assert_eq!(places.0.load(Ordering::SeqCst), 3);
    }
}
