//! Malformed and ambiguous requests: each is refused and recorded, or forwarded so that nobody can read it in two ways.

use std::collections::BTreeMap;
use std::time::Duration;

use cirque_tests::{Connection, Edge, Recorder, eventually};
use serde_json::Value;

const TABLE: &str = include_str!("corpus/requests.txt");
/// Long enough for one piece to be read before the next is sent; not waited for when there is an answer.
const BETWEEN_PIECES: Duration = Duration::from_millis(3);
const SOON: Duration = Duration::from_secs(10);

/// What one answer must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Forwarded, with this body where it matters.
    Pass { body: Option<String> },
    /// Refused with this status, for the sake of this rule.
    Refused { status: u16, rule: Option<String> },
}

/// One row of the table.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) section: String,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) bytes: Vec<u8>,
}

/// All of them.
pub(crate) fn items() -> Vec<Item> {
    TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(item).collect()
}

fn item(line: &str) -> Item {
    let mut parts = line.splitn(4, " | ");
    let mut part = || parts.next().unwrap_or_else(|| panic!("four columns are wanted: {line}"));
    let (name, section, wanted, bytes) = (part(), part(), part(), part());
    assert!(section.starts_with("RFC "), "a section is wanted: {line}");
    Item {
        name: name.to_owned(),
        section: section.to_owned(),
        wanted: wanted.split("; ").map(outcome).collect(),
        bytes: unescaped(bytes),
    }
}

fn outcome(text: &str) -> Wanted {
    if let Some(body) = text.strip_prefix("pass body=") {
        return Wanted::Pass { body: Some(body.to_owned()) };
    }
    if text == "pass" {
        return Wanted::Pass { body: None };
    }
    let (status, rule) = text.split_once(' ').unwrap_or_else(|| panic!("STATUS RULE is wanted: {text}"));
    let status = status.parse().unwrap_or_else(|_| panic!("a status is wanted: {text}"));
    Wanted::Refused { status, rule: (rule != "-").then(|| rule.to_owned()) }
}

fn unescaped(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, after @ ..] = rest {
        let used = match (first, after) {
            (b'\\', [b'r', ..]) => (b"\r".to_vec(), 2),
            (b'\\', [b'n', ..]) => (b"\n".to_vec(), 2),
            (b'\\', [b't', ..]) => (b"\t".to_vec(), 2),
            (b'\\', [b'0', ..]) => (b"\0".to_vec(), 2),
            (b'\\', [b'\\', ..]) => (b"\\".to_vec(), 2),
            (b'\\', [b'x', high, low, ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16).expect("a hexadecimal digit");
                (vec![u8::try_from(digit(high) * 16 + digit(low)).expect("one byte")], 4)
            }
            (b'{', _) => {
                let end = rest.iter().position(|byte| *byte == b'}').expect("a brace is closed");
                let inner = std::str::from_utf8(&rest[1..end]).expect("plain text in braces");
                let (what, times) = inner.rsplit_once('*').expect("x*3 in braces");
                (unescaped(what).repeat(times.parse().expect("a number of times")), end + 1)
            }
            _ => (vec![*first], 1),
        };
        out.extend(used.0);
        rest = &rest[used.1..];
    }
    out
}

/// An edge in front of a strict recorder, and the reader of its log.
struct Stage {
    recorder: Recorder,
    edge: Edge,
    /// The answers so far, by request id: where from, and what the log must say.
    answered: Vec<(String, String, Outcome)>,
    findings: Vec<String>,
}

/// A status and a rule, as a log line has them.
type Outcome = (u16, Option<String>);

impl Stage {
    fn new() -> Stage {
        let recorder = Recorder::start();
        let edge = Edge::builder().backend_at("recorder", recorder.address(), "").without_probe().start();
        Stage { recorder, edge, answered: Vec::new(), findings: Vec::new() }
    }

