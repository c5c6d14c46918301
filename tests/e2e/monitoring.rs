//! What `monitoring/` says works on import: with a real Prometheus, on a real site.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cirque_tests::prometheus::{Prometheus, monitoring};
use cirque_tests::python;
use cirque_tests::{
    Backend, Client, Cluster, Connection, Edge, Load, Node, Reply, Request, Scrape, eventually, redis,
};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);

fn tool(name: &str, arguments: &[&str]) {
    let output = Command::new(name).args(arguments).current_dir(monitoring("")).output();
    let output = output.expect("it is installed by scripts/test");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{name} {arguments:?}: {said}");
}

#[test]
fn promtool_and_amtool_find_nothing_wrong_with_rules_and_configurations_and_their_tests_pass() {
    tool("promtool", &["check", "config", "prometheus.yml"]);
    tool("promtool", &["check", "rules", "recording.yml", "alerts/app.yml", "alerts/edge.yml"]);
    let tests =
        ["app_test.yml", "edge_test.yml", "recording_test.yml"].map(|name| format!("alerts/tests/{name}"));
    tool("promtool", &[&["test", "rules"][..], &tests.each_ref().map(String::as_str)].concat());
    tool("amtool", &["check-config", "alertmanager.yml"]);
}

#[test]
fn the_dashboards_are_what_grafanas_published_schema_describes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("contract/dashboards.py");
    let output = python::program("python").arg(script).arg(monitoring("dashboards")).output();
    let output = output.expect("Python runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[test]
fn the_examples_of_log_shipping_name_the_units_that_there_are_and_make_few_labels() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut python = python::program("python");
    python.arg(root.join("contract/shipping.py")).arg(monitoring("shipping"));
    python.arg(root.join("../packaging/systemd")).arg(root.join("../docs/log-fields.md"));
    let output = python.output().expect("Python runs");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

/// A little of everything that is shown.
fn mixed_load(cluster: &Cluster) {
    for path in [
        "/api/v1/posts",
        "/api/v2/posts?limit=3",
        "/api/v1/posts/nothing",
        "/api/search?q=granite",
        "/nowhere",
    ] {
        let _ = Load::on(cluster.address(), path).connections(2).requests(30).run();
    }
}

#[test]
fn all_targets_are_up_all_rules_are_evaluated_and_every_panel_has_data() {
    let cluster = Cluster::start();
    let nodes = [1, 2, 3].map(|node| cluster.node_address(node));
    let prometheus = Prometheus::start(&[cluster.admin()], &nodes);
    let targets = || {
        let targets =
            prometheus.api("/api/v1/targets")["activeTargets"].as_array().cloned().unwrap_or_default();
        targets
            .iter()
            .map(|target| target["health"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    eventually("an edge and three nodes are up", SOON, targets, |health| {
        health.len() == 4 && health.iter().all(|health| health == "up")
    });
    mixed_load(&cluster);

    let rules = || {
        let groups = prometheus.api("/api/v1/rules")["groups"].as_array().cloned().unwrap_or_default();
        groups
            .iter()
            .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default())
            .collect::<Vec<_>>()
    };
    let rules = eventually("every rule is evaluated", SOON, rules, |rules| {
        rules.len() == 17 && rules.iter().all(|rule| rule["health"] == "ok")
    });
    let firing: Vec<&Value> = rules.iter().filter(|rule| rule["state"] == "firing").collect();
    assert!(firing.is_empty(), "a site that is well has no alert: {firing:?}");
    for rule in rules.iter().filter(|rule| rule["type"] == "recording") {
        let name = rule["name"].as_str().unwrap_or_default();
        let found = || prometheus.ask(name).map_or(0, |series| series.len());
        eventually(&format!("{name} has a value"), SOON, found, |found| *found > 0);
    }

    let names: BTreeSet<String> =
        rules.iter().flat_map(|rule| metrics_of(rule["query"].as_str().unwrap_or_default())).collect();
    assert!(names.len() >= 10, "{names:?}");
    // There is no certificate without TLS.
    for name in names.iter().filter(|name| *name != "proxy_tls_certificate_expiry_timestamp_seconds") {
        let found = || prometheus.ask(name).map_or(0, |series| series.len());
        eventually(&format!("{name}, which a rule asks, has data"), SOON, found, |found| *found > 0);
    }

    let mut asked = 0;
    for name in ["overview", "edge", "app", "database", "queue", "alerts"] {
        let text = std::fs::read_to_string(monitoring(&format!("dashboards/{name}.json")));
        let board: Value = serde_json::from_str(&text.expect("it is in the repository")).expect("it is JSON");
        for panel in board["panels"].as_array().into_iter().flatten() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expr = filled(target["expr"].as_str().unwrap_or_default());
                mixed_load_once(&cluster);
                let found = || {
                    prometheus
                        .ask(&expr)
                        .map_or_else(|error| (0, error), |series| (series.len(), String::new()))
                };
                let what = format!("{name}: {} has data: {expr}", panel["title"]);
                eventually(&what, SOON, found, |(n, _)| *n > 0);
                asked += 1;
            }
        }
    }
    assert!(asked >= 50, "{asked} queries were asked");
}

/// The names of metrics in a rule; what stands in quotes are values of labels.
fn metrics_of(query: &str) -> BTreeSet<String> {
    let ours = ["http_", "proxy_", "app_", "queue_"];
    let outside = query.split('"').step_by(2);
    let words = outside.flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    let words = words.filter(|word| ours.iter().any(|start| word.starts_with(start)));
    words.map(str::to_owned).collect()
}

/// Empty where there is no Redis, so it is not among those that a fresh site fills.
#[test]
fn the_dashboard_of_redis_has_data_where_there_is_redis() {
    let server = redis::Server::start(&["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"]);
    let counted = "limits = { public = '1000000/1m', exempt = [] }\n";
    let node = Node::builder().posts(3).toml(&redis::toml(server.address())).toml(counted).start();
    let prometheus = Prometheus::start(&[], &[node.address()]);
    let text = std::fs::read_to_string(monitoring("dashboards/redis.json")).expect("it is in the repository");
    let board: Value = serde_json::from_str(&text).expect("it is JSON");
    let targets =
        board["panels"].as_array().into_iter().flatten().flat_map(|panel| panel["targets"].as_array());
    let exprs: Vec<&str> = targets.flatten().filter_map(|target| target["expr"].as_str()).collect();
    assert!(exprs.len() >= 9);
    for expr in exprs {
        let found = || {
            node.get("/api/v1/posts").expect_status(200);
            prometheus
                .ask(&filled(expr))
                .map_or_else(|error| (0, error), |series| (series.len(), String::new()))
        };
        eventually(&format!("there is data: {expr}"), SOON, found, |(found, _)| *found > 0);
    }
}

fn mixed_load_once(cluster: &Cluster) {
    for path in ["/api/v1/posts", "/api/v2/posts?limit=3"] {
        cluster.client().get(path).expect_status(200);
    }
}

/// A query as Grafana asks it, for everything.
fn filled(expr: &str) -> String {
    let mut expr = expr.replace("$__rate_interval", "30s");
    for variable in ["$instance", "$route", "$upstream", "$job"] {
        expr = expr.replace(variable, ".*");
    }
    assert!(!expr.replace("${1}", "").contains("$i"), "a variable that is not filled: {expr}");
    expr
}

#[test]
fn whoever_prefers_openmetrics_gets_it_from_both_tiers() {
    let cluster = Cluster::builder().nodes(1).start();
    for (address, path) in [(cluster.admin(), "/metrics"), (cluster.node_address(1), "/api/metrics")] {
        let request = Request::get(path)
            .header("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
        let answer = Client::to(address).send(&request);
        let media_type = answer.expect_status(200).header("content-type").unwrap_or_default().to_owned();
        assert!(media_type.starts_with("application/openmetrics-text; version=1.0.0"), "{media_type}");
        let text = answer.text();
        assert!(text.ends_with("# EOF\n") && text.contains("# TYPE http_requests counter\n"), "{text}");
        let plain = Client::to(address).get(path);
        assert!(
            plain.header("content-type").is_some_and(|found| found.starts_with("text/plain; version=0.0.4"))
        );
    }
}

/// How many requests; a million for the figure in the documents.
fn how_many() -> usize {
    std::env::var("CIRQUE_SERIES_REQUESTS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000)
}

#[test]
fn requests_with_random_paths_methods_hosts_and_statuses_leave_the_number_of_series_where_it_was() {
    let cluster = Cluster::builder().nodes(1).start();
    // What a client cannot ask a node for: any status that there may be.
    let any = Backend::named("any");
    any.script(|request| {
        let path = request.path();
        let digits = &path[path.trim_end_matches(|c: char| c.is_ascii_digit()).len()..];
        let number = digits.parse::<usize>().unwrap_or(0);
        Reply::status(u16::try_from(200 + number % 400).unwrap_or(200))
    });
    let edge = Edge::builder().backend(&any).start();
    let series = || {
        let node = Scrape::fetch(cluster.node_address(1), "/api/metrics");
        let name = |of: &str, sample: cirque_tests::scrape::Sample| {
            format!("{of} {}{:?}", sample.name, sample.labels)
        };
        let all = [("edge", cluster.metrics()), ("node", node), ("other edge", edge.metrics())];
        let names =
            |(of, scrape): (&'static str, Scrape)| scrape.samples.into_iter().map(move |one| name(of, one));
        all.into_iter().flat_map(names).collect::<BTreeSet<_>>()
    };
    // Whatever a client may do is done once before, so that what can be shown is shown.
    throw_at(cluster.address(), 0, 3_000);
    throw_at(cluster.address(), 1_000_000, 3_000);
    throw_at(edge.address(), 0, 2 * ROUND);
    let in_flight = || {
        let all = [cluster.metrics(), edge.metrics()];
        all.iter().map(|scrape| scrape.value("http_requests_in_flight", &[])).sum::<f64>()
    };
    eventually("everything is counted", SOON, in_flight, |n| *n == 0.0);
    let before = series();
    let total = how_many();
    let began = tokio::time::Instant::now();
    let throwing: Vec<_> = (0..4)
        .map(|part| {
            // One in four is thrown at the edge whose backend answers anything.
            let address = if part == 3 { edge.address() } else { cluster.address() };
            std::thread::spawn(move || throw_at(address, 1_000_000 + part * total, total / 4))
        })
        .collect();
    for thread in throwing {
        thread.join().expect("a thrower throws to the end");
    }
    let after = series();
    println!(
        "{} series before and {} after {total} requests, {:?}",
        before.len(),
        after.len(),
        began.elapsed()
    );
    let new: Vec<&String> = after.difference(&before).collect();
    assert!(new.is_empty(), "after {total} requests there are {} series more: {new:#?}", new.len());
    assert_eq!(after.len(), before.len());
}

/// After so many requests each method has met each status: that many combinations there are.
const ROUND: usize = 9 * 400;

/// Sends requests that are different each time; connections that are closed are opened again.
fn throw_at(address: std::net::SocketAddr, from: usize, count: usize) {
    let methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW", "PROPFIND"];
    let mut connection = Connection::open(address);
    for n in from..from + count {
        let mut method = methods[n % methods.len()].to_owned();
        if n % 31 == 0 {
            method = format!("M{n}");
        }
        let path = match n % 5 {
            0 => format!("/api/v1/posts/random-{n}"),
            1 => format!("/{n}/{n}"),
            2 => format!("/api/v1/posts?page={n}"),
            3 => format!("/api/v2/{n}"),
            _ => format!("/api/v1/categories/c{n}?x={n}"),
        };
        let request = Request::new(&method, &path).header("Host", &format!("h{n}.example.com"));
        let request =
            if matches!(method.as_str(), "POST" | "PUT" | "PATCH") { request.body("{}") } else { request };
        if connection.exchange(&request).is_err() {
            connection = Connection::open(address);
        }
    }
    let _ = Client::to(address).get("/api/v1/posts");
}
