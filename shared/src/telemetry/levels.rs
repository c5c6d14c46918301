//! Decides which lines are written while the process runs: what its configuration says, or for a while what an operator asks for.
//!
//! Nobody has to remember to go back: what was asked for ends by itself.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing_subscriber::reload::Handle;
use tracing_subscriber::{EnvFilter, Registry};

/// The longest time that something else than the configuration holds.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How long it holds when nobody says.
const USUAL: Duration = Duration::from_secs(15 * 60);
/// The most parts of one wish.
const MOST: usize = 20;
/// Words for levels, the quietest first.
const WORDS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

static LEVELS: OnceLock<Levels> = OnceLock::new();

/// The levels of this process.
#[derive(Debug)]
pub struct Levels {
    filter: Handle<EnvFilter, Registry>,
    /// The configuration's level.
    configured: &'static str,
    /// What it leads to, libraries included.
    directives: String,
    asked: Mutex<Option<Asked>>,
}

/// What an operator asked for.
#[derive(Clone, Debug)]
struct Asked {
    level: String,
    by: String,
    until: Instant,
}

/// What an operator asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Like `debug`, or `info,cirque_app::queue=debug`.
    pub level: String,
    /// For so long; 15 minutes when left out, a day at the longest.
    #[serde(
        default,
        deserialize_with = "crate::whole::number_or_null",
        skip_serializing_if = "Option::is_none"
    )]
    pub seconds: Option<u64>,
}

/// What is at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// What the configuration says.
    pub configured: &'static str,
    /// What holds now.
    pub level: String,
    /// Who asked for it, where somebody did.
    pub by: Option<String>,
    /// For so long, still.
    pub seconds: Option<u64>,
}

/// Why a wish was not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not a list of levels.
    #[error(
        "a level is one of off, error, warn, info, debug and trace, alone or for a part of the program like \
         cirque_app::queue=debug; several are separated by commas; got {0:?}"
    )]
    NoLevel(String),
    /// It is to hold for too long, or not at all.
    #[error("it must hold for 1 second to 24 hours")]
    BadTime,
    /// Another program took the log over.
    #[error("the log of this process cannot be changed")]
    NotOurs,
}

/// The levels of this process, once its log was started.
pub fn levels() -> Option<&'static Levels> {
    LEVELS.get()
}

/// Notes the levels of this process; the first ones stay.
pub(super) fn note(filter: Handle<EnvFilter, Registry>, configured: &'static str, directives: String) {
    let _ = LEVELS.set(Levels { filter, configured, directives, asked: Mutex::new(None) });
}

impl Levels {
    /// What is at work.
    pub fn shown(&self) -> Shown {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match asked {
            None => Shown {
                configured: self.configured,
                level: self.configured.to_owned(),
                by: None,
                seconds: None,
            },
            Some(asked) => Shown {
                configured: self.configured,
                level: asked.level,
                by: Some(asked.by),
                seconds: Some(asked.until.saturating_duration_since(Instant::now()).as_secs()),
            },
        }
    }

    /// Lets other levels hold for a while. In a runtime of tokio's, which ends them.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub fn set(&'static self, wanted: &Wanted, by: &str) -> Result<Shown, Refused> {
        let lasting = wanted.seconds.map_or(USUAL, Duration::from_secs);
        if lasting.is_zero() || lasting > LONGEST {
            return Err(Refused::BadTime);
        }
        let directives = with(&self.directives, &wanted.level)?;
        let filter = EnvFilter::try_new(directives).map_err(|_| Refused::NoLevel(wanted.level.clone()))?;
        // Before it holds: it may be quieter than this line.
        tracing::info!(level = wanted.level, by, seconds = lasting.as_secs(), "log level was changed");
        self.filter.reload(filter).map_err(|_| Refused::NotOurs)?;
        let until = Instant::now() + lasting;
        let asked = Asked { level: wanted.level.clone(), by: by.to_owned(), until };
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked);
        tokio::spawn(async move {
            tokio::time::sleep_until(until).await;
            self.end(|asked| asked.until <= Instant::now());
        });
        Ok(self.shown())
    }

    /// Lets the configuration's level hold again.
    pub fn reset(&self) -> Shown {
        self.end(|_| true);
        self.shown()
    }

    fn end(&self, is_over: impl Fn(&Asked) -> bool) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.as_ref().is_some_and(is_over) && self.filter.reload(EnvFilter::new(&self.directives)).is_ok()
        {
            *asked = None;
            tracing::info!(level = self.configured, "log level is the configured one again");
        }
    }
}

/// The configuration's directives with other levels.
fn with(configured: &str, wanted: &str) -> Result<String, Refused> {
    let refused = || Refused::NoLevel(wanted.chars().take(200).collect());
    let is_target = |target: &str| {
        !target.is_empty()
            && target
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_:".contains(&byte))
    };
    let mut directives: Vec<&str> = configured.split(',').collect();
    if wanted.split(',').count() > MOST {
        return Err(refused());
    }
    for part in wanted.split(',').map(str::trim) {
        let (target, level) =
            part.split_once('=').map_or((None, part), |(target, level)| (Some(target), level));
        if !WORDS.contains(&level) || !target.is_none_or(is_target) {
            return Err(refused());
        }
        match target {
            // The first one is the one of everything.
            None => directives[0] = level,
            Some(_) => directives.push(part),
        }
    }
    Ok(directives.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_changes_the_level_of_everything_or_of_a_part() {
        let configured = "info,sqlx=warn";
        for (wanted, expected) in [
            ("debug", "debug,sqlx=warn"),
            ("cirque_app::queue=debug", "info,sqlx=warn,cirque_app::queue=debug"),
            ("warn, sqlx=debug", "warn,sqlx=warn,sqlx=debug"),
        ] {
            assert_eq!(with(configured, wanted).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn what_is_no_level_is_refused() {
        let many = "debug,".repeat(30);
        for wanted in
            ["", "loud", "a b=debug", "cirque_app=", "[span{field=1}]=debug", "DEBUG", many.as_str()]
        {
            assert!(matches!(with("info", wanted), Err(Refused::NoLevel(_))), "{wanted}");
        }
    }
}
