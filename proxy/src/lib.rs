//! The edge, in the order in which a request meets it.
//!
//! Decisions ([`route`], [`balance`], [`retry`], [`upstream::availability`], [`headers`]) take values and return
//! values and know nothing of Pingora; [`exchange`] strings them together for one request, and the data paths
//! ([`http1`], ours, and [`phases`], pingora's) carry bytes and ask.

pub mod certificate;
pub mod config;
pub mod handover;
pub mod import_nginx;
pub mod server;
pub mod token;

#[doc(hidden)]
pub mod fuzzing;

mod front;
mod gate;
mod http1;
mod listener;
mod phases;
mod turn;

mod exchange;

mod compress;
mod door;
mod entrances;
mod headers;
mod limit;
mod route;

mod dial;
mod tls;

mod balance;
mod retry;
mod upstream;

mod edge;
mod sampler;
mod site;

mod accept;
mod access_log;
mod descriptors;
mod respond;

mod admin;
mod alerting;
mod control;
mod metrics;
mod operator;
mod probes;
mod proxy_header;

mod downstream;
mod durable;
mod lifecycle;
mod sockets;
