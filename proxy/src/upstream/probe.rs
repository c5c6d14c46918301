//! Asks one backend once whether it is well.
//!
//! Over a connection of its own, so that what is found is what the next new connection would find. One time limit
//! holds for everything, however slowly the answer drips in.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::Backend;
use crate::config::policy::{Probe, ProbeKind, Protocol};

/// What of a body is looked at.
const MOST_BODY: usize = 64 * 1024;

/// What a probe came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Well,
    /// No connection.
    Connect,
    /// It took too long.
    Timeout,
    /// The answer broke off, or was not HTTP.
    Broken,
    /// Another status than those that are healthy.
    Status(u16),
    /// The body does not contain what it must.
    Body,
}

impl Found {
    /// The value of the `result` label and of the log's reason.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Well => "success",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Status(_) => "status",
            Self::Body => "body",
        }
    }
}

/// Asks once, within the policy's time.
pub(super) async fn ask(backend: &Backend, policy: &Probe) -> Found {
    within(policy.timeout, async {
        match (backend.dial.open_at(policy.port).await, policy.kind) {
            (Err(_), _) => Found::Connect,
            (Ok(_), ProbeKind::Tcp | ProbeKind::Off) => Found::Well,
            (Ok(stream), ProbeKind::Http) => {
                let own = backend.dial.host(&backend.name);
                let host = if policy.host.is_empty() { own } else { &policy.host };
                ask_over(stream, backend.dial.reach.protocol, host, policy).await
            }
        }
    })
    .await
}

async fn within(limit: Duration, asking: impl Future<Output = Found>) -> Found {
    tokio::time::timeout(limit, asking).await.unwrap_or(Found::Timeout)
}

/// One request over a connection, whatever it runs over.
async fn ask_over(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    protocol: Protocol,
    host: &str,
    policy: &Probe,
) -> Found {
    let io = TokioIo::new(io);
    let signed = |request: http::request::Builder| {
        request
            .header(header::USER_AGENT, concat!("cirque-probe/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "*/*")
    };
    match protocol {
        Protocol::Http1 => {
            let Ok((mut sender, connection)) = http1::handshake(io).await else { return Found::Broken };
            let request = signed(Request::get(policy.path.as_str()).header(header::HOST, host));
            let request = request.header(header::CONNECTION, "close");
            let Ok(request) = request.body(Empty::<Bytes>::new()) else { return Found::Broken };
            found(sender.send_request(request), connection, policy).await
        }
        Protocol::Http2 => {
            let handshake = http2::handshake(TokioExecutor::new(), io);
            let Ok((mut sender, connection)) = handshake.await else { return Found::Broken };
            let request =
                signed(Request::get(format!("http://{host}{}", policy.path))).body(Empty::<Bytes>::new());
            let Ok(request) = request else { return Found::Broken };
            found(sender.send_request(request), connection, policy).await
        }
    }
}

/// What an answer says, while its connection is driven.
async fn found<E>(
    answer: impl Future<Output = Result<Response<Incoming>, E>>,
    connection: impl Future,
    policy: &Probe,
) -> Found {
    let asking = async {
        let Ok(answer) = answer.await else { return Found::Broken };
        let status = answer.status().as_u16();
        if !policy.status.iter().any(|range| range.contains(&status)) {
            return Found::Status(status);
        }
        let mut body = answer.into_body();
        let mut seen = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return Found::Broken };
            if let Ok(data) = frame.into_data() {
                let room = MOST_BODY - seen.len();
                seen.extend_from_slice(&data[..data.len().min(room)]);
            }
            if seen.len() >= MOST_BODY {
                break;
            }
        }
        let contains = memchr::memmem::find(&seen, policy.body.as_bytes()).is_some();
        if contains { Found::Well } else { Found::Body }
    };
    tokio::pin!(asking, connection);
    tokio::select! {
        biased;
        found = &mut asking => return found,
        _ = &mut connection => {}
    }
    // The connection has ended; what it brought may not all have been looked at.
    asking.await
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::metrics::PROBES;

    fn policy(body: &str) -> Probe {
        Probe {
            path: "/up?x=1".to_owned(),
            status: vec![200..=299, 401..=401],
            body: body.to_owned(),
            ..Probe::default()
        }
    }

    /// What is found when a backend says this, and then is silent or closes.
    async fn found(answer: &[u8], body: &str) -> Found {
        let (ours, mut theirs) = duplex(256 * 1024);
        let answer = answer.to_vec();
        let backend = tokio::spawn(async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(theirs.read_u8().await.unwrap());
            }
            theirs.write_all(&answer).await.unwrap();
            String::from_utf8(head).unwrap()
        });
        let found =
            within(Duration::from_secs(5), ask_over(ours, Protocol::Http1, "example.com", &policy(body)))
                .await;
        let asked = backend.await.unwrap().to_ascii_lowercase();
        assert!(asked.starts_with("get /up?x=1 http/1.1\r\nhost: example.com\r\n"), "{asked}");
        found
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_its_meaning() {
        let large =
            [b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n".to_vec(), vec![b'x'; 70_000]].concat();
        let late = [&large[..large.len() - 2], b"ok"].concat();
        for (answer, body, expected) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..], "", Found::Well),
            (b"HTTP/1.1 204 No Content\r\n\r\n", "", Found::Well),
            (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "", Found::Well),
            (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "", Found::Status(302)),
            (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "", Found::Status(503)),
            (b"HTTP/1.1 200 OK\r\n\r\nall is well", "is well", Found::Well),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nall \r\n7\r\nis well\r\n0\r\n\r\n", "l is", Found::Well),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "well", Found::Body),
            (&large, "", Found::Well),
            (&late, "ok", Found::Body),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", "", Found::Broken),
            (b"SSH-2.0-OpenSSH\r\n", "", Found::Broken),
            (b"", "", Found::Broken),
        ] {
            let said = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
            assert_eq!(found(answer, body).await, expected, "{said:?}");
        }
    }

    #[test]
    fn every_result_has_a_series() {
        use Found::{Body, Broken, Connect, Status, Timeout, Well};
        assert!(
            [Well, Connect, Timeout, Broken, Status(500), Body].iter().all(|f| PROBES.contains(&f.name()))
        );
    }
}
