//! Where each of nginx's directives goes: the process, its listeners, its upstreams; places are in `place`.

mod place;
mod scope;

use super::draft::{Draft, Keys, Place};
use super::read::Directive;
use super::values::{quoted, rate, size, time};
use scope::{CLIENT, PASSED, Scope, is_of_places};

/// Sets a key from a directive, or says that another one has set it to something else.
fn put(draft: &mut Draft, of: &Directive, table: fn(&mut Draft) -> &mut Keys, key: &str, value: String) {
    if let Some(before) = table(draft).put(key, value) {
        draft.problem(of, format!("`{}` holds once for all here, and is {before} already", of.name));
    }
}

fn unknown(draft: &mut Draft, of: &Directive) {
    draft.problem(of, format!("`{}` is not carried over", of.name));
}

fn bad_value(draft: &mut Draft, of: &Directive) {
    draft.problem(of, format!("`{} {}` is not understood", of.name, of.words.join(" ")));
}

/// The outermost level.
pub(super) fn main(directives: &[Directive], draft: &mut Draft) {
    for directive in directives {
        match directive.name.as_str() {
            "http" => http(directive.inner(), draft),
            "events" => {
                for inner in directive.inner() {
                    match inner.name.as_str() {
                        "worker_connections" => {
                            put(
                                draft,
                                inner,
                                |draft| &mut draft.client,
                                "max_connections",
                                inner.word(0).to_owned(),
                            );
                        }
                        "use" => {}
                        _ => elsewhere(inner, draft),
                    }
                }
            }
            "worker_processes" => {
                let count = if directive.word(0) == "auto" { "0" } else { directive.word(0) };
                put(draft, directive, |draft| &mut draft.server, "threads", count.to_owned());
            }
            "worker_shutdown_timeout" => match time(directive.word(0)) {
                Some(time) => put(draft, directive, |draft| &mut draft.server, "grace_period", quoted(&time)),
                None => bad_value(draft, directive),
            },
            // The service manager says it.
            "worker_rlimit_nofile" => {}
            _ => elsewhere(directive, draft),
        }
    }
    // A place that inherits what cannot be carried over says so once.
    let mut told: Vec<super::Problem> = Vec::new();
    for problem in std::mem::take(&mut draft.problems) {
        if !told.contains(&problem) {
            told.push(problem);
        }
    }
    draft.problems = told;
}

/// What may stand at several levels and is not about places.
fn elsewhere(directive: &Directive, draft: &mut Draft) {
    let word = directive.word(0);
    match directive.name.as_str() {
        name if PASSED.contains(&name) => {}
        name if CLIENT.contains(&name) => {
            let value = if name == "keepalive_requests" {
                Some(word.to_owned())
            } else {
                time(word).map(|t| quoted(&t))
            };
            match value {
                Some(value) => put(draft, directive, |draft| &mut draft.client, name, value),
                None => bad_value(draft, directive),
            }
        }
        "large_client_header_buffers" => match (word.parse::<u64>(), size(directive.word(1))) {
            (Ok(count), Some(each)) => {
                put(
                    draft,
                    directive,
                    |draft| &mut draft.client,
                    "client_max_uri_length",
                    quoted(&each.to_string()),
                );
                let all = count.saturating_mul(each).clamp(1 << 10, 1 << 20).to_string();
                put(draft, directive, |draft| &mut draft.client, "client_max_header_size", quoted(&all));
            }
            _ => bad_value(draft, directive),
        },
        "http2" if word == "on" => {}
        "limit_req_status" if word == "429" => {}
        "set_real_ip_from" => draft.trusted.push(word.to_owned()),
        "real_ip_header" if matches!(word, "X-Forwarded-For" | "proxy_protocol") => {}
        "access_log" if word == "off" => {
            put(draft, directive, |draft| &mut draft.access_log, "output", quoted("off"));
        }
        "access_log" => {
            let format = directive.words.get(1).filter(|format| !format.contains('='));
            if format.is_some_and(|format| format != "combined") {
                draft.problem(directive, "a format of one's own: lines are \"json\" or \"combined\" here");
            }
            put(draft, directive, |draft| &mut draft.access_log, "output", quoted(word));
            put(draft, directive, |draft| &mut draft.access_log, "format", quoted("combined"));
        }
        // Its file is the service manager's: lines go to standard error.
        "error_log" => {
            let level = match directive.word(1) {
                "" | "error" | "crit" | "alert" | "emerg" => "error",
                "debug" => "debug",
                "info" | "notice" => "info",
                _ => "warn",
            };
            put(draft, directive, |draft| &mut draft.log, "level", quoted(level));
        }
        _ => unknown(draft, directive),
    }
}

