//! Serves one connection of a scripted backend: reads a request, records it, answers as scripted.

use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio::time::Instant;

use super::reply::{End, Framing, Reply};
use super::{Received, Shared};
use crate::http::{self, Head};
use crate::sync::lock;

/// More requests than this are answered but not recorded.
const MAX_RECORDED: usize = 200_000;
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Longer than any test.
const DEAF_AT_MOST: Duration = Duration::from_secs(120);

enum Next {
    KeepAlive,
    Close,
}

pub(super) fn connection(stream: &TcpStream, id: u64, shared: &Shared) -> io::Result<()> {
    stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
    let mut reader = BufReader::new(stream);
    while let Some(head) = http::read_head(&mut reader)? {
        let mut received = received(id, &head);
        let place = record(shared, &received);
        let mut reply = choose(shared, &received);
        if !reply.is_early {
            read_body(&mut reader, &head, &mut received, stream)?;
            update(shared, place, &received);
        }
        if reply.is_echo {
            reply.body.clone_from(&received.body);
        }
        let closing = head.header_has("connection", "close");
        if reply.end == End::Tunnel {
            return send_back(&mut reader, stream, &head_bytes(shared, &reply, false));
        }
        match answer(stream, shared, &received, &reply, closing)? {
            Next::KeepAlive if !reply.is_early => {}
            Next::KeepAlive | Next::Close => return linger(stream),
        }
    }
    Ok(())
}

fn received(connection: u64, head: &Head) -> Received {
    let mut words = head.first_line.split(' ');
    Received {
        connection,
        at: Instant::now(),
        method: words.next().unwrap_or_default().to_owned(),
        target: words.next().unwrap_or_default().to_owned(),
        headers: head.headers.clone(),
        raw_head: head.raw.clone(),
        body: Vec::new(),
        is_complete: false,
    }
}

fn record(shared: &Shared, received: &Received) -> usize {
    let mut requests = lock(&shared.requests);
    if requests.len() < MAX_RECORDED {
        requests.push(received.clone());
    }
    requests.len() - 1
}

fn update(shared: &Shared, place: usize, received: &Received) {
    if let Some(slot) = lock(&shared.requests).get_mut(place)
        && slot.connection == received.connection
    {
        slot.clone_from(received);
    }
}

fn choose(shared: &Shared, received: &Received) -> Reply {
    if let Some(reply) = lock(&shared.by_path).get(received.path()) {
        return reply.clone();
    }
    let script = std::sync::Arc::clone(&lock(&shared.script));
    script(received)
}

fn read_body(
    reader: &mut BufReader<&TcpStream>,
    head: &Head,
    received: &mut Received,
    mut stream: &TcpStream,
) -> io::Result<()> {
    if head.header_has("expect", "100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if head.header_has("transfer-encoding", "chunked") {
        http::read_chunked(reader, &mut received.body)?;
    } else if let Some(length) = head.header("content-length").and_then(|value| value.parse().ok()) {
        http::read_counted(reader, length, &mut received.body)?;
    }
    received.is_complete = true;
    Ok(())
}

fn answer(
    stream: &TcpStream,
    shared: &Shared,
    received: &Received,
    reply: &Reply,
    closing: bool,
) -> io::Result<Next> {
    if shared.stopped.wait(reply.delay) {
        return Ok(Next::Close);
    }
    let mut writer = stream;
    match reply.end {
        End::Close => return Ok(Next::Close),
        End::Silence => return hold_open(stream),
        End::Garbage => {
            writer.write_all(&reply.body)?;
            return Ok(Next::Close);
        }
        End::Deaf => {
            shared.stopped.wait(DEAF_AT_MOST);
            return Ok(Next::Close);
        }
        End::Raw => {
            write_body(stream, shared, reply, &reply.body)?;
            return Ok(Next::KeepAlive);
        }
        End::Complete | End::CutAfter(_) | End::StallAfter(_) | End::Tunnel => {}
    }
    let last = closing || reply.is_last || reply.framing == Framing::UntilClose;
    writer.write_all(&reply.interim)?;
    writer.write_all(&head_bytes(shared, reply, last))?;
    if received.method == "HEAD" {
        return Ok(if last { Next::Close } else { Next::KeepAlive });
    }
    let sent = match reply.end {
        End::CutAfter(bytes) | End::StallAfter(bytes) => bytes.min(reply.body.len()),
        _ => reply.body.len(),
    };
    write_body(stream, shared, reply, &reply.body[..sent])?;
    match reply.end {
        End::CutAfter(_) => return Ok(Next::Close),
        End::StallAfter(_) => return hold_open(stream),
        _ => {}
    }
    if reply.framing == Framing::Chunked {
        writer.write_all(b"0\r\n\r\n")?;
    }
    Ok(if last { Next::Close } else { Next::KeepAlive })
}

fn head_bytes(shared: &Shared, reply: &Reply, last: bool) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} Scripted\r\nX-Served-By: {}\r\n", reply.status, shared.name);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let bodiless = matches!(reply.status, 101 | 204 | 304);
    match reply.framing {
        Framing::Counted if !bodiless => head.push_str(&format!("Content-Length: {}\r\n", reply.body.len())),
        Framing::Chunked => head.push_str("Transfer-Encoding: chunked\r\n"),
        Framing::Counted | Framing::UntilClose => {}
    }
    if last {
        head.push_str("Connection: close\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn write_body(mut stream: &TcpStream, shared: &Shared, reply: &Reply, body: &[u8]) -> io::Result<()> {
    if matches!(reply.status, 204 | 304) {
        return Ok(());
    }
    let (size, every) = reply.pace.unwrap_or((body.len().max(1), Duration::ZERO));
    for piece in body.chunks(size) {
        if shared.stopped.wait(every) {
            return Ok(());
        }
        if reply.framing == Framing::Chunked {
            let framed = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            stream.write_all(&framed)?;
        } else {
            stream.write_all(piece)?;
        }
    }
    Ok(())
}

/// Switches protocols and sends every byte back, until the other side ends.
fn send_back(reader: &mut BufReader<&TcpStream>, mut stream: &TcpStream, head: &[u8]) -> io::Result<()> {
    stream.write_all(head)?;
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = reader.read(&mut piece)?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(&piece[..read])?;
    }
}

/// Says nothing until the other side goes away or the backend cuts its connections.
fn hold_open(mut stream: &TcpStream) -> io::Result<Next> {
    let mut sink = [0; 4096];
    loop {
        match stream.read(&mut sink) {
            Ok(0) => return Ok(Next::Close),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Closes so that what was sent still arrives: a close with unread bytes would send a reset that overtakes it.
fn linger(mut stream: &TcpStream) -> io::Result<()> {
    stream.shutdown(std::net::Shutdown::Write)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut sink = [0; 4096];
    while stream.read(&mut sink)? > 0 {}
    Ok(())
}
