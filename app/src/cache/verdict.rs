//! Decides what an entry is still good for.

use std::time::Duration;

/// How long an answer is good for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// For everything.
    pub(super) fresh: Duration,
    /// After that, while it is made anew.
    pub(super) while_revalidate: Duration,
    /// After that, when it cannot be made anew.
    pub(super) if_error: Duration,
}

/// What an entry is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To be served.
    Fresh,
    /// To be served, and made anew beside.
    Refresh,
    /// To be served only when it cannot be made anew.
    OnlyInNeed,
    /// Nothing.
    Missing,
}

/// Judges an entry of this age. It is unchanged as far as this node knows; whether what the node knows is recent
/// enough is `is_confirmed`.
pub(super) fn judge(age: Duration, is_unchanged: bool, is_confirmed: bool, times: &Times) -> Verdict {
    let is_current = is_unchanged && is_confirmed;
    if is_current && age < times.fresh {
        Verdict::Fresh
    } else if is_current && age < times.fresh + times.while_revalidate {
        Verdict::Refresh
    } else if age < times.fresh + times.if_error {
        Verdict::OnlyInNeed
    } else {
        Verdict::Missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_good_for_less_and_less() {
        let s = Duration::from_secs;
        let times = Times { fresh: s(10), while_revalidate: s(5), if_error: s(100) };
        for (age, is_unchanged, is_confirmed, expected) in [
            (0, true, true, Verdict::Fresh),
            (9, true, true, Verdict::Fresh),
            (10, true, true, Verdict::Refresh),
            (14, true, true, Verdict::Refresh),
            (15, true, true, Verdict::OnlyInNeed),
            (109, true, true, Verdict::OnlyInNeed),
            (110, true, true, Verdict::Missing),
            // Changed, or perhaps changed: never served while it can be made anew.
            (0, false, true, Verdict::OnlyInNeed),
            (0, true, false, Verdict::OnlyInNeed),
            (12, false, true, Verdict::OnlyInNeed),
            (12, true, false, Verdict::OnlyInNeed),
        ] {
            assert_eq!(
                judge(s(age), is_unchanged, is_confirmed, &times),
                expected,
                "{age} {is_unchanged} {is_confirmed}"
            );
        }
    }
}
