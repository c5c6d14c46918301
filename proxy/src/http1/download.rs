//! An answer's body on its way to the client: where it ends, and how that end is shown.

use super::answer::BodyLength;
use std::sync::Arc;

use super::chunked::{self, Decoder};
use super::trailers::{self, Trailers};
use crate::compress::encoder::Encoder;

/// How an answer's body is shown to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// As it came: a known length, or nothing at all.
    AsIs,
    /// In chunks.
    Chunked,
    /// By closing the connection: HTTP/1.0.
    UntilClose,
}

/// The answer's framing was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// The state of one body.
#[derive(Debug)]
pub(crate) struct Download {
    source: Source,
    pub(crate) shown: Shown,
    trailers: Option<Trailers>,
    /// Bytes of content forwarded.
    pub(crate) sent: u64,
    coder: Option<Box<Encoder>>,
}

#[derive(Debug)]
enum Source {
    Known { left: u64 },
    Chunked(Decoder),
    UntilClose { ended: bool },
}

impl Download {
    /// A body of this length for a client that understands chunks, or does not (HTTP/1.0).
    pub(crate) fn new(length: BodyLength, is_http10: bool) -> Self {
        let in_pieces = if is_http10 { Shown::UntilClose } else { Shown::Chunked };
        let (source, shown) = match length {
            BodyLength::None => (Source::Known { left: 0 }, Shown::AsIs),
            BodyLength::Known(left) => (Source::Known { left }, Shown::AsIs),
            BodyLength::Chunked => (Source::Chunked(Decoder::default()), in_pieces),
            BodyLength::UntilClose => (Source::UntilClose { ended: false }, in_pieces),
        };
        Self { source, shown, trailers: None, sent: 0, coder: None }
    }

    /// Passes on the trailers that a route lists, where the client gets chunks.
    pub(crate) fn with_trailers(mut self, listed: &Arc<[String]>) -> Self {
        if self.shown == Shown::Chunked {
            self.trailers = Trailers::wanted(listed);
        }
        self
    }

    /// From now on what is read is compressed. To be called before anything is, and where there is a body.
    pub(crate) fn compress(&mut self, coder: Encoder, is_http10: bool) {
        self.shown = if is_http10 { Shown::UntilClose } else { Shown::Chunked };
        self.coder = Some(Box::new(coder));
        if let Some(trailers) = &mut self.trailers {
            trailers.content_changes();
        }
    }

    /// Appends what is held back of a body that is compressed; says whether that was anything.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) -> Result<bool, Broken> {
        let Some(coder) = &mut self.coder else { return Ok(false) };
        let ready = coder.flush().map_err(|_| Broken)?;
        self.sent += ready.len() as u64;
        append(&ready, self.shown, out);
        Ok(!ready.is_empty())
    }

    /// Whether all of it was read.
    pub(crate) fn is_done(&self) -> bool {
        match &self.source {
            Source::Known { left } => *left == 0,
            Source::Chunked(decoder) => decoder.is_done(),
            Source::UntilClose { ended } => *ended,
        }
    }

    /// Takes what belongs to the body from `input` and appends it, framed, to `out`; says how much was taken.
    pub(crate) fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Broken> {
        if self.coder.is_some() {
            return self.take_coded(input, out);
        }
        let shown = self.shown;
        match &mut self.source {
            Source::Known { left } => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= take as u64;
                self.sent += take as u64;
                out.extend_from_slice(&input[..take]);
                Ok(take)
            }
            Source::UntilClose { .. } => {
                self.sent += input.len() as u64;
                append(input, shown, out);
                Ok(input.len())
            }
            Source::Chunked(decoder) => {
                let was_done = decoder.is_done();
                let mut sent = 0;
                let trailers = &mut self.trailers;
                let data = |data: &[u8]| {
                    sent += data.len() as u64;
                    append(data, shown, out);
                };
                let used = decoder.decode_all(input, data, |byte| {
                    if let Some(trailers) = trailers {
                        trailers.take(byte);
                    }
                });
                self.sent += sent;
                if decoder.is_done() && !was_done && shown == Shown::Chunked {
                    trailers::end(self.trailers.as_ref(), out);
                }
                used.map_err(|_| Broken)
            }
        }
    }

    /// As [`Self::take`], through the coder.
    fn take_coded(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Broken> {
        let Some(coder) = &mut self.coder else { return Ok(0) };
        let mut ready = Vec::new();
        let used = match &mut self.source {
            Source::Known { left } => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= take as u64;
                ready = coder.write(&input[..take]).map_err(|_| Broken)?;
                take
            }
            Source::UntilClose { .. } => {
                ready = coder.write(input).map_err(|_| Broken)?;
                input.len()
            }
            Source::Chunked(decoder) => {
                let mut coded = Ok(());
                let trailers = &mut self.trailers;
                let data = |data: &[u8]| match coder.write(data) {
                    Ok(more) => ready.extend_from_slice(&more),
                    Err(error) => coded = Err(error),
                };
                let used = decoder.decode_all(input, data, |byte| {
                    if let Some(trailers) = trailers {
                        trailers.take(byte);
                    }
                });
                coded.map_err(|_| Broken)?;
                used.map_err(|_| Broken)?
            }
        };
        self.sent += ready.len() as u64;
        append(&ready, self.shown, out);
        if self.is_done() {
            self.finish(out)?;
        }
        Ok(used)
    }

    /// Appends the end of a body that was compressed.
    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        let Some(coder) = self.coder.take() else { return Ok(()) };
        let rest = coder.finish().map_err(|_| Broken)?;
        self.sent += rest.len() as u64;
        append(&rest, self.shown, out);
        if self.shown == Shown::Chunked {
            trailers::end(self.trailers.as_ref(), out);
        }
        Ok(())
    }

    /// The backend closed the connection: the end for some bodies, a break for the others.
    pub(crate) fn end_of_input(&mut self, out: &mut Vec<u8>) -> Result<(), Broken> {
        let Source::UntilClose { ended } = &mut self.source else { return Err(Broken) };
        if !std::mem::replace(ended, true) {
            if self.coder.is_some() {
                return self.finish(out);
            }
            if self.shown == Shown::Chunked {
                out.extend_from_slice(chunked::END);
            }
        }
        Ok(())
    }
}

