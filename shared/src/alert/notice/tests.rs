//! What is told, when, and what is not.

use super::*;
use crate::alert::rule::built_in;
use crate::alert::silence;

const TIMING: Timing = Timing { wait: 10_000, interval: 300_000, repeat: 14_400_000, patience: 0 };

fn alert(rule: &str, backend: &str, severity: Severity, since: Millis) -> Alert {
    Alert {
        rule: rule.into(),
        labels: [("backend".to_owned(), backend.to_owned()), ("upstream".to_owned(), "app".to_owned())]
            .into(),
        severity,
        title: rule.into(),
        summary: "x".into(),
        facts: vec![],
        since,
    }
}

fn scene(firing: &[Alert]) -> Scene {
    Scene { firing: firing.to_vec(), ..Scene::default() }
}

/// What is due, told at once, and the log after it.
fn tell(scene: &Scene, log: &mut Log, now: Millis) -> Vec<(Why, usize, usize)> {
    let notices = due(scene, log, "slack", Severity::Info, TIMING, now);
    let told =
        notices.iter().map(|notice| (notice.why, notice.firing.len(), notice.resolved.len())).collect();
    for notice in &notices {
        let told = notice.told("slack", log.of("slack", &notice.group), now);
        log.note(told);
    }
    told
}

#[test]
fn a_problem_is_told_once_and_its_end_once() {
    let mut log = Log::default();
    let down = scene(&[alert("BackendDown", "a", Severity::Warning, 1_000)]);
    for (now, scene, expected) in [
        (5_000, &down, vec![]),
        (11_000, &down, vec![(Why::New, 1, 0)]),
        (12_000, &down, vec![]),
        (400_000, &down, vec![]),
        (401_000, &Scene::default(), vec![(Why::Resolved, 0, 1)]),
        (402_000, &Scene::default(), vec![]),
        (9_000_000_000, &Scene::default(), vec![]),
    ] {
        assert_eq!(tell(scene, &mut log, now), expected, "{now}");
    }
}

#[test]
fn a_critical_problem_does_not_wait() {
    let down = scene(&[alert("UpstreamUnavailable", "", Severity::Critical, 1_000)]);
    assert_eq!(tell(&down, &mut Log::default(), 1_000), [(Why::New, 1, 0)]);
}

#[test]
fn what_was_never_told_is_not_told_to_be_over() {
    let mut log = Log::default();
    let down = scene(&[alert("BackendDown", "a", Severity::Warning, 1_000)]);
    assert_eq!(tell(&down, &mut log, 2_000), []);
    assert_eq!(tell(&Scene::default(), &mut log, 20_000), []);
}

#[test]
fn a_group_that_grows_or_shrinks_is_told_after_its_interval() {
    let mut log = Log::default();
    let one = alert("BackendDown", "a", Severity::Warning, 1_000);
    let two = alert("BackendDown", "b", Severity::Warning, 2_000);
    assert_eq!(tell(&scene(std::slice::from_ref(&one)), &mut log, 20_000), [(Why::New, 1, 0)]);
    assert_eq!(tell(&scene(&[one.clone(), two.clone()]), &mut log, 100_000), []);
    assert_eq!(tell(&scene(&[one.clone(), two.clone()]), &mut log, 320_000), [(Why::Changed, 2, 0)]);
    assert_eq!(tell(&scene(std::slice::from_ref(&two)), &mut log, 620_000), [(Why::Changed, 1, 1)]);
    assert_eq!(tell(&scene(&[two]), &mut log, 620_000 + TIMING.repeat), [(Why::Repeat, 1, 0)]);
}

#[test]
fn a_silenced_alert_is_not_told_until_the_silence_ends() {
    let down = alert("BackendDown", "a", Severity::Warning, 1_000);
    let wanted = silence::Wanted {
        rule: "BackendDown".into(),
        labels: Default::default(),
        author: "ada".into(),
        reason: "disk".into(),
        seconds: 60,
    };
    let silence = Silence::new(wanted, &crate::alert::rule::built_in(), 1_000).unwrap();
    let mut log = Log::default();
    for (now, expected) in [(30_000, vec![]), (61_000, vec![(Why::New, 1, 0)])] {
        let muted = mute(std::slice::from_ref(&down), &[], std::slice::from_ref(&silence), now);
        let scene = Scene { firing: vec![down.clone()], muted, ..Scene::default() };
        assert_eq!(tell(&scene, &mut log, now), expected, "{now}");
    }
}

#[test]
fn a_silence_after_the_message_holds_back_its_repetition_and_not_its_end() {
    let down = alert("BackendDown", "a", Severity::Warning, 1_000);
    let mut log = Log::default();
    assert_eq!(tell(&scene(std::slice::from_ref(&down)), &mut log, 20_000), [(Why::New, 1, 0)]);
    let muted = [(down.fingerprint(), Muted::Silenced("1".into()))].into();
    let silenced = Scene { firing: vec![down], muted, ..Scene::default() };
    assert_eq!(tell(&silenced, &mut log, 20_000 + TIMING.repeat), []);
    assert_eq!(tell(&Scene::default(), &mut log, 20_001 + TIMING.repeat), [(Why::Resolved, 0, 1)]);
}

#[test]
fn a_worse_alert_of_the_same_upstream_explains_a_lesser_one() {
    let rules = built_in();
    let down = alert("BackendDown", "a", Severity::Warning, 1_000);
    let mut gone = alert("UpstreamUnavailable", "", Severity::Critical, 1_000);
    let muted = mute(&[down.clone(), gone.clone()], &rules, &[], 2_000);
    assert_eq!(muted.get(&down.fingerprint()), Some(&Muted::Inhibited("UpstreamUnavailable".into())));
    assert_eq!(muted.get(&gone.fingerprint()), None);
    gone.labels.insert("upstream".into(), "other".into());
    assert!(mute(&[down, gone], &rules, &[], 2_000).is_empty());
}

#[test]
fn a_channel_hears_what_is_bad_enough_for_it() {
    let down = scene(&[alert("BackendDown", "a", Severity::Warning, 1_000)]);
    let due = |least| due(&down, &Log::default(), "mail", least, TIMING, 60_000).len();
    assert_eq!([Severity::Warning, Severity::Critical].map(due), [1, 0]);
}

#[test]
fn who_is_later_in_line_waits_and_stays_silent_when_it_was_told() {
    let down = scene(&[alert("UpstreamUnavailable", "", Severity::Critical, 1_000)]);
    let second = Timing { patience: 15_000, ..TIMING };
    let mut log = Log::default();
    let due = |log: &Log, now| due(&down, log, "slack", Severity::Info, second, now).len();
    assert_eq!((due(&log, 15_999), due(&log, 16_000)), (0, 1));
    tell(&down, &mut log, 1_000);
    assert_eq!(due(&log, 16_000), 0);
}

#[test]
fn the_end_of_an_alert_waits_in_line_too() {
    let down = alert("UpstreamUnavailable", "", Severity::Critical, 1_000);
    let mut log = Log::default();
    tell(&scene(std::slice::from_ref(&down)), &mut log, 1_000);
    let over = Scene { ended: [(down.fingerprint(), 100_000)].into(), ..Scene::default() };
    let second = Timing { patience: 15_000, ..TIMING };
    let due = |now| due(&over, &log, "slack", Severity::Info, second, now).len();
    assert_eq!((due(114_999), due(115_000)), (0, 1));
}
