//! Decides how a connection to Redis is made: to one server, to the one that sentinels name, or to a cluster.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates,
    Value, cmd,
};

use super::circuit::Reason;
use super::sentinel;
use super::trouble::{Meaning, meaning};
use crate::config::Redis;
use crate::config::redis::{Layout, Login, Server};

/// How often a cluster's command is sent elsewhere: moved slots, a part that is being handed over.
const RETRIES: u32 = 4;
/// How long between, in milliseconds at most.
const RETRY_WAIT: u64 = 20;

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) reason: Reason,
    /// For the operator, without secrets.
    pub(super) detail: String,
}

impl Trouble {
    pub(super) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        let reason = match meaning(&error) {
            Meaning::Useless(Reason::Lost | Reason::Silent) => Reason::Unreachable,
            Meaning::Useless(reason) => reason,
            Meaning::Refused => Reason::Denied,
        };
        Self { reason, detail: cirque_shared::report::chain(&error) }
    }
}

/// A connection that carries commands in any order. Cheap to clone.
#[derive(Clone)]
pub(super) enum Link {
    One(MultiplexedConnection, Duty),
    Cluster(ClusterConnection),
}

/// Whether a server must be the one that takes writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// It is the only one we know.
    Any,
    /// Others may have taken its place.
    Primary,
}

impl Link {
    pub(super) async fn query(&self, command: &Cmd) -> RedisResult<Value> {
        match self {
            Self::One(connection, _) => command.query_async(&mut connection.clone()).await,
            Self::Cluster(connection) => command.query_async(&mut connection.clone()).await,
        }
    }

    /// Whether everything that we need answers: the server, as a primary; of a cluster, every primary.
    pub(super) async fn probe(&self) -> RedisResult<()> {
        match self {
            Self::One(connection, Duty::Any) => cmd("PING").exec_async(&mut connection.clone()).await,
            Self::One(connection, Duty::Primary) => {
                let role: Vec<Value> = cmd("ROLE").query_async(&mut connection.clone()).await?;
                let role = role.into_iter().next().map(redis::from_redis_value::<String>);
                if matches!(role, Some(Ok(role)) if role == "master") {
                    return Ok(());
                }
                let kind = ErrorKind::Server(redis::ServerErrorKind::ReadOnly);
                Err(RedisError::from((kind, "the server is a replica")))
            }
            Self::Cluster(connection) => {
                // Of everybody for himself: the library asks those it is connected to, so who is missing shows only
                // in how many answer and how many there are.
                let routing = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                let mut command = cmd("CLUSTER");
                command.arg("SLOTS");
                every_primary_answered(&connection.clone().route_command(command, routing).await?)
            }
        }
    }

    /// What one server says of its memory.
    pub(super) async fn memory(&self) -> RedisResult<String> {
        let mut command = cmd("INFO");
        command.arg("memory");
        match self {
            Self::One(connection, _) => command.query_async(&mut connection.clone()).await,
            Self::Cluster(connection) => {
                let routing = RoutingInfo::SingleNode(SingleNodeRoutingInfo::RandomPrimary);
                let value = connection.clone().route_command(command, routing).await?;
                Ok(redis::from_redis_value(value)?)
            }
        }
    }
}

/// Whether as many primaries answered `CLUSTER SLOTS` as any of them knows to have slots.
fn every_primary_answered(answers: &Value) -> RedisResult<()> {
    let Value::Map(answers) = answers else { return Err(missing()) };
    for (_, answer) in answers {
        if let Value::ServerError(error) = answer {
            return Err(error.clone().into());
        }
        // Each stretch of slots: its first, its last, its primary (address, port, id), its replicas.
        let Value::Array(stretches) = answer else { return Err(missing()) };
        let primary = |stretch: &Value| match stretch {
            Value::Array(stretch) => stretch.get(2).map(|primary| format!("{primary:?}")),
            _ => None,
        };
        let primaries: BTreeSet<String> = stretches.iter().filter_map(primary).collect();
        if primaries.len() > answers.len() {
            return Err(missing());
        }
    }
    Ok(())
}

fn missing() -> RedisError {
    RedisError::from((ErrorKind::ClusterConnectionNotFound, "a primary of the cluster does not answer"))
}

/// Makes the connection for commands.
pub(super) async fn open(config: &Redis) -> Result<Link, Trouble> {
    let opening = async {
        match &config.layout {
            Layout::Single(server, database) => {
                let info = info(server, &config.login, *database, config);
                let connection = connection(info, config, command_settings(config)).await?;
                Ok(Link::One(connection, Duty::Any))
            }
            Layout::Sentinel { database, .. } => {
                let server = sentinel::primary(config).await?;
                let info = info(&server, &config.login, *database, config);
                let connection = connection(info, config, command_settings(config)).await?;
                let link = Link::One(connection, Duty::Primary);
                link.probe().await?;
                Ok(link)
            }
            Layout::Cluster(servers) => cluster(servers, config).await.map(Link::Cluster),
        }
    };
    let limit = limit(config);
    tokio::time::timeout(limit, opening).await.unwrap_or_else(|_| {
        Err(Trouble::new(Reason::Unreachable, format!("no connection could be made within {limit:?}")))
    })
}

