//! Decides what each key of a TOML table may hold, and suggests the neighbour of a misspelled one.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problems;
use super::shown::Shown;

/// A TOML value with its place in the file.
pub type Value<'i> = Spanned<DeValue<'i>>;

/// What a key may hold.
pub trait Read: Sized + std::fmt::Debug {
    /// Whether the value is a table whose keys are declared: then its keys, not itself, are settings.
    fn key_paths(at: &str, out: &mut BTreeSet<String>) {
        out.insert(at.to_owned());
    }

    /// Reads the value at `at`, or notes what is wrong with it.
    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self>;

    /// What holds when both a file and its base say something: the file's word, key by key in tables.
    fn or(this: Option<Self>, base: Option<Self>) -> Option<Self> {
        this.or(base)
    }

    /// Notes each setting with its value, as an operator would write it.
    fn show(&self, at: &str, out: &mut Shown) {
        out.value(at, &format!("{self:?}"));
    }
}

/// A table whose keys are declared with [`raw!`](crate::raw).
pub trait Table: Read {
    /// The keys that it declares, those of a table spliced into it included.
    fn keys() -> Vec<&'static str>;

    /// Reads the keys that it declares and leaves the others alone.
    fn read_fields(table: &DeTable<'_>, at: &str, problems: &mut Problems) -> Self;

    /// Reads the keys of a table, noting those it does not know.
    fn read_table(table: &DeTable<'_>, at: &str, problems: &mut Problems) -> Self {
        unknown_keys(table, &Self::keys(), at, problems);
        Self::read_fields(table, at, problems)
    }
}

/// The path of `key` below `at`.
pub fn child(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

/// Every key that a file of shape `R` may hold; lists end in `[]`, named tables are `*`.
pub fn key_paths<R: Table>() -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    R::key_paths("", &mut paths);
    paths
}

pub(super) fn document<R: Table + Default>(text: &str, problems: &mut Problems) -> R {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return R::read_table(table.get_ref(), "", problems);
    }
    for error in errors {
        problems.syntax(error.span(), error.message());
    }
    R::default()
}

/// Notes each key of `table` that is not one of `known`, with its nearest neighbour.
fn unknown_keys(table: &DeTable<'_>, known: &[&str], at: &str, problems: &mut Problems) {
    for key in table.keys() {
        let name: &str = key.get_ref();
        if known.contains(&name) {
            continue;
        }
        let path = child(at, name);
        problems.locate(&path, &key.span());
        let nearest = known
            .iter()
            .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
            .min()
            .filter(|(distance, candidate)| *distance <= 2.max(candidate.len() / 3));
        match nearest {
            Some((_, candidate)) => {
                problems.push(&path, format!("unknown key; did you mean `{candidate}`?"));
            }
            None => problems.push(&path, format!("unknown key; known here: {}", known.join(", "))),
        }
    }
}

/// Reads one key of a table, noting its place. Used by [`raw!`](crate::raw).
pub fn field<T: Read>(table: &DeTable<'_>, key: &str, at: &str, problems: &mut Problems) -> Option<T> {
    let (spanned, value) = table.get_key_value(key)?;
    let path = child(at, key);
    problems.locate(&path, &spanned.span());
    T::read(value, &path, problems)
}

/// Notes that a value has the wrong type, and says which is right.
pub fn wrong_type(value: &Value<'_>, expected: &str, at: &str, problems: &mut Problems) {
    problems.push(at, format!("must be {expected}, got {}", described(value.get_ref())));
}

/// A value as an operator would recognise it: type, and content where that is short.
fn described(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) if text.chars().count() <= 40 => format!("{text:?}"),
        DeValue::Integer(number) => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(word) => word.to_string(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::String(_) | DeValue::Datetime(_) => format!("a {}", value.type_str()),
    }
}

impl Read for String {
    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(text.clone().into_owned());
        }
        wrong_type(value, "a text in quotes", at, problems);
        None
    }
}

impl Read for bool {
    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        let word = value.get_ref().as_bool();
        if word.is_none() {
            wrong_type(value, "true or false", at, problems);
        }
        word
    }
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Read for $type {
            fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
                let number = value.get_ref().as_integer().and_then(|number| {
                    <$type>::from_str_radix(number.as_str(), number.radix()).ok()
                });
                if number.is_none() {
                    let expected = format!("a whole number from {} to {}", <$type>::MIN, <$type>::MAX);
                    wrong_type(value, &expected, at, problems);
                }
                number
            }
        }
    )*};
}
integers!(u16, u32, u64, usize);

impl Read for f64 {
    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        let number = match value.get_ref() {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(number) => number.as_str().parse().ok(),
            _ => None,
        };
        let number = number.filter(|number: &f64| number.is_finite());
        if number.is_none() {
            wrong_type(value, "a number", at, problems);
        }
        number
    }
}

