//! `cirque app queue …`: seeing jobs and steering them; it works on the database, so no node needs to run.

use std::time::Duration;

use anyhow::anyhow;
use cirque_app::queue::steer::{Filter, Granted, MOST, Shown, Wish};
use cirque_app::queue::{Queue, State, look::Depth};
use cirque_app::steering::Steering;
use cirque_shared::config::units::parse_duration;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Where;
use crate::cli::{Failure, block_on, say};

/// Commands about jobs.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// List jobs, the newest first.
    #[command(after_help = "Example:\n  cirque app queue list --state buried --queue mail")]
    List(List),
    /// Show one job: what it is about, its tries and errors.
    #[command(after_help = "Example:\n  cirque app queue show 42")]
    Show(One),
    /// Do jobs again that are buried, done or discarded, or at once those that wait.
    #[command(
        after_help = "Example:\n  cirque app queue retry 42\n  cirque app queue retry --kind call_webhook"
    )]
    Retry(Meant),
    /// Do not do jobs any more; a worker that has one drops it at its next heartbeat.
    #[command(after_help = "Example:\n  cirque app queue discard 42")]
    Discard(Meant),
    /// Take nothing of a queue any more; what is in hand is finished.
    #[command(after_help = "Example:\n  cirque app queue pause mail")]
    Pause(Named),
    /// Take from a queue again.
    #[command(after_help = "Example:\n  cirque app queue resume mail")]
    Resume(Named),
    /// Pause a queue and wait until nothing of it is in hand.
    #[command(after_help = "Example:\n  cirque app queue drain mail --wait 60s")]
    Drain(Drain),
    /// Count the jobs of each queue.
    #[command(after_help = "Example:\n  cirque app queue stats --json")]
    Stats(Stats),
}

/// Which jobs to list.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    which: Which,
    /// So many at most, up to 1000.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=MOST))]
    limit: u64,
    /// Only those with a smaller number: the next page.
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

/// Which jobs are meant.
#[derive(Debug, Args)]
struct Which {
    /// Only in this state: waiting, running, done, buried or discarded.
    #[arg(long, value_parser = state)]
    state: Option<State>,
    /// Only in this queue: default, mail or webhooks.
    #[arg(long, value_parser = queue)]
    queue: Option<Queue>,
    /// Only of this kind, like `mail_subscriber`.
    #[arg(long)]
    kind: Option<String>,
}

/// One job.
#[derive(Debug, Args)]
pub(in crate::cli) struct One {
    #[command(flatten)]
    place: Where,
    /// Its number in `cirque app queue list`.
    id: i64,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// One job, or all that are meant.
#[derive(Debug, Args)]
pub(in crate::cli) struct Meant {
    #[command(flatten)]
    place: Where,
    /// Its number in `cirque app queue list`; without one, all jobs that the other options mean.
    id: Option<i64>,
    #[command(flatten)]
    which: Which,
}

/// One queue.
#[derive(Debug, Args)]
pub(in crate::cli) struct Named {
    #[command(flatten)]
    place: Where,
    /// default, mail or webhooks.
    #[arg(value_parser = queue)]
    queue: Queue,
}

/// How to drain.
#[derive(Debug, Args)]
pub(in crate::cli) struct Drain {
    #[command(flatten)]
    of: Named,
    /// How long to wait at most.
    #[arg(long, default_value = "60s", value_parser = duration)]
    wait: Duration,
}

/// How to count.
#[derive(Debug, Args)]
pub(in crate::cli) struct Stats {
    #[command(flatten)]
    place: Where,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

fn state(word: &str) -> Result<State, String> {
    State::parse(word).ok_or_else(|| "must be waiting, running, done, buried or discarded".to_owned())
}

pub(super) fn queue(word: &str) -> Result<Queue, String> {
    Queue::parse(word).ok_or_else(|| "must be default, mail or webhooks".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "must be a duration like 60s".to_owned())
}

impl Which {
    fn filter(&self, before: Option<i64>) -> Filter {
        Filter { state: self.state, queue: self.queue, kind: self.kind.clone(), before }
    }

