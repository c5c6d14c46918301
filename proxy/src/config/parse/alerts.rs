//! What `[alerts]` says of an edge: the settings that both tiers have, and the other edges.

use cirque_shared::alert::config::{environment, parse};
use cirque_shared::alert::fleet::Peer;
use cirque_shared::alert::rule::Tier;
use cirque_shared::config::Problems;

use super::value::in_range;
use crate::config::{Alerting, raw};

pub(super) fn alerts(raw: raw::Alerts, problems: &mut Problems) -> Alerting {
    let token = raw.peer_token.unwrap_or_default().resolve(&environment).unwrap_or_else(|why| {
        problems.push("alerts.peer_token", why);
        cirque_shared::config::secret::Secret::default()
    });
    let peer =
        |address: &String| Peer { url: format!("http://{address}/v1/alerts/word"), token: token.clone() };
    let peers = raw.peers.unwrap_or_default();
    for (index, address) in peers.iter().enumerate() {
        if address.contains('/') || !address.contains(':') {
            problems.push(
                &format!("alerts.peers[{index}]"),
                format!("must be an address with a port like \"10.0.0.2:9901\", got {address:?}"),
            );
        }
    }
    Alerting {
        peers: peers.iter().map(peer).collect(),
        place: in_range("alerts.place", raw.place.unwrap_or_default(), 0, 100, problems),
        settings: parse(raw.both, Tier::Edge, &environment, problems),
    }
}
