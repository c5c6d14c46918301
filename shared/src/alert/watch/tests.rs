//! Alerting as a whole: several processes, real time, real HTTP.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cirque_tests::letterbox::Letterbox;
use cirque_tests::{Backend, Reply, eventually, throughout};
use serde_json::Value;

use super::*;
use crate::alert::config::tests as configured;
use crate::alert::expr::Expr;
use crate::alert::fleet::{Meeting, Pending, Snapshot};
use crate::alert::notice::Told;
use crate::alert::rule::{Bound, Rule};
use crate::metrics::Registry;

const SOON: Duration = Duration::from_secs(15);

/// A place in common, as a database is.
#[derive(Debug, Default)]
struct Board {
    kept: Mutex<Kept>,
    is_broken: AtomicBool,
    /// What peers say, when somebody asks.
    words: Mutex<Vec<Watch>>,
}

#[derive(Debug, Default)]
struct Kept {
    holder: Option<(String, Millis)>,
    snapshots: BTreeMap<String, Snapshot>,
    told: Vec<Told>,
    silences: Vec<Silence>,
    happened: Vec<Happened>,
}

/// One process's way to the board.
#[derive(Debug)]
struct Member(Arc<Board>, u32);

impl Member {
    fn kept(&self) -> Result<MutexGuard<'_, Kept>, Unreachable> {
        if self.0.is_broken.load(Ordering::Acquire) {
            return Err(Unreachable("broken".into()));
        }
        Ok(self.0.kept.lock().unwrap())
    }
}

impl Fleet for Member {
    fn meet(&self, mine: Snapshot) -> Pending<'_, Result<Meeting, Unreachable>> {
        Box::pin(async move {
            let (mut kept, now) = (self.kept()?, now());
            let is_free =
                kept.holder.as_ref().is_none_or(|(name, until)| *name == mine.instance || *until <= now);
            let until = now + 400;
            if is_free {
                kept.holder = Some((mine.instance.clone(), until));
            }
            kept.snapshots.insert(mine.instance.clone(), mine);
            Ok(Meeting {
                standing: if is_free { Standing::Leads(until) } else { Standing::Follows },
                snapshots: kept.snapshots.values().cloned().collect(),
                told: kept.told.clone(),
                silences: kept.silences.clone(),
            })
        })
    }

    fn place(&self) -> u32 {
        self.1
    }

    fn ask(&self) -> Pending<'_, Vec<Word>> {
        Box::pin(async move { self.0.words.lock().unwrap().iter().map(Watch::word).collect() })
    }

    fn note(&self, told: Told) -> Pending<'_, Result<(), Unreachable>> {
        Box::pin(async move {
            self.kept()?.told.push(told);
            Ok(())
        })
    }

    fn silence(&self, silence: Silence) -> Pending<'_, Result<(), Unreachable>> {
        Box::pin(async move {
            self.kept()?.silences.push(silence);
            Ok(())
        })
    }

    fn unsilence<'a>(&'a self, id: &'a str, _: Millis) -> Pending<'a, Result<bool, Unreachable>> {
        Box::pin(async move {
            let mut kept = self.kept()?;
            let before = kept.silences.len();
            kept.silences.retain(|silence| silence.id != id);
            Ok(kept.silences.len() < before)
        })
    }

    fn silences(&self, _: Millis) -> Pending<'_, Result<Vec<Silence>, Unreachable>> {
        Box::pin(async move { Ok(self.kept()?.silences.clone()) })
    }

    fn remember(&self, happened: Happened) -> Pending<'_, Result<(), Unreachable>> {
        Box::pin(async move {
            self.kept()?.happened.push(happened);
            Ok(())
        })
    }

    fn history(&self, most: usize) -> Pending<'_, Result<Vec<Happened>, Unreachable>> {
        Box::pin(async move { Ok(self.kept()?.happened.iter().rev().take(most).cloned().collect()) })
    }
}

