//! The app tier: a content API over SQL; modules are listed in the order a request meets them.
//!
//! A node is [`serve`]d from a [`config::Config`]; [`migrate`], [`seed`] and [`check`] prepare its database.

pub mod config;
pub mod serve;
pub mod supervisor;

pub mod accept;
pub mod lifecycle;
pub mod middleware;
pub mod router;
pub mod state;

pub mod alerting;
pub mod catalog;
pub mod client;
pub mod feeds;
pub mod health;
pub mod idempotency;
pub mod identity;
pub mod index;
pub mod listeners;
pub mod log_levels;
pub mod openapi;
pub mod posts;
pub mod scrape;
pub mod steering;
pub mod subscriptions;
pub mod work;

pub mod authors;
pub mod categories;
pub mod tags;

pub mod answer;
pub mod body;
pub mod cache;
pub mod envelope;
pub mod error;
pub mod fields;
pub mod limit;
pub mod links;
pub mod moment;
pub mod page;
pub mod query;

pub mod alerts;
pub mod cause;
pub mod changes;
pub mod consistency;
pub mod counts;
pub mod db;
pub mod events;
pub mod jobs;
pub mod line;
pub mod mail;
pub mod mail_link;
pub mod metrics;
pub mod outbound;
pub mod passwords;
pub mod probe;
pub mod queue;
pub mod redis;
pub mod settings;
pub mod signing;
pub mod views;
pub mod webhooks;

pub mod check;
pub mod migrate;
pub mod seed;
