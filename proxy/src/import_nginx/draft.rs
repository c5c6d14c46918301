//! What the edge's configuration is to say, gathered while nginx's is read, and its text.

use super::values::quoted;
use super::{Problem, read::Directive};

/// Keys with their values in TOML, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keys(Vec<(String, String)>);

/// The whole configuration.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) server: Keys,
    pub(super) log: Keys,
    pub(super) access_log: Keys,
    pub(super) trusted: Vec<String>,
    pub(super) client: Keys,
    pub(super) listeners: Vec<Place>,
    pub(super) rate_limits: Vec<(String, Keys)>,
    pub(super) routes: Vec<Route>,
    pub(super) upstreams: Vec<Upstream>,
    pub(super) problems: Vec<Problem>,
}

/// A listener.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) address: String,
    pub(super) keys: Keys,
    pub(super) certificates: Vec<String>,
    pub(super) tls: Keys,
    /// The port that all its servers send clients to with https, and do nothing else.
    pub(super) redirect: Option<u16>,
}

/// A route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) hosts: Vec<String>,
    pub(super) path: String,
    pub(super) keys: Keys,
}

/// A pool.
#[derive(Debug, Default)]
pub(super) struct Upstream {
    pub(super) name: String,
    pub(super) keys: Keys,
    pub(super) backends: Vec<Keys>,
}

impl Keys {
    /// Sets a key; the value that it had, when that is another.
    pub(super) fn put(&mut self, key: &str, value: impl Into<String>) -> Option<String> {
        let value = value.into();
        match self.0.iter().find(|(known, _)| known == key) {
            Some((_, before)) => (*before != value).then(|| before.clone()),
            None => {
                self.0.push((key.to_owned(), value));
                None
            }
        }
    }

    fn inline(&self) -> String {
        let keys: Vec<String> = self.0.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        format!("{{ {} }}", keys.join(", "))
    }

    fn lines(&self) -> String {
        self.0.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
    }
}

impl Draft {
    /// Something cannot be carried over.
    pub(super) fn problem(&mut self, of: &Directive, what: impl Into<String>) {
        self.problems.push(Problem { at: of.at.clone(), what: what.into() });
    }

    /// The upstream of this name, made when there is none.
    pub(super) fn upstream(&mut self, name: &str) -> &mut Upstream {
        let at = self.upstreams.iter().position(|upstream| upstream.name == name);
        let at = at.unwrap_or_else(|| {
            self.upstreams.push(Upstream { name: name.to_owned(), ..Upstream::default() });
            self.upstreams.len() - 1
        });
        &mut self.upstreams[at]
    }

    /// Its text.
    pub(super) fn toml(&self) -> String {
        let mut out = "# Made from a configuration of nginx. What a key means: conf/proxy.toml.\n".to_owned();
        let mut trust = Keys::default();
        if !self.trusted.is_empty() {
            trust.put("proxies", super::values::list(&self.trusted));
        }
        let tables = [
            ("server", &self.server),
            ("log", &self.log),
            ("access_log", &self.access_log),
            ("trust", &trust),
            ("client", &self.client),
        ];
        for (name, keys) in tables.into_iter().filter(|(_, keys)| !keys.0.is_empty()) {
            out.push_str(&format!("\n[{name}]\n{}", keys.lines()));
        }
        for (number, place) in self.listeners.iter().enumerate() {
            out.push_str(&format!(
                "\n[[listeners]]\nname = \"listener-{}\"\naddress = {}\n{}",
                number + 1,
                quoted(&place.address),
                place.keys.lines()
            ));
            if !place.certificates.is_empty() {
                let mut tls = place.tls.clone();
                tls.put("certificates", format!("[{}]", place.certificates.join(", ")));
                out.push_str(&format!("tls = {}\n", tls.inline()));
            } else if let Some(port) = place.redirect {
                out.push_str(&format!("https_redirect = {port}\n"));
            }
        }
        for (name, keys) in &self.rate_limits {
            out.push_str(&format!("\n[rate_limits.{}]\n{}", quoted(name), keys.lines()));
        }
        for (number, route) in self.routes.iter().enumerate() {
            out.push_str(&format!("\n[[routes]]\nname = \"route-{}\"\n", number + 1));
            if route.hosts != ["*"] {
                out.push_str(&format!("hosts = {}\n", super::values::list(&route.hosts)));
            }
            out.push_str(&format!("paths = [{}]\n{}", quoted(&route.path), route.keys.lines()));
        }
        for upstream in &self.upstreams {
            let name = quoted(&upstream.name);
            out.push_str(&format!("\n[upstreams.{name}]\n{}", upstream.keys.lines()));
            for (number, backend) in upstream.backends.iter().enumerate() {
                let id = quoted(&format!("{}-{}", upstream.name, number + 1));
                out.push_str(&format!("\n[[upstreams.{name}.backends]]\nid = {id}\n{}", backend.lines()));
            }
        }
        out
    }
}
