//! Reads the PROXY header, in which a balancer in front says for whom it made a connection.
//!
//! HAProxy's proxy-protocol.txt, versions 1 and 2. Nothing behind the header is read, so that TLS or HTTP can follow.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The longest header of version 1, its line end included (§2.1).
const MOST_LINE: usize = 107;

/// What version 2 begins with (§2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED: usize = 16;

/// The longest header of version 2 that is read: addresses, and vendors' notes that are skipped.
const MOST_BYTES: usize = 4096;

/// Whom a connection is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// This client.
    Client(IpAddr),
    /// The balancer itself, which looks whether we are well, or one that does not know.
    Balancer,
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// It is not one: what to do is to switch the balancer's PROXY protocol on, or ours off.
    Malformed,
    /// The connection ended before it was whole.
    Ended,
}

/// Reads the header, and not one byte behind it.
///
/// # Errors
///
/// [`Broken`]. The connection is then of no use.
pub(crate) async fn read(stream: &mut TcpStream) -> Result<Source, Broken> {
    let (mut read, mut ahead) = (Vec::new(), [0; 256]);
    loop {
        let seen = stream.peek(&mut ahead).await.unwrap_or(0);
        if seen == 0 {
            return Err(Broken::Ended);
        }
        let before = read.len();
        read.extend_from_slice(&ahead[..seen]);
        let decoded = decode(&read)?;
        let take = decoded.map_or(seen, |(len, _)| len - before);
        taken(stream, &mut ahead[..take]).await.map_err(|_| Broken::Ended)?;
        if let Some((_, source)) = decoded {
            return Ok(source);
        }
    }
}

/// Takes what was looked at; it is there.
async fn taken(stream: &mut TcpStream, into: &mut [u8]) -> io::Result<()> {
    stream.read_exact(into).await.map(drop)
}

/// The length of the header that `bytes` begin with and whom it names; `None` when more of it has to come.
///
/// # Errors
///
/// When they cannot begin a header.
pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(usize, Source)>, Broken> {
    let is_second = bytes.starts_with(&SIGNATURE[..bytes.len().min(SIGNATURE.len())]);
    if is_second { binary(bytes) } else { line(bytes) }
}

/// Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443` and a line end.
fn line(bytes: &[u8]) -> Result<Option<(usize, Source)>, Broken> {
    let start = b"PROXY ";
    if !bytes.starts_with(&start[..bytes.len().min(start.len())]) {
        return Err(Broken::Malformed);
    }
    let within = &bytes[..bytes.len().min(MOST_LINE)];
    let Some(end) = memchr::memmem::find(within, b"\r\n") else {
        return if bytes.len() < MOST_LINE { Ok(None) } else { Err(Broken::Malformed) };
    };
    let text = std::str::from_utf8(&bytes[start.len()..end]).map_err(|_| Broken::Malformed)?;
    let words: Vec<&str> = text.split(' ').collect();
    let source = match words[..] {
        ["UNKNOWN", ..] => Source::Balancer,
        ["TCP4", from, to, from_port, to_port] => {
            Source::Client(side::<Ipv4Addr>(from, to, from_port, to_port)?.into())
        }
        ["TCP6", from, to, from_port, to_port] => {
            Source::Client(side::<Ipv6Addr>(from, to, from_port, to_port)?.into())
        }
        _ => return Err(Broken::Malformed),
    };
    Ok(Some((end + 2, source)))
}

/// The address of the client, when all four words are what they have to be.
fn side<A: std::str::FromStr>(from: &str, to: &str, from_port: &str, to_port: &str) -> Result<A, Broken> {
    let is_port = |text: &str| {
        let is_plain =
            text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        is_plain && text.parse::<u16>().is_ok()
    };
    match (from.parse(), to.parse::<A>()) {
        (Ok(from), Ok(_)) if is_port(from_port) && is_port(to_port) => Ok(from),
        _ => Err(Broken::Malformed),
    }
}

/// Version 2.
fn binary(bytes: &[u8]) -> Result<Option<(usize, Source)>, Broken> {
    let Some(fixed) = bytes.get(SIGNATURE.len()..FIXED) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([fixed[2], fixed[3]]));
    let is_local = match fixed[0] {
        0x20 => true,
        0x21 => false,
        _ => return Err(Broken::Malformed),
    };
    // The addresses that a family and transport have (§2.2).
    let most = match fixed[1] {
        0x00 => 0,
        0x11 | 0x12 => 12,
        0x21 | 0x22 => 36,
        0x31 | 0x32 => 216,
        _ => return Err(Broken::Malformed),
    };
    if FIXED + length > MOST_BYTES || (length < most && !is_local) {
        return Err(Broken::Malformed);
    }
    let Some(rest) = bytes.get(FIXED..FIXED + length) else { return Ok(None) };
    let source = match (is_local, fixed[1]) {
        (false, 0x11) => Source::Client(first::<4>(rest)?.into()),
        (false, 0x21) => Source::Client(first::<16>(rest)?.into()),
        // Datagrams do not come here.
        (false, 0x12 | 0x22 | 0x32) => return Err(Broken::Malformed),
        _ => Source::Balancer,
    };
    Ok(Some((FIXED + length, source)))
}

