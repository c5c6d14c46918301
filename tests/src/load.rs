//! Decides how many requests are sent, how fast, and what is kept of their answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Client, Request};
use crate::sync::{Gate, lock};

/// A run ends after this many requests or this long, whatever it was told.
const MAX_REQUESTS: usize = 1_000_000;
const MAX_DURATION: Duration = Duration::from_secs(300);
/// How many failures are kept with their text.
const MAX_FAILURES: usize = 20;

/// A bounded stream of requests over a fixed number of kept connections.
#[derive(Debug, Clone)]
pub struct Load {
    address: SocketAddr,
    request: Request,
    connections: usize,
    per_second: Option<u32>,
    requests: usize,
    duration: Duration,
    timeout: Duration,
    tally: String,
}

impl Load {
    pub fn on(address: SocketAddr, target: &str) -> Load {
        Load {
            address,
            request: Request::get(target),
            connections: 4,
            per_second: None,
            requests: MAX_REQUESTS,
            duration: MAX_DURATION,
            timeout: Duration::from_secs(30),
            tally: "x-served-by".to_owned(),
        }
    }

    #[must_use]
    pub fn request(mut self, request: Request) -> Load {
        self.request = request;
        self
    }

    #[must_use]
    pub fn connections(mut self, connections: usize) -> Load {
        self.connections = connections.clamp(1, 256);
        self
    }

    /// A steady rate over all connections together; without it each connection sends as soon as it has its answer.
    #[must_use]
    pub fn per_second(mut self, per_second: u32) -> Load {
        self.per_second = Some(per_second.max(1));
        self
    }

    #[must_use]
    pub fn requests(mut self, requests: usize) -> Load {
        self.requests = requests.min(MAX_REQUESTS);
        self
    }

    #[must_use]
    pub fn lasting(mut self, duration: Duration) -> Load {
        self.duration = duration.min(MAX_DURATION);
        self
    }

    /// The answer header whose values are counted.
    #[must_use]
    pub fn tally(mut self, header: &str) -> Load {
        header.clone_into(&mut self.tally);
        self
    }

    /// Runs to its end.
    pub fn run(self) -> Report {
        self.start().join()
    }

    /// Runs beside the test.
    pub fn start(self) -> Running {
        let shared =
            Arc::new(Shared { stop: Gate::default(), sent: AtomicUsize::new(0), report: Mutex::default() });
        let started = Instant::now();
        let threads = (0..self.connections)
            .map(|place| {
                let (load, shared) = (self.clone(), Arc::clone(&shared));
                std::thread::spawn(move || load.drive(place, started, &shared))
            })
            .collect();
        Running { shared, threads }
    }

    fn drive(&self, place: usize, started: Instant, shared: &Shared) {
        let mut client = Client::to(self.address).timeout(self.timeout);
        for turn in 0_u32.. {
            if !self.wait_for_turn(place, turn, started, shared) {
                return;
            }
            if shared.sent.fetch_add(1, Ordering::Relaxed) >= self.requests {
                return;
            }
            let sent = Instant::now();
            let answer = client.try_send(&self.request);
            let mut report = lock(&shared.report);
            report.latencies.push(sent.elapsed());
            match answer {
                Ok(response) => {
                    *report.statuses.entry(response.status).or_default() += 1;
                    if let Some(value) = response.header(&self.tally) {
                        *report.served_by.entry(value.to_owned()).or_default() += 1;
                    }
                    if response.status >= 400 {
                        report.note(format!("{response:?}"));
                    }
                }
                Err(error) => {
                    report.errors += 1;
                    report.note(error.to_string());
                }
            }
        }
    }

    /// False when the run is over.
    fn wait_for_turn(&self, place: usize, turn: u32, started: Instant, shared: &Shared) -> bool {
        if let Some(rate) = self.per_second {
            let every = Duration::from_secs(1) / rate;
            let offset = every * u32::try_from(place).unwrap_or(0);
            let due = started + offset + every * u32::try_from(self.connections).unwrap_or(1) * turn;
            if shared.stop.wait(due.saturating_duration_since(Instant::now())) {
                return false;
            }
        }
        !shared.stop.is_raised() && started.elapsed() < self.duration
    }
}

struct Shared {
    stop: Gate,
    sent: AtomicUsize,
    report: Mutex<Report>,
}

/// A load that is under way; dropping it stops it.
pub struct Running {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Running {
    /// How many answers, good or bad, have come so far.
    pub fn answered(&self) -> usize {
        lock(&self.shared.report).total()
    }