/// Each server that may have to be asked has its time.
fn limit(config: &Redis) -> Duration {
    let servers = match &config.layout {
        Layout::Single(..) => 1,
        Layout::Sentinel { sentinels, .. } => sentinels.len() + 1,
        Layout::Cluster(servers) => servers.len().min(4),
    };
    config.connect_timeout * u32::try_from(servers).unwrap_or(u32::MAX) + config.timeout
}

async fn cluster(servers: &[Server], config: &Redis) -> Result<ClusterConnection, Trouble> {
    let infos = servers.iter().map(|server| info(server, &config.login, 0, config));
    let mut builder = ClusterClient::builder(infos)
        .connection_timeout(config.connect_timeout)
        .response_timeout(config.timeout)
        .overall_response_timeout(Some(config.timeout))
        .retries(RETRIES)
        .min_retry_wait(1)
        .max_retry_wait(RETRY_WAIT)
        .use_protocol(ProtocolVersion::RESP2);
    if let Some(certificates) = certificates(config).await? {
        builder = builder.tls(redis::TlsMode::Secure).certs(certificates);
    }
    Ok(builder.build()?.get_async_connection().await?)
}

/// For a connection that carries commands.
fn command_settings(config: &Redis) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(config.connect_timeout))
        .set_response_timeout(Some(config.timeout))
}

/// Connects to one server, with its certificate checked where there is TLS.
pub(super) async fn connection(
    info: ConnectionInfo,
    config: &Redis,
    settings: AsyncConnectionConfig,
) -> Result<MultiplexedConnection, Trouble> {
    let client = match certificates(config).await? {
        Some(certificates) => Client::build_with_tls(info, certificates)?,
        None => Client::open(info)?,
    };
    Ok(client.get_multiplexed_async_connection_with_config(&settings).await?)
}

/// How a server is reached, and who signs in.
pub(super) fn info(server: &Server, login: &Login, database: u32, config: &Redis) -> ConnectionInfo {
    let (host, port) = (server.host.clone(), server.port);
    let address = if config.tls.is_some() {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    };
    let mut settings = RedisConnectionInfo::default().set_db(i64::from(database)).set_skip_set_lib_name();
    if !login.username.is_empty() {
        settings = settings.set_username(&login.username);
    }
    if !login.password.is_empty() {
        settings = settings.set_password(login.password.expose());
    }
    // Making one of an address cannot fail.
    address.into_connection_info().expect("an address is enough").set_redis_settings(settings)
}

/// The files are read each time, so that renewed ones are taken.
async fn certificates(config: &Redis) -> Result<Option<TlsCertificates>, Trouble> {
    let Some(tls) = &config.tls else { return Ok(None) };
    let root_cert = match &tls.ca {
        Some(path) => Some(read(path).await?),
        None => None,
    };
    let client_tls = match &tls.own {
        Some((cert, key)) => {
            Some(ClientTlsConfig { client_cert: read(cert).await?, client_key: read(key).await? })
        }
        None => None,
    };
    Ok(Some(TlsCertificates { client_tls, root_cert }))
}

async fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    tokio::fs::read(path)
        .await
        .map_err(|error| Trouble::new(Reason::Denied, format!("could not read {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(first: i64, primary: &str) -> Value {
        let server = |id: &str| {
            Value::Array(vec![
                Value::BulkString(b"127.0.0.1".to_vec()),
                Value::Int(1),
                Value::BulkString(id.into()),
            ])
        };
        Value::Array(vec![Value::Int(first), Value::Int(first + 9), server(primary), server("a replica")])
    }

    fn answers(of: &[&[&str]]) -> Value {
        let each = |(n, primaries): (usize, &&[&str])| {
            let stretches = (0..).step_by(10).zip(*primaries).map(|(first, primary)| stretch(first, primary));
            (Value::Int(i64::try_from(n).unwrap_or_default()), Value::Array(stretches.collect()))
        };
        Value::Map(of.iter().enumerate().map(each).collect())
    }

    #[test]
    fn a_cluster_is_well_when_as_many_primaries_answer_as_there_are() {
        for (of, is_well) in [
            (&[&["a", "b", "c"][..], &["a", "b", "c"], &["a", "b", "c"]][..], true),
            // One owns two stretches.
            (&[&["a", "b", "a"], &["a", "b", "a"]], true),
            (&[&["a", "b", "c"], &["a", "b", "c"]], false),
            // They do not agree yet.
            (&[&["a", "b"], &["a", "b", "c"]], false),
        ] {
            assert_eq!(every_primary_answered(&answers(of)).is_ok(), is_well, "{of:?}");
        }
        assert!(every_primary_answered(&Value::Okay).is_err());
    }
}
