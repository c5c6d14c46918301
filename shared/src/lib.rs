//! What both tiers need and nothing of their domain; modules are listed lowest first.
//!
//! `shared` knows no route, no backend, no post: it declares what a metric, a configuration table and a
//! shutdown *are*. It depends on no other member of the workspace and on none of pingora, axum, sqlx, redis.

pub mod backoff;
pub mod report;
pub mod request_id;
pub mod whole;

pub mod config;
pub mod exposition;
pub mod metrics;
pub mod notify;
pub mod shutdown;
pub mod telemetry;
pub mod trace;

pub mod alert;
