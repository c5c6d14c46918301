//! Decides which event a change of a post is: what nobody could see before or after is none.

use super::Post;
use super::publishing::Status;
use crate::events::{Event, PostChanged};

/// What happened when `before` (nothing for a new post) became `after`.
pub(super) fn changed(before: Option<&Post>, after: &Post) -> Option<Event> {
    let post = || told(before, after);
    match (before.is_some_and(is_public), is_public(after)) {
        (false, true) => Some(Event::PostPublished(post())),
        (true, _) => Some(Event::PostUpdated(post())),
        (false, false) => None,
    }
}

/// What happened when this post was taken away.
pub(super) fn deleted(post: &Post) -> Option<Event> {
    is_public(post).then(|| Event::PostDeleted(told(Some(post), post)))
}

fn is_public(post: &Post) -> bool {
    post.status == Status::Published.word()
}

fn told(before: Option<&Post>, after: &Post) -> PostChanged {
    PostChanged {
        id: after.id,
        slug: after.slug.clone(),
        title: after.title.clone(),
        category_id: after.category_id,
        author_id: after.author_id,
        previous_status: before.map(|before| before.status.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_an_event_when_somebody_could_see_it() {
        let post = |status: &str| Post { status: status.to_owned(), ..Post::default() };
        let name = |event: Option<Event>| event.map(|event| event.name());
        for (before, after, expected) in [
            (None, "published", Some("post.published")),
            (None, "draft", None),
            (Some("draft"), "published", Some("post.published")),
            (Some("scheduled"), "published", Some("post.published")),
            (Some("published"), "published", Some("post.updated")),
            (Some("published"), "archived", Some("post.updated")),
            (Some("draft"), "scheduled", None),
        ] {
            let before = before.map(post);
            assert_eq!(name(changed(before.as_ref(), &post(after))), expected, "{before:?} {after}");
        }
        assert_eq!(name(deleted(&post("published"))), Some("post.deleted"));
        assert_eq!(name(deleted(&post("draft"))), None);
    }
}
