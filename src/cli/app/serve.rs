//! `cirque app serve`: what its flags mean, and whether one process serves, or a supervisor with several.

use std::time::Duration;

use anyhow::Context as _;
use cirque_app::config::{Config, Overrides};
use cirque_app::line::Hired;
use cirque_app::supervisor::Source;
use cirque_shared::config::units::{ByteSize, parse_duration};
use cirque_shared::report::chain;
use clap::Args;

use super::Where;
use crate::cli::{Failure, block_on};

/// How to serve.
#[derive(Debug, Args)]
pub(in crate::cli) struct Serve {
    #[command(flatten)]
    place: Where,
    /// Address to listen on instead of the file's.
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on instead of the file's.
    #[arg(long)]
    port: Option<u16>,
    /// The node's name in answers and logs instead of its address.
    #[arg(long)]
    node: Option<String>,
    /// Processes over one listening socket, 1 to 64; SIGHUP then reads the configuration again.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    workers: Option<u16>,
    /// Requests after which a process is replaced, a tenth more or less; 0 for never.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(0..=1_000_000_000))]
    max_requests: Option<u64>,
    /// How long one request may take, like `30` (seconds) or `1500ms`.
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_execution_time: Option<Duration>,
    /// Resident memory above which a process is replaced, like `512MiB`; 0 for never.
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    max_memory: Option<u64>,
    /// For development: start anew when the configuration or the binary has changed.
    #[arg(long)]
    watch: bool,
    /// Started by a supervisor, which says the rest over standard input.
    #[arg(long, hide = true, conflicts_with_all = ["host", "port", "node", "workers", "watch"])]
    supervised: bool,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        if self.supervised {
            return supervised();
        }
        let Self {
            place,
            host,
            port,
            node,
            workers,
            max_requests,
            max_execution_time,
            max_memory,
            watch,
            ..
        } = self;
        let said = Overrides {
            database: place.database,
            host,
            port,
            node,
            max_execution_time,
            workers,
            max_requests,
            max_memory,
            watch,
        };
        let config = Config::load(place.config.as_deref())?.with(&said).context("--database")?;
        log(&config);
        if config.processes.need_supervisor() {
            let source = Source { path: place.config, said };
            return Ok(block_on(cirque_app::supervisor::run(source))??);
        }
        Ok(block_on(cirque_app::serve::run(config))??)
    }
}

/// One of several processes.
fn supervised() -> Result<(), Failure> {
    let hired =
        Hired::take().context("--supervised is for processes that `cirque app serve --workers` starts")?;
    let read = Config::read(&hired.assignment.file).map_err(|invalid| invalid.to_string());
    let read = read.and_then(|config| config.with(&hired.assignment.said).map_err(|error| chain(&error)));
    match read {
        Ok(config) => {
            log(&config);
            // What went wrong was said over the line, and is told there.
            Ok(block_on(cirque_app::serve::run_supervised(config, hired))??)
        }
        Err(why) => {
            hired.refuse(why.clone());
            Err(anyhow::anyhow!(why).into())
        }
    }
}

fn log(config: &Config) {
    cirque_shared::telemetry::init(config.log.level, config.log.format, &["sqlx", "hyper"], &[]);
}

/// Seconds, or a time with its unit; as `server.max_execution_time` may be.
fn time(text: &str) -> Result<Duration, String> {
    let time = text.parse().map(Duration::from_secs).ok().or_else(|| parse_duration(text));
    let range = Duration::from_millis(10)..=Duration::from_secs(3600);
    time.filter(|time| range.contains(time))
        .ok_or_else(|| "must be seconds or a time like 1500ms, from 10ms to 1h".to_owned())
}

/// As `processes.max_memory` may be.
fn memory(text: &str) -> Result<u64, String> {
    let range = (32 << 20)..=(1 << 40);
    let size = text.parse::<ByteSize>().ok().map(|size| size.0);
    size.filter(|size| *size == 0 || range.contains(size))
        .ok_or_else(|| "must be 0, or a size like 512MiB from 32MiB to 1024GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_or_has_a_unit() {
        for (text, expected) in [
            ("30", Some(30_000)),
            ("1500ms", Some(1500)),
            ("1h", Some(3_600_000)),
            ("0", None),
            ("5ms", None),
            ("61m", None),
            ("soon", None),
        ] {
            let expected = expected.map(Duration::from_millis);
            assert_eq!(time(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn memory_is_a_size_within_reason_or_none() {
        for (text, expected) in
            [("512MiB", Some(512 << 20)), ("0", Some(0)), ("1MiB", None), ("2048GiB", None), ("512MB", None)]
        {
            assert_eq!(memory(text).ok(), expected, "{text}");
        }
    }
}
