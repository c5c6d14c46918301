//! One binary of end-to-end tests: each module is one promise of the edge or of the site.

mod abuse;
mod accounts;
mod balancing;
mod config;
mod corpus;
mod differential;
mod drain;
mod failover;
mod fuzz;
mod http1;
mod http2;
mod limits;
mod node;
mod observability;
mod operator;
mod pagination;
mod protocol;
mod proxying;
mod reload;
mod retries;
mod routing;
mod site;
mod timeouts;
mod tls;
mod up;
mod witness;
