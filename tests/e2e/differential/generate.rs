//! Makes requests, valid, odd and broken, the same ones for the same seed.

/// A small generator of numbers (xorshift), so that a run can be repeated by its seed.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % sides
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.roll(from.len())]
    }

    /// Removes, inserts or replaces one byte.
    pub(crate) fn mutate(&mut self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let at = self.roll(bytes.len());
        let odd = ODD_BYTES[self.roll(ODD_BYTES.len())].iter().copied();
        match self.roll(3) {
            0 => drop(bytes.remove(at)),
            1 => drop(bytes.splice(at..at, odd)),
            _ => drop(bytes.splice(at..=at, odd)),
        }
    }

    /// Mostly the first, sometimes one of the others.
    fn mostly<'a>(&mut self, from: &[&'a str]) -> &'a str {
        if self.roll(4) > 0 { from[0] } else { self.pick(from) }
    }
}

const METHODS: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "PATCH", "QUERY", "M-SEARCH", "get"];
const TARGETS: [&str; 12] = [
    "/c",
    "/c?x=1&y=%20",
    "//c",
    "/c/./d",
    "/c/../d",
    "/%63",
    "/c;d",
    "/c|d",
    "/c\\d",
    "http://a/c",
    "c",
    "/c%zz",
];
const VERSIONS: [&str; 6] = ["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", "HTTP/1.1 "];
const HOSTS: [&str; 8] = [
    "Host: a\r\n",
    "Host: a:80\r\n",
    "",
    "Host: a\r\nHost: a\r\n",
    "Host: a b\r\n",
    "Host:\r\n",
    "Host : a\r\n",
    "Host: a,b\r\n",
];
const FIELDS: [&str; 12] = [
    "",
    "X: y\r\n",
    "X:y\r\n",
    "X:\r\n",
    "X_Y: z\r\n",
    "X: y\r\n z\r\n",
    "X : y\r\n",
    "X: y\n",
    ": y\r\n",
    "X Y: z\r\n",
    "TE: trailers\r\n",
    "X: \x01\r\n",
];
const FRAMINGS: [&str; 20] = [
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Content-Length: 5\r\nContent-Length: 5\r\n",
    "Content-Length: 5\r\nContent-Length: 6\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length: +5\r\n",
    "Content-Length: 05\r\n",
    "Content-Length: 0x5\r\n",
    "Content-Length:5 \r\n",
    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding: Chunked\r\n",
    "Transfer-Encoding: chunked, chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked,\r\n",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding:\tchunked\r\n",
    "Transfer-Encoding: xchunked\r\n",
    "Transfer_Encoding: chunked\r\n",
];
const CHUNKS: [&str; 12] = [
    "5\r\nhello\r\n0\r\n\r\n",
    "5;a=b\r\nhello\r\n0\r\n\r\n",
    "05\r\nhello\r\n0\r\nX: y\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "5\nhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello0\r\n\r\n",
    "5\r\nhello\r\n0\r\n\n",
    "5\t;a\r\nhello\r\n0\r\n\r\n",
    "5;\"\r\n\"\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
];
const ODD_BYTES: [&[u8]; 12] =
    [b"\r", b"\n", b" ", b"\t", b"\0", b":", b",", b";", b"\x0b", b"\x7f", b"\xff", b"\r\n"];

/// One request, followed by a plain one that closes the connection, so that whoever loses count is found out.
pub(crate) fn request(dice: &mut Dice) -> Vec<u8> {
    let has_body = dice.roll(2) == 0;
    let method = if has_body { "POST" } else { dice.mostly(&METHODS) };
    let (target, version) = (dice.mostly(&TARGETS), dice.mostly(&VERSIONS));
    let (host, field) = (dice.mostly(&HOSTS), dice.mostly(&FIELDS));
    let (framing, body) = match has_body {
        false => ("", ""),
        true => {
            let framing = if dice.roll(2) == 0 { dice.pick(&FRAMINGS[..2]) } else { dice.pick(&FRAMINGS) };
            let is_chunked = framing.to_lowercase().contains("chunked");
            (framing, if is_chunked { dice.mostly(&CHUNKS) } else { "hello" })
        }
    };
    let mut bytes = format!("{method} {target} {version}\r\n{host}{field}{framing}\r\n{body}").into_bytes();
    for _ in 0..dice.roll(12).saturating_sub(9) {
        dice.mutate(&mut bytes);
    }
    bytes.extend_from_slice(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    bytes
}
