//! Decides whether a failed attempt is tried again.
//!
//! Pure: no clocks, no I/O. The exchange calls [`decide`] after every failed attempt.
//! Invariant: a request that may have reached a backend is repeated only if it is idempotent, only while its
//! body can be replayed whole, and only while the client has seen nothing of an answer.

pub(crate) mod backoff;
pub(crate) mod budget;

use std::time::Duration;

use crate::config::policy::{self, RetryOn};
use budget::Budget;

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No connection: refused, unreachable, handshake failed. Nothing was sent.
    Connect,
    /// No connection in time. Nothing was sent.
    ConnectTimeout,
    /// A pooled connection turned out to be closed before any answer: the backend is not to blame.
    StaleConnection,
    /// The connection broke while the request was sent or the answer awaited.
    Reset,
    /// The answer did not begin, or did not go on, in time.
    ReadTimeout,
    /// The request could not be sent in time.
    WriteTimeout,
    /// The answer did not begin within the time of one attempt.
    AttemptTimeout,
    /// The answer was not HTTP.
    Protocol,
    /// The backend answered with a status that the policy names.
    Status(u16),
}

impl Failure {
    /// The value of the `reason` label and log field.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::StaleConnection => "stale_connection",
            Self::Reset => "reset",
            Self::ReadTimeout => "read_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::AttemptTimeout => "attempt_timeout",
            Self::Protocol => "protocol",
            Self::Status(500) => "http_500",
            Self::Status(502) => "http_502",
            Self::Status(503) => "http_503",
            Self::Status(504) => "http_504",
            Self::Status(429) => "http_429",
            Self::Status(..500) => "http_4xx",
            Self::Status(_) => "http_5xx",
        }
    }

    /// Every reason, so that each series exists from the start.
    pub(crate) const REASONS: [&str; 15] = [
        "connect",
        "connect_timeout",
        "stale_connection",
        "reset",
        "read_timeout",
        "write_timeout",
        "attempt_timeout",
        "protocol",
        "http_500",
        "http_502",
        "http_503",
        "http_504",
        "http_429",
        "http_4xx",
        "http_5xx",
    ];

    /// Whether the backend cannot have seen the request.
    fn is_before_send(self) -> bool {
        matches!(self, Self::Connect | Self::ConnectTimeout)
    }

    /// Whether a word of the policy's `on` list means this failure.
    fn is_named_by(self, word: RetryOn) -> bool {
        match self {
            Self::Connect => matches!(word, RetryOn::Error | RetryOn::Connect),
            Self::ConnectTimeout => matches!(word, RetryOn::Timeout | RetryOn::Connect),
            Self::StaleConnection | Self::Reset => matches!(word, RetryOn::Error | RetryOn::Reset),
            Self::Protocol => matches!(word, RetryOn::Error | RetryOn::InvalidHeader),
            Self::ReadTimeout | Self::WriteTimeout | Self::AttemptTimeout => word == RetryOn::Timeout,
            Self::Status(status) => word == RetryOn::Status(status),
        }
    }

    /// Whether the policy would rather try again than pass this failure on.
    pub(crate) fn is_listed(self, policy: &policy::Retry) -> bool {
        policy.on.iter().any(|word| self.is_named_by(*word))
    }
}

/// What a decision needs to know of the request and its attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempted {
    /// Attempts made so far, this one included.
    pub(crate) attempts: u32,
    /// Whether repeating the request changes nothing (RFC 9110 §9.2.2).
    pub(crate) is_idempotent: bool,
    /// Whether its body, as far as it was read, can be sent again from the start.
    pub(crate) is_replayable: bool,
    /// Whether the client has seen any part of an answer.
    pub(crate) answer_started: bool,
    /// Time left until the request's deadline.
    pub(crate) remaining: Duration,
    /// The pause before the next attempt.
    pub(crate) pause: Duration,
    /// How many backends have not been tried yet.
    pub(crate) untried: usize,
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Try another backend.
    Retry,
    /// Answer with what there is.
    GiveUp(GiveUp),
}

