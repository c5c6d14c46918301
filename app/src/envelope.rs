//! Decides how a page of rows is wrapped: v1's envelope with numbers, v2's with cursors.

use serde::Serialize;

use crate::links::Links;
use crate::page::cursor::{Place, Scan};
use crate::page::{Offset, Step, steps};
use crate::signing::Key;

/// The version that answers of v2 name.
pub const VERSION: &str = "2.0";

/// How a list was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The path of the list.
    pub path: &'a str,
    /// The parameters in their normal form.
    pub pairs: &'a [(&'static str, String)],
    /// Makes links.
    pub links: Links<'a>,
}

/// One row of v1.
#[derive(Debug, Serialize)]
pub struct Single<T> {
    /// The row.
    pub data: T,
}

/// One row of v2.
#[derive(Debug, Serialize)]
pub struct Versioned<T> {
    data: T,
    meta: Version,
}

#[derive(Debug, Serialize)]
struct Version {
    version: &'static str,
}

impl<T> Versioned<T> {
    /// Shows one row.
    pub fn new(data: T) -> Self {
        Self { data, meta: Version { version: VERSION } }
    }
}

/// A page by number.
#[derive(Debug, Serialize)]
pub struct Numbered<T> {
    data: Vec<T>,
    links: Ends<String>,
    meta: NumberedMeta,
}

#[derive(Debug, Serialize)]
struct Ends<T> {
    first: T,
    last: T,
    prev: Option<String>,
    next: Option<String>,
}

#[derive(Debug, Serialize)]
struct NumberedMeta {
    current_page: u64,
    from: Option<u64>,
    last_page: u64,
    links: Vec<PageLink>,
    path: String,
    per_page: u64,
    to: Option<u64>,
    total: u64,
}

#[derive(Debug, Serialize)]
struct PageLink {
    url: Option<String>,
    label: String,
    active: bool,
}

impl<T> Numbered<T> {
    /// The page `offset` of a list of `total` rows.
    pub fn new(data: Vec<T>, offset: Offset, total: u64, asked: Asked<'_>) -> Self {
        let standing = offset.standing(total);
        let url = |page: u64| asked.links.neighbour(asked.path, asked.pairs, "page", &page.to_string());
        let previous = standing.previous.map(url);
        let next = standing.next.map(url);
        let arrow = |url: &Option<String>, label: &str| PageLink {
            url: url.clone(),
            label: label.to_owned(),
            active: false,
        };
        let mut row = vec![arrow(&previous, "&laquo; Previous")];
        row.extend(steps(offset.number, standing.last_page).into_iter().map(|step| match step {
            Step::Page(page) => {
                PageLink { url: Some(url(page)), label: page.to_string(), active: page == offset.number }
            }
            Step::Gap => PageLink { url: None, label: "...".to_owned(), active: false },
        }));
        row.push(arrow(&next, "Next &raquo;"));
        Self {
            data,
            links: Ends { first: url(1), last: url(standing.last_page), prev: previous, next },
            meta: NumberedMeta {
                current_page: offset.number,
                from: standing.from,
                last_page: standing.last_page,
                links: row,
                path: asked.links.path(asked.path),
                per_page: offset.size,
                to: standing.to,
                total,
            },
        }
    }
}

/// A page by cursor.
#[derive(Debug, Serialize)]
pub struct Keyed<T> {
    data: Vec<T>,
    links: Ends<Option<String>>,
    meta: KeyedMeta,
}

#[derive(Debug, Serialize)]
struct KeyedMeta {
    path: String,
    per_page: u64,
    next_cursor: Option<String>,
    prev_cursor: Option<String>,
    version: &'static str,
    cursor: Cursors,
}

#[derive(Debug, Serialize)]
struct Cursors {
    next: Option<String>,
    prev: Option<String>,
}

/// The places beside a page, and what their cursors are made with.
#[derive(Clone, Copy, Debug)]
pub struct Neighbours<'a> {
    /// Where the page behind begins, if there is one.
    pub next: Option<&'a Place>,
    /// Where the page before begins, if there is one.
    pub previous: Option<&'a Place>,
    /// Rows per page.
    pub limit: u64,
    /// The list.
    pub scan: &'a Scan,
    /// Signs cursors.
    pub key: &'a Key,
}

impl<T> Keyed<T> {
    /// The rows of a page between its neighbours.
    pub fn new(data: Vec<T>, beside: Neighbours<'_>, asked: Asked<'_>) -> Self {
        let neighbour = |place: Option<&Place>| {
            let link = |place| asked.links.keyset(asked.path, asked.pairs, beside.key, beside.scan, place);
            place.map(link).unzip()
        };
        let (next_cursor, next): (Option<String>, _) = neighbour(beside.next);
        let (prev_cursor, prev): (Option<String>, _) = neighbour(beside.previous);
        Self {
            data,
            links: Ends { first: None, last: None, prev, next },
            meta: KeyedMeta {
                path: asked.links.path(asked.path),
                per_page: beside.limit,
                cursor: Cursors { next: next_cursor.clone(), prev: prev_cursor.clone() },
                next_cursor,
                prev_cursor,
                version: VERSION,
            },
        }
    }
}
