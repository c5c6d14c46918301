//! Decides which posts a list is about, as far as the client chooses.

use sea_query::{Expr, ExprTrait, Query, SelectStatement};

use crate::db::Dialect;
use crate::page::cursor::FilterHash;
use crate::query::{Params, Rule, Spec};
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
    /// Posts of this category, not of those below it.
    pub category: Option<Which>,
    /// Posts with this tag.
    pub tag: Option<Which>,
    /// Posts of this author.
    pub author: Option<Which>,
    /// Only posts that are featured, or only those that are not.
    pub is_featured: Option<bool>,
}

impl Filter {
    /// What the parameters of a list say; which of them there are is up to its table.
    pub fn from_params(params: &mut Params) -> Self {
        for (name, other) in [("category_slug", "category_id"), ("author", "author_id")] {
            if params.text(name).is_some() && params.text(other).is_some() {
                params.problem(name, format!("cannot be combined with {other}"));
            }
        }
        let name = |name: &str| params.text(name).map(str::to_owned);
        Self {
            search: name("search"),
            category: params.id("category_id").map(Which::Id).or(name("category_slug").map(Which::Name)),
            // As in the original: a number is an id.
            tag: name("tag").map(|tag| tag.parse().map_or(Which::Name(tag), Which::Id)),
            author: params.id("author_id").map(Which::Id).or(name("author").map(Which::Name)),
            is_featured: params.flag("is_featured"),
        }
    }

    /// Stands for this filter in cursors.
    pub fn hash(&self) -> FilterHash {
        let named = |which: &Option<Which>| match which {
            None => String::new(),
            Some(Which::Id(id)) => format!("#{id}"),
            Some(Which::Name(name)) => format!("={name}"),
        };
        FilterHash::of([
            ("list", "posts"),
            ("search", self.search.as_deref().unwrap_or_default()),
            ("category", &named(&self.category)),
            ("tag", &named(&self.tag)),
            ("author", &named(&self.author)),
            ("is_featured", self.is_featured.map_or("", |is| if is { "1" } else { "0" })),
        ])
    }

    /// Restricts `select` to the posts this filter is about.
    pub fn apply(&self, select: &mut SelectStatement, dialect: Dialect) {
        if let Some(category) = &self.category {
            select.and_where(Expr::col("category_id").eq(id_of(category, categories::TABLE, "slug")));
        }
        if let Some(author) = &self.author {
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
fn id_of(which: &Which, table: &'static str, name_column: &'static str) -> Expr {
    match which {
        Which::Id(id) => Expr::val(*id),
        Which::Name(name) => {
            let lookup = Query::select()
                .column((table, "id"))
                .from(table)
                .and_where(Expr::col((table, name_column)).eq(name.as_str()))
                .take();
            Expr::SubQuery(None, Box::new(lookup.into()))
        }
    }
}
