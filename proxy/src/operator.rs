//! What an operator decided about single backends: beside the configuration, and kept over restarts.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Whether the operator wants a backend to receive requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Duty {
    /// As the probes and the requests find it.
    #[default]
    Active,
    /// It finishes what it has, and gets nothing new.
    Draining,
    /// The same, and everybody knows that it may be broken meanwhile: it is not probed.
    Maintenance,
}

impl Duty {
    /// Its spelling in logs, metrics and commands.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Maintenance => "maintenance",
        }
    }
}

/// What was decided about one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    #[serde(default)]
    pub(crate) duty: Duty,
    /// Instead of the weight of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weight: Option<u32>,
    /// Why, in the operator's words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) comment: String,
}

impl Order {
    /// What it changes, in words.
    pub(crate) fn since(&self, before: &Self) -> Vec<String> {
        let weight = |order: &Self| order.weight.map_or("configured".to_owned(), |weight| weight.to_string());
        let mut changes = Vec::new();
        if self.duty != before.duty {
            changes.push(format!("~ state: {} -> {}", before.duty.name(), self.duty.name()));
        }
        if self.weight != before.weight {
            changes.push(format!("~ weight: {} -> {}", weight(before), weight(self)));
        }
        changes
    }
}

/// Every order that is in force, by upstream and backend id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Orders(BTreeMap<String, BTreeMap<String, Order>>);

impl Orders {
    /// The order about a backend; without one, it is active at its configured weight.
    pub(crate) fn of(&self, upstream: &str, backend: &str) -> Order {
        self.0.get(upstream).and_then(|orders| orders.get(backend)).cloned().unwrap_or_default()
    }

    /// Gives an order; one that says nothing is taken back.
    pub(crate) fn give(&mut self, upstream: &str, backend: &str, order: Order) {
        let orders = self.0.entry(upstream.to_owned()).or_default();
        if (order.duty, order.weight) == (Duty::Active, None) {
            orders.remove(backend);
        } else {
            orders.insert(backend.to_owned(), order);
        }
        self.0.retain(|_, orders| !orders.is_empty());
    }

    /// Forgets the orders about backends that are gone, so that a new one of the same name starts afresh.
    pub(crate) fn keep(&mut self, exists: impl Fn(&str, &str) -> bool) {
        for (upstream, orders) in &mut self.0 {
            orders.retain(|backend, _| exists(upstream, backend));
        }
        self.0.retain(|_, orders| !orders.is_empty());
    }
}

/// The file that the orders are kept in.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    path: PathBuf,
}

impl Book {
    /// The book in this folder.
    pub(crate) fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join("operator.json") }
    }

    /// The orders that were kept; none when there is no file yet.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or understood: to forget a drain would send requests to a backend that
    /// somebody took out.
    pub(crate) fn read(&self) -> io::Result<Orders> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Orders::default()),
            Err(error) => return Err(error),
        };
        serde_json::from_str(&text).map_err(io::Error::from)
    }

    /// Keeps the orders; a reader finds the old ones or these, never a part.
    pub(crate) fn write(&self, orders: &Orders) -> io::Result<()> {
        let text = serde_json::to_string_pretty(orders)? + "\n";
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        crate::durable::write(&self.path, text.as_bytes())
    }

    /// Where it is, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained() -> Order {
        Order { duty: Duty::Draining, weight: None, comment: "new disk".to_owned() }
    }

    #[test]
    fn orders_are_found_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::new(folder.path());
        assert_eq!(book.read().unwrap(), Orders::default());
        let mut orders = Orders::default();
        orders.give("app", "a", drained());
        book.write(&orders).unwrap();
        assert_eq!(book.read().unwrap().of("app", "a"), drained());
        assert_eq!(book.read().unwrap().of("app", "b"), Order::default());
    }

    #[test]
    fn a_broken_book_is_an_error_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let book = Book::new(folder.path());
        std::fs::write(book.path(), "{\"app\": {").unwrap();
        assert!(book.read().is_err());
    }

    #[test]
    fn an_order_that_says_nothing_is_taken_back_and_orders_end_with_their_backend() {
        let mut orders = Orders::default();
        orders.give("app", "a", drained());
        orders.give("app", "b", Order { weight: Some(3), ..Order::default() });
        orders.give("app", "a", Order::default());
        assert_eq!(orders.of("app", "a"), Order::default());
        orders.keep(|_, backend| backend == "a");
        assert_eq!(orders, Orders::default());
    }
}
