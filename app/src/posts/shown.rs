//! Decides what whoever wrote a post is answered: the post as v1 shows it, with the tag of exactly these bytes.

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
    etag: HeaderValue,
}

impl Shown {
    /// `post` with these tags, which need not be written yet.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn of(state: &AppState, post: &Post, tags: &[i64]) -> Result<Self, Error> {
        let related = Related::of_one(state.db.read(), post, tags, v1::wanted()).await?;
        let data = V1Post::new(post, &related, Links { base: &state.public_url });
        let body = answer::bytes(&Single { data });
        let etag = answer::etag(&body);
        Ok(Self { body, etag })
    }

    /// The tag of what is sent.
    pub fn etag(&self) -> &HeaderValue {
        &self.etag
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
