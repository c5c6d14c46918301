//! What a configuration file may say, and what an operator sees when it says something else.

use std::collections::BTreeSet;
use std::time::Duration;

use cirque_shared::config::{key_paths, read_text};

use super::{Config, REFERENCE, raw};
use crate::config::policy::RetryOn;

const SMALL: &str = "\
[[listeners]]
name = 'http'
address = '127.0.0.1:8080'
[[routes]]
name = 'api'
upstream = 'app'
[[upstreams.app.backends]]
id = 'app-1'
address = '127.0.0.1:8001'
";

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let invalid = Config::from_text("test.toml", text).expect_err("the text is invalid");
    let found: Vec<String> =
        invalid.problems().iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect();
    assert_eq!(found, expected, "\n{invalid}");
}

#[test]
fn the_reference_is_a_valid_configuration() {
    let config = Config::from_text("conf/proxy.toml", REFERENCE).unwrap();
    assert_eq!(config.upstreams[0].backends.len(), 3);
}

#[test]
fn the_reference_names_every_key_and_no_other() {
    let table: toml_keys::Keys =
        read_text("conf/proxy.toml", REFERENCE, |keys: toml_keys::Keys, _| keys).unwrap();
    let known = key_paths::<raw::File>();
    let missing: Vec<_> = known.difference(&table.0).collect();
    assert!(missing.is_empty(), "not in the reference: {missing:?}");
}

/// Collects the keys that a text uses, whatever they are.
mod toml_keys {
    use std::collections::BTreeSet;

    use cirque_shared::config::{DeTable, Problems, Read, Table, Value};

    #[derive(Debug, Default)]
    pub(super) struct Keys(pub(super) BTreeSet<String>);

    fn walk(value: &Value<'_>, at: &str, out: &mut BTreeSet<String>) {
        // An empty table is a setting: a map of names that the operator chooses.
        if let Some(table) = value.get_ref().as_table().filter(|table| !table.is_empty()) {
            // Named tables are written `*` in key paths.
            let named = matches!(at, "upstreams" | "rate_limits");
            for (key, value) in table {
                let key = if named { "*" } else { key.get_ref() };
                walk(value, &cirque_shared::config::child(at, key), out);
            }
        } else if let Some(list) =
            value.get_ref().as_array().filter(|list| list.iter().any(|v| v.get_ref().is_table()))
        {
            list.iter().for_each(|value| walk(value, &format!("{at}[]"), out));
        } else {
            out.insert(at.to_owned());
        }
    }

    impl Read for Keys {
        fn read(_: &Value<'_>, _: &str, _: &mut Problems) -> Option<Self> {
            None
        }
    }

    impl Table for Keys {
        fn keys() -> Vec<&'static str> {
            Vec::new()
        }

        fn read_fields(_: &DeTable<'_>, _: &str, _: &mut Problems) -> Self {
            Self::default()
        }

        fn read_table(table: &DeTable<'_>, _: &str, _: &mut Problems) -> Self {
            let mut out = BTreeSet::new();
            for (key, value) in table {
                walk(value, key.get_ref(), &mut out);
            }
            Self(out)
        }
    }
}

#[test]
fn what_a_file_leaves_out_comes_from_the_reference() {
    let config = Config::from_text("test.toml", SMALL).unwrap();
    let (route, upstream) = (&config.routes[0], &config.upstreams[0]);
    assert_eq!(config.grace_period, Duration::from_secs(30));
    assert_eq!((route.timeout, route.max_body), (Duration::from_secs(60), Some(1 << 20)));
    assert_eq!((route.retry.attempts, route.retry.on.len()), (3, 5));
    assert_eq!((upstream.timeouts.read, upstream.probe.fall), (Duration::from_secs(60), 3));
    assert_eq!(upstream.backends[0].fails.max_fails, 3);
    assert_eq!((route.hosts[0].to_string(), route.paths[0].to_string()), ("*".to_owned(), "/*".to_owned()));
}

#[test]
fn defaults_are_inherited_key_by_key() {
    let text =
        format!("{SMALL}[defaults.route.retry]\nattempts = 2\n[defaults.upstream.probe]\npath = '/up'\n");
    let config = Config::from_text("test.toml", &text).unwrap();
    assert_eq!((config.routes[0].retry.attempts, config.routes[0].retry.on.len()), (2, 5));
    assert_eq!((config.upstreams[0].probe.path.as_str(), config.upstreams[0].probe.rise), ("/up", 2));
}

