//! Decides who is asking and what they may do: a token names an account, its role and abilities are the limits.

pub mod accounts;
pub mod admin;
pub mod handlers;
mod profile;
pub mod throttle;
pub mod tokens;

use axum::extract::FromRequestParts;
use http::header;
use http::request::Parts;

use crate::error::{ApiError, Code};
use crate::moment::Moment;
use crate::state::AppState;

/// What an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// May do everything.
    Admin,
    /// May change everybody's posts.
    Editor,
    /// May change their own posts.
    Author,
}

impl Role {
    /// What each is called.
    pub const WORDS: [(&'static str, Self); 3] =
        [("admin", Self::Admin), ("editor", Self::Editor), ("author", Self::Author)];

    /// Whether everybody's posts are theirs to see and change.
    pub fn is_over_all(self) -> bool {
        match self {
            Self::Admin | Self::Editor => true,
            Self::Author => false,
        }
    }

    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Editor => "editor",
            Self::Author => "author",
        }
    }

    /// The role of this name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, role)| *role)
    }
}

/// What a token lets its holder do, within the limits of the role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// See posts that are not public yet.
    ReadPosts,
    /// Write, change and delete posts.
    WritePosts,
    /// See jobs and steer them; for admins.
    ManageQueue,
}

impl Ability {
    /// What each is called.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("posts:read", Self::ReadPosts),
        ("posts:write", Self::WritePosts),
        ("queue:manage", Self::ManageQueue),
    ];

    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::ReadPosts => "posts:read",
            Self::WritePosts => "posts:write",
            Self::ManageQueue => "queue:manage",
        }
    }

    /// The ability of this name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, ability)| *ability)
    }
}

/// A set of abilities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abilities(Vec<Ability>);

impl Abilities {
    /// These, each once, in the order of [`Ability::WORDS`].
    pub fn of(abilities: &[Ability]) -> Self {
        Self(
            Ability::WORDS
                .iter()
                .map(|(_, ability)| *ability)
                .filter(|one| abilities.contains(one))
                .collect(),
        )
    }

    /// Everything there is.
    pub fn all() -> Self {
        Self(Ability::WORDS.iter().map(|(_, ability)| *ability).collect())
    }

    /// Whether it is one of them.
    pub fn has(&self, ability: Ability) -> bool {
        self.0.contains(&ability)
    }

    /// Their names.
    pub fn words(&self) -> Vec<&'static str> {
        self.0.iter().map(|ability| ability.word()).collect()
    }

    fn read(text: &str) -> Self {
        Self(text.split(' ').filter_map(Ability::parse).collect())
    }
}

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Their id as an author.
    pub author: i64,
    /// The token they came with.
    pub token: i64,
    /// Their role.
    pub role: Role,
    /// What the token lets them do.
    pub abilities: Abilities,
}

impl Identity {
    /// Whether they may see what this author has not published.
    pub fn sees(&self, author: i64) -> bool {
        self.abilities.has(Ability::ReadPosts) && self.is_over(author)
    }

    /// Whether they may change what this author wrote.
    pub fn changes(&self, author: i64) -> bool {
        self.abilities.has(Ability::WritePosts) && self.is_over(author)
    }

    /// Whether they may write in another author's name.
    pub fn is_over(&self, author: i64) -> bool {
        self.role.is_over_all() || self.author == author
    }

    /// Fails for whoever may not see and steer jobs.
    ///
    /// # Errors
    ///
    /// 403.
    pub fn require_operator(&self) -> Result<(), ApiError> {
        self.require(Ability::ManageQueue)?;
        if self.role == Role::Admin {
            return Ok(());
        }
        Err(ApiError::new(Code::Forbidden, "Only admins may do this."))
    }

    /// Fails without the ability.
    ///
    /// # Errors
    ///
    /// 403, naming it.
    pub fn require(&self, ability: Ability) -> Result<(), ApiError> {
        if self.abilities.has(ability) {
            return Ok(());
        }
        Err(ApiError::new(
            Code::Forbidden,
            format!("The token does not have the ability {}.", ability.word()),
        ))
    }
}

/// Whoever asks, where a token is not needed; a token that is not good is refused here too.
#[derive(Clone, Debug, Default)]
pub struct Viewer(pub Option<Identity>);

/// Somebody with a token, where one is needed.
#[derive(Clone, Debug)]
pub struct Signed(pub Identity);

impl FromRequestParts<AppState> for Viewer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(header::AUTHORIZATION) else { return Ok(Self(None)) };
        let refused = || ApiError::new(Code::Unauthenticated, "The token is not valid, or not any more.");
        let text = value.to_str().map_err(|_| refused())?;
        let (scheme, token) = text.split_once(' ').ok_or_else(refused)?;
        let hash = tokens::hash(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"));
        let hash = hash.ok_or_else(refused)?;
        let identity = tokens::find(state.db.read_latest(), &hash, Moment::now()).await?;
        identity.map(|identity| Self(Some(identity))).ok_or_else(refused)
    }
}

impl FromRequestParts<AppState> for Signed {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let Viewer(identity) = Viewer::from_request_parts(parts, state).await?;
        let missing = || {
            ApiError::new(
                Code::Unauthenticated,
                "This needs a token, in the header Authorization: Bearer TOKEN.",
            )
        };
        identity.map(Self).ok_or_else(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_limit_and_an_ability_too() {
        let who = |role, abilities: &[Ability]| Identity {
            author: 1,
            token: 9,
            role,
            abilities: Abilities::of(abilities),
        };
        let all = [Ability::WritePosts, Ability::ReadPosts];
        assert!(who(Role::Author, &all).changes(1) && !who(Role::Author, &all).changes(2));
        assert!(who(Role::Editor, &all).changes(2) && who(Role::Admin, &all).changes(2));
        assert!(!who(Role::Admin, &[Ability::ReadPosts]).changes(1));
        assert!(who(Role::Author, &all).sees(1) && !who(Role::Author, &all).sees(2));
        assert!(!who(Role::Editor, &[Ability::WritePosts]).sees(2));
    }

    #[test]
    fn abilities_are_kept_as_words() {
        let both = Abilities::of(&[Ability::WritePosts, Ability::ReadPosts, Ability::WritePosts]);
        assert_eq!(both.words(), ["posts:read", "posts:write"]);
        assert_eq!(Abilities::read("posts:read posts:write gone:since"), both);
    }
}
