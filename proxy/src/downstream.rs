//! A client's connection: plain or over TLS, and as pingora's path takes it.
//!
//! There, bytes that were read ahead come first, and the rest follows.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// A client's connection.
pub(crate) type Downstream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection, and what was read of it already.
#[derive(Debug)]
pub(crate) struct Wrapped<T> {
    io: T,
    ahead: Vec<u8>,
    socket: Option<Arc<SocketDigest>>,
    id: UniqueIDType,
}

impl<T> Wrapped<T> {
    pub(crate) fn new(io: T, ahead: Vec<u8>, socket: Option<Arc<SocketDigest>>, id: UniqueIDType) -> Self {
        Self { io, ahead, socket, id }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wrapped<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, into);
        }
        let take = self.ahead.len().min(into.remaining());
        into.put_slice(&self.ahead[..take]);
        self.ahead.drain(..take);
        if self.ahead.is_empty() {
            self.ahead = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Wrapped<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[async_trait]
impl<T: AsyncWrite + Unpin + Send> Shutdown for Wrapped<T> {
    async fn shutdown(&mut self) {
        // The client may be gone: then there is nobody to tell.
        let _ = AsyncWriteExt::shutdown(&mut self.io).await;
    }
}

impl<T> UniqueID for Wrapped<T> {
    fn id(&self) -> UniqueIDType {
        self.id
    }
}

impl<T> Ssl for Wrapped<T> {}
impl<T: Send> Peek for Wrapped<T> {}

impl<T> GetTimingDigest for Wrapped<T> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl<T> GetProxyDigest for Wrapped<T> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl<T> GetSocketDigest for Wrapped<T> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.socket.clone()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn what_was_read_ahead_comes_first() {
        let (near, mut far) = duplex(64);
        far.write_all(b"rest").await.unwrap();
        drop(far);
        let mut wrapped = Wrapped::new(near, b"ahead, ".to_vec(), None, 0);
        let mut two = [0; 2];
        wrapped.read_exact(&mut two).await.unwrap();
        assert_eq!(&two, b"ah");
        let mut read = Vec::new();
        wrapped.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"ead, rest");
    }
}
