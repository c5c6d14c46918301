//! What the retrying rooms are told.

use std::time::Duration;

/// What a failed attempt may be tried again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOn {
    /// Could not connect, the connection broke, or what came was not HTTP.
    Error,
    /// Nothing came in time, or no connection.
    Timeout,
    /// No connection, refused or not in time: nothing was sent.
    Connect,
    /// The connection broke.
    Reset,
    /// What came was not HTTP.
    InvalidHeader,
    /// The backend answered with this status, 400 to 599.
    Status(u16),
}

/// The spellings of [`RetryOn`] in a file that are not statuses; `error`, `timeout` and `invalid_header` are nginx's
/// (`proxy_next_upstream`), and so is `http_502` for a status.
pub const RETRY_ON: [(&str, RetryOn); 5] = [
    ("error", RetryOn::Error),
    ("timeout", RetryOn::Timeout),
    ("connect", RetryOn::Connect),
    ("reset", RetryOn::Reset),
    ("invalid_header", RetryOn::InvalidHeader),
];

impl RetryOn {
    /// Reads a word of [`RETRY_ON`], or `http_` and a status from 400 to 599.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some((_, word)) = RETRY_ON.iter().find(|(spelling, _)| *spelling == text) {
            return Ok(*word);
        }
        let status = text.strip_prefix("http_").filter(|digits| digits.len() == 3);
        match status.and_then(|digits| digits.parse().ok()) {
            Some(status @ 400..=599) => Ok(Self::Status(status)),
            _ => {
                let words: Vec<&str> = RETRY_ON.iter().map(|(word, _)| *word).collect();
                Err(format!("must be one of {} or http_400 to http_599, got {text:?}", words.join(", ")))
            }
        }
    }
}

/// When and how often a route's requests are tried again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retry {
    /// What is tried again.
    pub on: Vec<RetryOn>,
    /// Attempts in total, 1 to 10.
    pub attempts: u32,
    /// The time of one attempt up to the head of its answer; `None`: as much as the request has.
    pub attempt_timeout: Option<Duration>,
    /// The pause before the second retry, doubled before each further one; the first is made at once.
    pub backoff: Duration,
    /// The longest pause.
    pub max_backoff: Duration,
    /// Retries as a share of requests, 0.0 to 1.0.
    pub budget: f64,
    /// Retries a second that are free, whatever the share.
    pub budget_floor: u32,
    /// Whether a request that is not idempotent may be repeated after it may have reached a backend.
    pub non_idempotent: bool,
    /// Bytes of a body that are kept for another attempt; a longer one is not repeated.
    pub buffer: usize,
}

impl Retry {
    /// Whether what was saved up under the other policy is still worth the same.
    #[must_use]
    pub fn has_same_budget(&self, other: &Self) -> bool {
        (self.budget, self.budget_floor) == (other.budget, other.budget_floor)
    }
}
