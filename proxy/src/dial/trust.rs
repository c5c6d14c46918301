//! Decides whom a backend must show itself to be: whose signature counts, and for which name.

use std::sync::{Arc, OnceLock};

use pingora::tls::CertificateDer;
use pingora::utils::tls::{WrappedX509, parse_x509};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::config::policy::{BackendTls, Protocol};

/// What one backend must show.
#[derive(Debug)]
pub(crate) struct Trust {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) server_name: ServerName<'static>,
    /// The same as text: what is asked for (SNI) and what must be in the certificate.
    pub(crate) name: String,
    /// The authorities of its own, as pingora takes them; `None`: the machine's.
    pub(crate) authorities: Option<Arc<[WrappedX509]>>,
    pub(crate) is_verified: bool,
}

impl Trust {
    /// What a backend with this address, as written, must show.
    pub(crate) fn new(tls: &BackendTls, address: &str, protocol: Protocol) -> Self {
        let name = if tls.server_name.is_empty() { host_of(address) } else { &tls.server_name };
        // Checked with the configuration.
        let server_name = ServerName::try_from(name.to_owned()).unwrap_or_else(|_| unknown());
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has suites for every version");
        let mut config = if tls.insecure_skip_verify {
            tracing::warn!(
                backend = address,
                "insecure_skip_verify is on, so anyone can pose as this backend"
            );
            let anyone = Anyone(ring::default_provider());
            builder.dangerous().with_custom_certificate_verifier(Arc::new(anyone)).with_no_client_auth()
        } else {
            let roots = tls.ca.as_ref().map_or_else(of_the_machine, |ca| Arc::new(store(ca)));
            builder.with_root_certificates(roots).with_no_client_auth()
        };
        config.alpn_protocols = vec![match protocol {
            Protocol::Http1 => b"http/1.1".to_vec(),
            Protocol::Http2 => b"h2".to_vec(),
        }];
        let wrapped = |ca: &CertificateDer<'_>| WrappedX509::new(ca.to_vec(), parse_x509);
        Self {
            config: Arc::new(config),
            server_name,
            name: name.to_owned(),
            authorities: tls.ca.as_ref().map(|ca| ca.iter().map(wrapped).collect()),
            is_verified: !tls.insecure_skip_verify,
        }
    }
}

/// The host of an address as written, without its port.
pub(crate) fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn unknown() -> ServerName<'static> {
    ServerName::try_from("name.invalid").expect("a name")
}

fn store(ca: &[CertificateDer<'static>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // Those that cannot be used were told with the configuration.
    let _ = roots.add_parsable_certificates(ca.iter().cloned());
    roots
}

/// The authorities that the machine knows; read once.
fn of_the_machine() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            tracing::warn!(
                "this machine knows no certificate authorities: give each upstream with TLS its tls.ca"
            );
        }
        Arc::new(store(&found.certs))
    }))
}

/// Believes everyone, where the operator says so; signatures of the handshake are checked all the same.
#[derive(Debug)]
struct Anyone(CryptoProvider);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_what_a_certificate_must_name() {
        for (address, expected) in [
            ("app1.example.com:8443", "app1.example.com"),
            ("127.0.0.1:8443", "127.0.0.1"),
            ("[::1]:8443", "::1"),
        ] {
            assert_eq!(host_of(address), expected);
        }
    }
}
