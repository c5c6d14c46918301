//! Decides which requests must see what: reads what their caller wrote, everything else all there is.

use std::future::Future;

use axum::extract::Request;
use axum::response::Response;
use http::Method;

use crate::consistency::{HEADER, caller};
use crate::db::{Need, Session};
use crate::state::AppState;

/// What one request sees; where there is one database server, that is not asked.
#[derive(Debug)]
pub(super) struct Seeing {
    session: Option<Session>,
    caller: Option<u64>,
}

impl Seeing {
    pub(super) fn of(request: &Request, state: &AppState) -> Self {
        if !state.db.has_replicas() {
            return Self { session: None, caller: None };
        }
        // What is decided while something is changed, is decided on what is really there.
        let need = match *request.method() {
            Method::GET | Method::HEAD | Method::OPTIONS => {
                state.consistency.need(request.headers(), state.clock.now())
            }
            _ => Need::All,
        };
        Self { session: Some(Session::new(need)), caller: caller(request.headers()) }
    }

    /// Carries out what `work` makes so that its reads see what they must.
    pub(super) async fn scope<W: Future>(&self, work: impl FnOnce() -> W) -> W::Output {
        match &self.session {
            Some(session) => Box::pin(session.clone().scope(work())).await,
            None => work().await,
        }
    }

    /// Says in the answer what was written.
    pub(super) fn settle(&self, state: &AppState, response: &mut Response) {
        let Some(position) = self.session.as_ref().and_then(Session::wrote) else { return };
        if let Some(token) = state.consistency.note(self.caller, position, state.clock.now()) {
            response.headers_mut().insert(HEADER, token);
        }
    }
}
