//! The addresses that the edge listens on: bound before anything starts, or taken over from the edge before it.
//!
//! A copy of each is kept for the edge that comes after this one. It is closed when this one stops: a socket that
//! nobody accepts from would let clients wait for nothing.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;

use crate::config::{AdminAddress, Config};
use crate::durable;

/// What the admin interface is called among the sockets.
const ADMIN: &str = "admin";

/// The listening sockets of this process.
#[derive(Debug, Default)]
pub(crate) struct Sockets(Mutex<Vec<Named>>);

/// A socket and the address that it is for.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) socket: OwnedFd,
}

/// Where the admin interface listens.
#[derive(Debug)]
pub(crate) enum AdminSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Sockets {
    /// Everything that a configuration listens on: what was inherited under the same address, the rest anew.
    ///
    /// # Errors
    ///
    /// When somebody else listens there, or the system refuses.
    pub(crate) fn open(config: &Config, mut inherited: Vec<Named>) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        let mut take = |name: &str| {
            let at = inherited.iter().position(|socket| socket.name == name)?;
            Some(inherited.swap_remove(at))
        };
        for listener in &config.listeners {
            let name = listener.address.to_string();
            let socket = match take(&name) {
                Some(socket) => socket,
                None => {
                    let bound =
                        bind(listener.address).with_context(|| format!("listener `{}`", listener.name))?;
                    Named { name, socket: bound.into() }
                }
            };
            sockets.push(socket);
        }
        let name = format!("{ADMIN}:{}", config.admin);
        let admin = match take(&name) {
            Some(socket) => socket,
            None => Named { name, socket: bind_admin(&config.admin).context("admin interface")? },
        };
        sockets.push(admin);
        Ok(Self(Mutex::new(sockets)))
    }

    /// A copy of the socket that listens on this address; `None` when none does.
    pub(crate) fn listener(&self, address: SocketAddr) -> io::Result<Option<TcpListener>> {
        let name = address.to_string();
        let sockets = self.lock();
        let Some(named) = sockets.iter().find(|socket| socket.name == name) else { return Ok(None) };
        let listener = TcpListener::from(named.socket.try_clone()?);
        prepare(&listener)?;
        Ok(Some(listener))
    }

    /// Keeps the listeners of these addresses with those that were opened, and lets go of all others.
    pub(crate) fn replace(&self, addresses: &[SocketAddr], opened: Vec<(SocketAddr, TcpListener)>) {
        let names: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let mut sockets = self.lock();
        sockets.retain(|socket| socket.name.starts_with(ADMIN) || names.contains(&socket.name));
        let named = |(address, socket): (SocketAddr, TcpListener)| Named {
            name: address.to_string(),
            socket: socket.into(),
        };
        sockets.extend(opened.into_iter().map(named));
    }

    /// A copy for the admin interface.
    pub(crate) fn admin(&self, address: &AdminAddress) -> io::Result<AdminSocket> {
        let sockets = self.lock();
        let found = sockets.iter().find(|socket| socket.name.starts_with(ADMIN));
        let socket = found.ok_or(io::ErrorKind::NotFound)?.socket.try_clone()?;
        Ok(match address {
            AdminAddress::Tcp(_) => {
                let listener = TcpListener::from(socket);
                listener.set_nonblocking(true)?;
                AdminSocket::Tcp(listener)
            }
            AdminAddress::Unix(_) => {
                let listener = UnixListener::from(socket);
                listener.set_nonblocking(true)?;
                AdminSocket::Unix(listener)
            }
        })
    }

    /// Copies for the edge that comes after this one.
    pub(crate) fn copies(&self) -> io::Result<Vec<Named>> {
        let copy = |named: &Named| Ok(Named { name: named.name.clone(), socket: named.socket.try_clone()? });
        self.lock().iter().map(copy).collect()
    }

    /// Lets go of them; what was handed out is not affected.
    pub(crate) fn close(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Named>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens on an address that nobody listens on yet; [`Sockets::replace`] takes it in.
pub(crate) fn open(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = bind(address)?;
    prepare(&listener)?;
    Ok(listener)
}

/// Makes a socket ready to be accepted from.
fn prepare(listener: &TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    // What is accepted inherits it (tcp(7)), so that no connection pays for a call of its own: small answers must not
    // wait for an acknowledgement.
    Ok(rustix::net::sockopt::set_tcp_nodelay(listener, true)?)
}

fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).with_context(|| format!("could not listen on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn bind_admin(address: &AdminAddress) -> anyhow::Result<OwnedFd> {
    match address {
        AdminAddress::Tcp(address) => Ok(bind(*address)?.into()),
        AdminAddress::Unix(path) => {
            let listener = durable::listen(path);
            Ok(listener.with_context(|| format!("could not listen on unix:{}", path.display()))?.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listener: SocketAddr, admin: SocketAddr) -> Config {
        let text = format!(
            "server.admin = '{admin}'\n[[listeners]]\nname = 'l'\naddress = '{listener}'\n\
             [[routes]]\nname = 'r'\nupstream = 'u'\n\
             [[upstreams.u.backends]]\nid = 'a'\naddress = '127.0.0.1:1'\n"
        );
        Config::from_text("test", &text).unwrap()
    }

    fn free() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    #[test]
    fn what_is_accepted_sends_without_delay() {
        let (listener, admin) = (free(), free());
        let sockets = Sockets::open(&config(listener, admin), Vec::new()).unwrap();
        let accepting = sockets.listener(listener).unwrap().unwrap();
        let _client = std::net::TcpStream::connect(listener).unwrap();
        // Non-blocking, but the connection is there: on loopback it is accepted before connect returns.
        let (accepted, _) = accepting.accept().unwrap();
        assert!(accepted.nodelay().unwrap());
    }

    #[test]
    fn what_was_inherited_is_used_and_the_rest_is_bound() {
        let (listener, admin, other) = (free(), free(), free());
        let first = Sockets::open(&config(listener, admin), Vec::new()).unwrap();
        assert!(Sockets::open(&config(listener, other), Vec::new()).is_err(), "the address is taken");
        let second = Sockets::open(&config(listener, other), first.copies().unwrap()).unwrap();
        first.close();
        assert!(std::net::TcpStream::connect(listener).is_ok(), "it lives on in the second");
        assert!(std::net::TcpStream::connect(admin).is_err(), "what nobody took over is closed");
        second.close();
        assert!(std::net::TcpStream::connect(listener).is_err());
    }
}
