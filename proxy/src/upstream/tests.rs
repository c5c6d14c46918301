//! What a pool does when backends come, go and are busy.

use std::time::Duration;

use cirque_shared::metrics::Registry;
use tokio::time::Instant;

use super::availability::{Change, Event};
use super::{NoBackend, Upstream};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::operator::Orders;

fn pool(extra: &str) -> Upstream {
    let text = format!(
        "[[listeners]]\nname = 'l'\naddress = '127.0.0.1:1'\n\
         [[routes]]\nname = 'r'\nupstream = 'u'\n\
         [upstreams.u]\n{extra}\n\
         [[upstreams.u.backends]]\nid = 'a'\naddress = '127.0.0.1:1'\nmax_fails = 1\nfail_timeout = '10s'\n\
         [[upstreams.u.backends]]\nid = 'b'\naddress = '127.0.0.1:2'\nmax_fails = 1\nfail_timeout = '10s'\n"
    );
    let config = Config::from_text("test", &text).unwrap();
    Upstream::new(config.upstreams[0].clone(), &Orders::default(), &Metrics::new(&Registry::new()), None)
}

fn chosen(pool: &Upstream, tried: &[usize], now: Instant) -> Result<usize, NoBackend> {
    pool.choose(tried, now).map(|chosen| chosen.lease.index)
}

#[tokio::test(start_paused = true)]
async fn leases_count_until_they_are_dropped() {
    let pool = pool("");
    let now = Instant::now();
    let first = pool.choose(&[], now).unwrap();
    let second = pool.choose(&[], now).unwrap();
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
    assert_eq!(pool.apply(0, Event::AttemptFailed, now), Some(Change::Ejected));
    assert!((0..20).all(|_| chosen(&pool, &[], now) == Ok(1)));
    now += Duration::from_millis(10_001);
    let trials = (0..50).filter(|_| pool.choose(&[], now).unwrap().is_trial).count();
    assert_eq!(trials, 1, "one request tries it, the others do not");
    pool.apply(0, Event::TrialSucceeded, now);
    let to_first = (0..50).filter(|_| chosen(&pool, &[], now) == Ok(0)).count();
    assert!(to_first > 5, "it takes its share again");
}

#[tokio::test(start_paused = true)]
async fn a_choice_ends_at_any_fraction_of_a_millisecond_around_a_trial() {
    let began = Instant::now();
    for micros in (9_998_000..10_002_000_u64).step_by(50) {
        let pool = pool("");
        pool.apply(0, Event::AttemptFailed, began + Duration::from_micros(micros % 997));
        assert!(pool.choose(&[], began + Duration::from_micros(micros)).is_ok());
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
    assert_eq!(pool.apply(0, Event::AttemptFailed, now), Some(Change::Ejected));
    assert_eq!(pool.apply(1, Event::AttemptFailed, now), None);
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
    assert!(pool.choose(&[], now).unwrap().is_fail_open);
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
