//! Decides what a certificate file holds: its chain, its key, the names it is good for and when it ends.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The largest file that is read: a chain with many intermediates is a few KiB.
const MOST_BYTES: u64 = 1024 * 1024;

/// The two files of one certificate, in PEM.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Files {
    /// The chain, the server's own certificate first.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A certificate that can be served.
#[derive(Debug)]
pub(crate) struct Certificate {
    /// Chain and key.
    pub(crate) signed: Arc<CertifiedKey>,
    /// The DNS names it is good for, in lower case, wildcards as they are written (`*.example.com`).
    pub(crate) names: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub(crate) not_after: i64,
}

/// Why files are no certificate. Says what to do; never shows what is in a key file.
#[derive(Debug)]
pub(crate) enum Unusable {
    Unreadable { file: PathBuf, error: io::Error },
    TooLarge { file: PathBuf },
    NoCertificate { file: PathBuf },
    NoKey { file: PathBuf },
    Malformed { file: PathBuf, what: String },
    KeyNotSupported { file: PathBuf },
    Mismatch { cert: PathBuf, key: PathBuf },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => write!(f, "could not read {}: {error}", file.display()),
            Self::TooLarge { file } => {
                write!(f, "{} is larger than 1 MiB: it is no certificate file", file.display())
            }
            Self::NoCertificate { file } => {
                write!(f, "{} has no certificate: it must begin with BEGIN CERTIFICATE", file.display())
            }
            Self::NoKey { file } => {
                write!(
                    f,
                    "{} has no private key in PEM (PKCS#8, PKCS#1 or SEC1, unencrypted)",
                    file.display()
                )
            }
            Self::Malformed { file, what } => write!(f, "{} is malformed: {what}", file.display()),
            Self::KeyNotSupported { file } => {
                write!(
                    f,
                    "{} is of a kind that is not supported: use RSA, P-256, P-384 or Ed25519",
                    file.display()
                )
            }
            Self::Mismatch { cert, key } => {
                write!(
                    f,
                    "{} is not the key of {}: give the two that belong together",
                    key.display(),
                    cert.display()
                )
            }
        }
    }
}

/// Reads and checks the two files of a certificate.
///
/// # Errors
///
/// [`Unusable`], when they cannot be read, do not belong together or are of an unknown kind. A certificate that
/// has run out is no error: serving it is better than serving none, and the metric says so.
pub(crate) fn load(files: &Files) -> Result<Certificate, Unusable> {
    let chain = chain(&files.cert)?;
    let bytes = bytes(&files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| match error {
        pem::Error::NoItemsFound => Unusable::NoKey { file: files.key.clone() },
        // The error could quote the file: only that there is one is said.
        _ => Unusable::Malformed { file: files.key.clone(), what: "not PEM".to_owned() },
    })?;
    let key = any_supported_type(&key).map_err(|_| Unusable::KeyNotSupported { file: files.key.clone() })?;
    let (names, not_after) = facts(&files.cert, &chain[0])?;
    let signed = CertifiedKey::new(chain, key);
    if signed.keys_match().is_err() {
        return Err(Unusable::Mismatch { cert: files.cert.clone(), key: files.key.clone() });
    }
    Ok(Certificate { signed: Arc::new(signed), names, not_after })
}

/// The certificates in a PEM file, at least one.
///
/// # Errors
///
/// [`Unusable`], when there is none or one is malformed.
pub(crate) fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let bytes = bytes(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let chain =
        chain.map_err(|_| Unusable::Malformed { file: file.to_owned(), what: "not PEM".to_owned() })?;
    if chain.is_empty() {
        return Err(Unusable::NoCertificate { file: file.to_owned() });
    }
    Ok(chain)
}

fn bytes(file: &Path) -> Result<Vec<u8>, Unusable> {
    let unreadable = |error| Unusable::Unreadable { file: file.to_owned(), error };
    let size = std::fs::metadata(file).map_err(unreadable)?.len();
    if size > MOST_BYTES {
        return Err(Unusable::TooLarge { file: file.to_owned() });
    }
    std::fs::read(file).map_err(unreadable)
}

/// The names that a certificate is good for, and when it ends.
fn facts(file: &Path, certificate: &CertificateDer<'_>) -> Result<(Vec<String>, i64), Unusable> {
    let malformed = |what: String| Unusable::Malformed { file: file.to_owned(), what };
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|_| malformed("not an X.509 certificate".to_owned()))?;
    let alternative = parsed
        .subject_alternative_name()
        .map_err(|_| malformed("its alternative names cannot be read".to_owned()))?;
    let mut names: Vec<String> = Vec::new();
    for name in alternative.iter().flat_map(|extension| &extension.value.general_names) {
        if let GeneralName::DNSName(name) = name {
            names.push(name.to_ascii_lowercase());
        }
    }
    // RFC 6125 §6.4.4: the common name counts only where there are no alternative names.
    if alternative.is_none() {
        let common = parsed.subject().iter_common_name().filter_map(|name| name.as_str().ok());
        names.extend(common.map(str::to_ascii_lowercase));
    }
    Ok((names, parsed.validity().not_after.timestamp()))
}
