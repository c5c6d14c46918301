//! Decides which backend an attempt goes to: tiers, room, trials, the wait for room, and what holds when none is left.

use std::time::Duration;

use cirque_shared::request_id::random;
use tokio::time::Instant;

use super::availability::Event;
use super::backend::{Backend, Lease};
use super::{Member, Upstream};
use crate::balance::load::{most_at_once, share};
use crate::balance::{Candidate, Chooser, Key};
use crate::config::policy::Balance;

/// How often the first in line looks for room by itself: an ejection that is over, or a slow start that has come
/// further, calls nobody.
const RECHECK: Duration = Duration::from_millis(100);

/// A backend that was chosen for an attempt.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Which; it counts as in flight until this is dropped.
    pub(crate) lease: Lease,
    /// Whether this attempt decides about an ejected backend.
    pub(crate) is_trial: bool,
    /// Whether the backend was taken although it is not available.
    pub(crate) is_fail_open: bool,
}

/// How a backend would stand in a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// It could be taken.
    Candidate {
        candidate: Candidate,
        /// Only when no usual backend can.
        is_backup: bool,
    },
    /// It has all the requests that it may have.
    Full,
    /// Something is held against it.
    Unavailable,
    /// Its weight is 0.
    NoShare,
}

/// Why no backend was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoBackend {
    /// None is available, and the upstream does not fail open.
    NoneAvailable,
    /// All were tried for this request.
    AllTried,
    /// Those that could be asked have all the requests they may have, or others wait for room already.
    Full,
    /// Too many wait for room.
    QueueFull,
    /// There was no room in time.
    QueueTimeout,
}

impl Upstream {
    /// Chooses a backend that is not among `tried` and counts it as in flight.
    ///
    /// [`NoBackend::Full`] is to be followed by [`Self::wait`].
    pub(crate) fn choose(&self, key: Key, tried: &[usize], now: Instant) -> Result<Chosen, NoBackend> {
        if self.is_limited && !self.queue.is_empty() {
            return Err(NoBackend::Full);
        }
        self.choose_now(key, tried, now)
    }

    /// Waits in line for room, until `until` at the longest.
    pub(crate) async fn wait(&self, key: Key, tried: &[usize], until: Instant) -> Result<Chosen, NoBackend> {
        let began = Instant::now();
        let Some(ticket) = self.queue.join(self.config.queue) else {
            self.metrics.queue_overflow.inc();
            return Err(NoBackend::QueueFull);
        };
        let mut may_try = ticket.is_first();
        loop {
            if may_try {
                match self.choose_now(key, tried, Instant::now()) {
                    Err(NoBackend::Full) if !tried.is_empty() => ticket.pass_on(),
                    Err(NoBackend::Full) => {}
                    Ok(chosen) => {
                        self.metrics.queue_wait.observe(began.elapsed());
                        return Ok(chosen);
                    }
                    Err(other) => return Err(other),
                }
            }
            let now = Instant::now();
            if now >= until {
                self.metrics.queue_timeouts.inc();
                return Err(NoBackend::QueueTimeout);
            }
            let is_called = tokio::time::timeout_at(until.min(now + RECHECK), ticket.turn()).await.is_ok();
            may_try = is_called || ticket.is_first();
        }
    }

    /// How many backends a further attempt could go to: those available, and all of them when the pool fails
    /// open and `despite_doubt` says that anything is better than what there is. No more than one is looked for.
    pub(crate) fn n_untried(&self, tried: &[usize], now: Instant, despite_doubt: bool) -> usize {
        let now_ms = self.millis(now);
        let doubtful = despite_doubt && self.config.fail_open;
        let wanted = |index: &usize| {
            let member = &self.backends[*index];
            !tried.contains(index) && (doubtful && !member.is_out() || member.is_available(now_ms))
        };
        self.sharing().filter(wanted).take(1).count()
    }

    /// The same, whoever waits.
    fn choose_now(&self, key: Key, tried: &[usize], now: Instant) -> Result<Chosen, NoBackend> {
        let now_ms = self.millis(now);
        let untried = |index: usize| !tried.contains(&index);
        let available = |index: usize| untried(index) && self.backends[index].is_available(now_ms);
        if let Some(chosen) = self.choose_among(&available, key, now_ms, now, false) {
            return Ok(chosen);
        }
        if !self.sharing().any(untried) {
            return Err(NoBackend::AllTried);
        }
        if self.is_limited && self.sharing().any(available) {
            return Err(NoBackend::Full);
        }
        if !self.config.fail_open {
            self.metrics.no_backend.inc();
            return Err(NoBackend::NoneAvailable);
        }
        // Better a backend that may be broken than a certain refusal (Envoy's panic mode).
        let in_service = |index: usize| untried(index) && !self.backends[index].is_out();
        if let Some(chosen) = self.choose_among(&in_service, key, now_ms, now, true) {
            self.metrics.fail_open.inc();
            return Ok(chosen);
        }
        if self.sharing().any(in_service) && self.is_limited {
            return Err(NoBackend::Full);
        }
        self.metrics.no_backend.inc();
        Err(NoBackend::NoneAvailable)
    }

