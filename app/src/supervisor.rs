//! Runs the processes of a node over one listening socket: starts them, hears them, and carries out what `crew` decides.

mod crew;
mod files;
mod generation;
mod ledger;
mod process;
mod round;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cirque_shared::notify::{self, Word};
use cirque_shared::request_id::random;
use cirque_shared::shutdown::{Request, Signals};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::config::{Overrides, Processes};
use crate::line::{Assignment, Order, Sign};
use crate::metrics::{ProcessMetrics, resident_bytes};
use crew::{Action, Crew, Id, News};
use files::Watched;
use generation::Generation;
use ledger::Ledger;
use process::{Event, Process};
use round::Rounds;

/// How often time alone is looked at.
const TICK: Duration = Duration::from_millis(100);

/// How often memory is looked at.
const WEIGHING: Duration = Duration::from_secs(1);

/// Things that happened and were not looked at yet. A process waits until it can say more.
const MOST_EVENTS: usize = 256;

/// Signs of life in the time after which silence counts; at least one a second.
const BEATS: u32 = 4;
const SLOWEST_BEAT: Duration = Duration::from_secs(1);

/// Where the configuration is, so that it can be read again.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file; `None` where there is none, and the defaults hold.
    pub path: Option<PathBuf>,
    /// What the command line says over it.
    pub said: Overrides,
}

/// Serves with several processes until SIGTERM or SIGINT. SIGHUP reads the configuration again, and replaces all
/// processes by those of the binary that then lies in this one's place; all or nothing.
///
/// # Errors
///
/// When the address cannot be listened on, or the first processes cannot start.
pub async fn run(source: Source) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    let (events, happened) = mpsc::channel(MOST_EVENTS);
    let first = Generation::first(&source)?;
    let watched = first.config.processes.watch.then(|| Watched::new(generation::files(&source)));
    let supervisor = Supervisor {
        crew: Crew::new(first.rules()),
        source,
        watched,
        coming: Some(Arc::new(first)),
        current: None,
        processes: BTreeMap::new(),
        ledger: Ledger::default(),
        rounds: Rounds::default(),
        metrics: ProcessMetrics::new(),
        events,
        is_stopping: false,
    };
    tokio::select! {
        outcome = supervisor.serve(signals, happened) => outcome,
        () = notify::stay_alive() => Ok(()),
    }
}

/// The effects; what to do is decided by `crew`, `ledger` and `rounds`.
struct Supervisor {
    source: Source,
    crew: Crew,
    watched: Option<Watched>,
    /// What is at work.
    current: Option<Arc<Generation>>,
    /// What is to be put to work.
    coming: Option<Arc<Generation>>,
    processes: BTreeMap<Id, Process>,
    ledger: Ledger,
    rounds: Rounds,
    metrics: ProcessMetrics,
    events: mpsc::Sender<(Id, Event)>,
    is_stopping: bool,
}

