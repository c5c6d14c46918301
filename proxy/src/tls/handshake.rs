//! The handshake with a client: within its time, and every way it can fail counted by its reason.

use std::io;

use cirque_shared::metrics::{Counter, CounterFamily};
use rustls::{Error, HandshakeKind, PeerIncompatible, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{HTTP2, Tls};

/// Why a handshake came to nothing. The reason is the `result` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It took too long.
    TimedOut,
    /// The client left.
    Closed,
    /// What the client sent is not TLS: often plain HTTP.
    NotTls,
    /// It speaks older versions only.
    Version,
    /// No cipher, key exchange or signature is known to both.
    Parameters,
    /// None of the protocols that it offers is spoken here (ALPN).
    Protocol,
    /// It refused what it was shown: usually it does not trust the certificate.
    Refused,
    /// Anything else.
    Other,
}

impl Failure {
    const ALL: [Self; 8] = [
        Self::TimedOut,
        Self::Closed,
        Self::NotTls,
        Self::Version,
        Self::Parameters,
        Self::Protocol,
        Self::Refused,
        Self::Other,
    ];

    /// The value of the `result` label.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::TimedOut => "timeout",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::Version => "version",
            Self::Parameters => "parameters",
            Self::Protocol => "protocol",
            Self::Refused => "refused",
            Self::Other => "other",
        }
    }

    /// What an error of the handshake means.
    fn of(error: &io::Error) -> Self {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
            return Self::Closed;
        };
        match error {
            Error::InvalidMessage(_) => Self::NotTls,
            Error::AlertReceived(_) => Self::Refused,
            Error::NoApplicationProtocol => Self::Protocol,
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::SupportedVersionsExtensionRequired,
            ) => Self::Version,
            Error::PeerIncompatible(_) => Self::Parameters,
            _ => Self::Other,
        }
    }
}

/// One listener's series.
#[derive(Debug)]
pub(super) struct Handshakes {
    /// Full and resumed, in 1.2 and in 1.3.
    done: [[Counter; 2]; 2],
    failed: [Counter; Failure::ALL.len()],
}

impl Handshakes {
    pub(super) fn new(listener: &str, family: &CounterFamily) -> Self {
        let with = |version: &str, result: &str| family.with(&[listener, version, result]);
        Self {
            done: ["1.2", "1.3"].map(|version| ["full", "resumed"].map(|kind| with(version, kind))),
            failed: Failure::ALL.map(|failure| with("none", failure.reason())),
        }
    }
}

/// A connection on which TLS is spoken from now on.
pub(crate) struct Secured<T> {
    pub(crate) io: TlsStream<T>,
    /// The name that the client asked for (SNI).
    pub(crate) name: Option<Box<str>>,
    /// Whether HTTP/2 was agreed on; `None`: the client knows no ALPN.
    pub(crate) is_http2: Option<bool>,
}

impl Tls {
    /// Shakes hands with a client.
    ///
    /// # Errors
    ///
    /// [`Failure`], which was counted. The connection is closed then.
    pub(crate) async fn accept<T>(&self, io: T) -> Result<Secured<T>, Failure>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let accepting = TlsAcceptor::from(std::sync::Arc::clone(&self.config)).accept(io);
        let failure = match tokio::time::timeout(self.handshake_timeout, accepting).await {
            Ok(Ok(io)) => {
                let session = io.get_ref().1;
                let is_13 = session.protocol_version() == Some(ProtocolVersion::TLSv1_3);
                let is_resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
                self.handshakes.done[usize::from(is_13)][usize::from(is_resumed)].inc();
                let name = session.server_name().map(Box::from);
                let is_http2 = session.alpn_protocol().map(|protocol| protocol == HTTP2);
                return Ok(Secured { io, name, is_http2 });
            }
            Ok(Err(error)) => Failure::of(&error),
            Err(_) => Failure::TimedOut,
        };
        self.handshakes.failed[failure as usize].inc();
        Err(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_fail_has_a_reason_of_its_own() {
        for (number, failure) in Failure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, number);
        }
        let reasons: std::collections::BTreeSet<_> = Failure::ALL.map(Failure::reason).into();
        assert_eq!(reasons.len(), Failure::ALL.len());
    }

    #[test]
    fn an_error_is_given_its_meaning() {
        let rustls = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
        for (error, expected) in [
            (io::ErrorKind::UnexpectedEof.into(), Failure::Closed),
            (rustls(Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)), Failure::NotTls),
            (rustls(PeerIncompatible::Tls12NotOfferedOrEnabled.into()), Failure::Version),
            (rustls(PeerIncompatible::NoCipherSuitesInCommon.into()), Failure::Parameters),
            (rustls(Error::NoApplicationProtocol), Failure::Protocol),
            (rustls(Error::AlertReceived(rustls::AlertDescription::UnknownCA)), Failure::Refused),
            (rustls(Error::DecryptError), Failure::Other),
        ] {
            assert_eq!(Failure::of(&error), expected, "{error}");
        }
    }
}