    fn is_anything(&self) -> bool {
        self.state.is_some() || self.queue.is_some() || self.kind.is_some()
    }
}

/// Carries out a command about jobs.
pub(in crate::cli) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::List(list) => {
            let filter = list.which.filter(list.before);
            for job in with(&list.place, async |queue| queue.list(&filter, list.limit).await)? {
                say(&if list.json { job.json().to_string() } else { line(&job) });
            }
        }
        Command::Show(one) => {
            let job = with(&one.place, async |queue| queue.show(one.id).await)?;
            let job =
                job.ok_or_else(|| anyhow!("there is no job {}: it may have been cleared away", one.id))?;
            if one.json {
                say(&job.json().to_string());
            } else {
                show(&job);
            }
        }
        Command::Retry(meant) => wish(meant, Wish::Retry, State::Buried, "is to be done again")?,
        Command::Discard(meant) => wish(meant, Wish::Discard, State::Waiting, "is discarded")?,
        Command::Pause(named) => {
            pause(named, true)?;
            say(&format!("nothing of {} is taken any more; what is in hand is finished", named.queue.word()));
        }
        Command::Resume(named) => {
            pause(named, false)?;
            say(&format!("{} goes on", named.queue.word()));
        }
        Command::Drain(drain) => {
            let queue = drain.of.queue;
            let left = with(&drain.of.place, async |steering| steering.drain(queue, drain.wait).await)?;
            if left > 0 {
                return Err(anyhow!(
                    "{} is paused, but {left} of its jobs are still in hand after {:?}: look again with \
                     `cirque app queue list --state running`",
                    queue.word(),
                    drain.wait
                )
                .into());
            }
            say(&format!("{} is paused, and nothing of it is in hand", queue.word()));
        }
        Command::Stats(stats) => {
            let depths = with(&stats.place, async |queue| queue.depths().await)?;
            if !stats.json {
                say("queue      pending  delayed  running   buried  oldest");
            }
            depths.iter().for_each(|depth| say(&if stats.json { numbers(depth) } else { row(depth) }));
        }
    }
    Ok(())
}

fn wish(meant: &Meant, wish: Wish, usual: State, done: &str) -> Result<(), Failure> {
    let Some(id) = meant.id else {
        if !meant.which.is_anything() {
            return Err(anyhow!("say which jobs: a number, or --state, --queue or --kind").into());
        }
        // Those that such a wish is usually about, unless told otherwise.
        let mut filter = meant.which.filter(None);
        filter.state = filter.state.or(Some(usual));
        let count = with(&meant.place, async |queue| queue.wish_all(&filter, wish).await)?;
        say(&format!("jobs changed: {count}"));
        return Ok(());
    };
    match with(&meant.place, async |queue| queue.wish(id, wish).await)? {
        Granted::Is(_) => say(&format!("job {id} {done}")),
        Granted::Unknown => return Err(anyhow!("there is no job {id}: it may have been cleared away").into()),
        Granted::Impossible(state) => {
            return Err(anyhow!("job {id} is {}: that cannot be done with it", state.word()).into());
        }
    }
    Ok(())
}

fn pause(named: &Named, is_paused: bool) -> Result<bool, Failure> {
    with(&named.place, async |queue| queue.set_paused(named.queue, is_paused).await)
}

fn line(job: &Shown) -> String {
    let why = job.reason.as_deref().unwrap_or_default();
    let error = job.last_error().unwrap_or_default();
    format!(
        "{:<8} {:<9} {:<22} {:<10} {:<14} tries {:<3} {} {error}",
        job.id, job.queue, job.kind, job.state, why, job.attempt, job.run_at
    )
    .trim_end()
    .to_owned()
}

fn show(job: &Shown) {
    if let Some(fields) = job.json().as_object() {
        for (name, value) in fields {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            say(&format!("{name:<11} {shown}"));
        }
    }
}

fn row(depth: &Depth) -> String {
    let oldest = depth.oldest.map_or_else(|| "-".to_owned(), |oldest| oldest.to_string());
    let paused = depth.paused_at.map_or_else(String::new, |at| format!("  paused since {at}"));
    format!(
        "{:<9} {:>8} {:>8} {:>8} {:>8}  {oldest}{paused}",
        depth.queue.word(),
        depth.pending,
        depth.delayed,
        depth.running,
        depth.buried
    )
}

fn numbers(depth: &Depth) -> String {
    json!({
        "queue": depth.queue.word(), "pending": depth.pending, "delayed": depth.delayed,
        "running": depth.running, "buried": depth.buried, "oldest": depth.oldest, "paused_at": depth.paused_at,
    })
    .to_string()
}

fn with<T>(place: &Where, work: impl AsyncFnOnce(&Steering) -> anyhow::Result<T>) -> Result<T, Failure> {
    let config = place.load()?;
    let done = block_on(async {
        let steering = Steering::open(&config).await?;
        let done = work(&steering).await;
        steering.close().await;
        done
    })?;
    done.map_err(Failure::from)
}
