//! Decides what a request is called: as its sender says, if that is harmless, else something new.

use cirque_shared::request_id;
use http::{HeaderMap, HeaderValue};

/// The name of one request, from the edge to the last log line.
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

impl RequestId {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(&super::X_REQUEST_ID).filter(|id| request_id::is_acceptable(id.as_bytes()));
        let made = || HeaderValue::from_str(&request_id::generate()).expect("a made id is hexadecimal");
        Self(given.cloned().unwrap_or_else(made))
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}