fn first<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Broken> {
    bytes.first_chunk().copied().ok_or(Broken::Malformed)
}

impl Source {
    /// Who is at the other end, where `peer` made the connection.
    pub(crate) fn or(self, peer: SocketAddr) -> IpAddr {
        match self {
            Self::Client(client) => client.to_canonical(),
            Self::Balancer => peer.ip(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(text: &str) -> Source {
        Source::Client(text.parse().unwrap())
    }

    fn second(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, addresses].concat()
    }

    #[test]
    fn both_versions_name_the_client() {
        let v4 = [192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 4, 1, 0xbb];
        let mut v6 = [0; 36];
        (v6[0], v6[1], v6[15]) = (0x20, 0x01, 7);
        let with_note = [&v4[..], &[4, 0, 1, 0]].concat();
        for (bytes, expected) in [
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec(), client("192.0.2.1")),
            (b"PROXY TCP6 2001:db8::1 ::1 1 65535\r\n".to_vec(), client("2001:db8::1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Source::Balancer),
            (b"PROXY UNKNOWN ffff::1 ::1 1 2\r\n".to_vec(), Source::Balancer),
            (second(0x21, 0x11, &v4), client("192.0.2.1")),
            (second(0x21, 0x11, &with_note), client("192.0.2.1")),
            (second(0x21, 0x21, &v6), client("2001::7")),
            (second(0x20, 0x00, &[]), Source::Balancer),
            (second(0x20, 0x11, &v4), Source::Balancer),
            (second(0x21, 0x00, &[]), Source::Balancer),
            (second(0x21, 0x31, &[0; 216]), Source::Balancer),
        ] {
            assert_eq!(decode(&bytes), Ok(Some((bytes.len(), expected))), "{bytes:?}");
            let more = [&bytes[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(decode(&more), Ok(Some((bytes.len(), expected))), "what follows is not looked at");
            for end in 1..bytes.len() {
                assert_eq!(decode(&bytes[..end]), Ok(None), "{:?}", &bytes[..end]);
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_it_cannot_be_one() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        let lines = [
            "GET / HTTP/1.1\r\n",
            "PROXX",
            "proxy TCP4",
            "PROXY TCP4 192.0.2.1 198.51.100.1 1\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1  198.51.100.1 1 2\r\n",
            "PROXY TCP4 2001:db8::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 1 65536\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n",
            "PROXY TCP4 192.0.2.1 198.51.100.1 -1 2\r\n",
            "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
            "PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
            "PROXY \r\n",
            &long,
        ];
        for text in lines {
            assert_eq!(decode(text.as_bytes()), Err(Broken::Malformed), "{text:?}");
        }
        for bytes in [
            second(0x11, 0x11, &[0; 12]),
            second(0x22, 0x11, &[0; 12]),
            second(0x21, 0x11, &[0; 11]),
            second(0x21, 0x21, &[0; 35]),
            second(0x21, 0x12, &[0; 12]),
            second(0x21, 0x41, &[0; 12]),
            second(0x21, 0x11, &[0; MOST_BYTES]),
        ] {
            assert_eq!(decode(&bytes), Err(Broken::Malformed), "{:?}", &bytes[..FIXED]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_the_same_however_they_come(bytes in prop::collection::vec(any::<u8>(), 0..300), begin in 0_usize..4) {
            let begin: &[u8] = [&b""[..], b"PROXY ", b"PROXY TCP4 1.2.3.4 ", &SIGNATURE][begin];
            let bytes = [begin, &bytes[..]].concat();
            let whole = decode(&bytes);
            if let Ok(Some((len, _))) = whole {
                prop_assert!(len <= bytes.len() && len <= MOST_BYTES);
            }
            let first = (1..=bytes.len()).map(|end| decode(&bytes[..end])).find(|seen| *seen != Ok(None));
            prop_assert_eq!(first.unwrap_or(Ok(None)), if bytes.is_empty() { Ok(None) } else { whole });
        }
    }
}
