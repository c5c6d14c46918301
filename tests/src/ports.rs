//! Decides which loopback ports a test may use, so that no two tests, in this process or another, are given the same one.
//!
//! A port is held by an exclusive lock on a file named after it, until this process ends. The range lies below the
//! kernel's ephemeral ports, so that no outgoing connection of anybody takes a port between hand-out and bind.

use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Mutex;

use rustix::fs::{FlockOperation, flock};

use crate::sync::lock;

const FIRST: u16 = 12_000;
const LAST: u16 = 31_999;

struct Held {
    next: Option<u16>,
    locks: Vec<File>,
}

static HELD: Mutex<Held> = Mutex::new(Held { next: None, locks: Vec::new() });

/// A free port on 127.0.0.1 that nobody else is given.
pub fn free() -> u16 {
    consecutive(1)
}

/// A free address on 127.0.0.1 that nobody else is given.
pub fn address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free()))
}

/// The first of `n` free ports in a row.
pub fn consecutive(n: u16) -> u16 {
    let mut held = lock(&HELD);
    let span = LAST - FIRST - n;
    for _ in 0..span {
        let first = candidate(&mut held, n, span);
        let taken: Vec<File> = (first..first + n).map_while(take).collect();
        if taken.len() == usize::from(n) {
            held.locks.extend(taken);
            return first;
        }
    }
    panic!("no {n} free loopback ports in a row between {FIRST} and {LAST}");
}

/// Walks the range from a place that depends on the process, so that parallel test processes seldom meet.
fn candidate(held: &mut Held, n: u16, span: u16) -> u16 {
    let start = u16::try_from(std::process::id().wrapping_mul(61) % u32::from(span)).unwrap_or(0);
    let offset = held.next.unwrap_or(start);
    held.next = Some((offset + n) % span);
    FIRST + offset
}

fn take(port: u16) -> Option<File> {
    let folder = folder();
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join(port.to_string()))
        .ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    Some(file)
}

fn folder() -> PathBuf {
    let user = rustix::process::getuid().as_raw();
    let folder = std::env::temp_dir().join(format!("cirque-test-ports-{user}"));
    fs::create_dir_all(&folder).expect("the temporary directory is writable");
    folder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_handed_out_once_and_can_be_bound() {
        let ports: std::collections::BTreeSet<u16> = (0..50).map(|_| free()).collect();
        assert_eq!(ports.len(), 50);
        for port in ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        }
    }

    #[test]
    fn a_row_of_ports_is_free_and_not_handed_out_again() {
        let first = consecutive(4);
        for port in first..first + 4 {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
            assert!(take(port).is_none(), "port {port} is still held");
        }
    }

    #[test]
    fn a_port_in_use_is_passed_over() {
        let port = free();
        let _in_use = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        lock(&HELD).next = Some(port - FIRST);
        assert_ne!(free(), port);
    }
}
