//! What a route asks of a request besides host and path, and what it does with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;

use super::super::template::Template;

/// What a request must also have for a route to be meant; nothing asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// One of these methods; empty: any.
    pub methods: Vec<Box<str>>,
    /// Every one of these headers.
    pub headers: Vec<HeaderCondition>,
}

/// A header that a request must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderCondition {
    /// In lower case.
    pub name: Box<str>,
    /// What it must say.
    pub value: ValuePattern,
}

/// What a header must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuePattern {
    /// Anything: `*`.
    Any,
    /// This and nothing else.
    Exact(Box<str>),
    /// This at its start: `text*`.
    Prefix(Box<str>),
}

impl Conditions {
    /// How specific they are: the methods count as one condition, and so does each header.
    pub fn count(&self) -> usize {
        usize::from(!self.methods.is_empty()) + self.headers.len()
    }
}

/// What a route does with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// A pool of this name answers.
    Upstream(String),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The edge answers with this.
    Respond(Respond),
}

impl Action {
    /// The key that it is written under.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Upstream(_) => "upstream",
            Self::Redirect(_) => "redirect",
            Self::Respond(_) => "respond",
        }
    }

    /// The pool that answers, if one does.
    pub fn upstream(&self) -> Option<&str> {
        match self {
            Self::Upstream(name) => Some(name),
            Self::Redirect(_) | Self::Respond(_) => None,
        }
    }
}

/// Where a client is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 307 or 308.
    pub status: u16,
    /// The Location.
    pub to: Template,
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599.
    pub status: u16,
    /// The Content-Type.
    pub content_type: Arc<str>,
    /// The content.
    pub body: Bytes,
}

/// How the path of a request changes on its way to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Taken from the start of the path, in whole segments; empty: nothing.
    pub strip: Box<str>,
    /// Put before what is left; empty: nothing.
    pub add: Box<str>,
}

impl Rewrite {
    /// Whether paths stay as they are.
    pub fn is_nothing(&self) -> bool {
        self.strip.is_empty() && self.add.is_empty()
    }
}

/// What changes in a head. Names are kept as written, and compared in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// These replace what is there.
    pub set: Vec<(Box<str>, Template)>,
    /// These stand beside what is there.
    pub add: Vec<(Box<str>, Template)>,
    /// These go.
    pub remove: Vec<Box<str>>,
}

impl HeaderRules {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }

    /// Whether a field of this name that was there does not stay.
    pub fn replaces(&self, name: &[u8]) -> bool {
        let is = |known: &str| known.as_bytes().eq_ignore_ascii_case(name);
        self.set.iter().any(|(known, _)| is(known)) || self.remove.iter().any(|known| is(known))
    }

    /// The fields to write, with what they say.
    pub fn written(&self) -> impl Iterator<Item = (&str, &Template)> {
        self.set.iter().chain(&self.add).map(|(name, value)| (&**name, value))
    }
}

/// A page that stands for the edge's own answers of some statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// Which; 400 to 599.
    pub statuses: Vec<u16>,
    /// What it is; `None`: the usual answer.
    pub page: Option<Page>,
}

/// Content that was read when the configuration was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The Content-Type, by the name of the file.
    pub content_type: &'static str,
    /// The content.
    pub body: Bytes,
}

/// Whether a route is closed for the time being.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Whether it is.
    pub is_on: bool,
    /// Clients for whom it is not.
    pub allow: Vec<IpNet>,
    /// When to come back: Retry-After.
    pub retry_after: Duration,
    /// What clients read; `None`: the usual answer.
    pub page: Option<Page>,
}
