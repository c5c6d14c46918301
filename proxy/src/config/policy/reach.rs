//! How backends are reached: the protocol, and what secures it.

use rustls::pki_types::CertificateDer;

/// What is spoken to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The version of HTTP.
    pub protocol: Protocol,
    /// With what it is secured; `None`: not at all.
    pub tls: Option<BackendTls>,
    /// Requests at once on one HTTP/2 connection, 1 or more.
    pub max_streams: u32,
}

/// A version of HTTP that backends are asked in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, without TLS by prior knowledge.
    Http2,
}

/// The spellings of [`Protocol`] in a file.
pub const PROTOCOLS: [(&str, Protocol); 2] = [("http/1.1", Protocol::Http1), ("h2", Protocol::Http2)];

/// TLS to a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// The authorities whose signature counts; `None`: those that the machine knows.
    pub ca: Option<Vec<CertificateDer<'static>>>,
    /// The name that is asked for and must be in the certificate; empty: the host of the address.
    pub server_name: String,
    /// Whether anyone is believed.
    pub insecure_skip_verify: bool,
}
