//! Decides what a post is called in addresses: small letters, digits and hyphens; made from its title when nobody says.

/// The longest slug, in characters.
pub const LONGEST: usize = 200;
/// What a slug is made from at most, so that a number fits behind it.
const MADE: usize = 180;
/// What is left of a title without a letter.
const NAMELESS: &str = "post";

/// A slug for `title`. Letters of other scripts are written with Latin ones.
pub fn suggest(title: &str) -> String {
    let mut slug = String::with_capacity(title.len());
    for letter in deunicode::deunicode_with_tofu(title, " ").chars().map(|c| c.to_ascii_lowercase()) {
        if letter.is_ascii_alphanumeric() {
            slug.push(letter);
        } else if letter != '\'' && !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= MADE {
            break;
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    if slug.is_empty() { NAMELESS.to_owned() } else { slug }
}

/// `base`, or `base-2`, `base-3` …: the first that is not in `taken`.
pub fn first_free(base: &str, taken: &[String]) -> String {
    if !taken.iter().any(|slug| slug == base) {
        return base.to_owned();
    }
    let mut numbers: Vec<u64> = taken
        .iter()
        .filter_map(|slug| slug.strip_prefix(base)?.strip_prefix('-')?.parse().ok())
        .filter(|number| *number >= 2)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let free = (2..).zip(&numbers).find(|(wanted, number)| wanted != *number);
    let free = free.map_or(numbers.len() as u64 + 2, |(wanted, _)| wanted);
    format!("{base}-{free}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slug_is_made_from_a_title() {
        for (title, expected) in [
            ("Granite, again: what's new?", "granite-again-whats-new"),
            ("  Łódź – Über  ", "lodz-uber"),
            ("заметки", "zametki"),
            ("!!!", "post"),
            ("a--b", "a-b"),
        ] {
            assert_eq!(suggest(title), expected, "{title}");
        }
        assert!(suggest(&"word ".repeat(100)).len() <= 180);
    }

    #[test]
    fn the_first_number_that_is_free_is_taken() {
        let taken = |slugs: &[&str]| slugs.iter().map(|slug| (*slug).to_owned()).collect::<Vec<_>>();
        for (slugs, expected) in [
            (&[][..], "x"),
            (&["x-2"], "x"),
            (&["x"], "x-2"),
            (&["x", "x-2", "x-3"], "x-4"),
            (&["x", "x-3"], "x-2"),
            (&["x", "x-two", "x-1"], "x-2"),
        ] {
            assert_eq!(first_free("x", &taken(slugs)), expected, "{slugs:?}");
        }
    }
}
