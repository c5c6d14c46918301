//! Decides how configuration fragments are laid over one another and written as TOML.

use toml::{Table, Value};

/// Parses a fragment; a mistake in it is a mistake in the test.
#[track_caller]
pub fn parse(text: &str) -> Table {
    text.parse().unwrap_or_else(|error| panic!("the test's own TOML is wrong: {error}\n{text}"))
}

/// Lays `above` over `below`: tables are merged key by key, everything else is replaced.
pub fn merge(below: &mut Table, above: Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => merge(inner, value),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// Writes a document with one heading per top-level table.
pub fn render(document: &Table) -> String {
    let mut text = String::new();
    let (tables, plain): (Vec<_>, Vec<_>) = document.iter().partition(|(_, value)| value.is_table());
    for (key, value) in plain {
        text.push_str(&format!("{} = {}\n", quoted(key), inline(value)));
    }
    for (key, value) in tables {
        text.push_str(&format!("\n[{}]\n", quoted(key)));
        for (key, value) in value.as_table().into_iter().flatten() {
            text.push_str(&format!("{} = {}\n", quoted(key), inline(value)));
        }
    }
    text
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted_string(text),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(moment) => moment.to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Table(table) => {
            let pairs: Vec<String> =
                table.iter().map(|(key, value)| format!("{} = {}", quoted(key), inline(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

fn quoted(key: &str) -> String {
    let is_bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { key.to_owned() } else { quoted_string(key) }
}

fn quoted_string(text: &str) -> String {
    // The escapes of JSON strings are escapes of TOML basic strings too.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_replaces_values_and_keeps_their_neighbours() {
        let mut document = parse("[a]\nx = 1\ny = { z = [1, 2] }\n[b]\nk = 'v'");
        merge(&mut document, parse("a.y.z = []\na.x = 2\nb.n = true"));
        assert_eq!(document, parse("a = { x = 2, y = { z = [] } }\nb = { k = 'v', n = true }"));
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let document = parse(
            "top = 1.5\n[a]\n'odd key' = \"q\\\"\\n\"\n[[a.list]]\nid = 1\n[a.deep.er]\nflag = false\n[[rows]]\nn = 'x'",
        );
        assert_eq!(parse(&render(&document)), document);
    }
}
