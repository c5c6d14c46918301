//! Reads nginx's syntax: words, quotes, comments, blocks and includes.

use std::fs;
use std::path::{Path, PathBuf};

use super::Problem;

/// Files within files, so that one that includes itself comes to an end.
const MOST_DEPTH: usize = 16;

/// One directive.
#[derive(Clone, Debug)]
pub(super) struct Directive {
    pub(super) at: String,
    pub(super) name: String,
    pub(super) words: Vec<String>,
    /// `None`: it ends with a semicolon.
    pub(super) block: Option<Vec<Directive>>,
}

impl Directive {
    /// Its word of this number; empty when there is none.
    pub(super) fn word(&self, number: usize) -> &str {
        self.words.get(number).map_or("", String::as_str)
    }

    /// What it holds.
    pub(super) fn inner(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// The value of `NAME=value` among its words.
    pub(super) fn named(&self, name: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }

    /// Whether this is one of its words.
    pub(super) fn says(&self, wanted: &str) -> bool {
        self.words.iter().any(|word| word == wanted)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    End,
    Open,
    Close,
}

/// The directives of a file.
pub(super) fn file(path: &Path) -> Result<Vec<Directive>, Problem> {
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    included(path, &folder, 0)
}

fn included(path: &Path, folder: &Path, depth: usize) -> Result<Vec<Directive>, Problem> {
    let at = path.display().to_string();
    let problem = |what: String| Problem { at: at.clone(), what };
    if depth > MOST_DEPTH {
        return Err(problem("is included too deep, perhaps by itself".to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|error| problem(format!("could not be read: {error}")))?;
    let tokens = tokens(&text).map_err(|(line, what)| Problem { at: format!("{at}:{line}"), what })?;
    let mut rest = tokens.into_iter();
    let mut reader = Reader { at, folder, depth };
    reader.block(&mut rest, false)
}

struct Reader<'a> {
    at: String,
    folder: &'a Path,
    depth: usize,
}

impl Reader<'_> {
    fn block(
        &mut self,
        rest: &mut std::vec::IntoIter<(usize, Token)>,
        is_inner: bool,
    ) -> Result<Vec<Directive>, Problem> {
        let (mut found, mut words, mut last) = (Vec::new(), Vec::new(), 1);
        while let Some((line, token)) = rest.next() {
            let at = format!("{}:{}", self.at, words.first().map_or(line, |(line, _)| *line));
            last = line;
            match token {
                Token::Word(word) => words.push((line, word)),
                Token::Close if is_inner && words.is_empty() => return Ok(found),
                Token::End | Token::Open if !words.is_empty() => {
                    let mut all = std::mem::take(&mut words).into_iter().map(|(_, word)| word);
                    let name = all.next().unwrap_or_default();
                    let words: Vec<String> = all.collect();
                    if name == "include" && token == Token::End {
                        for path in self.matching(words.first().map_or("", String::as_str)) {
                            found.extend(included(&path, self.folder, self.depth + 1)?);
                        }
                        continue;
                    }
                    let block = (token == Token::Open).then(|| self.block(rest, true)).transpose()?;
                    found.push(Directive { at, name, words, block });
                }
                _ => return Err(Problem { at, what: "does not belong here".to_owned() }),
            }
        }
        if is_inner || !words.is_empty() {
            let what = if is_inner { "a block is not closed" } else { "a `;` is missing" };
            return Err(Problem { at: format!("{}:{last}", self.at), what: what.to_owned() });
        }
        Ok(found)
    }

    /// The files that an include means, by name. nginx's pattern, with `*` in the last part.
    fn matching(&self, pattern: &str) -> Vec<PathBuf> {
        let path = self.folder.join(pattern);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str()))
        else {
            return Vec::new();
        };
        let Some((start, end)) = name.split_once('*') else { return vec![path] };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let fits = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_long = name.len() >= start.len() + end.len();
            is_long
                && name.starts_with(start)
                && name.ends_with(end)
                && (!start.is_empty() || !name.starts_with('.'))
        };
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(fits).collect();
        files.sort();
        files
    }
}

/// The tokens, each with its line.
fn tokens(text: &str) -> Result<Vec<(usize, Token)>, (usize, String)> {
    let (mut found, mut line) = (Vec::new(), 1);
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        match first {
            '\n' => line += 1,
            _ if first.is_whitespace() => {}
            '#' => while rest.next_if(|c| *c != '\n').is_some() {},
            ';' => found.push((line, Token::End)),
            '{' => found.push((line, Token::Open)),
            '}' => found.push((line, Token::Close)),
            '"' | '\'' => {
                let (begins, mut word) = (line, String::new());
                loop {
                    match rest.next() {
                        None => return Err((begins, format!("a {first} is not closed"))),
                        Some(c) if c == first => break,
                        Some('\\') => word.extend(escaped(rest.next())),
                        Some(c) => {
                            line += usize::from(c == '\n');
                            word.push(c);
                        }
                    }
                }
                found.push((begins, Token::Word(word)));
            }
            _ => {
                let mut word = String::new();
                let mut next = Some(first);
                while let Some(c) = next {
                    match c {
                        '\\' => word.extend(escaped(rest.next())),
                        // `${name}` is one word.
                        '$' if rest.next_if_eq(&'{').is_some() => {
                            word.push_str("${");
                            while let Some(c) = rest.next_if(|c| !c.is_whitespace()) {
                                word.push(c);
                                if c == '}' {
                                    break;
                                }
                            }
                        }
                        _ => word.push(c),
                    }
                    next = rest.next_if(|c| !c.is_whitespace() && !matches!(c, ';' | '{' | '}'));
                }
                found.push((line, Token::Word(word)));
            }
        }
    }
    Ok(found)
}

/// What a backslash and this stand for; both stay where nginx leaves them to a regular expression.
fn escaped(next: Option<char>) -> Vec<char> {
    match next {
        Some(c @ ('"' | '\'' | '\\' | ' ' | ';')) => vec![c],
        Some('t') => vec!['\t'],
        Some('n') => vec!['\n'],
        Some(c) => vec!['\\', c],
        None => vec!['\\'],
    }
}
