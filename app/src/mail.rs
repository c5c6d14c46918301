//! Decides how a mail is made and handed to the mail server; when, and how often it is tried, is a matter of jobs.

use std::sync::Arc;
use std::time::Duration;

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

use crate::config;
use crate::queue::Failed;
use cirque_shared::report::chain;

/// Time for one mail to be handed over.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One mail.
#[derive(Clone, Debug)]
pub struct Mail {
    /// Whom it is for.
    pub to: String,
    /// What it is about.
    pub subject: String,
    /// What it says, without markup.
    pub text: String,
    /// The same as HTML.
    pub html: String,
    /// The same for the same mail, however often it is tried: by this a reader's mailbox knows it again.
    pub id: String,
    /// An address that ends such mails with one POST (RFC 8058).
    pub unsubscribe: String,
}

/// Hands mails to the server. Cheap to clone.
#[derive(Clone)]
pub struct Mailer(Arc<Inner>);

struct Inner {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mailer({})", self.0.from)
    }
}

impl Mailer {
    /// A way to the server of `config`; `None` when none is configured.
    pub fn new(config: &config::Mail) -> Option<Self> {
        let smtp = config.smtp.as_ref()?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(smtp.url()).ok()?;
        let name = ClientId::Domain(config.from.email.domain().to_owned());
        let transport = transport.timeout(Some(TIMEOUT)).hello_name(name).build();
        Some(Self(Arc::new(Inner { transport, from: config.from.clone() })))
    }

    /// Hands a mail over.
    ///
    /// # Errors
    ///
    /// [`Failed`], for good when the server or the address makes every further try pointless.
    pub async fn send(&self, mail: Mail) -> Result<(), Failed> {
        let message = self.message(mail)?;
        match tokio::time::timeout(TIMEOUT, self.0.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.is_permanent() => Err(Failed::for_good(chain(&error))),
            Ok(Err(error)) => Err(Failed::now(chain(&error))),
            Err(_) => Err(Failed::now("the mail server did not answer in time")),
        }
    }

    fn message(&self, mail: Mail) -> Result<Message, Failed> {
        let cannot =
            |error: &dyn std::fmt::Display| Failed::for_good(format!("could not make the mail: {error}"));
        let to = mail.to.parse().map_err(|error| cannot(&error))?;
        let id = format!("<{}@{}>", mail.id, self.0.from.email.domain());
        let mut message = Message::builder()
            .from(self.0.from.clone())
            .to(Mailbox::new(None, to))
            .subject(mail.subject)
            .message_id(Some(id))
            .date_now()
            .multipart(MultiPart::alternative_plain_html(mail.text, mail.html))
            .map_err(|error| cannot(&error))?;
        for (name, value) in [
            ("List-Unsubscribe", format!("<{}>", mail.unsubscribe)),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()),
        ] {
            let name = HeaderName::new_from_ascii(name.to_owned()).map_err(|error| cannot(&error))?;
            message.headers_mut().insert_raw(HeaderValue::new(name, value));
        }
        Ok(message)
    }
}