    /// What has come so far, and starts counting anew: for asking what happened in one phase of a test.
    pub fn take_report(&self) -> Report {
        std::mem::take(&mut *lock(&self.shared.report))
    }

    /// Waits until `n` more answers have come.
    #[track_caller]
    pub fn wait_for(&self, n: usize) {
        let target = self.answered() + n;
        let what = format!("{n} more answers under load");
        crate::eventually(&what, Duration::from_secs(60), || self.answered(), |seen| *seen >= target);
    }

    pub fn stop(self) -> Report {
        self.shared.stop.raise();
        self.join()
    }

    /// Waits for its end.
    pub fn join(mut self) -> Report {
        for thread in self.threads.drain(..) {
            thread.join().expect("a load thread does not panic");
        }
        self.take_report()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop.raise();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// What came of a load.
#[derive(Debug, Clone, Default)]
pub struct Report {
    pub statuses: BTreeMap<u16, usize>,
    /// Requests that got no whole answer.
    pub errors: usize,
    /// The first failures, in words.
    pub failures: Vec<String>,
    /// How many answers carried each value of the tallied header.
    pub served_by: BTreeMap<String, usize>,
    latencies: Vec<Duration>,
}

impl Report {
    pub fn total(&self) -> usize {
        self.latencies.len()
    }

    /// The latency that `percent` of the requests did not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * percent.min(100)).div_ceil(100).max(1) - 1;
        sorted.get(place).copied().unwrap_or_default()
    }

    /// Fails the test unless there was at least one request and every one was answered with 200.
    #[track_caller]
    pub fn assert_all_ok(&self) {
        assert!(self.total() > 0, "no request was answered");
        self.assert_none_failed();
    }

    /// Fails the test when a request was not answered with 200.
    #[track_caller]
    pub fn assert_none_failed(&self) {
        let ok = self.statuses.get(&200).copied().unwrap_or(0);
        let (total, slowest) = (self.total(), self.percentile(100));
        assert!(
            ok == total,
            "{} of {total} requests failed (statuses {:?}, without answer {}, slowest {slowest:?}):\n{}",
            total - ok,
            self.statuses,
            self.errors,
            self.failures.join("\n")
        );
    }

    /// The part of the answers that carried this value of the tallied header.
    pub fn share(&self, served_by: &str) -> f64 {
        let count = self.served_by.get(served_by).copied().unwrap_or(0);
        let total: usize = self.served_by.values().sum();
        if total == 0 { 0.0 } else { count as f64 / total as f64 }
    }

    /// Both loads as one.
    #[must_use]
    pub fn with(mut self, other: Report) -> Report {
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        for (name, count) in other.served_by {
            *self.served_by.entry(name).or_default() += count;
        }
        self.errors += other.errors;
        self.latencies.extend(other.latencies);
        other.failures.into_iter().for_each(|failure| self.note(failure));
        self
    }

    fn note(&mut self, failure: String) {
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(failure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Backend, Reply};

    #[test]
    fn sends_exactly_as_many_as_told_and_counts_who_answered() {
        let backend = Backend::named("one");
        let report = Load::on(backend.address(), "/").connections(3).requests(50).run();
        report.assert_all_ok();
        assert_eq!((report.total(), report.served_by["one"]), (50, 50));
        assert_eq!(backend.requests().len(), 50);
        assert_eq!(backend.connections(), 3);
    }

    #[test]
    fn keeps_a_steady_rate() {
        let backend = Backend::start();
        let load = Load::on(backend.address(), "/").connections(2).per_second(100);
        let report = load.lasting(Duration::from_millis(500)).run();
        assert!((40..=55).contains(&report.total()), "{} requests in half a second", report.total());
    }

    #[test]
    fn failures_are_counted_and_told() {
        let backend = Backend::start();
        backend.answer_on("/", Reply::status(500));
        let report = Load::on(backend.address(), "/").requests(5).run();
        assert_eq!(report.statuses[&500], 5);
        backend.answer_on("/", Reply::close());
        let report = Load::on(backend.address(), "/").requests(5).run();
        assert_eq!(report.errors, 5);
        assert!(report.failures[0].contains("closed without an answer"), "{report:?}");
    }

    #[test]
    fn percentiles_are_taken_from_the_sorted_latencies() {
        let latencies = (1..=100).rev().map(Duration::from_millis).collect();
        let report = Report { latencies, ..Report::default() };
        assert_eq!(report.percentile(50), Duration::from_millis(50));
        assert_eq!(report.percentile(99), Duration::from_millis(99));
        assert_eq!(report.percentile(100), Duration::from_millis(100));
    }
}
