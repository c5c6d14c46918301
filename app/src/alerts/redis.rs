//! Where the nodes meet in Redis: who leads, what each saw and what was told, also while the database is away.

use std::sync::LazyLock;
use std::time::Duration;

use cirque_shared::alert::Millis;
use cirque_shared::alert::fleet::Snapshot;
use cirque_shared::alert::notice::Told;

use crate::redis::{Program, Redis, Use};

/// How long a node that is silent is heard of; as in the database.
const SILENT: Duration = Duration::from_secs(60);
/// How long what was told is kept: longer than anybody waits.
const KEPT: Duration = Duration::from_secs(24 * 3600);

/// Takes or keeps the lead, says what was seen and told, and hears the rest. More than 200 nodes or 1,000 notes have no
/// place: then the page begins anew, and each says again what it knows.
static MEET: LazyLock<Program> = LazyLock::new(|| {
    Program::new(
        "local lead = redis.call('GET', KEYS[1])\n\
         if not lead or lead == ARGV[1] then\n\
         lead = ARGV[1]\n\
         redis.call('SET', KEYS[1], lead, 'PX', ARGV[2])\n\
         end\n\
         if redis.call('HLEN', KEYS[2]) > 200 then redis.call('DEL', KEYS[2]) end\n\
         if redis.call('HLEN', KEYS[3]) > 1000 then redis.call('DEL', KEYS[3]) end\n\
         redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])\n\
         redis.call('PEXPIRE', KEYS[2], ARGV[4])\n\
         for i = 6, #ARGV, 3 do\n\
         local known = redis.call('HGET', KEYS[3], ARGV[i])\n\
         if not known or tonumber(string.match(known, '^%d+')) <= tonumber(ARGV[i + 1]) then\n\
         redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1] .. ' ' .. ARGV[i + 2])\n\
         end\n\
         end\n\
         if #ARGV > 5 then redis.call('PEXPIRE', KEYS[3], ARGV[5]) end\n\
         return {lead, redis.call('HVALS', KEYS[2]), redis.call('HVALS', KEYS[3])}",
    )
});

/// Notes what was told, unless something later is known.
static NOTE: LazyLock<Program> = LazyLock::new(|| {
    Program::new(
        "local known = redis.call('HGET', KEYS[1], ARGV[2])\n\
         if known and tonumber(string.match(known, '^%d+')) > tonumber(ARGV[3]) then return 0 end\n\
         redis.call('HSET', KEYS[1], ARGV[2], ARGV[3] .. ' ' .. ARGV[4])\n\
         return redis.call('PEXPIRE', KEYS[1], ARGV[1])",
    )
});

/// The nodes' place in Redis.
#[derive(Debug)]
pub(super) struct Hall {
    redis: Redis,
    keys: [String; 3],
}

/// What was heard there.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) leads: bool,
    pub(super) snapshots: Vec<Snapshot>,
    pub(super) told: Vec<Told>,
}

impl Hall {
    /// The place of those who share a database, which `fleet` stands for. All keys are in one place.
    pub(super) fn new(redis: Redis, fleet: &str) -> Self {
        let keys = ["lead", "seen", "told"].map(|part| redis.key(&format!("alerts:{{{fleet}}}:{part}")));
        Self { redis, keys }
    }

    /// `None` where nobody can be met there.
    pub(super) async fn meet(&self, node: &str, mine: &Snapshot, lease: Duration) -> Option<Heard> {
        let millis = |time: Duration| time.as_millis().to_string();
        let seen = serde_json::to_string(mine).ok()?;
        let mut arguments = vec![node.to_owned(), millis(lease), seen, millis(SILENT), millis(KEPT)];
        for told in &mine.told {
            let text = serde_json::to_string(told).ok()?;
            arguments.extend([format!("{} {}", told.channel, told.group), told.at.to_string(), text]);
        }
        let keys = self.keys.each_ref().map(String::as_str);
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        let met = self.redis.run(Use::Alerts, &MEET, &keys, &arguments).await;
        let (lead, seen, told): (String, Vec<String>, Vec<String>) = met.ok()?;
        Some(Heard {
            leads: lead == node,
            snapshots: recent(&seen, mine.at),
            // What another version wrote may not be readable: then it is not known here.
            told: told.iter().filter_map(|text| serde_json::from_str(text.split_once(' ')?.1).ok()).collect(),
        })
    }

    /// Notes what was told; whether that went well.
    pub(super) async fn note(&self, told: &Told) -> bool {
        let Ok(text) = serde_json::to_string(told) else { return false };
        let field = format!("{} {}", told.channel, told.group);
        let (kept, at) = (KEPT.as_millis().to_string(), told.at.to_string());
        let arguments = [kept.as_bytes(), field.as_bytes(), at.as_bytes(), text.as_bytes()];
        let noted: Result<i64, _> = self.redis.run(Use::Alerts, &NOTE, &[&self.keys[2]], &arguments).await;
        noted.is_ok()
    }
}

/// Of the nodes that were heard of lately. What they told is kept apart.
fn recent(seen: &[String], now: Millis) -> Vec<Snapshot> {
    let oldest = now.saturating_sub(u64::try_from(SILENT.as_millis()).unwrap_or(u64::MAX));
    let read = |text: &String| serde_json::from_str::<Snapshot>(text).ok();
    let snapshots = seen.iter().filter_map(read).filter(|snapshot| snapshot.at >= oldest);
    snapshots.map(|snapshot| Snapshot { told: Vec::new(), ..snapshot }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_silent_for_a_minute_is_not_heard_of() {
        let of = |instance: &str, at| Snapshot { instance: instance.to_owned(), at, ..Snapshot::default() };
        let seen = [of("a", 100_000), of("b", 40_001), of("c", 39_999)];
        let mut seen: Vec<String> = seen.iter().map(|each| serde_json::to_string(each).unwrap()).collect();
        seen.push("of another version".to_owned());
        let names: Vec<String> = recent(&seen, 100_000).into_iter().map(|each| each.instance).collect();
        assert_eq!(names, ["a", "b"]);
    }
}