    /// Chooses one of the usual backends, or for want of those a backup, and takes it.
    fn choose_among(
        &self,
        wanted: &impl Fn(usize) -> bool,
        key: Key,
        now_ms: u64,
        now: Instant,
        is_fail_open: bool,
    ) -> Option<Chosen> {
        // Trials and places lost to other requests; looked at once each, so that the search ends.
        let mut lost = Vec::new();
        for (tier, is_backup) in self.tiers.iter().zip([false, true]) {
            while let Some(index) =
                self.pick(tier, key, now_ms, |index| wanted(index) && !lost.contains(&index))
            {
                if let Some(chosen) = self.take(index, now_ms, now, is_fail_open) {
                    if is_backup {
                        self.metrics.backups.inc();
                    }
                    return Some(chosen);
                }
                lost.push(index);
            }
        }
        None
    }

    fn pick(&self, tier: &Chooser, key: Key, now_ms: u64, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        let candidate = |index: usize| wanted(index).then(|| self.candidate(index, now_ms)).flatten();
        tier.pick(key, candidate, random())
    }

    /// How a backend stands at this millisecond; `None` when it has no room.
    fn candidate(&self, index: usize, now_ms: u64) -> Option<Candidate> {
        let member = &self.backends[index];
        let in_flight = member.in_flight();
        if member.most(now_ms).is_some_and(|most| in_flight >= most) {
            return None;
        }
        // A key that moves while its backend starts slowly would move back.
        let slow_start =
            if self.config.balance == Balance::Hash { Duration::ZERO } else { member.config.slow_start };
        let load = in_flight.saturating_add(member.penalty.at(now_ms));
        Some(Candidate { load, share: share(member.weight, member.back_for(now_ms), slow_start) })
    }

    /// How a backend would stand in a choice made now, for those who ask why; nothing is taken.
    pub(crate) fn prospect(&self, index: usize, now: Instant) -> Prospect {
        let is_in = |tier: &Chooser| tier.places().contains(&index);
        let Some(tier) = self.tiers.iter().position(is_in) else { return Prospect::NoShare };
        let now_ms = self.millis(now);
        if !self.backends[index].is_available(now_ms) {
            return Prospect::Unavailable;
        }
        match self.candidate(index, now_ms) {
            Some(candidate) => Prospect::Candidate { candidate, is_backup: tier > 0 },
            None => Prospect::Full,
        }
    }

    /// Where a hash leads this key now; `None` in pools that choose in another way.
    pub(crate) fn leads_to(&self, key: Key, now: Instant) -> Option<usize> {
        let now_ms = self.millis(now);
        let wanted = |index: usize| self.backends[index].is_available(now_ms);
        let mut tiers = self.tiers.iter().filter(|_| self.config.balance == Balance::Hash);
        tiers.find_map(|tier| self.pick(tier, key, now_ms, wanted))
    }

    /// Takes a place at a backend, and its trial where it needs one.
    fn take(&self, index: usize, now_ms: u64, now: Instant, is_fail_open: bool) -> Option<Chosen> {
        let member = &self.backends[index];
        let lease = Backend::lease(&member.backend, index, member.most(now_ms))?;
        let is_trial = !is_fail_open && member.needs_trial(now_ms);
        if is_trial && self.apply(index, Event::TrialBegan, now).is_none() {
            return None;
        }
        Some(Chosen { lease, is_trial, is_fail_open })
    }

    /// The places of all who share in the traffic.
    fn sharing(&self) -> impl Iterator<Item = usize> {
        self.tiers.iter().flat_map(|tier| tier.places().iter().copied())
    }
}

impl Member {
    /// How many requests at once it may have, fewer while it starts slowly; `None`: any number.
    fn most(&self, now_ms: u64) -> Option<u32> {
        let most = self.config.max_conns?;
        Some(most_at_once(most, self.back_for(now_ms), self.config.slow_start))
    }
}
