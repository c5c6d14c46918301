//! One line per request, written by a thread of its own: a slow disk or terminal delays no request.
//!
//! Requests put their lines into one shared buffer; the writer takes it whole, a few times a second. So a line
//! costs no wake-up, and a burst becomes one write.

pub(crate) mod combined;
mod line;

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cirque_shared::metrics::Counter;

use crate::config::AccessLog as Output;
use crate::config::policy::LogFormat;
pub(crate) use line::{Attempt, Line};

/// Bytes of lines that may wait for the writer; lines beyond are dropped and counted.
const MOST_WAITING: usize = 8 * 1024 * 1024;

/// So much is written at once rather than waited for.
const ENOUGH: usize = 64 * 1024;

/// How long a line may wait for others to be written with.
const GATHER: Duration = Duration::from_millis(50);

/// The way to the writer.
#[derive(Debug)]
pub(crate) struct AccessLog {
    writer: Option<Writer>,
    format: LogFormat,
    dropped: Counter,
}

#[derive(Debug)]
struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Rung for the first line, for enough of them, and at the end.
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    is_ending: bool,
    /// Whether the file is to be opened anew, after the lines that are waiting.
    is_reopening: bool,
}

impl AccessLog {
    /// Opens the output and starts the writer.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or no thread can be had.
    pub(crate) fn open(output: &Output, format: LogFormat, dropped: Counter) -> io::Result<Self> {
        let Some(sink) = sink(output)? else { return Ok(Self { writer: None, format, dropped }) };
        let output = output.clone();
        let shared = Arc::new(Shared::default());
        let writers = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writers.run(sink, &output))?;
        Ok(Self { writer: Some(Writer { shared, thread: Mutex::new(Some(thread)) }), format, dropped })
    }

    /// Whether lines go anywhere.
    pub(crate) fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Whether lines say what only the combined format asks for.
    pub(crate) fn is_combined(&self) -> bool {
        self.is_on() && self.format == LogFormat::Combined
    }

    /// Opens the file anew, once what was handed over so far is written: it was moved away, to be replaced.
    pub(crate) fn reopen(&self) {
        let Some(Writer { shared, .. }) = &self.writer else { return };
        shared.lock().is_reopening = true;
        shared.bell.notify_one();
    }

    /// Hands one line over; never waits for the output.
    pub(crate) fn write(&self, line: &Line<'_>) {
        thread_local! {
            static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let Some(Writer { shared, .. }) = &self.writer else { return };
        TEXT.with_borrow_mut(|text| {
            text.clear();
            match self.format {
                LogFormat::Json => line.append_to(text),
                LogFormat::Combined => combined::append(line, text),
            }
            self.hand_over(shared, text);
        });
    }

    fn hand_over(&self, shared: &Shared, text: &[u8]) {
        let mut waiting = shared.lock();
        let before = waiting.lines.len();
        if before > MOST_WAITING {
            self.dropped.inc();
            return;
        }
        waiting.lines.extend_from_slice(text);
        let after = waiting.lines.len();
        drop(waiting);
        if before == 0 || (before < ENOUGH && after >= ENOUGH) {
            shared.bell.notify_one();
        }
    }

    /// Waits until all lines handed over so far are written. To be called once, at the end of the process.
    pub(crate) fn finish(&self) {
        let Some(Writer { shared, thread }) = &self.writer else { return };
        shared.lock().is_ending = true;
        shared.bell.notify_one();
        let thread = thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under the lock can leave the lines half written.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes lines until the end.
    fn run(&self, mut sink: Box<dyn Write + Send>, output: &Output) {
        let mut batch = Vec::new();
        let mut is_failing = false;
        loop {
            let mut waiting = self.lock();
            while waiting.lines.is_empty() && !waiting.is_ending && !waiting.is_reopening {
                waiting = self.bell.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let is_gathering = |waiting: &mut Waiting| {
                waiting.lines.len() < ENOUGH && !waiting.is_ending && !waiting.is_reopening
            };
            let gathered = self.bell.wait_timeout_while(waiting, GATHER, is_gathering);
            let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut batch, &mut waiting.lines);
            let is_last = waiting.is_ending;
            let is_reopening = std::mem::take(&mut waiting.is_reopening);
            drop(waiting);
            match sink.write_all(&batch).and_then(|()| sink.flush()) {
                Ok(()) => is_failing = false,
                // Said once per trouble, not once per line.
                Err(error) if !is_failing => {
                    is_failing = true;
                    tracing::warn!(%error, "access log cannot be written");
                }
                Err(_) => {}
            }
            if is_reopening {
                match self::sink(output) {
                    Ok(opened) => sink = opened.unwrap_or(sink),
                    Err(error) => {
                        tracing::warn!(%error, "access log cannot be reopened, the old file is kept")
                    }
                }
            }
            batch.clear();
            batch.shrink_to(4 * ENOUGH);
            if is_last {
                return;
            }
        }
    }
}

/// Where lines go; `None`: nowhere.
fn sink(output: &Output) -> io::Result<Option<Box<dyn Write + Send>>> {
    Ok(match output {
        Output::Off => None,
        Output::Stdout => Some(Box::new(io::stdout())),
        Output::Stderr => Some(Box::new(io::stderr())),
        Output::File(path) => Some(Box::new(OpenOptions::new().create(true).append(true).open(path)?)),
    })
}

#[cfg(test)]
mod tests {
    use cirque_shared::metrics::Registry;

    use super::*;

    #[test]
    fn every_line_is_on_disk_after_finish() {
        let dropped = Registry::new().counter("dropped_total", "Dropped.");
        let file =
            std::env::temp_dir().join(format!("cirque-access-{}.log", cirque_shared::request_id::generate()));
        let log = AccessLog::open(&Output::File(file.clone()), LogFormat::Json, dropped.clone()).unwrap();
        for _ in 0..5000 {
            log.write(&Line::example());
        }
        log.finish();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!((text.lines().count(), dropped.get()), (5000, 0));
        assert!(text.ends_with("}\n"));
    }

    #[test]
    fn a_file_that_was_moved_away_is_replaced_and_no_line_is_lost() {
        let dropped = Registry::new().counter("dropped_total", "Dropped.");
        let id = cirque_shared::request_id::generate();
        let [file, moved] =
            ["log", "moved"].map(|end| std::env::temp_dir().join(format!("cirque-{id}.{end}")));
        let log = AccessLog::open(&Output::File(file.clone()), LogFormat::Combined, dropped).unwrap();
        log.write(&Line::example());
        std::fs::rename(&file, &moved).unwrap();
        log.reopen();
        while !file.exists() {
            std::thread::yield_now();
        }
        log.write(&Line::example());
        log.finish();
        let counts = [&file, &moved].map(|path| std::fs::read_to_string(path).unwrap().lines().count());
        std::fs::remove_file(&file).unwrap();
        std::fs::remove_file(&moved).unwrap();
        assert_eq!(counts, [1, 1]);
    }

    #[test]
    fn lines_beyond_what_may_wait_are_dropped_and_counted() {
        let dropped = Registry::new().counter("dropped_total", "Dropped.");
        let shared = Arc::new(Shared::default());
        // Nobody writes.
        let log = AccessLog {
            writer: Some(Writer { shared: Arc::clone(&shared), thread: Mutex::new(None) }),
            format: LogFormat::Json,
            dropped: dropped.clone(),
        };
        shared.lock().lines = vec![b' '; MOST_WAITING];
        log.write(&Line::example());
        log.write(&Line::example());
        assert_eq!(dropped.get(), 1);
        assert!(shared.lock().lines.len() < MOST_WAITING + 2000);
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_an_error() {
        let dropped = Registry::new().counter("dropped_total", "Dropped.");
        assert!(
            AccessLog::open(&Output::File("/nowhere/at/all.log".into()), LogFormat::Json, dropped).is_err()
        );
    }
}
