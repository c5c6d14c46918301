//! Decides where counters are kept: in a bounded table, which forgets those that stand at zero first.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use super::gcra::Counter;
use super::{Client, Policy};
use crate::moment::Moment;

const SHARDS: usize = 32;
/// The most counters of one shard: 131,072 in all, a few MiB.
const MOST: usize = 4096;

type Key = (Policy, Client);

/// Counters, in shards so that clients seldom wait for each other.
#[derive(Debug, Default)]
pub(super) struct Table {
    shards: [Mutex<HashMap<Key, Counter>>; SHARDS],
    hasher: RandomState,
}

impl Table {
    /// Lets `change` look at the counter of a client and change it.
    pub(super) fn update<T>(
        &self,
        policy: Policy,
        client: Client,
        now: Moment,
        change: impl FnOnce(&mut Counter) -> T,
    ) -> T {
        let key = (policy, client);
        let hash = self.hasher.hash_one(key);
        let shard = &self.shards[usize::try_from(hash).unwrap_or(0) % SHARDS];
        let mut counters = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counter = counters.get(&key).copied().unwrap_or(0);
        let outcome = change(&mut counter);
        let now = now.0.saturating_mul(1000);
        if counter > now {
            if counters.len() >= MOST && !counters.contains_key(&key) {
                make_room(&mut counters, now);
            }
            counters.insert(key, counter);
        }
        outcome
    }
}

/// Forgets what stands at zero; if that is nothing, the half that would stand there soonest.
fn make_room(counters: &mut HashMap<Key, Counter>, now: i64) {
    counters.retain(|_, counter| *counter > now);
    if counters.len() >= MOST {
        let mut all: Vec<Counter> = counters.values().copied().collect();
        let (_, middle, _) = all.select_nth_unstable(MOST / 2);
        let middle = *middle;
        counters.retain(|_, counter| *counter > middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_bounded_and_the_busiest_stay() {
        let table = Table::default();
        let now = Moment(1_000);
        let busy = Client::Token(7);
        table.update(Policy::Public, busy, now, |counter| *counter = i64::MAX);
        for client in 0..400_000 {
            table.update(Policy::Public, Client::Address(client), now, |counter| {
                *counter = 1_000_000 + i64::try_from(client).unwrap_or(0);
            });
        }
        let kept: usize = table.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= SHARDS * MOST, "{kept}");
        assert_eq!(table.update(Policy::Public, busy, now, |counter| *counter), i64::MAX);
    }

    #[test]
    fn policies_do_not_share_a_counter() {
        let table = Table::default();
        let now = Moment(1_000);
        table.update(Policy::Public, Client::Token(1), now, |counter| *counter = i64::MAX);
        assert_eq!(table.update(Policy::Login, Client::Token(1), now, |counter| *counter), 0);
    }

    #[test]
    fn what_stands_at_zero_takes_no_room() {
        let table = Table::default();
        table.update(Policy::Public, Client::Token(1), Moment(1_000), |counter| *counter = 5);
        let kept: usize = table.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert_eq!(kept, 0);
    }
}
