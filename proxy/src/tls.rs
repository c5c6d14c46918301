//! TLS from clients: certificates, versions, ALPN and tickets are ours, in one `ServerConfig` per listener.
//!
//! pingora builds its own and gives no access to it: docs/decisions/0008-tls.md.

mod certificates;
mod handshake;
mod names;

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::version::{TLS12, TLS13};

use crate::config::policy::{Protocols, TlsVersion};
use crate::config::{self, Listener};
use crate::metrics::Metrics;
use certificates::Certificates;
use handshake::Handshakes;

/// What is offered by ALPN (RFC 7301); a client that names none of these is refused.
const HTTP2: &[u8] = b"h2";
const HTTP1: [&[u8]; 2] = [b"http/1.1", b"http/1.0"];

/// TLS of one listener.
#[derive(Debug)]
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    /// Which certificates there are.
    pub(crate) certificates: Arc<Certificates>,
    handshake_timeout: Duration,
    handshakes: Handshakes,
}

impl Tls {
    /// TLS as a listener's configuration says.
    ///
    /// # Errors
    ///
    /// When a certificate's files changed after they were checked and cannot be used, or the system gives no
    /// randomness for tickets.
    pub(crate) fn new(listener: &Listener, tls: &config::Tls, metrics: &Metrics) -> anyhow::Result<Self> {
        let certificates = Arc::new(Certificates::load(&listener.name, &tls.certificates, metrics)?);
        let versions: &[_] = match tls.min_version {
            TlsVersion::V12 => &[&TLS13, &TLS12],
            TlsVersion::V13 => &[&TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificates) as _);
        // Sessions are kept by clients, sealed with a key that changes every six hours and is known for twelve.
        config.ticketer = ring::Ticketer::new()?;
        config.alpn_protocols = offered(listener.protocols);
        Ok(Self {
            config: Arc::new(config),
            certificates,
            handshake_timeout: tls.handshake_timeout,
            handshakes: Handshakes::new(&listener.name, &metrics.client.tls_handshakes),
        })
    }
}

fn offered(protocols: Protocols) -> Vec<Vec<u8>> {
    let http2 = protocols.http2.then_some(HTTP2);
    let http1 = HTTP1.into_iter().filter(|_| protocols.http1);
    http2.into_iter().chain(http1).map(<[u8]>::to_vec).collect()
}