/// Why a request is not tried again. Also the value of the `reason` label and log field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GiveUp {
    /// The policy does not name this failure.
    NotListed,
    /// The policy's attempts are used up.
    AttemptsExhausted,
    /// The request may have reached the backend and is not idempotent.
    NotIdempotent,
    /// The body can no longer be sent from its start.
    BodyNotReplayable,
    /// The client has seen part of an answer.
    AnswerStarted,
    /// The deadline has passed, or would during the pause.
    DeadlineReached,
    /// Every backend was tried.
    NoneLeft,
    /// Too large a share of requests is being retried already.
    BudgetEmpty,
}

impl GiveUp {
    /// The value of the `reason` label and log field.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::NotListed => "not_listed",
            Self::AttemptsExhausted => "attempts_exhausted",
            Self::NotIdempotent => "not_idempotent",
            Self::BodyNotReplayable => "body_not_replayable",
            Self::AnswerStarted => "answer_started",
            Self::DeadlineReached => "deadline_reached",
            Self::NoneLeft => "none_left",
            Self::BudgetEmpty => "budget_empty",
        }
    }

    /// Every reason, so that each series exists from the start.
    pub(crate) const ALL: [Self; 8] = [
        Self::NotListed,
        Self::AttemptsExhausted,
        Self::NotIdempotent,
        Self::BodyNotReplayable,
        Self::AnswerStarted,
        Self::DeadlineReached,
        Self::NoneLeft,
        Self::BudgetEmpty,
    ];
}

