//! Decides what an error of Redis says about it: whether it is of no use, or only this command was refused.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::circuit::Reason;

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Redis is of no use.
    Useless(Reason),
    /// It answers, and refuses this command: out of memory, no such script, no permission.
    Refused,
}

pub(super) fn meaning(error: &RedisError) -> Meaning {
    use Meaning::{Refused, Useless};
    match error.kind() {
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig => Useless(Reason::Denied),
        ErrorKind::ClusterConnectionNotFound => Useless(Reason::Unfit),
        ErrorKind::Server(kind) => match kind {
            ServerErrorKind::ReadOnly => Useless(Reason::NotPrimary),
            ServerErrorKind::BusyLoading
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::TryAgain
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask => Useless(Reason::Unfit),
            _ => Refused,
        },
        ErrorKind::Extension if matches!(error.code(), Some("NOAUTH" | "WRONGPASS")) => {
            Useless(Reason::Denied)
        }
        _ if error.is_timeout() => Useless(Reason::Silent),
        _ if error.is_connection_refusal() => Useless(Reason::Unreachable),
        _ if error.is_io_error() => Useless(Reason::Lost),
        _ => Refused,
    }
}

/// Whether the server does not know a script by its digest.
pub(super) fn lacks_script(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn an_error_is_about_redis_or_about_one_command() {
        let io = |kind| RedisError::from(io::Error::from(kind));
        let server = |kind| RedisError::from((ErrorKind::Server(kind), "said the server"));
        for (error, expected) in [
            (io(io::ErrorKind::TimedOut), Meaning::Useless(Reason::Silent)),
            (io(io::ErrorKind::ConnectionRefused), Meaning::Useless(Reason::Unreachable)),
            (io(io::ErrorKind::BrokenPipe), Meaning::Useless(Reason::Lost)),
            (server(ServerErrorKind::ReadOnly), Meaning::Useless(Reason::NotPrimary)),
            (server(ServerErrorKind::BusyLoading), Meaning::Useless(Reason::Unfit)),
            (server(ServerErrorKind::ClusterDown), Meaning::Useless(Reason::Unfit)),
            (server(ServerErrorKind::NoScript), Meaning::Refused),
            (server(ServerErrorKind::NoPerm), Meaning::Refused),
            (server(ServerErrorKind::ResponseError), Meaning::Refused),
        ] {
            assert_eq!(meaning(&error), expected, "{error}");
        }
    }
}
