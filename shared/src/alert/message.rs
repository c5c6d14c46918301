//! Decides what a message says, whatever channel it goes through: what, where, since when, how bad, and what to read.

use super::notice::{Notice, Why};
use super::{Alert, Millis, Severity, shown};

/// Groups that a channel for people is told one by one; the others are counted in one more message.
pub const MOST_AT_ONCE: usize = 5;

/// Alerts of a group that a message names; the others are counted.
const MOST_NAMED: usize = 10;

/// Characters in all that say what those are about: less than any channel takes, with what stands around them.
const MOST_TEXT: usize = 1_500;

/// Where more is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// What a runbook's address begins with; empty: there is no link.
    pub runbooks: String,
    /// What a dashboard's address begins with; empty: there is no link.
    pub dashboards: String,
    /// Who speaks: the footer of a message.
    pub sender: String,
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The same for every message about one problem.
    pub key: String,
    /// Whether it says that all is over.
    pub is_resolved: bool,
    /// How bad it is.
    pub severity: Severity,
    /// The first words.
    pub title: String,
    /// A few sentences, one per line.
    pub text: String,
    /// Beside it, name and value.
    pub facts: Vec<(String, String)>,
    /// The runbook's address; may be empty.
    pub runbook: String,
    /// The dashboard's address; may be empty.
    pub dashboard: String,
    /// Who speaks.
    pub sender: String,
    /// When it is written.
    pub at: Millis,
    /// The alerts that it is about.
    pub firing: Vec<Alert>,
    /// The alerts that it says are over.
    pub resolved: Vec<Alert>,
}

/// The message of a notice.
pub fn of(notice: &Notice, dashboard: &str, links: &Links, now: Millis) -> Message {
    let is_resolved = notice.why == Why::Resolved;
    let shown_alerts = if is_resolved { &notice.resolved } else { &notice.firing };
    let first = shown_alerts.first().or(notice.resolved.first());
    let title = first.map_or_else(|| notice.group.clone(), |alert| alert.title.clone());
    // Each gets its share, so that no channel cuts off how many more there are.
    let most = MOST_TEXT / shown_alerts.len().clamp(1, MOST_NAMED);
    let mut lines: Vec<String> =
        shown_alerts.iter().take(MOST_NAMED).map(|alert| line(alert, is_resolved, now, most)).collect();
    if shown_alerts.len() > MOST_NAMED {
        lines.push(format!("… and {} more.", shown_alerts.len() - MOST_NAMED));
    }
    if notice.why == Why::Changed && !notice.resolved.is_empty() {
        lines.push(format!("{} over.", counted(notice.resolved.len(), "other is", "others are")));
    }
    if notice.why == Why::Repeat {
        lines.push("It was told before and is still there.".to_owned());
    }
    // Facts of several alerts would not say which is whose.
    let facts = match (shown_alerts.as_slice(), is_resolved) {
        ([one], false) => one.facts.clone(),
        _ => Vec::new(),
    };
    let link =
        |base: &str, rest: String| if base.is_empty() { String::new() } else { format!("{base}{rest}") };
    Message {
        key: notice.group.clone(),
        is_resolved,
        severity: notice.severity(),
        title: if is_resolved { format!("Resolved: {title}") } else { title },
        text: lines.join("\n"),
        facts,
        runbook: link(&links.runbooks, format!("{}.md", notice.group)),
        dashboard: if dashboard.is_empty() {
            String::new()
        } else {
            link(&links.dashboards, dashboard.to_owned())
        },
        sender: links.sender.clone(),
        at: now,
        firing: notice.firing.clone(),
        resolved: notice.resolved.clone(),
    }
}

/// One message about many groups, where each by itself would be a flood.
pub fn digest(notices: &[Notice], links: &Links, now: Millis) -> Message {
    let is_resolved = notices.iter().all(|notice| notice.why == Why::Resolved);
    let mut names: Vec<&str> = notices.iter().map(|notice| notice.group.as_str()).collect();
    let rest = names.split_off(names.len().min(MOST_NAMED)).len();
    let mut text = names.join(", ");
    if rest > 0 {
        text += &format!(" and {rest} others");
    }
    Message {
        key: "digest".to_owned(),
        is_resolved,
        severity: notices.iter().map(Notice::severity).max().unwrap_or_default(),
        title: format!("{} more {}", notices.len(), if is_resolved { "alerts resolved" } else { "alerts" }),
        text,
        facts: Vec::new(),
        runbook: String::new(),
        dashboard: String::new(),
        sender: links.sender.clone(),
        at: now,
        firing: notices.iter().flat_map(|notice| notice.firing.clone()).collect(),
        resolved: notices.iter().flat_map(|notice| notice.resolved.clone()).collect(),
    }
}

