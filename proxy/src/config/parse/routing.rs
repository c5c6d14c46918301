//! Checks what a route asks of a request besides host and path, and what it does with it.

use std::collections::BTreeSet;
use std::path::Path;

use cirque_shared::config::Problems;

use super::super::policy::{
    Action, CODING, Coding, Compress, Conditions, ErrorPage, HeaderCondition, Maintenance, Page, Redirect,
    Respond, Rewrite, ValuePattern,
};
use super::super::raw;
use super::super::template::{Template, Variable};
use super::headers::checked_name;
use super::value::{in_range, networks, one_of};

/// The largest page that is kept in memory.
const MOST_PAGE: u64 = 1024 * 1024;

pub(super) fn conditions(at: &str, raw: &raw::Route, problems: &mut Problems) -> Conditions {
    let mut conditions = Conditions::default();
    for (index, method) in raw.methods.iter().flatten().enumerate() {
        let is_method =
            !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
        if is_method {
            conditions.methods.push(method.as_str().into());
        } else {
            let why = format!("must be a method in capitals, like \"GET\", got {method:?}");
            problems.push(&format!("{at}.methods[{index}]"), why);
        }
    }
    for (index, header) in raw.headers.iter().flatten().enumerate() {
        let at = format!("{at}.headers[{index}]");
        let name = problems.require(&format!("{at}.name"), header.name.clone());
        let value = match header.value.as_deref().unwrap_or("*") {
            "*" => ValuePattern::Any,
            text => text
                .strip_suffix('*')
                .map_or_else(|| ValuePattern::Exact(text.into()), |start| ValuePattern::Prefix(start.into())),
        };
        match checked_name(&name) {
            Ok(name) => {
                conditions.headers.push(HeaderCondition { name: name.to_ascii_lowercase().into(), value })
            }
            Err(_) if name.is_empty() => {}
            Err(why) => problems.push(&format!("{at}.name"), why),
        }
    }
    conditions.methods.sort();
    conditions.headers.sort_by(|one, other| one.name.cmp(&other.name));
    conditions
}

pub(super) fn action(
    at: &str,
    raw: &raw::Route,
    upstreams: &BTreeSet<&str>,
    problems: &mut Problems,
) -> Action {
    match (&raw.upstream, &raw.redirect, &raw.respond) {
        (None, Some(redirect), None) => {
            Action::Redirect(self::redirect(&format!("{at}.redirect"), redirect, problems))
        }
        (None, None, Some(respond)) => {
            Action::Respond(self::respond(&format!("{at}.respond"), respond, problems))
        }
        (_, None, None) => {
            Action::Upstream(upstream(&format!("{at}.upstream"), raw.upstream.clone(), upstreams, problems))
        }
        _ => {
            problems.push(at, "must have one of upstream, redirect and respond, not several");
            Action::Upstream(String::new())
        }
    }
}

fn upstream(at: &str, name: Option<String>, upstreams: &BTreeSet<&str>, problems: &mut Problems) -> String {
    let upstream = problems.require(at, name);
    if !upstream.is_empty() && !upstreams.contains(upstream.as_str()) {
        let known = match upstreams.iter().copied().collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => format!("none; add [[upstreams.{upstream}.backends]]"),
            known => known,
        };
        problems.push(at, format!("no upstream {upstream:?}; there are: {known}"));
    }
    upstream
}

fn redirect(at: &str, raw: &raw::Redirect, problems: &mut Problems) -> Redirect {
    let status = raw.status.unwrap_or(301);
    if !matches!(status, 301 | 302 | 307 | 308) {
        problems.push(&format!("{at}.status"), format!("must be 301, 302, 307 or 308, got {status}"));
    }
    let text = problems.require(&format!("{at}.to"), raw.to.clone());
    let to = Template::parse(&text).and_then(|to| safe_target(&to, &text).map(|()| to));
    let to = to.unwrap_or_else(|why| {
        if !text.is_empty() {
            problems.push(&format!("{at}.to"), why);
        }
        Template::default()
    });
    Redirect { status, to }
}

/// Whether nobody but the operator decides which host a redirect leads to.
fn safe_target(to: &Template, text: &str) -> Result<(), String> {
    let (start, first) = to.start();
    if start.is_empty() && matches!(first, Some(Variable::Path | Variable::Uri)) {
        return Ok(());
    }
    if start.starts_with('/') && !start.starts_with("//") {
        return Ok(());
    }
    let after = ["https://", "http://", "{scheme}://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let Some(after) = after else {
        return Err(format!("must start with /, {{path}}, {{uri}}, http:// or https://, got {text:?}"));
    };
    let named = after.strip_prefix("{host}").or_else(|| after.strip_prefix("{host_port}"));
    let authority = named.unwrap_or(after);
    // Up to here the host is fixed; what follows must not be able to make it longer.
    let end = authority.find(['/', '{', '?', '#']).unwrap_or(authority.len());
    let is_name =
        authority[..end].bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
    let rest = &authority[end..];
    let is_closed = rest.is_empty()
        || rest.starts_with(['/', '?'])
        || rest.starts_with("{path}")
        || rest.starts_with("{uri}");
    if !is_name || !is_closed || (named.is_none() && end == 0) {
        return Err(format!(
            "must have a / after the host, so that no request can lengthen its name, got {text:?}"
        ));
    }
    Ok(())
}