impl Supervisor {
    async fn serve(
        mut self,
        mut signals: Signals,
        mut happened: mpsc::Receiver<(Id, Event)>,
    ) -> anyhow::Result<()> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut weighing, mut looking) = (Instant::now(), Instant::now());
        loop {
            tokio::select! {
                request = signals.next() => self.asked(request),
                Some((id, event)) = happened.recv() => self.hear(id, event),
                now = ticks.tick() => {
                    if now >= weighing {
                        weighing = now + WEIGHING;
                        self.weigh();
                    }
                    if now >= looking {
                        looking = now + files::EVERY;
                        self.look();
                    }
                }
            }
            for action in self.crew.step(Instant::now(), &mut random) {
                self.carry_out(action)?;
            }
            self.answer();
            if self.crew.is_done() {
                tracing::info!("node has stopped, and all its processes");
                return Ok(());
            }
        }
    }

    fn asked(&mut self, request: Request) {
        match request {
            Request::Stop if !self.is_stopping => {
                notify::tell(Word::Stopping);
                self.is_stopping = true;
                let census = self.crew.census();
                tracing::info!(serving = census.serving, leaving = census.leaving, "node is stopping");
                for action in self.crew.stop(Instant::now()) {
                    self.order(&action);
                }
                // With the last copy, the socket is closed: whoever comes now goes elsewhere.
                (self.current, self.coming) = (None, None);
            }
            Request::Reload => self.reload("SIGHUP"),
            Request::Stop | Request::Reopen | Request::Upgrade => {
                tracing::debug!(?request, "signal was ignored");
            }
        }
    }

    /// Begins to put the configuration to work that the file says now.
    fn reload(&mut self, by: &str) {
        let Some(current) = &self.current else {
            tracing::warn!(by, "configuration was not reloaded, the node is starting or stopping");
            return;
        };
        notify::tell(Word::Reloading);
        match Generation::next(current, &self.source) {
            Ok(next) if self.crew.renew(next.rules()) => {
                tracing::info!(by, "configuration was read again, its processes start");
                self.coming = Some(Arc::new(next));
            }
            Ok(_) => {
                self.metrics.reloaded(false);
                tracing::warn!(by, "configuration was not reloaded, the one before is still starting");
            }
            Err(error) => {
                self.metrics.reloaded(false);
                let problems = error.to_string();
                tracing::error!(by, problems, "configuration was not reloaded, nothing changed");
                notify::tell(Word::Ready);
            }
        }
    }

    fn hear(&mut self, id: Id, event: Event) {
        let now = Instant::now();
        match event {
            Event::Said(Sign::Ready) => self.crew.ready(id, now),
            Event::Said(Sign::Beat { requests, metrics }) => {
                self.ledger.heard(id, &metrics);
                self.crew.beat(id, requests, now);
            }
            Event::Said(Sign::Report { round, metrics }) => {
                self.ledger.heard(id, &metrics);
                self.rounds.answered(id, round);
            }
            Event::Said(Sign::Ask) => self.rounds.ask(id),
            // Its end says it once more.
            Event::Said(Sign::Failed { .. }) => {}
            Event::Ended(how) => {
                self.processes.remove(&id);
                self.ledger.ended(id);
                self.rounds.ended(id);
                let reason = self.crew.ended(id, &how, now, random());
                self.metrics.ended(reason.word());
            }
        }
    }

    fn weigh(&mut self) {
        for (id, process) in &self.processes {
            if let Some(bytes) = resident_bytes(process.pid) {
                self.crew.weighed(*id, bytes);
            }
        }
    }

    fn look(&mut self) {
        let changed = self.watched.as_mut().and_then(Watched::changed);
        if let Some(path) = changed {
            tracing::info!(path = %path.display(), "file has changed");
            self.reload("watch");
        }
    }

    fn carry_out(&mut self, action: Action) -> anyhow::Result<()> {
        match action {
            Action::Start { id, slot, generation, quota } => {
                let is_coming = self.coming.as_ref().is_some_and(|coming| coming.number == generation);
                let of = if is_coming { &self.coming } else { &self.current };
                if let Some(of) = of.clone() {
                    self.start(id, &of, slot, quota);
                }
            }
            Action::Tell(news) => self.tell(news)?,
            Action::Go(_) | Action::Leave(_) | Action::Stop(_) | Action::Kill(_) => self.order(&action),
        }
        Ok(())
    }

    fn order(&self, action: &Action) {
        let (id, order) = match action {
            Action::Go(id) => (id, Order::Go),
            Action::Leave(id) => (id, Order::Leave),
            Action::Stop(id) => (id, Order::Stop),
            Action::Kill(id) => {
                if let Some(process) = self.processes.get(id) {
                    process.kill();
                }
                return;
            }
            Action::Start { .. } | Action::Tell(_) => return,
        };
        if let Some(process) = self.processes.get(id) {
            process.tell(order);
        }
    }

    fn start(&mut self, id: Id, of: &Generation, slot: u16, quota: u64) {
        let Processes { silence, .. } = of.config.processes;
        let assignment = Assignment {
            file: of.file.clone(),
            said: self.source.said.clone(),
            slot,
            quota,
            beat: (silence / BEATS).min(SLOWEST_BEAT),
        };
        self.metrics.starts.inc();
        match Process::start(id, &of.program, &of.listener, assignment, self.events.clone()) {
            Ok(process) => {
                tracing::debug!(slot, pid = process.pid, quota, "process has started");
                self.processes.insert(id, process);
            }
            Err(error) => {
                let how = format!("could not be started: {error}");
                let reason = self.crew.ended(id, &how, Instant::now(), random());
                self.metrics.ended(reason.word());
            }
        }
    }

    /// Asks for what was counted, and answers those who want to know.
    fn answer(&mut self) {
        let now = Instant::now();
        if let Some(askers) = self.rounds.finish(now) {
            self.metrics.observe(self.crew.census());
            let text = self.ledger.total(&self.metrics.text());
            for asker in askers.iter().filter_map(|id| self.processes.get(id)) {
                asker.tell(Order::Total { text: text.clone() });
            }
        }
        if let Some(round) = self.rounds.begin(self.crew.answering(), now) {
            for process in self.crew.answering().filter_map(|id| self.processes.get(&id)) {
                process.tell(Order::Report { round });
            }
        }
    }

    fn tell(&mut self, news: News) -> anyhow::Result<()> {
        match news {
            News::Failed { slot, reason, how, pause } => {
                let (reason, pause_ms) = (reason.word(), millis(pause));
                tracing::error!(
                    slot,
                    reason,
                    how,
                    pause_ms,
                    "process failed; the next one starts after a pause"
                );
            }
            News::Failing { slot, reason, how } => {
                let reason = reason.word();
                tracing::error!(
                    slot,
                    reason,
                    how,
                    "process fails again and again; it is started less and less often, and only counted from now on"
                );
            }
            News::StillFailing { slot, reason, how, pause } => {
                let (reason, pause_ms) = (reason.word(), millis(pause));
                tracing::debug!(slot, reason, how, pause_ms, "process failed once more");
            }
            News::Recovered { slot } => tracing::info!(slot, "process is well again"),
            News::Killed { slot, reason } => {
                tracing::error!(slot, reason = reason.word(), "process was killed");
            }
            News::Replaced { slot, reason } => {
                tracing::info!(slot, reason = reason.word(), "process is replaced, its successor serves");
            }
            News::Renewed { generation } => {
                let is_first = self.current.is_none();
                self.current = self.coming.take();
                notify::tell(Word::Ready);
                let processes = self.current.as_ref().map_or(0, |current| current.config.processes.workers);
                if is_first {
                    tracing::info!(processes, "node serves with several processes");
                } else {
                    self.metrics.reloaded(true);
                    tracing::info!(processes, generation, "configuration is at work in all processes");
                }
            }
            News::NotRenewed { why } => {
                self.coming = None;
                anyhow::ensure!(self.current.is_some(), "the first processes could not start: {why}");
                self.metrics.reloaded(false);
                notify::tell(Word::Ready);
                tracing::error!(why, "configuration was not put to work, the processes before it serve on");
            }
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
