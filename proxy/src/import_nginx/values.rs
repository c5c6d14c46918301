//! Nginx's values in the edge's words: times, sizes, variables.

/// nginx's variables and what stands for them in header values and redirects.
const VARIABLES: [(&str, &str); 14] = [
    ("host", "{host}"),
    ("http_host", "{host_port}"),
    ("remote_addr", "{client}"),
    ("realip_remote_addr", "{client}"),
    ("proxy_add_x_forwarded_for", "{forwarded_for}"),
    ("scheme", "{scheme}"),
    ("request_uri", "{uri}"),
    ("uri", "{path}"),
    ("document_uri", "{path}"),
    ("request_method", "{method}"),
    ("request_id", "{request_id}"),
    ("server_name", "{host}"),
    // `$is_args$args` is one placeholder.
    ("is_args", ""),
    ("args", "{query}"),
];

/// A text whose variables are ours; the name of the first that is not known otherwise.
pub(super) fn text(value: &str) -> Result<String, String> {
    let (mut out, mut rest) = (String::new(), value);
    while let Some(at) = rest.find(['$', '{', '}']) {
        out.push_str(&rest[..at]);
        let found = &rest[at..];
        if let Some(brace) = found.chars().next().filter(|c| *c != '$') {
            out.extend([brace, brace]);
            rest = &found[1..];
            continue;
        }
        let (name, after) = match found[1..].strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(named) => named,
            None => {
                let end = found[1..].find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                found[1..].split_at(end.unwrap_or(found.len() - 1))
            }
        };
        let known = VARIABLES.iter().find(|(variable, _)| *variable == name);
        out.push_str(known.ok_or_else(|| format!("${name}"))?.1);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// nginx's time: seconds without a unit, several parts with theirs.
pub(super) fn time(value: &str) -> Option<String> {
    let (mut out, mut digits, mut rest) = (String::new(), String::new(), value.trim());
    while let Some(c) = rest.chars().next() {
        if c.is_ascii_digit() {
            digits.push(c);
            rest = &rest[1..];
            continue;
        }
        let number: u64 = std::mem::take(&mut digits).parse().ok()?;
        let (unit, len, times) = match c {
            'm' if rest.starts_with("ms") => ("ms", 2, 1),
            's' | 'm' | 'h' => (&rest[..1], 1, 1),
            'd' => ("h", 1, 24),
            'w' => ("h", 1, 24 * 7),
            _ => return None,
        };
        out.push_str(&format!("{}{unit}", number.checked_mul(times)?));
        rest = rest[len..].trim_start();
    }
    if !digits.is_empty() {
        out.push_str(&format!("{}s", digits.parse::<u64>().ok()?));
    }
    (!out.is_empty()).then_some(out)
}

/// nginx's size.
pub(super) fn size(value: &str) -> Option<u64> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let times = match &value[digits.len()..] {
        "" => 1,
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(times)
}

/// nginx's rate: `10r/s`, `10r/m`.
pub(super) fn rate(value: &str) -> Option<String> {
    let (count, unit) = value.split_once("r/")?;
    (matches!(unit, "s" | "m") && count.parse::<u32>().is_ok()).then(|| format!("{count}/{unit}"))
}

/// A text in TOML.
pub(super) fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

/// Texts in TOML.
pub(super) fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}