/// Whether to try again. Cheap checks first; the budget last, because withdrawing is the only side effect.
pub(crate) fn decide(
    policy: &policy::Retry,
    failure: Failure,
    request: &Attempted,
    budget: &Budget,
) -> Decision {
    // A stale pooled connection is our own doing, whatever the policy says about the backend's.
    let is_stale = failure == Failure::StaleConnection;
    let refusal = if !is_stale && !failure.is_listed(policy) {
        Some(GiveUp::NotListed)
    } else if request.answer_started {
        Some(GiveUp::AnswerStarted)
    } else if request.attempts >= policy.attempts && !is_stale {
        Some(GiveUp::AttemptsExhausted)
    } else if !request.is_idempotent && !policy.non_idempotent && !failure.is_before_send() {
        Some(GiveUp::NotIdempotent)
    } else if !request.is_replayable {
        Some(GiveUp::BodyNotReplayable)
    } else if request.remaining <= request.pause {
        Some(GiveUp::DeadlineReached)
    } else if request.untried == 0 && !is_stale {
        Some(GiveUp::NoneLeft)
    } else if !is_stale && !budget.withdraw() {
        Some(GiveUp::BudgetEmpty)
    } else {
        None
    };
    refusal.map_or(Decision::Retry, Decision::GiveUp)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> policy::Retry {
        let on = vec![RetryOn::Error, RetryOn::Timeout, RetryOn::Status(503)];
        policy::Retry { on, attempts: 3, ..policy::Retry::default() }
    }

    fn get() -> Attempted {
        Attempted {
            attempts: 1,
            is_idempotent: true,
            is_replayable: true,
            answer_started: false,
            remaining: Duration::from_secs(1),
            pause: Duration::ZERO,
            untried: 2,
        }
    }

    fn post() -> Attempted {
        Attempted { is_idempotent: false, ..get() }
    }

    #[track_caller]
    fn check(failure: Failure, request: Attempted, expected: Decision) {
        assert_eq!(decide(&policy(), failure, &request, &Budget::full()), expected);
    }

    #[test]
    fn a_get_is_retried_for_each_listed_failure() {
        for failure in [
            Failure::Connect,
            Failure::ConnectTimeout,
            Failure::Reset,
            Failure::ReadTimeout,
            Failure::WriteTimeout,
            Failure::AttemptTimeout,
            Failure::Protocol,
            Failure::Status(503),
            Failure::StaleConnection,
        ] {
            check(failure, get(), Decision::Retry);
        }
    }

    #[test]
    fn a_status_that_is_not_listed_is_passed_on() {
        check(Failure::Status(500), get(), Decision::GiveUp(GiveUp::NotListed));
    }

    #[test]
    fn each_word_names_its_failures() {
        use Failure::{AttemptTimeout, Connect, ConnectTimeout, Protocol, ReadTimeout, Reset, WriteTimeout};
        let all = [Connect, ConnectTimeout, Reset, ReadTimeout, WriteTimeout, AttemptTimeout, Protocol];
        for (word, expected) in [
            (RetryOn::Error, &[Connect, Reset, Protocol][..]),
            (RetryOn::Timeout, &[ConnectTimeout, ReadTimeout, WriteTimeout, AttemptTimeout]),
            (RetryOn::Connect, &[Connect, ConnectTimeout]),
            (RetryOn::Reset, &[Reset]),
            (RetryOn::InvalidHeader, &[Protocol]),
            (RetryOn::Status(502), &[]),
        ] {
            let policy = policy::Retry { on: vec![word], ..policy() };
            for failure in all {
                assert_eq!(failure.is_listed(&policy), expected.contains(&failure), "{word:?} {failure:?}");
            }
            assert_eq!(Failure::Status(502).is_listed(&policy), word == RetryOn::Status(502));
        }
    }

    #[test]
    fn a_post_is_retried_only_when_nothing_was_sent() {
        check(Failure::Connect, post(), Decision::Retry);
        check(Failure::ConnectTimeout, post(), Decision::Retry);
        for failure in [Failure::Reset, Failure::ReadTimeout, Failure::Status(503), Failure::StaleConnection]
        {
            check(failure, post(), Decision::GiveUp(GiveUp::NotIdempotent));
        }
    }

    #[test]
    fn a_post_is_retried_when_the_policy_says_so() {
        let policy = policy::Retry { non_idempotent: true, ..policy() };
        assert_eq!(decide(&policy, Failure::Reset, &post(), &Budget::full()), Decision::Retry);
    }

    #[test]
    fn each_limit_has_its_reason() {
        let reset = Failure::Reset;
        let give_up = |reason| Decision::GiveUp(reason);
        check(reset, Attempted { attempts: 3, ..get() }, give_up(GiveUp::AttemptsExhausted));
        check(reset, Attempted { is_replayable: false, ..get() }, give_up(GiveUp::BodyNotReplayable));
        check(reset, Attempted { answer_started: true, ..get() }, give_up(GiveUp::AnswerStarted));
        check(reset, Attempted { remaining: Duration::ZERO, ..get() }, give_up(GiveUp::DeadlineReached));
        let late = Attempted { pause: get().remaining, ..get() };
        check(reset, late, give_up(GiveUp::DeadlineReached));
        check(reset, Attempted { untried: 0, ..get() }, give_up(GiveUp::NoneLeft));
    }

    #[test]
    fn an_empty_budget_refuses_and_a_refused_post_does_not_spend_it() {
        let budget = Budget::of(0.0, 1.0);
        assert_eq!(
            decide(&policy(), Failure::Reset, &post(), &budget),
            Decision::GiveUp(GiveUp::NotIdempotent)
        );
        assert_eq!(decide(&policy(), Failure::Reset, &get(), &budget), Decision::Retry);
        assert_eq!(decide(&policy(), Failure::Reset, &get(), &budget), Decision::GiveUp(GiveUp::BudgetEmpty));
    }

    #[test]
    fn a_stale_connection_spends_neither_attempts_nor_budget() {
        let budget = Budget::of(0.0, 0.0);
        let request = Attempted { attempts: 3, untried: 0, ..get() };
        assert_eq!(decide(&policy(), Failure::StaleConnection, &request, &budget), Decision::Retry);
    }

    #[test]
    fn every_reason_is_in_the_list_of_its_series() {
        for status in 400..600 {
            assert!(Failure::REASONS.contains(&Failure::Status(status).reason()), "{status}");
        }
        let reasons: std::collections::BTreeSet<_> =
            GiveUp::ALL.iter().map(|reason| reason.reason()).collect();
        assert_eq!(reasons.len(), GiveUp::ALL.len());
    }
}