fn http(directives: &[Directive], draft: &mut Draft) {
    let scope = Scope::default().below(directives);
    // What places refer to comes first, wherever it stands.
    for directive in directives {
        match directive.name.as_str() {
            "upstream" => upstream(directive, draft),
            "limit_req_zone" => limit_req_zone(directive, draft),
            _ => {}
        }
    }
    for directive in directives {
        match directive.name.as_str() {
            "upstream" | "limit_req_zone" => {}
            "server" => server(directive, &scope, draft),
            // Upgrades need no help.
            "map" if directive.words == ["$http_upgrade", "$connection_upgrade"] => {}
            name if is_of_places(name) => {}
            _ => elsewhere(directive, draft),
        }
    }
}

fn upstream(directive: &Directive, draft: &mut Draft) {
    let name = directive.word(0).to_owned();
    draft.upstream(&name);
    for inner in directive.inner() {
        let balance = |draft: &mut Draft, value: &str, by: Option<String>| {
            let keys = &mut draft.upstream(&name).keys;
            keys.put("balance", quoted(value));
            by.map(|by| keys.put("hash_by", quoted(&by)));
        };
        match inner.name.as_str() {
            "server" => backend(inner, &name, draft),
            "least_conn" | "random" => balance(draft, &inner.name, None),
            "ip_hash" => balance(draft, "hash", Some("client".to_owned())),
            "hash" => match hashed_by(inner.word(0)) {
                Some(by) => balance(draft, "hash", Some(by)),
                None => bad_value(draft, inner),
            },
            "keepalive_timeout" => match time(inner.word(0)) {
                Some(time) => drop(draft.upstream(&name).keys.put("keepalive_timeout", quoted(&time))),
                None => bad_value(draft, inner),
            },
            "keepalive" | "zone" | "keepalive_requests" => {}
            _ => unknown(draft, inner),
        }
    }
    // What nginx does when nothing is said.
    draft.upstream(&name).keys.put("balance", quoted("round_robin"));
}

/// What a hash or a limit goes by.
fn hashed_by(variable: &str) -> Option<String> {
    match variable {
        "$binary_remote_addr" | "$remote_addr" => Some("client".to_owned()),
        "$request_uri" | "$uri" => Some("path".to_owned()),
        _ => {
            let (kind, name) = match variable.strip_prefix("$http_") {
                Some(name) => ("header", name.replace('_', "-")),
                None => ("cookie", variable.strip_prefix("$cookie_")?.to_owned()),
            };
            Some(format!("{kind}:{name}"))
        }
    }
}

fn backend(of: &Directive, upstream: &str, draft: &mut Draft) {
    let mut keys = Keys::default();
    keys.put("address", quoted(&with_port(of.word(0), "80")));
    // nginx's own, where it says nothing.
    let (mut max_fails, mut fail_timeout) = ("1".to_owned(), quoted("10s"));
    for word in of.words.iter().skip(1) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "weight" | "max_conns" => drop(keys.put(name, value)),
            "max_fails" => value.clone_into(&mut max_fails),
            "fail_timeout" | "slow_start" => match time(value) {
                Some(time) if name == "slow_start" => drop(keys.put(name, quoted(&time))),
                Some(time) => fail_timeout = quoted(&time),
                None => bad_value(draft, of),
            },
            "backup" => drop(keys.put("backup", "true")),
            "down" => drop(keys.put("weight", "0")),
            _ => draft.problem(of, format!("`{word}` of a server is not carried over")),
        }
    }
    keys.put("max_fails", max_fails);
    keys.put("fail_timeout", fail_timeout);
    draft.upstream(upstream).backends.push(keys);
}

/// An address with its port; a path of a socket has none.
fn with_port(address: &str, port: &str) -> String {
    let behind = address.rsplit(']').next().unwrap_or(address);
    if address.starts_with("unix:") || behind.contains(':') {
        address.to_owned()
    } else {
        format!("{address}:{port}")
    }
}

fn limit_req_zone(of: &Directive, draft: &mut Draft) {
    let zone = of.named("zone").and_then(|zone| zone.split(':').next());
    let key = hashed_by(of.word(0)).filter(|key| key == "client" || key.starts_with("header:"));
    let (Some(zone), Some(rate), Some(key)) = (zone, of.named("rate").and_then(rate), key) else {
        return bad_value(draft, of);
    };
    let mut keys = Keys::default();
    keys.put("key", quoted(&key));
    keys.put("rate", quoted(&rate));
    draft.rate_limits.push((zone.to_owned(), keys));
}

