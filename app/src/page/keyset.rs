//! Decides which rows of a keyset query make the page, and where its neighbours begin.

use super::Direction;
use super::cursor::{Place, Rank, Way};
use crate::query::{Rule, Spec};

/// The rows of a keyset page when the client does not say.
pub const DEFAULT_LIMIT: u64 = 20;
/// The rows a keyset page may have.
pub const LIMITS: std::ops::RangeInclusive<u64> = 1..=100;

/// `cursor`. Its length is judged with the cursor.
pub const CURSOR: Spec =
    Spec::new("cursor", Rule::Cursor, "Where the page begins: a cursor from another page of this list.");
/// `limit`.
pub const LIMIT: Spec =
    Spec::new("limit", Rule::Number(*LIMITS.start(), *LIMITS.end()), "Rows per page; 20 when left out.");

/// A page and its neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The rows in the order of the list.
    pub rows: Vec<T>,
    /// Where the page behind begins, if there is one.
    pub next: Option<Place>,
    /// Where the page before begins, if there is one.
    pub previous: Option<Place>,
}

/// The direction to read in: a page before a place is read backwards.
pub fn reading_direction(direction: Direction, from: Option<&Place>) -> Direction {
    match from.map(|place| place.way) {
        Some(Way::Before) => direction.reversed(),
        Some(Way::After) | None => direction,
    }
}

/// Makes the page from up to `limit + 1` rows, read from `from` on in [`reading_direction`]; a list that begins
/// here is walked in `edition` of its order.
///
/// The row too many is not shown: it says that there is more. On the side the client came from there is always
/// more, because a cursor is made from a row; should that row and all beyond it be gone, the neighbour is empty.
pub fn assemble<T>(
    mut rows: Vec<T>,
    limit: usize,
    direction: Direction,
    from: Option<&Place>,
    edition: u32,
    place_of: impl Fn(&T) -> (Rank, i64),
) -> Page<T> {
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let way = from.map_or(Way::After, |place| place.way);
    let edition = from.map_or(edition, |place| place.edition);
    if way == Way::Before {
        rows.reverse();
    }
    let beyond = |row: Option<&T>, towards: Way| match (row, from) {
        (Some(row), _) => {
            let (rank, id) = place_of(row);
            Some(Place { way: towards, rank, id, edition })
        }
        // Nothing here: turn round at the cursor, its own row included.
        (None, Some(from)) => {
            Some(Place { way: towards, id: before(from.id, towards, direction), ..from.clone() })
        }
        (None, None) => None,
    };
    let (first, last) = (rows.first(), rows.last());
    let (next, previous) = match way {
        Way::After => (
            has_more.then(|| beyond(last, Way::After)).flatten(),
            from.and_then(|_| beyond(first, Way::Before)),
        ),
        Way::Before => (beyond(last, Way::After), has_more.then(|| beyond(first, Way::Before)).flatten()),
    };
    Page { rows, next, previous }
}

/// The id just before `id` on the way `towards`, so that the row `id` itself is still to come.
fn before(id: i64, towards: Way, direction: Direction) -> i64 {
    let is_growing = (direction == Direction::Ascending) == (towards == Way::After);
    if is_growing { id.saturating_sub(1) } else { id.saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the database does: the rows behind the place, in order, one more than asked for.
    fn fetch(
        rows: &[(i64, i64)],
        limit: usize,
        direction: Direction,
        from: Option<&Place>,
    ) -> Vec<(i64, i64)> {
        let reading = reading_direction(direction, from);
        let mut found: Vec<(i64, i64)> = rows
            .iter()
            .copied()
            .filter(|row| match (from, reading) {
                (None, _) => true,
                (Some(place), Direction::Ascending) => {
                    (Rank::Number(row.0), row.1) > (place.rank.clone(), place.id)
                }
                (Some(place), Direction::Descending) => {
                    (Rank::Number(row.0), row.1) < (place.rank.clone(), place.id)
                }
            })
            .collect();
        found.sort_unstable();
        if reading == Direction::Descending {
            found.reverse();
        }
        found.truncate(limit + 1);
        found
    }

    fn page(
        rows: &[(i64, i64)],
        limit: usize,
        direction: Direction,
        from: Option<&Place>,
    ) -> Page<(i64, i64)> {
        assemble(fetch(rows, limit, direction, from), limit, direction, from, 3, |row| {
            (Rank::Number(row.0), row.1)
        })
    }

    proptest! {
        #[test]
        fn walking_forward_and_back_meets_each_row_once_in_order(
            keys in proptest::collection::vec(0_i64..5, 0..40),
            limit in 1_usize..8,
            is_descending: bool,
        ) {
            let direction = if is_descending { Direction::Descending } else { Direction::Ascending };
            let rows: Vec<(i64, i64)> = (1..).zip(&keys).map(|(id, key)| (*key, id)).collect();
            let mut expected = rows.clone();
            expected.sort_unstable();
            if is_descending {
                expected.reverse();
            }
            let mut current = page(&rows, limit, direction, None);
            prop_assert_eq!(&current.previous, &None);
            let mut pages = vec![current.rows.clone()];
            while let Some(place) = current.next {
                current = page(&rows, limit, direction, Some(&place));
                pages.push(current.rows.clone());
            }
            prop_assert_eq!(&pages.concat(), &expected);
            let mut back = vec![current.rows.clone()];
            while let Some(place) = current.previous {
                current = page(&rows, limit, direction, Some(&place));
                back.push(current.rows.clone());
            }
            back.reverse();
            prop_assert_eq!(back.concat(), expected);
            prop_assert!(back.iter().all(|page| !page.is_empty()) || rows.is_empty());
        }

        #[test]
        fn a_list_that_ends_at_the_cursor_can_still_be_walked_back(
            n in 1_i64..20, limit in 1_usize..5, is_descending: bool,
        ) {
            let direction = if is_descending { Direction::Descending } else { Direction::Ascending };
            let rows: Vec<(i64, i64)> = (1..=n).map(|id| (id / 3, id)).collect();
            let (first, last) = if is_descending { (rows[rows.len() - 1], rows[0]) } else { (rows[0], rows[rows.len() - 1]) };
            let end = Place { way: Way::After, rank: Rank::Number(last.0), id: last.1, edition: 3 };
            let behind_the_end = page(&rows, limit, direction, Some(&end));
            prop_assert!(behind_the_end.rows.is_empty() && behind_the_end.next.is_none());
            let back = page(&rows, limit, direction, behind_the_end.previous.as_ref());
            prop_assert_eq!(back.rows.last(), Some(&last));
            let start = Place { way: Way::Before, rank: Rank::Number(first.0), id: first.1, edition: 3 };
            let before_the_start = page(&rows, limit, direction, Some(&start));
            prop_assert!(before_the_start.rows.is_empty() && before_the_start.previous.is_none());
            let forth = page(&rows, limit, direction, before_the_start.next.as_ref());
            prop_assert_eq!(forth.rows.first(), Some(&first));
        }
    }
}
