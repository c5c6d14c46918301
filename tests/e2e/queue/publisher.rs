//! Somebody who publishes one post after the other, whatever happens to the nodes meanwhile.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cirque_tests::{Client, Request};

use super::{Site, publish};

const READER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

/// Publishes posts one after the other, each again until it is there, and looks at each once.
pub(crate) struct Publisher {
    stop: Arc<AtomicBool>,
    published: Arc<Mutex<Vec<i64>>>,
    count: Arc<AtomicUsize>,
    thread: JoinHandle<()>,
}

impl Publisher {
    pub(crate) fn start(site: &Site) -> Publisher {
        let (stop, published) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let count = Arc::new(AtomicUsize::new(0));
        let addresses: Vec<_> = site.nodes.iter().map(cirque_tests::node::Node::address).collect();
        let token = site.token.clone();
        let (ending, known, counted) = (Arc::clone(&stop), Arc::clone(&published), Arc::clone(&count));
        let thread = thread::spawn(move || {
            let (mut number, mut turn) = (0, 0);
            while !ending.load(Ordering::SeqCst) {
                turn += 1;
                let address = addresses[turn % addresses.len()];
                // A title is a key: asked twice for one, a node writes one post.
                let Some((id, slug)) = publish(address, &token, &format!("Post number {number}")) else {
                    continue;
                };
                number += 1;
                known.lock().unwrap_or_else(PoisonError::into_inner).push(id);
                counted.fetch_add(1, Ordering::SeqCst);
                let view = Request::get(&format!("/api/v2/posts/{slug}")).header("user-agent", READER);
                let _ = Client::to(address).timeout(Duration::from_secs(5)).try_send(&view);
            }
        });
        Publisher { stop, published, count, thread }
    }

    /// How many were acknowledged.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// The ids of those that were acknowledged.
    pub(crate) fn end(self) -> Vec<i64> {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.join().expect("it does not panic");
        let published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
        published.clone()
    }
}
