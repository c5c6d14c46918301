//! What a file may say about listeners and the client's side.

use std::time::Duration;

use cirque_shared::config::units::ByteSize;

cirque_shared::raw! {
    /// `[client]`: limits of the client's side.
    pub struct Client {
        /// For a whole request head.
        pub client_header_timeout: Duration,
        /// Between two pieces of a request body.
        pub client_body_timeout: Duration,
        /// For one write to the client.
        pub send_timeout: Duration,
        /// For an idle connection.
        pub keepalive_timeout: Duration,
        /// Requests per connection.
        pub keepalive_requests: u32,
        /// The largest request head.
        pub client_max_header_size: ByteSize,
        /// The most fields in a head.
        pub client_max_headers: usize,
        /// The longest target.
        pub client_max_uri_length: ByteSize,
        /// The slowest body, a second.
        pub client_min_body_rate: ByteSize,
        /// The slowest reader, a second.
        pub client_min_send_rate: ByteSize,
        /// Connections at once.
        pub max_connections: usize,
        /// Connections at once of one client.
        pub max_connections_per_client: u32,
        /// For a silent tunnel.
        pub tunnel_timeout: Duration,
        /// Whether a client may close its half and still be answered.
        pub half_close: bool,
        /// Requests under way at once on one HTTP/2 connection.
        pub http2_max_concurrent_streams: u32,
    }
    /// `[[listeners]]`: an address that is accepted on.
    pub struct Listener {
        /// In logs and metrics.
        pub name: String,
        /// Address and port.
        pub address: String,
        /// Who may connect.
        pub allow: Vec<String>,
        /// Who may not.
        pub deny: Vec<String>,
        /// `tls`: with certificates, TLS is spoken here.
        pub tls: Tls,
        ..policy: ListenerPolicy,
    }
    /// `[defaults.listener]`: what listeners inherit.
    pub struct ListenerDefaults {
        /// For listeners with certificates.
        pub tls: TlsPolicy,
        ..policy: ListenerPolicy,
    }
    /// What a listener inherits.
    pub struct ListenerPolicy {
        /// Which protocols are spoken.
        pub protocols: Vec<String>,
        /// Whether each connection begins with a PROXY header.
        pub proxy_protocol: bool,
        /// To which port of the same host clients are sent to speak https.
        pub https_redirect: u16,
    }
    /// `tls` of a listener.
    pub struct Tls {
        /// One certificate or several.
        pub certificates: Vec<Certificate>,
        ..policy: TlsPolicy,
    }
    /// One certificate.
    pub struct Certificate {
        /// The file of the chain.
        pub cert: String,
        /// The file of the private key.
        pub key: String,
    }
    /// What a listener's `tls` inherits.
    pub struct TlsPolicy {
        /// The oldest version that is spoken.
        pub min_version: String,
        /// For the handshake.
        pub handshake_timeout: Duration,
        /// The value of Strict-Transport-Security.
        pub hsts: String,
    }
}
