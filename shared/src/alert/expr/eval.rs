//! Answers a question from what was seen: the same as Prometheus would, but for the edges of ranges.
//!
//! Prometheus stretches what it saw to the ends of a range and does not count a series' first value; here a range
//! holds what was really counted, the first error included.

use std::collections::BTreeMap;

use super::{Expr, Fold, Node, Op, Vector};
use crate::alert::history::History;
use crate::alert::{Labels, Millis};

enum Value {
    Scalar(f64),
    Vector(Vector),
}

impl Expr {
    /// The series that answer now; a plain number answers as one series without labels.
    pub fn eval(&self, history: &History, now: Millis) -> Vector {
        match eval(&self.0, history, now) {
            Value::Scalar(number) => vec![(Labels::new(), number)],
            Value::Vector(vector) => vector,
        }
    }
}

fn eval(node: &Node, history: &History, now: Millis) -> Value {
    match node {
        Node::Number(number) => Value::Scalar(*number),
        Node::Time => Value::Scalar(now as f64 / 1000.0),
        Node::Select(selector) => Value::Vector(history.instant(selector, now)),
        Node::Over(function, selector, window) => {
            Value::Vector(history.range(*function, selector, *window, now))
        }
        Node::Fold(fold, by, inner) => match eval(inner, history, now) {
            Value::Scalar(number) => Value::Scalar(number),
            Value::Vector(vector) => Value::Vector(folded(*fold, by, vector)),
        },
        Node::Both(op, left, right) => combined(*op, eval(left, history, now), eval(right, history, now)),
    }
}

fn folded(fold: Fold, by: &[String], vector: Vector) -> Vector {
    let mut groups: BTreeMap<Labels, Vec<f64>> = BTreeMap::new();
    for (labels, value) in vector {
        let kept = labels.into_iter().filter(|(name, _)| by.contains(name)).collect();
        groups.entry(kept).or_default().push(value);
    }
    let fold = |values: Vec<f64>| {
        let (count, sum) = (values.len() as f64, values.iter().sum::<f64>());
        match fold {
            Fold::Sum => sum,
            Fold::Max => values.into_iter().fold(f64::NEG_INFINITY, f64::max),
            Fold::Min => values.into_iter().fold(f64::INFINITY, f64::min),
            Fold::Avg => sum / count,
            Fold::Count => count,
        }
    };
    groups.into_iter().map(|(labels, values)| (labels, fold(values))).collect()
}

/// Series are combined with the one that has the same labels.
fn combined(op: Op, left: Value, right: Value) -> Value {
    match (left, right) {
        (Value::Scalar(left), Value::Scalar(right)) => {
            Value::Scalar(op.number(left, right).unwrap_or(f64::NAN))
        }
        (Value::Vector(left), Value::Scalar(right)) => Value::Vector(
            left.into_iter().filter_map(|(labels, left)| Some((labels, op.number(left, right)?))).collect(),
        ),
        // A comparison with the number on the left keeps the series' value.
        (Value::Scalar(left), Value::Vector(right)) => {
            let kept =
                |right: f64| op.number(left, right).map(|out| if op.is_filter() { right } else { out });
            Value::Vector(
                right.into_iter().filter_map(|(labels, right)| Some((labels, kept(right)?))).collect(),
            )
        }
        (Value::Vector(left), Value::Vector(right)) => Value::Vector(matched(op, left, right)),
    }
}

fn matched(op: Op, left: Vector, right: Vector) -> Vector {
    let other: BTreeMap<Labels, f64> = right.into_iter().collect();
    match op {
        Op::And => left.into_iter().filter(|(labels, _)| other.contains_key(labels)).collect(),
        Op::Unless => left.into_iter().filter(|(labels, _)| !other.contains_key(labels)).collect(),
        Op::Or => {
            let mut all: BTreeMap<Labels, f64> = other;
            all.extend(left);
            all.into_iter().collect()
        }
        _ => {
            let both = |(labels, left): (Labels, f64)| {
                let value = op.number(left, *other.get(&labels)?)?;
                Some((labels, value))
            };
            left.into_iter().filter_map(both).collect()
        }
    }
}

impl Op {
    fn is_filter(self) -> bool {
        matches!(self, Self::Above | Self::Below | Self::AtLeast | Self::AtMost | Self::Equal | Self::Unequal)
    }

    /// `None` where a comparison does not hold.
    fn number(self, left: f64, right: f64) -> Option<f64> {
        let kept = |holds: bool| holds.then_some(left);
        match self {
            Self::Plus => Some(left + right),
            Self::Minus => Some(left - right),
            Self::Times => Some(left * right),
            Self::Over => Some(left / right),
            Self::Above => kept(left > right),
            Self::Below => kept(left < right),
            Self::AtLeast => kept(left >= right),
            Self::AtMost => kept(left <= right),
            Self::Equal => kept((left - right).abs() < f64::EPSILON),
            Self::Unequal => kept((left - right).abs() >= f64::EPSILON),
            // Sets are of series; of numbers they are the left one.
            Self::And | Self::Or => Some(left),
            Self::Unless => None,
        }
    }
}
