//! What the parts of a process ask of its supervisor: what all processes of the node have counted together.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::Sign;

/// Longer than the supervisor waits for a process that does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The way to the supervisor.
#[derive(Debug)]
pub struct Upward {
    signs: mpsc::Sender<Sign>,
    /// One question at a time: the others wait for theirs.
    turn: tokio::sync::Mutex<()>,
    waiting: Mutex<Option<oneshot::Sender<String>>>,
}

impl Upward {
    /// Over the line that `signs` leads to.
    pub fn new(signs: mpsc::Sender<Sign>) -> Self {
        Self { signs, turn: tokio::sync::Mutex::default(), waiting: Mutex::default() }
    }

    /// What all processes have counted; `None` when the supervisor does not say so in time.
    pub async fn total(&self) -> Option<String> {
        let asked = async {
            let _turn = self.turn.lock().await;
            let (sender, receiver) = oneshot::channel();
            *self.waiting() = Some(sender);
            self.signs.send(Sign::Ask).await.ok()?;
            receiver.await.ok()
        };
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
    }

    /// The answer has come.
    pub fn answered(&self, text: String) {
        if let Some(waiting) = self.waiting().take() {
            // Whoever asked may have left.
            let _ = waiting.send(text);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Option<oneshot::Sender<String>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
