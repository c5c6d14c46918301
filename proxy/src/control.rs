//! How the running edge is changed: a change is checked whole, put to work whole, or refused and nothing happens.
//!
//! One change at a time. What stays the same keeps its connections, its health and its counts. The configuration
//! file is the truth: commands that change what it says edit the file; what operators decide about single backends
//! for a while (drain, maintenance, weight) is kept beside it.

mod edit;
mod history;
mod refused;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cirque_shared::config::{Changed, Shown};
use tokio::sync::{Mutex, MutexGuard};

use crate::config::Config;
use crate::edge::Edge;
use crate::entrances::{Entrances, Prepared};
use crate::operator::{Book, Duty, Orders};
pub(crate) use edit::Edit;
use history::History;
pub(crate) use history::Version;
pub(crate) use refused::Refused;

/// Whoever may change the edge.
#[derive(Debug)]
pub(crate) struct Control {
    edge: Arc<Edge>,
    entrances: Arc<Entrances>,
    path: PathBuf,
    book: Book,
    history: History,
    /// Held during a change.
    at_work: Mutex<AtWork>,
}

/// What is at work.
#[derive(Debug)]
struct AtWork {
    text: String,
    settings: Shown,
    /// The version in the history; 0 when none could be kept.
    number: u64,
    /// Counts the orders given since the start.
    orders: u64,
}

/// Which way a change came. The name is the metric's label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Source {
    /// SIGHUP.
    Signal,
    /// The admin interface, which the commands use too.
    #[default]
    Api,
}

/// Who asks for a change, on what ground.
#[derive(Clone, Debug, Default)]
pub(crate) struct Author {
    pub(crate) source: Source,
    pub(crate) by: String,
    pub(crate) why: String,
    /// The tag of the state that they have seen; `None`: whatever it is.
    pub(crate) seen: Option<String>,
}

/// A change that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) tag: String,
    /// In words.
    pub(crate) changes: Vec<String>,
}

/// What an operator says about a backend; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) duty: Option<Duty>,
    /// `Some(None)` goes back to the configuration's.
    pub(crate) weight: Option<Option<u32>>,
    pub(crate) comment: String,
}

impl Control {
    /// Takes charge of an edge that was started with this text.
    pub(crate) fn new(
        edge: Arc<Edge>,
        entrances: Arc<Entrances>,
        path: PathBuf,
        text: String,
        book: Book,
    ) -> Self {
        let (state_dir, settings) = {
            let site = edge.site();
            (site.config.state_dir.clone(), site.config.settings.clone())
        };
        let history = History::new(&state_dir);
        let number = first_version(&history, &text, &settings, &path);
        edge.metrics.reloads.show(number, &text);
        let at_work = Mutex::new(AtWork { text, settings, number, orders: 0 });
        Self { edge, entrances, path, book, history, at_work }
    }

    /// Puts the file as it is now to work.
    pub(crate) async fn reload(&self, author: &Author) -> Result<Applied, Refused> {
        let mut at_work = self.turn(author).await?;
        let outcome = match self.read().await {
            Ok(text) => self.put_to_work(&mut at_work, text, author).await,
            Err(refused) => Err(refused),
        };
        self.count(author, outcome)
    }

    /// Changes the file, and puts it to work.
    pub(crate) async fn edit(&self, edit: &Edit, author: &Author) -> Result<Applied, Refused> {
        let mut at_work = self.turn(author).await?;
        self.expect_no_draft(&at_work).await?;
        let text = edit::edited(&at_work.text, edit).map_err(Refused::Cannot)?;
        let outcome = self.replace_file(&mut at_work, text, author).await;
        self.count(author, outcome)
    }

    /// Goes back to an earlier version, as a new version.
    pub(crate) async fn roll_back(&self, number: u64, author: &Author) -> Result<Applied, Refused> {
        let mut at_work = self.turn(author).await?;
        self.expect_no_draft(&at_work).await?;
        let text = self.history.text(number).map_err(|error| self.io("reading the history", error))?;
        let text = text.ok_or(Refused::Cannot(edit::Cannot::Missing(format!("version {number}"))))?;
        let outcome = self.replace_file(&mut at_work, text, author).await;
        self.count(author, outcome)
    }

