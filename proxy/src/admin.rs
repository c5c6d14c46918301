//! Where an operator asks and changes the running edge: who is let in, and for how long.

mod access;
mod alerts;
mod answer;
mod api;
mod explain;
mod log;
mod view;

use std::convert::Infallible;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use cirque_shared::alert::watch::Watch;
use http::Request;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::control::Control;
use crate::edge::Edge;
use crate::handover::Handover;
use crate::sockets::AdminSocket;

/// Connections at once: an operator, a scraper and a few probes need less.
const MOST_CONNECTIONS: usize = 64;

/// How long a connection may last, whatever it does: nobody can hold all of them for ever.
const LONGEST_CONNECTION: Duration = Duration::from_secs(300);

/// The admin interface.
pub(crate) struct Admin {
    desk: Arc<Desk>,
    socket: Mutex<Option<AdminSocket>>,
}

/// What every request of an operator can reach.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) edge: Arc<Edge>,
    pub(crate) control: Arc<Control>,
    pub(crate) handover: Arc<Handover>,
    pub(crate) watch: Watch,
}

impl Admin {
    pub(crate) fn new(desk: Desk, socket: AdminSocket) -> Self {
        Self { desk: Arc::new(desk), socket: Mutex::new(Some(socket)) }
    }
}

#[async_trait]
impl BackgroundService for Admin {
    async fn start(&self, _shutdown: ShutdownWatch) {
        // It answers to the very end: that the edge is draining is what one asks it then.
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let mut left = self.desk.handover.left();
        let accept = async {
            match socket {
                Some(AdminSocket::Tcp(listener)) => accept_tcp(listener, &slots, &self.desk).await,
                Some(AdminSocket::Unix(listener)) => accept_unix(listener, &slots, &self.desk).await,
                None => Ok(()),
            }
        };
        let ended = tokio::select! {
            ended = accept => ended,
            // From now on the successor answers.
            _ = left.wait_for(|left| *left) => Ok(()),
        };
        if let Err(error) = ended {
            tracing::error!(%error, "admin listener could not be started");
        }
    }
}

async fn accept_tcp(listener: TcpListener, slots: &Arc<Semaphore>, desk: &Arc<Desk>) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    while let Ok(slot) = Arc::clone(slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => serve(TokioIo::new(stream), Arc::clone(desk), slot),
            Err(error) => pause(&error).await,
        }
    }
    Ok(())
}

async fn accept_unix(
    listener: UnixListener,
    slots: &Arc<Semaphore>,
    desk: &Arc<Desk>,
) -> std::io::Result<()> {
    let listener = tokio::net::UnixListener::from_std(listener)?;
    while let Ok(slot) = Arc::clone(slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => serve(TokioIo::new(stream), Arc::clone(desk), slot),
            Err(error) => pause(&error).await,
        }
    }
    Ok(())
}

async fn pause(error: &std::io::Error) {
    tracing::warn!(%error, "admin connection could not be accepted");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn serve(io: impl Read + Write + Unpin + Send + 'static, desk: Arc<Desk>, slot: OwnedSemaphorePermit) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(api::answer(&desk, request).await) }
    });
    // A connection that fails, or takes too long, concerns the client alone.
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(30))
        .serve_connection(io, service);
    tokio::spawn(async move {
        let _ = tokio::time::timeout(LONGEST_CONNECTION, served).await;
        drop(slot);
    });
}
