//! `cirque app user …` and `cirque app token …`: who may get in, with what, and for how long.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use cirque_app::identity::admin::{Accounts, NewAccount};
use cirque_app::identity::{Abilities, Ability, Role};
use cirque_shared::config::units::parse_duration;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Where;
use crate::cli::{Failure, block_on, say};

/// Commands about accounts.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum User {
    /// Make an account; prints the password that it makes, once.
    #[command(after_help = "Example:\n  cirque app user create ada --email ada@example.com --role editor")]
    Create(Create),
    /// List the accounts.
    #[command(after_help = "Example:\n  cirque app user list --json")]
    List(List),
    /// Give an account another password and end its tokens; prints the password that it makes, once.
    #[command(after_help = "Example:\n  cirque app user password ada")]
    Password(Password),
    /// Give an account another role.
    #[command(after_help = "Example:\n  cirque app user role ada admin")]
    Role(NewRole),
    /// Switch an account off: its tokens are not good any more, its posts stay.
    #[command(after_help = "Example:\n  cirque app user disable ada")]
    Disable(Named),
    /// Switch an account on again.
    #[command(after_help = "Example:\n  cirque app user enable ada")]
    Enable(Named),
}

/// Commands about tokens.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Token {
    /// Make a token for an account; prints it, once.
    #[command(
        after_help = "Example:\n  cirque app token create ada --ability posts:write --ability posts:read --expires 90d"
    )]
    Create(NewToken),
    /// List the tokens that were not cleared away.
    #[command(after_help = "Example:\n  cirque app token list --user ada")]
    List(ListTokens),
    /// End a token at once.
    #[command(after_help = "Example:\n  cirque app token revoke 7")]
    Revoke(Revoke),
}

/// A new account.
#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    #[command(flatten)]
    place: Where,
    /// The name in addresses.
    username: String,
    /// What is signed in with.
    #[arg(long)]
    email: String,
    /// The full name; the user name when it is left out.
    #[arg(long)]
    name: Option<String>,
    /// `admin`, `editor` (everybody's posts) or `author` (their own).
    #[arg(long, default_value = "author", value_parser = role)]
    role: Role,
    /// Read the password from standard input instead of making one.
    #[arg(long)]
    password_stdin: bool,
}

/// How to list.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    place: Where,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

/// One account.
#[derive(Debug, Args)]
pub(in crate::cli) struct Named {
    #[command(flatten)]
    place: Where,
    /// The user name.
    username: String,
}

/// Another password.
#[derive(Debug, Args)]
pub(in crate::cli) struct Password {
    #[command(flatten)]
    of: Named,
    /// Read the password from standard input instead of making one.
    #[arg(long)]
    password_stdin: bool,
}

/// Another role.
#[derive(Debug, Args)]
pub(in crate::cli) struct NewRole {
    #[command(flatten)]
    of: Named,
    /// `admin`, `editor` (everybody's posts) or `author` (their own).
    #[arg(value_parser = role)]
    role: Role,
}

/// A new token.
#[derive(Debug, Args)]
pub(in crate::cli) struct NewToken {
    #[command(flatten)]
    of: Named,
    /// What it is for: `posts:read`, `posts:write` or `queue:manage`; may be given several times.
    #[arg(long = "ability", required = true, value_parser = ability)]
    abilities: Vec<Ability>,
    /// How long it is good, up to 365d.
    #[arg(long, value_parser = lifetime)]
    expires: Duration,
    /// What it is called in lists.
    #[arg(long, default_value = "cli")]
    name: String,
}

/// Which tokens to list.
#[derive(Debug, Args)]
pub(in crate::cli) struct ListTokens {
    #[command(flatten)]
    list: List,
    /// Only those of this account.
    #[arg(long, value_name = "USERNAME")]
    user: Option<String>,
}

/// Which token to end.
#[derive(Debug, Args)]
pub(in crate::cli) struct Revoke {
    #[command(flatten)]
    place: Where,
    /// Its id in `cirque app token list`.
    id: i64,
}

fn role(word: &str) -> Result<Role, String> {
    Role::parse(word).ok_or_else(|| "must be admin, editor or author".to_owned())
}

fn ability(word: &str) -> Result<Ability, String> {
    Ability::parse(word).ok_or_else(|| "must be posts:read, posts:write or queue:manage".to_owned())
}

/// Days too, because that is how one thinks of it.
fn lifetime(text: &str) -> Result<Duration, String> {
    const DAY: u64 = 24 * 3600;
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    let lifetime =
        days.map(|days| Duration::from_secs(days.saturating_mul(DAY))).or_else(|| parse_duration(text));
    lifetime
        .filter(|lifetime| (60..=365 * DAY).contains(&lifetime.as_secs()))
        .ok_or_else(|| "must be a duration like 90d or 12h, from 1m to 365d".to_owned())
}

