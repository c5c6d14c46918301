//! How a backend is reached: TCP or a unix socket, TLS on top where it is asked for, HTTP/2 where it is spoken.

pub(crate) mod http2;
mod io;
mod trust;

use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::config::policy::{Protocol, Reach};
use crate::config::{self, Address};
use http2::Http2;
pub(crate) use io::Io;
use io::Plain;
pub(crate) use trust::Trust;

/// The way to one backend.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) address: Address,
    pub(crate) trust: Option<Trust>,
    pub(crate) reach: Reach,
    /// Connections on which HTTP/2 is spoken; empty where it is not.
    pub(crate) http2: Http2,
}

impl Dial {
    /// The way to a backend of an upstream that is reached like this.
    pub(crate) fn new(backend: &config::Backend, reach: &Reach) -> Self {
        let trust = reach.tls.as_ref().map(|tls| Trust::new(tls, &backend.name, reach.protocol));
        Self { address: backend.address.clone(), trust, reach: reach.clone(), http2: Http2::default() }
    }

    /// Whether this is the way that a configuration means.
    pub(crate) fn is(&self, backend: &config::Backend, reach: &Reach) -> bool {
        self.address == backend.address && self.reach == *reach
    }

    /// Opens a connection; over TLS the backend has shown who it is.
    ///
    /// # Errors
    ///
    /// When nobody listens there, or the handshake fails. Has no time limit of its own.
    pub(crate) async fn open(&self) -> std::io::Result<Io> {
        self.open_at(None).await
    }

    /// Opens a connection to another port of the same host; unix sockets have none.
    pub(crate) async fn open_at(&self, port: Option<u16>) -> std::io::Result<Io> {
        let plain = match &self.address {
            Address::Inet(address) => {
                let mut address = *address;
                address.set_port(port.unwrap_or(address.port()));
                let stream = TcpStream::connect(address).await?;
                // Without it small pieces would wait for acknowledgements; where it fails, they do.
                let _ = stream.set_nodelay(true);
                Plain::Tcp(stream)
            }
            Address::Unix(path) => Plain::Unix(UnixStream::connect(path).await?),
        };
        let Some(trust) = &self.trust else { return Ok(Io::Plain(plain)) };
        let connector = TlsConnector::from(std::sync::Arc::clone(&trust.config));
        let stream = connector.connect(trust.server_name.clone(), plain).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if self.reach.protocol == Protocol::Http2 && !is_http2 {
            return Err(std::io::Error::other("the backend does not speak HTTP/2"));
        }
        Ok(Io::Tls(Box::new(stream)))
    }

    /// What a backend is called where a client named nobody; `name` is its address as written.
    pub(crate) fn host<'a>(&'a self, name: &'a str) -> &'a str {
        match (&self.address, &self.trust) {
            (Address::Inet(_), _) => name,
            (Address::Unix(_), Some(trust)) => &trust.name,
            // As nginx calls those behind its unix sockets.
            (Address::Unix(_), None) => "localhost",
        }
    }

    /// Closes the connections without requests whose time is up.
    pub(crate) fn sweep(&self, now: tokio::time::Instant) {
        self.http2.sweep(now);
    }
}

/// Above what a backend's HTTP/2 connection may be silent before it is asked whether it lives.
const PING_AFTER: Duration = Duration::from_secs(20);
