//! Keeps the connection for commands: makes it, looks after it beside the requests, and makes it anew.

use std::sync::Arc;
use std::time::Duration;

use cirque_shared::backoff::Backoff;
use cirque_shared::report::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::circuit::{Heard, Reason, State};
use super::connect::{self, Link};
use super::trouble::{Meaning, meaning};
use super::{Inner, memory};

/// How often it is probed while it is up.
const CALM: Duration = Duration::from_millis(250);
/// How often while it is not.
const WATCHFUL: Duration = Duration::from_millis(100);
/// After so many probes in a row without an answer the connection is made anew: it may lead nowhere.
const GIVEN_UP: u32 = 5;

/// Waits between tries to connect.
pub(super) fn backoff() -> Backoff {
    Backoff::try_new(Duration::from_millis(100), Duration::from_secs(2)).expect("100 ms are less than 2 s")
}

/// Any number: nodes that lost Redis at once do not come back at once.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness they only do come at once.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Keeps it until `stop`.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let keeping = async {
        let (mut failures, mut is_first) = (0, true);
        let mut moved = inner.moved.subscribe();
        loop {
            moved.mark_unchanged();
            match connect::open(&inner.config).await {
                Ok(link) => {
                    inner.metrics.connections.inc();
                    inner.set_link(Some(link.clone()));
                    if std::mem::take(&mut is_first) {
                        warn_of_memory(&link).await;
                    }
                    failures = 0;
                    tokio::select! {
                        () = look_after(&inner, &link) => {}
                        _ = moved.changed() => {}
                    }
                    inner.set_link(None);
                    failures += 1;
                }
                Err(trouble) => {
                    failures += 1;
                    inner.hear(Heard::Nothing(trouble.reason), true, &trouble.detail);
                    tracing::debug!(
                        reason = trouble.reason.word(),
                        error.chain = trouble.detail,
                        "could not connect to redis"
                    );
                }
            }
            tokio::select! {
                () = tokio::time::sleep(backoff().after(failures, random())) => {}
                _ = moved.changed() => {}
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = keeping => {}
    }
    inner.set_link(None);
}

/// Probes until the connection is of no use any more.
async fn look_after(inner: &Inner, link: &Link) {
    let mut silent = 0;
    loop {
        let began = Instant::now();
        let answer = tokio::time::timeout(inner.config.timeout, link.probe()).await;
        let (heard, detail) = match answer {
            Ok(Ok(())) => (Heard::Answer(began.elapsed()), String::new()),
            Ok(Err(error)) => match meaning(&error) {
                Meaning::Useless(reason) => (Heard::Nothing(reason), chain(&error)),
                Meaning::Refused => (Heard::Nothing(Reason::Denied), chain(&error)),
            },
            Err(_) => (Heard::Nothing(Reason::Silent), "no answer to a probe in time".to_owned()),
        };
        inner.hear(heard, true, &detail);
        match heard {
            Heard::Answer(_) => silent = 0,
            Heard::Nothing(Reason::Silent | Reason::Unfit) => silent += 1,
            Heard::Nothing(_) => return,
        }
        if silent >= GIVEN_UP {
            return;
        }
        let is_up = inner.circuit().state() == State::Up;
        tokio::time::sleep(if is_up && silent == 0 { CALM } else { WATCHFUL }).await;
    }
}

async fn warn_of_memory(link: &Link) {
    match tokio::time::timeout(Duration::from_secs(1), link.memory()).await {
        Ok(Ok(info)) => {
            if let Some(warning) = memory::warning(&info) {
                tracing::warn!(warning, "redis may run out of memory");
            }
        }
        Ok(Err(error)) => {
            tracing::debug!(error.chain = chain(&error), "redis does not say how it keeps its memory");
        }
        Err(_) => {}
    }
}