fn respond(at: &str, raw: &raw::Respond, problems: &mut Problems) -> Respond {
    let content_type = raw.content_type.as_deref().unwrap_or("text/plain; charset=utf-8");
    if !content_type.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        problems.push(&format!("{at}.content_type"), "must be printable ASCII, like \"text/html\"");
    }
    Respond {
        status: in_range(&format!("{at}.status"), raw.status.unwrap_or(200), 200, 599, problems),
        content_type: content_type.into(),
        body: raw.body.clone().unwrap_or_default().into_bytes().into(),
    }
}

pub(super) fn rewrite(at: &str, raw: &raw::Route, action: &Action, problems: &mut Problems) -> Rewrite {
    let mut prefix = |key: &str, text: &Option<String>| -> Box<str> {
        let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else { return "".into() };
        let at = format!("{at}.{key}");
        if action.upstream().is_none() {
            problems.push(&at, "has no effect: this route has no upstream");
        }
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"*?#%\\".contains(&byte);
        if !text.starts_with('/') || text.ends_with('/') || !text.bytes().all(plain) || text.contains("//") {
            problems
                .push(&at, format!("must start with / and not end with one, like \"/api\", got {text:?}"));
        }
        text.into()
    };
    Rewrite { strip: prefix("strip_prefix", &raw.strip_prefix), add: prefix("add_prefix", &raw.add_prefix) }
}

pub(super) fn error_pages(
    at: &str,
    raw: Option<Vec<raw::ErrorPage>>,
    problems: &mut Problems,
) -> Vec<ErrorPage> {
    let mut pages = Vec::new();
    for (index, raw) in raw.into_iter().flatten().enumerate() {
        let at = format!("{at}[{index}]");
        let statuses = problems.require(&format!("{at}.statuses"), raw.statuses);
        if let Some(odd) = statuses.iter().find(|status| !(400..600).contains(*status)) {
            problems.push(&format!("{at}.statuses"), format!("must be from 400 to 599, got {odd}"));
        }
        let file = problems.require(&format!("{at}.file"), raw.file);
        let page = page(&format!("{at}.file"), &file, problems);
        pages.push(ErrorPage { statuses, page });
    }
    pages
}

/// Reads a page now, because a request must never wait for a disk.
fn page(at: &str, file: &str, problems: &mut Problems) -> Option<Page> {
    if file.is_empty() {
        return None;
    }
    let path = Path::new(file);
    let size = std::fs::metadata(path).map(|metadata| metadata.len());
    let body = match size {
        Ok(size) if size > MOST_PAGE => {
            problems.push(at, format!("{file} is larger than 1 MiB: it would be kept in memory"));
            return None;
        }
        Ok(_) => std::fs::read(path),
        Err(error) => Err(error),
    };
    match body {
        Ok(body) => Some(Page { content_type: content_type(path), body: body.into() }),
        Err(error) => {
            problems.push(at, format!("{file} cannot be read: {error}"));
            None
        }
    }
}

fn content_type(file: &Path) -> &'static str {
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("json") => "application/json",
        Some("xml") => "application/xml",
        _ => "text/plain; charset=utf-8",
    }
}

pub(super) fn maintenance(at: &str, raw: Option<raw::Maintenance>, problems: &mut Problems) -> Maintenance {
    let raw = raw.unwrap_or_default();
    Maintenance {
        is_on: raw.enabled.unwrap_or_default(),
        allow: networks(&format!("{at}.allow"), raw.allow, problems),
        retry_after: raw.retry_after.unwrap_or_default(),
        page: page(&format!("{at}.page"), &raw.page.unwrap_or_default(), problems),
    }
}

pub(super) fn compress(at: &str, raw: Option<raw::Compress>, problems: &mut Problems) -> Compress {
    let raw = raw.unwrap_or_default();
    let mut encodings: Vec<Coding> = Vec::new();
    for (index, word) in raw.encodings.into_iter().flatten().enumerate() {
        if let Some(coding) = one_of(&format!("{at}.encodings[{index}]"), &word, &CODING, problems) {
            encodings.push(coding);
        }
    }
    let mut types: Vec<Box<str>> = Vec::new();
    for (index, text) in raw.types.into_iter().flatten().enumerate() {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.*".contains(&byte);
        match text.split_once('/') {
            Some((main, sub))
                if !main.is_empty() && !sub.is_empty() && (main.bytes().chain(sub.bytes())).all(plain) =>
            {
                types.push(text.into());
            }
            _ => problems.push(
                &format!("{at}.types[{index}]"),
                format!("must be like \"text/html\" or \"text/*\", got {text:?}"),
            ),
        }
    }
    Compress { encodings, types, min_size: raw.min_size.unwrap_or_default().0 }
}
