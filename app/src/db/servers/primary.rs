//! Decides which server is the primary: the one that takes writes on the latest timeline that was ever seen.

use crate::db::Position;

/// What a server said it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It does not answer, or was not asked yet.
    Unknown,
    /// It takes writes, and is at this place.
    Primary(Position),
    /// It follows another.
    Replica,
}

/// Which of `roles` is the primary. After a promotion the old primary may come back and still take itself for one: what
/// is on a timeline before `latest` is never written to again.
pub(super) fn elect(roles: &[Role], current: Option<usize>, latest: u32) -> Option<usize> {
    let timeline = |role: &Role| match role {
        Role::Primary(position) if position.timeline() >= latest => Some(position.timeline()),
        _ => None,
    };
    let best = roles.iter().filter_map(timeline).max()?;
    let is_best = |server: usize| roles.get(server).and_then(timeline) == Some(best);
    current.filter(|server| is_best(*server)).or_else(|| (0..roles.len()).find(|server| is_best(*server)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primary_is_who_takes_writes_on_the_latest_timeline() {
        let on = |timeline| Role::Primary(Position::new(timeline, 9));
        for (roles, current, latest, expected) in [
            (vec![on(1), Role::Replica], None, 0, Some(0)),
            (vec![Role::Unknown, Role::Replica], Some(0), 1, None),
            // Promoted.
            (vec![Role::Unknown, on(2)], Some(0), 1, Some(1)),
            // The old one is back and knows nothing of it, whether or not the new one answers.
            (vec![on(1), on(2)], Some(1), 2, Some(1)),
            (vec![on(1), on(2)], Some(0), 1, Some(1)),
            (vec![on(1), Role::Unknown], Some(1), 2, None),
            // Two addresses of one server: who is used stays.
            (vec![on(1), on(1)], Some(1), 1, Some(1)),
            (vec![], None, 0, None),
        ] {
            assert_eq!(elect(&roles, current, latest), expected, "{roles:?} {current:?} {latest}");
        }
    }
}
