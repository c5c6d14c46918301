//! What a pool does when backends come, go and are busy.

use std::time::Duration;

use cirque_shared::metrics::Registry;
use tokio::time::Instant;

use super::availability::tally::Evidence;
use super::availability::{Change, Event, Reason};
use super::{NoBackend, Upstream};
use crate::balance::Key;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::operator::Orders;

const KEY: Key = Key::ANY;
const FAILED: Event = Event::AttemptFailed {
    is_listed: true,
    evidence: Evidence { faults_in_row: 1, errors_in_row: 0, attempts: 1, failed: 1 },
};

fn pool(extra: &str) -> Upstream {
    let text = format!(
        "[[listeners]]\nname = 'l'\naddress = '127.0.0.1:1'\n\
         [[routes]]\nname = 'r'\nupstream = 'u'\n\
         [upstreams.u]\n{extra}\n\
         [[upstreams.u.backends]]\nid = 'a'\naddress = '127.0.0.1:1'\nmax_fails = 1\nfail_timeout = '10s'\n\
         [[upstreams.u.backends]]\nid = 'b'\naddress = '127.0.0.1:2'\nmax_fails = 1\nfail_timeout = '10s'\n"
    );
    of_text(&text, None)
}

fn of_text(text: &str, previous: Option<&Upstream>) -> Upstream {
    let config = Config::from_text("test", text).unwrap();
    let metrics = Metrics::new(&Registry::new());
    Upstream::new(config.upstreams[0].clone(), &Orders::default(), &metrics, previous)
}

/// A pool of backends with these keys each, called a, b, c and so on.
fn pool_of(extra: &str, backends: &[&str]) -> Upstream {
    of_text(&text_of(extra, backends), None)
}

fn text_of(extra: &str, backends: &[&str]) -> String {
    let mut text = format!(
        "[[listeners]]\nname = 'l'\naddress = '127.0.0.1:1'\n\
         [[routes]]\nname = 'r'\nupstream = 'u'\n[upstreams.u]\n{extra}\n"
    );
    for ((port, id), keys) in (1..).zip('a'..).zip(backends) {
        text += &format!("[[upstreams.u.backends]]\nid = '{id}'\naddress = '127.0.0.1:{port}'\n{keys}\n");
    }
    text
}

/// How often each backend is chosen when nothing is held.
fn counts(pool: &Upstream, now: Instant, picks: usize) -> Vec<usize> {
    let mut counts = vec![0; pool.backends.len()];
    for _ in 0..picks {
        counts[chosen(pool, &[], now).unwrap()] += 1;
    }
    counts
}

fn chosen(pool: &Upstream, tried: &[usize], now: Instant) -> Result<usize, NoBackend> {
    pool.choose(KEY, tried, now).map(|chosen| chosen.lease.index)
}

