//! Decides what categories, tags and authors have in common: each is listed, found by its name, and has posts.

pub mod handlers;
mod kinds;
pub mod selection;
mod show;
pub mod store;

use std::fmt::Debug;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use sea_query::Expr;

use crate::changes::Tag as Change;
use crate::db::{Cells, Error};
use crate::error::ApiError;
use crate::fields::{Fields, Resource};
use crate::links::Links;
use crate::query::Spec;

/// The longest name in an address, in characters.
const NAME: usize = 200;

/// One of the resources that posts are sorted into.
pub trait Kind: Resource + Clone + Debug + Send + Sync + 'static {
    /// One of it, in messages.
    const WORD: &'static str;
    /// The table.
    const TABLE: &'static str;
    /// Position of the name in addresses.
    const NAME: usize;
    /// The path of the list of v1, where there is one.
    const V1: &'static str;
    /// The path of the list of v2.
    const V2: &'static str;
    /// What its lists are sorted by; the first is the usual one.
    const SORTS: &'static [Sort];
    /// The columns that `search` looks into.
    const SEARCHED: &'static [&'static str];
    /// What its list of v1 takes.
    const V1_LIST: &'static [Spec];
    /// What its list of v2 takes.
    const V2_LIST: &'static [Spec];
    /// What one of it takes in v2.
    const V2_SINGLE: &'static [Spec];
    /// What answers about all of them are made from.
    const CHANGES: Change;
    /// The first so many fields are shown where one is part of another.
    const NESTED: usize = Self::FIELDS.len();
    /// Position of the field that names the one above, where they nest.
    const PARENT: Option<usize>;

    /// Reads what was asked for, after the id.
    ///
    /// # Errors
    ///
    /// When the row does not have it.
    fn read(id: i64, fields: Fields, cells: &mut Cells<'_>) -> Result<Self, Error>;

    /// What stands for a field in a statement.
    fn column(field: usize) -> Expr {
        Expr::col((Self::TABLE, Self::FIELDS[field]))
    }

    /// Its id.
    fn id(&self) -> i64;

    /// The id of the one above.
    fn parent_id(&self) -> Option<i64>;

    /// Where it is, and where its posts are.
    fn links(&self, links: Links<'_>, version: &str) -> [String; 2];
}

/// Something that a list is sorted by; the id decides between equals.
#[derive(Clone, Copy, Debug)]
pub struct Sort {
    /// What a client writes; the column too.
    pub word: &'static str,
    /// Its number in cursors.
    pub number: u8,
    /// What the column holds.
    pub holds: Holds,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Numbers or moments.
    Numbers,
    /// Texts.
    Texts,
}

/// A name in the path; `None` for what nothing can be called, which is not asked of the database.
///
/// # Errors
///
/// 400 when the path is not UTF-8.
pub fn known_segment(name: Result<Path<String>, PathRejection>) -> Result<Option<String>, ApiError> {
    let Path(name) =
        name.map_err(|_| ApiError::bad_request("The path is not valid percent-encoded UTF-8."))?;
    let is_known = name.chars().count() <= NAME && !name.chars().any(char::is_control);
    Ok(is_known.then_some(name))
}

/// The name of a `K` in the path.
///
/// # Errors
///
/// 400 when the path is not UTF-8, 404 when nothing can have this name.
pub fn segment<K: Kind>(name: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    known_segment(name)?.ok_or_else(nothing::<K>)
}

/// There is no such `K`.
pub fn nothing<K: Kind>() -> ApiError {
    ApiError::not_found(format!("There is no {} at this address.", K::WORD))
}
