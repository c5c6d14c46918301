//! Accepts connections on every listener: what the gate lets in becomes a task of its own.
//!
//! pingora runs the service and says when it stops; the loop is ours, so that a connection costs one task and no
//! layer that this path does not need (docs/decisions/0012-accepting-and-threads.md).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::door::Door;
use crate::entrances::{Entrance, Entrances};
use crate::front::Front;
use crate::gate::{Gate, Inside};
use crate::metrics::client::SHORT;

/// How long a listener rests when the system has no room for another connection: until some have ended.
const REST: Duration = Duration::from_millis(100);

/// All listeners, those of now and those that a change brings.
pub(crate) struct Accepting {
    entrances: Arc<Entrances>,
    inner: Arc<Inner>,
}

/// Where connections go.
struct Inner {
    gate: Gate,
    front: Front,
}

impl Accepting {
    /// Accepts at these entrances.
    pub(crate) fn new(entrances: Arc<Entrances>, gate: Gate, front: Front) -> Self {
        Self { entrances, inner: Arc::new(Inner { gate, front }) }
    }
}

#[async_trait]
impl Service for Accepting {
    async fn start_service(&mut self, _: Option<ListenFds>, mut shutdown: ShutdownWatch, _: usize) {
        self.inner.front.is_here();
        let mut changes = self.entrances.changes();
        let mut loops = JoinSet::new();
        loop {
            for entrance in changes.borrow_and_update().iter() {
                if let Some(socket) = entrance.take_socket() {
                    let stopping = shutdown.clone();
                    loops.spawn(accept(socket, Arc::clone(entrance), Arc::clone(&self.inner), stopping));
                }
            }
            tokio::select! {
                biased;
                _ = shutdown.wait_for(|is_stopping| *is_stopping) => break,
                changed = changes.changed() => if changed.is_err() { break },
                Some(_) = loops.join_next() => {}
            }
        }
        self.entrances.close();
        while loops.join_next().await.is_some() {}
    }

    fn name(&self) -> &'static str {
        "edge"
    }
}

/// Accepts until the entrance is closed. The socket is closed then.
async fn accept(
    socket: std::net::TcpListener,
    entrance: Arc<Entrance>,
    inner: Arc<Inner>,
    stopping: ShutdownWatch,
) {
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => {
            let listener = entrance.door().config.name.clone();
            tracing::error!(%error, listener, "could not accept connections on a listener");
            return;
        }
    };
    let mut closing = entrance.standing.closing();
    let mut is_short = false;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = closing.wait_for(|is_closing| *is_closing) => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                is_short = false;
                take(stream, peer, &entrance, &inner);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                let door = entrance.door();
                door.metrics.refused(SHORT);
                if !std::mem::replace(&mut is_short, true) {
                    tracing::error!(%error, listener = door.config.name, "could not accept a connection");
                }
                tokio::time::sleep(REST).await;
            }
        }
    }
    // At a stop others may accept from the same socket; from one that a change took away nobody will.
    if !*stopping.borrow() {
        take_rest(listener, &entrance, &inner);
    }
}

/// Takes what was connected before the listener was closed: it is served, and told to come back elsewhere.
fn take_rest(listener: TcpListener, entrance: &Entrance, inner: &Arc<Inner>) {
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, peer)) = listener.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            take(stream, peer, entrance, inner);
        }
    }
}

/// Takes a connection, if the gate does.
fn take(stream: TcpStream, peer: SocketAddr, entrance: &Entrance, inner: &Arc<Inner>) {
    let door = entrance.door();
    let Some(inside) = inner.gate.enter(&door, peer.ip()) else { return };
    let (inner, closing) = (Arc::clone(inner), entrance.standing.closing());
    if door.config.proxy_protocol {
        tokio::spawn(async move { introduced(stream, peer, door, inside, &inner, closing).await });
        return;
    }
    tokio::spawn(async move {
        inner.front.serve(stream, door, peer.ip(), closing).await;
        drop(inside);
    });
}

/// Serves a connection once a balancer has said whom it is from.
async fn introduced(
    mut stream: TcpStream,
    peer: SocketAddr,
    door: Arc<Door>,
    mut inside: Inside,
    inner: &Inner,
    closing: ShutdownWatch,
) {
    let introduced = inner.gate.introduce(&door, &mut stream, peer, &mut inside).await;
    if let Some(client) = introduced {
        inner.front.serve(stream, door, client, closing).await;
    }
    drop(inside);
}

/// Whether only the connection failed that would have been accepted.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
