//! Decides how pingora talks to a backend: address, TLS, protocol and every time limit, because its own default is none.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;

use crate::config::Address;
use crate::config::policy::{Protocol, Timeouts};
use crate::upstream::backend::Backend;

/// The peer of one attempt; no wait may be longer than `longest`, what is left of the request's time or of one
/// attempt's.
///
/// pingora keeps one read timeout for head and body, so an answer that starts just before the deadline may
/// pause in its body only as long as was left.
pub(super) fn peer(backend: &Backend, timeouts: &Timeouts, longest: Duration) -> pingora::Result<HttpPeer> {
    let dial = &backend.dial;
    // Never empty under TLS: pingora would verify nothing then.
    let name = dial.trust.as_ref().map(|trust| trust.name.clone()).unwrap_or_default();
    let mut peer = match &dial.address {
        Address::Inet(address) => HttpPeer::new(*address, dial.trust.is_some(), name),
        Address::Unix(path) => HttpPeer::new_uds(&path.to_string_lossy(), dial.trust.is_some(), name)?,
    };
    let within = |timeout: Duration| Some(timeout.min(longest));
    peer.options.connection_timeout = within(timeouts.connect);
    peer.options.total_connection_timeout = within(timeouts.connect);
    peer.options.write_timeout = within(timeouts.send);
    peer.options.read_timeout = within(timeouts.read);
    peer.options.idle_timeout = Some(timeouts.keepalive);
    if dial.reach.protocol == Protocol::Http2 {
        peer.options.set_http_version(2, 2);
        peer.options.max_h2_streams = dial.reach.max_streams as usize;
    }
    if let Some(trust) = &dial.trust {
        peer.options.verify_cert = trust.is_verified;
        peer.options.verify_hostname = trust.is_verified;
        peer.options.ca = trust.authorities.clone();
    }
    // pingora's pool does not tell authorities apart: connections are shared by one way to one backend only.
    let mut hasher = DefaultHasher::new();
    dial.trust.as_ref().map(|trust| Arc::as_ptr(&trust.config)).hash(&mut hasher);
    peer.group_key = hasher.finish();
    Ok(peer)
}
