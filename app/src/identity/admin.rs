//! Decides what an operator does with accounts and tokens from the command line.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use cirque_shared::metrics::Registry;

use super::accounts::{self, Account, By, Change};
use super::tokens::{self, Token};
use super::{Abilities, Role};
use crate::config::Config;
use crate::db::{Db, Error, Open};
use crate::metrics::DatabaseMetrics;
use crate::moment::Moment;
use crate::passwords;

/// The shortest and the longest password, in characters.
pub const PASSWORD: std::ops::RangeInclusive<usize> = 8..=128;

/// The accounts of one database.
#[derive(Debug)]
pub struct Accounts {
    db: Db,
}

/// A new account, as an operator describes it.
#[derive(Clone, Debug)]
pub struct NewAccount<'t> {
    /// The name in addresses: 1 to 50 of a-z, A-Z, 0-9, `-` and `_`.
    pub username: &'t str,
    /// The full name; the user name when it is left out.
    pub name: Option<&'t str>,
    /// What is signed in with.
    pub email: &'t str,
    /// What it may do.
    pub role: Role,
    /// A password, else one is made.
    pub password: Option<&'t str>,
}

impl Accounts {
    /// Opens the database of `config`.
    ///
    /// # Errors
    ///
    /// Those of [`Db::open`].
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        let metrics = Arc::new(DatabaseMetrics::new(&Registry::new()));
        Ok(Self { db: Db::open(&config.database, Open::Existing, metrics).await? })
    }

    /// Makes an account; hands out its password when one was made.
    ///
    /// # Errors
    ///
    /// When a value is not valid, or the name or the address is taken.
    pub async fn create(&self, new: NewAccount<'_>) -> anyhow::Result<Option<String>> {
        let username = new.username;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        ensure!(
            (1..=50).contains(&username.len()) && username.chars().all(is_plain),
            "the user name {username:?} must be 1 to 50 letters, digits, `-` or `_`"
        );
        let email = new.email.trim().to_lowercase();
        let is_address =
            email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && host.contains('.'));
        ensure!(
            is_address
                && email.len() <= 255
                && !email.contains(|c: char| c.is_whitespace() || c.is_control()),
            "{email:?} must be an e-mail address of at most 255 characters"
        );
        let made = new.password.is_none().then(passwords::make);
        let password = made.as_deref().or(new.password).unwrap_or_default();
        let hash = checked(password)?;
        let account = accounts::New {
            name: new.name.unwrap_or(username),
            username,
            email: &email,
            role: new.role,
            password_hash: Some(&hash),
        };
        let mut writer = self.db.write().await?;
        match accounts::create(&mut writer, &account, Moment::now()).await {
            Ok(_) => writer.commit().await?,
            Err(Error::Refused(..)) => bail!(
                "there is an account with the user name {username} or the address {email} already: see `cirque app user list`"
            ),
            Err(error) => return Err(error).context("could not make the account"),
        }
        Ok(made)
    }

    /// Every account.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn list(&self) -> anyhow::Result<Vec<Account>> {
        Ok(accounts::list(self.db.read_fresh()).await?)
    }

    async fn find(&self, username: &str) -> anyhow::Result<Account> {
        let found = accounts::find(self.db.read_fresh(), By::Username(username)).await?;
        let (account, _) = found
            .with_context(|| format!("there is no account of {username}: see `cirque app user list`"))?;
        Ok(account)
    }

    /// Gives an account another password and ends its tokens; hands out the password when one was made.
    ///
    /// # Errors
    ///
    /// When there is no such account or the password is not valid.
    pub async fn set_password(
        &self,
        username: &str,
        password: Option<&str>,
    ) -> anyhow::Result<Option<String>> {
        let account = self.find(username).await?;
        let made = password.is_none().then(passwords::make);
        let hash = checked(made.as_deref().or(password).unwrap_or_default())?;
        let (mut writer, now) = (self.db.write().await?, Moment::now());
        accounts::change(&mut writer, account.id, Change::PasswordHash(&hash), now).await?;
        tokens::revoke_all(&mut writer, account.id, now).await?;
        writer.commit().await?;
        Ok(made)
    }

    /// Switches an account on or off. Switched off, its tokens are not good.
    ///
    /// # Errors
    ///
    /// When there is no such account.
    pub async fn set_active(&self, username: &str, is_active: bool) -> anyhow::Result<()> {
        self.change(username, Change::IsActive(is_active)).await
    }

    /// Gives an account another role, which its tokens have from then on.
    ///
    /// # Errors
    ///
    /// When there is no such account.
    pub async fn set_role(&self, username: &str, role: Role) -> anyhow::Result<()> {
        self.change(username, Change::Role(role)).await
    }

    async fn change(&self, username: &str, change: Change<'_>) -> anyhow::Result<()> {
        let account = self.find(username).await?;
        let mut writer = self.db.write().await?;
        accounts::change(&mut writer, account.id, change, Moment::now()).await?;
        Ok(writer.commit().await?)
    }

    /// Makes a token for an account and hands it out.
    ///
    /// # Errors
    ///
    /// When there is no such account.
    pub async fn create_token(
        &self,
        username: &str,
        name: &str,
        abilities: &Abilities,
        lifetime: Duration,
    ) -> anyhow::Result<String> {
        let account = self.find(username).await?;
        let (mut writer, now) = (self.db.write().await?, Moment::now());
        let expires_at = now.after(lifetime);
        let new = tokens::New { author: account.id, name, abilities, expires_at };
        let token = tokens::create(&mut writer, new, now).await?;
        writer.commit().await?;
        Ok(token)
    }

    /// The tokens of one account, or of all.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn tokens(&self, username: Option<&str>) -> anyhow::Result<Vec<Token>> {
        Ok(tokens::list(self.db.read_fresh(), username).await?)
    }

    /// Ends a token.
    ///
    /// # Errors
    ///
    /// When there is no such token that is still good.
    pub async fn revoke_token(&self, id: i64) -> anyhow::Result<()> {
        let mut writer = self.db.write().await?;
        let was_good = tokens::revoke(&mut writer, id, Moment::now()).await?;
        ensure!(was_good, "there is no token {id} that is still good: see `cirque app token list`");
        Ok(writer.commit().await?)
    }

    /// Closes the database.
    pub async fn close(self) {
        self.db.close().await;
    }
}

fn checked(password: &str) -> anyhow::Result<String> {
    let (least, most) = (PASSWORD.start(), PASSWORD.end());
    let length = password.chars().count();
    ensure!(
        PASSWORD.contains(&length),
        "the password must have between {least} and {most} characters, got {length}"
    );
    Ok(passwords::hash(password))
}
