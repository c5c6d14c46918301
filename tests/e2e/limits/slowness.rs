//! Slow clients of every kind are cut within their limit, and cost nobody else anything.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use cirque_tests::edge::Path;
use cirque_tests::{Backend, Connection, Edge, Reply, Request, eventually};
use tokio::time::Instant;

use crate::witness::{logged_status, nothing_in_flight};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// What a crowd of well-behaved clients saw.
#[derive(Debug, Default)]
struct Seen {
    answered: usize,
    failed: usize,
    slowest: Duration,
}

/// Runs `during` while `n` kept connections ask one after the other, from a few threads.
fn beside_a_crowd(edge: &Edge, n: usize, during: impl FnOnce()) -> Seen {
    const THREADS: usize = 8;
    let (is_over, started) = (AtomicBool::new(false), AtomicUsize::new(0));
    let crowd = || {
        let mut seen = Seen::default();
        // Each asks at once: a head's time runs from the start of its connection.
        let greeted = |_| {
            let mut connection = Connection::open(edge.address());
            let is_served =
                connection.exchange(&Request::get("/fast")).is_ok_and(|answer| answer.status == 200);
            seen.failed += usize::from(!is_served);
            connection
        };
        let mut connections: Vec<Connection> = (0..n / THREADS).map(greeted).collect();
        for round in 0.. {
            for connection in &mut connections {
                let began = Instant::now();
                match connection.exchange(&Request::get("/fast")) {
                    Ok(answer) if answer.status == 200 => seen.answered += 1,
                    _ => seen.failed += 1,
                }
                seen.slowest = seen.slowest.max(began.elapsed());
            }
            if round == 0 {
                started.fetch_add(1, Ordering::AcqRel);
            }
            if is_over.load(Ordering::Acquire) {
                break;
            }
        }
        seen
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(crowd)).collect();
        let ready = || started.load(Ordering::Acquire);
        eventually("all of the crowd are served", Duration::from_secs(60), ready, |ready| *ready == THREADS);
        during();
        is_over.store(true, Ordering::Release);
        threads.into_iter().fold(Seen::default(), |sum, thread| {
            let seen = thread.join().expect("a client of the crowd does not panic");
            Seen {
                answered: sum.answered + seen.answered,
                failed: sum.failed + seen.failed,
                slowest: sum.slowest.max(seen.slowest),
            }
        })
    })
}

/// Writes one byte at a time until the other side has had enough; what it said, and after how long.
fn drip(connection: &mut Connection, start: &str) -> (Duration, String) {
    let began = Instant::now();
    let mut sent = connection.write(start);
    while began.elapsed() < ms(20_000) {
        if let Some(answer) = connection.read_until_close(ms(50)) {
            return (began.elapsed(), String::from_utf8_lossy(&answer).into_owned());
        }
        if sent.is_ok() {
            sent = connection.write("x");
        }
    }
    panic!("a client that drips was still served after {:?}", began.elapsed());
}

// key: proxy.toml client.client_min_body_rate, client.client_min_send_rate
#[test]
fn a_slow_client_of_each_kind_is_cut_within_its_limit_while_a_thousand_others_are_served() {
    let backend = Backend::start();
    backend.answer_on("/large", Reply::ok(vec![b'x'; 128 << 20]));
    let edge = Edge::builder()
        .backend(&backend)
        .without_probe()
        .toml(
            "client = { client_header_timeout = '1500ms', client_body_timeout = '1500ms', send_timeout = '1500ms',
               client_min_body_rate = '1KiB', client_min_send_rate = '16MiB', keepalive_requests = 1000000 }",
        )
        .start();
    let mut figures = Vec::new();
    let seen = beside_a_crowd(&edge, 1000, || {
        let (took, _) = drip(&mut Connection::open(edge.address()), "GET /head HTTP/1.1\r\nHost: a\r\nX: ");
        figures.push(("head", took));
        let head = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
        let (took, answer) = drip(&mut Connection::open(edge.address()), head);
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        figures.push(("body", took));
        if Path::under_test() == Path::Own {
            figures.push(("read", read_slowly(&edge)));
        }
    });
    eprintln!("slow clients were cut after {figures:?}; beside them: {seen:?}");
    for (kind, took) in &figures {
        assert!((ms(1000)..ms(8000)).contains(took), "{kind}: {took:?}");
    }
    assert_eq!(seen.failed, 0, "{seen:?}");
    assert!(seen.answered >= 1000 && seen.slowest < ms(3000), "{seen:?}");
    assert_eq!(logged_status(&edge, "/body"), 408);
    assert_eq!(edge.logged("/body")["reason"], "body_too_slow");
    if Path::under_test() == Path::Own {
        assert_eq!(edge.logged("/large")["reason"], "reader_too_slow");
        edge.wait_for_metric("proxy_refusals_total", &[("reason", "reader_too_slow")], 1.0);
    }
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "head_too_slow")], 1.0);
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "body_too_slow")], 1.0);
    nothing_in_flight(&edge);
}