fn from_stdin(is_wanted: bool) -> Result<Option<String>, Failure> {
    if !is_wanted {
        return Ok(None);
    }
    let mut text = String::new();
    std::io::stdin().lock().take(4096).read_to_string(&mut text).context("could not read the password")?;
    Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn tell_password(username: &str, made: Option<&String>) {
    if let Some(password) = made {
        say(&format!("the password of {username} is {password} (shown once)"));
    }
}

/// Carries out a command about accounts.
pub(in crate::cli) fn user(command: &User) -> Result<(), Failure> {
    match command {
        User::Create(create) => {
            let given = from_stdin(create.password_stdin)?;
            let new = NewAccount {
                username: &create.username,
                name: create.name.as_deref(),
                email: &create.email,
                role: create.role,
                password: given.as_deref(),
            };
            let made = with_accounts(&create.place, async |accounts| accounts.create(new).await)?;
            say(&format!("made the account of {} ({})", create.username, create.role.word()));
            tell_password(&create.username, made.as_ref());
        }
        User::List(list) => {
            for account in with_accounts(&list.place, async |accounts| accounts.list().await)? {
                let last = account.last_login_at.map(|at| at.to_string());
                say(&if list.json {
                    json!({
                        "id": account.id, "username": account.username, "name": account.name,
                        "email": account.email, "role": account.role.word(), "is_active": account.is_active,
                        "last_login_at": last,
                    })
                    .to_string()
                } else {
                    let state = if account.is_active { "active" } else { "off" };
                    let last = last.unwrap_or_else(|| "never signed in".to_owned());
                    let (username, email, role) = (account.username, account.email, account.role.word());
                    format!("{:<6} {username:<20} {email:<32} {role:<7} {state:<7} {last}", account.id)
                });
            }
        }
        User::Password(Password { of, password_stdin }) => {
            let given = from_stdin(*password_stdin)?;
            let made = with_accounts(&of.place, async |accounts| {
                accounts.set_password(&of.username, given.as_deref()).await
            })?;
            say(&format!("{} has another password, and no tokens any more", of.username));
            tell_password(&of.username, made.as_ref());
        }
        User::Role(NewRole { of, role }) => {
            with_accounts(&of.place, async |accounts| accounts.set_role(&of.username, *role).await)?;
            say(&format!("{} is {} now", of.username, role.word()));
        }
        User::Disable(of) => {
            with_accounts(&of.place, async |accounts| accounts.set_active(&of.username, false).await)?;
            say(&format!("{} cannot get in any more", of.username));
        }
        User::Enable(of) => {
            with_accounts(&of.place, async |accounts| accounts.set_active(&of.username, true).await)?;
            say(&format!("{} can get in again", of.username));
        }
    }
    Ok(())
}

/// Carries out a command about tokens.
pub(in crate::cli) fn token(command: &Token) -> Result<(), Failure> {
    match command {
        Token::Create(NewToken { of, abilities, expires, name }) => {
            let abilities = Abilities::of(abilities);
            let token = with_accounts(&of.place, async |accounts| {
                accounts.create_token(&of.username, name, &abilities, *expires).await
            })?;
            say(&token);
        }
        Token::List(ListTokens { list, user }) => {
            let tokens = with_accounts(&list.place, async |accounts| accounts.tokens(user.as_deref()).await)?;
            for token in tokens {
                let abilities = token.abilities.words();
                let revoked = token.revoked_at.map(|at| at.to_string());
                say(&if list.json {
                    json!({
                        "id": token.id, "username": token.username, "name": token.name, "abilities": abilities,
                        "created_at": token.created_at, "expires_at": token.expires_at, "revoked_at": revoked,
                    })
                    .to_string()
                } else {
                    let end = revoked.map_or_else(
                        || format!("until {}", token.expires_at),
                        |revoked| format!("revoked {revoked}"),
                    );
                    let (username, name) = (token.username, token.name);
                    format!("{:<6} {username:<20} {name:<20} {:<24} {end}", token.id, abilities.join(" "))
                });
            }
        }
        Token::Revoke(Revoke { place, id }) => {
            with_accounts(place, async |accounts| accounts.revoke_token(*id).await)?;
            say(&format!("token {id} is not good any more"));
        }
    }
    Ok(())
}

fn with_accounts<T>(
    place: &Where,
    work: impl AsyncFnOnce(&Accounts) -> anyhow::Result<T>,
) -> Result<T, Failure> {
    let config = place.load()?;
    let done = block_on(async {
        let accounts = Accounts::open(&config).await?;
        let done = work(&accounts).await;
        accounts.close().await;
        done
    })?;
    done.map_err(|error| anyhow!(error).into())
}
