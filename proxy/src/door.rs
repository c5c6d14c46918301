//! What holds for every connection of one listener, and what is answered before a route is looked for.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::Listener;
use crate::config::policy::Protocols;
use crate::metrics::Metrics;
use crate::respond::Refusal;
use crate::tls::Tls;

/// One listener.
#[derive(Debug)]
pub(crate) struct Door {
    /// Its place in the configuration.
    pub(crate) number: usize,
    /// What it is called in metrics.
    pub(crate) name: String,
    pub(crate) protocols: Protocols,
    pub(crate) tls: Option<Tls>,
    /// The value of Strict-Transport-Security; empty: none.
    pub(crate) hsts: String,
    https_redirect: u16,
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
    pub(crate) fn new(number: usize, listener: &Listener, metrics: &Metrics) -> anyhow::Result<Self> {
        let tls = listener.tls.as_ref();
        Ok(Self {
            number,
            name: listener.name.clone(),
            protocols: listener.protocols,
            hsts: tls.map(|tls| tls.hsts.clone()).unwrap_or_default(),
            tls: tls.map(|tls| Tls::new(listener, tls, metrics)).transpose()?,
            https_redirect: listener.https_redirect,
        })
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
        match self.https_redirect {
            443 => format!("https://{host}{target}"),
            port => format!("https://{host}:{port}{target}"),
        }
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
            None => (self.door.https_redirect != 0 && !host.is_empty()).then_some(Refusal::HttpsOnly),
        }
    }
}

#[cfg(test)]
mod tests {
    use cirque_shared::metrics::Registry;

    use super::*;

    fn door(https_redirect: u16) -> Door {
        let listener = Listener {
            name: "http".to_owned(),
            address: ([127, 0, 0, 1], 80).into(),
            access: Default::default(),
            tls: None,
            protocols: Protocols { http1: true, http2: true },
            https_redirect,
        };
        Door::new(0, &listener, &Metrics::new(&Registry::new())).unwrap()
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
