//! Decides how a request is followed across processes: the trace it belongs to, what is recorded of it, and who is told.
//!
//! A trace goes with every request and every job ([`Trace`]). Parts of it (*spans*) are recorded only where a collector
//! is named, and then of some traces: those whose id falls below a share, so that all processes with the same share
//! record the same traces, and nobody outside decides how much is recorded. Nothing waits for a collector: what it
//! does not take in time is dropped and counted.

pub mod config;
mod context;
mod current;
mod export;
mod metrics;
mod recorder;
mod span;

pub use config::Settings;
pub use context::{SpanId, Trace, TraceId};
pub use current::{Begun, Scope, begin, current, within};
pub use export::Exporter;
pub use recorder::Recorder;
pub use span::{Kind, Span, Value};
