//! Decides what a client may say of a post, and what a post becomes by it.

use super::html;
use super::publishing::{self, Standing, Status, Wish};
use super::slug;
use super::{Post, Seo};
use crate::body::{Body, Field, Given, Presence, Rule};
use crate::moment::Moment;

use Presence::{Clearable, Optional, Required};

/// The longest text of a post, in characters; the size of a body is the other limit.
const CONTENT: usize = 1_000_000;
/// The most tags of a post.
pub const TAGS: usize = 50;

const STATUSES: [&str; 4] = crate::query::words(&Status::WORDS);
const KINDS: [&str; 3] = ["article", "page", "news"];

/// What `POST /api/v1/posts` takes.
pub const NEW: &[Field] = &fields(Required);
/// What `PUT` and `PATCH /api/v1/posts/{id}` take: what is left out stays as it is.
pub const CHANGE: &[Field] = &fields(Optional);

const fn fields(presence: Presence) -> [Field; 17] {
    [
        Field::new("title", Rule::Line(200), presence, "The title."),
        Field::new(
            "content",
            Rule::Html(CONTENT),
            presence,
            "The text, as HTML; what is not allowed is removed.",
        ),
        Field::new("category_id", Rule::Id, presence, "The category it is in."),
        Field::new(
            "slug",
            Rule::Slug(slug::LONGEST),
            Optional,
            "The name in addresses: small letters, digits and hyphens; made from the title when left out.",
        ),
        Field::new(
            "excerpt",
            Rule::Text(0, 1000),
            Clearable,
            "A line or two without markup; the beginning of the text when left out.",
        ),
        Field::new("tags", Rule::Ids(TAGS), Optional, "The ids of its tags."),
        Field::new(
            "status",
            Rule::Word(&STATUSES),
            Optional,
            "Where it is in its life; draft when left out.",
        ),
        Field::new("type", Rule::Word(&KINDS), Optional, "What kind of post it is; article when left out."),
        Field::new("published_at", Rule::Moment, Clearable, "When it was published; now when left out."),
        Field::new("scheduled_at", Rule::Moment, Clearable, "When it is to be published."),
        Field::new("is_featured", Rule::Flag, Optional, "Whether it is shown first somewhere."),
        Field::new("is_sticky", Rule::Flag, Optional, "Whether it stays on top."),
        Field::new("featured_image", Rule::Address(255), Clearable, "The address of a picture."),
        Field::new("seo_title", Rule::Text(1, 60), Clearable, "What search engines show as its title."),
        Field::new("seo_description", Rule::Text(1, 160), Clearable, "What search engines show below."),
        Field::new("seo_keywords", Rule::Text(1, 255), Clearable, "Keywords."),
        Field::new("og_image", Rule::Address(255), Clearable, "The address of the picture in previews."),
    ]
}

/// What a post becomes by `body`: `before`, or nothing, with the changes. What is wrong is noted in `body`; the result
/// is then of no use. The slug is left as it is unless the body has one. Cleans HTML, which takes time.
pub fn changed(body: &mut Body, before: Option<&Post>, now: Moment) -> Post {
    let mut post = before.cloned().unwrap_or_else(|| blank(now));
    if let Given::Is(title) = body.text("title") {
        post.title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    post.slug = body.text("slug").value().unwrap_or(post.slug);
    written(body, &mut post);
    post.featured_image = body.text("featured_image").or(post.featured_image);
    post.seo.image = body.text("og_image").or(post.seo.image);
    post.seo.title = body.text("seo_title").or(post.seo.title);
    post.seo.description = body.text("seo_description").or(post.seo.description);
    post.seo.keywords = body.text("seo_keywords").or(post.seo.keywords);
    post.kind = body.text("type").value().unwrap_or(post.kind);
    post.is_featured = body.flag("is_featured").value().unwrap_or(post.is_featured);
    post.is_sticky = body.flag("is_sticky").value().unwrap_or(post.is_sticky);
    post.category_id = body.id("category_id").value().unwrap_or(post.category_id);
    let wish = Wish {
        status: body.text("status").value().and_then(|word| Status::parse(&word)),
        published_at: body.moment("published_at"),
        scheduled_at: body.moment("scheduled_at"),
    };
    match publishing::decide(before.and_then(standing), &wish, now) {
        Ok(standing) => stand(&mut post, standing),
        Err(wrong) => wrong.into_iter().for_each(|(field, message)| body.problem(field, message)),
    }
    post.updated_at = now;
    post
}

fn blank(now: Moment) -> Post {
    Post {
        kind: KINDS[0].to_owned(),
        reading_time: 1,
        created_at: now,
        seo: Seo::default(),
        ..Post::default()
    }
}

/// Text and excerpt. An excerpt that was made from the text follows the text.
fn written(body: &mut Body, post: &mut Post) {
    let followed = post.content.is_empty() || post.excerpt == html::excerpt(&post.content);
    if let Given::Is(content) = body.text("content") {
        post.content = html::clean(&content);
        if post.content.trim().is_empty() {
            body.problem("content", "must have something that is allowed in a post");
        }
        post.reading_time = html::reading_time(&post.content);
    }
    let given = match body.text("excerpt") {
        Given::Is(excerpt) => Some(html::text(&excerpt)),
        Given::Null => Some(String::new()),
        Given::Absent => None,
    };
    match given {
        Some(excerpt) if !excerpt.is_empty() => post.excerpt = excerpt,
        Some(_) => post.excerpt = html::excerpt(&post.content),
        None if followed => post.excerpt = html::excerpt(&post.content),
        None => {}
    }
}

/// When a post that was read is public; `None` for a status of a newer version.
pub fn standing(post: &Post) -> Option<Standing> {
    Some(Standing {
        status: Status::parse(&post.status)?,
        published_at: post.published_at.map(Moment),
        scheduled_at: post.scheduled_at.map(Moment),
    })
}

fn stand(post: &mut Post, standing: Standing) {
    standing.status.word().clone_into(&mut post.status);
    post.published_at = standing.published_at.map(|moment| moment.0);
    post.scheduled_at = standing.scheduled_at.map(|moment| moment.0);
}
