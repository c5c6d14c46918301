//! A gRPC server and client that others wrote (tonic), for messages that are plain text.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::codegen::{BoxFuture, Context, Poll, Service, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::transport::{Channel, Server as Transport};
use tonic::{Request, Response, Status, Streaming};

use crate::ports;

/// Messages as they are.
#[derive(Debug, Clone, Copy, Default)]
pub struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, item: String, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// Echoes every message; `many N` is answered with N messages, `fail` with an error, `late` with one message and
/// then an error.
#[derive(Debug, Clone, Copy)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl StreamingService<String> for Echo {
    type Response = String;
    type ResponseStream = ReceiverStream<Result<String, Status>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        Box::pin(async move {
            let mut messages = request.into_inner();
            let first = messages.next().await.transpose()?.unwrap_or_default();
            if first == "fail" {
                return Err(error());
            }
            let (answers, stream) = mpsc::channel(4);
            tokio::spawn(async move {
                let mut next = Some(first);
                while let Some(message) = next {
                    let count = message.strip_prefix("many ").and_then(|n| n.parse().ok());
                    for n in 0..count.unwrap_or(1) {
                        let answer = if count.is_some() { n.to_string() } else { message.clone() };
                        if answers.send(Ok(answer)).await.is_err() {
                            return;
                        }
                    }
                    if message == "late" {
                        let _ = answers.send(Err(error())).await;
                        return;
                    }
                    next = messages.next().await.transpose().ok().flatten();
                }
            });
            Ok(Response::new(ReceiverStream::new(stream)))
        })
    }
}

/// The error of `fail` and `late`.
pub fn error() -> Status {
    let mut status = Status::failed_precondition("not now: ä");
    status.metadata_mut().insert("x-detail", "of the error".parse().expect("a value"));
    status
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(Grpc::new(Text).streaming(Echo, request).await) })
    }
}

/// A running server. Dropping it ends it.
pub struct Server {
    address: SocketAddr,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
}

impl Default for Server {
    fn default() -> Server {
        Server::start()
    }
}

impl Server {
    pub fn start() -> Server {
        let address = ports::address();
        let runtime = runtime();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = Transport::builder().add_service(Echo).serve_with_shutdown(address, async {
            let _ = stopped.await;
        });
        runtime.spawn(serving);
        Server { address, runtime: Some(runtime), stop: Some(stop) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

/// A client of its own, which blocks.
pub struct Client {
    runtime: Runtime,
    grpc: tonic::client::Grpc<Channel>,
}

impl Client {
    #[track_caller]
    pub fn to(address: SocketAddr) -> Client {
        let runtime = runtime();
        let endpoint = Channel::from_shared(format!("http://{address}")).expect("an address is a URI");
        // It connects when it is first used, and spawns what it needs for that here and now.
        let channel = {
            let _inside = runtime.enter();
            endpoint.timeout(Duration::from_secs(30)).connect_lazy()
        };
        Client { runtime, grpc: tonic::client::Grpc::new(channel) }
    }

    /// One message for one.
    pub fn unary(&mut self, message: &str) -> Result<Response<String>, Status> {
        let Self { runtime, grpc } = self;
        runtime.block_on(async {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            grpc.unary(Request::new(message.to_owned()), path(), Text).await
        })
    }

    /// A conversation: each message is sent when the answer to the one before is there. The answers, and how it
    /// ended.
    pub fn converse(&mut self, messages: &[&str]) -> (Vec<String>, Result<(), Status>) {
        let Self { runtime, grpc } = self;
        runtime.block_on(async {
            let mut heard = Vec::new();
            let ended = async {
                grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
                let (sender, receiver) = mpsc::channel(1);
                let mut messages = messages.iter();
                let mut say = async || match messages.next() {
                    Some(message) => sender.send((*message).to_owned()).await.is_ok(),
                    None => false,
                };
                say().await;
                let stream = Request::new(ReceiverStream::new(receiver));
                let mut answers = grpc.streaming(stream, path(), Text).await?.into_inner();
                while let Some(answer) = answers.message().await? {
                    heard.push(answer);
                    if !say().await {
                        break;
                    }
                }
                drop(sender);
                while let Some(answer) = answers.message().await? {
                    heard.push(answer);
                }
                Ok(())
            }
            .await;
            (heard, ended)
        })
    }

    /// Many messages for one.
    pub fn many(&mut self, count: usize) -> Result<usize, Status> {
        let Self { runtime, grpc } = self;
        runtime.block_on(async {
            grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let request = Request::new(format!("many {count}"));
            let mut answers = grpc.server_streaming(request, path(), Text).await?.into_inner();
            let mut heard = 0;
            while answers.message().await?.is_some() {
                heard += 1;
            }
            Ok(heard)
        })
    }
}

fn path() -> PathAndQuery {
    PathAndQuery::from_static("/test.Echo/Echo")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a thread can be had")
}
