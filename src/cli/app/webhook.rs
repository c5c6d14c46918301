//! `cirque app webhook …`: whose servers are told of events, and what became of it.

use cirque_app::webhooks::admin::Webhooks;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Where;
use crate::cli::{Failure, block_on, say};

/// Commands about webhooks.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Add a webhook; prints its secret, once.
    #[command(
        after_help = "Example:\n  cirque app webhook add https://example.com/hook --event post.published"
    )]
    Add(Add),
    /// List the webhooks.
    #[command(after_help = "Example:\n  cirque app webhook list --json")]
    List(List),
    /// Switch a webhook on again that was switched off for its failures.
    #[command(after_help = "Example:\n  cirque app webhook enable 3")]
    Enable(One),
    /// Remove a webhook.
    #[command(after_help = "Example:\n  cirque app webhook remove 3")]
    Remove(One),
}

/// A new webhook.
#[derive(Debug, Args)]
pub(in crate::cli) struct Add {
    #[command(flatten)]
    place: Where,
    /// Where events are sent.
    url: String,
    /// An event it wants to hear of: `post.published`, `post.updated` or `post.deleted`; may be given several times,
    /// all of them when left out.
    #[arg(long = "event")]
    events: Vec<String>,
}

/// How to list.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    place: Where,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

/// One webhook.
#[derive(Debug, Args)]
pub(in crate::cli) struct One {
    #[command(flatten)]
    place: Where,
    /// Its number in `cirque app webhook list`.
    id: i64,
}

/// Carries out a command about webhooks.
pub(in crate::cli) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Add(add) => {
            let (id, secret) = with(&add.place, async |webhooks| webhooks.add(&add.url, &add.events).await)?;
            say(&format!("webhook {id} signs with {secret} (shown once)"));
        }
        Command::List(list) => {
            for webhook in with(&list.place, async |webhooks| webhooks.list().await)? {
                say(&if list.json {
                    json!({
                        "id": webhook.id, "url": webhook.url, "events": webhook.events.split(' ').collect::<Vec<_>>(),
                        "failures": webhook.failures, "last_error": webhook.last_error,
                        "disabled_at": webhook.disabled_at,
                    })
                    .to_string()
                } else {
                    let state =
                        webhook.disabled_at.map_or_else(|| "on".to_owned(), |at| format!("off since {at}"));
                    let error = webhook.last_error.unwrap_or_default();
                    let (id, url, failures) = (webhook.id, webhook.url, webhook.failures);
                    format!("{id:<5} {url:<50} {state:<10} failures {failures:<4} {error}")
                        .trim_end()
                        .to_owned()
                });
            }
        }
        Command::Enable(one) => {
            with(&one.place, async |webhooks| webhooks.enable(one.id).await)?;
            say(&format!("webhook {} is on", one.id));
        }
        Command::Remove(one) => {
            with(&one.place, async |webhooks| webhooks.remove(one.id).await)?;
            say(&format!("webhook {} is gone", one.id));
        }
    }
    Ok(())
}

fn with<T>(place: &Where, work: impl AsyncFnOnce(&Webhooks) -> anyhow::Result<T>) -> Result<T, Failure> {
    let config = place.load()?;
    let done = block_on(async {
        let webhooks = Webhooks::open(&config).await?;
        let done = work(&webhooks).await;
        webhooks.close().await;
        done
    })?;
    done.map_err(Failure::from)
}
