//! The addresses that are accepted on, and the door at each: a change opens, alters and closes them all or not at all.
//!
//! What a change leaves as it is keeps its socket, its TLS and its connections. Connections end with the door that
//! they came through, whatever stands there later.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::config::Listener;
use crate::door::{Door, Standing};
use crate::metrics::Metrics;
use crate::sockets::{self, Sockets};

/// All entrances at work.
#[derive(Debug)]
pub(crate) struct Entrances {
    sockets: Arc<Sockets>,
    metrics: Metrics,
    at_work: watch::Sender<Arc<[Arc<Entrance>]>>,
}

/// One address, and what stands there.
#[derive(Debug)]
pub(crate) struct Entrance {
    address: SocketAddr,
    door: ArcSwap<Door>,
    pub(crate) standing: Standing,
    /// Until somebody accepts from it.
    socket: Mutex<Option<TcpListener>>,
}

/// A change that can be made: everything that may fail has been done.
#[derive(Debug)]
pub(crate) struct Prepared {
    entrances: Vec<(Arc<Entrance>, Arc<Door>)>,
    opened: Vec<(SocketAddr, TcpListener)>,
}

impl Entrances {
    /// Opens what a configuration names; the sockets are bound.
    ///
    /// # Errors
    ///
    /// When a certificate cannot be used or a socket cannot be copied.
    pub(crate) fn open(
        listeners: &[Listener],
        sockets: Arc<Sockets>,
        metrics: &Metrics,
    ) -> anyhow::Result<Self> {
        let this = Self { sockets, metrics: metrics.clone(), at_work: watch::Sender::default() };
        let prepared = this.prepare(listeners)?;
        this.commit(prepared);
        Ok(this)
    }

    /// Does whatever may fail of a change: binds what is new, reads certificates. Nothing is different afterwards.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// When an address cannot be listened on or a certificate cannot be used.
    pub(crate) fn prepare(&self, listeners: &[Listener]) -> anyhow::Result<Prepared> {
        self.try_prepare(listeners).inspect_err(|_| self.forget(listeners))
    }

    fn try_prepare(&self, listeners: &[Listener]) -> anyhow::Result<Prepared> {
        let at_work = Arc::clone(&self.at_work.borrow());
        let mut prepared = Prepared { entrances: Vec::new(), opened: Vec::new() };
        for listener in listeners {
            let called = || format!("listener `{}`", listener.name);
            let entrance = at_work.iter().find(|entrance| entrance.address == listener.address);
            let before = entrance.map(|entrance| entrance.door.load_full());
            let standing = entrance.map(|entrance| entrance.standing.clone()).unwrap_or_default();
            let door = match &before {
                Some(before) if before.config == *listener => Arc::clone(before),
                _ => {
                    let door = Door::new(listener, standing.clone(), &self.metrics, before.as_deref());
                    Arc::new(door.with_context(called)?)
                }
            };
            let entrance = match entrance {
                Some(entrance) => Arc::clone(entrance),
                None => {
                    let socket = match self.sockets.listener(listener.address).with_context(called)? {
                        Some(bound) => bound,
                        None => {
                            let bound = sockets::open(listener.address).with_context(called)?;
                            let ours = bound.try_clone().with_context(called)?;
                            prepared.opened.push((listener.address, bound));
                            ours
                        }
                    };
                    Arc::new(Entrance {
                        address: listener.address,
                        door: ArcSwap::new(Arc::clone(&door)),
                        standing,
                        socket: Mutex::new(Some(socket)),
                    })
                }
            };
            prepared.entrances.push((entrance, door));
        }
        Ok(prepared)
    }

    /// Makes a change. Only one at a time is prepared and made.
    pub(crate) fn commit(&self, prepared: Prepared) {
        let at_work = Arc::clone(&self.at_work.borrow());
        let before: Vec<Listener> = self.doors().iter().map(|door| door.config.clone()).collect();
        for (entrance, door) in &prepared.entrances {
            entrance.door.store(Arc::clone(door));
        }
        let after: Arc<[Arc<Entrance>]> =
            prepared.entrances.iter().map(|(entrance, _)| Arc::clone(entrance)).collect();
        let addresses: Vec<SocketAddr> = after.iter().map(|entrance| entrance.address).collect();
        self.sockets.replace(&addresses, prepared.opened);
        self.at_work.send_replace(after);
        for gone in at_work.iter().filter(|gone| !addresses.contains(&gone.address)) {
            tracing::info!(address = %gone.address, "listener is closed, its connections come to their end");
            gone.standing.close();
        }
        self.forget(&before);
    }

