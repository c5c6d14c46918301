//! Which part of a trace a task is working at, so that what it asks of others is recorded below it.

use std::borrow::Cow;
use std::future::Future;
use std::time::SystemTime;

use tokio::time::Instant;

use super::{Kind, Recorder, Span, Trace, Value};

tokio::task_local! {
    static SCOPE: Option<Scope>;
}

/// A part of a recorded trace that is being worked at. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Scope {
    recorder: Recorder,
    trace: Trace,
}

/// Something below it that is under way; recorded when it is dropped.
#[derive(Debug)]
pub struct Begun {
    scope: Scope,
    name: Cow<'static, str>,
    kind: Kind,
    began: SystemTime,
    started: Instant,
    attributes: Vec<(&'static str, Value)>,
}

impl Scope {
    /// The scope of `trace`; `None` when it is not recorded.
    pub fn of(recorder: &Recorder, trace: Trace) -> Option<Self> {
        trace.is_recorded.then(|| Self { recorder: recorder.clone(), trace })
    }
}

/// Does `work` as a part of `scope`.
pub async fn within<T>(scope: Option<Scope>, work: impl Future<Output = T>) -> T {
    SCOPE.scope(scope, work).await
}

/// What this task is working at, to hand it on to another task.
pub fn current() -> Option<Scope> {
    SCOPE.try_with(Clone::clone).ok().flatten()
}

/// Begins something below what this task is working at; `None` when that is not recorded.
pub fn begin(name: impl FnOnce() -> Cow<'static, str>, kind: Kind) -> Option<Begun> {
    let scope = current()?;
    let scope = Scope { trace: scope.trace.child(), ..scope };
    let (began, started) = (SystemTime::now(), Instant::now());
    Some(Begun { scope, name: name(), kind, began, started, attributes: Vec::new() })
}

impl Begun {
    /// What is known about it.
    pub fn note(&mut self, key: &'static str, value: impl Into<Value>) {
        self.attributes.push((key, value.into()));
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.scope.recorder.record(Span {
            trace: self.scope.trace,
            name: std::mem::take(&mut self.name),
            kind: self.kind,
            began: self.began,
            took: self.started.elapsed(),
            attributes: std::mem::take(&mut self.attributes),
            failed: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_recorded_part_has_something_below_it() {
        let recorder = Recorder::default();
        let trace = Trace::of(None);
        assert!(Scope::of(&recorder, trace).is_none());
        assert!(begin(|| "x".into(), Kind::Client).is_none(), "outside of everything");
        within(None, async { assert!(begin(|| "x".into(), Kind::Client).is_none()) }).await;
        let recorded = Scope::of(&recorder, trace.recorded(true));
        within(recorded, async {
            let begun = begin(|| "x".into(), Kind::Client).unwrap();
            assert_eq!(begun.scope.trace.above(), Some(trace.span_id()));
            let handed_on = current();
            let inner = tokio::spawn(within(handed_on, async { current().is_some() }));
            assert!(inner.await.unwrap());
        })
        .await;
    }
}
