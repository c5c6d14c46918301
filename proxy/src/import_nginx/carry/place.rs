//! A place of nginx (`location`, or a whole server) becomes a route.

use super::scope::{Scope, is_of_places};
use super::{networks, with_port};
use crate::import_nginx::draft::{Draft, Keys, Route};
use crate::import_nginx::read::Directive;
use crate::import_nginx::values::{list, quoted, size, text, time};

/// Every network.
const EVERYBODY: [&str; 2] = ["0.0.0.0/0", "::/0"];

/// The port that a server sends every request to with https, when it does nothing else.
pub(super) fn only_to_https(server: &[Directive]) -> Option<u16> {
    let answering: Vec<&Directive> = server
        .iter()
        .filter(|directive| !matches!(directive.name.as_str(), "listen" | "server_name" | "access_log"))
        .collect();
    let [only] = answering[..] else { return None };
    let returned = match (only.name.as_str(), only.inner()) {
        ("return", _) => only,
        ("location", [inner]) if only.words == ["/"] && inner.name == "return" => inner,
        _ => return None,
    };
    let is_redirect = matches!(returned.word(0), "301" | "302" | "307" | "308");
    let target = returned.word(1).strip_prefix("https://")?;
    let host = target.strip_suffix("$request_uri")?;
    (is_redirect && matches!(host, "$host" | "$server_name" | "$http_host")).then_some(443)
}

/// The hosts of a server; `is_default`: those that nobody else names too.
pub(super) fn hosts(server: &[Directive], is_default: bool, draft: &mut Draft) -> Vec<String> {
    let mut hosts = Vec::new();
    for directive in server.iter().filter(|directive| directive.name == "server_name") {
        for name in &directive.words {
            match name.as_str() {
                "" | "_" => {}
                _ if name.starts_with('~') || name.ends_with(".*") => {
                    draft
                        .problem(directive, format!("`{name}`: hosts are exact, \"*.example.com\" or \"*\""));
                }
                _ => match name.strip_prefix('.') {
                    Some(bare) => hosts.extend([bare.to_owned(), format!("*.{bare}")]),
                    None => hosts.push(name.clone()),
                },
            }
        }
    }
    if is_default || hosts.is_empty() {
        hosts.push("*".to_owned());
    }
    hosts
}

/// The routes of a server.
pub(super) fn routes(server: &Directive, hosts: &[String], scope: &Scope<'_>, draft: &mut Draft) {
    if let Some(returned) = server.inner().iter().find(|directive| directive.name == "return") {
        if let Some(keys) = answer(returned, draft) {
            route(server, hosts, "/*", keys, scope, None, draft);
        }
        return;
    }
    for location in server.inner().iter().filter(|directive| directive.name == "location") {
        place(location, hosts, &scope.below(location.inner()), draft);
    }
}

fn place(location: &Directive, hosts: &[String], scope: &Scope<'_>, draft: &mut Draft) {
    let path = match &location.words[..] {
        [sign, path] if sign == "=" => path.clone(),
        [sign, path] if sign == "^~" => format!("{path}*"),
        [path] if path.starts_with('/') => format!("{path}*"),
        _ => {
            let words = location.words.join(" ");
            return draft.problem(location, format!("`location {words}`: paths are exact or prefixes here"));
        }
    };
    let mut keys = None;
    let mut pool = None;
    for directive in location.inner() {
        match directive.name.as_str() {
            "proxy_pass" | "grpc_pass" => {
                keys = pass(directive, &path, draft).map(|(name, keys)| {
                    pool = Some(name);
                    keys
                });
                if keys.is_none() {
                    return;
                }
            }
            "return" => match answer(directive, draft) {
                Some(found) => keys = Some(found),
                None => return,
            },
            "location" => draft.problem(directive, "a `location` within another is not carried over"),
            "proxy_redirect" if matches!(directive.word(0), "off" | "default") => {}
            name if is_of_places(name) => {}
            _ => super::elsewhere(directive, draft),
        }
    }
    match keys {
        Some(keys) => route(location, hosts, &path, keys, scope, pool.as_deref(), draft),
        None => draft.problem(location, "nothing here that the edge could answer with: it serves no files"),
    }
}

/// What `return` answers.
fn answer(of: &Directive, draft: &mut Draft) -> Option<Keys> {
    let (status, rest) = match of.word(0).parse::<u16>() {
        Ok(status) => (status, of.word(1)),
        Err(_) => (302, of.word(0)),
    };
    let mut keys = Keys::default();
    match status {
        301 | 302 | 307 | 308 => match text(rest) {
            Ok(to) => keys.put("redirect", format!("{{ to = {}, status = {status} }}", quoted(&to))),
            Err(variable) => {
                draft.problem(of, format!("`{variable}` is not known in a redirect"));
                return None;
            }
        },
        200..=443 | 445..=599 => {
            let (kind, body) = (quoted("text/plain; charset=utf-8"), quoted(rest));
            keys.put("respond", format!("{{ status = {status}, content_type = {kind}, body = {body} }}"))
        }
        // nginx's own word for closing the connection.
        _ => {
            draft.problem(of, format!("`return {status}` has no counterpart"));
            return None;
        }
    };
    Some(keys)
}

