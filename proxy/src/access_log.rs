//! One line per request, written by a thread of its own: a slow disk or terminal delays no request.
//!
//! Requests put their lines into one shared buffer; the writer takes it whole, a few times a second. So a line
//! costs no wake-up, and a burst becomes one write.

mod line;

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use cirque_shared::metrics::Counter;

use crate::config::AccessLog as Output;
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
        let shared = Arc::new(Shared::default());
        let writers = Arc::clone(&shared);
        let thread =
            std::thread::Builder::new().name("access-log".to_owned()).spawn(move || writers.run(sink))?;
        Ok(Self { writer: Some(Writer { shared, thread: Mutex::new(Some(thread)) }), dropped })
    }

    /// Whether lines go anywhere.
    pub(crate) fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Hands one line over; never waits for the output.
    pub(crate) fn write(&self, line: &Line<'_>) {
        thread_local! {
            static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let Some(Writer { shared, .. }) = &self.writer else { return };
        TEXT.with_borrow_mut(|text| {
            text.clear();
            line.append_to(text);
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
    fn run(&self, mut sink: Box<dyn Write + Send>) {
        let mut batch = Vec::new();
        let mut is_failing = false;
        loop {
            let mut waiting = self.lock();
            while waiting.lines.is_empty() && !waiting.is_ending {
                waiting = self.bell.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            let is_gathering = |waiting: &mut Waiting| waiting.lines.len() < ENOUGH && !waiting.is_ending;
            let gathered = self.bell.wait_timeout_while(waiting, GATHER, is_gathering);
            let (mut waiting, _) = gathered.unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut batch, &mut waiting.lines);
            let is_last = waiting.is_ending;
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
            batch.clear();
            batch.shrink_to(4 * ENOUGH);
            if is_last {
                return;
            }
        }
    }
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
        let log = AccessLog::open(&Output::File(file.clone()), dropped.clone()).unwrap();
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
    fn lines_beyond_what_may_wait_are_dropped_and_counted() {
        let dropped = Registry::new().counter("dropped_total", "Dropped.");
        let shared = Arc::new(Shared::default());
        // Nobody writes.
        let log = AccessLog {
            writer: Some(Writer { shared: Arc::clone(&shared), thread: Mutex::new(None) }),
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
        assert!(AccessLog::open(&Output::File("/nowhere/at/all.log".into()), dropped).is_err());
    }
}
