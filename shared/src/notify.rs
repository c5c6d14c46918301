//! Tells the service manager how the process is doing, in the words of systemd's sd_notify(3).
//!
//! Without `NOTIFY_SOCKET` in the environment nobody listens, and nothing is said. A manager that does not take a word
//! within a second misses it: telling is never worth an answer to a client.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Names the manager's socket: a path, or `@` and an abstract name.
pub const SOCKET: &str = "NOTIFY_SOCKET";
/// How long the manager waits for a sign of life, in microseconds.
pub const WATCHDOG: &str = "WATCHDOG_USEC";
/// Whose signs of life it waits for. A process that takes another's place is started without it.
pub const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// How long the manager may take to take a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Requests are answered, or jobs done, from now on; also after a reload.
    Ready,
    /// As [`Word::Ready`], by a process that took the place of the one that was started.
    ReadyInstead,
    /// The configuration is being read again; [`Word::Ready`] follows, whatever came of it.
    Reloading,
    /// The process was told to stop.
    Stopping,
    /// The process lives.
    Alive,
}

/// Tells the manager, where there is one.
pub fn tell(word: Word) {
    let Some(name) = std::env::var_os(SOCKET).filter(|name| !name.is_empty()) else { return };
    if let Err(error) = send(name.as_bytes(), &text(word, std::process::id())) {
        tracing::warn!(%error, ?word, "the service manager could not be told");
    }
}

fn text(word: Word, pid: u32) -> String {
    match word {
        Word::Ready => "READY=1\nSTATUS=serving".to_owned(),
        Word::ReadyInstead => format!("MAINPID={pid}\nREADY=1\nSTATUS=serving"),
        Word::Reloading => "RELOADING=1\nSTATUS=reading the configuration again".to_owned(),
        Word::Stopping => "STOPPING=1\nSTATUS=finishing what is in flight".to_owned(),
        Word::Alive => "WATCHDOG=1".to_owned(),
    }
}

fn send(name: &[u8], text: &str) -> io::Result<()> {
    let address = match name {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to_addr(text.as_bytes(), &address).map(drop)
}

/// Shows signs of life, twice in the time that the manager waits for one; where it does not, this only waits.
///
/// Run it on the runtime that does the work: when that hangs, the signs end and the manager restarts the process.
pub async fn stay_alive() {
    let variable = |name| std::env::var(name).ok();
    let Some(every) = watchdog(variable(WATCHDOG), variable(WATCHDOG_PID), std::process::id()) else {
        return std::future::pending().await;
    };
    loop {
        tell(Word::Alive);
        tokio::time::sleep(every).await;
    }
}

/// How often to show a sign of life.
fn watchdog(microseconds: Option<String>, pid: Option<String>, own: u32) -> Option<Duration> {
    let is_meant = pid.is_none_or(|pid| pid.parse() == Ok(own));
    let waits: u64 = microseconds?.parse().ok().filter(|waits| *waits > 0)?;
    is_meant.then(|| Duration::from_micros(waits) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_arrives_at_a_path_and_at_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let at_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("cirque-test-{}", std::process::id());
        let abstract_name = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let at_name = UnixDatagram::bind_addr(&abstract_name).unwrap();
        for (socket, name) in [(at_path, path.to_str().unwrap().to_owned()), (at_name, format!("@{name}"))] {
            send(name.as_bytes(), &text(Word::ReadyInstead, 7)).unwrap();
            let mut bytes = [0; 100];
            let length = socket.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"MAINPID=7\nREADY=1\nSTATUS=serving");
        }
        assert!(send(b"/nowhere/at-all", "READY=1").is_err());
    }

    #[test]
    fn signs_of_life_are_shown_twice_as_often_as_the_manager_wants_and_only_by_whom_it_means() {
        let text = |text: &str| Some(text.to_owned());
        let second = Some(Duration::from_secs(1));
        for (microseconds, pid, expected) in [
            (text("2000000"), None, second),
            (text("2000000"), text("7"), second),
            (text("2000000"), text("8"), None),
            (text("0"), None, None),
            (text("soon"), None, None),
            (None, text("7"), None),
        ] {
            assert_eq!(watchdog(microseconds.clone(), pid.clone(), 7), expected, "{microseconds:?} {pid:?}");
        }
    }
}
