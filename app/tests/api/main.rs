//! The API as its clients see it: a real SQLite file, the real router, and for connections the real accept loop.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where and why")]

mod cache;
mod catalog;
mod changes;
mod connections;
mod counting;
mod documents;
mod errors;
mod health;
mod identity;
mod limits;
mod listeners;
mod preparing;
mod queue;
mod repeating;
mod search;
mod site;
mod statements;
mod subscriptions;
mod throttling;
mod v1;
mod v2;
mod views;
mod walking;
mod walks;
mod writing;
