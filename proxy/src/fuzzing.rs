//! Opens the parsers of [`crate::http1`] to the fuzz targets in `fuzz/`, and to nobody else.

use crate::config::Config;
use crate::http1::{answer, chunked, head};

/// Reads a request's head from bytes that come at once and from bytes that come one by one: both must agree.
pub fn request_head(bytes: &[u8]) {
    let whole = head::EndFinder::default().find(bytes);
    let mut finder = head::EndFinder::default();
    let mut by_bytes = Ok(None);
    for end in 1..=bytes.len() {
        by_bytes = finder.find(&bytes[..end]);
        if by_bytes != Ok(None) {
            break;
        }
    }
    assert_eq!(whole, by_bytes, "the end of a head depends on how it came");
    let Ok(Some(end)) = whole else { return };
    if let Ok(request) = head::parse(&bytes[..end]) {
        assert_eq!(request.len, end);
        assert!(request.target.end <= request.fields && request.host.end <= end);
        assert!(!bytes[..end].contains(&0), "a zero byte passed");
    }
}

/// Reads the head of an answer.
pub fn response_head(bytes: &[u8]) {
    for is_to_head in [false, true] {
        if let Ok(Some(answer)) = answer::parse(bytes, &mut head::EndFinder::default(), is_to_head) {
            assert!(answer.len <= bytes.len() && answer.fields <= answer.len);
        }
    }
}

/// Decodes a chunked body at once and byte by byte: both must agree, and what is decoded is encoded and decoded back.
pub fn chunked(bytes: &[u8]) {
    let decode = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut decoder, mut content) = (chunked::Decoder::default(), Vec::new());
        let mut used = 0;
        for piece in pieces {
            used += decoder.decode(piece, |data| content.extend_from_slice(data))?;
            if decoder.is_done() {
                break;
            }
        }
        Ok::<_, chunked::NotChunked>((content, used, decoder.is_done()))
    };
    let whole = decode(&mut std::iter::once(bytes));
    assert_eq!(whole, decode(&mut bytes.chunks(1)), "a body depends on how it came");
    let Ok((content, _, true)) = whole else { return };
    let mut again = Vec::new();
    chunked::encode(&content, &mut again);
    again.extend_from_slice(chunked::END);
    assert_eq!(decode(&mut std::iter::once(&again[..])).map(|(back, ..)| back), Ok(content));
}

/// Reads a configuration: it is either taken or refused with reasons, and the same way each time.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // Names are looked up while reading, and the fuzzer is to stay on this machine: whatever stands in quotes and
    // could be a name with a port must be an address.
    let mut quoted = text.split(['\'', '"']).filter(|word| !word.contains('\n'));
    if quoted
        .any(|word| word.contains(':') && word.ends_with(|c: char| c.is_ascii_digit()) && !is_address(word))
    {
        return;
    }
    let read = || Config::from_text("fuzz.toml", text).map(drop).map_err(|invalid| invalid.to_string());
    let (first, second) = (read(), read());
    assert_eq!(first, second, "a file is read in two ways");
    if let Err(reasons) = first {
        assert!(!reasons.trim().is_empty(), "a file is refused without a reason");
    }
}

fn is_address(word: &str) -> bool {
    word.parse::<std::net::SocketAddr>().is_ok()
}
