//! The metrics of the process itself: CPU, memory, descriptors, start time.

use prometheus::process_collector::ProcessCollector;

use super::Registry;

/// Declares `process_*` for this process, and `{prefix}_build_info` with its version.
pub fn declare(registry: &Registry, prefix: &str, version: &str) {
    registry.add(Box::new(ProcessCollector::for_self()));
    let name = format!("{prefix}_build_info");
    registry
        .gauges(&name, "The version that runs; the value is always 1.", &["version"])
        .with(&[version])
        .set(1);
}
