//! Decides which posts a list is about, as far as the client chooses.

use sea_query::{Expr, ExprTrait, Query, SelectStatement};

use crate::db::dialect;
use crate::page::cursor::FilterHash;
use crate::query::Params;
use crate::{authors, categories, tags};

/// The longest search, in characters.
const SEARCH: usize = 100;
/// The longest slug or user name, in characters.
const NAME: usize = 200;

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
    /// What v1 takes: `search`, `category_id`, `category_slug`, `tag`, `author`, `author_id`, `is_featured`.
    pub fn v1(params: &mut Params) -> Self {
        let category_id = params.id("category_id");
        let category_slug = params.text("category_slug", 1..=NAME);
        if category_id.is_some() && category_slug.is_some() {
            params.problem("category_slug", "cannot be combined with category_id");
        }
        let author_id = params.id("author_id");
        let author = params.text("author", 1..=NAME);
        if author_id.is_some() && author.is_some() {
            params.problem("author", "cannot be combined with author_id");
        }
        Self {
            search: params.text("search", 1..=SEARCH),
            category: category_id.map(Which::Id).or(category_slug.map(Which::Name)),
            // As in the original: a number is an id.
            tag: params.text("tag", 1..=NAME).map(|tag| tag.parse().map_or(Which::Name(tag), Which::Id)),
            author: author_id.map(Which::Id).or(author.map(Which::Name)),
            is_featured: params.flag("is_featured"),
        }
    }

    /// What v2 takes: `search` (at least two characters) and `category_slug`.
    pub fn v2(params: &mut Params) -> Self {
        Self {
            search: params.text("search", 2..=SEARCH),
            category: params.text("category_slug", 1..=NAME).map(Which::Name),
            ..Self::default()
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
            ("search", self.search.as_deref().unwrap_or_default()),
            ("category", &named(&self.category)),
            ("tag", &named(&self.tag)),
            ("author", &named(&self.author)),
            ("is_featured", self.is_featured.map_or("", |is| if is { "1" } else { "0" })),
        ])
    }

    /// Restricts `select` to the posts this filter is about.
    pub fn apply(&self, select: &mut SelectStatement) {
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
            let anywhere = dialect::contains("title", search)
                .or(dialect::contains("excerpt", search))
                .or(dialect::contains("content", search));
            select.and_where(anywhere);
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
