//! A bare pingora-proxy: backends in turn, HTTP/1.1 and HTTP/2 from clients, and nothing that an operator would ask for.
//!
//! `bare-proxy PLAIN TLS CERT KEY BACKEND…`, on one thread, with the allocator of cirque.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use pingora::listeners::tls::TlsSettings;
use pingora::prelude::*;
use pingora::proxy::{ProxyHttp, Session};
use pingora::server::configuration::ServerConf;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct InTurn {
    backends: Vec<String>,
    next: AtomicUsize,
}

#[async_trait]
impl ProxyHttp for InTurn {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let place = self.next.fetch_add(1, Ordering::Relaxed) % self.backends.len();
        Ok(Box::new(HttpPeer::new(&self.backends[place], false, String::new())))
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().or_err(InternalError, "usage: bare-proxy PLAIN TLS CERT KEY BACKEND…");
    let (plain, tls, cert, key) = (next()?, next()?, next()?, next()?);
    let backends: Vec<String> = std::iter::from_fn(|| next().ok()).collect();
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 2048, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service =
        http_proxy_service(&server.configuration, InTurn { backends, next: AtomicUsize::new(0) });
    service.add_tcp(&plain);
    let mut settings = TlsSettings::intermediate(&cert, &key)?;
    settings.enable_h2();
    service.add_tls_with_settings(&tls, None, settings);
    server.add_service(service);
    server.run_forever();
}
