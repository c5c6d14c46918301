//! The metrics of the process itself: CPU, memory, descriptors, start time, and the tasks that run in it.

use std::sync::{Arc, OnceLock};

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{IntGauge, Opts};
use tokio::runtime::Handle;

use super::Registry;

/// Declares `process_*` for this process, `runtime_tasks`, and `{prefix}_build_info` with its version.
pub fn declare(registry: &Registry, prefix: &str, version: &str) -> Runtime {
    let runtime = Runtime::default();
    registry.add(Box::new(ProcessCollector::for_self()));
    registry.add(Box::new(Tasks::of(runtime.clone())));
    let name = format!("{prefix}_build_info");
    registry
        .gauges(&name, "The version that runs; the value is always 1.", &["version"])
        .with(&[version])
        .set(1);
    runtime
}

/// Whose tasks are counted: until somebody says so, those of the runtime in which the metrics are read.
#[derive(Clone, Debug, Default)]
pub struct Runtime(Arc<OnceLock<Handle>>);

impl Runtime {
    /// The work is done in the runtime of the caller. Said once; outside a runtime nothing is said.
    pub fn is_here(&self) {
        if let Ok(handle) = Handle::try_current() {
            let _ = self.0.set(handle);
        }
    }
}

/// How many tasks there are: one for each connection, and what runs beside them.
struct Tasks {
    runtime: Runtime,
    gauge: IntGauge,
}

impl Tasks {
    fn of(runtime: Runtime) -> Self {
        let options = Opts::new("runtime_tasks", "Tasks that were begun and have not ended.");
        let gauge = IntGauge::with_opts(options);
        Self { runtime, gauge: gauge.expect("a declaration is written in the code: its names are valid") }
    }
}

impl Collector for Tasks {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Outside a runtime, as in a test of the text alone, there are none.
        let handle = self.runtime.0.get().cloned().or_else(|| Handle::try_current().ok());
        let tasks = handle.map_or(0, |handle| handle.metrics().num_alive_tasks());
        self.gauge.set(i64::try_from(tasks).unwrap_or(i64::MAX));
        self.gauge.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tasks_are_counted_until_they_end() {
        let registry = Registry::new();
        declare(&registry, "test", "1");
        let count = || {
            let text = registry.text();
            let line = text.lines().find_map(|line| line.strip_prefix("runtime_tasks "));
            line.and_then(|number| number.parse::<u64>().ok()).expect("it is declared")
        };
        let before = count();
        let task = tokio::spawn(std::future::pending::<()>());
        assert_eq!(count(), before + 1);
        task.abort();
        let _ = task.await;
        assert_eq!(count(), before);
    }
}
