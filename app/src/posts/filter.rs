//! Decides which posts a list is about, as far as the client chooses.

use sea_query::{Expr, ExprTrait, Query, SelectStatement};

use super::publishing::Status;
use crate::db::Dialect;
use crate::db::dialect::subquery;
use crate::error::{ApiError, Code};
use crate::identity::{Ability, Identity};
use crate::page::cursor::FilterHash;
use crate::query::{Params, Rule, Spec, words};
use crate::{authors, categories, tags};

/// The longest slug or user name, in characters.
const NAME: usize = 200;

/// `search` of v1.
pub const SEARCH: Spec = Spec::new(
    "search",
    Rule::Text(1, 100),
    "Only posts with all of these words, or words that begin like them, in title, excerpt or content.",
);
/// `search` of v2.
pub const SEARCH_V2: Spec = Spec { rule: Rule::Text(2, 100), ..SEARCH };
/// `category_id`.
pub const CATEGORY_ID: Spec =
    Spec::new("category_id", Rule::Id, "Only posts of this category, not of those below it.");
/// `category_slug`.
pub const CATEGORY_SLUG: Spec =
    Spec::new("category_slug", Rule::Text(1, NAME), "Only posts of the category with this slug.");
/// `tag`.
pub const TAG: Spec =
    Spec::new("tag", Rule::Text(1, NAME), "Only posts with this tag, by its id or its slug.");
/// `author`.
pub const AUTHOR: Spec =
    Spec::new("author", Rule::Text(1, NAME), "Only posts of the author with this user name.");
/// `author_id`.
pub const AUTHOR_ID: Spec = Spec::new("author_id", Rule::Id, "Only posts of this author.");
/// `is_featured`.
pub const IS_FEATURED: Spec =
    Spec::new("is_featured", Rule::Flag, "Only posts that are featured, or only those that are not.");

const STATUSES: [&str; 4] = words(&Status::WORDS);
/// `status`.
pub const STATUS: Spec = Spec::new(
    "status",
    Rule::Word(&STATUSES),
    "Only posts in this status; published when left out. The others are shown to their author and to editors, with \
     their token, and are sorted by created_at where that would be published_at.",
);

/// One thing, by its id or by its name in addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// By id.
    Id(i64),
    /// By slug or user name.
    Name(String),
}

/// What a client filters by; the parts are joined by "and".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Words in title, excerpt or content.
    pub search: Option<String>,
    /// Posts of this category, not of those below it; named twice, it must be both.
    pub category: Vec<Which>,
    /// Posts with this tag.
    pub tag: Option<Which>,
    /// Posts of this author; named twice, it must be both.
    pub author: Vec<Which>,
    /// Only posts that are featured, or only those that are not.
    pub is_featured: Option<bool>,
    /// Posts that are not public, in this status; `None` for those that are.
    pub hidden: Option<Status>,
}

impl Filter {
    /// What the parameters of a list say; which of them there are is up to its table.
    pub fn from_params(params: &Params) -> Self {
        let name = |name: &str| params.text(name).map(str::to_owned);
        let by = |id: &str, word: &str| -> Vec<Which> {
            params.id(id).map(Which::Id).into_iter().chain(name(word).map(Which::Name)).collect()
        };
        Self {
            search: name("search"),
            category: by("category_id", "category_slug"),
            // As in the original: a number is an id.
            tag: name("tag").map(|tag| tag.parse().map_or(Which::Name(tag), Which::Id)),
            author: by("author_id", "author"),
            is_featured: params.flag("is_featured"),
            hidden: params.choice("status", &Status::WORDS).filter(|status| *status != Status::Published),
        }
    }

    /// The part of it that `viewer` may see: what is not public is for its author, and for those over all.
    ///
    /// # Errors
    ///
    /// 401 for what is not public without a token; 403 with one that lacks `posts:read`.
    pub fn seen_by(mut self, viewer: Option<&Identity>) -> Result<Self, ApiError> {
        if self.hidden.is_none() {
            return Ok(self);
        }
        let viewer = viewer.ok_or_else(|| {
            ApiError::new(
                Code::Unauthenticated,
                "Posts that are not published are shown with a token, in the header Authorization: Bearer TOKEN.",
            )
        })?;
        viewer.require(Ability::ReadPosts)?;
        if !viewer.role.is_over_all() {
            self.author.push(Which::Id(viewer.author));
        }
        Ok(self)
    }

    /// Stands for this filter in cursors.
    pub fn hash(&self) -> FilterHash {
        let named = |which: &[Which]| -> String {
            let word = |which: &Which| match which {
                Which::Id(id) => format!("#{id}"),
                Which::Name(name) => format!("={name}"),
            };
            which.iter().map(word).collect()
        };
        FilterHash::of([
            ("list", "posts"),
            ("search", self.search.as_deref().unwrap_or_default()),
            ("category", &named(&self.category)),
            ("tag", &named(self.tag.as_slice())),
            ("author", &named(&self.author)),
            ("is_featured", self.is_featured.map_or("", |is| if is { "1" } else { "0" })),
            ("status", self.hidden.map_or("", Status::word)),
        ])
    }

    /// Restricts `select` to the posts this filter is about.
    pub fn apply(&self, select: &mut SelectStatement, dialect: Dialect) {
        for category in &self.category {
            select.and_where(Expr::col("category_id").eq(id_of(category, categories::TABLE, "slug")));
        }
        for author in &self.author {
            select.and_where(Expr::col("author_id").eq(id_of(author, authors::TABLE, "username")));
        }
        if let Some(tag) = &self.tag {
            let tagged = Query::select()
                .expr(Expr::val(1))
                .from("post_tags")
                .and_where(Expr::col(("post_tags", "post_id")).equals(("posts", "id")))
                .and_where(Expr::col(("post_tags", "tag_id")).eq(id_of(tag, tags::TABLE, "slug")))
                .take();
            select.and_where(Expr::exists(tagged));
        }
        if let Some(is_featured) = self.is_featured {
            select.and_where(Expr::col("is_featured").eq(is_featured));
        }
        if let Some(search) = &self.search {
            if dialect.words(search).is_empty() {
                select.and_where(Expr::val(1).eq(0));
            } else {
                select.and_where(dialect.has_words(search));
            }
        }
    }
}

/// The id itself, or a look-up that the database does once; an unknown name matches nothing.
pub(super) fn id_of(which: &Which, table: &'static str, name_column: &'static str) -> Expr {
    match which {
        Which::Id(id) => Expr::val(*id),
        Which::Name(name) => {
            let lookup = Query::select()
                .column((table, "id"))
                .from(table)
                .and_where(Expr::col((table, name_column)).eq(name.as_str()))
                .take();
            subquery(lookup)
        }
    }
}
