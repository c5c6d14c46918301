//! Counts clients' connections, in total and for each client, and refuses those above a limit.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Subject;

/// Parts of the count that are locked by themselves.
const SHARDS: usize = 64;

/// The connections there are. What is kept grows with their number, and with nothing else.
#[derive(Debug)]
pub(crate) struct Connections {
    total: AtomicUsize,
    shards: Vec<Mutex<HashMap<Subject, u32>>>,
    hasher: RandomState,
}

/// One connection; dropping it, in whatever way, ends it.
#[derive(Debug)]
pub(crate) struct Held {
    connections: Arc<Connections>,
    /// Whose it is, where that is counted.
    subject: Option<Subject>,
}

/// Why a connection is refused. The name is the metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// There are as many as there may be.
    Total,
    /// This client has as many as it may have.
    Client,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            total: AtomicUsize::new(0),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl Connections {
    /// Counts one more from this address, unless there are `most` in total or `most_each` of this client.
    /// `None` as `most_each` counts the connection in total only.
    pub(crate) fn enter(
        self: &Arc<Self>,
        address: IpAddr,
        most: usize,
        most_each: Option<u32>,
    ) -> Result<Held, Full> {
        let before = self.total.fetch_add(1, Ordering::AcqRel);
        // Made first: it takes the one back when it is dropped.
        let mut held = Held { connections: Arc::clone(self), subject: None };
        if before >= most {
            return Err(Full::Total);
        }
        if let Some(most_each) = most_each {
            held.belongs_to(address, most_each)?;
        }
        Ok(held)
    }

    fn shard(&self, subject: Subject) -> &Mutex<HashMap<Subject, u32>> {
        let hash = self.hasher.hash_one(subject);
        &self.shards[usize::try_from(hash % SHARDS as u64).unwrap_or_default()]
    }
}

impl Full {
    /// Every reason, so that each series exists from the start.
    pub(crate) const ALL: [Self; 2] = [Self::Total, Self::Client];

    /// The value of the `reason` label.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Client => "client",
        }
    }
}

impl Held {
    /// Counts the connection as this client's, unless it has `most_each`. To be called once.
    pub(crate) fn belongs_to(&mut self, address: IpAddr, most_each: u32) -> Result<(), Full> {
        let subject = Subject::of(address);
        let mut shard = self.connections.shard(subject).lock().unwrap_or_else(PoisonError::into_inner);
        let count = shard.entry(subject).or_insert(0);
        if *count >= most_each {
            // One that is not allowed any is not remembered either.
            if *count == 0 {
                shard.remove(&subject);
            }
            return Err(Full::Client);
        }
        *count += 1;
        self.subject = Some(subject);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.connections.total.fetch_sub(1, Ordering::AcqRel);
        let Some(subject) = self.subject else { return };
        let shard = self.connections.shard(subject);
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = shard.get_mut(&subject) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&subject);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn each_client_has_its_own_limit_below_the_one_for_all() {
        let connections = Arc::new(Connections::default());
        let enter = |text: &str, each| connections.enter(address(text), 4, each).map_err(Full::reason);
        let held: Vec<Held> = (0..2).map(|_| enter("192.0.2.1", Some(2)).unwrap()).collect();
        assert_eq!(enter("192.0.2.1", Some(2)).err(), Some("client"));
        let other = [enter("192.0.2.2", Some(2)).unwrap(), enter("192.0.2.1", None).unwrap()];
        assert_eq!(enter("192.0.2.3", Some(2)).err(), Some("total"));
        drop(held);
        assert!(enter("192.0.2.1", Some(2)).is_ok());
        drop(other);
        assert_eq!(connections.total.load(Ordering::Acquire), 0);
        assert!(
            connections.shards.iter().all(|shard| shard.lock().unwrap().is_empty()),
            "nothing is left over"
        );
    }
}
