//! Decides that an answer is made once, however many wait for it.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::watch;

use super::Made;
use super::entry::Entry;
use super::known::Known;
use crate::error::{ApiError, Code};

/// The most answers that are being made at once. Each has a connection of a reader at its start, or is a refresh.
const MOST: usize = 1024;

/// What a flight ends with.
pub(super) type Outcome<T> = Result<T, ApiError>;

type Landed = Option<Outcome<Arc<Entry>>>;

/// The answers that are being made.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<String, Flight>>>);

#[derive(Debug)]
struct Flight {
    /// Up to where changes were known at its start.
    known: Known,
    landed: watch::Receiver<Landed>,
}

/// A place on a flight.
#[derive(Debug)]
pub(super) struct Ticket {
    landed: watch::Receiver<Landed>,
    /// Only the first has it, until the flight takes off.
    sender: Option<Arc<watch::Sender<Landed>>>,
}

impl Flights {
    /// A place on the flight for `key`, and whether the caller must make it take off.
    pub(super) fn join(&self, key: &str, known: Known) -> (Ticket, bool) {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key).filter(|flight| flight.known.covers(known)) {
            return (Ticket { landed: flight.landed.clone(), sender: None }, false);
        }
        if flights.len() >= MOST {
            let busy = ApiError::new(Code::Overloaded, "The service is busy. Try again in a moment.");
            let (_, landed) = watch::channel(Some(Err(busy)));
            return (Ticket { landed, sender: None }, false);
        }
        let (sender, landed) = watch::channel(None);
        flights.insert(key.to_owned(), Flight { known, landed: landed.clone() });
        (Ticket { landed, sender: Some(Arc::new(sender)) }, true)
    }

    /// What makes the flight of `ticket` land.
    pub(super) fn landing(&self, key: String, ticket: &Ticket) -> Landing {
        Landing { flights: self.clone(), key, sender: ticket.sender.clone() }
    }
}

impl Ticket {
    /// Waits for the answer.
    pub(super) async fn outcome(mut self) -> Outcome<Arc<Entry>> {
        self.sender = None;
        match self.landed.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone().unwrap_or_else(|| Err(ApiError::panicked())),
            Err(_) => Err(ApiError::panicked()),
        }
    }
}

/// Ends a flight for all who wait, also when it is dropped half-way.
#[derive(Debug)]
pub(super) struct Landing {
    flights: Flights,
    key: String,
    sender: Option<Arc<watch::Sender<Landed>>>,
}

impl Landing {
    /// Runs `making` for so long; a panic in it is an error of the flight.
    pub(super) async fn guard(
        &self,
        making: impl Future<Output = Outcome<Made>>,
        time_limit: Duration,
    ) -> Outcome<Made> {
        let mut making = pin!(making);
        let caught =
            poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| making.as_mut().poll(context))) {
                Ok(poll) => poll,
                Err(_) => Poll::Ready(Err(ApiError::panicked())),
            });
        let late = |_| Err(ApiError::new(Code::DeadlineExceeded, "The answer took too long to make."));
        tokio::time::timeout(time_limit, caught).await.unwrap_or_else(late)
    }

    /// Tells all who wait.
    pub(super) fn land(self, outcome: Outcome<Arc<Entry>>) {
        if let Some(sender) = &self.sender {
            sender.send_replace(Some(outcome));
        }
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = |flight: &Flight| {
            self.sender.as_ref().is_some_and(|sender| sender.subscribe().same_channel(&flight.landed))
        };
        // A later flight may have taken the name.
        if flights.get(&self.key).is_some_and(is_ours) {
            flights.remove(&self.key);
        }
    }
}