#[test]
fn the_guides_nginx_policy_is_written_word_for_word() {
    let text = SMALL.replace(
        "upstream = 'app'\n",
        "upstream = 'app'\nretry = { on = ['error', 'timeout', 'http_500', 'http_502', 'http_503'] }\n",
    );
    let config = Config::from_text("test.toml", &text).unwrap();
    let statuses = [500, 502, 503].map(RetryOn::Status);
    assert_eq!(config.routes[0].retry.on, [&[RetryOn::Error, RetryOn::Timeout], &statuses[..]].concat());
}

#[test]
fn a_body_limit_of_zero_means_no_limit() {
    let text = SMALL.replace("upstream = 'app'\n", "upstream = 'app'\nclient_max_body_size = 0\n");
    assert_eq!(Config::from_text("test.toml", &text).unwrap().routes[0].max_body, None);
}

#[test]
fn an_empty_file_says_what_is_needed() {
    refused(
        "",
        &[
            "listeners: must not be empty: add [[listeners]] with a name and an address",
            "routes: must not be empty: add [[routes]] with a name, paths and an upstream",
        ],
    );
}

#[test]
fn every_mistake_is_reported_at_once() {
    refused(
        "[server]\nthreds = 1\n[client]\nkeepalive_timeout = '500ms'\n\
         [[listeners]]\nname = 'a b'\naddress = '127.0.0.1'\n\
         [[routes]]\nname = 'r'\nupstream = 'nowhere'\npaths = ['x']\ntimeout = '0s'\n\
         [upstreams.app]\nbalance = 'fastest'\nprobe = { path = 'up', fall = 0 }\nbackends = []\n",
        &[
            "server.threds: unknown key; did you mean `threads`?",
            "client.keepalive_timeout: must be \"0s\" (closes after each answer) or at least \"1s\"",
            "listeners[0].name: must be 1 to 64 of a–z, A–Z, 0–9, '-', '_' and '.', got \"a b\"",
            "listeners[0].address: must be an address with a port, like \"127.0.0.1:8080\", got \"127.0.0.1\"",
            "routes[0].upstream: no upstream \"nowhere\"; there are: app",
            "routes[0].paths[0]: must start with / and may end with *, got \"x\"",
            "routes[0].timeout: must be longer than zero",
            "upstreams.app.balance: must be one of least_conn, round_robin, random, hash, got \"fastest\"",
            "upstreams.app.probe.path: must start with / and have no spaces, got \"up\"",
            "upstreams.app.probe.fall: must be from 1 to 1000, got 0",
            "upstreams.app.backends: must not be empty: add [[upstreams.app.backends]] with an id and an address",
        ],
    );
}

#[test]
fn two_routes_cannot_own_the_same_place() {
    let text = format!("{SMALL}[[routes]]\nname = 'other'\nupstream = 'app'\n");
    refused(&text, &["routes[1]: */* already belongs to route `api`"]);
}

#[test]
fn names_are_unique_where_they_are_used_as_names() {
    let text = format!(
        "{SMALL}[[upstreams.app.backends]]\nid = 'app-1'\naddress = '127.0.0.1:8002'\n\
         [[listeners]]\nname = 'http'\naddress = '127.0.0.1:8080'\n"
    );
    refused(
        &text,
        &[
            "upstreams.app.backends[1].id: \"app-1\" is used twice",
            "listeners[1].name: \"http\" is used twice",
            "listeners[1].address: 127.0.0.1:8080 is used by another listener",
        ],
    );
}

#[test]
fn words_of_the_retry_list_are_checked_one_by_one() {
    let text = SMALL.replace(
        "upstream = 'app'\n",
        "upstream = 'app'\nretry = { on = ['error', 'http_200'], attempts = 11 }\n",
    );
    refused(
        &text,
        &[
            "routes[0].retry.on[1]: must be one of error, timeout, connect, reset, invalid_header or http_400 to \
             http_599, got \"http_200\"",
            "routes[0].retry.attempts: must be from 1 to 10, got 11",
        ],
    );
}

