//! Decides what a post is: its columns, and how a row of some of them is read.

pub mod edit;
mod events_of;
pub mod fields;
pub mod filter;
pub mod handlers;
pub mod html;
pub mod popularity;
pub mod publishing;
pub mod relations;
pub mod schedule;
pub mod search;
pub mod selection;
pub mod shown;
pub mod slug;
pub mod stats;
pub mod store;
pub mod v1;
pub mod v2;
pub mod writing;

use crate::db::{Cells, Error, Row};
use crate::moment::Moment;
use crate::page::Direction;

/// The table.
pub const TABLE: &str = "posts";

/// A column of the table that may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Column {
    /// `id`.
    Id,
    /// `title`.
    Title,
    /// `slug`.
    Slug,
    /// `excerpt`.
    Excerpt,
    /// `content`.
    Content,
    /// `featured_image`.
    FeaturedImage,
    /// `status`.
    Status,
    /// `type`.
    Kind,
    /// `is_featured`.
    IsFeatured,
    /// `is_sticky`.
    IsSticky,
    /// `view_count`.
    ViewCount,
    /// `reading_time`.
    ReadingTime,
    /// `published_at`.
    PublishedAt,
    /// `scheduled_at`.
    ScheduledAt,
    /// `seo_title`.
    SeoTitle,
    /// `seo_description`.
    SeoDescription,
    /// `seo_keywords`.
    SeoKeywords,
    /// `seo_image`.
    SeoImage,
    /// `category_id`.
    CategoryId,
    /// `author_id`.
    AuthorId,
    /// `created_at`.
    CreatedAt,
    /// `updated_at`.
    UpdatedAt,
}

impl Column {
    /// Every column, in the order in which they are asked for.
    pub const ALL: [Self; 22] = [
        Self::Id,
        Self::Title,
        Self::Slug,
        Self::Excerpt,
        Self::Content,
        Self::FeaturedImage,
        Self::Status,
        Self::Kind,
        Self::IsFeatured,
        Self::IsSticky,
        Self::ViewCount,
        Self::ReadingTime,
        Self::PublishedAt,
        Self::ScheduledAt,
        Self::SeoTitle,
        Self::SeoDescription,
        Self::SeoKeywords,
        Self::SeoImage,
        Self::CategoryId,
        Self::AuthorId,
        Self::CreatedAt,
        Self::UpdatedAt,
    ];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Title => "title",
            Self::Slug => "slug",
            Self::Excerpt => "excerpt",
            Self::Content => "content",
            Self::FeaturedImage => "featured_image",
            Self::Status => "status",
            Self::Kind => "type",
            Self::IsFeatured => "is_featured",
            Self::IsSticky => "is_sticky",
            Self::ViewCount => "view_count",
            Self::ReadingTime => "reading_time",
            Self::PublishedAt => "published_at",
            Self::ScheduledAt => "scheduled_at",
            Self::SeoTitle => "seo_title",
            Self::SeoDescription => "seo_description",
            Self::SeoKeywords => "seo_keywords",
            Self::SeoImage => "seo_image",
            Self::CategoryId => "category_id",
            Self::AuthorId => "author_id",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
        }
    }
}

/// A set of columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns(u32);

impl Columns {
    /// Every column.
    pub fn all() -> Self {
        Self::of(&Column::ALL)
    }

    /// These columns.
    pub fn of(columns: &[Column]) -> Self {
        Self(columns.iter().fold(0, |set, column| set | 1 << *column as u8))
    }

    /// Adds a column.
    pub fn insert(&mut self, column: Column) {
        self.0 |= 1 << column as u8;
    }

    /// The columns in the set, in the order of [`Column::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Column> {
        Column::ALL.into_iter().filter(move |column| self.0 & (1 << *column as u8) != 0)
    }
}

/// What a list is sorted by; the id decides between equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Sort {
    /// When it was published.
    PublishedAt = 1,
    /// How often it was viewed when the order was last made; see [`popularity`].
    ViewCount = 2,
    /// When it was written.
    CreatedAt = 3,
    /// How much it was viewed lately when the order was last made.
    Trending = 4,
}

