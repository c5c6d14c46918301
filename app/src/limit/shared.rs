//! Counts the requests of a client for all nodes: one script in Redis for each decision, by Redis's own clock.

use std::sync::LazyLock;

use super::gcra::{self, Standing};
use super::{Client, Policy};
use crate::config::Rate;
use crate::redis::{Program, Redis, Use};

/// What [`gcra::take`] and [`gcra::look`] do, in Redis: the same numbers in microseconds. A counter ends by itself when
/// everything is worked off.
static DECIDE: LazyLock<Program> = LazyLock::new(|| {
    Program::new(
        "local time = redis.call('TIME')\n\
         local now = time[1] * 1000000 + time[2]\n\
         local counter = tonumber(redis.call('GET', KEYS[1]) or '0')\n\
         local next = math.max(counter, now) + tonumber(ARGV[1])\n\
         local over = next - now - tonumber(ARGV[2])\n\
         if over <= 0 and ARGV[3] == '1' then\n\
         counter = next\n\
         redis.call('SET', KEYS[1], string.format('%.0f', counter), 'PX', math.ceil((counter - now) / 1000))\n\
         end\n\
         return {math.max(counter - now, 0), over}",
    )
});

/// The counters of all nodes.
#[derive(Debug)]
pub(super) struct Shared {
    redis: Redis,
}

impl Shared {
    pub(super) fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// Where a client stands; `None` where nobody knows, so that the node has to count by itself.
    pub(super) async fn decide(
        &self,
        policy: Policy,
        client: Client,
        rate: Rate,
        counts: bool,
    ) -> Option<Standing> {
        let who = match client {
            Client::Address(address) => format!("a{address:x}"),
            Client::Token(token) => format!("t{token:x}"),
        };
        let key = self.redis.key(&format!("rate:{}:{who}", policy.name()));
        let (step, period) = (gcra::step(rate).to_string(), gcra::micros(rate.period).to_string());
        let arguments = [step.as_bytes(), period.as_bytes(), if counts { b"1" } else { b"0" }];
        let told: Result<(i64, i64), _> = self.redis.run(Use::Limits, &DECIDE, &[&key], &arguments).await;
        let (busy, over) = told.ok()?;
        Some(gcra::told(rate, busy, over))
    }
}