#[test]
fn what_finds_out_who_is_available_is_checked_key_by_key() {
    let text = format!(
        "{SMALL}[defaults.upstream]\nhash_by = 'colour'\nunavailable = {{ status = 200, content_type = '' }}\n\
         probe = {{ kind = 'icmp', status = ['200-', '404'], host = 'a b', jitter = '60%' }}\n\
         outlier = {{ eject_time = '1m', max_eject_time = '10s', window = '10ms', min_requests = 0 }}\n"
    );
    refused(
        &text,
        &[
            "upstreams.app.hash_by: must be \"client\", \"path\", \"header:NAME\" or \"cookie:NAME\", got \"colour\"",
            "upstreams.app.unavailable.content_type: must be a media type like \"text/html; charset=utf-8\", got \"\"",
            "upstreams.app.unavailable.status: must be from 400 to 599, got 200",
            "upstreams.app.probe.host: must be a name like \"example.com\", got \"a b\"",
            "upstreams.app.probe.kind: must be one of http, tcp, off, got \"icmp\"",
            "upstreams.app.probe.status[0]: must be a status from 200 to 599 or a range like \"200-399\", got \"200-\"",
            "upstreams.app.probe.jitter: must be from 0% to 50%, got 60%",
            "upstreams.app.outlier.max_eject_time: must not be shorter than eject_time",
            "upstreams.app.outlier.window: must be at least \"100ms\"",
            "upstreams.app.outlier.min_requests: must be from 1 to 4294967295, got 0",
        ],
    );
}

#[test]
fn somebody_must_share_in_the_traffic() {
    for keys in ["weight = 0", "backup = true"] {
        refused(
            &format!("{SMALL}{keys}\n"),
            &["upstreams.app.backends: must not all be backups or weigh 0: nothing would be sent anywhere"],
        );
    }
}

#[test]
fn trusted_proxies_are_addresses_or_networks() {
    let text = format!("{SMALL}[trust]\nproxies = ['10.0.0.0/8', '192.0.2.1', 'proxy.example.com']\n");
    refused(
        &text,
        &["trust.proxies[2]: must be an address or a network like \"10.0.0.0/8\", got \"proxy.example.com\""],
    );
}

#[test]
fn every_spelling_is_in_the_reference() {
    let spelled: BTreeSet<&str> = REFERENCE.split('"').collect();
    for (word, _) in super::policy::RETRY_ON {
        assert!(spelled.contains(word), "{word}");
    }
}

/// The small file with further keys on its route.
fn with_route_keys(keys: &str) -> String {
    SMALL.replace("upstream = 'app'\n", &format!("upstream = 'app'\n{keys}\n"))
}

/// The small file with a second route.
fn with_route(keys: &str) -> String {
    format!("{SMALL}[[routes]]\nname = 'other'\n{keys}\n")
}

#[test]
fn a_route_does_one_thing() {
    let both = with_route("paths = ['/x']\nupstream = 'app'\nredirect = { to = '/' }");
    refused(&both, &["routes[1]: must have one of upstream, redirect and respond, not several"]);
    refused(&with_route("paths = ['/x']"), &["routes[1].upstream: is required"]);
    refused(
        &with_route("paths = ['/x']\nrespond = { status = 99 }\nstrip_prefix = '/a'"),
        &[
            "routes[1].respond.status: must be from 200 to 599, got 99",
            "routes[1].strip_prefix: has no effect: this route has no upstream",
        ],
    );
}

#[test]
fn two_routes_share_a_place_only_when_they_ask_for_different_things() {
    let text = with_route("upstream = 'app'\nmethods = ['POST']");
    assert_eq!(Config::from_text("test.toml", &text).unwrap().routes.len(), 2);
    let text = format!("{text}[[routes]]\nname = 'third'\nupstream = 'app'\nmethods = ['POST']\n");
    refused(&text, &["routes[2]: */* already belongs to route `other`"]);
    refused(
        &with_route("paths = ['/x']\nupstream = 'app'\nmethods = ['post']\nheaders = [{ name = 'a b' }, {}]"),
        &[
            "routes[1].methods[0]: must be a method in capitals, like \"GET\", got \"post\"",
            "routes[1].headers[0].name: must be the name of a header, got \"a b\"",
            "routes[1].headers[1].name: is required",
        ],
    );
}

#[test]
fn a_redirect_leads_where_the_operator_says_and_nowhere_else() {
    for to in [
        "/new",
        "{path}",
        "{uri}",
        "/{rest}",
        "https://www.example.com",
        "https://www.example.com{uri}",
        "https://{host}{path}",
        "{scheme}://{host}:8443{uri}",
        "https://{host}/x{query}",
        "http://[::1]/{rest}",
    ] {
        let text = with_route(&format!("paths = ['/x/*']\nredirect = {{ to = '{to}' }}"));
        assert!(Config::from_text("test.toml", &text).is_ok(), "{to}");
    }
    for to in [
        "",
        "//example.com",
        "{rest}",
        "{host}",
        "x",
        "https://{rest}",
        "https://www.example.com{rest}",
        "https://{host}{rest}",
        "https://{path}",
        "ftp://example.com/",
        "https://user@example.com/",
        "https://{client}/",
        "javascript:{path}",
        "/{nothing}",
    ] {
        let text = with_route(&format!("paths = ['/x/*']\nredirect = {{ to = '{to}' }}"));
        let invalid = Config::from_text("test.toml", &text).err();
        assert!(to.is_empty() || invalid.is_some(), "{to}");
    }
    refused(
        &with_route("paths = ['/x']\nredirect = { to = '/', status = 303 }"),
        &["routes[1].redirect.status: must be 301, 302, 307 or 308, got 303"],
    );
}

