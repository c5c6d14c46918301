//! Decides which addresses name a mail server, and how they are shown: never with a password.

use std::fmt;

use lettre::{AsyncSmtpTransport, Tokio1Executor};

/// The address of a mail server, with its password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpUrl(String);

/// The address names no mail server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be empty, or like `smtps://user:password@mail.example.com` or `smtp://mail.example.com:587?tls=required`"
)]
pub struct BadSmtp;

impl SmtpUrl {
    /// Reads `smtp://` or `smtps://`.
    ///
    /// # Errors
    ///
    /// [`BadSmtp`].
    pub fn parse(url: &str) -> Result<Self, BadSmtp> {
        let is_known = ["smtp://", "smtps://"].iter().any(|scheme| url.starts_with(scheme));
        if !is_known || AsyncSmtpTransport::<Tokio1Executor>::from_url(url).is_err() {
            return Err(BadSmtp);
        }
        Ok(Self(url.to_owned()))
    }

    /// The whole address, password included.
    pub(crate) fn url(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.0.rsplit('@').next().unwrap_or_default();
        write!(f, "SmtpUrl({})", host.split('?').next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_shown_without_its_password() {
        let url = SmtpUrl::parse("smtps://ada:s3cret@mail.example.com:465").unwrap();
        assert_eq!(format!("{url:?}"), "SmtpUrl(mail.example.com:465)");
        for bad in ["", "mail.example.com", "http://mail.example.com", "smtp://", "smtp://x:port"] {
            assert_eq!(SmtpUrl::parse(bad), Err(BadSmtp), "{bad}");
        }
    }
}
