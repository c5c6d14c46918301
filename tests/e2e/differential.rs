//! The same requests through our path, nginx and HAProxy to a strict recorder: where they differ, and why.
//!
//! Fails when we forward what nginx refuses, or when a difference is not explained in `docs/http1-differences.md`.

pub(crate) mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use cirque_tests::recorder::Message;
use cirque_tests::{Connection, Edge, Recorder, Reference, eventually};
use tokio::time::Instant;

use crate::corpus;
use generate::Dice;

const GENERATED: usize = 400;
const SEED: u64 = 3;
/// What we forward although nginx refuses it: a form that RFC 9112 §3.2.4 asks for.
const LAXER_THAN_NGINX: [&str; 1] = ["nginx: refuses the asterisk form"];
const EXPLAINED: &str = include_str!("../../docs/http1-differences.md");
/// How long a proxy may say nothing before it counts as waiting for more.
const SILENCE: Duration = Duration::from_millis(700);
/// After an answer, how long for another one.
const AFTERWARDS: Duration = Duration::from_millis(50);
const SOON: Duration = Duration::from_secs(10);

/// What one proxy made of some bytes.
#[derive(Debug, Clone)]
struct Verdict {
    /// What the backend read: method, target and body of each whole message.
    forwarded: Vec<(String, String, Vec<u8>)>,
    /// The statuses of its own making.
    refused: Vec<u16>,
    /// What the backend found wrong with what was forwarded.
    faults: Vec<String>,
    /// Under which id our path logged its first refusal.
    id: String,
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
        let (refused, id) = own_answers(&answers);
        Verdict {
            forwarded: whole
                .map(|seen| (seen.method.clone(), seen.target.clone(), seen.body.clone()))
                .collect(),
            refused,
            id,
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

/// The statuses of answers that did not come from the recorder, and the id of the first of them. nginx answers a
/// head without a version with a page only.
fn own_answers(answers: &str) -> (Vec<u16>, String) {
    let (mut statuses, mut id) = (Vec::new(), String::new());
    for part in answers.split("HTTP/1.").skip(1) {
        let head = part.split("\r\n\r\n").next().unwrap_or_default();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        if status < 200 || head.to_lowercase().contains("x-recorder") {
            continue;
        }
        if statuses.is_empty() {
            let line = head.lines().find_map(|line| line.strip_prefix("X-Request-ID: "));
            id = line.unwrap_or_default().to_owned();
        }
        statuses.push(status);
    }
    if !answers.contains("HTTP/1.") && answers.contains("<html>") {
        statuses.push(400);
    }
    (statuses, id)
}

/// The three, side by side.
struct Stage {
    edge: Edge,
    _references: [Reference; 2],
    subjects: [Subject; 3],
    /// Every difference: who differs and how, the id of our refusal, and the request that showed it.
    found: Vec<(String, String, String)>,
}

impl Stage {
    fn new() -> Stage {
        let [ours, nginxs, haproxys] = std::array::from_fn(|_| Recorder::start());
        let edge = Edge::builder().backend_at("recorder", ours.address(), "").without_probe().start();
        let nginx = Reference::nginx(nginxs.address());
        let haproxy = Reference::haproxy(haproxys.address());
        let subjects = [
            Subject { address: edge.address(), recorder: ours },
            Subject { address: nginx.address(), recorder: nginxs },
            Subject { address: haproxy.address(), recorder: haproxys },
        ];
        Stage { edge, _references: [nginx, haproxy], subjects, found: Vec::new() }
    }

    fn compare(&mut self, what: &str, bytes: &[u8]) {
        let [ours, nginx, haproxy] = std::thread::scope(|scope| {
            let running = self.subjects.each_ref().map(|subject| scope.spawn(|| subject.verdict(bytes)));
            running.map(|thread| thread.join().expect("a verdict is reached"))
        });
        assert!(ours.faults.is_empty(), "{what}: our path forwarded {:?}", ours.faults);
        for (name, other) in [("nginx", &nginx), ("HAProxy", &haproxy)] {
            let Some(kind) = difference(&ours, other, bytes) else { continue };
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
            let shown = format!("{what} {shown:?}\n      ours {ours:?}\n      {name} {other:?}");
            self.found.push((format!("{name}: {kind}"), ours.id.clone(), shown));
        }
    }

    /// Each kind of difference, with how often it was seen and the first request that showed it. A refusal of ours is
    /// named by its rule in the log, "-" where it broke none.
    fn kinds(&self) -> BTreeMap<String, (usize, String)> {
        let asked: BTreeSet<&str> =
            self.found.iter().map(|(_, id, _)| id.as_str()).filter(|id| !id.is_empty()).collect();
        let rules = || {
            let lines = self.edge.access_log();
            let rules = lines.iter().filter_map(|line| {
                Some((
                    line["request.id"].as_str()?.to_owned(),
                    line["rule"].as_str().unwrap_or("-").to_owned(),
                ))
            });
            rules.filter(|(id, _)| asked.contains(id.as_str())).collect::<BTreeMap<String, String>>()
        };
        let rules = eventually("every refusal is logged", SOON, rules, |rules| rules.len() == asked.len());
        let mut kinds = BTreeMap::new();
        for (kind, id, shown) in &self.found {
            let rule = rules.get(id).map_or("-", String::as_str);
            kinds.entry(kind.replace("{rule}", rule)).or_insert_with(|| (0, shown.clone())).0 += 1;
        }
        kinds
    }
}

/// How the verdicts differ, in one phrase; `None` where they agree.
fn difference(ours: &Verdict, other: &Verdict, bytes: &[u8]) -> Option<String> {
    let (mine, theirs) = (&ours.forwarded, &other.forwarded);
    let common = mine.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    if common == mine.len() && common == theirs.len() {
        return None;
    }
    if common == mine.len() && !ours.refused.is_empty() {
        return Some("refused by `{rule}`".to_owned());
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
    if head.starts_with("options * ") {
        "the asterisk form"
    } else if head.contains('\t') {
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
    let kinds = stage.kinds();
    // One line for each kind of difference, and the first request that showed it.
    let report: Vec<String> =
        kinds.iter().map(|(kind, (times, first))| format!("  {times:4} × {kind}\n      {first}")).collect();
    let is_laxer = |kind: &&String| kind.starts_with("nginx: ") && !kind.starts_with("nginx: refused by");
    let laxer: Vec<&String> =
        kinds.keys().filter(is_laxer).filter(|kind| !LAXER_THAN_NGINX.contains(&kind.as_str())).collect();
    assert!(laxer.is_empty(), "we forward what nginx refuses: {laxer:#?}\n{}", report.join("\n"));
    let explained = |kind: &str| EXPLAINED.contains(&format!("| {kind} |"));
    let unexplained: Vec<&String> = kinds.keys().filter(|kind| !explained(kind)).collect();
    assert!(
        unexplained.is_empty(),
        "not in docs/http1-differences.md: {unexplained:#?}\n{}",
        report.join("\n")
    );
}
