//! Decides what one demonstration article says.

use std::fmt::Write as _;

use super::random::Random;
use super::subjects::{HEADINGS, PLACES, SENTENCES, SUBTITLES, Subject, TITLES};

/// What is written in one article.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Article {
    pub(super) title: String,
    pub(super) slug: String,
    pub(super) excerpt: String,
    pub(super) content: String,
    /// Minutes, at 200 words a minute; at least 1.
    pub(super) reading_time: i64,
}

/// The longest excerpt, in characters.
const EXCERPT: usize = 160;
const WORDS_PER_MINUTE: usize = 200;

impl Article {
    /// Writes article number `id` about `subject`. Its slug is unique through the number.
    pub(super) fn write(id: i64, subject: &Subject, random: &mut Random) -> Self {
        let mut title = String::new();
        let shape = random.pick(&TITLES);
        fill(&mut title, shape, subject, random);
        capitalise(&mut title);
        if random.once_in(40) {
            title.push_str(random.pick(&SUBTITLES));
        }
        let content = content(subject, random);
        let plain = without_markup(&content);
        let words = plain.split_whitespace().count();
        Self {
            slug: format!("{}-{id}", slug(&title)),
            excerpt: excerpt(&plain),
            reading_time: i64::try_from(words.div_ceil(WORDS_PER_MINUTE).max(1)).unwrap_or(1),
            title,
            content,
        }
    }
}

/// Some articles are a remark, most a page, a few an evening.
fn content(subject: &Subject, random: &mut Random) -> String {
    let paragraphs = match random.below(10) {
        0..=3 => 1 + random.below(2),
        4..=8 => 3 + random.below(3),
        _ => 9 + random.below(5),
    };
    let mut content = String::with_capacity(512 * usize::try_from(paragraphs).unwrap_or(1));
    let mut said = 0;
    for paragraph in 0..paragraphs {
        if paragraph > 0 && paragraph % 4 == 0 {
            content.push_str("<h2>");
            let heading = random.pick(&HEADINGS);
            fill(&mut content, heading, subject, random);
            content.push_str("</h2>\n");
        }
        content.push_str("<p>");
        for sentence in 0..3 + random.below(3) {
            if sentence > 0 {
                content.push(' ');
            }
            let start = content.len();
            let shape = sentence_not_in(&mut said, subject, random);
            fill(&mut content, shape, subject, random);
            capitalise_at(&mut content, start);
        }
        content.push_str("</p>\n");
    }
    content
}

/// A sentence that was not said yet. `said` has a bit for each; once most were said, they may come again.
fn sentence_not_in(said: &mut u64, subject: &Subject, random: &mut Random) -> &'static str {
    let (any, own) = (SENTENCES.len(), subject.sentences.len());
    if said.count_ones() as usize * 4 > (any + own) * 3 {
        *said = 0;
    }
    loop {
        // Half of what is said is about the subject, although it has fewer sentences.
        let index = if random.once_in(2) { random.index(any) } else { any + random.index(own) };
        let bit = 1 << index;
        if *said & bit == 0 {
            *said |= bit;
            return if index < any { SENTENCES[index] } else { subject.sentences[index - any] };
        }
    }
}

/// Writes `shape` with its blanks filled.
fn fill(out: &mut String, shape: &str, subject: &Subject, random: &mut Random) {
    let mut rest = shape;
    let thing = random.below(subject.things.len() as u64);
    while let Some((before, blank)) = rest.split_once('{') {
        out.push_str(before);
        let (name, after) = blank.split_once('}').unwrap_or((blank, ""));
        match name {
            "place" => out.push_str(random.pick(&PLACES)),
            "n" => {
                let _ = write!(out, "{}", 3 + random.below(97));
            }
            // The other thing is never the thing itself.
            name => {
                let step =
                    if name == "other" { 1 + random.below(subject.things.len() as u64 - 1) } else { 0 };
                let index = usize::try_from(thing + step).unwrap_or_default() % subject.things.len();
                out.push_str(subject.things[index]);
            }
        }
        rest = after;
    }
    out.push_str(rest);
}

fn capitalise(text: &mut String) {
    capitalise_at(text, 0);
}

/// Makes the letter at `start` a capital; only ASCII letters stand there.
fn capitalise_at(text: &mut String, start: usize) {
    if let Some(first) = text.get(start..=start) {
        let capital = first.to_ascii_uppercase();
        text.replace_range(start..=start, &capital);
    }
}

fn without_markup(content: &str) -> String {
    let mut plain = String::with_capacity(content.len());
    let mut is_markup = false;
    for letter in content.chars() {
        match letter {
            '<' => is_markup = true,
            '>' => is_markup = false,
            letter if !is_markup => plain.push(letter),
            _ => {}
        }
    }
    plain
}

/// The beginning of the text on one line, cut at a word.
fn excerpt(plain: &str) -> String {
    let mut excerpt = String::with_capacity(EXCERPT + 4);
    for word in plain.split_whitespace() {
        if excerpt.chars().count() + word.chars().count() + 1 > EXCERPT {
            excerpt.push('…');
            break;
        }
        if !excerpt.is_empty() {
            excerpt.push(' ');
        }
        excerpt.push_str(word);
    }
    excerpt
}

/// Lower-case letters and digits joined by hyphens; accents are dropped, other scripts left out.
fn slug(title: &str) -> String {
    let mut slug = String::with_capacity(title.len());
    for letter in title.chars() {
        let plain = match letter {
            'à' | 'ã' | 'á' | 'ä' => 'a',
            'é' | 'è' => 'e',
            'í' | 'ï' | 'Î' => 'i',
            'ó' | 'ö' | 'ø' => 'o',
            'ü' | 'Ü' => 'u',
            'Ł' | 'ł' => 'l',
            'ź' => 'z',
            letter => letter.to_ascii_lowercase(),
        };
        if plain.is_ascii_alphanumeric() {
            slug.push(plain);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

#[cfg(test)]
mod tests {
    use super::super::subjects::SUBJECTS;
    use super::*;

    #[test]
    fn an_article_has_no_blank_left() {
        for subject in &SUBJECTS {
            for id in 0..200 {
                let article = Article::write(id, subject, &mut Random::new(id.unsigned_abs()));
                let text = format!("{} {} {}", article.title, article.excerpt, article.content);
                assert!(!text.contains(['{', '}']), "{text}");
                assert!(article.excerpt.chars().count() <= EXCERPT + 1);
                assert!(article.content.starts_with("<p>") && article.content.ends_with("</p>\n"));
                assert!(
                    article.slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                );
            }
        }
    }

    #[test]
    fn a_slug_keeps_what_can_be_typed_anywhere() {
        assert_eq!(slug("Notes on locks, taken in Łódź — 山と塔"), "notes-on-locks-taken-in-lodz");
        assert_eq!(slug("Île de Ré: 3 things"), "ile-de-re-3-things");
    }
}
