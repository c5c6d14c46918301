//! A configuration as a list of settings, and what differs between two of them, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Read;

/// Every object and every setting with its value, by key path. Objects in lists go by their name or id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    objects: BTreeSet<String>,
    values: BTreeMap<String, String>,
}

/// One difference between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// An object that the old one did not have, with its settings.
    Added(String, Vec<String>),
    /// An object that the new one does not have.
    Removed(String),
    /// A setting with its old and its new value; `None` where it had or has none.
    Set(String, Option<String>, Option<String>),
}

impl Shown {
    /// The settings of a table.
    pub fn of(table: &impl Read) -> Self {
        let mut shown = Self::default();
        table.show("", &mut shown);
        shown
    }

    /// Notes a setting.
    pub fn value(&mut self, at: &str, value: &str) {
        self.values.insert(at.to_owned(), value.to_owned());
    }

    /// Notes that there is an object.
    pub fn object(&mut self, at: &str) {
        self.objects.insert(at.to_owned());
    }

    /// Notes a list: of objects, each under its name or id, or of plain values.
    pub fn list<T: Read>(&mut self, at: &str, list: &[T]) {
        let mut plain = Vec::new();
        for (index, element) in list.iter().enumerate() {
            let mut inside = Self::of(element);
            if let Some(value) = inside.values.remove("") {
                plain.push(value);
                continue;
            }
            let name = ["name", "id"].iter().find_map(|key| inside.values.remove(*key));
            let name = name.map_or_else(|| index.to_string(), |name| name.trim_matches('"').to_owned());
            let path = super::child(at, &name);
            self.objects.extend(inside.objects.iter().map(|object| super::child(&path, object)));
            self.values
                .extend(inside.values.into_iter().map(|(key, value)| (super::child(&path, &key), value)));
            self.objects.insert(path);
        }
        if !plain.is_empty() || list.is_empty() {
            self.value(at, &format!("[{}]", plain.join(", ")));
        }
    }

    /// What has to change for this to become `new`.
    pub fn changes(&self, new: &Self) -> Vec<Changed> {
        let outermost = |ours: &BTreeSet<String>, theirs: &BTreeSet<String>| -> Vec<String> {
            let only: Vec<&String> = ours.difference(theirs).collect();
            let has_parent = |object: &str| only.iter().any(|other| is_below(object, other));
            only.iter().filter(|object| !has_parent(object)).map(|object| (*object).clone()).collect()
        };
        let added = outermost(&new.objects, &self.objects);
        let removed = outermost(&self.objects, &new.objects);
        let told = |key: &str| added.iter().chain(&removed).any(|object| is_below(key, object));
        let keys: BTreeSet<&String> = self.values.keys().chain(new.values.keys()).collect();
        let set = keys.into_iter().filter(|key| !told(key)).filter_map(|key| {
            let (old, new) = (self.values.get(key), new.values.get(key));
            (old != new).then(|| Changed::Set(key.clone(), old.cloned(), new.cloned()))
        });
        let mut changes: Vec<Changed> = removed.iter().cloned().map(Changed::Removed).collect();
        changes.extend(added.iter().map(|object| {
            let inside = new.values.iter().filter(|(key, _)| is_below(key, object));
            let settings = inside.map(|(key, value)| format!("{} = {value}", &key[object.len() + 1..]));
            Changed::Added(object.clone(), settings.collect())
        }));
        changes.extend(set);
        changes
    }
}

fn is_below(key: &str, object: &str) -> bool {
    key.strip_prefix(object).is_some_and(|rest| rest.starts_with('.'))
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(object, settings) => write!(f, "+ {object}: {}", settings.join(", ")),
            Self::Removed(object) => write!(f, "- {object}"),
            Self::Set(key, old, new) => {
                let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
                write!(f, "~ {key}: {} -> {}", shown(old), shown(new))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::read_text;
    use super::*;

    crate::raw! {
        /// A file.
        struct File {
            /// Named objects.
            pub pools: BTreeMap<String, Pool>,
            /// A duration.
            pub wait: Duration,
        }
        /// A pool.
        struct Pool {
            /// Objects in a list.
            pub members: Vec<Member>,
            /// Plain values.
            pub words: Vec<String>,
        }
        /// A member.
        struct Member {
            /// Its name.
            pub id: String,
            /// A number.
            pub weight: u32,
        }
    }

    fn changes(old: &str, new: &str) -> Vec<String> {
        let shown = |text: &str| read_text("x.toml", text, |file: File, _| Shown::of(&file)).unwrap();
        shown(old).changes(&shown(new)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn objects_that_come_and_go_are_one_line_each_and_their_order_does_not_matter() {
        let old = "[pools.a]\nmembers = [{ id = 'x', weight = 1 }, { id = 'y' }]";
        let new = "[pools.a]\nmembers = [{ id = 'y' }, { id = 'z', weight = 3 }]\n[pools.b]\nwords = ['u']";
        assert_eq!(
            changes(old, new),
            ["- pools.a.members.x", "+ pools.a.members.z: weight = 3", "+ pools.b: words = [\"u\"]"]
        );
        assert!(changes(old, "[pools.a]\nmembers = [{ id = 'y' }, { weight = 1, id = 'x' }]").is_empty());
    }

    #[test]
    fn a_setting_is_shown_with_its_old_and_its_new_value() {
        let old = "wait = '1m'\n[pools.a]\nwords = ['u']\nmembers = [{ id = 'x', weight = 1 }]";
        let new = "wait = '250ms'\n[pools.a]\nwords = ['u', 'v']\nmembers = [{ id = 'x' }]";
        assert_eq!(
            changes(old, new),
            [
                "~ pools.a.members.x.weight: 1 -> not set",
                "~ pools.a.words: [\"u\"] -> [\"u\", \"v\"]",
                "~ wait: 60s -> 250ms",
            ]
        );
    }
}
