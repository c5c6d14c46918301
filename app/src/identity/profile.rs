//! Decides what an account sees of itself; nobody else sees it.

use serde::Serialize;

use super::Abilities;
use super::accounts::Account;
use crate::moment::Moment;

/// An account as its owner sees it.
#[derive(Debug, Serialize)]
pub(super) struct Profile<'a> {
    id: i64,
    name: &'a str,
    username: &'a str,
    email: &'a str,
    avatar: Option<&'a str>,
    bio: &'a str,
    roles: [&'static str; 1],
    /// What the token at hand lets its holder do.
    permissions: Vec<&'static str>,
    is_active: bool,
    last_login_at: Option<Moment>,
    created_at: Moment,
    updated_at: Moment,
}

impl<'a> Profile<'a> {
    pub(super) fn new(account: &'a Account, abilities: &Abilities) -> Self {
        Self {
            id: account.id,
            name: &account.name,
            username: &account.username,
            email: &account.email,
            avatar: account.avatar.as_deref(),
            bio: &account.bio,
            roles: [account.role.word()],
            permissions: abilities.words(),
            is_active: account.is_active,
            last_login_at: account.last_login_at,
            created_at: account.created_at,
            updated_at: account.updated_at,
        }
    }
}
