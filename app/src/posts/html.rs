//! Decides which HTML a post may hold: text, headings, lists, tables, code, links and pictures; nothing that runs.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use ammonia::Builder;

/// What may be in a post.
const TAGS: [&str; 44] = [
    "a",
    "abbr",
    "b",
    "blockquote",
    "br",
    "caption",
    "cite",
    "code",
    "dd",
    "del",
    "details",
    "dfn",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "ins",
    "kbd",
    "li",
    "mark",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "small",
    "strong",
    "sub",
    "summary",
    "sup",
    "table",
    "tbody",
    "td",
    "u",
];
const MORE_TAGS: [&str; 6] = ["tfoot", "th", "thead", "tr", "ul", "var"];
/// What an address may begin with, besides nothing at all.
const SCHEMES: [&str; 3] = ["http", "https", "mailto"];

/// The longest excerpt that is made, in characters.
const EXCERPT: usize = 160;
const WORDS_PER_MINUTE: usize = 200;

static ALLOWED: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::default();
    builder
        .tags(TAGS.into_iter().chain(MORE_TAGS).collect())
        .generic_attributes(HashSet::new())
        .tag_attributes(HashMap::from([
            ("a", HashSet::from(["href", "title"])),
            ("img", HashSet::from(["src", "alt"])),
            ("td", HashSet::from(["colspan", "rowspan"])),
            ("th", HashSet::from(["colspan", "rowspan", "scope"])),
            ("ol", HashSet::from(["start"])),
        ]))
        .clean_content_tags(HashSet::from(["script", "style", "iframe", "object", "template"]))
        .url_schemes(HashSet::from(SCHEMES))
        .link_rel(Some("noopener noreferrer"));
    builder
});

static TEXT: LazyLock<Builder<'static>> = LazyLock::new(|| {
    let mut builder = Builder::empty();
    builder.clean_content_tags(HashSet::from(["script", "style", "iframe", "object", "template"]));
    builder
});

/// `html` without everything that is not allowed.
pub fn clean(html: &str) -> String {
    ALLOWED.clean(html).to_string()
}

/// The words of `html`, on one line.
pub fn text(html: &str) -> String {
    // What stands in two blocks is not one word.
    let mut apart = html.to_owned();
    for end in [
        "</p>", "</li>", "</td>", "</th>", "</h1>", "</h2>", "</h3>", "</h4>", "</h5>", "</h6>", "<br",
        "</pre>", "</div>",
    ] {
        apart = apart.replace(end, &format!(" {end}"));
    }
    let plain = TEXT.clean(&apart).to_string();
    let plain = plain.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&amp;", "&");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The beginning of `html` as one line of text, for where no excerpt was written.
pub fn excerpt(html: &str) -> String {
    let words = text(html);
    match words.char_indices().nth(EXCERPT) {
        None => words,
        Some((end, _)) => {
            let cut = words[..end].rfind(' ').unwrap_or(end);
            format!("{}…", words[..cut].trim_end())
        }
    }
}

/// Minutes to read it; at least one.
pub fn reading_time(html: &str) -> i64 {
    let words = text(html).split(' ').count();
    i64::try_from(words.div_ceil(WORDS_PER_MINUTE).max(1)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_runs_is_left() {
        for (html, expected) in [
            ("<p>Hi <b>there</b></p>", "<p>Hi <b>there</b></p>"),
            ("<script>alert(1)</script><p>x</p>", "<p>x</p>"),
            ("<p onclick=\"x()\" style=\"x\" class=\"y\">x</p>", "<p>x</p>"),
            ("<a href=\"javascript:x()\">x</a>", "<a rel=\"noopener noreferrer\">x</a>"),
            (
                "<a href=\"https://example.com\" target=\"_blank\">x</a>",
                "<a href=\"https://example.com\" rel=\"noopener noreferrer\">x</a>",
            ),
            ("<img src=\"data:text/html,x\" onerror=\"x()\" alt=\"y\">", "<img alt=\"y\">"),
            ("<iframe src=\"https://example.com\">z</iframe>x", "x"),
            ("<svg><style><img src=x onerror=x()></style></svg>", "<img src=\"x\">"),
            (
                "<table><tbody><tr><td colspan=\"2\">x</td></tr></tbody></table>",
                "<table><tbody><tr><td colspan=\"2\">x</td></tr></tbody></table>",
            ),
            ("a < b & c", "a &lt; b &amp; c"),
        ] {
            assert_eq!(clean(html), expected, "{html}");
        }
    }

    #[test]
    fn what_is_clean_stays_as_it_is() {
        let html = "<h2>Title</h2><ul><li>one</li></ul><pre><code>x &lt; y</code></pre><img src=\"/a.jpg\" alt=\"\">";
        assert_eq!(clean(html), html);
        assert_eq!(clean(&clean("<div><p>x<div>y")), clean("<div><p>x<div>y"));
    }

    #[test]
    fn an_excerpt_is_one_line_that_ends_with_a_word() {
        assert_eq!(excerpt("<h2>One</h2><p>two &amp;\n<b>th</b>ree</p>"), "One two & three");
        let long = excerpt(&format!("<p>{}</p>", "granite ".repeat(40)));
        assert!(long.ends_with("granite…") && long.chars().count() <= 161, "{long}");
        assert_eq!((reading_time("<p>x</p>"), reading_time(&"x ".repeat(201))), (1, 2));
    }
}
