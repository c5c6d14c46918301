//! A request's body on its way to a backend: counted, framed anew, and kept for another attempt while it is small.

use std::sync::Arc;

use super::chunked::{self, Decoder};
use super::head::BodyLength;
use super::trailers::{self, Trailers};

/// Why a body cannot be forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is larger than the route allows.
    TooLarge,
    /// Its chunks are not chunks.
    Malformed,
}

/// The state of one body over all attempts.
#[derive(Debug)]
pub(crate) struct Upload {
    framing: Framing,
    /// What was read so far, while that is little enough to be sent again.
    replay: Option<Vec<u8>>,
    most_replayed: usize,
    trailers: Option<Trailers>,
    max: Option<u64>,
    /// Bytes of content read from the client.
    pub(crate) read: u64,
    /// Whether it broke off or broke a rule: nothing more of it is read, and it never ends.
    is_dead: bool,
}

#[derive(Debug)]
enum Framing {
    Known { left: u64 },
    Chunked(Decoder),
}

impl Upload {
    /// A body that may be `max` bytes large, and is replayed up to `most_replayed`.
    pub(crate) fn new(length: BodyLength, max: Option<u64>, most_replayed: usize) -> Result<Self, Refused> {
        let framing = match length {
            BodyLength::None => Framing::Known { left: 0 },
            BodyLength::Known(length) if max.is_some_and(|max| length > max) => {
                return Err(Refused::TooLarge);
            }
            BodyLength::Known(left) => Framing::Known { left },
            BodyLength::Chunked => Framing::Chunked(Decoder::default()),
        };
        let replay = Some(Vec::new());
        Ok(Self { framing, replay, most_replayed, trailers: None, max, read: 0, is_dead: false })
    }

    /// Passes on the trailers that a route lists.
    pub(crate) fn with_trailers(mut self, listed: &Arc<[String]>) -> Self {
        if matches!(self.framing, Framing::Chunked(_)) {
            self.trailers = Trailers::wanted(listed);
        }
        self
    }

    /// Whether all of it was read.
    pub(crate) fn is_done(&self) -> bool {
        !self.is_dead
            && match &self.framing {
                Framing::Known { left } => *left == 0,
                Framing::Chunked(decoder) => decoder.is_done(),
            }
    }

    /// Gives the body up: it is neither read nor sent any further, and its connections are not used again.
    pub(crate) fn abandon(&mut self) {
        self.is_dead = true;
    }

    /// Whether there is more of it to read.
    pub(crate) fn is_under_way(&self) -> bool {
        !self.is_dead && !self.is_done()
    }

    /// Whether what was read can be sent again from the start.
    pub(crate) fn is_replayable(&self) -> bool {
        self.replay.is_some()
    }

    /// Takes what belongs to the body from `input` and appends it, framed, to `out`; says how much was taken.
    pub(crate) fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Refused> {
        let before = out.len();
        let used = match &mut self.framing {
            Framing::Known { left } => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= take as u64;
                out.extend_from_slice(&input[..take]);
                self.read += take as u64;
                keep(&mut self.replay, self.most_replayed, &input[..take]);
                take
            }
            Framing::Chunked(decoder) => {
                let (replay, most) = (&mut self.replay, self.most_replayed);
                let was_done = decoder.is_done();
                let mut content = Vec::new();
                let trailers = &mut self.trailers;
                let used = decoder.decode_all(
                    input,
                    |data| content.extend_from_slice(data),
                    |byte| {
                        if let Some(trailers) = trailers {
                            trailers.take(byte);
                        }
                    },
                );
                let Ok(used) = used else {
                    self.is_dead = true;
                    return Err(Refused::Malformed);
                };
                self.read += content.len() as u64;
                keep(replay, most, &content);
                chunked::encode(&content, out);
                if decoder.is_done() && !was_done {
                    trailers::end(self.trailers.as_ref(), out);
                }
                used
            }
        };
        if self.max.is_some_and(|max| self.read > max) {
            out.truncate(before);
            self.is_dead = true;
            return Err(Refused::TooLarge);
        }
        Ok(used)
    }

    /// Appends, framed, what was read before this attempt.
    pub(crate) fn replay(&self, out: &mut Vec<u8>) {
        let kept = self.replay.as_deref().unwrap_or_default();
        match &self.framing {
            Framing::Known { .. } => out.extend_from_slice(kept),
            Framing::Chunked(decoder) => {
                chunked::encode(kept, out);
                if decoder.is_done() {
                    trailers::end(self.trailers.as_ref(), out);
                }
            }
        }
    }
}

/// Keeps a piece for another attempt, or gives up keeping when it becomes too much.
fn keep(replay: &mut Option<Vec<u8>>, most: usize, piece: &[u8]) {
    match replay {
        Some(kept) if kept.len() + piece.len() <= most => kept.extend_from_slice(piece),
        _ => *replay = None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(upload: &mut Upload, pieces: &[&[u8]]) -> Result<Vec<u8>, Refused> {
        let mut out = Vec::new();
        for piece in pieces {
            upload.take(piece, &mut out)?;
        }
        Ok(out)
    }

    #[test]
    fn a_known_length_ends_where_it_says() {
        let mut upload = Upload::new(BodyLength::Known(5), None, 64).unwrap();
        let mut out = Vec::new();
        assert_eq!(upload.take(b"hel", &mut out), Ok(3));
        assert!(!upload.is_done());
        assert_eq!(upload.take(b"loGET /", &mut out), Ok(2));
        assert!(upload.is_done());
        assert_eq!(out, b"hello");
    }

    #[test]
    fn chunks_are_framed_anew_without_extensions_and_trailers() {
        let mut upload = Upload::new(BodyLength::Chunked, None, 64).unwrap();
        let out = sent(&mut upload, &[b"5;x=y\r\nhello\r\n", b"0\r\nX: evil\r\n\r\n"]).unwrap();
        assert_eq!(out, b"5\r\nhello\r\n0\r\n\r\n");
        assert!(upload.is_done());
    }

    #[test]
    fn another_attempt_gets_the_same_content() {
        let mut upload = Upload::new(BodyLength::Chunked, None, 64).unwrap();
        sent(&mut upload, &[b"3\r\nabc\r\n2\r\nde\r\n"]).unwrap();
        let mut out = Vec::new();
        upload.replay(&mut out);
        assert_eq!(out, b"5\r\nabcde\r\n");
        sent(&mut upload, &[b"0\r\n\r\n"]).unwrap();
        out.clear();
        upload.replay(&mut out);
        assert_eq!(out, b"5\r\nabcde\r\n0\r\n\r\n");
    }

    #[test]
    fn a_body_above_the_replay_limit_is_not_kept() {
        let mut upload = Upload::new(BodyLength::Known(9), None, 4).unwrap();
        sent(&mut upload, &[b"1234"]).unwrap();
        assert!(upload.is_replayable());
        sent(&mut upload, &[b"5"]).unwrap();
        assert!(!upload.is_replayable());
    }

    #[test]
    fn a_body_above_the_limit_is_refused_announced_or_not() {
        assert_eq!(Upload::new(BodyLength::Known(6), Some(5), 64).map(|_| ()), Err(Refused::TooLarge));
        let mut upload = Upload::new(BodyLength::Chunked, Some(5), 64).unwrap();
        assert_eq!(sent(&mut upload, &[b"6\r\nabcdef\r\n0\r\n\r\n"]), Err(Refused::TooLarge));
        assert!(!upload.is_done(), "its backend still waits for the end");
    }
}
