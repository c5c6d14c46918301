//! A connection to a backend, whatever it runs over, as a stream of bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::client::TlsStream;

/// What the system gives.
#[derive(Debug)]
pub(crate) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Io {
    Plain(Plain),
    Tls(Box<TlsStream<Plain>>),
    /// The near end of a bridge to HTTP/2.
    Bridge(DuplexStream),
}

impl From<TcpStream> for Io {
    fn from(stream: TcpStream) -> Self {
        Self::Plain(Plain::Tcp(stream))
    }
}

impl Io {
    /// Whether it is open and nothing has come that nobody asked for, as far as can be known without a wait.
    pub(crate) fn is_quiet(&mut self) -> bool {
        let mut byte = [0_u8; 1];
        match self {
            // The runtime knows of a close or of stray bytes without a system call of ours.
            Self::Plain(Plain::Tcp(stream)) => is_empty(&stream.try_read(&mut byte)),
            Self::Plain(Plain::Unix(stream)) => is_empty(&stream.try_read(&mut byte)),
            // Session tickets may wait there, which say nothing: only TLS can tell.
            Self::Tls(stream) => {
                let mut buffer = ReadBuf::new(&mut byte);
                let mut cx = Context::from_waker(Waker::noop());
                Pin::new(stream).poll_read(&mut cx, &mut buffer).is_pending()
            }
            Self::Bridge(_) => false,
        }
    }
}

fn is_empty(read: &io::Result<usize>) -> bool {
    matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Hands a call on to what a connection runs over.
macro_rules! over {
    ($self:ident, $($variant:ident)|+, $io:ident => $call:expr) => {
        match $self.get_mut() {
            $(Self::$variant($io) => $call,)+
        }
    };
}

impl AsyncRead for Plain {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        over!(self, Tcp | Unix, io => Pin::new(io).poll_read(cx, into))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        over!(self, Tcp | Unix, io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        over!(self, Tcp | Unix, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        over!(self, Tcp | Unix, io => Pin::new(io).poll_shutdown(cx))
    }
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        over!(self, Plain | Tls | Bridge, io => Pin::new(io).poll_read(cx, into))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        over!(self, Plain | Tls | Bridge, io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        over!(self, Plain | Tls | Bridge, io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        over!(self, Plain | Tls | Bridge, io => Pin::new(io).poll_shutdown(cx))
    }
}
