//! Reads a metrics exposition and answers questions about it.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::client::Client;

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// One reading of `/metrics`.
#[derive(Debug, Clone)]
pub struct Scrape {
    pub text: String,
    pub samples: Vec<Sample>,
}

impl Scrape {
    #[track_caller]
    pub fn fetch(address: SocketAddr, path: &str) -> Scrape {
        let response = Client::to(address).get(path);
        Scrape::parse(&response.expect_status(200).text())
    }

    #[track_caller]
    pub fn parse(text: &str) -> Scrape {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let samples =
            lines.map(|line| sample(line).unwrap_or_else(|| panic!("not a sample: {line:?}"))).collect();
        Scrape { text: text.to_owned(), samples }
    }

    /// The samples of this name that carry all these labels.
    pub fn matching<'s>(
        &'s self,
        name: &'s str,
        labels: &'s [(&'s str, &'s str)],
    ) -> impl Iterator<Item = &'s Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|v| v == value))
        })
    }

    /// The sum of the samples of this name that carry all these labels; 0 when there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).fold(0.0, |sum, sample| sum + sample.value)
    }

    pub fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    /// How much [`Scrape::value`] has grown since an earlier reading.
    pub fn since(&self, earlier: &Scrape, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.value(name, labels) - earlier.value(name, labels)
    }

    /// The lines of this name, for failure messages.
    pub fn lines(&self, name: &str) -> Vec<String> {
        self.text.lines().filter(|line| line.starts_with(name)).map(str::to_owned).collect()
    }

    /// What `promtool check metrics` says; empty when it has nothing to say.
    pub fn promtool_findings(&self) -> String {
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool is installed by scripts/test");
        let mut stdin = promtool.stdin.take().expect("stdin is piped");
        stdin.write_all(self.text.as_bytes()).expect("promtool reads its input");
        drop(stdin);
        let output = promtool.wait_with_output().expect("promtool ends when its input does");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        if output.status.success() { said } else { format!("{said}({})", output.status) }
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, labels, rest) = match line.split_once('{') {
        Some((name, rest)) => {
            let (labels, rest) = parse_labels(rest)?;
            (name, labels, rest)
        }
        None => line.split_once(' ').map(|(name, rest)| (name, BTreeMap::new(), rest))?,
    };
    let value = match rest.split_whitespace().next()? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    Some(Sample { name: series.trim().to_owned(), labels, value })
}

/// Reads `key="value",…}` and returns what follows the brace.
fn parse_labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (key, after) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = after.char_indices();
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => match characters.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.to_owned(), value);
        rest = &after[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP a_total Counts.\n# TYPE a_total counter\n\
        a_total{route=\"api\",code=\"200\"} 3\na_total{route=\"api\",code=\"500\"} 1\n\
        b_seconds_bucket{le=\"+Inf\"} 4\nodd{text=\"a\\\"b,c}d\"} 1.5\nplain 7\n";

    #[test]
    fn values_are_summed_over_the_labels_left_open() {
        let scrape = Scrape::parse(TEXT);
        assert_eq!(scrape.value("a_total", &[("code", "200")]), 3.0);
        assert_eq!(scrape.value("a_total", &[("route", "api")]), 4.0);
        assert_eq!(scrape.value("b_seconds_bucket", &[("le", "+Inf")]), 4.0);
        assert_eq!(scrape.value("odd", &[("text", "a\"b,c}d")]), 1.5);
        assert_eq!(scrape.value("plain", &[]), 7.0);
        assert!(!scrape.has("absent", &[]));
    }

    #[test]
    fn growth_is_counted_between_two_readings() {
        let earlier = Scrape::parse("a_total 2\n");
        assert_eq!(Scrape::parse("a_total 5\n").since(&earlier, "a_total", &[]), 3.0);
    }

    #[test]
    fn promtool_is_asked_and_its_findings_are_returned() {
        assert_eq!(
            Scrape::parse("# HELP a_total Counts.\n# TYPE a_total counter\na_total 1\n").promtool_findings(),
            ""
        );
        assert!(!Scrape::parse("# TYPE a counter\na 1\n").promtool_findings().is_empty());
    }
}
