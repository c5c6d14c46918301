//! Decides what is particular to categories, to tags and to authors.

use sea_query::Expr;

use super::handlers::{CATEGORY_SORT, IS_ACTIVE, IS_FEATURED, NAMED_SORT, ONLY_ROOT, SEARCH};
use super::selection::{INCLUDE, fields};
use super::{Holds, Kind, Sort};
use crate::authors::{self, Author};
use crate::categories::{self, Category};
use crate::changes::Tag as Change;
use crate::db::{Cells, Error};
use crate::fields::Fields;
use crate::links::Links;
use crate::page::keyset::{CURSOR, LIMIT};
use crate::page::{DIRECTION, PAGE, PER_PAGE};
use crate::query::Spec;
use crate::tags::{self, Tag};

const BY_NAME: Sort = Sort { word: "name", number: 1, holds: Holds::Texts };
const BY_CREATION: Sort = Sort { word: "created_at", number: 2, holds: Holds::Numbers };
const BY_PLACE: Sort = Sort { word: "sort_order", number: 3, holds: Holds::Numbers };

impl Kind for Category {
    const WORD: &'static str = "category";
    const TABLE: &'static str = categories::TABLE;
    const NAME: usize = categories::SLUG;
    const V1: &'static str = "/api/v1/categories";
    const V2: &'static str = "/api/v2/categories";
    const SORTS: &'static [Sort] = &[BY_PLACE, BY_NAME, BY_CREATION];
    const SEARCHED: &'static [&'static str] = &["name", "slug"];
    const V1_LIST: &'static [Spec] = &[PAGE, PER_PAGE, SEARCH, ONLY_ROOT, IS_ACTIVE, IS_FEATURED];
    const V2_LIST: &'static [Spec] = &[
        CURSOR,
        LIMIT,
        fields::<Self>(),
        INCLUDE,
        CATEGORY_SORT,
        DIRECTION,
        SEARCH,
        ONLY_ROOT,
        IS_ACTIVE,
        IS_FEATURED,
    ];
    const V2_SINGLE: &'static [Spec] = &[fields::<Self>(), INCLUDE];
    const CHANGES: Change = Change::Categories;
    const NESTED: usize = categories::NESTED;
    const PARENT: Option<usize> = Some(categories::PARENT_ID);

    fn read(id: i64, fields: Fields, cells: &mut Cells<'_>) -> Result<Self, Error> {
        Self::read(id, fields, cells)
    }

    fn column(field: usize) -> Expr {
        Self::column(field)
    }

    fn id(&self) -> i64 {
        self.id
    }

    fn parent_id(&self) -> Option<i64> {
        self.parent_id
    }

    fn links(&self, links: Links<'_>, version: &str) -> [String; 2] {
        [links.category(version, &self.slug), links.posts_of_category(version, &self.slug)]
    }
}

impl Kind for Tag {
    const WORD: &'static str = "tag";
    const TABLE: &'static str = tags::TABLE;
    const NAME: usize = tags::SLUG;
    const V1: &'static str = "/api/v1/tags";
    const V2: &'static str = "/api/v2/tags";
    const SORTS: &'static [Sort] = &[BY_NAME, BY_CREATION];
    const SEARCHED: &'static [&'static str] = &["name", "slug"];
    const V1_LIST: &'static [Spec] = &[PAGE, PER_PAGE, SEARCH];
    const V2_LIST: &'static [Spec] = &[CURSOR, LIMIT, fields::<Self>(), NAMED_SORT, DIRECTION, SEARCH];
    const V2_SINGLE: &'static [Spec] = &[fields::<Self>()];
    const CHANGES: Change = Change::Tags;
    const PARENT: Option<usize> = None;

    fn read(id: i64, fields: Fields, cells: &mut Cells<'_>) -> Result<Self, Error> {
        Self::read(id, fields, cells)
    }

    fn id(&self) -> i64 {
        self.id
    }

    fn parent_id(&self) -> Option<i64> {
        None
    }

    fn links(&self, links: Links<'_>, version: &str) -> [String; 2] {
        [links.tag(&self.slug), links.posts_of_tag(version, &self.slug)]
    }
}

impl Kind for Author {
    const WORD: &'static str = "author";
    const TABLE: &'static str = authors::TABLE;
    const NAME: usize = authors::USERNAME;
    const V1: &'static str = "/api/v1/authors";
    const V2: &'static str = "/api/v2/authors";
    const SORTS: &'static [Sort] = &[BY_NAME, BY_CREATION];
    const SEARCHED: &'static [&'static str] = &["name", "username"];
    const V1_LIST: &'static [Spec] = &[];
    const V2_LIST: &'static [Spec] = &[CURSOR, LIMIT, fields::<Self>(), NAMED_SORT, DIRECTION, SEARCH];
    const V2_SINGLE: &'static [Spec] = &[fields::<Self>()];
    const CHANGES: Change = Change::Authors;
    const PARENT: Option<usize> = None;

    fn read(id: i64, fields: Fields, cells: &mut Cells<'_>) -> Result<Self, Error> {
        Self::read(id, fields, cells)
    }

    fn id(&self) -> i64 {
        self.id
    }

    fn parent_id(&self) -> Option<i64> {
        None
    }

    fn links(&self, links: Links<'_>, version: &str) -> [String; 2] {
        [links.author(version, &self.username), links.posts_of_author(version, &self.username)]
    }
}