/// Where requests go: the upstream's name, and what changes in the path.
fn pass(of: &Directive, path: &str, draft: &mut Draft) -> Option<(String, Keys)> {
    let (scheme, rest) = of.word(0).split_once("://").unwrap_or(("grpc", of.word(0)));
    let (target, uri) = match rest.strip_prefix("unix:").and_then(|socket| socket.split_once(':')) {
        Some((socket, uri)) => (format!("unix:{socket}"), uri),
        None if rest.starts_with("unix:") => (rest.to_owned(), ""),
        None => {
            let at = rest.find('/').unwrap_or(rest.len());
            (rest[..at].to_owned(), &rest[at..])
        }
    };
    if target.contains('$') || uri.contains('$') {
        draft.problem(of, format!("`{} {}` with a variable is not carried over", of.name, of.word(0)));
        return None;
    }
    let mut keys = Keys::default();
    let from = path.strip_suffix('*').unwrap_or(path);
    if !uri.is_empty() && uri != from {
        if !(path.ends_with("/*") && uri.ends_with('/')) {
            draft.problem(of, "a path is replaced in whole segments: let both end with `/`");
            return None;
        }
        let (strip, add) = (from.trim_end_matches('/'), uri.trim_end_matches('/'));
        for (key, part) in [("strip_prefix", strip), ("add_prefix", add)] {
            if !part.is_empty() {
                keys.put(key, quoted(part));
            }
        }
    }
    let is_tls = matches!(scheme, "https" | "grpcs");
    let is_known = draft.upstreams.iter().any(|upstream| upstream.name == target);
    let name =
        if is_known { target.clone() } else { target.replace(|c: char| !c.is_ascii_alphanumeric(), "-") };
    if !is_known && draft.upstream(&name).backends.is_empty() {
        let mut backend = Keys::default();
        backend.put("address", quoted(&with_port(&target, if is_tls { "443" } else { "80" })));
        draft.upstream(&name).backends.push(backend);
    }
    keys.put("upstream", quoted(&name));
    for (key, value) in
        [("tls.on", is_tls.then_some("true")), ("protocol", scheme.starts_with("grpc").then_some("\"h2\""))]
    {
        if let Some(value) = value {
            draft.upstream(&name).keys.put(key, value);
        }
    }
    Some((name, keys))
}

/// Adds a route with what holds at its place.
fn route(
    of: &Directive,
    hosts: &[String],
    path: &str,
    mut keys: Keys,
    scope: &Scope<'_>,
    pool: Option<&str>,
    draft: &mut Draft,
) {
    if let Some(pool) = pool {
        upstream(pool, scope, draft);
        retry(scope, &mut keys);
        request_headers(scope, &mut keys, draft);
    }
    if let Some(most) = scope.one("client_max_body_size").and_then(|found| size(found.word(0))) {
        keys.put("client_max_body_size", quoted(&most.to_string()));
    }
    let whole = scope.one("proxy_next_upstream_timeout").and_then(|found| time(found.word(0)));
    if let Some(whole) = whole.filter(|whole| whole != "0s") {
        keys.put("timeout", quoted(&whole));
    }
    response_headers(scope, &mut keys, draft);
    limits(scope, &mut keys, draft);
    compression(scope, &mut keys);
    let is_there = |known: &Route| known.path == path && known.hosts.iter().any(|host| hosts.contains(host));
    if let Some(known) = draft.routes.iter().find(|known| is_there(known)) {
        // Two servers that differ in nothing but where they listen.
        if known.hosts != hosts || known.keys != keys {
            draft.problem(
                of,
                format!("{path} of the same host is another route already: routes hold on every listener"),
            );
        }
        return;
    }
    draft.routes.push(Route { hosts: hosts.to_vec(), path: path.to_owned(), keys });
}

/// What nginx says at a place and the edge about the upstream.
fn upstream(name: &str, scope: &Scope<'_>, draft: &mut Draft) {
    for (nginx, key) in [
        ("proxy_connect_timeout", "connect_timeout"),
        ("proxy_send_timeout", "send_timeout"),
        ("proxy_read_timeout", "read_timeout"),
        ("proxy_ssl_trusted_certificate", "tls.ca"),
        ("proxy_ssl_name", "tls.server_name"),
    ] {
        let Some(found) = scope.one(nginx) else { continue };
        let value =
            if nginx.ends_with("timeout") { time(found.word(0)) } else { Some(found.word(0).to_owned()) };
        let Some(value) = value else {
            super::bad_value(draft, found);
            continue;
        };
        if let Some(before) = draft.upstream(name).keys.put(key, quoted(&value)) {
            draft.problem(
                found,
                format!("upstream `{name}` has {key} = {before} already, from another place"),
            );
        }
    }
    if scope.one("proxy_ssl_verify").is_some_and(|found| found.word(0) == "off") {
        draft.upstream(name).keys.put("tls.insecure_skip_verify", "true");
    }
}

