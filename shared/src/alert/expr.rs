//! Decides what a rule may ask of the metrics: a part of Prometheus's language, with the same meaning there.
//!
//! There are numbers, `time()`, selectors with `=`, `!=`, `=~` and `!~`, the functions of [`Function`] over a range,
//! the folds of [`Fold`] with `by`, arithmetic, comparisons as filters, and `and`, `or`, `unless`. A pattern is made of
//! letters that mean themselves, `.`, `.*`, `.+` and `|`. What is left out of the language is refused when rules are read.

mod eval;
mod parse;

use std::collections::BTreeSet;

use super::{Labels, Millis};

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr(Node);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Number(f64),
    Time,
    Select(Selector),
    Over(Function, Selector, Millis),
    Fold(Fold, Vec<String>, Box<Node>),
    Both(Op, Box<Node>, Box<Node>),
}

/// Which series are meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Selector {
    name: String,
    matchers: Vec<Matcher>,
}

/// What a label must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Matcher {
    label: String,
    is_wanted: bool,
    pattern: Pattern,
}

/// A value, or several.
#[derive(Clone, Debug, PartialEq)]
enum Pattern {
    Is(String),
    OneOf(Vec<Vec<Piece>>),
}

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Piece {
    Letter(char),
    Any,
    /// At least so many of any.
    Run(usize),
}

/// What is made of the points of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// How much a counter grew; a counter that appears while its process is known grew from zero.
    Increase,
    /// The same per second.
    Rate,
    /// The largest value.
    Max,
    /// The smallest value.
    Min,
    /// The mean of the values.
    Avg,
}

const FUNCTIONS: [(&str, Function); 5] = [
    ("increase", Function::Increase),
    ("rate", Function::Rate),
    ("max_over_time", Function::Max),
    ("min_over_time", Function::Min),
    ("avg_over_time", Function::Avg),
];

/// What is made of several series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Their sum.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// The mean.
    Avg,
    /// How many there are.
    Count,
}

const FOLDS: [(&str, Fold); 5] =
    [("sum", Fold::Sum), ("max", Fold::Max), ("min", Fold::Min), ("avg", Fold::Avg), ("count", Fold::Count)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Or,
    And,
    Unless,
    Above,
    Below,
    AtLeast,
    AtMost,
    Equal,
    Unequal,
    Plus,
    Minus,
    Times,
    Over,
}

/// The operators, those that bind least first; longer spellings before their beginnings.
const OPS: [&[(&str, Op)]; 5] = [
    &[("or", Op::Or)],
    &[("and", Op::And), ("unless", Op::Unless)],
    &[
        (">=", Op::AtLeast),
        ("<=", Op::AtMost),
        ("==", Op::Equal),
        ("!=", Op::Unequal),
        (">", Op::Above),
        ("<", Op::Below),
    ],
    &[("+", Op::Plus), ("-", Op::Minus)],
    &[("*", Op::Times), ("/", Op::Over)],
];

/// Why a text is no question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at {rest:?}")]
pub struct BadExpr {
    /// What could stand there.
    pub expected: String,
    /// The text from there on, shortened.
    pub rest: String,
}

/// The series that answer.
pub type Vector = Vec<(Labels, f64)>;

impl Expr {
    /// Reads a question.
    ///
    /// # Errors
    ///
    /// [`BadExpr`] says what was expected, and where.
    pub fn parse(text: &str) -> Result<Self, BadExpr> {
        parse::parse(text).map(Self)
    }

    /// The names of the metrics that it asks for.
    pub fn names(&self) -> BTreeSet<&str> {
        let mut names = BTreeSet::new();
        collect(&self.0, &mut |selector, _| {
            names.insert(selector.name.as_str());
        });
        names
    }

    /// The labels that its answers can have; `None`: whatever its series have.
    pub fn labels(&self) -> Option<BTreeSet<&str>> {
        labels(&self.0)
    }

    /// How far back it asks.
    pub fn reach(&self) -> Millis {
        let mut reach = 0;
        collect(&self.0, &mut |_, window| reach = reach.max(window));
        reach
    }
}

fn labels(node: &Node) -> Option<BTreeSet<&str>> {
    match node {
        Node::Number(_) | Node::Time => Some(BTreeSet::new()),
        Node::Select(_) | Node::Over(..) => None,
        Node::Fold(_, by, _) => Some(by.iter().map(String::as_str).collect()),
        Node::Both(_, left, right) => {
            let mut both = labels(left)?;
            both.extend(labels(right)?);
            Some(both)
        }
    }
}

fn collect<'n>(node: &'n Node, found: &mut impl FnMut(&'n Selector, Millis)) {
    match node {
        Node::Number(_) | Node::Time => {}
        Node::Select(selector) => found(selector, 0),
        Node::Over(_, selector, window) => found(selector, *window),
        Node::Fold(_, _, inner) => collect(inner, found),
        Node::Both(_, left, right) => {
            collect(left, found);
            collect(right, found);
        }
    }
}

impl Selector {
    /// The metric.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether a series with these labels is meant. A label that is not there is empty, as in Prometheus.
    pub fn takes(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| {
            let value = labels.get(&matcher.label).map_or("", String::as_str);
            matcher.pattern.fits(value) == matcher.is_wanted
        })
    }
}

impl Pattern {
    fn fits(&self, value: &str) -> bool {
        match self {
            Self::Is(wanted) => wanted == value,
            Self::OneOf(alternatives) => {
                let letters: Vec<char> = value.chars().collect();
                alternatives.iter().any(|pieces| fits(pieces, &letters))
            }
        }
    }
}

/// A pattern has few pieces and a label few letters: backtracking is cheap, and bounded by their product.
fn fits(pieces: &[Piece], letters: &[char]) -> bool {
    match (pieces.split_first(), letters.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((Piece::Letter(wanted), rest)), Some((letter, letters))) => {
            wanted == letter && fits(rest, letters)
        }
        (Some((Piece::Any, rest)), Some((_, letters))) => fits(rest, letters),
        (Some((Piece::Run(least), rest)), _) => (*least..=letters.len()).any(|n| fits(rest, &letters[n..])),
        (Some((Piece::Letter(_) | Piece::Any, _)), None) => false,
    }
}

#[cfg(test)]
mod tests;
