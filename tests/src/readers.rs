//! Readers of many answers from many addresses, who note how long each took: so that all of what nodes share is asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Client, Request};
use crate::sync::pause;

/// Readers from many addresses, of many answers: so that all of Redis is asked.
#[derive(Debug)]
pub struct Readers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Seen>>,
}

/// What they saw.
#[derive(Debug, Default)]
pub struct Seen {
    times: Vec<Duration>,
    failures: Vec<String>,
}

impl Readers {
    /// `each` readers for each address.
    pub fn start(addresses: &[SocketAddr], each: usize) -> Readers {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..addresses.len() * each).map(|reader| {
            let (address, stop) = (addresses[reader % addresses.len()], Arc::clone(&stop));
            std::thread::spawn(move || read(address, reader, &stop))
        });
        Readers { threads: threads.collect(), stop }
    }

    /// Waits for them to end.
    pub fn end(mut self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Seen::default();
        for thread in self.threads.drain(..) {
            let seen = thread.join().expect("a reader does not panic");
            all.times.extend(seen.times);
            all.failures.extend(seen.failures);
        }
        all.times.sort_unstable();
        all
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn read(address: SocketAddr, reader: usize, stop: &AtomicBool) -> Seen {
    let mut client = Client::to(address).timeout(Duration::from_secs(10));
    let mut seen = Seen::default();
    for turn in reader * 31.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let request = Request::get(&format!("/api/v2/posts?limit={}", 1 + turn % 60))
            .header("x-forwarded-for", &format!("198.51.100.{}", 1 + turn % 250));
        let sent = Instant::now();
        match client.try_send(&request) {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) => seen.failures.push(format!("{answer:?}")),
            Err(error) => seen.failures.push(error.to_string()),
        }
        seen.times.push(sent.elapsed());
        // Some hundreds a second are enough, and leave the machine to what is tested.
        pause(Duration::from_millis(5));
    }
    seen
}

impl Seen {
    /// The time that `percent` of the requests did not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let place = (self.times.len() * percent).div_ceil(100).max(1) - 1;
        self.times.get(place).copied().unwrap_or_default()
    }

    /// Fails the test when a reader saw anything but 200.
    #[track_caller]
    pub fn assert_none_failed(&self, what: &str) {
        let shown = &self.failures[..self.failures.len().min(5)];
        assert!(
            self.failures.is_empty(),
            "{what}: {} of {} failed: {shown:#?}",
            self.failures.len(),
            self.times.len()
        );
        assert!(self.times.len() > 20, "{what}: {} requests are too few to say anything", self.times.len());
    }

    /// The figures, for whoever reads the log.
    #[expect(clippy::print_stderr, reason = "figures are what these tests are for")]
    pub fn say(&self, what: &str) {
        let [middle, late, last] = [50, 99, 100].map(|percent| self.percentile(percent));
        eprintln!("{what}: {} requests, p50 {middle:?}, p99 {late:?}, longest {last:?}", self.times.len());
    }
}
