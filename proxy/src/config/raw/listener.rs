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
    }
}
