//! Which failures eject, for how long, and who is spared.

use proptest::prelude::*;

use super::*;
use crate::config::policy;

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    Limits {
        fall: 3,
        rise: 2,
        fails: policy::Fails { max_fails: 3, fail_timeout: 30 * SECOND },
        outlier: policy::Outlier {
            consecutive_faults: 5,
            consecutive_errors: 6,
            failure_ratio: 0.5,
            min_requests: 20,
            window: 10 * SECOND,
            eject_time: 10 * SECOND,
            max_eject_time: 60 * SECOND,
            max_ejected: 0.5,
            shadow: false,
        },
        has_others: true,
        has_room: true,
    }
}

fn in_row(faults_in_row: u32, errors_in_row: u32) -> Evidence {
    Evidence { faults_in_row, errors_in_row, attempts: 1, failed: 1 }
}

fn of_all(failed: u32, attempts: u32) -> Evidence {
    Evidence { attempts, failed, ..Evidence::default() }
}

/// What one failure changes for a backend that has a clean record.
fn first_change(evidence: Evidence, limits: &Limits) -> Option<Change> {
    Outlier::default().failed(false, evidence, Instant::now(), limits)
}

fn ejected_for(outlier: &Outlier, now: Instant) -> Option<Duration> {
    match outlier {
        Outlier::Ejected { until, .. } => Some(until.duration_since(now)),
        Outlier::Admitted(_) => None,
    }
}

#[test]
fn each_rule_has_its_limit_and_its_reason() {
    for (evidence, expected) in [
        (in_row(4, 0), None),
        (in_row(5, 0), Some(Reason::FaultsInRow)),
        (in_row(0, 5), None),
        (in_row(0, 6), Some(Reason::ErrorsInRow)),
        (in_row(4, 5), None),
        (of_all(19, 19), None),
        (of_all(10, 20), Some(Reason::FailureRatio)),
        (of_all(9, 20), None),
        (of_all(499, 1000), None),
        (of_all(500, 1000), Some(Reason::FailureRatio)),
    ] {
        assert_eq!(first_change(evidence, &limits()), expected.map(Change::Ejected), "{evidence:?}");
    }
}

#[test]
fn a_rule_of_zero_is_off() {
    let mut off = limits();
    off.outlier.consecutive_faults = 0;
    off.outlier.consecutive_errors = 0;
    off.outlier.failure_ratio = 0.0;
    for evidence in [in_row(1000, 0), in_row(0, 1000), of_all(1000, 1000)] {
        assert_eq!(first_change(evidence, &off), None, "{evidence:?}");
    }
}

#[test]
fn nginxs_rule_counts_only_what_is_listed_and_its_time_does_not_grow() {
    let mut outlier = Outlier::default();
    let mut now = Instant::now();
    for _ in 0..10 {
        assert_eq!(outlier.failed(false, in_row(1, 0), now, &limits()), None);
    }
    for _ in 0..3 {
        for expected in [None, None, Some(Change::Ejected(Reason::MaxFails))] {
            assert_eq!(outlier.failed(true, in_row(1, 0), now, &limits()), expected);
        }
        assert_eq!(ejected_for(&outlier, now), Some(30 * SECOND));
        now += 30 * SECOND;
        outlier.begin_trial(now);
        outlier.end_trial(now);
    }
}

#[test]
fn ejections_double_up_to_a_cap_and_are_forgiven_one_by_one() {
    let mut outlier = Outlier::default();
    let mut now = Instant::now();
    let mut ejected = |healthy: Duration| {
        now += healthy;
        outlier.failed(false, in_row(5, 0), now, &limits());
        let term = ejected_for(&outlier, now).unwrap();
        now += term;
        outlier.begin_trial(now).unwrap();
        outlier.end_trial(now).unwrap();
        term.as_secs()
    };
    let terms: Vec<u64> = (0..5).map(|_| ejected(SECOND)).collect();
    assert_eq!(terms, [10, 20, 40, 60, 60]);
    // Five are held against it; a minute in rotation forgives all, twenty seconds two.
    assert_eq!(ejected(20 * SECOND), 60, "the fourth again");
    assert_eq!(ejected(35 * SECOND), 20, "three of four are forgiven");
    assert_eq!(ejected(600 * SECOND), 10);
}

#[test]
fn a_failed_trial_ejects_for_longer() {
    let mut outlier = Outlier::default();
    let now = Instant::now();
    outlier.failed(false, in_row(5, 0), now, &limits());
    let later = now + 10 * SECOND;
    assert_eq!(outlier.begin_trial(later), Some(Change::TrialBegan));
    assert_eq!(outlier.fail_trial(false, Fault::Connection, later, &limits()), None);
    assert_eq!(ejected_for(&outlier, later), Some(20 * SECOND));
}

#[test]
fn a_trial_that_fails_as_no_rule_minds_admits() {
    use Fault::{Answer, Connection, Gateway};
    for (evidence, is_listed, why, minded) in [
        (in_row(1, 0), true, Reason::MaxFails, &[][..]),
        (in_row(5, 0), false, Reason::FaultsInRow, &[Connection][..]),
        (in_row(0, 6), false, Reason::ErrorsInRow, &[Connection, Gateway][..]),
        (of_all(20, 20), false, Reason::FailureRatio, &[Connection, Gateway, Answer][..]),
    ] {
        for fault in [Connection, Gateway, Answer] {
            let now = Instant::now();
            let mut outlier = Outlier::default();
            let changes = (0..3).find_map(|_| outlier.failed(is_listed, evidence, now, &limits()));
            assert_eq!(changes, Some(Change::Ejected(why)));
            let admitted = outlier.fail_trial(false, fault, now, &limits()) == Some(Change::Admitted);
            assert_eq!(admitted, !minded.contains(&fault), "{why:?} {fault:?}");
        }
    }
}