/// The metric `depth`, per queue.
#[derive(Debug, Default)]
struct Depth {
    queues: Mutex<BTreeMap<String, f64>>,
    looks: AtomicUsize,
}

impl Depth {
    fn set(&self, queue: &str, depth: f64) {
        self.queues.lock().unwrap().insert(queue.to_owned(), depth);
    }
}

impl Source for Depth {
    fn look<'a>(&'a self, _: &'a BTreeSet<String>) -> Pending<'a, Vec<Sample>> {
        self.looks.fetch_add(1, Ordering::AcqRel);
        let queues = self.queues.lock().unwrap();
        let sample = |(queue, depth): (&String, &f64)| Sample {
            name: "depth".into(),
            labels: [("queue".to_owned(), queue.clone())].into(),
            value: *depth,
        };
        let samples = queues.iter().map(sample).collect();
        Box::pin(std::future::ready(samples))
    }
}

fn rule(name: &str, severity: Severity) -> Rule {
    Rule {
        name: name.into(),
        tier: Tier::App,
        severity,
        title: "Too Deep".into(),
        summary: "{queue} has {value} jobs.".into(),
        facts: vec![("queue_size".into(), "{value}".into())],
        expr: Expr::parse("max by (queue) (depth)").unwrap(),
        text: String::new(),
        bound: Bound::Above(10.0),
        hold: 0,
        keep: 0,
        labels: Labels::new(),
        inhibited_by: vec![],
        inhibited_equal: vec![],
        dashboard: "queue".into(),
    }
}

/// As `[alerts]` says, with a rule of this severity, looking often.
fn settings(text: &str, severity: Severity) -> Settings {
    let mut settings = configured::read(text, &[]).unwrap();
    settings.rules = vec![rule("Deep", severity)];
    settings.interval = Duration::from_millis(50);
    settings
}

struct Process {
    watch: Watch,
    registry: Registry,
    depth: Arc<Depth>,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Process {
    fn start(name: &str, settings: Settings, board: &Arc<Board>, place: u32) -> Self {
        let registry = Registry::new();
        let fleet = Arc::new(Member(Arc::clone(board), place));
        let metrics = AlertMetrics::new(&registry);
        let watch = Watch::new(settings, Tier::App, name, metrics, fleet, Alerts::default());
        let depth = Arc::new(Depth::default());
        depth.set("mail", 0.0);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.spawn(watch.clone().run(Arc::clone(&depth) as Arc<dyn Source>, std::future::pending()));
        Self { watch, registry, depth, runtime: Some(runtime) }
    }

    fn alone(settings: Settings) -> Self {
        Self::start("one", settings, &Arc::default(), 0)
    }

    /// At once, as if it were killed.
    fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }

    fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.as_ref().unwrap().block_on(future)
    }

    fn metric(&self, line: &str) -> bool {
        self.registry.text().lines().any(|known| known == line)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn slack(backend: &Backend) -> String {
    format!("slack = {{ enabled = true, webhook_url = 'http://{}/slack' }}\n", backend.address())
}

/// The bodies that came for a path, as soon as there are so many.
#[track_caller]
fn bodies(backend: &Backend, path: &str, n: usize) -> Vec<Value> {
    let all = || {
        let requests = backend.requests_to(path);
        requests
            .iter()
            .filter_map(|request| serde_json::from_slice(&request.body).ok())
            .collect::<Vec<Value>>()
    };
    eventually(&format!("{n} messages to {path}"), SOON, all, |bodies| bodies.len() >= n)
}

#[track_caller]
fn no_more(backend: &Backend, path: &str, n: usize) {
    throughout(
        "no other message",
        Duration::from_millis(600),
        || backend.requests_to(path).len(),
        |seen| *seen == n,
    );
}

#[test]
fn a_problem_is_told_once_and_its_end_once_though_the_leader_is_killed_between() {
    let hook = Backend::start();
    let board = Arc::<Board>::default();
    let start = |name: &str| Process::start(name, settings(&slack(&hook), Severity::Critical), &board, 0);
    let mut all = ["a", "b", "c"].map(start);
    all.iter().for_each(|process| process.depth.set("mail", 50.0));
    assert_eq!(bodies(&hook, "/slack", 1)[0]["text"], ":rotating_light: *Too Deep*");
    no_more(&hook, "/slack", 1);
    let leader = board.kept.lock().unwrap().holder.clone().unwrap().0;
    let leads = all.iter_mut().find(|process| process.watch.0.instance == leader).unwrap();
    leads.kill();
    let another = || board.kept.lock().unwrap().holder.clone().unwrap().0;
    eventually("another leads", SOON, another, |holder| *holder != leader);
    no_more(&hook, "/slack", 1);
    all.iter().for_each(|process| process.depth.set("mail", 1.0));
    // What the dead one saw last counts for a moment.
    let told = bodies(&hook, "/slack", 2);
    assert_eq!(told[1]["text"], ":white_check_mark: *Resolved: Too Deep*");
    no_more(&hook, "/slack", 2);
}

// key: app.toml alerts.line_wait
// key: proxy.toml alerts.line_wait
#[test]
fn when_nobody_leads_each_waits_in_line_asks_and_tells_what_was_not_told() {
    let hook = Backend::start();
    let board = Arc::<Board>::default();
    board.is_broken.store(true, Ordering::Release);
    let text = slack(&hook) + "line_wait = '1s'";
    let start =
        |place: u32| Process::start(&place.to_string(), settings(&text, Severity::Critical), &board, place);
    let mut all = [0, 1, 2].map(start);
    *board.words.lock().unwrap() = all.iter().map(|process| process.watch.clone()).collect();
    all.iter().for_each(|process| process.depth.set("mail", 50.0));
    bodies(&hook, "/slack", 1);
    let past_all = Duration::from_millis(2800);
    throughout("the others stay silent", past_all, || hook.requests_to("/slack").len(), |seen| *seen == 1);
    all[0].kill();
    board.words.lock().unwrap().remove(0);
    let began = std::time::SystemTime::now();
    all.iter().for_each(|process| process.depth.set("mail", 1.0));
    assert_eq!(bodies(&hook, "/slack", 2)[1]["text"], ":white_check_mark: *Resolved: Too Deep*");
    assert!(began.elapsed().unwrap() >= Duration::from_millis(900), "the second waits for the first");
    no_more(&hook, "/slack", 2);
}

// key: app.toml alerts.slack.enabled, alerts.slack.webhook_url, alerts.discord.enabled, alerts.discord.webhook_url
// key: app.toml alerts.webhook.enabled, alerts.webhook.url, alerts.webhook.key, alerts.pagerduty.enabled
// key: app.toml alerts.pagerduty.url, alerts.pagerduty.routing_key, alerts.alertmanager.enabled, alerts.alertmanager.url
// key: app.toml alerts.sender, alerts.runbook_url, alerts.dashboard_url
// key: proxy.toml alerts.slack.enabled, alerts.slack.webhook_url, alerts.discord.enabled, alerts.discord.webhook_url
// key: proxy.toml alerts.webhook.enabled, alerts.webhook.url, alerts.webhook.key, alerts.pagerduty.enabled
// key: proxy.toml alerts.pagerduty.url, alerts.pagerduty.routing_key, alerts.alertmanager.enabled, alerts.alertmanager.url
// key: proxy.toml alerts.sender, alerts.runbook_url, alerts.dashboard_url
#[test]
fn every_channel_that_is_switched_on_is_told_where_its_address_leads() {
    let hook = Backend::start();
    let at = |path: &str| format!("http://{}/{path}", hook.address());
    let text = format!(
        "sender = 'shop'\nrunbook_url = 'https://example.com/runbooks'\ndashboard_url = 'https://example.com/d'\n\
         slack = {{ enabled = true, webhook_url = '{}' }}\ndiscord = {{ enabled = true, webhook_url = '{}' }}\n\
         webhook = {{ enabled = true, url = '{}', key = 'hunter2' }}\n\
         pagerduty = {{ enabled = true, url = '{}', routing_key = 'service' }}\n\
         alertmanager = {{ enabled = true, url = '{}' }}\n",
        at("slack"),
        at("discord"),
        at("hook"),
        at("pagerduty"),
        at("am"),
    );
    let process = Process::alone(settings(&text, Severity::Critical));
    process.depth.set("mail", 50.0);
    let attachment = &bodies(&hook, "/slack", 1)[0]["attachments"][0];
    assert_eq!((&attachment["footer"], &attachment["color"]), (&"shop".into(), &"danger".into()));
    let text = attachment["text"].as_str().unwrap();
    for link in ["<https://example.com/runbooks/Deep.md|Runbook>", "<https://example.com/d/queue|Dashboard>"]
    {
        assert!(text.contains(link), "{text}");
    }
    assert_eq!(bodies(&hook, "/discord", 1)[0]["embeds"][0]["title"], "Too Deep");
    assert_eq!(bodies(&hook, "/hook", 1)[0]["alerts"][0]["labels"]["alertname"], "Deep");
    let signature = hook.requests_to("/hook")[0].header("x-cirque-signature").unwrap_or_default().to_owned();
    assert!(signature.starts_with("t=") && signature.contains(",v1="), "{signature}");
    assert_eq!(bodies(&hook, "/pagerduty", 1)[0]["routing_key"], "service");
    assert_eq!(bodies(&hook, "/am/api/v2/alerts", 1)[0][0]["labels"]["queue"], "mail");
    for channel in ["slack", "discord", "webhook", "pagerduty", "alertmanager"] {
        let line = format!("alert_notifications_total{{channel=\"{channel}\",outcome=\"sent\"}} 1");
        eventually(&line, SOON, || process.metric(&line), |found| *found);
    }
}

// key: app.toml alerts.mail.enabled, alerts.mail.server, alerts.mail.username, alerts.mail.password
// key: app.toml alerts.mail.from, alerts.mail.to, alerts.mail.max_per_hour
// key: proxy.toml alerts.mail.enabled, alerts.mail.server, alerts.mail.username, alerts.mail.password
// key: proxy.toml alerts.mail.from, alerts.mail.to, alerts.mail.max_per_hour
#[test]
fn letters_about_one_problem_are_one_thread_and_no_more_than_so_many_an_hour() {
    let letters = Letterbox::open();
    let text = format!(
        "mail = {{ enabled = true, server = 'smtp://{}', username = 'ada', password = 'hunter2', \
         from = 'Site <site@example.com>', to = ['a@example.com', 'b@example.com'], max_per_hour = 2 }}",
        letters.address()
    );
    let process = Process::alone(settings(&text, Severity::Critical));
    process.depth.set("mail", 50.0);
    let first = letters.wait_for(1).remove(0);
    assert_eq!(first.from, "site@example.com");
    assert_eq!(first.to, ["a@example.com", "b@example.com"]);
    assert_eq!(first.credentials, "AGFkYQBodW50ZXIy", "ada and hunter2");
    assert_eq!(first.header("subject").as_deref(), Some("[critical] Too Deep"));
    assert!(first.text.contains("mail has 50 jobs."), "{}", first.text);
    process.depth.set("mail", 1.0);
    let second = letters.wait_for(2).remove(1);
    assert_eq!(second.header("subject").as_deref(), Some("[critical] Resolved: Too Deep"));
    assert_eq!(second.header("in-reply-to"), first.header("message-id"));
    process.depth.set("mail", 50.0);
    let firing = || process.watch.view().alerts.len();
    eventually("it is back", SOON, firing, |count| *count == 1);
    throughout("no third letter", Duration::from_millis(800), || letters.letters().len(), |seen| *seen == 2);
}

#[test]
fn a_channel_that_asks_for_a_pause_is_not_asked_before_its_end() {
    let hook = Backend::start();
    hook.answer_on("/slack", Reply::status(429).header("Retry-After", "2"));
    let process = Process::alone(settings(&slack(&hook), Severity::Critical));
    process.depth.set("mail", 50.0);
    hook.wait_for_requests("/slack", 1);
    hook.answer_on("/slack", Reply::ok("ok"));
    let requests = hook.wait_for_requests("/slack", 2);
    let pause = requests[1].at - requests[0].at;
    assert!(pause >= Duration::from_millis(1900), "{pause:?}");
    no_more(&hook, "/slack", 2);
    assert!(process.metric("alert_notifications_total{channel=\"slack\",outcome=\"later\"} 1"));
}

#[test]
fn a_channel_that_fails_is_asked_again_ever_later_and_told_once() {
    let hook = Backend::start();
    hook.answer_on("/slack", Reply::status(500));
    let process = Process::alone(settings(&slack(&hook), Severity::Critical));
    process.depth.set("mail", 50.0);
    let failed = hook.wait_for_requests("/slack", 3);
    let pauses = [failed[1].at - failed[0].at, failed[2].at - failed[1].at];
    assert!(pauses[0] >= Duration::from_millis(450) && pauses[1] >= Duration::from_millis(950), "{pauses:?}");
    hook.answer_on("/slack", Reply::ok("ok"));
    let n = hook.wait_for_requests("/slack", 4).len();
    no_more(&hook, "/slack", n);
}

#[test]
fn what_was_over_before_a_channel_could_be_told_is_never_told() {
    let hook = Backend::start();
    hook.answer_on("/slack", Reply::status(503));
    let process = Process::alone(settings(&slack(&hook), Severity::Critical));
    process.depth.set("mail", 50.0);
    hook.wait_for_requests("/slack", 1);
    process.depth.set("mail", 1.0);
    eventually("it is over", SOON, || process.watch.view().alerts.len(), |count| *count == 0);
    hook.answer_on("/slack", Reply::ok("ok"));
    let n = hook.requests_to("/slack").len();
    no_more(&hook, "/slack", n);
}

#[test]
fn a_channel_that_is_gone_is_disabled_loudly_until_a_test_arrives() {
    let hook = Backend::start();
    hook.answer_on("/slack", Reply::status(404));
    let process = Process::alone(settings(&slack(&hook), Severity::Critical));
    process.depth.set("mail", 50.0);
    hook.wait_for_requests("/slack", 1);
    no_more(&hook, "/slack", 1);
    assert!(process.metric("alert_channel_disabled{channel=\"slack\"} 1"));
    assert_eq!(process.watch.view().channels[0].disabled.as_deref(), Some("answered 404"));
    hook.answer_on("/slack", Reply::ok("ok"));
    assert_eq!(process.block_on(process.watch.test(Some("slack"))), [("slack", Outcome::Sent)]);
    let told = bodies(&hook, "/slack", 3);
    assert_eq!(told[1]["text"], ":information_source: *Test Of Alerting*");
    assert_eq!(told[2]["text"], ":rotating_light: *Too Deep*");
    assert!(process.metric("alert_channel_disabled{channel=\"slack\"} 0"));
}

#[test]
fn a_silence_holds_messages_back_and_is_in_the_history() {
    let hook = Backend::start();
    let process = Process::alone(settings(&slack(&hook), Severity::Critical));
    let wanted = Wanted {
        rule: "Deep".into(),
        labels: Labels::new(),
        author: "ada".into(),
        reason: "new disk".into(),
        seconds: 600,
    };
    let silence = process.block_on(process.watch.silence(wanted)).unwrap();
    process.depth.set("mail", 50.0);
    let state = || process.watch.view().alerts.first().map(|alert| alert.state);
    eventually("it is muted", SOON, state, |state| *state == Some("muted"));
    no_more(&hook, "/slack", 0);
    assert!(process.block_on(process.watch.unsilence(&silence.id, "ada")).unwrap());
    bodies(&hook, "/slack", 1);
    let happened = || {
        let history = process.block_on(process.watch.history(10)).unwrap();
        history.into_iter().map(|happened| happened.what).collect::<Vec<_>>()
    };
    let all = ["told", "unsilenced", "firing", "silenced"];
    eventually("all is in the history", SOON, happened, |happened| *happened == all);
}

// key: app.toml alerts.heartbeat.url, alerts.heartbeat.interval
// key: proxy.toml alerts.heartbeat.url, alerts.heartbeat.interval
#[test]
fn a_sign_of_life_is_sent_at_its_interval_by_the_one_that_leads() {
    let hook = Backend::start();
    let text = format!("heartbeat = {{ url = 'http://{}/alive', interval = '1s' }}", hook.address());
    let board = Arc::<Board>::default();
    let _all = ["a", "b"].map(|name| Process::start(name, settings(&text, Severity::Critical), &board, 0));
    let beats = hook.wait_for_requests("/alive", 3);
    let body: Value = serde_json::from_slice(&beats[0].body).unwrap();
    assert_eq!(body["status"], "alive");
    let pause = beats[2].at - beats[1].at;
    assert!((Duration::from_millis(700)..Duration::from_millis(2500)).contains(&pause), "{pause:?}");
}

// key: app.toml alerts.enabled, alerts.interval
// key: proxy.toml alerts.enabled, alerts.interval
#[test]
fn rules_are_looked_at_as_often_as_told_or_not_at_all() {
    let looks = |text: &str, window: Duration| {
        let mut settings = configured::read(text, &[]).unwrap();
        settings.rules = vec![rule("Deep", Severity::Critical)];
        let process = Process::alone(settings);
        throughout("it runs", window, || 0, |_| true);
        process.depth.looks.load(Ordering::Acquire)
    };
    let seen = looks("interval = '1s'", Duration::from_millis(2500));
    assert!((2..=3).contains(&seen), "{seen} looks in 2.5 s");
    assert_eq!(looks("interval = '1s'\nenabled = false", Duration::from_millis(1200)), 0);
}

// key: app.toml alerts.group_wait, alerts.group_interval, alerts.repeat_interval
// key: proxy.toml alerts.group_wait, alerts.group_interval, alerts.repeat_interval
#[test]
fn a_group_waits_before_its_first_its_next_and_its_repeated_message() {
    let hook = Backend::start();
    let text = slack(&hook) + "group_wait = '1s'\ngroup_interval = '2s'\nrepeat_interval = '4s'";
    let process = Process::alone(settings(&text, Severity::Warning));
    let began = tokio::time::Instant::now();
    process.depth.set("mail", 50.0);
    let first = hook.wait_for_requests("/slack", 1)[0].at;
    assert!(first - began >= Duration::from_millis(900), "{:?}", first - began);
    process.depth.set("web", 60.0);
    let requests = hook.wait_for_requests("/slack", 2);
    assert!(requests[1].at - first >= Duration::from_millis(1900), "{:?}", requests[1].at - first);
    let requests = hook.wait_for_requests("/slack", 3);
    assert!(requests[2].at - requests[1].at >= Duration::from_millis(3900));
    let text = bodies(&hook, "/slack", 3)[2]["attachments"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("still there"), "{text}");
}

#[test]
fn settings_that_change_hold_from_the_next_look_on() {
    let hook = Backend::start();
    let process = Process::alone(settings("", Severity::Critical));
    process.depth.set("mail", 50.0);
    eventually("it fires", SOON, || process.watch.view().alerts.len(), |count| *count == 1);
    process.watch.adjust(settings(&slack(&hook), Severity::Critical));
    bodies(&hook, "/slack", 1);
}

#[test]
fn code_can_raise_an_alert_itself() {
    let hook = Backend::start();
    let process = Process::alone(settings(&slack(&hook), Severity::Critical));
    process.watch.alerts().raise("Deep", [("queue".to_owned(), "web".to_owned())].into(), 99.0);
    let text = bodies(&hook, "/slack", 1)[0]["attachments"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.contains("web has 99 jobs."), "{text}");
}
