//! What every way of choosing promises: shares by weight, nobody who is out, and a bounded number of looks.

use std::cell::Cell;

use cirque_shared::request_id::random;

use super::*;
use crate::config::policy::BALANCE;

fn chooser(policy: Balance, weights: &[u32]) -> Chooser {
    let ids: Vec<String> = (0..weights.len()).map(|n| format!("app-{n}")).collect();
    let seat = |(index, weight): (usize, &u32)| Seat { index, id: &ids[index], weight: *weight };
    Chooser::new(policy, &weights.iter().enumerate().map(seat).collect::<Vec<_>>())
}

fn key() -> Key {
    Key::of(&random().to_le_bytes())
}

fn idle(weights: &[u32]) -> impl Fn(usize) -> Option<Candidate> {
    |place| Some(Candidate { load: 0, share: weights[place] * WHOLE })
}

#[test]
fn every_way_shares_by_weight_with_few_and_with_many() {
    const PICKS: usize = 40_000;
    for (_, policy) in BALANCE {
        for n in [3, 100] {
            let weights: Vec<u32> = (0..n).map(|place| 1 + place % 3).collect();
            let chooser = chooser(policy, &weights);
            let mut counts = vec![0_usize; weights.len()];
            for _ in 0..PICKS {
                counts[chooser.pick(key(), idle(&weights), random()).unwrap()] += 1;
            }
            // By weight: how much of all went to those that weigh 1, 2 and 3.
            let total: u32 = weights.iter().sum();
            for weight in 1..=3 {
                let of = |counted: &[usize]| -> usize {
                    counted.iter().zip(&weights).filter(|(_, w)| **w == weight).map(|(count, _)| count).sum()
                };
                let expected =
                    weights.iter().filter(|w| **w == weight).sum::<u32>() as f64 / f64::from(total);
                let seen = of(&counts) as f64 / PICKS as f64;
                assert!(
                    (seen / expected - 1.0).abs() < 0.12,
                    "{policy:?} of {n}: {seen} instead of {expected}"
                );
            }
        }
    }
}

#[test]
fn nobody_who_is_out_is_taken_and_the_only_one_left_is_found() {
    for (_, policy) in BALANCE {
        for n in [1, 3, 100] {
            let weights = vec![1; n];
            let (chooser, last) = (chooser(policy, &weights), n - 1);
            for _ in 0..100 {
                let only = |place| (place == last).then_some(Candidate { load: 9, share: WHOLE });
                assert_eq!(chooser.pick(key(), only, random()), Some(last), "{policy:?} of {n}");
                assert_eq!(chooser.pick(key(), |_| None, random()), None);
            }
        }
    }
    assert_eq!(chooser(Balance::LeastConn, &[]).pick(key(), |_| None, 0), None);
}

#[test]
fn a_pick_looks_at_no_more_backends_the_more_there_are() {
    for (_, policy) in BALANCE {
        for n in [1_000, 10_000] {
            let weights = vec![1; n];
            let chooser = chooser(policy, &weights);
            for _ in 0..200 {
                let looks = Cell::new(0);
                let candidate = |_| {
                    looks.set(looks.get() + 1);
                    Some(Candidate { load: 3, share: WHOLE })
                };
                chooser.pick(key(), candidate, random()).unwrap();
                assert!(looks.get() <= MOST_DRAWS, "{policy:?} of {n}: {} looks", looks.get());
            }
        }
    }
}

#[test]
fn one_that_starts_slowly_gets_its_part_of_a_share() {
    for (_, policy) in BALANCE.iter().filter(|(_, policy)| *policy != Balance::Hash) {
        for n in [3, 100_usize] {
            let weights = vec![1; n];
            let chooser = chooser(*policy, &weights);
            let starting =
                |place| Some(Candidate { load: 0, share: if place == 0 { WHOLE / 5 } else { WHOLE } });
            let picks = 4_000 * n;
            let seen = (0..picks).filter(|_| chooser.pick(key(), starting, random()) == Some(0)).count();
            let expected = picks as f64 * 0.2 / (n as f64 - 0.8);
            let ratio = seen as f64 / expected;
            assert!((0.75..1.25).contains(&ratio), "{policy:?} of {n}: {seen} instead of {expected}");
        }
    }
}

#[test]
fn many_backends_share_evenly_through_two_choices() {
    let weights = vec![1; 100];
    let chooser = chooser(Balance::LeastConn, &weights);
    let mut loads = vec![0_u32; 100];
    for _ in 0..10_000 {
        let candidate = |place: usize| Some(Candidate { load: loads[place], share: WHOLE });
        let taken = chooser.pick(key(), candidate, random()).unwrap();
        loads[taken] += 1;
    }
    let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
    assert!(most - least <= 8, "{least}..{most}");
}
