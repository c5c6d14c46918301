//! Compresses an answer piece by piece, in bounded memory.

use std::fmt;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::config::policy::Coding;

/// Levels that cost little more than sending would: about nginx's 5, and what brotli and zstd call fast.
const GZIP_LEVEL: u32 = 5;
const BROTLI_QUALITY: u32 = 4;
const ZSTD_LEVEL: i32 = 3;

/// Windows of 256 KiB and less bound what one answer holds.
const BROTLI_WINDOW: u32 = 18;
const ZSTD_WINDOW: u32 = 18;
const BROTLI_BUFFER: usize = 4096;

/// One answer on its way through a coding.
pub(crate) struct Encoder {
    coder: Coder,
    /// Whether something went in that may not have come out.
    is_dirty: bool,
}

enum Coder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// An encoder for one answer.
    pub(crate) fn new(coding: Coding) -> io::Result<Self> {
        let coder = match coding {
            Coding::Gzip => Coder::Gzip(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL))),
            Coding::Brotli => Coder::Brotli(Box::new(brotli::CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER,
                BROTLI_QUALITY,
                BROTLI_WINDOW,
            ))),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(ZSTD_WINDOW)?;
                Coder::Zstd(encoder)
            }
        };
        Ok(Self { coder, is_dirty: false })
    }

    /// Takes a piece, and hands out what is ready; that may be nothing yet.
    pub(crate) fn write(&mut self, piece: &[u8]) -> io::Result<Vec<u8>> {
        self.is_dirty |= !piece.is_empty();
        match &mut self.coder {
            Coder::Gzip(coder) => coder.write_all(piece)?,
            Coder::Brotli(coder) => coder.write_all(piece)?,
            Coder::Zstd(coder) => coder.write_all(piece)?,
        }
        Ok(self.ready())
    }

    /// Hands out everything that went in so far, so that a client can read it now.
    pub(crate) fn flush(&mut self) -> io::Result<Vec<u8>> {
        if std::mem::take(&mut self.is_dirty) {
            match &mut self.coder {
                Coder::Gzip(coder) => coder.flush()?,
                Coder::Brotli(coder) => coder.flush()?,
                Coder::Zstd(coder) => coder.flush()?,
            }
        }
        Ok(self.ready())
    }

    /// Hands out the rest.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self.coder {
            Coder::Gzip(coder) => coder.finish(),
            Coder::Brotli(coder) => Ok(coder.into_inner()),
            Coder::Zstd(coder) => coder.finish(),
        }
    }

    fn ready(&mut self) -> Vec<u8> {
        match &mut self.coder {
            Coder::Gzip(coder) => std::mem::take(coder.get_mut()),
            Coder::Brotli(coder) => {
                let out = coder.get_mut();
                std::mem::take(out)
            }
            Coder::Zstd(coder) => std::mem::take(coder.get_mut()),
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let coding = match self.coder {
            Coder::Gzip(_) => "gzip",
            Coder::Brotli(_) => "br",
            Coder::Zstd(_) => "zstd",
        };
        f.debug_tuple("Encoder").field(&coding).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use proptest::prelude::*;

    use super::*;

    const ALL: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

    /// Decodes what there is of a stream; whether it has an end is not asked.
    fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let _ = match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
            Coding::Zstd => zstd::stream::read::Decoder::new(bytes).unwrap().read_to_end(&mut out),
        };
        out
    }

    #[test]
    fn what_was_flushed_can_be_read_before_the_end() {
        for coding in ALL {
            let mut encoder = Encoder::new(coding).unwrap();
            let mut out = encoder.write(b"data: one\n\n").unwrap();
            out.extend(encoder.flush().unwrap());
            assert_eq!(decoded(coding, &out), b"data: one\n\n", "{coding:?}");
            assert!(encoder.flush().unwrap().is_empty(), "{coding:?}: nothing new, nothing sent");
        }
    }

    proptest! {
        #[test]
        fn any_content_in_any_pieces_comes_back(
            content in prop::collection::vec(any::<u8>(), 0..5000),
            pieces in 1_usize..2000,
            flushes: bool,
        ) {
            for coding in ALL {
                let mut encoder = Encoder::new(coding).unwrap();
                let mut out = Vec::new();
                for piece in content.chunks(pieces) {
                    out.extend(encoder.write(piece).unwrap());
                    if flushes {
                        out.extend(encoder.flush().unwrap());
                    }
                }
                out.extend(encoder.finish().unwrap());
                prop_assert_eq!(decoded(coding, &out), content.clone());
            }
        }
    }
}