    /// Sends an item cut at these places and compares everything that can be observed with what is wanted.
    fn expect(&mut self, item: &Item, cuts: &[usize]) {
        let before = self.recorder.count();
        let Item { name, section, .. } = item;
        let place = format!("{name} ({section}) cut at {cuts:?}");
        let seen = self.answers(item, cuts);
        let statuses: Vec<u16> = seen.iter().map(|(_, status)| *status).collect();
        let wanted: Vec<u16> = item.wanted.iter().map(status_of).collect();
        if statuses != wanted {
            self.findings.push(format!("{place}: answered {statuses:?}, wanted {wanted:?}"));
        }
        for ((id, _), wanted) in seen.into_iter().zip(&item.wanted) {
            self.answered.push((id, place.clone(), (status_of(wanted), rule_of(wanted))));
        }
        self.expect_forwarded(item, before, &place);
    }

    /// The request ids and statuses of the answers, as many as are wanted and one more if there is one.
    fn answers(&self, item: &Item, cuts: &[usize]) -> Vec<(String, u16)> {
        let mut connection = Connection::open(self.edge.address());
        let mut start = 0;
        for end in cuts.iter().copied().chain([item.bytes.len()]) {
            // The edge may have refused what it saw and closed.
            let _ = connection.write(&item.bytes[start..end]);
            start = end;
            if end < item.bytes.len() {
                let _ = connection.has_input_within(BETWEEN_PIECES);
            }
        }
        let method = if item.bytes.starts_with(b"HEAD") { "HEAD" } else { "GET" };
        connection.set_timeout(SOON);
        let mut answers = Vec::new();
        while answers.len() < item.wanted.len() {
            match connection.read_response(method) {
                Ok(response) => {
                    let id = response.header("x-request-id").unwrap_or_default().to_owned();
                    answers.push((id, response.status));
                }
                Err(_) => return answers,
            }
        }
        // A request that was understood and has no route (404) leaves the connection as it was.
        if matches!(item.wanted.last(), Some(Wanted::Refused { status, .. }) if *status != 404) {
            match connection.read_until_close(SOON) {
                Some(more) if more.is_empty() => {}
                _ => answers.push((String::new(), 0)),
            }
        }
        answers
    }

    /// One line for each answer, with its status and its rule. Asked once, at the end: lines are written in batches.
    fn expect_logged(&mut self) {
        let lines = || self.edge.access_log();
        let enough = self.answered.len();
        let lines = eventually("every answer is logged", SOON, lines, |lines| lines.len() >= enough);
        let logged: BTreeMap<&str, Outcome> = lines
            .iter()
            .map(|line| (line["request.id"].as_str().unwrap_or_default(), outcome_of(line)))
            .collect();
        if lines.len() != enough || logged.len() != enough {
            self.findings.push(format!("{} lines with {} ids, wanted {enough}", lines.len(), logged.len()));
        }
        for (id, place, wanted) in &self.answered {
            let seen = logged.get(id.as_str());
            if seen != Some(wanted) {
                self.findings.push(format!("{place}: logged {seen:?}, wanted {wanted:?}"));
            }
        }
    }

    /// As many whole messages as were to pass, each with its body and one framing.
    fn expect_forwarded(&mut self, item: &Item, before: usize, place: &str) {
        let messages = self.recorder.since(before);
        let bodies: Vec<_> = item
            .wanted
            .iter()
            .filter_map(|wanted| match wanted {
                Wanted::Pass { body } => Some(body),
                Wanted::Refused { .. } => None,
            })
            .collect();
        let whole: Vec<_> = messages.iter().filter(|message| message.is_complete).collect();
        if whole.len() != bodies.len() {
            let lines: Vec<_> = whole.iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
            self.findings.push(format!("{place}: the backend saw {lines:?}, wanted {}", bodies.len()));
            return;
        }
        for (seen, body) in whole.iter().zip(bodies) {
            let text = String::from_utf8_lossy(&seen.body);
            if body.as_ref().is_some_and(|body| *body != text) {
                self.findings.push(format!("{place}: the backend read the body {text:?}, wanted {body:?}"));
            }
            if seen.wants_upgrade()
                && !item.name.starts_with("upgrade-declined")
                && !item.name.starts_with("upgrade-then")
            {
                self.findings.push(format!("{place}: an upgrade was forwarded"));
            }
            if seen.has_trailers {
                self.findings.push(format!("{place}: trailers were forwarded"));
            }
            if seen.header_values("x-forwarded-for").len() != 1 {
                self.findings.push(format!("{place}: not one X-Forwarded-For: {:?}", seen.headers));
            }
        }
        let faults = messages.iter().filter_map(|message| message.fault.clone());
        self.findings.extend(faults.map(|fault| format!("{place}: forwarded with {fault}")));
    }

