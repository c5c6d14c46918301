//! Reads a question from its text, and says what was expected where it cannot.

use super::{BadExpr, FOLDS, FUNCTIONS, Fold, Matcher, Node, OPS, Op, Pattern, Piece, Selector};
use crate::alert::{Millis, millis};
use crate::config::units::parse_duration;

/// Deeper nesting is refused, so that no file can exhaust the stack.
const DEEPEST: usize = 32;

pub(super) fn parse(text: &str) -> Result<Node, BadExpr> {
    let mut reader = Reader { rest: text, depth: 0 };
    let node = reader.level(0)?;
    reader.space();
    if reader.rest.is_empty() { Ok(node) } else { Err(reader.expected("an operator or the end")) }
}

struct Reader<'t> {
    rest: &'t str,
    depth: usize,
}

type Parsed<T> = Result<T, BadExpr>;

impl<'t> Reader<'t> {
    fn expected(&self, what: &str) -> BadExpr {
        BadExpr { expected: what.to_owned(), rest: self.rest.chars().take(24).collect() }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes `token` if it comes next.
    fn eat(&mut self, token: &str) -> bool {
        self.space();
        let Some(rest) = self.rest.strip_prefix(token) else { return false };
        let is_word = token.ends_with(char::is_alphabetic);
        if is_word && rest.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            return false;
        }
        self.rest = rest;
        true
    }

    fn need(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) { Ok(()) } else { Err(self.expected(&format!("`{token}`"))) }
    }

    fn word(&mut self) -> Option<&'t str> {
        self.space();
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        if word.is_empty() || word.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        self.rest = rest;
        Some(word)
    }

    fn level(&mut self, level: usize) -> Parsed<Node> {
        let Some(operators) = OPS.get(level) else { return self.operand() };
        let mut left = self.level(level + 1)?;
        while let Some((_, op)) = operators.iter().find(|(token, _)| self.eat(token)) {
            let right = self.level(level + 1)?;
            left = Node::Both(*op, Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn operand(&mut self) -> Parsed<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.expected("less nesting"));
        }
        let node = self.operand_within()?;
        self.depth -= 1;
        Ok(node)
    }

    fn operand_within(&mut self) -> Parsed<Node> {
        if self.eat("(") {
            let node = self.level(0)?;
            self.need(")")?;
            return Ok(node);
        }
        if self.eat("-") {
            let node = self.operand()?;
            return Ok(Node::Both(Op::Times, Box::new(Node::Number(-1.0)), Box::new(node)));
        }
        self.space();
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return self.number();
        }
        let before = self.rest;
        let Some(word) = self.word() else { return Err(self.expected("a number, a metric or `(`")) };
        if word == "time" && self.eat("(") {
            self.need(")")?;
            return Ok(Node::Time);
        }
        if let Some((_, fold)) = FOLDS.iter().find(|(name, _)| *name == word) {
            return self.fold(*fold);
        }
        if let Some((_, function)) = FUNCTIONS.iter().find(|(name, _)| *name == word) {
            self.need("(")?;
            let name = self.word().ok_or_else(|| self.expected("a metric"))?;
            let selector = self.selector(name)?;
            let window = self.window()?;
            self.need(")")?;
            return Ok(Node::Over(*function, selector, window));
        }
        let selector = self.selector(word)?;
        self.space();
        if self.rest.starts_with('(') {
            self.rest = before;
            let names: Vec<&str> =
                FOLDS.iter().map(|(name, _)| *name).chain(FUNCTIONS.iter().map(|(name, _)| *name)).collect();
            return Err(self.expected(&format!("one of {}", names.join(", "))));
        }
        if self.rest.starts_with('[') {
            return Err(self.expected("a function around a range"));
        }
        Ok(Node::Select(selector))
    }

    fn number(&mut self) -> Parsed<Node> {
        let end = self.rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E')));
        let (digits, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let number = digits.parse().map_err(|_| self.expected("a number"))?;
        self.rest = rest;
        Ok(Node::Number(number))
    }

    fn fold(&mut self, fold: Fold) -> Parsed<Node> {
        let before = if self.eat("by") { Some(self.names()?) } else { None };
        self.need("(")?;
        let node = self.level(0)?;
        self.need(")")?;
        let by = match before {
            Some(by) => by,
            None if self.eat("by") => self.names()?,
            None => Vec::new(),
        };
        Ok(Node::Fold(fold, by, Box::new(node)))
    }

    fn names(&mut self) -> Parsed<Vec<String>> {
        self.need("(")?;
        let mut names = Vec::new();
        while !self.eat(")") {
            names.push(self.word().ok_or_else(|| self.expected("a label"))?.to_owned());
            if !self.eat(",") {
                self.need(")")?;
                break;
            }
        }
        Ok(names)
    }

    fn selector(&mut self, name: &str) -> Parsed<Selector> {
        let mut matchers = Vec::new();
        if self.eat("{") {
            while !self.eat("}") {
                matchers.push(self.matcher()?);
                if !self.eat(",") {
                    self.need("}")?;
                    break;
                }
            }
        }
        Ok(Selector { name: name.to_owned(), matchers })
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        const KINDS: [(&str, bool, bool); 4] =
            [("=~", true, true), ("!~", false, true), ("!=", false, false), ("=", true, false)];
        let label = self.word().ok_or_else(|| self.expected("a label"))?.to_owned();
        let kind = KINDS.into_iter().find(|(token, ..)| self.eat(token));
        let (_, is_wanted, is_pattern) = kind.ok_or_else(|| self.expected("=, !=, =~ or !~"))?;
        self.need("\"")?;
        let (value, rest) = self.rest.split_once('"').ok_or_else(|| self.expected("a closing quote"))?;
        if value.contains('\\') {
            return Err(self.expected("a value without backslashes"));
        }
        let pattern = if is_pattern {
            let pieces = value.split('|').map(pieces).collect::<Option<_>>();
            Pattern::OneOf(pieces.ok_or_else(|| self.expected("a pattern of letters, ., .*, .+ and |"))?)
        } else {
            Pattern::Is(value.to_owned())
        };
        self.rest = rest;
        Ok(Matcher { label, is_wanted, pattern })
    }

    fn window(&mut self) -> Parsed<Millis> {
        self.need("[")?;
        let (text, rest) = self.rest.split_once(']').ok_or_else(|| self.expected("`]`"))?;
        let window = parse_duration(text).filter(|window| !window.is_zero());
        let window = window.ok_or_else(|| self.expected("a time like 5m"))?;
        self.rest = rest;
        Ok(millis(window))
    }
}

/// One alternative of a pattern.
fn pieces(text: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        pieces.push(match letter {
            '.' => match letters.peek() {
                Some('*') => Piece::Run(0),
                Some('+') => Piece::Run(1),
                _ => Piece::Any,
            },
            '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => return None,
            letter => Piece::Letter(letter),
        });
        if matches!(pieces.last(), Some(Piece::Run(_))) {
            letters.next();
        }
    }
    Some(pieces)
}
