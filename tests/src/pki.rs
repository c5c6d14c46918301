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
        self.issue_for_days(stem, names, 36_500)
    }

    /// The same, that ends so many days from now.
    pub fn issue_for_days(&self, stem: &str, names: &[&str], days: u64) -> Files {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names of a test are valid");
        let (year, month, day) = date_in(days);
        params.not_after = rcgen::date_time_ymd(year, month, day);
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

/// Year, month and day in so many days from now, UTC.
fn date_in(days: u64) -> (i32, u8, u8) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is after 1970");
    let mut left = since.as_secs() / 86_400 + days;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while left >= 365 + u64::from(is_leap(year)) {
        left -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (i32::try_from(year).expect("a year is small"), month, u8::try_from(left + 1).expect("a day is small"))
}

impl Files {
    /// As a row of `tls.certificates`.
    pub fn row(&self) -> String {
        format!("{{ cert = '{}', key = '{}' }}", self.cert.display(), self.key.display())
    }
}
