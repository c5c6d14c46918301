//! One line per request, written by a thread of its own: a slow disk or terminal delays no request.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use cirque_shared::metrics::Counter;
use serde::Serialize;

use crate::config::AccessLog as Output;

/// Lines that may wait for the writer; more are dropped and counted.
const MOST_WAITING: usize = 8192;

/// One request, as it is written. Durations are in milliseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) timestamp: String,
    #[serde(rename = "request.id")]
    pub(crate) request_id: &'a str,
    #[serde(rename = "client.address")]
    pub(crate) client: String,
    #[serde(rename = "http.request.method")]
    pub(crate) method: &'a str,
    #[serde(rename = "server.address")]
    pub(crate) host: &'a str,
    #[serde(rename = "url.path")]
    pub(crate) path: &'a str,
    #[serde(rename = "http.response.status_code")]
    pub(crate) status: u16,
    /// Why the edge answered by itself, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    /// Which rule of the protocol the request broke.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<&'static str>,
    /// Where the request came in.
    pub(crate) listener: &'a str,
    pub(crate) route: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<&'a str>,
    /// The backend whose answer the client got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) backend: Option<&'a str>,
    pub(crate) duration_ms: f64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) attempts: &'a [Attempt],
    /// Why the last failure was not tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gave_up: Option<&'static str>,
}

/// One try at one backend.
#[derive(Debug, Serialize)]
pub(crate) struct Attempt {
    pub(crate) backend: String,
    /// `answered`, `unfinished`, or the reason of the failure.
    pub(crate) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// To the head of the answer, or to the failure.
    pub(crate) duration_ms: f64,
    /// Whether the backend was taken although none was available.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) fail_open: bool,
}

#[derive(Debug)]
struct Writer {
    lines: SyncSender<Vec<u8>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The way to the writer.
#[derive(Debug)]
pub(crate) struct AccessLog {
    writer: Option<Writer>,
    dropped: Counter,
}

impl AccessLog {
    /// Opens the output and starts the writer.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or no thread can be had.
    pub(crate) fn open(output: &Output, dropped: Counter) -> io::Result<Self> {
        let sink: Box<dyn Write + Send> = match output {
            Output::Off => return Ok(Self { writer: None, dropped }),
            Output::Stdout => Box::new(io::stdout()),
            Output::Stderr => Box::new(io::stderr()),
            Output::File(path) => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
        };
        let (sender, lines) = sync_channel(MOST_WAITING);
        let thread =
            std::thread::Builder::new().name("access-log".to_owned()).spawn(move || write(&lines, sink))?;
        Ok(Self { writer: Some(Writer { lines: sender, thread: Mutex::new(Some(thread)) }), dropped })
    }

    /// Whether lines go anywhere.
    pub(crate) fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Hands one line over; never waits.
    pub(crate) fn write(&self, line: &Line<'_>) {
        let Some(writer) = &self.writer else { return };
        let mut bytes = Vec::with_capacity(512);
        // Writing to memory cannot fail, and a line holds nothing that JSON cannot say.
        if serde_json::to_writer(&mut bytes, line).is_err() {
            return;
        }
        bytes.push(b'\n');
        if let Err(TrySendError::Full(_)) = writer.lines.try_send(bytes) {
            self.dropped.inc();
        }
    }

    /// Waits until all lines handed over so far are written. To be called once, at the end of the process.
    pub(crate) fn finish(&self) {
        let Some(writer) = &self.writer else { return };
        // An empty line is the writer's sign to stop; it waits its turn behind the others.
        let _ = writer.lines.send(Vec::new());
        let thread = writer.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

/// Writes lines until an empty one comes, flushing whenever it has caught up.
fn write(lines: &Receiver<Vec<u8>>, sink: Box<dyn Write + Send>) {
    let mut out = io::BufWriter::with_capacity(64 * 1024, sink);
    let mut failing = false;
    while let Ok(first) = lines.recv() {
        let mut next = Some(first);
        let mut result = Ok(());
        while let Some(line) = next {
            if line.is_empty() {
                let _ = out.flush();
                return;
            }
            result = result.and(out.write_all(&line));
            next = lines.try_recv().ok();
        }
        match result.and(out.flush()) {
            Ok(()) => failing = false,
            // Said once per trouble, not once per line.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "access log cannot be written");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use cirque_shared::metrics::Registry;

    use super::*;

    fn line(id: &str) -> Line<'_> {
        Line {
            timestamp: "2026-01-01T00:00:00.000Z".to_owned(),
            request_id: id,
            client: "192.0.2.1".to_owned(),
            method: "GET",
            host: "example.com",
            path: "/\"quoted\"\n",
            status: 200,
            reason: None,
            rule: None,
            listener: "http",
            route: "api",
            upstream: Some("app"),
            backend: Some("app-1"),
            duration_ms: 1.5,
            bytes_in: 0,
            bytes_out: 2,
            attempts: &[],
            gave_up: None,
        }
    }

    #[test]
    fn every_line_is_on_disk_after_finish() {
        let dropped = Registry::new().counter("dropped_total", "Dropped.");
        let file =
            std::env::temp_dir().join(format!("cirque-access-{}.log", cirque_shared::request_id::generate()));
        let log = AccessLog::open(&Output::File(file.clone()), dropped.clone()).unwrap();
        for _ in 0..5000 {
            log.write(&line("abc"));
        }
        log.finish();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(text.lines().count() as u64 + dropped.get(), 5000);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["url.path"], "/\"quoted\"\n");
        assert_eq!(first["http.response.status_code"], 200);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        let dropped = Registry::new().counter("dropped_total", "Dropped.");
        assert!(AccessLog::open(&Output::File("/nowhere/at/all.log".into()), dropped).is_err());
    }
}
