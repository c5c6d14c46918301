//! Decides when the servers are looked at, and puts what was found to work: who is read from, and who is written to.

use std::io::ErrorKind;
use std::sync::{PoisonError, Weak};
use std::time::Duration;

use cirque_shared::report::chain;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, PgPool, Row as _};
use tokio::time::Instant;

use super::primary::{Role, elect};
use super::standing::{Finding, Reason};
use super::{Inner, Servers};
use crate::config::Database;
use crate::db::dialect::is_missing_table;
use crate::db::{Error, Position, dialect};

/// How often a server is looked at.
const EVERY: Duration = Duration::from_millis(250);
/// How long a look may take; a server that takes longer does not answer requests either.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many looks at the primary in a row find no answer before it counts as gone: it cannot be replaced by asking
/// another, and may only be busy.
const MISSES: u32 = 2;

/// What a look at a server found.
#[derive(Clone, Copy, Debug)]
struct Look {
    is_primary: bool,
    position: Position,
}

/// One connection to look through, made anew when it breaks.
struct Glass {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    /// The timeline that this node wrote down last.
    noted: u32,
}

impl Glass {
    async fn look(&mut self) -> Result<Look, sqlx::Error> {
        let (mut connection, look) = match self.connection.take() {
            // The connection may have been ended, and the server be well.
            Some(mut kept) => match look(&mut kept).await {
                Ok(look) => (kept, look),
                Err(_) => self.anew().await?,
            },
            None => self.anew().await?,
        };
        if look.is_primary && look.position.timeline() > self.noted {
            note_timeline(&mut connection, look.position.timeline()).await?;
            self.noted = look.position.timeline();
        }
        self.connection = Some(connection);
        Ok(look)
    }

    async fn anew(&self) -> Result<(PgConnection, Look), sqlx::Error> {
        let mut connection = self.options.connect().await?;
        let look = look(&mut connection).await?;
        Ok((connection, look))
    }
}

