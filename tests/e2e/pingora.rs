//! The same promises kept by pingora-proxy's path for HTTP/1.1 (`server.http1 = "pingora"`), the yardstick and way back.
//!
//! The harness sees from this binary's name which path is asked for. What is not promised there is excepted by name,
//! in the tests themselves (`cirque_tests::edge::Path`). What is strict in our own path only is not run here at all.

mod abuse;
mod access_log;
mod balancing;
mod compression;
mod drain;
mod failover;
mod limits;
mod listeners;
mod observability;
mod outliers;
mod probes;
mod protocol;
mod proxy_protocol;
mod proxying;
mod queueing;
mod reaching;
mod reload;
mod retries;
mod routing;
mod timeouts;
mod tls;
mod tracing;
mod witness;
