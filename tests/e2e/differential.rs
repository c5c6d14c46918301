//! The same requests through our path, nginx and HAProxy to a strict recorder: where they differ, and why.
//!
//! Fails when we forward what nginx refuses, or when a difference is not explained in `docs/http1-differences.md`.

pub(crate) mod generate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use cirque_tests::recorder::Message;
use cirque_tests::{Connection, Edge, Recorder, Reference, eventually};
use tokio::time::Instant;

use crate::corpus;
use generate::Dice;

const GENERATED: usize = 400;
const SEED: u64 = 3;
/// What we forward although nginx refuses it: RFC 9112 §5.1 allows a tab where it allows a space.
const LAXER_THAN_NGINX: [&str; 1] = ["nginx: refuses a tab beside a value"];
const EXPLAINED: &str = include_str!("../../docs/http1-differences.md");
/// How long a proxy may say nothing before it counts as waiting for more.
const SILENCE: Duration = Duration::from_millis(700);
/// After an answer, how long for another one.
const AFTERWARDS: Duration = Duration::from_millis(50);
const SOON: Duration = Duration::from_secs(10);

/// What one proxy made of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    /// What the backend read: method, target and body of each whole message.
    forwarded: Vec<(String, String, Vec<u8>)>,
    /// The statuses of its own making.
    refused: Vec<u16>,
    /// What the backend found wrong with what was forwarded.
    faults: Vec<String>,
}

/// A proxy with a recorder of its own.
struct Subject {
    address: SocketAddr,
    recorder: Recorder,
}

impl Subject {
    fn verdict(&self, bytes: &[u8]) -> Verdict {
        let before = self.recorder.count();
        let mut connection = Connection::open(self.address);
        // It may have refused what it saw and closed.
        let _ = connection.write(bytes);
        let answers = everything(&mut connection);
        let messages = self.recorder.since(before);
        let whole = messages.iter().filter(|message| message.is_complete);
        Verdict {
            forwarded: whole
                .map(|seen| (seen.method.clone(), seen.target.clone(), seen.body.clone()))
                .collect(),
            refused: own_statuses(&answers),
            faults: messages.iter().filter_map(fault).collect(),
        }
    }
}

fn fault(message: &Message) -> Option<String> {
    message.fault.clone()
}

