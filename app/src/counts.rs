//! Decides where the number of published posts is found: triggers keep it, in all, by author and by category.

use sea_query::{Expr, ExprTrait, Func, Query};

use crate::db::dialect::subquery;

/// See the migration that makes it.
const TABLE: &str = "post_counts";

/// Of what the posts are counted: those that are published and not deleted, also where their moment has not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Of the whole site; its id is 0.
    All,
    /// Of an author.
    Author,
    /// Of a category, without those below it.
    Category,
}

impl Scope {
    /// What is written for each.
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Author => "author",
            Self::Category => "category",
        }
    }

    /// The number for what has this id; 0 for what never had a post.
    pub fn number(self, id: Expr) -> Expr {
        let number = Query::select()
            .column((TABLE, "number"))
            .from(TABLE)
            .and_where(Expr::col((TABLE, "scope")).eq(self.word()))
            .and_where(Expr::col((TABLE, "id")).eq(id))
            .take();
        Func::coalesce([subquery(number), Expr::val(0)]).into()
    }
}