/// Takes a large answer at a pace that always moves, and is below the floor; after how long it was cut.
fn read_slowly(edge: &Edge) -> Duration {
    let mut reader = Connection::open(edge.address());
    reader.write(Request::get("/large").to_bytes()).expect("a new connection takes a request");
    let (began, mut paced) = (Instant::now(), 0);
    loop {
        let cut = || edge.metrics().value("proxy_refusals_total", &[("reason", "reader_too_slow")]);
        if cut() > 0.0 {
            return began.elapsed();
        }
        // About 3 MiB a second, asking the metrics in between.
        while paced < u64::try_from(began.elapsed().as_millis()).unwrap_or(0) * 3 * 1024 {
            paced += reader.read_some(64 * 1024).map_or(64 * 1024, |piece| piece.len() as u64);
        }
        assert!(began.elapsed() < ms(20_000), "a slow reader was still served");
    }
}

#[test]
fn five_thousand_dripping_heads_are_cut_at_their_deadline_and_slow_nobody() {
    const DRIPS: usize = 5000;
    if Path::under_test() == Path::Pingora {
        // There the wait for a later request is added to the time for its head: `timeouts` asks for that.
        return;
    }
    let backend = Backend::start();
    let edge = Edge::builder()
        .backend(&backend)
        .without_probe()
        .toml("client = { client_header_timeout = '6s', keepalive_requests = 1000000 }")
        .start();
    let alone = beside_a_crowd(&edge, 64, || {
        edge.client().get("/alone").expect_status(200);
    });
    let (mut opened, mut cut) = (Duration::ZERO, Duration::ZERO);
    let beside = beside_a_crowd(&edge, 64, || {
        let began = Instant::now();
        let open = |n: usize| {
            let mut drip = Connection::open(edge.address());
            // Half of them drip a later request of their connection.
            if n.is_multiple_of(2) {
                drip.exchange(&Request::get("/first")).unwrap().expect_status(200);
            }
            drip
        };
        let mut drips: Vec<Connection> = (0..DRIPS).map(open).collect();
        opened = began.elapsed();
        let began = Instant::now();
        drips.iter_mut().for_each(|drip| drop(drip.write("GET /slow HTTP/1.1\r\nHost: a\r\nX: ")));
        let too_slow = || edge.metrics().value("proxy_refusals_total", &[("reason", "head_too_slow")]);
        let drip_all = || {
            drips.iter_mut().for_each(|drip| drop(drip.write("x")));
            too_slow()
        };
        eventually("every dripping head is cut", Duration::from_secs(60), drip_all, |cut| {
            *cut >= DRIPS as f64
        });
        cut = began.elapsed();
    });
    eprintln!(
        "{DRIPS} opened in {opened:?}, all cut {cut:?} after their first byte; alone {alone:?}, beside {beside:?}"
    );
    assert!(cut < ms(15_000), "{cut:?}");
    assert_eq!((alone.failed, beside.failed), (0, 0), "{beside:?}");
    assert!(beside.slowest < ms(2000), "{beside:?} beside, {alone:?} alone");
    assert!(backend.requests_to("/slow").is_empty());
    nothing_in_flight(&edge);
}

/// cloudflare/pingora#447: a head that drips was never cut, as its limit of time was one for each read.
#[test]
fn pingora_447_a_head_that_drips_is_cut_on_a_new_connection_and_on_a_used_one() {
    let backend = Backend::start();
    let edge = Edge::builder()
        .backend(&backend)
        .toml("client = { client_header_timeout = '800ms', keepalive_timeout = '1s' }")
        .start();
    for is_used in [false, true] {
        let mut connection = Connection::open(edge.address());
        if is_used {
            connection.exchange(&Request::get("/first")).unwrap().expect_status(200);
        }
        let (took, _) = drip(&mut connection, "GET /slow HTTP/1.1\r\nHost: a\r\nX: ");
        assert!((ms(500)..ms(8000)).contains(&took), "{is_used}: {took:?}");
    }
    edge.wait_for_metric("proxy_refusals_total", &[("reason", "head_too_slow")], 2.0);
    assert!(backend.requests_to("/slow").is_empty());
}
