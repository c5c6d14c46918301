//! Decides whether this node should get traffic, and whether this process keeps connections: not once it was told to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

const SERVING: u8 = 0;
const LEAVING: u8 = 1;
const DRAINING: u8 = 2;

/// The life of one process of a node, seen by all its parts. `serve` or `work` is the only writer.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle(Arc<AtomicU8>);

/// How a process ends.
#[derive(Clone, Debug)]
pub enum Ending {
    /// The node stops: not ready first, then deaf, then done as soon as nothing is in flight.
    Stop,
    /// Another process of the node has taken over. This one accepts nothing more, and clients may use their idle
    /// connections once more, so that none is closed under a request. When the token is cancelled there is no time.
    Leave(CancellationToken),
}

impl Lifecycle {
    /// Whether the node was told to stop: it finishes what it holds, and is not ready for more.
    pub fn is_draining(&self) -> bool {
        self.0.load(Ordering::Acquire) == DRAINING
    }

    /// Whether connections are kept after an answer. A process that ends asks clients to come back over another one.
    pub fn keeps_connections(&self) -> bool {
        self.0.load(Ordering::Acquire) == SERVING
    }

    /// From now on the process ends so. There is no way back.
    pub fn end(&self, ending: &Ending) {
        let life = match ending {
            Ending::Stop => DRAINING,
            Ending::Leave(_) => LEAVING,
        };
        self.0.fetch_max(life, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_leaves_lets_go_of_connections_while_its_node_is_ready() {
        let life = Lifecycle::default();
        assert!(life.keeps_connections() && !life.is_draining());
        life.end(&Ending::Leave(CancellationToken::new()));
        assert!(!life.keeps_connections() && !life.is_draining());
        life.end(&Ending::Stop);
        assert!(!life.keeps_connections() && life.is_draining());
        life.end(&Ending::Leave(CancellationToken::new()));
        assert!(life.is_draining(), "there is no way back");
    }
}