fn line(alert: &Alert, is_resolved: bool, now: Millis, most: usize) -> String {
    let since = shown(alert.since);
    let lasting = lasting(now.saturating_sub(alert.since));
    match is_resolved {
        false => format!("{} Since {since} ({lasting}).", cut(&alert.summary, most)),
        // Its last value would read as if it still were so.
        true => format!("{} is over; it lasted {lasting}, from {since}.", cut(&subject(alert), most)),
    }
}

/// What an alert is about: its rule and labels.
fn subject(alert: &Alert) -> String {
    let labels: Vec<&str> = alert.labels.values().map(String::as_str).collect();
    if labels.is_empty() { alert.title.clone() } else { format!("{} ({})", alert.title, labels.join(", ")) }
}

/// A time span for people: its two largest units.
pub fn lasting(time: Millis) -> String {
    let seconds = time / 1000;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A text of at most `most` characters: its beginning, and a sign that there was more.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(backend: &str) -> Alert {
        Alert {
            rule: "BackendDown".into(),
            labels: [("backend".to_owned(), backend.to_owned())].into(),
            severity: Severity::Warning,
            title: "Backend Down".into(),
            summary: format!("Backend {backend} is out."),
            facts: vec![("backend".into(), backend.into())],
            since: 1_700_000_000_000,
        }
    }

    fn notice(why: Why, firing: usize, resolved: usize) -> Notice {
        let many = |count: usize| (0..count).map(|n| alert(&format!("app-{n}"))).collect();
        Notice { group: "BackendDown".into(), why, firing: many(firing), resolved: many(resolved) }
    }

    #[test]
    fn a_message_says_what_where_since_when_and_what_to_read() {
        let links = Links {
            runbooks: "https://example.com/runbooks/".into(),
            dashboards: "https://example.com/d/".into(),
            sender: "cirque".into(),
        };
        let message = of(&notice(Why::New, 1, 0), "cirque-edge", &links, 1_700_000_090_000);
        assert_eq!(message.title, "Backend Down");
        assert_eq!(message.text, "Backend app-0 is out. Since 2023-11-14T22:13:20Z (1 min 30 s).");
        assert_eq!(message.facts, [("backend".to_owned(), "app-0".to_owned())]);
        assert_eq!(message.runbook, "https://example.com/runbooks/BackendDown.md");
        assert_eq!(message.dashboard, "https://example.com/d/cirque-edge");
        let over = of(&notice(Why::Resolved, 0, 1), "", &Links::default(), 1_700_003_600_000);
        assert_eq!(over.title, "Resolved: Backend Down");
        assert_eq!(
            over.text,
            "Backend Down (app-0) is over; it lasted 1 h 0 min, from 2023-11-14T22:13:20Z."
        );
        assert_eq!((over.runbook.as_str(), over.dashboard.as_str()), ("", ""));
    }

    #[test]
    fn many_alerts_of_a_group_are_counted() {
        let text = of(&notice(Why::New, 25, 0), "", &Links::default(), 1_700_000_000_000).text;
        assert!(text.ends_with("… and 15 more."), "{text}");
        let text = of(&notice(Why::Changed, 1, 2), "", &Links::default(), 1_700_000_000_000).text;
        assert!(text.ends_with("2 others are over."), "{text}");
        let mut many = notice(Why::New, 25, 0);
        many.firing.iter_mut().for_each(|alert| alert.summary = "long ".repeat(1000));
        let text = of(&many, "", &Links::default(), 1_700_000_000_000).text;
        assert!(text.ends_with("… and 15 more.") && text.chars().count() < 2_400, "{text}");
    }

    #[test]
    fn many_groups_are_one_message() {
        let notices: Vec<Notice> = (0..15).map(|_| notice(Why::New, 2, 0)).collect();
        let message = digest(&notices, &Links::default(), 0);
        assert_eq!(message.title, "15 more alerts");
        assert!(message.text.ends_with(" and 5 others"), "{}", message.text);
        assert_eq!(message.firing.len(), 30);
    }

    #[test]
    fn a_text_is_cut_at_a_character_and_says_so() {
        assert_eq!((cut("grüße", 5), cut("grüße", 4)), ("grüße".into(), "grü…".into()));
    }
}
