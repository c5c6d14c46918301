//! Decides who of several processes tells: the one that leads, or, where nobody can say who does, one after the other.
//!
//! It fails open: a process that cannot reach the others tells what it sees. Twice is better than never.

mod alone;

use std::future::Future;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::history::Sample;
use super::notice::Told;
use super::silence::Silence;
use super::{Alert, Labels, Millis};
pub use alone::{Alone, Peer};

/// What one process saw of its own metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Which process.
    pub instance: String,
    /// When.
    pub at: Millis,
    /// What.
    pub samples: Vec<Sample>,
    /// What it has told while it could not say so.
    #[serde(default)]
    pub told: Vec<Told>,
}

/// Who may tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// This process, until then.
    Leads(Millis),
    /// Another one.
    Follows,
    /// Nobody knows: whoever is so many places behind the first waits so many times, asks, and tells if nobody has.
    InLine(u32),
}

/// What the processes of a fleet know of each other.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// Who may tell.
    pub standing: Standing,
    /// What the others saw, and this one.
    pub snapshots: Vec<Snapshot>,
    /// What was told.
    pub told: Vec<Told>,
    /// What is not to be told.
    pub silences: Vec<Silence>,
}

/// What one process says of itself when another asks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// What fires there.
    pub firing: Vec<Alert>,
    /// What it has told, or knows to be told.
    pub told: Vec<Told>,
}

/// Something that happened, for whoever asks later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Happened {
    /// When.
    pub at: Millis,
    /// `firing`, `resolved`, `told`, `silenced` or `unsilenced`.
    pub what: String,
    /// Which rule.
    pub rule: String,
    /// For which labels.
    #[serde(default)]
    pub labels: Labels,
    /// In words.
    #[serde(default)]
    pub detail: String,
}

/// Why the others could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the other processes could not be reached: {0}")]
pub struct Unreachable(pub String);

/// Something that takes time.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// How the processes that watch the same things meet. Whoever implements it shares a place: a database, a file.
pub trait Fleet: std::fmt::Debug + Send + Sync + 'static {
    /// Says what this process saw, and hears the rest.
    fn meet(&self, mine: Snapshot) -> Pending<'_, Result<Meeting, Unreachable>>;

    /// This process's place in line when nobody can be met.
    fn place(&self) -> u32;

    /// Asks the others directly; whoever does not answer in time has nothing to say.
    fn ask(&self) -> Pending<'_, Vec<Word>>;

    /// Notes what was told, for all.
    fn note(&self, told: Told) -> Pending<'_, Result<(), Unreachable>>;

    /// Adds a silence, for all.
    fn silence(&self, silence: Silence) -> Pending<'_, Result<(), Unreachable>>;

    /// Ends a silence; whether there was one.
    fn unsilence<'a>(&'a self, id: &'a str, now: Millis) -> Pending<'a, Result<bool, Unreachable>>;

    /// The silences that hold.
    fn silences(&self, now: Millis) -> Pending<'_, Result<Vec<Silence>, Unreachable>>;

    /// Keeps something that happened; only whoever tells does.
    fn remember(&self, happened: Happened) -> Pending<'_, Result<(), Unreachable>>;

    /// The last things that happened, the latest first.
    fn history(&self, most: usize) -> Pending<'_, Result<Vec<Happened>, Unreachable>>;
}