/// Reads until the end, or until nothing more comes.
fn everything(connection: &mut Connection) -> String {
    let mut all = Vec::new();
    let began = Instant::now();
    loop {
        let patience = if all.is_empty() { SILENCE } else { AFTERWARDS };
        if !connection.has_input_within(patience) || began.elapsed() > SOON {
            break;
        }
        match connection.read_some(64 * 1024) {
            Ok(piece) if !piece.is_empty() => all.extend(piece),
            _ => break,
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The statuses of answers that did not come from the recorder. nginx answers a head without a version with a page only.
fn own_statuses(answers: &str) -> Vec<u16> {
    let mut heads = Vec::new();
    let mut rest = answers;
    while let Some(at) = rest.find("HTTP/1.") {
        let head = rest[at..].split("\r\n\r\n").next().unwrap_or_default();
        heads.push(head);
        rest = &rest[at + head.len()..];
    }
    let own = heads.into_iter().filter(|head| !head.contains("X-Recorder") && !head.contains("x-recorder"));
    let statuses: Vec<u16> =
        own.filter_map(|head| head.split(' ').nth(1)?.parse().ok()).filter(|status| *status >= 200).collect();
    if statuses.is_empty() && answers.contains("<html>") && !answers.contains("HTTP/1.") {
        vec![400]
    } else {
        statuses
    }
}

/// The three, side by side.
struct Stage {
    edge: Edge,
    _references: [Reference; 2],
    subjects: [Subject; 3],
    lines_read: usize,
    /// Each kind of difference, with how often it was seen and the first request that showed it.
    kinds: BTreeMap<String, (usize, String)>,
}

impl Stage {
    fn new() -> Stage {
        let [ours, nginxs, haproxys] = std::array::from_fn(|_| Recorder::start());
        let edge = Edge::builder().backend_at("recorder", ours.address(), "").without_probe().start();
        eventually("the first probe has passed", SOON, || ours.count(), |seen| *seen == 1);
        let nginx = Reference::nginx(nginxs.address());
        let haproxy = Reference::haproxy(haproxys.address());
        let subjects = [
            Subject { address: edge.address(), recorder: ours },
            Subject { address: nginx.address(), recorder: nginxs },
            Subject { address: haproxy.address(), recorder: haproxys },
        ];
        Stage { edge, _references: [nginx, haproxy], subjects, lines_read: 0, kinds: BTreeMap::new() }
    }

    fn compare(&mut self, what: &str, bytes: &[u8]) {
        let [ours, nginx, haproxy] = std::thread::scope(|scope| {
            let running = self.subjects.each_ref().map(|subject| scope.spawn(|| subject.verdict(bytes)));
            running.map(|thread| thread.join().expect("a verdict is reached"))
        });
        assert!(ours.faults.is_empty(), "{what}: our path forwarded {:?}", ours.faults);
        let rule = self.rule(ours.refused.len());
        for (name, other) in [("nginx", &nginx), ("HAProxy", &haproxy)] {
            let Some(kind) = difference(&ours, other, &rule, bytes) else { continue };
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
            let seen = self.kinds.entry(format!("{name}: {kind}")).or_insert_with(|| {
                (0, format!("{what} {shown:?}\n      ours {ours:?}\n      {name} {other:?}"))
            });
            seen.0 += 1;
        }
    }

    /// The rule that our path refused by, from its log; "-" where it named none.
    fn rule(&mut self, refusals: usize) -> String {
        let refused = || {
            let (lines, read) = self.edge.process.json_lines_after(self.lines_read);
            let statuses =
                lines.into_iter().filter(|line| line["http.response.status_code"].as_u64() >= Some(400));
            (statuses.map(|line| line["rule"].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>(), read)
        };
        let (rules, read) =
            eventually("a refusal is logged", SOON, refused, |(seen, _)| seen.len() >= refusals);
        self.lines_read = read;
        rules.into_iter().next().unwrap_or_else(|| "-".to_owned())
    }
}

/// How the verdicts differ, in one phrase; `None` where they agree.
fn difference(ours: &Verdict, other: &Verdict, rule: &str, bytes: &[u8]) -> Option<String> {
    let (mine, theirs) = (&ours.forwarded, &other.forwarded);
    let common = mine.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    if common == mine.len() && common == theirs.len() {
        return None;
    }
    if common == mine.len() && !ours.refused.is_empty() {
        return Some(format!("refused by `{rule}`"));
    }
    if common == mine.len() {
        return Some("left unanswered".to_owned());
    }
    if common == theirs.len() {
        let how = if other.refused.is_empty() { "leaves unanswered" } else { "refuses" };
        return Some(format!("{how} {}", feature(bytes)));
    }
    Some(format!("reads another message of {}", feature(bytes)))
}

/// What is special about a request that we forward and another proxy does not, or not so.
fn feature(bytes: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(bytes).to_lowercase();
    let head = text.split("\r\n\r\n").next().unwrap_or_default();
    if head.contains('\t') {
        "a tab beside a value"
    } else if head.contains("upgrade: websocket") {
        "an upgrade to WebSocket without its key"
    } else if head.contains("://") {
        "the absolute form"
    } else {
        "something else"
    }
}

#[test]
fn every_difference_from_nginx_and_haproxy_is_explained_and_none_is_laxer_than_nginx() {
    let mut stage = Stage::new();
    for item in corpus::items() {
        stage.compare(&item.name, &item.bytes);
    }
    let mut dice = Dice::new(SEED);
    for n in 0..GENERATED {
        stage.compare(&format!("generated {n}"), &generate::request(&mut dice));
    }
    // One line for each kind of difference, and the first request that showed it.
    let report: Vec<String> = stage
        .kinds
        .iter()
        .map(|(kind, (times, first))| format!("  {times:4} × {kind}\n      {first}"))
        .collect();
    let is_laxer = |kind: &&String| kind.starts_with("nginx: ") && !kind.starts_with("nginx: refused by");
    let laxer: Vec<&String> = stage
        .kinds
        .keys()
        .filter(is_laxer)
        .filter(|kind| !LAXER_THAN_NGINX.contains(&kind.as_str()))
        .collect();
    assert!(laxer.is_empty(), "we forward what nginx refuses: {laxer:#?}\n{}", report.join("\n"));
    let explained = |kind: &str| EXPLAINED.contains(&format!("| {kind} |"));
    let unexplained: Vec<&String> = stage.kinds.keys().filter(|kind| !explained(kind)).collect();
    assert!(
        unexplained.is_empty(),
        "not in docs/http1-differences.md: {unexplained:#?}\n{}",
        report.join("\n")
    );
}
