//! Carries one exchange to a backend of HTTP/2, written and read as HTTP/1.1 on our side.
//!
//! So nothing else of the path knows the difference. A bridge that breaks closes its near end, as a broken connection would.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::mpsc;

use super::chunked::{self, Decoder};
use super::head::{MOST_FIELDS, decimal};
use super::lines::{Name, name};
use crate::dial::http2::{Body, Share};

/// What may lie in a bridge, each way.
const ROOM: usize = 64 * 1024;

/// Pieces of a request's body that wait for the backend.
const MOST_PIECES: usize = 2;

/// Builds a bridge over this share of a connection; what comes back is its near end.
pub(super) fn build(share: Share, scheme: &'static str) -> DuplexStream {
    let (near, far) = tokio::io::duplex(ROOM);
    tokio::spawn(async move {
        // What goes wrong is seen at the near end: it closes.
        let _ = carry(far, &share, scheme).await;
        drop(share);
    });
    near
}

async fn carry(far: DuplexStream, share: &Share, scheme: &str) -> io::Result<()> {
    let (mut from, mut to) = tokio::io::split(far);
    let mut read = Vec::new();
    let (request, framing, len) = loop {
        if from.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
        if let Some(head) = head(&read, scheme)? {
            break head;
        }
    };
    read.drain(..len);
    let is_to_head = request.method() == Method::HEAD;
    if request.headers().contains_key(header::EXPECT) {
        to.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let (pieces, body) = mpsc::channel(MOST_PIECES);
    let mut request = request.map(|()| Body(body));
    request.headers_mut().remove(header::EXPECT);
    let asking = async {
        let answer = share.sender().send_request(request).await.map_err(|error| {
            share.retire();
            io::Error::other(error)
        })?;
        answered(answer, is_to_head, &mut to).await
    };
    let uploading = async {
        if upload(&mut from, read, framing, &pieces).await.is_err() {
            // Better a reset than a body that looks whole.
            let _ = pieces.send(Err(io::ErrorKind::UnexpectedEof.into())).await;
        }
        drop(pieces);
        // The near end that goes away takes the request back.
        let mut rest = [0; 64];
        while from.read(&mut rest).await? > 0 {}
        Err::<(), io::Error>(io::ErrorKind::ConnectionAborted.into())
    };
    tokio::select! {
        biased;
        done = asking => done,
        gone = uploading => gone,
    }
}

/// How the end of the request's body is known; we wrote it ourselves.
enum Framing {
    Known(u64),
    Chunked,
}

/// Reads the head that our own path wrote.
fn head(read: &[u8], scheme: &str) -> io::Result<Option<(Request<()>, Framing, usize)>> {
    let mut fields = [httparse::EMPTY_HEADER; 2 * MOST_FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    let broken = |_| io::Error::from(io::ErrorKind::InvalidData);
    let httparse::Status::Complete(len) = parsed.parse(read).map_err(broken)? else { return Ok(None) };
    let mut framing = Framing::Known(0);
    let mut headers = HeaderMap::new();
    let mut host = None;
    for field in &*parsed.headers {
        match name(field.name.as_bytes()) {
            Name::Host => host = Some(field.value),
            Name::TransferEncoding => framing = Framing::Chunked,
            Name::Connection | Name::Upgrade | Name::HopByHop => {}
            found => {
                if found == Name::ContentLength {
                    framing = Framing::Known(decimal(field.value).unwrap_or_default());
                }
                let (Ok(name), Ok(value)) =
                    (HeaderName::from_bytes(field.name.as_bytes()), HeaderValue::from_bytes(field.value))
                else {
                    continue;
                };
                headers.append(name, value);
            }
        }
    }
    let target = parsed.path.unwrap_or("/");
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(host.unwrap_or(b"localhost"))
        .path_and_query(if target == "*" { "/" } else { target })
        .build()
        .map_err(io::Error::other)?;
    let method = Method::from_bytes(parsed.method.unwrap_or("GET").as_bytes()).map_err(io::Error::other)?;
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
    *request.version_mut() = Version::HTTP_2;
    Ok(Some((request, framing, len)))
}

/// Passes the request's body on to its end.
async fn upload(
    from: &mut ReadHalf<DuplexStream>,
    mut read: Vec<u8>,
    framing: Framing,
    pieces: &mpsc::Sender<io::Result<Frame<Bytes>>>,
) -> io::Result<()> {
    let mut decoder = Decoder::default();
    let mut left = match framing {
        Framing::Known(left) => left,
        Framing::Chunked => u64::MAX,
    };
    loop {
        let mut piece = Vec::new();
        let is_done = match framing {
            Framing::Known(_) => {
                left = left.saturating_sub(read.len() as u64);
                piece = std::mem::take(&mut read);
                left == 0
            }
            Framing::Chunked => {
                let decoded = decoder.decode(&read, |data| piece.extend_from_slice(data));
                decoded.map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                read.clear();
                decoder.is_done()
            }
        };
        if !piece.is_empty() && pieces.send(Ok(Frame::data(piece.into()))).await.is_err() {
            // The backend wants no more of it; it may answer all the same.
            return Ok(());
        }
        if is_done {
            return Ok(());
        }
        if from.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Writes an answer as HTTP/1.1, on a connection that is not used again.
async fn answered(
    answer: Response<Incoming>,
    is_to_head: bool,
    to: &mut WriteHalf<DuplexStream>,
) -> io::Result<()> {
    let (head, mut body) = answer.into_parts();
    let status = head.status.as_u16();
    let has_none = is_to_head || matches!(status, 204 | 304);
    let is_chunked = !has_none && !head.headers.contains_key(header::CONTENT_LENGTH);
    let mut out =
        format!("HTTP/1.1 {status} {}\r\n", head.status.canonical_reason().unwrap_or_default()).into_bytes();
    append(&head.headers, &mut out);
    out.extend_from_slice(b"Connection: close\r\n");
    if is_chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    out.extend_from_slice(b"\r\n");
    to.write_all(&out).await?;
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(io::Error::other)?;
        match frame.into_data() {
            Ok(data) if is_chunked => {
                out.clear();
                chunked::encode(&data, &mut out);
                to.write_all(&out).await?;
            }
            Ok(data) => to.write_all(&data).await?,
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    if is_chunked {
        out.clear();
        out.extend_from_slice(b"0\r\n");
        append(&trailers, &mut out);
        out.extend_from_slice(b"\r\n");
        to.write_all(&out).await?;
    }
    to.shutdown().await
}

/// Appends fields as lines, without those that frame a message of HTTP/1.1.
fn append(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (field, value) in fields {
        if matches!(
            name(field.as_str().as_bytes()),
            Name::Connection | Name::TransferEncoding | Name::Upgrade
        ) {
            continue;
        }
        out.extend_from_slice(field.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}
