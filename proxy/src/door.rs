//! What holds for every connection of one listener, and what is answered before a route is looked for.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::certificate::Files;
use crate::config::Listener;
use crate::metrics::Metrics;
use crate::metrics::client::ListenerMetrics;
use crate::respond::Refusal;
use crate::tls::Tls;

/// One listener as one configuration describes it.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) config: Listener,
    pub(crate) tls: Option<Arc<Tls>>,
    /// The value of Strict-Transport-Security; empty: none.
    pub(crate) hsts: String,
    pub(crate) metrics: ListenerMetrics,
    standing: Standing,
}

/// Whether an address is accepted on, for those who came in there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing(Arc<Closing>);

#[derive(Debug, Default)]
struct Closing {
    /// For those who look once a request.
    is_closed: AtomicBool,
    /// For those who wait.
    told: watch::Sender<bool>,
}

/// Where a connection comes from, and through which door.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) door: Arc<Door>,
    /// The other end of the connection.
    pub(crate) peer: IpAddr,
    /// The name that the client asked for in its handshake.
    pub(crate) name: Option<Box<str>>,
}

impl Door {
    /// A listener as it is configured.
    ///
    /// # Errors
    ///
    /// When a certificate cannot be used.
    pub(crate) fn new(
        listener: &Listener,
        standing: Standing,
        metrics: &Metrics,
        before: Option<&Self>,
    ) -> anyhow::Result<Self> {
        let kept =
            before.filter(|before| before.shakes_hands_as(listener)).and_then(|before| before.tls.clone());
        let tls = match (&listener.tls, kept) {
            (None, _) => None,
            // Its tickets stay good.
            (Some(_), Some(kept)) => Some(kept),
            (Some(tls), None) => Some(Arc::new(Tls::new(listener, tls, metrics)?)),
        };
        Ok(Self {
            hsts: listener.tls.as_ref().map(|tls| tls.hsts.clone()).unwrap_or_default(),
            tls,
            metrics: metrics.client.listener(&listener.name),
            config: listener.clone(),
            standing,
        })
    }

    /// Whether nothing that TLS is made of differs.
    fn shakes_hands_as(&self, listener: &Listener) -> bool {
        let (ours, theirs) = (&self.config, listener);
        ours.name == theirs.name && ours.protocols == theirs.protocols && ours.tls == theirs.tls
    }

    /// The files of its certificates.
    pub(crate) fn certificates(&self) -> &[Files] {
        self.config.tls.as_ref().map_or(&[], |tls| &tls.certificates)
    }

    /// Whether it is accepted on no more: whoever is inside is asked to leave after the answer.
    pub(crate) fn is_closed(&self) -> bool {
        self.standing.0.is_closed.load(Ordering::Acquire)
    }

    /// Whether this connection is secured.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Where the client of a request for this host and target is to ask instead, when it is sent to https.
    pub(crate) fn https_location(&self, host: &str, target: &str) -> String {
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        // `OPTIONS *` asks no path.
        let target = if target.starts_with('/') { target } else { "/" };
        match self.config.https_redirect {
            443 => format!("https://{host}{target}"),
            port => format!("https://{host}:{port}{target}"),
        }
    }
}

impl Standing {
    /// Nothing is accepted there any more.
    pub(crate) fn close(&self) {
        self.0.is_closed.store(true, Ordering::Release);
        self.0.told.send_replace(true);
    }

    /// Says when that is so.
    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.0.told.subscribe()
    }
}

impl Origin {
    /// Why a request for this host is not served over this connection, whatever its route.
    pub(crate) fn objection(&self, host: &str) -> Option<Refusal> {
        match &self.door.tls {
            Some(tls) => {
                let is_misdirected = tls.certificates.is_misdirected(self.name.as_deref(), host);
                is_misdirected.then_some(Refusal::Misdirected)
            }
            // A 1.0 client without a Host cannot be told where to go.
            None => (self.door.config.https_redirect != 0 && !host.is_empty()).then_some(Refusal::HttpsOnly),
        }
    }
}

#[cfg(test)]
mod tests {
    use cirque_shared::metrics::Registry;

    use super::*;
    use crate::config::policy::Protocols;

    fn door(https_redirect: u16) -> Door {
        let plain = Listener::plain(Protocols { http1: true, http2: true });
        let listener = Listener { https_redirect, ..plain };
        Door::new(&listener, Standing::default(), &Metrics::new(&Registry::new()), None).unwrap()
    }

    #[test]
    fn a_client_is_sent_to_the_same_place_under_https() {
        for (port, host, target, expected) in [
            (443, "example.com", "/a?b=c", "https://example.com/a?b=c"),
            (443, "example.com:80", "/", "https://example.com/"),
            (8443, "example.com:8080", "/x", "https://example.com:8443/x"),
            (443, "[::1]", "/", "https://[::1]/"),
            (443, "[::1]:80", "*", "https://[::1]/"),
        ] {
            assert_eq!(door(port).https_location(host, target), expected);
        }
    }

    #[test]
    fn only_a_door_that_says_so_sends_clients_away() {
        let origin = |port| Origin { door: Arc::new(door(port)), peer: [127, 0, 0, 1].into(), name: None };
        assert_eq!(origin(0).objection("example.com"), None);
        assert_eq!(origin(443).objection("example.com"), Some(Refusal::HttpsOnly));
        assert_eq!(origin(443).objection(""), None);
    }
}