impl Sort {
    /// What a client writes for each.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("published_at", Self::PublishedAt),
        ("view_count", Self::ViewCount),
        ("created_at", Self::CreatedAt),
        ("trending", Self::Trending),
    ];

    /// Whether it stands in editions; see [`popularity`].
    pub fn is_of_views(self) -> bool {
        match self {
            Self::ViewCount | Self::Trending => true,
            Self::PublishedAt | Self::CreatedAt => false,
        }
    }
}

/// The order of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// What is sorted by.
    pub sort: Sort,
    /// Which end comes first; for the id as well.
    pub direction: Direction,
    /// Which edition of the order by views; 0 for the others, which have only one.
    pub edition: u32,
}

impl Order {
    /// The column that is sorted by.
    pub fn column(self) -> &'static str {
        match self.sort {
            Sort::PublishedAt => "published_at",
            Sort::ViewCount => popularity::column(self.edition),
            Sort::Trending => popularity::trend_column(self.edition),
            Sort::CreatedAt => "created_at",
        }
    }
}

/// A post, as far as it was read; what was not asked for is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Post {
    /// Its id; always read.
    pub id: i64,
    /// The title.
    pub title: String,
    /// The name in addresses, unique among posts that are not deleted.
    pub slug: String,
    /// A line or two.
    pub excerpt: String,
    /// The text, as HTML.
    pub content: String,
    /// Address of a picture.
    pub featured_image: Option<String>,
    /// `draft`, `published`, `scheduled` or `archived`.
    pub status: String,
    /// `article`, `page` or `news`.
    pub kind: String,
    /// Whether it is shown first somewhere.
    pub is_featured: bool,
    /// Whether it stays on top.
    pub is_sticky: bool,
    /// How often it was viewed.
    pub view_count: i64,
    /// Minutes to read it.
    pub reading_time: i64,
    /// When it was published; published posts always have it.
    pub published_at: Option<i64>,
    /// When it is to be published.
    pub scheduled_at: Option<i64>,
    /// For search engines.
    pub seo: Seo,
    /// Its category.
    pub category_id: i64,
    /// Its author.
    pub author_id: i64,
    /// When it was written.
    pub created_at: Moment,
    /// When it was last changed.
    pub updated_at: Moment,
}

/// What search engines and previews are told.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Seo {
    /// Title of the page.
    pub title: Option<String>,
    /// Description of the page.
    pub description: Option<String>,
    /// Keywords.
    pub keywords: Option<String>,
    /// Address of the picture in previews.
    #[serde(rename = "og_image")]
    pub image: Option<String>,
}

impl Post {
    /// Reads a row whose columns were `columns`.
    ///
    /// # Errors
    ///
    /// When the row does not have them.
    pub fn read(row: &Row, columns: Columns) -> Result<Self, Error> {
        Self::take(&mut row.cells(), columns)
    }

    /// Reads the cells of `columns`, which may be followed by others.
    ///
    /// # Errors
    ///
    /// When there are too few.
    pub fn take(cells: &mut Cells<'_>, columns: Columns) -> Result<Self, Error> {
        let mut post = Self::default();
        for column in columns.iter() {
            match column {
                Column::Id => post.id = cells.take()?,
                Column::Title => post.title = cells.take()?,
                Column::Slug => post.slug = cells.take()?,
                Column::Excerpt => post.excerpt = cells.take()?,
                Column::Content => post.content = cells.take()?,
                Column::FeaturedImage => post.featured_image = cells.take()?,
                Column::Status => post.status = cells.take()?,
                Column::Kind => post.kind = cells.take()?,
                Column::IsFeatured => post.is_featured = cells.take()?,
                Column::IsSticky => post.is_sticky = cells.take()?,
                Column::ViewCount => post.view_count = cells.take()?,
                Column::ReadingTime => post.reading_time = cells.take()?,
                Column::PublishedAt => post.published_at = cells.take()?,
                Column::ScheduledAt => post.scheduled_at = cells.take()?,
                Column::SeoTitle => post.seo.title = cells.take()?,
                Column::SeoDescription => post.seo.description = cells.take()?,
                Column::SeoKeywords => post.seo.keywords = cells.take()?,
                Column::SeoImage => post.seo.image = cells.take()?,
                Column::CategoryId => post.category_id = cells.take()?,
                Column::AuthorId => post.author_id = cells.take()?,
                Column::CreatedAt => post.created_at = Moment(cells.take()?),
                Column::UpdatedAt => post.updated_at = Moment(cells.take()?),
            }
        }
        Ok(post)
    }
}
