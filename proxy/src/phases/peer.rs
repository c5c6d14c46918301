//! Decides how pingora talks to a backend: address and every time limit, because its own default is none.

use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;

use crate::config::policy::Timeouts;
use crate::upstream::backend::Backend;

/// The peer of one attempt; no wait may be longer than `longest`, what is left of the request's time or of one
/// attempt's.
///
/// pingora keeps one read timeout for head and body, so an answer that starts just before the deadline may
/// pause in its body only as long as was left.
pub(super) fn peer(backend: &Backend, timeouts: &Timeouts, longest: Duration) -> HttpPeer {
    let mut peer = HttpPeer::new(backend.address, false, String::new());
    let within = |timeout: Duration| Some(timeout.min(longest));
    peer.options.connection_timeout = within(timeouts.connect);
    peer.options.total_connection_timeout = within(timeouts.connect);
    peer.options.write_timeout = within(timeouts.send);
    peer.options.read_timeout = within(timeouts.read);
    peer.options.idle_timeout = Some(timeouts.keepalive);
    peer
}
