//! `cirque up`: a whole site on this machine, as a story: prepare, start, wait until healthy, tell, watch, stop.

mod child;
pub(crate) mod plan;
mod prepare;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use cirque_shared::shutdown::{Request, Signals};
use tokio::time::Instant;

use crate::ask;
use crate::cli::{Failure, say};
pub(crate) use child::follow_parent;
use child::{Child, Supervised};
use plan::Plan;

/// How long the parts may take to become healthy before the start is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a part that is not healthy yet is asked again.
const POLL: Duration = Duration::from_millis(50);

/// The whole site on this machine: edge, app nodes, embedded database with demo posts. Ctrl-C stops it cleanly.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  cirque up --nodes 3 --listen 127.0.0.1:8080")]
pub(crate) struct Args {
    /// App nodes, 1 to 64.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    nodes: u16,
    /// Where the edge listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the edge's admin interface listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9901")]
    admin: SocketAddr,
    /// Port of the first app node; the others follow.
    #[arg(long, value_name = "PORT", default_value_t = 8001, value_parser = clap::value_parser!(u16).range(1..))]
    base_port: u16,
    /// Where database, configuration and logs are kept.
    #[arg(long, value_name = "DIR", default_value = "var")]
    data_dir: PathBuf,
    /// Demo posts for an empty database; 0 leaves it empty.
    #[arg(long, value_name = "POSTS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(0..=10_000_000))]
    seed: u64,
}

/// Runs the site until it is told to stop.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    // One thread: the children ask the kernel to end them with the thread that started them.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start")?;
    Ok(runtime.block_on(site(args))?)
}

async fn site(args: &Args) -> anyhow::Result<()> {
    let mut signals = Signals::listen().context("could not listen for signals")?;
    let plan = Plan::new(args)?;
    let _lock = prepare::directory(&plan)?;
    prepare::ports(&plan)?;
    let seeded = tokio::select! {
        seeded = prepare::database(&plan, args.seed) => seeded?,
        () = stop(&mut signals) => return Ok(()),
    };
    prepare::configuration(&plan)?;

    let mut children: Vec<Child> = Vec::new();
    let started = start(&plan, &mut children, &mut signals).await;
    let outcome = match started {
        Ok(Some(())) => {
            plan.banner(&seeded, &children).iter().for_each(|line| say(line));
            stop(&mut signals).await;
            say("stopping: finishing what is in flight (Ctrl-C again to cut it off)");
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    // The edge goes first: requests in flight still need their nodes.
    tokio::select! {
        () = end_all(children) => {}
        () = stop(&mut signals) => bail!("stopped at once, cutting off what was in flight"),
    }
    outcome
}

/// Starts every part and waits until all are healthy; `None` when told to stop before that.
async fn start(plan: &Plan, children: &mut Vec<Child>, signals: &mut Signals) -> anyhow::Result<Option<()>> {
    for part in plan.parts() {
        children.push(Child::start(part)?);
    }
    tokio::select! {
        healthy = healthy(plan, children) => healthy.map(Some),
        () = stop(signals) => Ok(None),
    }
}

async fn healthy(plan: &Plan, children: &[Child]) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let (admin, n_nodes) = (plan.admin, plan.nodes.len());
    for address in plan.nodes.iter().map(|node| node.address).chain([admin]) {
        until(deadline, children, move || ask::is_ready(address)).await?;
    }
    until(deadline, children, move || ask::all_available(admin, n_nodes)).await
}

async fn until(
    deadline: Instant,
    children: &[Child],
    check: impl Fn() -> bool + Clone + Send + 'static,
) -> anyhow::Result<()> {
    loop {
        if tokio::task::spawn_blocking(check.clone()).await.unwrap_or(false) {
            return Ok(());
        }
        for child in children {
            if let Supervised::Failing(how) = child.state() {
                bail!("{} does not start: it {how}; its log is {}", child.name(), child.log().display());
            }
        }
        if Instant::now() > deadline {
            bail!("not healthy after {} s; the logs tell why", PATIENCE.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn stop(signals: &mut Signals) {
    while signals.next().await != Request::Stop {}
}

async fn end_all(children: Vec<Child>) {
    let (edge, nodes): (Vec<_>, Vec<_>) = children.into_iter().partition(Child::is_edge);
    for child in edge {
        child.end().await;
    }
    let mut ending = tokio::task::JoinSet::new();
    for child in nodes {
        ending.spawn(child.end());
    }
    ending.join_all().await;
}
