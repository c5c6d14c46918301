//! Decides which requests are views of a post: those that got to see it, from whatever memory it came.

use std::net::IpAddr;

use axum::extract::{MatchedPath, Request};
use http::{Method, StatusCode, header};

use crate::client::Client;
use crate::state::AppState;

const POSTS: [&str; 2] = ["/api/v1/posts/{slug}", "/api/v2/posts/{slug}"];
/// How much of what a reader calls itself is looked at, in characters.
const NAME: usize = 300;

/// A request that is a view if its answer shows the post.
#[derive(Debug)]
pub(super) struct View {
    slug: String,
    address: IpAddr,
    user_agent: String,
}

impl View {
    pub(super) fn of(request: &Request) -> Option<Self> {
        let template = request.extensions().get::<MatchedPath>()?;
        if *request.method() != Method::GET || !POSTS.contains(&template.as_str()) {
            return None;
        }
        let slug = request.uri().path().rsplit('/').next()?;
        let Client(address) = *request.extensions().get::<Client>()?;
        let name = request.headers().get(header::USER_AGENT).and_then(|name| name.to_str().ok());
        let user_agent = name.unwrap_or_default().chars().take(NAME).collect();
        Some(Self { slug: slug.to_owned(), address, user_agent })
    }

    /// A client that keeps the post and asked whether it has changed shows it too.
    pub(super) fn note(self, state: &AppState, status: StatusCode) {
        if matches!(status, StatusCode::OK | StatusCode::NOT_MODIFIED) {
            state.views.note(&self.slug, self.address, &self.user_agent, state.clock.now());
        }
    }
}