#[test]
fn in_shadow_nothing_is_ejected_and_each_ejection_that_would_be_is_told_once() {
    let mut shadow = limits();
    shadow.outlier.shadow = true;
    let mut outlier = Outlier::default();
    let mut now = Instant::now();
    let mut told = Vec::new();
    for second in 0..60_u64 {
        if outlier.failed(true, in_row(9, 0), now, &shadow) == Some(Change::WouldEject(Reason::FaultsInRow)) {
            told.push(second);
        }
        assert!(matches!(outlier, Outlier::Admitted(_)));
        now += SECOND;
    }
    assert_eq!(told, [0, 10, 30], "as long after each other as it would have been out");
}

#[test]
fn one_more_is_spared_when_as_many_as_may_be_are_out_and_that_is_told_once_a_term() {
    let full = Limits { has_room: false, ..limits() };
    let (mut outlier, now) = (Outlier::default(), Instant::now());
    let mut at = |second: u64, limits: &Limits| {
        outlier.failed(false, in_row(9, 0), now + Duration::from_secs(second), limits)
    };
    assert_eq!(at(0, &full), Some(Change::Spared(Reason::FaultsInRow)));
    assert_eq!((at(1, &full), at(9, &full)), (None, None));
    assert_eq!(at(10, &full), Some(Change::Spared(Reason::FaultsInRow)));
    assert_eq!(at(11, &limits()), Some(Change::Ejected(Reason::FaultsInRow)), "there is room again");
}

#[test]
fn a_share_of_a_few_backends_is_rounded_down_and_never_below_one() {
    for (ejected, backends, most, expected) in [
        (0, 1, 0.01, true),
        (0, 3, 0.1, true),
        (1, 3, 0.5, false),
        (1, 4, 0.5, true),
        (2, 4, 0.5, false),
        (28, 100, 0.29, true),
        (29, 100, 0.29, false),
        (9, 10, 1.0, true),
    ] {
        assert_eq!(has_room(ejected, backends, most), expected, "{ejected} of {backends}, {most}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Fails(bool, u32, u32),
    Trial(bool),
    Waits(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (any::<bool>(), 0_u32..8, 0_u32..8)
            .prop_map(|(listed, faults, errors)| Step::Fails(listed, faults, errors)),
        any::<bool>().prop_map(Step::Trial),
        (0_u64..90).prop_map(Step::Waits),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #[test]
    fn never_more_than_the_share_are_out_whoever_fails_when(
        backends in 1_usize..40,
        percent in 1_u32..=100,
        fails in prop::collection::vec((0_usize..40, 0_u64..20), 1..200),
    ) {
        let share = f64::from(percent) / 100.0;
        let most = (backends * percent as usize / 100).max(1);
        let mut pool = vec![Outlier::default(); backends];
        let mut now = Instant::now();
        let is_out = |outlier: &Outlier, now| matches!(outlier, Outlier::Ejected { until, .. } if *until > now);
        for (index, seconds) in fails {
            now += Duration::from_secs(seconds);
            let index = index % backends;
            let out = |pool: &[Outlier]| pool.iter().filter(|outlier| is_out(outlier, now)).count();
            let limits = Limits { has_room: has_room(out(&pool), backends, share), ..limits() };
            let before = out(&pool);
            let change = pool[index].failed(false, in_row(9, 0), now, &limits);
            prop_assert!(out(&pool) <= most, "{} of {backends} at {percent}%", out(&pool));
            // Nobody is spared while there is room.
            prop_assert!(before >= most || !matches!(change, Some(Change::Spared(_))));
        }
    }

    #[test]
    fn there_is_always_a_way_back_and_the_last_one_is_spared(steps in steps(), is_last: bool) {
        let limits = Limits { has_others: !is_last, ..limits() };
        let mut outlier = Outlier::default();
        let mut now = Instant::now();
        for step in steps {
            match step {
                Step::Fails(is_listed, faults, errors) => {
                    outlier.failed(is_listed, in_row(faults, errors), now, &limits);
                }
                Step::Trial(went_well) if outlier.begin_trial(now).is_some() => {
                    if went_well { outlier.end_trial(now) } else { outlier.fail_trial(true, Fault::Connection, now, &limits) };
                }
                Step::Trial(_) => {}
                Step::Waits(seconds) => now += Duration::from_secs(seconds),
            }
            let left = ejected_for(&outlier, now).unwrap_or_default();
            prop_assert!(left <= limits.outlier.max_eject_time, "{left:?}");
            prop_assert!(!is_last || matches!(outlier, Outlier::Admitted(_)));
        }
        if ejected_for(&outlier, now).is_some() {
            now += limits.outlier.max_eject_time;
            prop_assert_eq!(outlier.begin_trial(now), Some(Change::TrialBegan));
            prop_assert_eq!(outlier.end_trial(now), Some(Change::Admitted));
        }
    }
}
