//! Decides what search engines and feed readers are told: a sitemap in parts of any number, and the newest posts.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Uri};
use sea_query::Query;

use crate::cache::{self, Caller, Made, Making, Shelf};
use crate::catalog::known_segment;
use crate::changes::Tag;
use crate::db::{Error, Reader};
use crate::error::ApiError;
use crate::events;
use crate::fields::Fields;
use crate::links::Links;
use crate::moment::Moment;
use crate::page::Direction;
use crate::posts::filter::Filter;
use crate::posts::relations::Wanted;
use crate::posts::store::{self, List};
use crate::posts::{Column, Columns, Order, Sort};
use crate::query::Params;
use crate::state::AppState;

/// The index of the sitemap.
pub const SITEMAP: &str = "/sitemap.xml";
/// One part of it.
pub const SITEMAP_PART: &str = "/sitemaps/{part}";
/// The newest posts, as Atom (RFC 4287).
pub const FEED: &str = "/feed.xml";

/// The ids that one part stands for.
const PART: i64 = events::SITEMAP_PART;
/// The most parts whose last change is told.
const DATED: u64 = 50_000;
/// The posts of the feed.
const NEWEST: u64 = 20;

const XML: HeaderValue = HeaderValue::from_static("application/xml");
const ATOM: HeaderValue = HeaderValue::from_static("application/atom+xml");
const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// `GET /sitemap.xml`: where the parts are. A part is a range of ids, so that each costs the same.
///
/// # Errors
///
/// 422 for any parameter; those of the database.
pub async fn sitemap(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let cache = state.cache.clone();
    let make = || -> Making {
        Box::pin(async move {
            let last = store::last_id(state.db.read()).await?;
            let mut xml =
                format!("{HEAD}<sitemapindex xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n");
            let dates = part_dates(state.db.read()).await?;
            for part in 0..=(last - 1).max(0) / PART {
                let date = dates.get(&part).map_or_else(String::new, |at| format!("<lastmod>{at}</lastmod>"));
                let _ = writeln!(
                    xml,
                    "<sitemap><loc>{}/sitemaps/{part}.xml</loc>{date}</sitemap>",
                    escaped(&state.public_url)
                );
            }
            xml.push_str("</sitemapindex>\n");
            Ok(Made::of(Bytes::from(xml), XML, BTreeSet::from([Tag::Sitemap])))
        })
    };
    cache.answer(&caller, Shelf::V1List, SITEMAP.to_owned(), make).await
}

/// `GET /sitemaps/{part}`, like `/sitemaps/0.xml`.
///
/// # Errors
///
/// 404 for what is not the name of a part; 422 for any parameter; those of the database.
pub async fn sitemap_part(
    State(state): State<AppState>,
    caller: Caller,
    part: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let name = known_segment(part)?.unwrap_or_default();
    let number = name.strip_suffix(".xml").filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let first = number.and_then(|part| part.parse::<i64>().ok()).and_then(|part| part.checked_mul(PART));
    let first = first.filter(|first| first.checked_add(PART).is_some());
    let first = first.ok_or_else(|| ApiError::not_found("There is no such part of the sitemap."))?;
    let key = cache::key(&format!("/sitemaps/{}", first / PART), &[]);
    let cache = state.cache.clone();
    let make = || -> Making {
        Box::pin(async move {
            let columns = Columns::of(&[Column::Slug, Column::UpdatedAt]);
            let ids = first + 1..=first + PART;
            let posts = store::in_range(state.db.read(), ids, columns, state.clock.now()).await?;
            let links = Links { base: &state.public_url };
            let mut xml = format!("{HEAD}<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n");
            for post in &posts {
                let (loc, changed) = (links.post("v1", &post.slug), post.updated_at);
                let _ = writeln!(xml, "<url><loc>{}</loc><lastmod>{changed}</lastmod></url>", escaped(&loc));
            }
            xml.push_str("</urlset>\n");
            // Raised by the job that follows each change of a post in this part, and of no other.
            Ok(Made::of(Bytes::from(xml), XML, BTreeSet::from([Tag::SitemapPart(first / PART)])))
        })
    };
    cache.answer(&caller, Shelf::V1List, key, make).await
}

/// When each part changed last, as far as that was noted.
async fn part_dates(db: Reader<'_>) -> Result<HashMap<i64, Moment>, Error> {
    let select = Query::select().columns(["part", "changed_at"]).from("sitemap_parts").limit(DATED).take();
    let mut dates = HashMap::new();
    for row in db.all(&select).await? {
        let mut cells = row.cells();
        dates.insert(cells.take()?, Moment(cells.take()?));
    }
    Ok(dates)
}

/// How many public posts a part has, and when one of them changed last.
///
/// # Errors
///
/// Those of the database.
pub async fn part_summary(db: Reader<'_>, part: i64, now: Moment) -> Result<(i64, Moment), Error> {
    let first = part.saturating_mul(PART);
    store::summary(db, first + 1..=first.saturating_add(PART), now).await
}

/// `GET /feed.xml`: the newest posts.
///
/// # Errors
///
/// 422 for any parameter; those of the database.
pub async fn feed(State(state): State<AppState>, caller: Caller, uri: Uri) -> Result<Response, ApiError> {
    Params::parse(uri.query(), &[]).finish()?;
    let cache = state.cache.clone();
    let make = || -> Making {
        Box::pin(async move {
            let list = List {
                filter: Filter::default(),
                order: Order { sort: Sort::PublishedAt, direction: Direction::Descending, edition: 0 },
                columns: Columns::of(&[
                    Column::Id,
                    Column::Title,
                    Column::Slug,
                    Column::Excerpt,
                    Column::AuthorId,
                    Column::UpdatedAt,
                    Column::PublishedAt,
                ]),
                wanted: Wanted { author: Some(Fields::default().with(1)), ..Wanted::default() },
            };
            let db = state.db.read();
            let (page, related) = store::keyset_page(db, &list, NEWEST, None, state.clock.now()).await?;
            let links = Links { base: &state.public_url };
            let updated = page.rows.iter().map(|post| post.updated_at).max().unwrap_or_default();
            let here = escaped(&links.path(FEED));
            let mut xml = format!(
                "{HEAD}<feed xmlns=\"http://www.w3.org/2005/Atom\">\n<title>Posts</title>\n<id>{here}</id>\n\
                 <link rel=\"self\" href=\"{here}\"/>\n<updated>{updated}</updated>\n"
            );
            for post in &page.rows {
                let link = escaped(&links.post("v1", &post.slug));
                let author = related.author(post).map_or("", |author| author.name.as_str());
                let _ = writeln!(
                    xml,
                    "<entry><title>{}</title><id>{link}</id><link href=\"{link}\"/><published>{}</published>\
                     <updated>{}</updated><author><name>{}</name></author><summary>{}</summary></entry>",
                    escaped(&post.title),
                    Moment(post.published_at.unwrap_or_default()),
                    post.updated_at,
                    escaped(author),
                    escaped(&post.excerpt),
                );
            }
            xml.push_str("</feed>\n");
            Ok(made(xml, ATOM))
        })
    };
    cache.answer(&caller, Shelf::V1List, FEED.to_owned(), make).await
}

fn made(xml: String, media_type: HeaderValue) -> Made {
    Made::of(Bytes::from(xml), media_type, BTreeSet::from([Tag::Posts]))
}

/// `text` inside an element or an attribute; what XML 1.0 cannot hold is left out.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\t' | '\n' | '\r' => escaped.push(letter),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(escaped("a <b> & \"c\"\u{1}\n"), "a &lt;b&gt; &amp; &quot;c&quot;\n");
    }
}
