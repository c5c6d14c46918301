//! Decides where the process's own log lines go and how they look; the access log is not among them.

pub mod levels;

use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, reload};

use crate::config::{Problems, Read, Value, wrong_type};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line: for machines.
    #[default]
    Json,
    /// One readable line: for a terminal.
    Text,
}

/// The least important line that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Someone should look.
    Error,
    /// Degraded but carried on.
    Warn,
    /// Life cycle. The default.
    #[default]
    Info,
    /// For development.
    Debug,
}

impl Level {
    fn directive(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl Read for Format {
    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        match value.get_ref().as_str() {
            Some("json") => return Some(Self::Json),
            Some("text") => return Some(Self::Text),
            _ => wrong_type(value, "\"json\" or \"text\"", at, problems),
        }
        None
    }
}

impl Read for Level {
    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        match value.get_ref().as_str() {
            Some("error") => return Some(Self::Error),
            Some("warn") => return Some(Self::Warn),
            Some("info") => return Some(Self::Info),
            Some("debug") => return Some(Self::Debug),
            _ => wrong_type(value, "\"error\", \"warn\", \"info\" or \"debug\"", at, problems),
        }
        None
    }
}

/// Starts writing log lines to standard error. Later calls do nothing.
///
/// Lines of libraries come through as well, but those in `quiet` (target prefixes) only from `warn`, and the
/// ones in `silent` not at all: a client must not be able to fill the log through a library's error lines.
pub fn init(level: Level, format: Format, quiet: &[&str], silent: &[&str]) {
    let mut directives = level.directive().to_owned();
    for target in quiet {
        directives.push_str(&format!(",{target}={}", if level == Level::Error { "error" } else { "warn" }));
    }
    for target in silent {
        directives.push_str(&format!(",{target}=off"));
    }
    let (filter, handle) = reload::Layer::new(EnvFilter::new(&directives));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_span_events(FmtSpan::NONE);
    let log = tracing_subscriber::registry().with(filter);
    let started = match format {
        Format::Json => log
            .with(lines.json().flatten_event(true).with_current_span(false).with_span_list(false))
            .try_init(),
        Format::Text => log.with(lines.with_target(false)).try_init(),
    };
    // An error means that a subscriber is already in place: the first one wins.
    if started.is_ok() {
        levels::note(handle, level.directive(), directives);
    }
}
