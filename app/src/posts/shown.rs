//! Decides what whoever wrote a post is answered: the post as v1 shows it, with a tag of these bytes that names its version.

use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::Post;
use super::relations::Related;
use super::v1::{self, V1Post};
use crate::answer;
use crate::db::Error;
use crate::envelope::Single;
use crate::links::Links;
use crate::state::AppState;

/// A post as v1 shows it, ready to be sent.
#[derive(Clone, Debug)]
pub struct Shown {
    body: Bytes,
    version: String,
    etag: HeaderValue,
}

/// Stands for a post as v1 shows it, whatever the number of its views: these change without anybody changing the post.
pub fn version(post: &Post, related: &Related, links: Links<'_>) -> String {
    let unseen = Post { view_count: 0, ..post.clone() };
    answer::digest(&answer::bytes(&V1Post::new(&unseen, related, links)))
}

impl Shown {
    /// `post` with these tags, which need not be written yet.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn of(state: &AppState, post: &Post, tags: &[i64]) -> Result<Self, Error> {
        let related = Related::of_one(state.db.read_fresh(), post, tags, v1::wanted()).await?;
        let links = Links { base: &state.public_url };
        let version = version(post, &related, links);
        let body = answer::bytes(&Single { data: V1Post::new(post, &related, links) });
        let etag = answer::etag(&body, Some(&version));
        Ok(Self { body, version, etag })
    }

    /// The tag of what is sent.
    pub fn etag(&self) -> &HeaderValue {
        &self.etag
    }

    /// Whether `tag` is one of this version of the post.
    pub fn is_of_version(&self, tag: &[u8]) -> bool {
        let tag = tag.strip_prefix(b"\"").and_then(|tag| tag.strip_suffix(b"\""));
        let rest = tag.and_then(|tag| tag.strip_prefix(self.version.as_bytes()));
        rest.is_some_and(|rest| rest.starts_with(b"."))
    }

    /// What is sent.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The answer.
    pub fn response(self, status: StatusCode) -> Response {
        let mut response = answer::secret(answer::of(status, self.body, answer::JSON));
        response.headers_mut().insert(header::ETAG, self.etag);
        response
    }
}
