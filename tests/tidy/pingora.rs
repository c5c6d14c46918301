//! Decides that every known fault of pingora is held by a test that exists, or said to be none of ours.

use std::collections::BTreeSet;

use crate::report;
use crate::source::{read, rust};

const PAGE: &str = "docs/pingora.md";

/// What is open in cloudflare/pingora, or was when the version was chosen.
const ISSUES: [u32; 20] =
    [95, 132, 144, 250, 447, 563, 674, 690, 726, 832, 866, 873, 935, 945, 980, 988, 998, 1018, 1041, 1059];

struct Row {
    fault: String,
    held: String,
}

fn rows(page: &str) -> Vec<Row> {
    let lines = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault "));
    let cells = lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>());
    let rows = cells.filter(|cells| cells.len() == 3 && !cells[0].starts_with("---"));
    rows.map(|cells| Row { fault: cells[0].to_owned(), held: cells[2].to_owned() }).collect()
}

#[test]
fn every_fault_of_pingora_has_its_row_and_every_row_its_test_or_its_reason() {
    let rows = rows(&read(PAGE));
    let tests: BTreeSet<String> = rust().iter().flat_map(|source| functions(&source.text)).collect();
    let mut findings = Vec::new();
    for issue in ISSUES {
        if rows.iter().filter(|row| row.fault == format!("#{issue}")).count() != 1 {
            findings.push(format!("{PAGE}: #{issue} must have one row"));
        }
    }
    for row in &rows {
        let named: Vec<&str> = row.held.split('`').skip(1).step_by(2).collect();
        let is_excused = row.held.strip_prefix("None: ").is_some_and(|why| why.split(' ').count() > 3);
        if named.is_empty() != is_excused {
            findings.push(format!("{PAGE}: {}: name a test, or say \"None: \" and why", row.fault));
        }
        let missing = named.iter().filter(|test| !tests.contains(**test));
        findings.extend(missing.map(|test| format!("{PAGE}: {}: there is no test {test}", row.fault)));
    }
    report("the page about pingora is not true", &findings);
}

#[test]
fn every_test_named_by_a_fault_stands_on_the_page() {
    let rows = rows(&read(PAGE));
    let tests = rust().into_iter().flat_map(|source| functions(&source.text));
    let unlisted = tests.filter(|test| {
        let rest = test.strip_prefix("pingora_").unwrap_or_default();
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        !number.is_empty()
            && !rows.iter().any(|row| row.fault == format!("#{number}") && row.held.contains(test.as_str()))
    });
    report("these tests name a fault that docs/pingora.md does not", &unlisted.collect::<Vec<_>>());
}

/// The names of all functions.
fn functions(text: &str) -> Vec<String> {
    let starts = text.split("fn ").skip(1);
    starts.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}
