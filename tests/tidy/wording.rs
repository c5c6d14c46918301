//! Decides how logs are worded, where error statuses may be written, and what a test may not do.

use crate::report;
use crate::source::{Source, rust};

/// The files that may name a 4xx or 5xx status, and why.
const MAY_NAME_STATUSES: &[(&str, &str)] = &[
    ("proxy/src/respond.rs", "the edge's one door out"),
    ("app/src/error.rs", "the app's one door out"),
    ("proxy/src/admin", "the operator's door; its errors never reach a client of the site"),
    ("app/src/health.rs", "503 is its way of saying no, not an error of the request"),
    ("tests/", "the harness plays clients and backends, and asserts on statuses"),
];

const STATUS_NAMES: [&str; 22] = [
    "BAD_REQUEST",
    "UNAUTHORIZED",
    "FORBIDDEN",
    "NOT_FOUND",
    "METHOD_NOT_ALLOWED",
    "NOT_ACCEPTABLE",
    "REQUEST_TIMEOUT",
    "CONFLICT",
    "GONE",
    "LENGTH_REQUIRED",
    "PRECONDITION_FAILED",
    "PAYLOAD_TOO_LARGE",
    "URI_TOO_LONG",
    "UNSUPPORTED_MEDIA_TYPE",
    "MISDIRECTED_REQUEST",
    "UNPROCESSABLE_ENTITY",
    "TOO_MANY_REQUESTS",
    "INTERNAL_SERVER_ERROR",
    "NOT_IMPLEMENTED",
    "BAD_GATEWAY",
    "SERVICE_UNAVAILABLE",
    "GATEWAY_TIMEOUT",
];

#[test]
fn error_statuses_are_written_only_where_errors_are_answered() {
    let sources = rust().into_iter().filter(|source| {
        !source.is_tests() && !MAY_NAME_STATUSES.iter().any(|(path, _)| source.path.starts_with(path))
    });
    let findings: Vec<String> = sources.flat_map(|source| statuses(&source)).collect();
    report("answer through respond.rs or error.rs, or add the file to the table with its reason", &findings);
}

fn statuses(source: &Source) -> Vec<String> {
    let names = |line: &str| STATUS_NAMES.iter().any(|name| line.contains(&format!("StatusCode::{name}")));
    let lines = source.code_lines().filter(|(_, line)| names(line));
    lines.map(|(at, line)| format!("{}:{at}: {}", source.path, line.trim())).collect()
}

#[test]
fn end_to_end_tests_wait_for_something_and_none_is_skipped() {
    let mut findings = Vec::new();
    for source in rust() {
        // Written in two halves so that this file does not find itself.
        let skipped = concat!("#[", "ignore");
        let slept = source.path.starts_with("tests/e2e/");
        for (at, line) in source.text.lines().enumerate() {
            let waits = slept && ["sleep(", "pause("].iter().any(|call| line.contains(call));
            if line.trim_start().starts_with(skipped) || waits {
                findings.push(format!("{}:{}: {}", source.path, at + 1, line.trim()));
            }
        }
    }
    report("wait with `eventually`, and fix or delete what cannot run", &findings);
}

#[test]
fn tests_are_named_by_a_sentence() {
    let mut findings = Vec::new();
    for source in rust() {
        for (at, line) in source.text.lines().enumerate() {
            let line = line.trim_start().trim_start_matches("async ");
            if line.starts_with(concat!("fn ", "test_")) {
                findings.push(format!("{}:{}: {line}", source.path, at + 1));
            }
        }
    }
    report("say what holds, without `test_`", &findings);
}

#[test]
fn log_messages_are_constant_and_lowercase() {
    let sources = rust().into_iter().filter(|source| !source.path.starts_with("tests/"));
    let findings: Vec<String> =
        sources.flat_map(|source| odd_messages(&source.path, source.code())).collect();
    report(
        "a log message is a constant short sentence in lowercase without full stop; values go in fields",
        &findings,
    );
}

fn odd_messages(path: &str, code: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for level in ["error!(", "warn!(", "info!(", "debug!(", "trace!("] {
        for (at, _) in code.match_indices(level) {
            let is_whole_word = !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            let is_comment = code[..at].rsplit('\n').next().unwrap_or_default().contains("//");
            if !is_whole_word || is_comment {
                continue;
            }
            let arguments = arguments(&code[at + level.len()..]);
            if let Some(message) = message(arguments)
                && !is_well_worded(message)
            {
                let line = code[..at].lines().count();
                findings.push(format!("{path}:{line}: {message:?}"));
            }
        }
    }
    findings
}

/// Up to the parenthesis that closes the macro.
fn arguments(text: &str) -> &str {
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            '"' if !escaped => in_string = !in_string,
            '(' if !in_string => depth += 1,
            ')' if !in_string && depth == 0 => return &text[..at],
            ')' if !in_string => depth -= 1,
            _ => {}
        }
        escaped = character == '\\' && !escaped;
    }
    text
}

/// The last string literal that is an argument by itself.
fn message(arguments: &str) -> Option<&str> {
    let trimmed = arguments.trim().trim_end_matches(',').trim_end();
    let inner = trimmed.strip_suffix('"')?;
    let start = inner.rfind('"')?;
    let before = inner[..start].trim_end();
    (before.is_empty() || before.ends_with(',')).then_some(&inner[start + 1..])
}

fn is_well_worded(message: &str) -> bool {
    let first = message.split(' ').next().unwrap_or_default();
    let is_name = first.len() > 1 && first.chars().all(|c| c.is_uppercase() || c.is_numeric());
    let starts_low = is_name || !first.starts_with(char::is_uppercase);
    starts_low && !message.ends_with('.') && !message.contains('{')
}

#[test]
fn a_message_is_found_among_fields_and_judged() {
    let judged = |code: &str| odd_messages("a.rs", code).len();
    assert_eq!(judged("warn!(backend = %id, \"backend is down\");"), 0);
    assert_eq!(judged("info!(\"SIGHUP was ignored\");"), 0);
    assert_eq!(judged("info!(\"Started.\");"), 1);
    assert_eq!(judged("tracing::error!(code, \"could not bind {address}\")"), 1);
    assert_eq!(judged("// warn!(\"Commented\")"), 0);
}
