//! Decides what a job is: something to be done later, written in the transaction of what made it necessary.
//!
//! The database is the truth. A job is a row; a worker *takes* it for the time of a *lease* and says what came of it.
//! What it says is believed only with the attempt and the owner that the row still has (the *fence*): a worker that
//! was asleep for longer than its lease changes nothing any more. Notices between processes only make things quicker.
//!
//! | a job is | and then | it becomes |
//! | --- | --- | --- |
//! | waiting | its moment has come and a worker takes it | running |
//! | running | it succeeds | done |
//! | running | it fails | waiting, later each time; buried after its last try or when it cannot succeed |
//! | running | its worker stops in order, or the job puts itself off | waiting; that is no failure |
//! | running | its lease ends without a word | waiting; buried when that happens again and again |
//! | buried, done, discarded | somebody asks for it | waiting, with all its tries |
//! | waiting, running, buried | somebody discards it | discarded |

pub mod decide;
pub mod enqueue;
pub mod leader;
pub mod look;
pub mod rate;
pub mod settle;
pub mod steer;
pub mod sweep;
pub mod take;
pub mod worker;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::cause::Cause;
use crate::db::{self, Db, Writer};
use crate::moment::Moment;

/// The table of jobs.
const TABLE: &str = "jobs";
/// The channel on which a database server tells of new jobs.
const CHANNEL: &str = "cirque_queue";

/// The queues, the most urgent first: of two jobs that wait, the one in the earlier queue is taken first, unless the
/// other has waited for long (see [`rate::order`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// What readers of the site notice.
    Default,
    /// Mail.
    Mail,
    /// Calls of others' servers.
    Webhooks,
}

impl Queue {
    /// Every queue.
    pub const ALL: [Self; 3] = [Self::Default, Self::Mail, Self::Webhooks];

    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Mail => "mail",
            Self::Webhooks => "webhooks",
        }
    }

    /// The queue of this name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.word() == word)
    }
}

/// What holds for all jobs of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// What it is called: in rows, in metrics, in commands. Never changed once jobs of it were written.
    pub name: &'static str,
    /// Where its jobs wait.
    pub queue: Queue,
    /// How often it may fail before it is buried, at least 1.
    pub tries: u32,
    /// How long one try may take.
    pub time: Duration,
    /// About how long to wait after the first failure; it doubles with each one.
    pub first_wait: Duration,
    /// The longest wait between two tries.
    pub longest_wait: Duration,
}

/// How often a job may lose its process before it is taken for the reason and buried.
pub const LOSSES: i64 = 3;

/// Where a job is in its life; the table above says how it gets there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// For its moment, or for a worker.
    Waiting,
    /// A worker has it.
    Running,
    /// It succeeded.
    Done,
    /// It is not tried again by itself; a person should look.
    Buried,
    /// Somebody did not want it any more.
    Discarded,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Running, Self::Done, Self::Buried, Self::Discarded];

    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Done => "done",
            Self::Buried => "buried",
            Self::Discarded => "discarded",
        }
    }

    /// The state of this name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

/// What a worker must show for its word to be believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fence {
    /// The job.
    pub id: i64,
    /// How often it had been taken, this time included.
    pub attempt: i64,
    /// The process, by a name that no other process ever has.
    pub owner: Arc<str>,
}

/// A job in the hands of a worker.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Which job, which attempt.
    pub fence: Fence,
    /// The name of its kind.
    pub kind: String,
    /// Where it waited.
    pub queue: Queue,
    /// The event it was written for.
    pub event: Option<String>,
    /// What it is about, as JSON.
    pub payload: String,
    /// How often it failed before.
    pub failures: i64,
    /// When it was written.
    pub created_at: Moment,
    /// Why it was written; what follows from it is written for the same reason.
    pub cause: Cause,
    /// Ends when the job was taken away: nothing it still does is believed.
    pub cancelled: CancellationToken,
}

impl Delivery {
    /// Begins a transaction in which the job is done: what is written in it lasts together with that, or not at all.
    /// The job then answers with [`Done::Settled`].
    ///
    /// # Errors
    ///
    /// [`Failed`] when the job was taken away; those of the database.
    pub async fn complete<'d>(&self, db: &'d Db, now: Moment) -> Result<Writer<'d>, Failed> {
        let mut writer = db.write().await?;
        if settle::done(&mut writer, std::slice::from_ref(&self.fence), now).await? == 0 {
            return Err(Failed::now("another worker has taken the job meanwhile"));
        }
        Ok(writer)
    }
}

impl Delivery {
    /// In the transaction of [`Delivery::complete`]: the job is not over, and goes on at once with another payload.
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn go_on_with(
        &self,
        writer: &mut Writer<'_>,
        payload: &str,
        now: Moment,
    ) -> Result<(), Failed> {
        Ok(settle::go_on(writer, &self.fence, payload, now).await?)
    }
}

/// How a job succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is to be noted.
    Finished,
    /// It was noted in the job's own transaction, see [`Delivery::complete`].
    Settled,
    /// Not now: again at this moment. No failure.
    PutOff {
        /// When.
        until: Moment,
        /// What it is about from then on, where that changes.
        payload: Option<String>,
    },
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// For the operator, without secrets.
    pub message: String,
    /// It cannot succeed, however often it is tried.
    pub is_final: bool,
    /// Whoever refused it said when to come back.
    pub wait: Option<Duration>,
}

impl Failed {
    /// A failure that may be over soon.
    pub fn now(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_final: false, wait: None }
    }

    /// A failure for good.
    pub fn for_good(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_final: true, wait: None }
    }
}

impl From<db::Error> for Failed {
    fn from(error: db::Error) -> Self {
        Self::now(cirque_shared::report::chain(&error))
    }
}

/// The doing of a job.
pub type Work = Pin<Box<dyn Future<Output = Result<Done, Failed>> + Send>>;

/// What a worker can do.
pub trait Handlers: Send + Sync + 'static {
    /// The kind of this name; `None` for one that this version does not know.
    fn kind(&self, name: &str) -> Option<&'static Kind>;

    /// Does a job of a known kind.
    fn run(&self, delivery: Delivery) -> Work;
}

/// Tells the workers that there may be something to do: those of this process, and whoever carries it to others. Cheap
/// to clone.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<Ropes>);

#[derive(Debug, Default)]
struct Ropes {
    here: Notify,
    beyond: Notify,
}

impl Bell {
    /// To be rung after the transaction that wrote a job.
    pub fn ring(&self) {
        self.0.here.notify_one();
        self.0.beyond.notify_one();
    }

    /// To be rung when another process did.
    pub fn echo(&self) {
        self.0.here.notify_one();
    }

    async fn heard(&self) {
        self.0.here.notified().await;
    }

    /// Waits until it was rung here; once for any number of times.
    pub async fn to_be_told(&self) {
        self.0.beyond.notified().await;
    }
}
