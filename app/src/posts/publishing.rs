//! Decides when a post is public: what its status, `published_at` and `scheduled_at` become when somebody changes it.
//!
//! | status becomes | `published_at` | `scheduled_at` |
//! | --- | --- | --- |
//! | published | as given; else as it was; else now. Not in the future | none |
//! | scheduled | none | as given, or as it was; must be there, and in the future when it is given with a new post |
//! | draft, archived | none | none |

use crate::body::Given;
use crate::moment::Moment;

/// Where a post is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Being written.
    Draft,
    /// Public.
    Published,
    /// To be published when its moment comes.
    Scheduled,
    /// Put away.
    Archived,
}

impl Status {
    /// What a client writes for each.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("draft", Self::Draft),
        ("published", Self::Published),
        ("scheduled", Self::Scheduled),
        ("archived", Self::Archived),
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Scheduled => "scheduled",
            Self::Archived => "archived",
        }
    }

    /// The status of this name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, status)| *status)
    }
}

/// When a post is public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Where it is in its life.
    pub status: Status,
    /// When it was published.
    pub published_at: Option<Moment>,
    /// When it is to be published.
    pub scheduled_at: Option<Moment>,
}

/// What somebody wants.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// Another status.
    pub status: Option<Status>,
    /// Another moment of publication.
    pub published_at: Given<Moment>,
    /// Another moment to be published at.
    pub scheduled_at: Given<Moment>,
}

/// What is wrong with a wish: field and message.
pub type Wrong = (&'static str, &'static str);

/// What becomes of a post that stood as `before` (`None` for a new one).
///
/// # Errors
///
/// What cannot be, by field.
pub fn decide(before: Option<Standing>, wish: &Wish, now: Moment) -> Result<Standing, Vec<Wrong>> {
    let status = wish.status.or(before.map(|before| before.status)).unwrap_or(Status::Draft);
    let kept = |status: Status| before.filter(|before| before.status == status);
    let mut wrong = Vec::new();
    let standing = match status {
        Status::Published => {
            let published_at = match &wish.published_at {
                Given::Is(moment) => *moment,
                Given::Absent | Given::Null => {
                    kept(Status::Published).and_then(|before| before.published_at).unwrap_or(now)
                }
            };
            if matches!(&wish.published_at, Given::Is(moment) if *moment > now) {
                wrong.push((
                    "published_at",
                    "must not be in the future; to publish later, set status to scheduled and scheduled_at",
                ));
            }
            Standing { status, published_at: Some(published_at), scheduled_at: None }
        }
        Status::Scheduled => {
            let before = kept(Status::Scheduled).and_then(|before| before.scheduled_at);
            let scheduled_at = wish.scheduled_at.clone().or(before);
            if scheduled_at.is_none() {
                wrong.push(("scheduled_at", "is required when status is scheduled"));
            }
            Standing { status, published_at: None, scheduled_at }
        }
        Status::Draft | Status::Archived => Standing { status, published_at: None, scheduled_at: None },
    };
    if status != Status::Published && matches!(wish.published_at, Given::Is(_)) {
        wrong.push(("published_at", "can only be set when status is published"));
    }
    let is_new = before.is_none();
    if is_new && matches!(&wish.scheduled_at, Given::Is(moment) if *moment <= now) {
        wrong.push(("scheduled_at", "must be in the future"));
    }
    if wrong.is_empty() { Ok(standing) } else { Err(wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000);
    const THEN: Option<Moment> = Some(Moment(500));

    fn standing(status: Status, published_at: Option<i64>, scheduled_at: Option<i64>) -> Standing {
        Standing { status, published_at: published_at.map(Moment), scheduled_at: scheduled_at.map(Moment) }
    }

    fn wish(status: Status) -> Wish {
        Wish { status: Some(status), ..Wish::default() }
    }

    #[test]
    fn a_change_that_says_nothing_of_publication_leaves_it_as_it_is() {
        for before in [
            standing(Status::Published, Some(500), None),
            standing(Status::Scheduled, None, Some(2_000)),
            standing(Status::Draft, None, None),
        ] {
            assert_eq!(decide(Some(before), &Wish::default(), NOW), Ok(before));
            assert_eq!(decide(Some(before), &wish(before.status), NOW), Ok(before));
        }
    }

    #[test]
    fn publishing_sets_the_moment_and_leaving_clears_it() {
        let draft = standing(Status::Draft, None, None);
        let public = standing(Status::Published, Some(500), None);
        assert_eq!(
            decide(Some(draft), &wish(Status::Published), NOW),
            Ok(standing(Status::Published, Some(1_000), None))
        );
        let earlier = Wish { published_at: Given::Is(Moment(500)), ..wish(Status::Published) };
        assert_eq!(decide(None, &earlier, NOW).map(|after| after.published_at), Ok(THEN));
        assert_eq!(
            decide(Some(public), &wish(Status::Archived), NOW),
            Ok(standing(Status::Archived, None, None))
        );
        let null = Wish { published_at: Given::Null, ..Wish::default() };
        assert_eq!(decide(Some(public), &null, NOW), Ok(public));
    }

    #[test]
    fn a_scheduled_post_has_a_moment_to_come() {
        let at = |moment| Wish { scheduled_at: Given::Is(Moment(moment)), ..wish(Status::Scheduled) };
        assert_eq!(decide(None, &at(2_000), NOW), Ok(standing(Status::Scheduled, None, Some(2_000))));
        assert_eq!(
            decide(None, &wish(Status::Scheduled), NOW),
            Err(vec![("scheduled_at", "is required when status is scheduled")])
        );
        assert_eq!(decide(None, &at(1_000), NOW), Err(vec![("scheduled_at", "must be in the future")]));
        let waiting = standing(Status::Scheduled, None, Some(2_000));
        // An existing one may be set to a moment that has come: it is published within a minute.
        assert_eq!(decide(Some(waiting), &at(900), NOW), Ok(standing(Status::Scheduled, None, Some(900))));
        assert_eq!(decide(Some(waiting), &wish(Status::Draft), NOW), Ok(standing(Status::Draft, None, None)));
    }

    #[test]
    fn what_cannot_be_is_said_at_once() {
        let wish = Wish {
            status: Some(Status::Scheduled),
            published_at: Given::Is(Moment(1)),
            scheduled_at: Given::Null,
        };
        let wrong = decide(None, &wish, NOW).unwrap_err();
        assert_eq!(
            wrong.iter().map(|(field, _)| *field).collect::<Vec<_>>(),
            ["scheduled_at", "published_at"]
        );
        let later = Wish {
            published_at: Given::Is(Moment(2_000)),
            status: Some(Status::Published),
            ..Wish::default()
        };
        assert!(decide(None, &later, NOW).unwrap_err()[0].1.starts_with("must not be in the future"));
    }
}