    /// Takes in what an operator decided about a backend.
    pub(crate) async fn order(
        &self,
        upstream: &str,
        backend: &str,
        instruction: Instruction,
        author: &Author,
    ) -> Result<Applied, Refused> {
        let mut at_work = self.turn(author).await?;
        let (config, mut orders) = {
            let site = self.edge.site();
            (site.config.clone(), site.orders.clone())
        };
        if !has(&config, upstream, backend) {
            let what = format!("backend `{backend}` in upstream `{upstream}`");
            return Err(Refused::Cannot(edit::Cannot::Missing(what)));
        }
        let before = orders.of(upstream, backend);
        let mut order = before.clone();
        order.duty = instruction.duty.unwrap_or(order.duty);
        order.weight = instruction.weight.unwrap_or(order.weight);
        order.comment = instruction.comment;
        let changes = order.since(&before);
        orders.give(upstream, backend, order);
        self.write_orders(&orders).await?;
        tracing::info!(upstream, backend, by = author.by, changes = changes.join(", "), "order was given");
        self.edge.replace(config, orders);
        at_work.orders += 1;
        Ok(Applied { tag: at_work.tag(), changes })
    }

    /// What the file would change if it were put to work.
    pub(crate) async fn diff(&self) -> Result<Vec<Changed>, Refused> {
        let text = self.read().await?;
        let config = self.parse(text).await?;
        Ok(self.at_work.lock().await.settings.changes(&config.settings))
    }

    /// The configuration at work, with its tag.
    pub(crate) async fn current(&self) -> (String, String) {
        let at_work = self.at_work.lock().await;
        (at_work.tag(), at_work.text.clone())
    }

    /// Every version that is kept, oldest first, and the number of the one at work.
    pub(crate) async fn versions(&self) -> Result<(u64, Vec<Version>), Refused> {
        let at_work = self.at_work.lock().await;
        let versions = self.history.list().map_err(|error| self.io("reading the history", error))?;
        Ok((at_work.number, versions))
    }

    /// The right to change: one at a time, and only for those who know what they change.
    async fn turn(&self, author: &Author) -> Result<MutexGuard<'_, AtWork>, Refused> {
        let at_work = self.at_work.lock().await;
        match &author.seen {
            Some(seen) if *seen != at_work.tag() => Err(Refused::Stale { now: at_work.tag() }),
            _ => Ok(at_work),
        }
    }

    /// Somebody's edits that are not at work yet must not be lost under ours.
    async fn expect_no_draft(&self, at_work: &AtWork) -> Result<(), Refused> {
        if self.read().await? == at_work.text { Ok(()) } else { Err(Refused::Draft(self.path.clone())) }
    }

    async fn replace_file(
        &self,
        at_work: &mut AtWork,
        text: String,
        author: &Author,
    ) -> Result<Applied, Refused> {
        // Checked before the file is touched.
        self.parse(text.clone()).await?;
        let old = at_work.text.clone();
        self.write(self.path.clone(), text.clone()).await?;
        let outcome = self.put_to_work(at_work, text, author).await;
        if outcome.is_err() {
            self.write(self.path.clone(), old).await?;
        }
        outcome
    }

    async fn put_to_work(
        &self,
        at_work: &mut AtWork,
        text: String,
        author: &Author,
    ) -> Result<Applied, Refused> {
        let config = self.parse(text.clone()).await?;
        let (fixed, mut orders) = {
            let site = self.edge.site();
            (only_at_start(&site.config, &config), site.orders.clone())
        };
        if !fixed.is_empty() {
            return Err(Refused::NeedsRestart(fixed));
        }
        let prepared = self.prepare(&config).await?;
        let before = orders.clone();
        orders.keep(|upstream, backend| has(&config, upstream, backend));
        if orders != before {
            let written = self.write_orders(&orders).await;
            written.inspect_err(|_| self.entrances.forget(&config.listeners))?;
        }
        let changes = at_work.settings.changes(&config.settings);
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        let settings = config.settings.clone();
        self.edge.replace(config, orders);
        // After the site: nobody may come in where nothing is known of them.
        self.entrances.commit(prepared);
        if text != at_work.text {
            at_work.number = self.keep(&text, author, changes.clone());
        }
        self.edge.metrics.reloads.show(at_work.number, &text);
        (at_work.text, at_work.settings) = (text, settings);
        tracing::info!(
            by = author.by,
            version = at_work.number,
            changes = changes.join("; "),
            "configuration was put to work"
        );
        Ok(Applied { tag: at_work.tag(), changes })
    }

    /// Keeps what is at work already: that it cannot be kept is no reason to stop it.
    fn keep(&self, text: &str, author: &Author, changes: Vec<String>) -> u64 {
        match self.history.add(text, &author.by, &author.why, changes) {
            Ok(version) => version.number,
            Err(error) => {
                tracing::warn!(%error, "version could not be kept, it can not be gone back to");
                0
            }
        }
    }

    /// Binds the listeners that a configuration brings and reads their certificates, before anything changes.
    async fn prepare(&self, config: &Config) -> Result<Prepared, Refused> {
        let is_same = self.edge.site().config.listeners == config.listeners;
        if self.edge.is_draining() && !is_same {
            return Err(Refused::Listener("the edge is stopping and opens no listener any more".to_owned()));
        }
        let (entrances, listeners) = (Arc::clone(&self.entrances), config.listeners.clone());
        let prepared = tokio::task::spawn_blocking(move || entrances.prepare(&listeners)).await;
        let prepared = prepared.map_err(|error| self.io("preparing", std::io::Error::other(error)))?;
        prepared.map_err(|why| Refused::Listener(format!("{why:#}")))
    }

    async fn parse(&self, text: String) -> Result<Config, Refused> {
        let name = self.path.display().to_string();
        // Names are looked up, and a resolver may take its time.
        let parsed = tokio::task::spawn_blocking(move || Config::from_text(&name, &text)).await;
        parsed.map_err(|error| self.io("checking", std::io::Error::other(error)))?.map_err(Refused::Invalid)
    }

    async fn read(&self) -> Result<String, Refused> {
        let read = tokio::fs::read_to_string(&self.path).await;
        read.map_err(|error| self.io("reading", error))
    }

    async fn write(&self, path: PathBuf, text: String) -> Result<(), Refused> {
        let written =
            tokio::task::spawn_blocking(move || crate::durable::write(&path, text.as_bytes())).await;
        let written = written.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        written.map_err(|error| self.io("writing", error))
    }

    async fn write_orders(&self, orders: &Orders) -> Result<(), Refused> {
        let (book, orders) = (self.book.clone(), orders.clone());
        let path = book.path().to_owned();
        let written = tokio::task::spawn_blocking(move || book.write(&orders)).await;
        let written = written.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        written.map_err(|error| Refused::Io("writing", path, error))
    }

    fn io(&self, doing: &'static str, error: std::io::Error) -> Refused {
        Refused::Io(doing, self.path.clone(), error)
    }

    fn count(&self, author: &Author, outcome: Result<Applied, Refused>) -> Result<Applied, Refused> {
        self.edge.metrics.reloads.count(author.source.name(), outcome.is_ok());
        outcome
    }
}