    /// Nothing stayed behind, and the numbers agree.
    fn finish(mut self, sent: usize, items: &[(&Item, usize)]) {
        self.expect_logged();
        assert!(
            self.findings.is_empty(),
            "{} findings in {sent} sendings:\n{}",
            self.findings.len(),
            self.findings.join("\n")
        );
        for status in [400, 404, 405, 413, 414, 417, 431, 505] {
            let of = |item: &&Item| item.wanted.iter().filter(|wanted| status_of(wanted) == status).count();
            let wanted: usize = items.iter().map(|(item, times)| of(item) * times).sum();
            self.edge.wait_for_metric("http_requests_total", &[("code", &status.to_string())], wanted as f64);
        }
        self.edge.wait_for_metric("http_requests_in_flight", &[], 0.0);
        self.edge.wait_for_metric("proxy_upstream_in_flight", &[], 0.0);
    }
}

fn status_of(wanted: &Wanted) -> u16 {
    match wanted {
        Wanted::Pass { .. } => 200,
        Wanted::Refused { status, .. } => *status,
    }
}

fn rule_of(wanted: &Wanted) -> Option<String> {
    match wanted {
        Wanted::Pass { .. } => None,
        Wanted::Refused { rule, .. } => rule.clone(),
    }
}

fn outcome_of(line: &Value) -> Outcome {
    let status = line["http.response.status_code"].as_u64().and_then(|status| u16::try_from(status).ok());
    (status.unwrap_or_default(), line["rule"].as_str().map(str::to_owned))
}

#[test]
fn the_table_names_each_item_once_and_is_long_enough() {
    let mut names: Vec<String> = items().into_iter().map(|item| item.name).collect();
    assert!(names.len() >= 200, "{}", names.len());
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
    assert_eq!(unescaped("a\\r\\n\\x41\\0{\\tb*2}"), b"a\r\nA\0\tb\tb");
}

#[test]
fn every_item_sent_whole_is_refused_with_its_rule_or_forwarded_in_one_reading() {
    let items = items();
    let mut stage = Stage::new();
    items.iter().for_each(|item| stage.expect(item, &[]));
    stage.finish(items.len(), &items.iter().map(|item| (item, 1)).collect::<Vec<_>>());
}

#[test]
fn every_item_sent_in_two_pieces_means_the_same() {
    let items = items();
    let mut stage = Stage::new();
    for item in &items {
        stage.expect(item, &[item.bytes.len() / 2]);
    }
    stage.finish(items.len(), &items.iter().map(|item| (item, 1)).collect::<Vec<_>>());
}

#[test]
fn a_cut_at_any_byte_changes_nothing() {
    const SAMPLE: [&str; 7] = [
        "five-empty-lines-first",
        "two-empty-lines-first",
        "length-then-coding",
        "chunks-with-trailers",
        "chunk-data-ends-in-lf",
        "good-then-bad",
        "upgrade-then-a-second-request",
    ];
    let items = items();
    let mut stage = Stage::new();
    let mut sent = Vec::new();
    for item in items.iter().filter(|item| SAMPLE.contains(&item.name.as_str())) {
        (1..item.bytes.len()).for_each(|cut| stage.expect(item, &[cut]));
        stage.expect(item, &(1..item.bytes.len()).collect::<Vec<_>>());
        sent.push((item, item.bytes.len()));
    }
    assert_eq!(sent.len(), SAMPLE.len());
    stage.finish(sent.iter().map(|(_, times)| times).sum(), &sent);
}