#[tokio::test(start_paused = true)]
async fn leases_count_until_they_are_dropped() {
    let pool = pool("");
    let now = Instant::now();
    let first = pool.choose(KEY, &[], now).unwrap();
    let second = pool.choose(KEY, &[], now).unwrap();
    assert_ne!(first.lease.index, second.lease.index, "the busy one is avoided");
    assert_eq!(pool.backends[0].in_flight() + pool.backends[1].in_flight(), 2);
    drop((first, second));
    assert_eq!(pool.backends[0].in_flight() + pool.backends[1].in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_tried_backend_is_not_chosen_again() {
    let pool = pool("");
    let now = Instant::now();
    for _ in 0..20 {
        assert_eq!(chosen(&pool, &[0], now), Ok(1));
    }
    assert_eq!(chosen(&pool, &[0, 1], now), Err(NoBackend::AllTried));
}

#[tokio::test(start_paused = true)]
async fn an_ejected_backend_gets_one_trial_after_its_time() {
    let pool = pool("");
    let mut now = Instant::now();
    assert_eq!(pool.apply(0, FAILED, now), Some(Change::Ejected(Reason::MaxFails)));
    assert!((0..20).all(|_| chosen(&pool, &[], now) == Ok(1)));
    now += Duration::from_millis(10_001);
    let trials = (0..50).filter(|_| pool.choose(KEY, &[], now).unwrap().is_trial).count();
    assert_eq!(trials, 1, "one request tries it, the others do not");
    pool.apply(0, Event::TrialSucceeded, now);
    now += Duration::from_secs(10);
    let to_first = (0..50).filter(|_| chosen(&pool, &[], now) == Ok(0)).count();
    assert!(to_first > 5, "it takes its share again, when it has started slowly");
}

#[tokio::test(start_paused = true)]
async fn a_choice_ends_at_any_fraction_of_a_millisecond_around_a_trial() {
    let began = Instant::now();
    for micros in (9_998_000..10_002_000_u64).step_by(50) {
        let pool = pool("");
        pool.apply(0, FAILED, began + Duration::from_micros(micros % 997));
        assert!(pool.choose(KEY, &[], began + Duration::from_micros(micros)).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn only_available_backends_are_worth_throwing_an_answer_away() {
    let pool = pool("fail_open = true");
    let now = Instant::now();
    assert_eq!(pool.n_untried(&[0], now, false), 1);
    for _ in 0..3 {
        pool.apply(1, Event::ProbeFailed, now);
    }
    assert_eq!(pool.n_untried(&[0], now, false), 0);
    assert_eq!(pool.n_untried(&[0], now, true), 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_available_backend_stays() {
    let pool = pool("");
    let now = Instant::now();
    assert_eq!(pool.apply(0, FAILED, now), Some(Change::Ejected(Reason::MaxFails)));
    assert_eq!(pool.apply(1, FAILED, now), None);
    assert_eq!(chosen(&pool, &[], now), Ok(1));
}

#[tokio::test(start_paused = true)]
async fn with_none_available_all_are_tried_and_counted() {
    let pool = pool("fail_open = true");
    let now = Instant::now();
    for index in [0, 0, 0, 1, 1, 1] {
        pool.apply(index, Event::ProbeFailed, now);
    }
    assert_eq!(pool.n_available(now), 0);
    assert!(pool.choose(KEY, &[], now).unwrap().is_fail_open);
    assert_eq!(pool.metrics.fail_open.get(), 1);
}

// key: upstreams.*.fail_open
#[tokio::test(start_paused = true)]
async fn with_none_available_a_pool_that_does_not_fail_open_refuses() {
    let pool = pool("fail_open = false");
    let now = Instant::now();
    for index in [0, 0, 0, 1, 1, 1] {
        pool.apply(index, Event::ProbeFailed, now);
    }
    assert_eq!(chosen(&pool, &[], now), Err(NoBackend::NoneAvailable));
}

#[tokio::test(start_paused = true)]
async fn a_backup_is_asked_only_for_want_of_others() {
    let pool = pool_of("", &["", "", "backup = true"]);
    let now = Instant::now();
    assert_eq!(counts(&pool, now, 50)[2], 0);
    assert_eq!(chosen(&pool, &[0, 1], now), Ok(2), "the others were tried");
    for index in [0, 0, 0, 1, 1, 1] {
        pool.apply(index, Event::ProbeFailed, now);
    }
    assert_eq!(chosen(&pool, &[], now), Ok(2), "the others are down");
    assert_eq!(pool.metrics.backups.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_backup_is_asked_when_the_others_are_full() {
    let pool = pool_of("", &["max_conns = 1", "backup = true"]);
    let now = Instant::now();
    let held = pool.choose(KEY, &[], now).unwrap();
    assert_eq!((held.lease.index, chosen(&pool, &[], now)), (0, Ok(1)));
    drop(held);
    assert_eq!(chosen(&pool, &[], now), Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_weight_of_zero_gets_nothing_new_not_even_for_want_of_others() {
    let pool = pool_of("fail_open = true", &["weight = 0", ""]);
    let now = Instant::now();
    assert_eq!(counts(&pool, now, 50), [0, 50]);
    assert_eq!(chosen(&pool, &[1], now), Err(NoBackend::AllTried));
    assert_eq!(pool.n_untried(&[1], now, true), 0);
    // It is no reason to eject the only one that serves.
    for _ in 0..10 {
        assert_eq!(pool.apply(1, FAILED, now), None);
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_is_back_or_new_starts_slowly_and_at_the_start_nobody_does() {
    let text = |ids: &[&str]| text_of("balance = 'random'", ids);
    let pool = of_text(&text(&["slow_start = '10s'"; 2]), None);
    let now = Instant::now();
    let first = counts(&pool, now, 2000);
    assert!(first[0] > 800, "{first:?}");
    for event in [Event::ProbeFailed; 3].into_iter().chain([Event::ProbeSucceeded; 2]) {
        pool.apply(0, event, now);
    }
    for (seconds, expected) in [(0, 0.1 / 1.1), (5, 0.5 / 1.5), (10, 0.5)] {
        let seen = counts(&pool, now + Duration::from_secs(seconds), 4000)[0] as f64 / 4000.0;
        assert!((seen - expected).abs() < 0.04, "{seen} instead of {expected} after {seconds} s");
    }
    // A reload that adds one: it is new, the others are not.
    let larger = of_text(&text(&["slow_start = '10s'"; 3]), Some(&pool));
    let seen = counts(&larger, Instant::now() + Duration::from_secs(0), 4000);
    assert!(seen[2] < 400 && seen[1] > 1500, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_start_holds_for_requests_at_once_too() {
    let pool = pool_of("", &["max_conns = 20\nslow_start = '10s'"]);
    let now = Instant::now();
    for event in [Event::ProbeFailed; 3].into_iter().chain([Event::ProbeSucceeded; 2]) {
        pool.apply(0, event, now);
    }
    let taken =
        |now| std::iter::from_fn(|| pool.choose(KEY, &[], now).ok()).take(100).collect::<Vec<_>>().len();
    assert_eq!(taken(now), 2);
    assert_eq!(taken(now + Duration::from_secs(5)), 10);
    assert_eq!(taken(now + Duration::from_secs(10)), 20);
}

#[tokio::test(start_paused = true)]
async fn the_same_key_goes_to_the_same_backend_and_its_neighbour_while_that_is_out() {
    let pool = pool_of("balance = 'hash'", &["slow_start = '10s'"; 4]);
    let now = Instant::now();
    let home = |key: u32| pool.choose(Key::of(&key.to_le_bytes()), &[], now).unwrap().lease.index;
    let before: Vec<usize> = (0..500).map(home).collect();
    assert_eq!(before, (0..500).map(home).collect::<Vec<_>>());
    for _ in 0..3 {
        pool.apply(1, Event::ProbeFailed, now);
    }
    let during: Vec<usize> = (0..500).map(home).collect();
    assert!(before.iter().zip(&during).all(|(was, is)| *is != 1 && (was == is || *was == 1)));
    for _ in 0..2 {
        pool.apply(1, Event::ProbeSucceeded, now);
    }
    assert_eq!(before, (0..500).map(home).collect::<Vec<_>>(), "no slow start: a key would move twice");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_fails_at_once_does_not_look_idle() {
    let pool = pool_of("", &["max_fails = 0"; 3]);
    let now = Instant::now();
    // The good ones have four requests each; the bad one fails each of its own at once.
    let held: Vec<_> =
        (0..12).map(|_| pool.choose(KEY, &[], now).unwrap()).filter(|held| held.lease.index != 0).collect();
    let mut failed = 0;
    let mut good = Vec::new();
    for _ in 0..100 {
        let taken = pool.choose(KEY, &[], now).unwrap();
        if taken.lease.index == 0 {
            pool.failed(&taken, crate::retry::Failure::Connect, false, now);
            failed += 1;
        } else {
            good.push(taken);
        }
    }
    assert!(failed < 45, "{failed} of 100 went into the black hole, with {} held", held.len());
}

#[tokio::test(start_paused = true)]
async fn in_shadow_nothing_leaves_rotation() {
    let pool = pool_of("outlier = { shadow = true }", &["max_fails = 1", ""]);
    let now = Instant::now();
    assert_eq!(pool.apply(0, FAILED, now), Some(Change::WouldEject(Reason::MaxFails)));
    assert!(counts(&pool, now, 100)[0] > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn requests_at_once_never_exceed_the_limit_and_all_who_wait_are_served() {
    const LIMIT: u32 = 3;
    let pool = std::sync::Arc::new(pool_of(
        "queue = 1000\nqueue_timeout = '20s'",
        &["max_conns = 3", "max_conns = 3"],
    ));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let pool = std::sync::Arc::clone(&pool);
        tasks.spawn(async move {
            for _ in 0..50 {
                let now = Instant::now();
                let taken = match pool.choose(KEY, &[], now) {
                    Err(NoBackend::Full) => pool.wait(KEY, &[], now + Duration::from_secs(20)).await,
                    taken => taken,
                };
                let taken = taken.expect("room comes in time");
                assert!(taken.lease.in_flight() <= LIMIT);
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(pool.backends[0].in_flight() + pool.backends[1].in_flight(), 0);
    assert_eq!(pool.metrics.queue_length.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_line_is_bounded_and_so_is_the_wait() {
    let pool = pool_of("queue = 1", &["max_conns = 1"]);
    let now = Instant::now();
    let held = pool.choose(KEY, &[], now).unwrap();
    let until = now + Duration::from_secs(2);
    let first = pool.wait(KEY, &[], until);
    tokio::pin!(first);
    let pending = std::future::poll_fn(|cx| std::task::Poll::Ready(first.as_mut().poll(cx).is_pending()));
    assert!(pending.await);
    assert_eq!(pool.wait(KEY, &[], until).await.err(), Some(NoBackend::QueueFull));
    assert_eq!(first.await.err(), Some(NoBackend::QueueTimeout));
    assert_eq!(Instant::now() - now, Duration::from_secs(2));
    assert_eq!((pool.metrics.queue_overflow.get(), pool.metrics.queue_timeouts.get()), (1, 1));
    drop(held);
    assert!(chosen(&pool, &[], now).is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_whose_place_is_elsewhere_does_not_hold_up_those_behind() {
    let pool = pool_of("", &["max_conns = 1", "max_conns = 1"]);
    let now = Instant::now();
    let (first, second) = (pool.choose(KEY, &[], now).unwrap(), pool.choose(KEY, &[], now).unwrap());
    let (on_a, _on_b) = if first.lease.index == 0 { (first, second) } else { (second, first) };
    let until = now + Duration::from_secs(10);
    // The head of the line has tried a already and waits for b; the next one takes a.
    let (head, next) = (pool.wait(KEY, &[0], until), pool.wait(KEY, &[], until));
    tokio::pin!(head, next);
    tokio::select! {
        biased;
        _ = &mut head => panic!("b is not free"),
        _ = &mut next => panic!("nothing is free"),
        () = std::future::ready(()) => {}
    }
    drop(on_a);
    tokio::select! {
        biased;
        _ = &mut head => panic!("b is not free"),
        taken = &mut next => assert_eq!(taken.unwrap().lease.index, 0),
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_comes_back_is_given_to_those_who_wait() {
    let pool = pool_of("fail_open = false", &["max_conns = 1", ""]);
    let now = Instant::now();
    for _ in 0..3 {
        pool.apply(1, Event::ProbeFailed, now);
    }
    let _held = pool.choose(KEY, &[], now).unwrap();
    let waiting = pool.wait(KEY, &[], now + Duration::from_secs(10));
    tokio::pin!(waiting);
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("nothing is free"),
        () = std::future::ready(()) => {}
    }
    for _ in 0..2 {
        pool.apply(1, Event::ProbeSucceeded, now);
    }
    assert_eq!(waiting.await.unwrap().lease.index, 1);
}
