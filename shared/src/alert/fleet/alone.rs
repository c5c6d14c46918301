//! A fleet without a place in common: every process keeps a file of its own, and asks its peers before it tells.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::{Fleet, Happened, Meeting, Pending, Silence, Snapshot, Standing, Told, Unreachable, Word};
use crate::alert::channel::Post;
use crate::alert::silence;
use crate::alert::{Millis, now};
use crate::config::secret::Secret;

/// Things that happened that are kept.
const MOST_HAPPENED: usize = 500;

/// A process that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it says what it has told.
    pub url: String,
    /// What it lets us in with; empty: nothing.
    pub token: Secret,
}

/// One process, with a file and peers.
#[derive(Debug)]
pub struct Alone {
    path: Option<PathBuf>,
    kept: Mutex<Kept>,
    /// One write at a time.
    writing: tokio::sync::Mutex<()>,
    peers: Vec<Peer>,
    place: u32,
    post: Option<Post>,
}

/// What outlives the process.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Kept {
    told: Vec<Told>,
    silences: Vec<Silence>,
    happened: VecDeque<Happened>,
}

impl Alone {
    /// Keeps what it knows at `path`, where there is one. A file that cannot be read is begun anew, loudly: alerts are
    /// told rather once more than never.
    pub fn open(path: Option<PathBuf>, peers: Vec<Peer>, place: u32) -> Self {
        let kept = path.as_deref().map(read).unwrap_or_default();
        let post = if peers.is_empty() { None } else { Post::new().ok() };
        Self { path, kept: Mutex::new(kept), writing: tokio::sync::Mutex::default(), peers, place, post }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn change(&self, change: impl FnOnce(&mut Kept)) -> Result<(), Unreachable> {
        let text = {
            let mut kept = self.kept();
            change(&mut kept);
            serde_json::to_string(&*kept).unwrap_or_default()
        };
        let Some(path) = self.path.clone() else { return Ok(()) };
        let _one = self.writing.lock().await;
        let written = tokio::task::spawn_blocking(move || write(&path, &text)).await;
        let failed = |error: String| Unreachable(format!("the file of alerts could not be written: {error}"));
        written.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }
}

fn read(path: &Path) -> Kept {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Kept::default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "file of alerts could not be read and is begun anew");
            return Kept::default();
        }
    };
    serde_json::from_str(&text).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "file of alerts is not readable and is begun anew");
        Kept::default()
    })
}

/// As a whole or not at all.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::rename(beside, path)
}

impl Fleet for Alone {
    fn meet(&self, mine: Snapshot) -> Pending<'_, Result<Meeting, Unreachable>> {
        Box::pin(async move {
            for told in mine.told.clone() {
                self.note(told).await?;
            }
            let kept = self.kept();
            let standing = if self.peers.is_empty() {
                Standing::Leads(Millis::MAX)
            } else {
                Standing::InLine(self.place)
            };
            let silences = kept.silences.iter().filter(|silence| silence.until > mine.at).cloned().collect();
            Ok(Meeting { standing, told: kept.told.clone(), silences, snapshots: vec![mine] })
        })
    }

    fn place(&self) -> u32 {
        self.place
    }

    fn ask(&self) -> Pending<'_, Vec<Word>> {
        Box::pin(async move {
            let Some(post) = &self.post else { return Vec::new() };
            let mut words = Vec::new();
            for peer in &self.peers {
                let mut headers = Vec::new();
                if !peer.token.is_empty() {
                    headers.push(("authorization", format!("Bearer {}", peer.token.expose())));
                }
                match post.get(&peer.url, &headers).await {
                    Ok(text) => match serde_json::from_str(&text) {
                        Ok(word) => words.push(word),
                        Err(error) => {
                            tracing::warn!(peer = peer.url, %error, "peer does not speak of alerts")
                        }
                    },
                    Err(error) => {
                        tracing::warn!(peer = peer.url, error, "peer could not be asked for alerts")
                    }
                }
            }
            words
        })
    }

    fn note(&self, told: Told) -> Pending<'_, Result<(), Unreachable>> {
        Box::pin(self.change(move |kept| {
            kept.told.retain(|known| known.channel != told.channel || known.group != told.group);
            kept.told.push(told);
        }))
    }

    fn silence(&self, silence: Silence) -> Pending<'_, Result<(), Unreachable>> {
        Box::pin(self.change(move |kept| {
            kept.silences.retain(|known| known.until > silence.from);
            if kept.silences.len() < silence::MOST {
                kept.silences.push(silence);
            }
        }))
    }

    fn unsilence<'a>(&'a self, id: &'a str, _: Millis) -> Pending<'a, Result<bool, Unreachable>> {
        Box::pin(async move {
            let was_there = self.kept().silences.iter().any(|silence| silence.id == id);
            self.change(|kept| kept.silences.retain(|silence| silence.id != id)).await?;
            Ok(was_there)
        })
    }

    fn silences(&self, now: Millis) -> Pending<'_, Result<Vec<Silence>, Unreachable>> {
        let silences = self.kept().silences.iter().filter(|silence| silence.until > now).cloned().collect();
        Box::pin(std::future::ready(Ok(silences)))
    }

    fn remember(&self, happened: Happened) -> Pending<'_, Result<(), Unreachable>> {
        Box::pin(self.change(move |kept| {
            kept.happened.push_front(happened);
            kept.happened.truncate(MOST_HAPPENED);
            let now = now();
            kept.silences.retain(|silence| silence.until > now);
        }))
    }

    fn history(&self, most: usize) -> Pending<'_, Result<Vec<Happened>, Unreachable>> {
        let happened = self.kept().happened.iter().take(most).cloned().collect();
        Box::pin(std::future::ready(Ok(happened)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(group: &str, at: Millis) -> Told {
        Told { channel: "slack".into(), group: group.into(), alerts: vec![], at }
    }

    #[tokio::test]
    async fn what_was_told_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/alerts.json");
        let open = || Alone::open(Some(path.clone()), vec![], 0);
        open().note(told("A", 1)).await.unwrap();
        let second = open();
        second.note(told("A", 2)).await.unwrap();
        second.note(told("B", 3)).await.unwrap();
        let meeting = open().meet(Snapshot::default()).await.unwrap();
        assert_eq!(meeting.told, [told("A", 2), told("B", 3)]);
        assert_eq!(meeting.standing, Standing::Leads(Millis::MAX));
        std::fs::write(&path, "not JSON").unwrap();
        assert!(open().meet(Snapshot::default()).await.unwrap().told.is_empty(), "it begins anew");
    }

    #[tokio::test]
    async fn with_peers_everybody_has_a_place_in_line() {
        let peer = Peer { url: "http://127.0.0.1:1/".into(), token: Secret::default() };
        let alone = Alone::open(None, vec![peer], 2);
        assert_eq!(alone.meet(Snapshot::default()).await.unwrap().standing, Standing::InLine(2));
        assert_eq!(alone.ask().await, [], "a peer that does not answer has nothing to say");
    }
}