impl Source {
    /// Its spelling in metrics.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Signal => "signal",
            Self::Api => "api",
        }
    }
}

impl AtWork {
    /// Changes with everything that a command may change.
    fn tag(&self) -> String {
        format!("\"{}.{}\"", self.number, self.orders)
    }
}

/// The version of what an edge starts with: the newest kept one when that says the same.
fn first_version(history: &History, text: &str, settings: &Shown, path: &Path) -> u64 {
    let latest = history.latest().unwrap_or_default();
    if let Some((number, _)) = latest.as_ref().filter(|(_, kept)| kept == text) {
        return *number;
    }
    let before = latest.and_then(|(_, kept)| Config::from_text("history", &kept).ok());
    let changes = before.map(|before| before.settings.changes(settings)).unwrap_or_default();
    let changes = changes.iter().map(ToString::to_string).collect();
    match history.add(text, "start", &format!("started with {}", path.display()), changes) {
        Ok(version) => version.number,
        Err(error) => {
            tracing::warn!(%error, "history of the configuration cannot be kept");
            0
        }
    }
}

/// What differs between two configurations and is only read at the start of the process.
fn only_at_start(running: &Config, wanted: &Config) -> Vec<&'static str> {
    let differs = [
        ("server.threads", running.threads != wanted.threads),
        ("server.admin", running.admin != wanted.admin),
        ("server.state_dir", running.state_dir != wanted.state_dir),
        ("server.http1", running.http1 != wanted.http1),
        ("log.level", running.log_level != wanted.log_level),
        ("log.format", running.log_format != wanted.log_format),
        ("trace.endpoint", running.tracing.collector != wanted.tracing.collector),
        ("trace.max_queue", running.tracing.max_queue != wanted.tracing.max_queue),
        ("access_log.output", running.access_log != wanted.access_log),
    ];
    differs.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}

fn has(config: &Config, upstream: &str, backend: &str) -> bool {
    let mut upstreams = config.upstreams.iter().filter(|found| found.name == upstream);
    upstreams.any(|upstream| upstream.backends.iter().any(|found| found.id == backend))
}

#[cfg(test)]
mod tests;
