//! Decides which policy a request is counted under, and tells every client where it stands.

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::{HeaderName, HeaderValue, Method};

use crate::client::Client as Address;
use crate::consistency;
use crate::error::{ApiError, Code};
use crate::limit::{Client, Policy, Verdict};
use crate::state::AppState;

/// Never counted: a balancer or a scraper that was refused would draw the wrong conclusions.
const NEVER: [&str; 4] = ["/api/health", "/api/metrics", "/livez", "/readyz"];

const LOGIN: &str = "/api/v1/auth/login";
const SEARCH: &str = "/api/search";

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// What is known of a counted request.
#[derive(Debug)]
pub(super) struct Counted {
    verdict: Verdict,
    /// Where a refusal of its credentials is counted.
    address: Client,
}

/// Whom a request is counted for, and under which policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    policy: Policy,
    address: Client,
    token: Option<Client>,
}

impl Question {
    /// `None` where the request is not counted. A token is counted by itself, so that many behind one address do not
    /// share a counter; made-up tokens are counted by the address, see [`Counted::settle`].
    pub(super) fn of(request: &Request, state: &AppState) -> Option<Self> {
        let template = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let policy = policy(template, request.method())?;
        let Address(address) = *request.extensions().get::<Address>()?;
        if state.limiter.is_exempt(address) {
            return None;
        }
        let caller = if policy == Policy::Write { consistency::caller(request.headers()) } else { None };
        let token = caller.map(Client::Token);
        Some(Self { policy, address: Client::at(address), token })
    }

    /// Counts the request; `None` where its policy has no limit.
    pub(super) async fn ask(self, state: &AppState) -> Option<Counted> {
        let Self { policy, address, token } = self;
        let now = state.clock.now();
        let verdict = match token {
            Some(token) => {
                let known = state.limiter.look(policy, address, now).await?;
                if known.wait().is_some() { known } else { state.limiter.ask(policy, token, now).await? }
            }
            None => state.limiter.ask(policy, address, now).await?,
        };
        Some(Counted { verdict, address })
    }
}

fn policy(template: Option<&str>, method: &Method) -> Option<Policy> {
    match template {
        Some(template) if NEVER.contains(&template) => None,
        Some(LOGIN) => Some(Policy::Login),
        Some(SEARCH) => Some(Policy::Search),
        _ if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) => Some(Policy::Public),
        _ => Some(Policy::Write),
    }
}

impl Counted {
    /// The refusal, where there were too many.
    pub(super) fn refusal(&self) -> Option<ApiError> {
        let seconds = whole_seconds(self.verdict.wait()?);
        let public = format!("Too many requests. Try again in {seconds} seconds.");
        Some(ApiError::too_many(public, seconds))
    }

    /// Counts credentials that were refused by their address, and says where the client stands.
    pub(super) async fn settle(&self, state: &AppState, response: &mut Response, error: Option<&ApiError>) {
        let now = state.clock.now();
        if error.is_some_and(|error| error.code() == Code::Unauthenticated) {
            state.limiter.ask(self.verdict.policy, self.address, now).await;
        }
        let Verdict { policy, rate, standing } = self.verdict;
        let (name, window) = (policy.name(), whole_seconds(rate.period));
        let full_again = whole_seconds(standing.full_again);
        let headers = response.headers_mut();
        let text = |text: String| HeaderValue::from_str(&text).ok();
        for (header, value) in [
            (RATELIMIT_POLICY, text(format!("\"{name}\";q={};w={window}", rate.count))),
            (RATELIMIT, text(format!("\"{name}\";r={};t={full_again}", standing.remaining))),
            (X_LIMIT, Some(rate.count.into())),
            (X_REMAINING, Some(standing.remaining.into())),
            (X_RESET, Some((now.0 / 1000 + i64::try_from(full_again).unwrap_or(0)).into())),
        ] {
            if let Some(value) = value {
                headers.insert(header, value);
            }
        }
    }
}

/// Rounded up: who waits so long is not too early.
fn whole_seconds(duration: std::time::Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_is_counted_under_one_policy() {
        for (template, method, expected) in [
            (Some("/api/v1/posts"), Method::GET, Some(Policy::Public)),
            (Some("/api/v1/posts"), Method::HEAD, Some(Policy::Public)),
            (Some("/api/v1/posts"), Method::POST, Some(Policy::Write)),
            (Some("/api/v1/posts/{slug}"), Method::DELETE, Some(Policy::Write)),
            (Some(LOGIN), Method::POST, Some(Policy::Login)),
            (Some(SEARCH), Method::GET, Some(Policy::Search)),
            (None, Method::GET, Some(Policy::Public)),
            (None, Method::PUT, Some(Policy::Write)),
            (Some("/api/health"), Method::GET, None),
            (Some("/api/metrics"), Method::GET, None),
            (Some("/livez"), Method::GET, None),
            (Some("/readyz"), Method::POST, None),
        ] {
            assert_eq!(policy(template, &method), expected, "{template:?} {method}");
        }
    }
}