impl<T: Read> Read for Vec<T> {
    fn key_paths(at: &str, out: &mut BTreeSet<String>) {
        // Only a list of tables has keys below it; a list of values is itself the setting.
        let mut below = BTreeSet::new();
        let element = format!("{at}[]");
        T::key_paths(&element, &mut below);
        if below.contains(&element) {
            out.insert(at.to_owned());
        } else {
            out.extend(below);
        }
    }

    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        let DeValue::Array(list) = value.get_ref() else {
            wrong_type(value, "a list", at, problems);
            return None;
        };
        let read = |(index, value): (usize, &Value<'_>)| {
            let path = format!("{at}[{index}]");
            problems.locate(&path, &value.span());
            T::read(value, &path, problems)
        };
        Some(list.iter().enumerate().filter_map(read).collect())
    }

    fn show(&self, at: &str, out: &mut Shown) {
        out.list(at, self);
    }
}

impl<T: Read> Read for BTreeMap<String, T> {
    fn key_paths(at: &str, out: &mut BTreeSet<String>) {
        T::key_paths(&child(at, "*"), out);
    }

    fn read(value: &Value<'_>, at: &str, problems: &mut Problems) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else {
            wrong_type(value, "a table", at, problems);
            return None;
        };
        let mut map = Self::new();
        for (name, value) in table {
            let path = child(at, name.get_ref());
            problems.locate(&path, &name.span());
            if let Some(value) = T::read(value, &path, problems) {
                map.insert(name.get_ref().clone().into_owned(), value);
            }
        }
        Some(map)
    }

    fn show(&self, at: &str, out: &mut Shown) {
        for (name, value) in self {
            let path = child(at, name);
            out.object(&path);
            value.show(&path, out);
        }
    }
}

/// Declares what a TOML table may say. Every field becomes an `Option`; reading is strict.
///
/// A last line `..name: Table` splices the keys of another declaration in: what objects inherit is declared once.
///
/// ```
/// use std::time::Duration;
/// cirque_shared::raw! {
///     /// `[server]`.
///     pub struct Server {
///         /// How long a stop may take.
///         pub grace_period: Duration,
///     }
/// }
/// let server = cirque_shared::config::read_text("x.toml", "grace_period = '2s'", |raw: Server, _| raw);
/// assert_eq!(server.unwrap().grace_period, Some(Duration::from_secs(2)));
/// ```
#[macro_export]
macro_rules! raw {
    ($($(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
        $(..$spliced:ident: $splice:ty,)?
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default)]
        $vis struct $name {
            $($(#[$field_meta])* pub $field: Option<$type>,)*
            $(
                /// Keys that stand in this table and are declared elsewhere.
                pub $spliced: $splice,
            )?
        }

        impl $name {
            /// These keys, and those of `base` where these are silent.
            #[must_use]
            $vis fn or(self, base: Self) -> Self {
                Self {
                    $($field: <$type as $crate::config::Read>::or(self.$field, base.$field),)*
                    $($spliced: self.$spliced.or(base.$spliced),)?
                }
            }
        }

        impl $crate::config::Read for $name {
            fn key_paths(at: &str, out: &mut std::collections::BTreeSet<String>) {
                $(<$type as $crate::config::Read>::key_paths(
                    &$crate::config::child(at, stringify!($field)), out);)*
                $(<$splice as $crate::config::Read>::key_paths(at, out);)?
            }

            fn read(
                value: &$crate::config::Value<'_>,
                at: &str,
                problems: &mut $crate::config::Problems,
            ) -> Option<Self> {
                let Some(table) = value.get_ref().as_table() else {
                    $crate::config::wrong_type(value, "a table", at, problems);
                    return None;
                };
                Some(<Self as $crate::config::Table>::read_table(table, at, problems))
            }

            fn show(&self, at: &str, out: &mut $crate::config::Shown) {
                $(if let Some(value) = &self.$field {
                    <$type as $crate::config::Read>::show(
                        value, &$crate::config::child(at, stringify!($field)), out);
                })*
                $(<$splice as $crate::config::Read>::show(&self.$spliced, at, out);)?
            }

            fn or(this: Option<Self>, base: Option<Self>) -> Option<Self> {
                match (this, base) {
                    (Some(this), Some(base)) => Some(this.or(base)),
                    (this, base) => this.or(base),
                }
            }
        }

        impl $crate::config::Table for $name {
            fn keys() -> Vec<&'static str> {
                #[allow(unused_mut, reason = "only a table with a spliced one adds to it")]
                let mut keys = vec![$(stringify!($field)),*];
                $(keys.extend(<$splice as $crate::config::Table>::keys());)?
                keys
            }

            fn read_fields(
                table: &$crate::config::DeTable<'_>,
                at: &str,
                problems: &mut $crate::config::Problems,
            ) -> Self {
                Self {
                    $($field: $crate::config::field(table, stringify!($field), at, problems),)*
                    $($spliced: <$splice as $crate::config::Table>::read_fields(table, at, problems),)?
                }
            }
        }
    )*};
}