fn append(data: &[u8], shown: Shown, out: &mut Vec<u8>) {
    match shown {
        Shown::Chunked => chunked::encode(data, out),
        Shown::AsIs | Shown::UntilClose => out.extend_from_slice(data),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forwarded(
        length: BodyLength,
        is_http10: bool,
        pieces: &[&[u8]],
        closes: bool,
    ) -> Result<Vec<u8>, Broken> {
        let mut download = Download::new(length, is_http10);
        let mut out = Vec::new();
        for piece in pieces {
            download.take(piece, &mut out)?;
        }
        if closes {
            download.end_of_input(&mut out)?;
        }
        assert!(download.is_done());
        Ok(out)
    }

    #[test]
    fn each_framing_is_shown_as_the_client_understands_it() {
        let chunks: &[&[u8]] = &[b"3\r\nabc\r\n0\r\n\r\n"];
        assert_eq!(forwarded(BodyLength::Chunked, false, chunks, false).unwrap(), b"3\r\nabc\r\n0\r\n\r\n");
        assert_eq!(forwarded(BodyLength::Chunked, true, chunks, false).unwrap(), b"abc");
        assert_eq!(
            forwarded(BodyLength::UntilClose, false, &[b"abc"], true).unwrap(),
            b"3\r\nabc\r\n0\r\n\r\n"
        );
        assert_eq!(forwarded(BodyLength::UntilClose, true, &[b"abc"], true).unwrap(), b"abc");
        assert_eq!(forwarded(BodyLength::Known(3), false, &[b"abc"], false).unwrap(), b"abc");
    }

    #[test]
    fn a_body_that_is_compressed_keeps_its_trailers_however_it_comes() {
        use crate::config::policy::Coding;
        use std::io::Read as _;
        let listed: Arc<[String]> = ["server-timing", "repr-digest"].map(str::to_owned).into();
        let input = b"5\r\nhello\r\n0\r\nServer-Timing: db\r\nRepr-Digest: of=plain\r\nX-Other: 1\r\n\r\n";
        for size in 1..input.len() {
            let mut download = Download::new(BodyLength::Chunked, false).with_trailers(&listed);
            download.compress(Encoder::new(Coding::Gzip).unwrap(), false);
            let mut out = Vec::new();
            for piece in input.chunks(size) {
                download.take(piece, &mut out).unwrap();
            }
            assert!(download.is_done());
            let text = String::from_utf8_lossy(&out).into_owned();
            // What speaks of the plain bytes would be wrong of these.
            assert!(text.ends_with("\r\n0\r\nServer-Timing: db\r\n\r\n"), "{size}: {text}");
            let (mut coded, mut plain) = (Vec::new(), String::new());
            Decoder::default().decode(&out, |data| coded.extend_from_slice(data)).unwrap();
            flate2::read::GzDecoder::new(&coded[..]).read_to_string(&mut plain).unwrap();
            assert_eq!(plain, "hello", "{size}");
        }
    }

    #[test]
    fn a_connection_that_ends_too_early_is_a_broken_answer() {
        let mut download = Download::new(BodyLength::Known(5), false);
        download.take(b"abc", &mut Vec::new()).unwrap();
        assert_eq!(download.end_of_input(&mut Vec::new()), Err(Broken));
        let mut download = Download::new(BodyLength::Chunked, false);
        download.take(b"3\r\nabc\r\n", &mut Vec::new()).unwrap();
        assert_eq!(download.end_of_input(&mut Vec::new()), Err(Broken));
    }

    proptest! {
        #[test]
        fn relay_of_in_is_in_for_every_framing_and_any_pieces(
            content in prop::collection::vec(any::<u8>(), 0..200),
            cuts in prop::collection::vec(0_usize..200, 0..6),
            is_http10: bool,
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(content.len())).collect();
            cuts.extend([0, content.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &content[pair[0]..pair[1]]).collect();
            for length in [BodyLength::Known(content.len() as u64), BodyLength::UntilClose] {
                let out = forwarded(length, is_http10, &pieces, length == BodyLength::UntilClose).unwrap();
                let is_chunked = Download::new(length, is_http10).shown == Shown::Chunked;
                let mut seen = Vec::new();
                if is_chunked {
                    Decoder::default().decode(&out, |data| seen.extend_from_slice(data)).unwrap();
                } else {
                    seen = out;
                }
                prop_assert_eq!(&seen, &content);
            }
        }
    }
}
