//! What an operator may ask the running edge: is it alive, is it ready, its metrics, its upstreams.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::edge::Edge;
use crate::upstream::Upstream;

/// Connections at once: an operator, a scraper and a few probes need less.
const MOST_CONNECTIONS: usize = 64;

/// How long a connection may last, whatever it does: nobody can hold all of them for ever.
const LONGEST_CONNECTION: Duration = Duration::from_secs(300);

/// The admin listener; bound before anything starts, so that a taken port is an error at once.
pub(crate) struct Admin {
    edge: Arc<Edge>,
    listener: Mutex<Option<TcpListener>>,
}

impl Admin {
    pub(crate) fn new(edge: Arc<Edge>, listener: TcpListener) -> Self {
        Self { edge, listener: Mutex::new(Some(listener)) }
    }
}

#[async_trait]
impl BackgroundService for Admin {
    async fn start(&self, _shutdown: ShutdownWatch) {
        // It answers to the very end: that the edge is draining is what one asks it then.
        let listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(listener) = listener.and_then(|listener| tokio::net::TcpListener::from_std(listener).ok())
        else {
            tracing::error!("admin listener could not be started");
            return;
        };
        let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let edge = Arc::clone(&self.edge);
                    tokio::spawn(async move {
                        serve(stream, edge).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "admin connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve(stream: tokio::net::TcpStream, edge: Arc<Edge>) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let response = answer(&edge, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    // A connection that fails, or takes too long, concerns the client alone.
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(LONGEST_CONNECTION, served).await;
}

fn answer(edge: &Edge, method: &Method, path: &str) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
    }
    match path {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" if edge.is_draining() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/readyz" if !edge.is_ready() => text(StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        "/readyz" => text(StatusCode::OK, "ready\n"),
        "/metrics" => typed("text/plain; version=0.0.4; charset=utf-8", edge.metrics.registry.text()),
        "/v1/upstreams" => {
            let site = edge.site();
            let states: Vec<UpstreamState<'_>> =
                site.upstreams.iter().map(|upstream| state(upstream)).collect();
            let body = serde_json::to_string_pretty(&serde_json::json!({ "upstreams": states }));
            typed("application/json", body.unwrap_or_default() + "\n")
        }
        _ => text(StatusCode::NOT_FOUND, "there are /livez, /readyz, /metrics and /v1/upstreams\n"),
    }
}

fn text(status: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    let mut response = typed("text/plain; charset=utf-8", body.to_owned());
    *response.status_mut() = status;
    response
}

fn typed(content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}

#[derive(Serialize)]
struct UpstreamState<'a> {
    name: &'a str,
    available: usize,
    backends: Vec<BackendState<'a>>,
}

#[derive(Serialize)]
struct BackendState<'a> {
    id: &'a str,
    address: &'a str,
    weight: u32,
    in_flight: u32,
    available: bool,
    /// Why it is not available.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    probe: &'static str,
    outlier: &'static str,
}

fn state(upstream: &Upstream) -> UpstreamState<'_> {
    use crate::upstream::availability::{Outlier, Probe};
    let now = Instant::now();
    let backends = upstream.backends.iter().enumerate().map(|(index, backend)| {
        let facts = upstream.facts(index);
        let verdict = facts.verdict(now);
        BackendState {
            id: &backend.id,
            address: &backend.name,
            weight: backend.weight,
            in_flight: backend.in_flight(),
            available: verdict.is_ok(),
            reason: verdict.err().map(|why| why.reason()),
            probe: match facts.probe {
                Probe::Unknown => "unknown",
                Probe::Up { .. } => "up",
                Probe::Down { .. } => "down",
            },
            outlier: match facts.outlier {
                Outlier::Admitted { .. } => "admitted",
                Outlier::Ejected { .. } => "ejected",
            },
        }
    });
    UpstreamState {
        name: &upstream.config.name,
        available: upstream.n_available(now),
        backends: backends.collect(),
    }
}
