//! Decides how large and how long a request may be, and that a panic ends only its own request.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http_body_util::Limited;
use hyper::body::Body as _;

use crate::error::{ApiError, Code};
use crate::state::AppState;

/// Refuses a body that says it is too large, and stops reading one that turns out to be.
pub(super) fn body(request: Request, limit: u64) -> Result<Request, ApiError> {
    if request.body().size_hint().lower() > limit {
        return Err(ApiError::new(Code::BodyTooLarge, format!("The body is larger than {limit} bytes.")));
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(request.map(|body| Body::new(Limited::new(body, limit))))
}

/// Waits for the handler, for `max_execution_time` at the longest.
pub(super) async fn time(
    handler: impl Future<Output = Response>,
    state: &AppState,
) -> Result<Response, ApiError> {
    let answered = tokio::time::timeout(state.max_execution_time, caught(handler)).await;
    match answered {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(Panicked)) => {
            state.metrics.panics.inc();
            Err(ApiError::panicked())
        }
        Err(_) => {
            state.metrics.overruns.inc();
            let limit = state.max_execution_time.as_secs_f64();
            Err(ApiError::new(
                Code::DeadlineExceeded,
                format!("The request took longer than {limit} seconds."),
            ))
        }
    }
}

struct Panicked;

/// A handler only borrows what survives it, and is not used again after a panic.
async fn caught<T>(handler: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut handler = pin!(handler);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => std::task::Poll::Ready(Err(Panicked)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_ends_only_its_own_request() {
        let panicking = async {
            tokio::task::yield_now().await;
            panic!("on purpose");
        };
        assert!(caught::<()>(panicking).await.is_err());
        assert!(caught(async { 7 }).await.is_ok_and(|seven| seven == 7));
    }
}