async fn look(connection: &mut PgConnection) -> Result<Look, sqlx::Error> {
    let row = match sqlx::query(dialect::WHERE_IT_IS).fetch_one(&mut *connection).await {
        // Nothing was migrated yet.
        Err(error) if is_missing_table(&error) => {
            sqlx::query(dialect::WHERE_IT_IS_AT_FIRST).fetch_one(connection).await?
        }
        row => row?,
    };
    let (is_primary, timeline, lsn): (bool, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    let position =
        Position::new(u32::try_from(timeline).unwrap_or_default(), u64::try_from(lsn).unwrap_or_default());
    Ok(Look { is_primary, position })
}

/// Where the server of `pool` is.
pub(super) async fn position(pool: &PgPool) -> Result<Position, sqlx::Error> {
    Ok(look(&mut *pool.acquire().await?).await?.position)
}

/// Writes down that there is such a timeline: a replica shows by this row that it follows it.
async fn note_timeline(connection: &mut PgConnection, timeline: u32) -> Result<(), sqlx::Error> {
    match sqlx::query(dialect::NOTE_TIMELINE).bind(i64::from(timeline)).execute(connection).await {
        // Nothing was migrated yet.
        Err(error) if !is_missing_table(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Looks at all servers once, before anything is asked of them.
pub(super) async fn first_look(servers: &Servers, config: &Database, must_write: bool) -> Result<(), Error> {
    let looks = (0..servers.0.servers.len()).map(|server| {
        let (servers, mut glass) = (servers.clone(), servers.glass(server));
        tokio::spawn(async move {
            match tokio::time::timeout(servers.0.rules.acquire_timeout, glass.look()).await {
                Ok(Ok(look)) => Ok((server, look)),
                Ok(Err(error)) => Err((server, error)),
                Err(_) => Err((server, sqlx::Error::Io(ErrorKind::TimedOut.into()))),
            }
        })
    });
    let (mut found, mut failed, mut first_error) = (Vec::new(), Vec::new(), None);
    for look in looks.collect::<Vec<_>>() {
        match look.await {
            Ok(Ok(look)) => found.push(look),
            Ok(Err((server, error))) => {
                failed.push((server, chain(&error)));
                if server == 0 || first_error.is_none() {
                    first_error = Some(error);
                }
            }
            Err(_) => {}
        }
    }
    // A replica is judged by where the primary is.
    found.sort_by_key(|(_, look)| !look.is_primary);
    for (server, look) in found {
        servers.found(server, Ok(look));
    }
    for (server, trouble) in failed {
        servers.found(server, Err((Reason::Unreachable, trouble)));
    }
    let is_enough = servers.primary().is_ok() || (!must_write && servers.latest().is_some());
    if is_enough {
        if servers.primary().is_err() {
            tell_of_no_primary(first_error.as_ref().map(|error| chain(error)).as_deref());
        }
        return Ok(());
    }
    let nobody = || sqlx::Error::Configuration("none of the servers to write to takes writes".into());
    Err(super::postgres::cannot_open(config, first_error.unwrap_or_else(nobody)))
}

fn tell_of_no_primary(trouble: Option<&str>) {
    tracing::error!(
        error.chain = trouble,
        "no server takes writes: they are answered with 503 until one does"
    );
}

/// Looks at each server now and then, until the servers are closed or dropped.
pub(super) fn start(servers: &Servers) {
    for server in 0..servers.0.servers.len() {
        let (weak, glass) = (std::sync::Arc::downgrade(&servers.0), servers.glass(server));
        tokio::spawn(keep_looking(weak, server, glass, servers.0.over.clone()));
    }
}

async fn keep_looking(
    servers: Weak<Inner>,
    server: usize,
    mut glass: Glass,
    over: tokio_util::sync::CancellationToken,
) {
    loop {
        let began = Instant::now();
        let looked = tokio::select! {
            () = over.cancelled() => return,
            looked = tokio::time::timeout(PATIENCE, glass.look()) => looked,
        };
        let Some(servers) = servers.upgrade().map(Servers) else { return };
        let found = match looked {
            Ok(Ok(look)) => Ok(look),
            Ok(Err(error)) => {
                tracing::debug!(server = servers.0.servers[server].name, %error, "could not look at a server");
                Err((Reason::Unreachable, chain(&error)))
            }
            Err(_) => Err((Reason::Slow, format!("no answer within {PATIENCE:?}"))),
        };
        if found.is_err() {
            glass.connection = None;
        }
        servers.found(server, found);
        let looked_at = &servers.0.servers[server];
        let next = looked_at.now().standing.pause_until().filter(|_| looked_at.writers.is_none());
        let next = next.map_or(began + EVERY, |pause| pause.max(began + EVERY));
        tokio::select! {
            () = over.cancelled() => return,
            () = tokio::time::sleep_until(next) => {}
            () = looked_at.look.notified() => {}
        }
    }
}

/// Puts a finding about a replica to work.
///
/// `trouble` says what was wrong, for the operator.
pub(super) fn judge(servers: &Servers, server: usize, finding: Finding, trouble: String) {
    let judged = &servers.0.servers[server];
    let trouble = match finding {
        Finding::Bad(reason) if trouble.is_empty() => reason.advice().to_owned(),
        _ => trouble,
    };
    let max_lag = servers.0.rules.max_lag;
    let (before, after, lag) = {
        let mut now = judged.now();
        let before = now.standing;
        now.standing = before.after(finding, max_lag, Instant::now());
        (before, now.standing, now.lag)
    };
    servers.metrics().stands(&judged.name, after.reason().map(Reason::word));
    let lag = lag.map(|lag| lag.as_secs_f64());
    match (before.reason(), after.reason()) {
        // What is wrong from the start is said too.
        (before_reason, after_reason) if before_reason == after_reason && !before.is_unknown() => {}
        (_, Some(reason)) => {
            servers.metrics().ejected(&judged.name, reason.word());
            tracing::warn!(
                server = judged.name,
                reason = reason.word(),
                lag_seconds = lag,
                error.chain = Some(trouble.as_str()).filter(|trouble| !trouble.is_empty()),
                "replica is not read from"
            );
        }
        (_, None) => tracing::info!(server = judged.name, lag_seconds = lag, "replica is read from"),
    }
    *judged.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
}

impl Servers {
    fn glass(&self, server: usize) -> Glass {
        let found = &self.0.servers[server];
        let pool = found.writers().unwrap_or_else(|_| found.readers());
        Glass { options: (*pool.connect_options()).clone(), connection: None, noted: 0 }
    }

    /// Puts what a look found to work.
    fn found(&self, server: usize, found: Result<Look, (Reason, String)>) {
        let (found, trouble) = match found {
            Ok(look) => (Ok(look), String::new()),
            Err((reason, trouble)) => (Err(reason), trouble),
        };
        let is_primary = self.note_role(server, found);
        let looked_at = &self.0.servers[server];
        if !looked_at.is_read {
            return;
        }
        if is_primary {
            // Asked for what only it has, and no candidate among the replicas.
            self.metrics().is_primary(&looked_at.name);
            return;
        }
        let finding = match found {
            Err(reason) => Finding::Bad(reason),
            Ok(look) if look.is_primary => Finding::Bad(Reason::NotAReplica),
            Ok(look) => self.measured(server, look.position),
        };
        judge(self, server, finding, trouble);
    }

    /// How far behind a replica at `position` is.
    fn measured(&self, server: usize, position: Position) -> Finding {
        let measured = &self.0.servers[server];
        let (primary, lag, timeline) = {
            let seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
            (seen.track.primary(), seen.track.lag(position), seen.timeline)
        };
        let mut now = measured.now();
        (now.position, now.lag) = (position, lag);
        drop(now);
        let bytes = primary.and_then(|primary| position.behind(primary));
        self.metrics().lags(&measured.name, lag, bytes);
        if position.timeline() < timeline { Finding::Bad(Reason::Diverged) } else { Finding::Behind(lag) }
    }

    /// Notes what a server is, and who is the primary by that; whether it is this one.
    fn note_role(&self, server: usize, found: Result<Look, Reason>) -> bool {
        let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let current = *self.0.primary.borrow();
        {
            let looked_at = &self.0.servers[server];
            let mut now = looked_at.now();
            now.misses = if found.is_err() { now.misses + 1 } else { 0 };
            now.role = match found {
                Ok(Look { is_primary: true, position }) if looked_at.writers.is_some() => {
                    Role::Primary(position)
                }
                Ok(_) => Role::Replica,
                Err(Reason::Slow) if now.misses < MISSES && current == Some(server) => now.role,
                Err(_) => Role::Unknown,
            };
            let is_deaf = found.is_err() && now.role == Role::Unknown;
            drop(now);
            looked_at.note_hearing(is_deaf);
        }
        let roles: Vec<Role> = self.0.servers.iter().map(|server| server.now().role).collect();
        let elected = elect(&roles, current, seen.timeline);
        if let (Some(elected), Role::Primary(position)) = (elected, roles[server])
            && elected == server
        {
            seen.timeline = seen.timeline.max(position.timeline());
            seen.track.note(position, Instant::now());
        }
        drop(seen);
        if elected != current {
            self.0.primary.send_replace(elected);
            self.metrics().has_primary.set(i64::from(elected.is_some()));
            match elected {
                Some(elected) => {
                    tracing::info!(server = self.0.servers[elected].name, "server is the primary")
                }
                None => tell_of_no_primary(None),
            }
        }
        elected == Some(server)
    }
}