/// A server: its listeners and its routes.
fn server<'a>(of: &'a Directive, scope: &Scope<'a>, draft: &mut Draft) {
    let inner = of.inner();
    let scope = scope.below(inner);
    let redirect = place::only_to_https(inner);
    let is_tls = inner.iter().any(|directive| directive.name == "listen" && directive.says("ssl"));
    let (mut is_first, mut is_shared) = (false, false);
    let listens: Vec<&Directive> = inner.iter().filter(|directive| directive.name == "listen").collect();
    for listen in &listens {
        let (first, shared) = listener(listen, redirect, is_tls, inner, draft);
        is_first |= first || listen.says("default_server");
        is_shared |= shared;
    }
    if listens.is_empty() {
        draft.problem(of, "a server without `listen`: say which address");
    }
    for directive in inner {
        match directive.name.as_str() {
            "listen" | "server_name" | "location" | "return" | "ssl_protocols" => {}
            "ssl_certificate" | "ssl_certificate_key" if is_tls => {}
            name if is_of_places(name) => {}
            _ => elsewhere(directive, draft),
        }
    }
    // The listener does it for every request.
    if redirect.is_none() || is_shared {
        let hosts = place::hosts(inner, is_first && redirect.is_none(), draft);
        place::routes(of, &hosts, &scope, draft);
    }
}

/// Opens what a server listens on; whether it is the first there, and whether it shares it with one of another kind.
fn listener(
    listen: &Directive,
    redirect: Option<u16>,
    is_tls: bool,
    server: &[Directive],
    draft: &mut Draft,
) -> (bool, bool) {
    let word = listen.word(0);
    if word.starts_with("unix:") {
        draft.problem(listen, "listeners are addresses, not sockets of the file system");
        return (false, false);
    }
    let address = match word.parse::<u16>() {
        Ok(port) => format!("0.0.0.0:{port}"),
        Err(_) => with_port(&word.replace("*:", "0.0.0.0:").replace("localhost", "127.0.0.1"), "80"),
    };
    let known = draft.listeners.iter().position(|place| place.address == address);
    let at = known.unwrap_or_else(|| {
        let (keys, tls) = (Keys::default(), Keys::default());
        draft.listeners.push(Place { address, keys, certificates: Vec::new(), tls, redirect });
        draft.listeners.len() - 1
    });
    let is_shared = draft.listeners[at].redirect != redirect;
    if is_shared {
        draft.listeners[at].redirect = None;
    }
    for option in listen.words.iter().skip(1) {
        match option.split('=').next().unwrap_or_default() {
            "proxy_protocol" => drop(draft.listeners[at].keys.put("proxy_protocol", "true")),
            "ssl" | "http2" | "default_server" | "ipv6only" | "reuseport" | "backlog" | "deferred"
            | "fastopen" | "so_keepalive" => {}
            _ => draft.problem(listen, format!("`{option}` of a listener is not carried over")),
        }
    }
    if is_tls && listen.says("ssl") {
        certificates(listen, at, server, draft);
    }
    (known.is_none(), is_shared)
}

fn certificates(listen: &Directive, at: usize, server: &[Directive], draft: &mut Draft) {
    let of = |wanted: &str| -> Vec<&Directive> {
        server.iter().filter(|directive| directive.name == wanted).collect()
    };
    for (cert, key) in of("ssl_certificate").into_iter().zip(of("ssl_certificate_key")) {
        let (cert, key) = (cert.word(0), key.word(0));
        let row = format!("{{ cert = {}, key = {} }}", quoted(cert), quoted(key));
        let certificates = &mut draft.listeners[at].certificates;
        if !certificates.contains(&row) {
            // The first is for every other name.
            let place = if listen.says("default_server") { 0 } else { certificates.len() };
            certificates.insert(place, row);
        }
    }
    let protocols = server.iter().rfind(|directive| directive.name == "ssl_protocols");
    if protocols.is_some_and(|protocols| protocols.words == ["TLSv1.3"]) {
        draft.listeners[at].tls.put("min_version", quoted("1.3"));
    }
    if draft.listeners[at].certificates.is_empty() {
        draft.problem(listen, "`ssl` without a certificate in the same server");
    }
}

/// Networks, without nginx's `all`.
fn networks(found: &[&Directive]) -> Vec<String> {
    found.iter().map(|directive| directive.word(0).to_owned()).filter(|word| word != "all").collect()
}
