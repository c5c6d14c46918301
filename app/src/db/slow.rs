//! Decides which statements took too long, and says so: with their text, which holds no values, and their time.

use std::time::Duration;

use cirque_shared::metrics::Counter;
use cirque_shared::trace::{self, Begun, Kind};
use tokio::time::Instant;

/// The longest text that is logged, in characters.
const SHOWN: usize = 1000;

/// Whoever looks at the clock beside each statement.
#[derive(Clone, Debug)]
pub(super) struct Slow {
    /// From so long on a statement is slow; zero: none is.
    pub(super) threshold: Duration,
    /// How many were.
    pub(super) count: Counter,
}

/// One statement under way. It is judged when it is dropped, so also when nobody waits for it any more.
#[derive(Debug)]
pub(super) struct Running<'s> {
    slow: &'s Slow,
    statement: String,
    target: &'static str,
    started: Instant,
    /// Where the request or the job is recorded.
    _span: Option<Begun>,
}

impl Slow {
    /// From now on this statement runs, for `target`: `read` or `write`.
    pub(super) fn begin(&self, sql: &str, target: &'static str) -> Running<'_> {
        // The text is needed only when it was slow, but then the statement has it no more.
        let statement = match sql.len() {
            _ if self.threshold.is_zero() => String::new(),
            0..=SHOWN => sql.to_owned(),
            _ => sql.chars().take(SHOWN).collect(),
        };
        let mut span = trace::begin(|| operation(sql).to_owned().into(), Kind::Client);
        if let Some(span) = &mut span {
            span.note("db.query.text", sql);
            span.note("db.target", target);
        }
        Running { slow: self, statement, target, started: Instant::now(), _span: span }
    }
}

/// What a statement does, in a word.
fn operation(sql: &str) -> &str {
    sql.split_whitespace().next().unwrap_or("SQL")
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        if self.slow.threshold.is_zero() || took < self.slow.threshold {
            return;
        }
        self.slow.count.inc();
        tracing::warn!(
            db.statement = self.statement,
            db.target = self.target,
            duration_ms = took.as_secs_f64() * 1000.0,
            "statement was slow"
        );
    }
}

#[cfg(test)]
mod tests {
    use cirque_shared::metrics::Registry;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_statement_is_slow_from_the_threshold_on_unless_there_is_none() {
        let registry = Registry::new();
        let slow = |threshold| Slow { threshold, count: registry.counter("x_total", "X.") };
        let with = slow(Duration::from_millis(100));
        for (ms, expected) in [(99, 0), (100, 1), (5000, 2)] {
            let running = with.begin("SELECT 1", "read");
            tokio::time::advance(Duration::from_millis(ms)).await;
            drop(running);
            assert_eq!(with.count.get(), expected, "{ms}");
        }
        let without = Slow { threshold: Duration::ZERO, ..with.clone() };
        let running = without.begin("SELECT 1", "read");
        tokio::time::advance(Duration::from_secs(60)).await;
        drop(running);
        assert_eq!(without.count.get(), 2);
    }
}
