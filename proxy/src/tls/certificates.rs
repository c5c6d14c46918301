//! Which certificates a listener serves now, chosen by name for each handshake and taken over when files change.
//!
//! A changed file that cannot be used leaves the certificate that was served before.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use cirque_shared::metrics::{Counter, Gauge};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::names::Names;
use crate::certificate::{self, Certificate, Files};
use crate::metrics::Metrics;

/// The certificates of one listener.
#[derive(Debug)]
pub(crate) struct Certificates {
    served: ArcSwap<Served>,
    watched: Mutex<Vec<Watched>>,
    listener: String,
    reloaded: Counter,
    failed: Counter,
}

/// What handshakes choose from.
#[derive(Debug)]
struct Served {
    certificates: Vec<Arc<Certificate>>,
    names: Names,
}

/// One certificate's files.
#[derive(Debug)]
struct Watched {
    files: Files,
    /// What the files looked like when they were read last, well or not.
    read: Stamp,
    /// What they looked like at the last look: files are read when they have stopped changing.
    seen: Stamp,
    expiry: Gauge,
}

/// What a file's change is noticed by; `None` for a file that is not there.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl Certificates {
    /// Reads all of them; the first is the default.
    pub(super) fn load(listener: &str, files: &[Files], metrics: &Metrics) -> anyhow::Result<Self> {
        let mut certificates = Vec::new();
        let mut watched = Vec::new();
        for files in files {
            let read = stamp(files);
            let certificate = certificate::load(files).map_err(|why| anyhow::anyhow!("{why}"))?;
            let expiry =
                metrics.client.certificate_expiry.with(&[listener, &files.cert.display().to_string()]);
            expiry.set(certificate.not_after);
            certificates.push(Arc::new(certificate));
            watched.push(Watched { files: files.clone(), read, seen: read, expiry });
        }
        Ok(Self {
            served: ArcSwap::from_pointee(Served::new(certificates)),
            watched: Mutex::new(watched),
            listener: listener.to_owned(),
            reloaded: metrics.client.certificate_reloads.with(&[listener, "success"]),
            failed: metrics.client.certificate_reloads.with(&[listener, "failure"]),
        })
    }

    /// Looks whether files have changed, and takes over those that have. Reads files: not for a request's path.
    pub(crate) fn look(&self) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, watched) in watched.iter_mut().enumerate() {
            let now = stamp(&watched.files);
            if !is_due(watched.read, std::mem::replace(&mut watched.seen, now), now) {
                continue;
            }
            watched.read = now;
            let (listener, file) = (self.listener.as_str(), watched.files.cert.display());
            match certificate::load(&watched.files) {
                Ok(certificate) => {
                    watched.expiry.set(certificate.not_after);
                    self.replace(number, certificate);
                    self.reloaded.inc();
                    tracing::info!(listener, certificate = %file, "certificate has changed and is served");
                }
                Err(why) => {
                    self.failed.inc();
                    tracing::error!(
                        listener, certificate = %file, %why,
                        "certificate has changed and cannot be used, the one before is served on"
                    );
                }
            }
        }
    }

    /// Whether a request for `host` came over a connection that another certificate was shown on: a client that
    /// asked for `name` may have been shown one with rules that are not those of this host (RFC 9110 §15.5.20).
    pub(crate) fn is_misdirected(&self, name: Option<&str>, host: &str) -> bool {
        let Some(name) = name else { return false };
        let host = without_port(host);
        if host.eq_ignore_ascii_case(name) {
            return false;
        }
        let served = self.served.load();
        // A host that no certificate names has no rules of its own.
        served.certificates.len() > 1
            && served.names.find(host).is_some_and(|wanted| wanted != served.names.find(name).unwrap_or(&[0]))
    }

    fn replace(&self, number: usize, certificate: Certificate) {
        let mut certificates = self.served.load().certificates.clone();
        certificates[number] = Arc::new(certificate);
        self.served.store(Arc::new(Served::new(certificates)));
    }
}

impl Served {
    fn new(certificates: Vec<Arc<Certificate>>) -> Self {
        let names = Names::new(certificates.iter().map(|certificate| certificate.names.as_slice()));
        Self { certificates, names }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let served = self.served.load();
        let found = hello.server_name().and_then(|name| served.names.find(name)).unwrap_or(&[0]);
        // Of several for one name (RSA beside ECDSA) the first whose key the client understands.
        let fits = |number: &&usize| {
            served.certificates[**number].signed.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let number = found.iter().find(fits).or(found.first())?;
        Some(Arc::clone(&served.certificates[*number].signed))
    }
}

/// Whether files are to be read: they changed since they were read, and not since they were looked at.
fn is_due(read: Stamp, seen: Stamp, now: Stamp) -> bool {
    now != read && now == seen
}

fn stamp(files: &Files) -> Stamp {
    let of = |file: &Path| {
        let data = std::fs::metadata(file).ok()?;
        Some((data.modified().ok()?, data.len()))
    };
    [of(&files.cert), of(&files.key)]
}

/// A host without its port.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn files_are_read_once_they_have_stopped_changing() {
        let at = |seconds| Some((SystemTime::UNIX_EPOCH + Duration::from_secs(seconds), 100));
        let (old, half, new) = ([at(1), at(1)], [at(2), at(1)], [at(2), at(2)]);
        assert!(!is_due(old, old, old), "unchanged");
        assert!(!is_due(old, old, half), "just changed");
        assert!(!is_due(old, half, new), "still changing");
        assert!(is_due(old, new, new), "settled");
        assert!(!is_due(new, new, new), "read, well or not");
        assert!(is_due(old, [None, at(1)], [None, at(1)]), "gone");
    }

    #[test]
    fn a_host_is_compared_without_its_port() {
        for (host, expected) in [
            ("example.com:8443", "example.com"),
            ("example.com", "example.com"),
            ("[::1]:443", "[::1]"),
            ("example.com:x", "example.com:x"),
        ] {
            assert_eq!(without_port(host), expected);
        }
    }
}
