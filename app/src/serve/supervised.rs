//! Decides what one of several processes of a node does: get ready, wait for the word, serve, and show signs of life.

use std::sync::Arc;
use std::time::Duration;

use cirque_shared::report::chain;
use cirque_shared::shutdown::{Request, Signals};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Node;
use crate::accept::Served;
use crate::config::Config;
use crate::lifecycle::Ending;
use crate::line::{self, Assignment, Hired, Order, Sign, Upward};
use crate::state::AppState;

/// Words for the supervisor that wait to be written.
const MOST_SIGNS: usize = 64;

/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the supervisor has said so far. Only ever goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Wait,
    Go,
    Leave,
    Stop,
}

/// Serves for a supervisor, until it says otherwise or is gone; `config` is what the assignment says.
///
/// # Errors
///
/// When the process cannot start; the supervisor was told.
pub async fn run(mut config: Config, hired: Hired) -> anyhow::Result<()> {
    let signals = Signals::listen()?;
    config.server.slot = Some(hired.assignment.slot);
    let served = Served::up_to(hired.assignment.quota);
    let Hired { line, listener, assignment } = hired;
    line.set_nonblocking(true)?;
    let (reader, mut writer) = UnixStream::from_std(line)?.into_split();
    let node = match Node::start_on(&config, listener, served.clone()).await {
        Ok(node) => node,
        Err(error) => {
            // A supervisor that is gone does not want to know.
            let _ = line::write(&mut writer, &Sign::Failed { why: chain(&error) }).await;
            return Err(error.into());
        }
    };
    let (signs, outgoing) = mpsc::channel(MOST_SIGNS);
    let finished = CancellationToken::new();
    let writing = tokio::spawn(write(writer, outgoing, finished.clone()));
    let state = node.state().clone();
    let upward = state.supervisor.get_or_init(|| Upward::new(signs.clone()));
    tracing::debug!(?upward, slot = assignment.slot, "process is ready");
    let (tell, told) = watch::channel(Told::Wait);
    let tell = Arc::new(tell);
    let reading = tokio::spawn(read(reader, state.clone(), signs.clone(), Arc::clone(&tell)));
    let listening = tokio::spawn(listen(signals, tell));
    let beating = tokio::spawn(beat(state.clone(), served.clone(), signs.clone(), assignment));
    // Nobody to say it to is found out by reading.
    let _ = signs.send(Sign::Ready).await;
    if at_least(told.clone(), Told::Go).await == Told::Go {
        node.run_until_told(ending(told)).await;
    }
    beating.abort();
    reading.abort();
    listening.abort();
    let last = Sign::Beat { requests: served.count(), metrics: state.metrics_text() };
    let _ = signs.send(last).await;
    finished.cancel();
    let _ = tokio::time::timeout(LAST_WORDS, writing).await;
    Ok(())
}

/// How the process is to end, once it is told.
async fn ending(told: watch::Receiver<Told>) -> Ending {
    if at_least(told.clone(), Told::Leave).await == Told::Stop {
        return Ending::Stop;
    }
    let hurried = CancellationToken::new();
    let hurry = hurried.clone();
    tokio::spawn(async move {
        at_least(told, Told::Stop).await;
        hurry.cancel();
    });
    Ending::Leave(hurried)
}

/// Waits until that much was said; an end of the line is a word to stop.
async fn at_least(mut told: watch::Receiver<Told>, least: Told) -> Told {
    told.wait_for(|told| *told >= least).await.map_or(Told::Stop, |told| *told)
}

fn say(tell: &watch::Sender<Told>, word: Told) {
    tell.send_if_modified(|told| {
        let is_news = word > *told;
        *told = word.max(*told);
        is_news
    });
}

/// Hears the supervisor.
async fn read(
    mut line: OwnedReadHalf,
    state: AppState,
    signs: mpsc::Sender<Sign>,
    tell: Arc<watch::Sender<Told>>,
) {
    loop {
        match line::read(&mut line).await {
            Ok(Some(Order::Go)) => say(&tell, Told::Go),
            Ok(Some(Order::Leave)) => say(&tell, Told::Leave),
            Ok(Some(Order::Stop)) => say(&tell, Told::Stop),
            Ok(Some(Order::Report { round })) => {
                let metrics = state.metrics_text();
                let _ = signs.send(Sign::Report { round, metrics }).await;
            }
            Ok(Some(Order::Total { text })) => {
                if let Some(upward) = state.supervisor.get() {
                    upward.answered(text);
                }
            }
            Ok(None) | Err(_) => {
                tracing::error!("supervisor is gone, this process stops");
                return say(&tell, Told::Stop);
            }
        }
    }
}

/// A signal to stop is one, from whomever.
async fn listen(mut signals: Signals, tell: Arc<watch::Sender<Told>>) {
    while signals.next().await != Request::Stop {}
    say(&tell, Told::Stop);
}

/// Writes what there is to say, until nothing is left after `finished`.
async fn write(mut line: OwnedWriteHalf, mut signs: mpsc::Receiver<Sign>, finished: CancellationToken) {
    loop {
        let sign = tokio::select! {
            biased;
            Some(sign) = signs.recv() => sign,
            () = finished.cancelled() => return,
        };
        if line::write(&mut line, &sign).await.is_err() {
            return;
        }
    }
}

/// Shows signs of life, and one more as soon as the process has served as much as it should.
async fn beat(state: AppState, served: Served, signs: mpsc::Sender<Sign>, assignment: Assignment) {
    loop {
        tokio::select! {
            () = served.full() => {}
            () = tokio::time::sleep(assignment.beat) => {}
        }
        let sign = Sign::Beat { requests: served.count(), metrics: state.metrics_text() };
        if signs.send(sign).await.is_err() {
            return;
        }
    }
}
