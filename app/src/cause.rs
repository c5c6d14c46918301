//! Decides what is remembered of why something happens: the request that led to it, and the trace that it belongs to.
//!
//! It travels from a request into the jobs that follow from it, and from these into theirs, so that the log and the
//! trace of a job lead back to the request.

use std::sync::Arc;

use cirque_shared::trace::{Recorder, Trace};
use http::Extensions;

/// What made something happen. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Cause {
    request: Option<Arc<str>>,
    trace: Option<Trace>,
}

impl Cause {
    /// A request, as a part of its trace.
    pub fn request(id: &str, trace: Trace) -> Self {
        Self { request: Some(id.into()), trace: Some(trace) }
    }

    /// The request whose extensions these are.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// The time, or something else without a name.
    pub fn none() -> Self {
        Self::default()
    }

    /// What a job was written for: the job is a part of that trace, or the beginning of one.
    pub fn kept(request: Option<String>, trace: Option<&str>) -> Self {
        Self { request: request.map(Into::into), trace: Some(Trace::of(trace.map(str::as_bytes))) }
    }

    /// The id of the request.
    pub fn request_id(&self) -> Option<&str> {
        self.request.as_deref()
    }

    /// The trace, to be kept with a job or sent along.
    pub fn parent(&self) -> Option<&str> {
        self.trace.as_ref().map(Trace::parent)
    }

    /// The id of the trace.
    pub fn trace_id(&self) -> Option<&str> {
        self.trace.as_ref().map(Trace::id)
    }

    /// The part of the trace that is recorded for this, where one is.
    pub fn recorded(&self, recorder: &Recorder) -> Option<Trace> {
        self.trace.map(|trace| recorder.decide(trace)).filter(|trace| trace.is_recorded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_a_request_leads_back_to_it() {
        let request = Cause::request("abc", Trace::of(None));
        let job = Cause::kept(request.request_id().map(str::to_owned), request.parent());
        assert_eq!((job.request_id(), job.trace_id()), (Some("abc"), request.trace_id()));
        assert_ne!(job.parent(), request.parent(), "it is a part of its own");
        let alone = Cause::kept(None, None);
        assert!(alone.request_id().is_none() && alone.trace_id().is_some());
    }
}
