//! Decides what an offset page is: which rows, which neighbours, which numbers are shown.

pub mod cursor;
pub mod keyset;

use std::ops::RangeInclusive;

use crate::query::{Params, Rule, Spec, words};

/// Which end of an order comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Smallest, or oldest, first.
    Ascending,
    /// Largest, or newest, first.
    Descending,
}

impl Direction {
    /// The other way round.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Ascending => Self::Descending,
            Self::Descending => Self::Ascending,
        }
    }
}

/// The pages a client may ask for by number. Deeper ones are what cursors are for.
pub const NUMBERS: RangeInclusive<u64> = 1..=1_000_000;
/// The rows of an offset page.
pub const SIZES: RangeInclusive<u64> = 1..=50;
/// The rows of an offset page when the client does not say.
pub const DEFAULT_SIZE: u64 = 15;

/// `page`.
pub const PAGE: Spec =
    Spec::new("page", Rule::Number(*NUMBERS.start(), *NUMBERS.end()), "Which page, from 1.");
/// `per_page`.
pub const PER_PAGE: Spec =
    Spec::new("per_page", Rule::Number(*SIZES.start(), *SIZES.end()), "Rows per page; 15 when left out.");

/// What a client writes for each direction.
pub const DIRECTIONS: [(&str, Direction); 2] =
    [("desc", Direction::Descending), ("asc", Direction::Ascending)];
const DIRECTION_WORDS: [&str; 2] = words(&DIRECTIONS);
/// `direction`.
pub const DIRECTION: Spec =
    Spec::new("direction", Rule::Word(&DIRECTION_WORDS), "Which end of the order comes first.");

/// Which page of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// From 1.
    pub number: u64,
    /// Rows per page.
    pub size: u64,
}

/// Rows of a list, counted off from one of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Whether the list is read backwards.
    pub is_from_the_end: bool,
    /// Rows to leave out before.
    pub skipped: u64,
    /// Rows of the page.
    pub rows: u64,
}

impl Stretch {
    /// Whether the page is the first or the last one: nothing is counted off, so its rows are read in the order in which
    /// the list is, from that end.
    pub fn is_at_an_end(self) -> bool {
        self.skipped == 0
    }
}

/// Where a page stands in its list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Number of the first row on the page, from 1; `None` on an empty page.
    pub from: Option<u64>,
    /// Number of the last row on the page.
    pub to: Option<u64>,
    /// Number of the last page; 1 for an empty list.
    pub last_page: u64,
    /// The page before, if there is one.
    pub previous: Option<u64>,
    /// The page behind, if there is one.
    pub next: Option<u64>,
}

impl Offset {
    /// What `page` and `per_page` say.
    pub fn from_params(params: &Params) -> Self {
        Self {
            number: params.number("page").unwrap_or(1),
            size: params.number("per_page").unwrap_or(DEFAULT_SIZE),
        }
    }

    /// Rows to leave out before the page.
    pub fn skipped(self) -> u64 {
        (self.number - 1) * self.size
    }

    /// How this page is reached from the front, where the number of rows is not known.
    pub fn from_the_front(self) -> Stretch {
        Stretch { is_from_the_end: false, skipped: self.skipped(), rows: self.size }
    }

    /// How this page of a list of `total` rows is reached from the end that is nearer.
    pub fn stretch(self, total: u64) -> Stretch {
        let rows = self.size.min(total.saturating_sub(self.skipped()));
        let behind = total.saturating_sub(self.skipped() + rows);
        if behind < self.skipped() {
            Stretch { is_from_the_end: true, skipped: behind, rows }
        } else {
            Stretch { is_from_the_end: false, skipped: self.skipped(), rows }
        }
    }

    /// Where this page stands in a list of `total` rows.
    pub fn standing(self, total: u64) -> Standing {
        let last_page = total.div_ceil(self.size).max(1);
        let first_row = self.skipped() + 1;
        let has_rows = first_row <= total;
        Standing {
            from: has_rows.then_some(first_row),
            to: has_rows.then(|| total.min(self.skipped() + self.size)),
            last_page,
            previous: (self.number > 1).then(|| (self.number - 1).min(last_page)),
            next: (self.number < last_page).then_some(self.number + 1),
        }
    }
}

/// A place in the row of page links: a page, or a gap between far pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A link to this page.
    Page(u64),
    /// Pages left out.
    Gap,
}

/// Pages shown on each side of the current one.
const NEIGHBOURS: u64 = 3;

/// The row of page links: the first two, the last two, those around `current`, and gaps between.
pub fn steps(current: u64, last: u64) -> Vec<Step> {
    let current = current.min(last);
    let is_shown = |page: u64| page <= 2 || page + 1 >= last || page.abs_diff(current) <= NEIGHBOURS;
    // At most 2 + 7 + 2 pages are shown, so only these are looked at.
    let around = current.saturating_sub(NEIGHBOURS).max(1)..=(current + NEIGHBOURS).min(last);
    let mut pages: Vec<u64> =
        (1..=2.min(last)).chain(around).chain(last.saturating_sub(1).max(1)..=last).collect();
    pages.sort_unstable();
    pages.dedup();
    let mut steps = Vec::with_capacity(pages.len() + 2);
    let mut previous = 0;
    for page in pages.into_iter().filter(|page| is_shown(*page)) {
        match page - previous {
            1 => {}
            // A gap of one page is no shorter than the page itself.
            2 => steps.push(Step::Page(page - 1)),
            _ => steps.push(Step::Gap),
        }
        steps.push(Step::Page(page));
        previous = page;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_its_place() {
        let standing = |number, size, total| Offset { number, size }.standing(total);
        assert_eq!(
            standing(2, 15, 31),
            Standing { from: Some(16), to: Some(30), last_page: 3, previous: Some(1), next: Some(3) }
        );
        assert_eq!(
            standing(3, 15, 31),
            Standing { from: Some(31), to: Some(31), last_page: 3, previous: Some(2), next: None }
        );
        assert_eq!(
            standing(1, 15, 0),
            Standing { from: None, to: None, last_page: 1, previous: None, next: None }
        );
        assert_eq!(
            standing(9, 15, 31),
            Standing { from: None, to: None, last_page: 3, previous: Some(3), next: None }
        );
    }

    #[test]
    fn a_page_is_counted_off_from_the_end_that_is_nearer() {
        for (number, is_from_the_end, skipped, rows) in
            [(1, false, 0, 10), (5, false, 40, 10), (6, true, 35, 10), (10, true, 0, 5), (11, true, 0, 0)]
        {
            let stretch = Offset { number, size: 10 }.stretch(95);
            assert_eq!(stretch, Stretch { is_from_the_end, skipped, rows }, "{number}");
        }
    }

    #[test]
    fn far_pages_are_left_out_of_the_links() {
        let shown = |current, last| {
            let word = |step| match step {
                Step::Page(page) => page.to_string(),
                Step::Gap => "…".to_owned(),
            };
            steps(current, last).into_iter().map(word).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(1, 1), "1");
        assert_eq!(shown(1, 3), "1 2 3");
        assert_eq!(shown(1, 20), "1 2 3 4 … 19 20");
        assert_eq!(shown(10, 20), "1 2 … 7 8 9 10 11 12 13 … 19 20");
        assert_eq!(shown(7, 20), "1 2 3 4 5 6 7 8 9 10 … 19 20");
        assert_eq!(shown(999, 6_667), "1 2 … 996 997 998 999 1000 1001 1002 … 6666 6667");
        assert_eq!(shown(50, 20), "1 2 … 17 18 19 20");
    }
}
