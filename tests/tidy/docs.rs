//! Decides that documents tell the truth about paths: what they name exists.

use std::path::Path;

use crate::report;
use crate::source::{files, read, root};

/// What a path in backticks may end in.
const EXTENSIONS: [&str; 10] = ["rs", "toml", "md", "sql", "json", "yml", "html", "svg", "sh", "lock"];

fn documents() -> Vec<String> {
    let own = ["README.md"].map(str::to_owned).into_iter().filter(|path| root().join(path).exists());
    let folders = ["docs", "conf", "monitoring", "app", "proxy", "shared", "tests"];
    own.chain(folders.iter().flat_map(|folder| files(folder, "md"))).collect()
}

#[test]
fn paths_in_backticks_exist() {
    let mut findings = Vec::new();
    for document in documents().iter().filter(|path| !path.starts_with("docs/decisions/")) {
        let text = read(document);
        let missing = paths_in(&text).filter(|path| !exists(document, path));
        findings.extend(missing.map(|path| format!("{document}: `{path}`")));
    }
    report("these documents name paths that do not exist", &findings);
}

/// From the root, or from any folder that the document lies in.
fn exists(document: &str, path: &str) -> bool {
    Path::new(document).ancestors().skip(1).any(|folder| root().join(folder).join(path).exists())
}

/// The words in backticks, outside of code blocks, that are paths into this repository.
fn paths_in(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    let spans = prose.flat_map(|part| part.split('`').skip(1).step_by(2));
    spans.filter(|span| looks_like_a_path(span))
}

fn looks_like_a_path(span: &str) -> bool {
    let is_plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "./_-".contains(c));
    let extension = span.rsplit_once('.').map(|(_, extension)| extension);
    let is_file = extension.is_some_and(|extension| EXTENSIONS.contains(&extension));
    let starts_here = !span.starts_with(['/', '.']) || span.starts_with("./") || span.starts_with(".c");
    // `target/` and `var/` are made by running things.
    let is_made = span.starts_with("target/") || span.starts_with("var/");
    is_plain && starts_here && !is_made && span.contains('/') && (is_file || span.ends_with('/'))
}

#[test]
fn relative_links_lead_somewhere() {
    let mut findings = Vec::new();
    for document in documents() {
        let text = read(&document);
        let folder = Path::new(&document).parent().unwrap_or(Path::new("")).to_owned();
        let broken = links(&text).filter(|link| !root().join(&folder).join(link).exists());
        findings.extend(broken.map(|link| format!("{document}: ({link})")));
    }
    report("these links lead nowhere", &findings);
}

/// The targets of inline links and images, without those to other sites and to places in the same document.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let prose = text.split("```").step_by(2);
    let targets = prose.flat_map(|part| part.split("](").skip(1)).filter_map(|rest| rest.split(')').next());
    let relative = targets.filter(|link| !link.contains("://") && !link.starts_with(['#', '/']));
    relative.filter_map(|link| link.split(['#', ' ']).next()).filter(|link| !link.starts_with("mailto:"))
}

#[test]
fn paths_and_links_are_told_from_other_words() {
    let text = "`a/b.rs` `GET /x` `docs/` `a.b` `x/y` [l](../c.md#d) [m](https://e) ```\n`no/no.rs`\n```";
    assert_eq!(paths_in(text).collect::<Vec<_>>(), ["a/b.rs", "docs/"]);
    assert_eq!(links(text).collect::<Vec<_>>(), ["../c.md"]);
}
