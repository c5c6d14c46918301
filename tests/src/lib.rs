//! Starts the real `cirque` binary, breaks what it talks to, and observes what clients, metrics and logs say.
//!
//! In reading order: [`eventually()`] waits, [`process`] owns a child, [`ports`] hands out addresses,
//! [`client`], [`frames`], [`load`] and [`readers`] are the outside world, [`backend`] and [`chaos`] are what goes wrong behind the edge,
//! [`recorder`] is the strict witness of what a proxy forwards, [`reference`](mod@reference) two other proxies,
//! [`postgres`] a database server, [`redis`] a Redis of any layout, [`mailbox`] a mail server, [`webhook`] a receiver of webhooks, [`collector`] one of traces, [`python`] programs from PyPI, [`channels`] what alerts are told to, [`alertmanager`] another who takes them, [`prometheus`] asks for metrics, [`curl`](mod@curl) and [`grpc`] are clients that others wrote, [`pki`] makes certificates, [`letterbox`] takes mail,
//! [`scrape`] reads metrics, [`edge`], [`node`] and [`cluster`] put a whole system together.
//! Everything here blocks: a test is a plain function that reads from top to bottom.

pub mod alertmanager;
pub mod backend;
pub mod channels;
pub mod chaos;
pub mod client;
pub mod cluster;
pub mod collector;
pub mod curl;
pub mod document;
pub mod edge;
pub mod eventually;
pub mod frames;
pub mod grpc;
pub mod http;
pub mod letterbox;
pub mod load;
pub mod mailbox;
pub mod node;
pub mod pki;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod python;
pub mod readers;
pub mod recorder;
pub mod redis;
pub mod reference;
pub mod scrape;
pub mod sql;
pub mod sync;
pub mod webhook;

pub use backend::{Backend, Reply};
pub use client::{Client, Connection, Request, Response};
pub use cluster::Cluster;
pub use collector::Collector;
pub use curl::curl;
pub use edge::Edge;
pub use eventually::{eventually, throughout};
pub use load::Load;
pub use node::Node;
pub use pki::Authority;
pub use process::Process;
pub use readers::Readers;
pub use recorder::Recorder;
pub use reference::Reference;
pub use scrape::Scrape;
