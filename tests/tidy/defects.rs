//! Decides that each of the original's 22 defects, which this application promises not to have, is tested by its number.

use std::collections::BTreeSet;

use crate::report;
use crate::source::{files, read};

const DEFECTS: u32 = 22;

#[test]
fn every_defect_of_the_original_is_tested_by_its_number() {
    let mut tested = BTreeSet::new();
    for path in ["app", "tests/e2e"].iter().flat_map(|folder| files(folder, "rs")) {
        let text = read(&path);
        tested.extend(text.split(concat!("fn ", "defect_")).skip(1).filter_map(number));
    }
    let missing: Vec<String> = (1..=DEFECTS)
        .filter(|number| !tested.contains(number))
        .map(|number| format!("no test begins with `defect_{number:02}_`"))
        .collect();
    report("these defects of the original are not tested", &missing);
}

/// The two digits that a name goes on with.
fn number(rest: &str) -> Option<u32> {
    let (digits, rest) = rest.split_at_checked(2)?;
    rest.starts_with('_').then(|| digits.parse().ok()).flatten()
}

#[test]
fn a_number_is_two_digits() {
    assert_eq!(number("07_is_read()"), Some(7));
    assert_eq!(number("7_is_not()"), None);
    assert_eq!(number("070_is_not()"), None);
}
