//! Decides in which format metrics are shown: Prometheus's text, or OpenMetrics for those who ask for it.

/// The format that everybody reads.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The format of OpenMetrics 1.0.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `text` in the format that the header `Accept` asks for, and that format's media type.
pub fn shown(text: String, accept: Option<&str>) -> (&'static str, String) {
    if accept.is_some_and(wants_openmetrics) { (OPENMETRICS, openmetrics(&text)) } else { (TEXT, text) }
}

/// Whether OpenMetrics is named, not refused, and not liked less than plain text.
fn wants_openmetrics(accept: &str) -> bool {
    let quality = |name: &str| {
        let entry = accept.split(',').find(|entry| entry.trim().to_ascii_lowercase().starts_with(name))?;
        let q = entry.split(';').find_map(|part| part.trim().strip_prefix("q=")?.parse::<f64>().ok());
        Some(q.unwrap_or(1.0))
    };
    let Some(wanted) = quality("application/openmetrics-text") else { return false };
    wanted > 0.0 && wanted >= quality("text/plain").unwrap_or(0.0)
}

/// A family of counters is named without `_total` there, and the text says where it ends.
fn openmetrics(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_counter = match line.strip_prefix("# HELP ") {
            Some(_) => {
                lines.peek().is_some_and(|next| next.starts_with("# TYPE ") && next.ends_with(" counter"))
            }
            None => line.starts_with("# TYPE ") && line.ends_with(" counter"),
        };
        if is_counter {
            out += &line.replacen("_total ", " ", 1);
        } else {
            out += line;
        }
        out.push('\n');
    }
    out += "# EOF\n";
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Registry;

    #[test]
    fn openmetrics_is_for_those_who_prefer_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, expected) in [
            (prometheus, true),
            ("application/openmetrics-text", true),
            ("text/plain", false),
            ("*/*", false),
            ("application/openmetrics-text;q=0, text/plain", false),
            ("text/plain;q=0.9, application/openmetrics-text;q=0.2", false),
        ] {
            assert_eq!(wants_openmetrics(accept), expected, "{accept}");
        }
    }

    #[test]
    fn counters_lose_their_ending_where_the_family_is_named_and_keep_it_in_samples() {
        let registry = Registry::new();
        registry.counter("tries_total", "Tries, in _total .").inc();
        registry.gauge("depth", "Depth.").set(2);
        let (media_type, text) = shown(registry.text(), Some("application/openmetrics-text"));
        assert_eq!(media_type, OPENMETRICS);
        assert_eq!(
            text,
            "# HELP depth Depth.\n# TYPE depth gauge\ndepth 2\n\
             # HELP tries Tries, in _total .\n# TYPE tries counter\ntries_total 1\n# EOF\n"
        );
        assert_eq!(shown(registry.text(), None), (TEXT, registry.text()));
    }
}