fn retry(scope: &Scope<'_>, keys: &mut Keys) {
    let mut said = Vec::new();
    if let Some(found) = scope.one("proxy_next_upstream") {
        let on: Vec<String> = found
            .words
            .iter()
            .filter(|word| !matches!(word.as_str(), "off" | "non_idempotent"))
            .cloned()
            .collect();
        said.push(format!("on = {}", list(&on)));
        if found.says("non_idempotent") {
            said.push("non_idempotent = true".to_owned());
        }
    }
    if let Some(tries) = scope.one("proxy_next_upstream_tries").filter(|tries| tries.word(0) != "0") {
        said.push(format!("attempts = {}", tries.word(0)));
    }
    if !said.is_empty() {
        keys.put("retry", format!("{{ {} }}", said.join(", ")));
    }
}

fn request_headers(scope: &Scope<'_>, keys: &mut Keys, draft: &mut Draft) {
    let (mut set, mut remove) = (Vec::new(), Vec::new());
    for header in scope.all("proxy_set_header") {
        let (name, value) = (header.word(0), header.word(1));
        if ["connection", "upgrade"].contains(&name.to_ascii_lowercase().as_str()) {
            continue;
        }
        if value.is_empty() {
            remove.push(name.to_owned());
            continue;
        }
        match text(value) {
            Ok(value) => set.push(format!("{name}: {value}")),
            Err(variable) => draft.problem(header, format!("`{variable}` is not known in a header")),
        }
    }
    headers("request_headers", &[("set", set), ("remove", remove)], keys);
}

fn response_headers(scope: &Scope<'_>, keys: &mut Keys, draft: &mut Draft) {
    let mut add = Vec::new();
    for header in scope.all("add_header") {
        match text(header.word(1)) {
            Ok(value) => add.push(format!("{}: {value}", header.word(0))),
            Err(variable) => draft.problem(header, format!("`{variable}` is not known in a header")),
        }
    }
    let hidden = scope.all("proxy_hide_header").iter().map(|header| header.word(0).to_owned()).collect();
    headers("response_headers", &[("add", add), ("remove", hidden)], keys);
}

fn headers(key: &str, rules: &[(&str, Vec<String>)], keys: &mut Keys) {
    let said = rules.iter().filter(|(_, lines)| !lines.is_empty());
    let said: Vec<String> = said.map(|(rule, lines)| format!("{rule} = {}", list(lines))).collect();
    if !said.is_empty() {
        keys.put(key, format!("{{ {} }}", said.join(", ")));
    }
}

fn limits(scope: &Scope<'_>, keys: &mut Keys, draft: &mut Draft) {
    let (allow, deny) = (scope.all("allow"), scope.all("deny"));
    let is_closed = deny.iter().any(|denied| denied.word(0) == "all");
    let (mut allowed, mut denied) = (networks(allow), networks(deny));
    // Whoever is named nowhere may come in nginx unless all are denied; here nobody may, where somebody is allowed.
    match (is_closed, allowed.is_empty()) {
        (true, true) => denied = EVERYBODY.map(str::to_owned).into(),
        (false, false) => allowed.extend(EVERYBODY.map(str::to_owned)),
        (true, false) | (false, true) => {}
    }
    for (key, named) in [("allow", allowed), ("deny", denied)] {
        if !named.is_empty() {
            keys.put(key, list(&named));
        }
    }
    let mut names = Vec::new();
    for limit in scope.all("limit_req") {
        let zone = limit.named("zone").unwrap_or_default();
        let Some((name, rules)) = draft.rate_limits.iter_mut().find(|(name, _)| name == zone) else {
            draft.problem(limit, format!("there is no limit `{zone}`"));
            continue;
        };
        names.push(name.clone());
        if let Some(before) = rules.put("burst", limit.named("burst").unwrap_or("0")) {
            draft.problem(limit, format!("limit `{zone}` has burst = {before} already, from another place"));
        }
    }
    if !names.is_empty() {
        keys.put("rate_limits", list(&names));
    }
}

fn compression(scope: &Scope<'_>, keys: &mut Keys) {
    if scope.one("gzip").is_none_or(|gzip| gzip.word(0) != "on") {
        return;
    }
    let mut types = vec!["text/html".to_owned()];
    types.extend(scope.one("gzip_types").into_iter().flat_map(|found| found.words.clone()));
    types.dedup();
    let least = scope.one("gzip_min_length").and_then(|found| size(found.word(0))).unwrap_or(20);
    let types = if types.iter().any(|kind| kind == "*") { "[\"*/*\"]".to_owned() } else { list(&types) };
    keys.put("compress", format!("{{ encodings = [\"gzip\"], types = {types}, min_size = \"{least}\" }}"));
}
