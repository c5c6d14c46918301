//! Decides whether this node should get traffic: not any more once it was told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The life of one node, seen by all its parts. `serve` is the only writer.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle(Arc<AtomicBool>);

impl Lifecycle {
    /// Whether the node was told to stop: it finishes what it holds, and asks clients to go elsewhere.
    pub fn is_draining(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// From now on the node is draining. There is no way back.
    pub fn drain(&self) {
        self.0.store(true, Ordering::Release);
    }
}
