//! The same API over PostgreSQL, and what only a database server can do.
//!
//! The tests see from this binary's name which database is asked for.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where and why")]

mod cache;
mod catalog;
mod changes;
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
mod server;
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
