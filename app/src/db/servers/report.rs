//! Decides what people are told of the servers: which one takes writes, which replicas are not read from, and why.

use std::sync::PoisonError;

use super::standing::Reason;
use super::{Server, Servers};

/// How the servers stand, for people.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Who takes writes, if anybody does.
    pub primary: Option<String>,
    /// The replicas.
    pub replicas: Vec<Replica>,
}

/// How a replica stands, for people.
#[derive(Clone, Debug, Default)]
pub struct Replica {
    /// `host:port`.
    pub name: String,
    /// Why it is not read from; `None` when it is.
    pub reason: Option<&'static str>,
    /// What was wrong with it at the last look, and what to do; empty when nothing was.
    pub trouble: String,
}

impl Servers {
    /// Who is the primary, and the replicas with why they are not read from.
    pub(in crate::db) fn report(&self) -> Report {
        let primary = *self.0.primary.borrow();
        let servers = self.0.servers.iter().enumerate();
        let replicas = servers.filter(|(index, server)| server.is_read && Some(*index) != primary);
        Report {
            primary: primary.map(|server| self.0.servers[server].name.clone()),
            replicas: replicas.map(|(_, server)| server.report()).collect(),
        }
    }
}

impl Server {
    fn report(&self) -> Replica {
        let reason = self.now().standing.reason();
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        Replica { name: self.name.clone(), reason: reason.map(Reason::word), trouble: trouble.clone() }
    }
}
