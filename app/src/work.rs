//! Decides what a process does that only works: jobs until it is told to stop; and how every process counts them.

mod answers;

use std::time::Duration;

use cirque_shared::notify::{self, Word};
use cirque_shared::shutdown::{Request, Signals};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::lifecycle::Ending;
use crate::listeners;
use crate::metrics::QueueNumbers;
use crate::queue::{Queue, look};
use crate::redis::{Use, cmd};
use crate::state::AppState;
use crate::webhooks::store;
use cirque_shared::report::chain;

/// How often jobs are counted.
const EVERY: Duration = Duration::from_secs(5);

/// How long what is being answered at the end may take.
const CLOSING: Duration = Duration::from_secs(1);

/// Works at these queues until SIGTERM or SIGINT, then finishes what it has in hand.
///
/// # Errors
///
/// When the database cannot be used.
pub async fn run(config: Config, queues: Vec<Queue>) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let state = AppState::open(&config, &[]).await?;
    let acceptor = match config.queue.listen {
        Some(address) => Some(answers::listen(&config, &state, address).await?),
        None => None,
    };
    let (stop, ended) = (CancellationToken::new(), CancellationToken::new());
    let working = listeners::worker(&state, queues, config.server.grace_period).run(stop.clone());
    let stopping = async {
        while signals.next().await != Request::Stop {
            tracing::warn!("SIGHUP was ignored, the app tier reads its configuration only at its start");
        }
        tracing::info!("worker is stopping");
        notify::tell(Word::Stopping);
        state.lifecycle.end(&Ending::Stop);
        stop.cancel();
    };
    let noticing = exchange_notices(state.clone(), stop.clone());
    let working = async {
        tokio::join!(working, stopping, noticing);
        ended.cancel();
    };
    let all = async {
        tokio::join!(
            working,
            observe(state.clone(), ended.clone()),
            answers::run(acceptor, state.clone(), ended.clone()),
            state.tell_traces(ended.cancelled()),
        );
    };
    notify::tell(Word::Ready);
    tokio::select! {
        () = all => {}
        () = notify::stay_alive() => {}
    }
    state.db.close().await;
    Ok(())
}

/// Writes the views that this node counted, now and then until `stop`, and the last ones then.
pub(crate) async fn write_views(state: AppState, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(state.views_every) => {}
        }
        match state.views.flush(&state.db, state.clock.now()).await {
            Ok(true) => state.bell.ring(),
            Ok(false) => {}
            Err(error) => tracing::warn!(error.chain = chain(&error), "could not write views; they are kept"),
        }
        if stop.is_cancelled() {
            return;
        }
    }
}

/// Where nodes tell each other of new jobs.
const CHANNEL: &str = "jobs";
/// At most so often: whoever hears it once looks for all.
const TELLING: Duration = Duration::from_millis(20);

/// Tells other processes of new jobs, and hears of theirs, where there is Redis; until `stop`. What is not heard is
/// found by asking.
pub(crate) async fn exchange_notices(state: AppState, stop: CancellationToken) {
    let Some(redis) = state.redis.clone() else { return };
    let bell = state.bell.clone();
    redis.listen(CHANNEL, move || bell.echo());
    let mut notice = cmd("PUBLISH");
    notice.arg(redis.key(CHANNEL)).arg("");
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = state.bell.to_be_told() => {}
        }
        let _: Result<i64, _> = redis.ask(Use::Wakeup, &notice).await;
        tokio::time::sleep(TELLING).await;
    }
}

/// Keeps the numbers of the queues up to date until `stop`.
pub(crate) async fn observe(state: AppState, stop: CancellationToken) {
    loop {
        if let Err(error) = count(&state).await {
            tracing::debug!(error.chain = chain(&error), "could not count jobs");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn count(state: &AppState) -> Result<(), crate::db::Error> {
    let now = state.clock.now();
    for depth in look::depths(&state.db, now).await? {
        let numbers = QueueNumbers {
            pending: depth.pending,
            delayed: depth.delayed,
            running: depth.running,
            buried: depth.buried,
            oldest: depth.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest)),
        };
        state.queue_metrics.observe(depth.queue.word(), numbers);
    }
    state.queue_metrics.webhooks_disabled.set(store::disabled(state.db.watch()).await?);
    Ok(())
}
