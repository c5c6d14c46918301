//! Makes certificates for a test: an authority of its own, and what it signs, as files.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

/// An authority that nobody knows but those who are given its file.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: TempDir,
}

/// The files of one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Default for Authority {
    fn default() -> Authority {
        Authority::new()
    }
}

impl Authority {
    pub fn new() -> Authority {
        let folder = tempfile::tempdir().expect("the temporary directory is writable");
        let mut params = CertificateParams::new([]).expect("no name is a valid list of names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        let key = KeyPair::generate().expect("a key can be made");
        let cert = params.self_signed(&key).expect("an authority signs itself");
        fs::write(folder.path().join("ca.pem"), cert.pem()).expect("the temporary directory is writable");
        Authority { issuer: Issuer::new(params, key), folder }
    }

    /// The authority's own certificate, for those who are to trust it.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A certificate for these names (or addresses), in two files called `stem`. Existing files are replaced.
    pub fn issue(&self, stem: &str, names: &[&str]) -> Files {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = CertificateParams::new(names).expect("the names of a test are valid");
        let key = KeyPair::generate().expect("a key can be made");
        let cert = params.signed_by(&key, &self.issuer).expect("the authority signs");
        let files = self.files(stem);
        fs::write(&files.cert, cert.pem()).expect("the temporary directory is writable");
        fs::write(&files.key, key.serialize_pem()).expect("the temporary directory is writable");
        files
    }

    /// Where a certificate of this name is, or would be.
    pub fn files(&self, stem: &str) -> Files {
        let path = |ending: &str| self.folder.path().join(format!("{stem}.{ending}"));
        Files { cert: path("pem"), key: path("key") }
    }
}

impl Files {
    /// As a row of `tls.certificates`.
    pub fn row(&self) -> String {
        format!("{{ cert = '{}', key = '{}' }}", self.cert.display(), self.key.display())
    }
}
