//! A mail server on loopback that takes every letter and shows what was in it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::eventually::eventually;
use crate::ports;
use crate::sync::{Gate, lock};

/// One letter as it came.
#[derive(Debug, Clone, Default)]
pub struct Letter {
    pub from: String,
    pub to: Vec<String>,
    /// Head and body, lines ended by `\n`.
    pub text: String,
    /// What the client signed in with, in base64; empty without.
    pub credentials: String,
}

impl Letter {
    /// The value of a header, unfolded.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.text.split("\n\n").next().unwrap_or_default().replace("\n ", " ");
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }
}

/// A mail server.
#[derive(Debug)]
pub struct Letterbox {
    address: SocketAddr,
    letters: Arc<Mutex<Vec<Letter>>>,
    refusal: Arc<Mutex<Option<String>>>,
    stopped: Arc<Gate>,
    acceptor: Option<JoinHandle<()>>,
}

impl Letterbox {
    pub fn open() -> Letterbox {
        let address = ports::address();
        let listener = TcpListener::bind(address).expect("the port was free a moment ago");
        let letters = Arc::new(Mutex::new(Vec::new()));
        let refusal = Arc::new(Mutex::new(None));
        let stopped = Arc::new(Gate::default());
        let acceptor = {
            let (letters, refusal, stopped) =
                (Arc::clone(&letters), Arc::clone(&refusal), Arc::clone(&stopped));
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stopped.is_raised() {
                        return;
                    }
                    let (letters, refusal) = (Arc::clone(&letters), Arc::clone(&refusal));
                    std::thread::spawn(move || {
                        // A client that leaves in the middle has sent no letter.
                        let _ = serve(&stream, &letters, &refusal);
                    });
                }
            })
        };
        Letterbox { address, letters, refusal, stopped, acceptor: Some(acceptor) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn letters(&self) -> Vec<Letter> {
        lock(&self.letters).clone()
    }

    /// From now on letters are answered so, like `451 later`; an empty text takes them again.
    pub fn refuse(&self, answer: &str) {
        *lock(&self.refusal) = (!answer.is_empty()).then(|| answer.to_owned());
    }

    /// Waits until at least `n` letters have come.
    #[track_caller]
    pub fn wait_for(&self, n: usize) -> Vec<Letter> {
        eventually(
            &format!("{n} letters"),
            Duration::from_secs(15),
            || self.letters(),
            |seen| seen.len() >= n,
        )
    }
}

impl Drop for Letterbox {
    fn drop(&mut self) {
        self.stopped.raise();
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_secs(5));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

fn serve(
    stream: &TcpStream,
    letters: &Mutex<Vec<Letter>>,
    refusal: &Mutex<Option<String>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream).lines();
    let mut letter = Letter::default();
    out.write_all(b"220 letterbox\r\n")?;
    while let Some(line) = lines.next() {
        let line = line?;
        let upper = line.to_ascii_uppercase();
        if upper.starts_with("EHLO") {
            out.write_all(b"250-letterbox\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n")?;
        } else if let Some(credentials) = line.strip_prefix("AUTH PLAIN ") {
            credentials.clone_into(&mut letter.credentials);
            out.write_all(b"235 welcome\r\n")?;
        } else if upper.starts_with("MAIL FROM:") {
            letter.from = address(&line);
            out.write_all(b"250 ok\r\n")?;
        } else if upper.starts_with("RCPT TO:") {
            letter.to.push(address(&line));
            out.write_all(b"250 ok\r\n")?;
        } else if upper == "DATA" {
            out.write_all(b"354 go on\r\n")?;
            letter.text.clear();
            for line in lines.by_ref() {
                let line = line?;
                if line == "." {
                    break;
                }
                letter.text += line.strip_prefix('.').unwrap_or(&line);
                letter.text.push('\n');
            }
            let refused = lock(refusal).clone();
            match refused {
                Some(answer) => out.write_all(format!("{answer}\r\n").as_bytes())?,
                None => {
                    lock(letters).push(std::mem::take(&mut letter));
                    out.write_all(b"250 taken\r\n")?;
                }
            }
        } else if upper == "QUIT" {
            out.write_all(b"221 bye\r\n")?;
            return Ok(());
        } else {
            out.write_all(b"250 ok\r\n")?;
        }
    }
    Ok(())
}

fn address(line: &str) -> String {
    let inner = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(String::new, |(address, _)| address.to_owned())
}
