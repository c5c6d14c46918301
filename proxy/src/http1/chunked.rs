//! Decodes chunked bodies strictly (RFC 9112 §7.1), whatever pieces they arrive in.
//!
//! Extensions are read within bounds and dropped, and so are trailers that nobody listed: forwarding them would be
//! a way past every other check.

/// Bytes of extensions and trailers that a body may have beyond its own size: they cost us, and are dropped.
const MOST_EXTRA: u64 = 4096;

/// A chunked body is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotChunked;

/// Where in the coding the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a size; how many there were.
    Size {
        digits: u8,
    },
    /// Behind the digits, in extensions.
    Extension,
    /// Behind the CR of a size line.
    SizeEnd,
    /// In a chunk's data.
    Data,
    /// Behind a chunk's data: its CR.
    DataCr,
    /// And its LF.
    DataLf,
    /// At the start of a trailer line.
    TrailerStart,
    /// In a trailer line.
    Trailer,
    /// Behind the CR of a trailer line.
    TrailerLf,
    /// Behind the CR of the last, empty line.
    EndLf,
    Done,
}

/// The state of one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder {
    state: State,
    /// What is left of the chunk, or the size read so far.
    left: u64,
    /// Bytes of extensions and trailers so far.
    extra: u64,
    /// Bytes of content so far.
    content: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Size { digits: 0 }, left: 0, extra: 0, content: 0 }
    }
}

impl Decoder {
    /// Whether the last chunk and its trailers were read.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Decodes as much of `input` as belongs to the body, handing each piece of data to `data`.
    ///
    /// Returns how many bytes were used: all of them, unless the body ended.
    pub(crate) fn decode(&mut self, input: &[u8], data: impl FnMut(&[u8])) -> Result<usize, NotChunked> {
        self.decode_all(input, data, |_| {})
    }

    /// The same, handing each byte of the trailer lines to `trailer`; the empty line after them is not.
    pub(crate) fn decode_all(
        &mut self,
        input: &[u8],
        mut data: impl FnMut(&[u8]),
        mut trailer: impl FnMut(u8),
    ) -> Result<usize, NotChunked> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let rest = &input[at..];
                let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
                data(&rest[..take]);
                self.left -= take as u64;
                self.content += take as u64;
                at += take;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                continue;
            }
            let (before, byte) = (self.state, input[at]);
            self.step(byte)?;
            match (before, byte) {
                (State::TrailerStart, b'\r') => {}
                (State::TrailerStart | State::Trailer | State::TrailerLf, byte) => trailer(byte),
                _ => {}
            }
            at += 1;
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<(), NotChunked> {
        self.state = match (self.state, byte) {
            (State::Size { digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < 16 => {
                let digit = char::from(byte).to_digit(16).ok_or(NotChunked)?;
                self.left = self.left << 4 | u64::from(digit);
                State::Size { digits: digits + 1 }
            }
            (State::Size { digits: 1.. }, b';') => State::Extension,
            (State::Size { digits: 1.. } | State::Extension, b'\r') => State::SizeEnd,
            (State::Extension, byte) if byte == b'\t' || !byte.is_ascii_control() => {
                self.one_more(State::Extension)?
            }
            (State::SizeEnd, b'\n') if self.left == 0 => State::TrailerStart,
            (State::SizeEnd, b'\n') => State::Data,
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { digits: 0 },
            (State::TrailerStart, b'\r') => State::EndLf,
            (State::TrailerStart, b' ' | b'\t') => return Err(NotChunked),
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerStart | State::Trailer, byte) if byte == b'\t' || !byte.is_ascii_control() => {
                self.one_more(State::Trailer)?
            }
            (State::TrailerLf, b'\n') => State::TrailerStart,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(NotChunked),
        };
        Ok(())
    }

    fn one_more(&mut self, state: State) -> Result<State, NotChunked> {
        self.extra += 1;
        if self.extra > MOST_EXTRA + self.content { Err(NotChunked) } else { Ok(state) }
    }
}

/// Appends one chunk of this data; nothing for no data, which would end the body.
pub(crate) fn encode(data: &[u8], out: &mut Vec<u8>) {
    use std::io::Write as _;
    if data.is_empty() {
        return;
    }
    // Writing to memory cannot fail.
    let _ = write!(out, "{:x}\r\n", data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// What ends a chunked body.
pub(crate) const END: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(input: &[u8]) -> Result<(Vec<u8>, usize, bool), NotChunked> {
        let mut decoder = Decoder::default();
        let mut out = Vec::new();
        let used = decoder.decode(input, |data| out.extend_from_slice(data))?;
        Ok((out, used, decoder.is_done()))
    }

    #[test]
    fn chunks_extensions_and_trailers_are_read() {
        for (input, expected) in [
            ("5\r\nhello\r\n0\r\n\r\n", "hello"),
            ("5;name=value\r\nhello\r\n0;last\r\n\r\n", "hello"),
            ("1\r\na\r\nA\r\n0123456789\r\n0\r\nX: y\r\nZ: w\r\n\r\n", "a0123456789"),
            ("000005\r\nhello\r\n0\r\n\r\n", "hello"),
            ("0\r\n\r\n", ""),
        ] {
            assert_eq!(decoded(input.as_bytes()), Ok((expected.into(), input.len(), true)), "{input:?}");
        }
    }

    #[test]
    fn what_follows_the_body_is_left_alone() {
        let input = b"1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n";
        assert_eq!(decoded(input), Ok((b"a".to_vec(), 11, true)));
    }

    #[test]
    fn other_readings_of_a_chunk_are_refused() {
        for input in [
            "5\nhello\r\n0\r\n\r\n",
            "\r\n",
            ";x\r\n",
            "-1\r\n",
            "+5\r\nhello\r\n",
            "0x5\r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5 \r\nhello\r\n",
            "5\r\nhelloX\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "5\rhello\r\n",
            "10000000000000000\r\n",
            "0\r\n\n",
            "0\r\nX: y\n\r\n",
            "0\r\n folded\r\n\r\n",
            "5;a\nb\r\nhello\r\n",
            "5;\0\r\nhello\r\n",
        ] {
            assert_eq!(decoded(input.as_bytes()), Err(NotChunked), "{input:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        assert_eq!(decoded(format!("5;{}\r\n", "x".repeat(4097)).as_bytes()), Err(NotChunked));
        let trailers = "X: y\r\n".repeat(1025);
        assert_eq!(decoded(format!("0\r\n{trailers}\r\n").as_bytes()), Err(NotChunked));
    }

    proptest! {
        #[test]
        fn any_body_in_any_pieces_comes_back(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in prop::collection::vec(0_usize..400, 0..8),
        ) {
            let mut wire = Vec::new();
            chunks.iter().for_each(|chunk| encode(chunk, &mut wire));
            wire.extend_from_slice(END);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(wire.len())).collect();
            cuts.extend([0, wire.len()]);
            cuts.sort_unstable();
            let (mut decoder, mut out) = (Decoder::default(), Vec::new());
            for pair in cuts.windows(2) {
                let used = decoder.decode(&wire[pair[0]..pair[1]], |data| out.extend_from_slice(data)).unwrap();
                prop_assert_eq!(used, pair[1] - pair[0]);
            }
            prop_assert!(decoder.is_done());
            prop_assert_eq!(out, chunks.concat());
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decoded(&bytes);
        }
    }
}
