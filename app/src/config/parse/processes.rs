//! Turns what a file says of the processes that serve into values.

use cirque_shared::config::Problems;
use cirque_shared::config::units::ByteSize;

use super::super::{Processes, raw};
use super::{Range, S, spoken};

/// Below this, no process of ours could start.
pub(in crate::config) const LEAST_MEMORY: u64 = 32 << 20;
pub(in crate::config) const MOST_MEMORY: u64 = 1 << 40;

pub(super) fn processes(raw: &raw::Processes, problems: &mut Problems) -> Processes {
    let workers = Range { least: 1, most: 64, show: u16::to_string };
    let workers = workers.check("processes.workers", raw.workers, problems);
    let requests = Range { least: 0, most: 1_000_000_000, show: u64::to_string };
    let max_requests = requests.check("processes.max_requests", raw.max_requests, problems);
    let max_memory = problems.require("processes.max_memory", raw.max_memory);
    if max_memory.0 != 0 && !(LEAST_MEMORY..=MOST_MEMORY).contains(&max_memory.0) {
        let (least, most) = (ByteSize(LEAST_MEMORY), ByteSize(MOST_MEMORY));
        problems.push(
            "processes.max_memory",
            format!("must be 0 or between {least} and {most}, got {max_memory}"),
        );
    }
    let silence = Range { least: S(1), most: S(300), show: spoken };
    let silence = silence.check("processes.silence", raw.silence, problems);
    Processes {
        workers,
        max_requests,
        max_memory: max_memory.0,
        silence,
        watch: raw.watch.unwrap_or_default(),
    }
}