    /// Ends the series of those among these listeners, and of their certificates, that are not at work.
    pub(crate) fn forget(&self, listeners: &[Listener]) {
        let doors = self.doors();
        let client = &self.metrics.client;
        for gone in listeners {
            let Some(door) = doors.iter().find(|door| door.config.name == gone.name) else {
                client.retire_listener(&gone.name);
                continue;
            };
            let certificates = gone.tls.iter().flat_map(|tls| &tls.certificates);
            for files in certificates.filter(|files| !door.certificates().contains(files)) {
                client.certificate_expiry.remove(&[&gone.name, &files.cert.display().to_string()]);
            }
        }
    }

    /// Those at work now, and rings at each change of them.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<[Arc<Entrance>]>> {
        self.at_work.subscribe()
    }

    /// The doors that new connections come through now.
    pub(crate) fn doors(&self) -> Vec<Arc<Door>> {
        self.at_work.borrow().iter().map(|entrance| entrance.door()).collect()
    }

    /// Nothing is accepted any more: the edge stops.
    pub(crate) fn close(&self) {
        self.at_work.borrow().iter().for_each(|entrance| entrance.standing.close());
    }
}

impl Entrance {
    /// What stands here now.
    pub(crate) fn door(&self) -> Arc<Door> {
        self.door.load_full()
    }

    /// The socket, for whoever asks first.
    pub(crate) fn take_socket(&self) -> Option<TcpListener> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use cirque_shared::metrics::Registry;

    use super::*;
    use crate::config::policy::Protocols;

    fn free() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    fn listener(name: &str, address: SocketAddr) -> Listener {
        Listener { name: name.to_owned(), address, ..Listener::plain(Protocols { http1: true, http2: true }) }
    }

    fn open(listeners: &[Listener]) -> (Registry, Entrances) {
        let registry = Registry::new();
        let metrics = Metrics::new(&registry);
        let entrances = Entrances::open(listeners, Arc::default(), &metrics).unwrap();
        (registry, entrances)
    }

    fn change(entrances: &Entrances, listeners: &[Listener]) -> anyhow::Result<()> {
        entrances.commit(entrances.prepare(listeners)?);
        Ok(())
    }

    #[test]
    fn a_change_that_cannot_be_made_whole_leaves_everything_as_it_was() {
        let (here, new, taken) = (free(), free(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (registry, entrances) = open(&[listener("a", here)]);
        let wanted = [listener("b", new), listener("c", taken.local_addr().unwrap())];
        let why = format!("{:#}", change(&entrances, &wanted).unwrap_err());
        assert!(why.starts_with("listener `c`: could not listen on 127.0.0.1:"), "{why}");
        assert!(TcpStream::connect(here).is_ok() && TcpStream::connect(new).is_err());
        assert_eq!(entrances.doors()[0].config.name, "a");
        assert!(!entrances.doors()[0].is_closed());
        let text = registry.text();
        assert!(text.contains("listener=\"a\"") && !text.contains("listener=\"b\""), "{text}");
    }

    #[test]
    fn what_stays_keeps_its_door_and_what_goes_is_closed_with_its_series() {
        let (first, second, third) = (free(), free(), free());
        let (registry, entrances) = open(&[listener("a", first), listener("b", second)]);
        let before = entrances.doors();
        change(&entrances, &[listener("a", first), listener("c", third)]).unwrap();
        let after = entrances.doors();
        assert!(Arc::ptr_eq(&before[0], &after[0]));
        assert!(before[1].is_closed() && !after[1].is_closed());
        assert!(TcpStream::connect(third).is_ok());
        let text = registry.text();
        assert!(text.contains("listener=\"c\"") && !text.contains("listener=\"b\""), "{text}");
        // Its socket is closed as soon as nobody accepts from it.
        let gone = entrances.changes();
        drop((before, gone));
        assert!(TcpStream::connect(second).is_err());
    }

    #[test]
    fn a_listener_that_is_altered_keeps_its_socket_and_the_connections_of_before_their_door() {
        let here = free();
        let (_registry, entrances) = open(&[listener("a", here)]);
        let before = entrances.doors();
        change(&entrances, &[Listener { https_redirect: 443, ..listener("a", here) }]).unwrap();
        let after = entrances.doors();
        assert_eq!((before[0].config.https_redirect, after[0].config.https_redirect), (0, 443));
        assert!(!before[0].is_closed(), "they go on");
        entrances.close();
        assert!(before[0].is_closed() && after[0].is_closed(), "a stop is for all");
    }
}