#[test]
fn header_rules_keep_away_from_framing_and_connections() {
    refused(
        &with_route_keys(
            "request_headers = { set = ['Content-Length: 1', 'no colon', 'X: {x}', 'Host:'], remove = ['host', 'TE'] }\n\
             response_headers = { add = ['Transfer-Encoding: chunked'], remove = ['Connection'] }",
        ),
        &[
            "routes[0].request_headers.set[0]: Content-Length belongs to one connection or frames a message: the edge \
             writes it itself",
            "routes[0].request_headers.set[1]: must be \"Name: value\", got \"no colon\"",
            "routes[0].request_headers.set[2]: has no placeholder {x}; there are: scheme, host, host_port, path, query, \
             uri, rest, method, client, forwarded_for, request_id, route",
            "routes[0].request_headers.set[3]: cannot empty Host: HTTP/1.1 backends need one",
            "routes[0].request_headers.remove[0]: cannot remove Host: HTTP/1.1 backends need one",
            "routes[0].request_headers.remove[1]: TE belongs to one connection or frames a message: the edge writes it \
             itself",
            "routes[0].response_headers.add[0]: Transfer-Encoding belongs to one connection or frames a message: the \
             edge writes it itself",
            "routes[0].response_headers.remove[0]: Connection belongs to one connection or frames a message: the edge \
             writes it itself",
        ],
    );
}

#[test]
fn pages_are_read_when_the_file_is() {
    refused(
        &with_route_keys(
            "error_pages = [{ statuses = [200], file = '/nowhere/at/all.html' }, {}]\n\
             maintenance = { allow = ['here'], page = '/nowhere/closed.html' }",
        ),
        &[
            "routes[0].error_pages[0].statuses: must be from 400 to 599, got 200",
            "routes[0].error_pages[0].file: /nowhere/at/all.html cannot be read: No such file or directory (os error 2)",
            "routes[0].error_pages[1].statuses: is required",
            "routes[0].error_pages[1].file: is required",
            "routes[0].maintenance.allow[0]: must be an address or a network like \"10.0.0.0/8\", got \"here\"",
            "routes[0].maintenance.page: /nowhere/closed.html cannot be read: No such file or directory (os error 2)",
        ],
    );
}

#[test]
fn a_prefix_is_whole_segments() {
    refused(
        &with_route_keys("strip_prefix = '/api/'\nadd_prefix = 'v2'"),
        &[
            "routes[0].strip_prefix: must start with / and not end with one, like \"/api\", got \"/api/\"",
            "routes[0].add_prefix: must start with / and not end with one, like \"/api\", got \"v2\"",
        ],
    );
}

#[test]
fn every_example_of_the_balancing_guide_is_understood() {
    let guide = include_str!("../../../docs/guides/balancing.md");
    let examples: Vec<&str> =
        guide.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 6);
    for example in examples {
        let read = read_text("guide", example, |file: raw::File, _| file);
        assert!(
            read.is_ok(),
            "{example}\n{}",
            read.err().map(|invalid| invalid.to_string()).unwrap_or_default()
        );
    }
}

/// The stored inputs of the fuzz target, and copies of each with a byte or a piece changed, the same ones each time.
#[test]
fn no_stored_configuration_and_no_neighbour_of_one_breaks_the_reader() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/configuration");
    let mut n = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let stored = std::fs::read(entry.unwrap().path()).unwrap();
        crate::fuzzing::configuration(&stored);
        for place in (0..stored.len()).step_by(7) {
            let mut copy = stored.clone();
            match place % 3 {
                0 => drop(copy.remove(place)),
                1 => copy[place] = b"\"'[]{}=.\n#"[place % 10],
                _ => copy.truncate(place),
            }
            crate::fuzzing::configuration(&copy);
            n += 1;
        }
    }
    assert!(n > 300, "{n} copies were read");
}
