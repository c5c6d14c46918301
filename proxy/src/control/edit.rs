//! How a command changes the configuration file: the one place it concerns, comments and order untouched.

use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value};

/// A change of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// A new backend at the end of an upstream.
    Add { upstream: String, id: String, address: String, weight: Option<u32> },
    /// A backend goes.
    Remove { upstream: String, id: String },
}

/// Why a file cannot be changed so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cannot {
    /// The file does not have what is to be changed.
    Missing(String),
    /// The file already has it.
    Exists(String),
    /// The file is written in a way that is not understood here.
    Unclear(String),
}

/// The text after a change.
pub(crate) fn edited(text: &str, edit: &Edit) -> Result<String, Cannot> {
    let mut document: DocumentMut = text.parse().map_err(|error| Cannot::Unclear(format!("{error}")))?;
    let (Edit::Add { upstream, .. } | Edit::Remove { upstream, .. }) = edit;
    let missing = || Cannot::Missing(format!("upstream `{upstream}`"));
    let upstreams = document.get_mut("upstreams").and_then(Item::as_table_like_mut).ok_or_else(missing)?;
    let pool = upstreams.get_mut(upstream).and_then(Item::as_table_like_mut).ok_or_else(missing)?;
    match edit {
        Edit::Add { id, address, weight, .. } => add(pool, id, address, *weight)?,
        Edit::Remove { id, .. } => remove(pool, id)?,
    }
    Ok(document.to_string())
}

fn add(pool: &mut dyn TableLike, id: &str, address: &str, weight: Option<u32>) -> Result<(), Cannot> {
    if ids(pool).iter().any(|found| found == id) {
        return Err(Cannot::Exists(format!("backend `{id}`")));
    }
    let backends = pool.entry("backends").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    let fill = |row: &mut dyn TableLike| {
        row.insert("id", toml_edit::value(id));
        row.insert("address", toml_edit::value(address));
        if let Some(weight) = weight {
            row.insert("weight", toml_edit::value(i64::from(weight)));
        }
    };
    match backends {
        Item::ArrayOfTables(rows) => {
            let mut row = Table::new();
            fill(&mut row);
            rows.push(row);
        }
        Item::Value(Value::Array(rows)) => {
            let mut row = InlineTable::new();
            fill(&mut row);
            rows.push(row);
        }
        _ => return Err(Cannot::Unclear("`backends` is no list".to_owned())),
    }
    Ok(())
}

fn remove(pool: &mut dyn TableLike, id: &str) -> Result<(), Cannot> {
    let missing = || Cannot::Missing(format!("backend `{id}`"));
    let at = ids(pool).iter().position(|found| found == id).ok_or_else(missing)?;
    match pool.get_mut("backends") {
        Some(Item::ArrayOfTables(rows)) => drop(rows.remove(at)),
        Some(Item::Value(Value::Array(rows))) => drop(rows.remove(at)),
        _ => return Err(missing()),
    }
    Ok(())
}

/// The ids in the order of the file; a row without one has an empty one.
fn ids(pool: &dyn TableLike) -> Vec<String> {
    fn id(row: &dyn TableLike) -> String {
        row.get("id").and_then(Item::as_str).unwrap_or_default().to_owned()
    }
    match pool.get("backends") {
        Some(Item::ArrayOfTables(rows)) => rows.iter().map(|row| id(row)).collect(),
        Some(Item::Value(Value::Array(rows))) => {
            rows.iter().map(|row| row.as_inline_table().map(|row| id(row)).unwrap_or_default()).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = "\
# The pool.
[upstreams.app]
balance = \"least_conn\"   # as nginx does

[[upstreams.app.backends]]
id = \"a\"
address = \"127.0.0.1:1\"

# The new machine.
[[upstreams.app.backends]]
id = \"b\"
address = \"127.0.0.1:2\"

[log]
level = \"info\"
";
    const INLINE: &str = "upstreams.app.backends = [{ id = 'a', address = '127.0.0.1:1' }] # one\n";

    fn added(text: &str) -> String {
        let edit = Edit::Add {
            upstream: "app".to_owned(),
            id: "c".to_owned(),
            address: "127.0.0.1:3".to_owned(),
            weight: Some(2),
        };
        edited(text, &edit).unwrap()
    }

    fn removed(text: &str, id: &str) -> Result<String, Cannot> {
        edited(text, &Edit::Remove { upstream: "app".to_owned(), id: id.to_owned() })
    }

    #[test]
    fn a_backend_is_added_behind_the_others_and_nothing_else_changes() {
        let text = added(TABLES);
        let row = "\n[[upstreams.app.backends]]\nid = \"c\"\naddress = \"127.0.0.1:3\"\nweight = 2\n";
        assert!(text.contains(row), "{text}");
        assert_eq!(text.replace(row, ""), TABLES);
        assert!(text.find("id = \"b\"") < text.find("id = \"c\""), "{text}");
        let inline = added(INLINE);
        assert!(inline.contains("'127.0.0.1:1' }, { id = \"c\""), "{inline}");
        assert!(inline.ends_with("# one\n"), "{inline}");
    }

    #[test]
    fn a_backend_is_removed_and_the_comments_of_the_others_stay() {
        let text = removed(TABLES, "a").unwrap();
        assert!(!text.contains("127.0.0.1:1\""), "{text}");
        for kept in ["# The pool.", "# as nginx does", "# The new machine.", "127.0.0.1:2", "[log]"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        assert_eq!(removed(INLINE, "a").unwrap(), "upstreams.app.backends = [] # one\n");
    }

    #[test]
    fn what_is_not_there_or_already_there_is_named() {
        assert_eq!(removed(TABLES, "z"), Err(Cannot::Missing("backend `z`".to_owned())));
        assert_eq!(removed("[log]", "a"), Err(Cannot::Missing("upstream `app`".to_owned())));
        let again = Edit::Add {
            upstream: "app".to_owned(),
            id: "a".to_owned(),
            address: "127.0.0.1:9".to_owned(),
            weight: None,
        };
        assert_eq!(edited(TABLES, &again), Err(Cannot::Exists("backend `a`".to_owned())));
    }
}
