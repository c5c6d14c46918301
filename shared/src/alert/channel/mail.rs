//! Writes a message as e-mail: one thread per problem.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message as Letter, Tokio1Executor};

use super::{Outcome, PATIENCE, spoken};
use crate::alert::message::{Message, cut};
use crate::config::secret::Secret;

/// Where letters go, and through whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Mail {
    /// `smtp://host:25`, `smtps://host` or `smtp://host:587?tls=required`.
    pub server: String,
    /// Empty: nobody signs in.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// Who writes.
    pub from: Mailbox,
    /// Who reads.
    pub to: Vec<Mailbox>,
    /// Letters an hour, at least 1.
    pub per_hour: u32,
}

impl Mail {
    pub(super) async fn send(&self, message: &Message, is_first: bool) -> Outcome {
        let letter = match self.letter(message, is_first) {
            Ok(letter) => letter,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        let transport = match AsyncSmtpTransport::<Tokio1Executor>::from_url(&self.server) {
            Ok(builder) => builder.timeout(Some(PATIENCE)),
            Err(error) => return Outcome::Gone(error.to_string()),
        };
        let transport = if self.username.is_empty() {
            transport
        } else {
            let password = self.password.expose().to_owned();
            transport.credentials(Credentials::new(self.username.clone(), password))
        };
        let sent =
            tokio::time::timeout(PATIENCE + Duration::from_secs(5), transport.build().send(letter)).await;
        match sent {
            Ok(Ok(_)) => Outcome::Sent,
            Ok(Err(error)) if error.is_permanent() => Outcome::Refused(code(&error)),
            Ok(Err(error)) => Outcome::later(code(&error)),
            Err(_) => Outcome::later("no answer in time"),
        }
    }

    fn letter(&self, message: &Message, is_first: bool) -> Result<Letter, lettre::error::Error> {
        let subject = format!("[{}] {}", message.severity.word(), cut(&message.title, 150));
        let begun = message.firing.iter().chain(&message.resolved).map(|alert| alert.since).min();
        let thread = format!("<{}.{}@cirque.invalid>", message.key, begun.unwrap_or(message.at));
        let own = format!("<{}.{}.{}@cirque.invalid>", message.key, message.at, crate::request_id::random());
        let mut builder = Letter::builder()
            .from(self.from.clone())
            .subject(subject)
            .message_id(Some(if is_first { thread.clone() } else { own }))
            .header(ContentType::TEXT_PLAIN);
        if !is_first {
            builder = builder.in_reply_to(thread.clone()).references(thread);
        }
        for reader in &self.to {
            builder = builder.to(reader.clone());
        }
        let mut text = cut(&message.text, 20_000);
        text.push('\n');
        for (name, value) in &message.facts {
            text += &format!("\n{}: {}", spoken(name), cut(value, 1000));
        }
        for (name, url) in [("Runbook", &message.runbook), ("Dashboard", &message.dashboard)] {
            if !url.is_empty() {
                text += &format!("\n{name}: {url}");
            }
        }
        text += &format!("\n\n-- \n{}\n", message.sender);
        builder.body(text)
    }
}

/// What the server said, in its number alone: its words may repeat addresses.
fn code(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the mail server answered {code}"),
        None if error.is_timeout() => "the mail server did not answer in time".to_owned(),
        None => "the mail server could not be reached or did not speak SMTP".to_owned(),
    }
}
