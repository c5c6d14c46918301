//! Decides which answer was made with more knowledge: of changes by their number, within one history of the database.

use crate::db::Position;

/// Up to where changes were known at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The number of the latest change.
    pub(crate) number: i64,
    /// A place in the database's log where all changes up to that number are. Whoever reads there or later, sees them.
    pub(crate) position: Position,
}

impl Known {
    /// Nothing is known: before the first answer of the database.
    pub(crate) const NOTHING: Self = Self { number: -1, position: Position::START };

    /// Whether whoever knew this knew as much as `other`, at least. After a promotion numbers begin again where the new
    /// primary was, so nothing known before it counts any more.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.history() == other.history() && self.number >= other.number
    }

    /// Whether `other` knew more.
    pub(crate) fn is_behind(self, other: Self) -> bool {
        (other.history(), other.number) > (self.history(), self.number)
    }

    /// Which history of the database the number belongs to: it begins anew with each promotion.
    pub(crate) fn history(self) -> u32 {
        self.position.timeline()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_within_one_history_only() {
        let known = |timeline, number| Known { number, position: Position::new(timeline, 7) };
        for (one, other, covers, is_behind) in [
            (known(1, 5), known(1, 5), true, false),
            (known(1, 6), known(1, 5), true, false),
            (known(1, 5), known(1, 6), false, true),
            (known(1, 9), known(2, 5), false, true),
            (known(2, 5), known(1, 9), false, false),
            (Known::NOTHING, known(1, 0), false, true),
        ] {
            assert_eq!((one.covers(other), one.is_behind(other)), (covers, is_behind), "{one:?} {other:?}");
        }
    }
}
