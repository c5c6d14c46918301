//! Decides how a node listens to Redis: over a connection of its own, made anew whenever it is lost or leads nowhere.

use std::sync::Arc;
use std::time::Duration;

use cirque_shared::report::chain;
use redis::{AsyncConnectionConfig, ProtocolVersion, PushInfo, PushKind, Value, cmd};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::connect::{self, Trouble};
use super::keeper::{backoff, random};
use super::{Inner, sentinel};
use crate::config::redis::{Layout, Login, Server};

/// How often the connection is looked at: silence is its ordinary state.
const LOOK: Duration = Duration::from_secs(2);

/// What is done with a message.
pub(super) type Hearing = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// Whom to listen to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// A server that holds data: whatever is published anywhere reaches all of them.
    Data,
    /// A sentinel.
    Sentinels,
}

/// Listens until `stop`. `heard` is called with nothing after each new connection.
pub(super) async fn listen(inner: &Inner, at: At, channel: &str, heard: Hearing, stop: &CancellationToken) {
    let listening = async {
        let (mut failures, mut turn) = (0, 0);
        loop {
            turn += 1;
            match once(inner, at, turn, channel, &heard).await {
                Lost::AfterAWhile => failures = 0,
                Lost::AtOnce(trouble) => {
                    failures += 1;
                    tracing::debug!(
                        channel,
                        reason = trouble.reason.word(),
                        error.chain = trouble.detail,
                        "could not listen to redis"
                    );
                }
            }
            tokio::time::sleep(backoff().after(failures + 1, random())).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = listening => {}
    }
}

enum Lost {
    AfterAWhile,
    AtOnce(Trouble),
}

async fn once(inner: &Inner, at: At, turn: usize, channel: &str, heard: &Hearing) -> Lost {
    let config = &inner.config;
    let mut moved = inner.moved.subscribe();
    let (server, login, database) = match target(inner, at, turn).await {
        Ok(target) => target,
        Err(trouble) => return Lost::AtOnce(trouble),
    };
    let mut info = connect::info(&server, &login, database, config);
    // Messages are pushed beside answers in this version of the protocol.
    info =
        info.clone().set_redis_settings(info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3));
    let lost = Arc::new(Notify::new());
    let (hearing, ended) = (Arc::clone(heard), Arc::clone(&lost));
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(config.connect_timeout))
        .set_response_timeout(Some(config.connect_timeout))
        .set_push_sender(move |push: PushInfo| {
            match (push.kind, push.data.get(1)) {
                (PushKind::Message, Some(Value::BulkString(message))) => hearing(message),
                (PushKind::Disconnection, _) => ended.notify_one(),
                _ => {}
            }
            Ok::<(), redis::aio::SendError>(())
        });
    let mut connection = match connect::connection(info, config, settings).await {
        Ok(connection) => connection,
        Err(trouble) => return Lost::AtOnce(trouble),
    };
    if let Err(error) = connection.subscribe(channel).await {
        return Lost::AtOnce(error.into());
    }
    heard(b"");
    loop {
        tokio::select! {
            () = lost.notified() => return Lost::AfterAWhile,
            _ = moved.changed() => return Lost::AfterAWhile,
            () = tokio::time::sleep(LOOK) => {}
        }
        if let Err(error) = cmd("PING").exec_async(&mut connection).await {
            tracing::debug!(
                channel,
                error.chain = chain(&error),
                "lost the connection that listens to redis"
            );
            return Lost::AfterAWhile;
        }
    }
}

/// Another one each time, where there are several.
async fn target(inner: &Inner, at: At, turn: usize) -> Result<(Server, Login, u32), Trouble> {
    let config = &inner.config;
    match (&config.layout, at) {
        (Layout::Single(server, database), _) => Ok((server.clone(), config.login.clone(), *database)),
        (Layout::Sentinel { sentinels, login, .. }, At::Sentinels) => {
            Ok((sentinels[turn % sentinels.len()].clone(), login.clone(), 0))
        }
        (Layout::Sentinel { database, .. }, At::Data) => {
            Ok((sentinel::primary(config).await?, config.login.clone(), *database))
        }
        (Layout::Cluster(servers), _) => Ok((servers[turn % servers.len()].clone(), config.login.clone(), 0)),
    }
}
