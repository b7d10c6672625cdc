//! SQL/JSON path expressions, the type `jsonpath`: what they are made of and how they print.
//!
//! A [`Path`] is read by [`Path::parse`] (`parser`) and applied to a document by the functions of `execute`. The printed form is
//! PostgreSQL's: keys in quotes, blanks around operators, parentheses where priorities need them.
//!
//! `.datetime()` is not here.

mod execute;
mod lexer;
mod parser;

use std::fmt;

pub use execute::{Options, exists, query, test};

use crate::error::ValueError;
use crate::json_parse::{Json, write_string};

/// A path expression.
#[derive(Debug, Clone)]
pub struct Path {
    /// Structural errors are errors, and arrays are not unwrapped.
    strict: bool,
    root: Chain,
}

/// A value and the accessors that are applied to it one after the other.
#[derive(Debug, Clone)]
struct Chain {
    head: Head,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Head {
    /// `$`
    Root,
    /// `@`
    Current,
    /// `last`
    Last,
    Literal(Json),
    /// `$name`
    Variable(String),
    Binary(Arithmetic, Box<Chain>, Box<Chain>),
    /// Unary minus, or plus.
    Sign {
        negative: bool,
        operand: Box<Chain>,
    },
    Predicate(Box<Predicate>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Debug, Clone)]
enum Predicate {
    And(Box<Chain>, Box<Chain>),
    Or(Box<Chain>, Box<Chain>),
    Not(Box<Chain>),
    IsUnknown(Box<Chain>),
    Compare(Comparison, Box<Chain>, Box<Chain>),
    StartsWith(Box<Chain>, Box<Chain>),
    LikeRegex { operand: Box<Chain>, pattern: String, flags: String, regex: Regex },
    Exists(Box<Chain>),
}

/// A compiled pattern.
#[derive(Clone)]
struct Regex(fancy_regex::Regex);

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone)]
enum Step {
    /// `.key`
    Key(String),
    /// `.*`
    AnyKey,
    /// `[*]`
    AnyElement,
    /// `[1, 2 to last]`
    Elements(Vec<(Chain, Option<Chain>)>),
    /// `.**{first to last}`; `None` is the last level.
    AnyLevel {
        first: Option<u32>,
        last: Option<u32>,
    },
    /// `?(…)`
    Filter(Chain),
    Method(Method),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Type,
    Size,
    Abs,
    Floor,
    Ceiling,
    Double,
    KeyValue,
}

impl Path {
    /// Reads a path.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        parser::parse(text)
    }
}

impl Arithmetic {
    fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }
}

impl Comparison {
    fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

impl Method {
    const ALL: [Self; 7] = [Self::Type, Self::Size, Self::Abs, Self::Floor, Self::Ceiling, Self::Double, Self::KeyValue];

    fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Size => "size",
            Self::Abs => "abs",
            Self::Floor => "floor",
            Self::Ceiling => "ceiling",
            Self::Double => "double",
            Self::KeyValue => "keyvalue",
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.strict {
            f.write_str("strict ")?;
        }
        self.root.write(f, true)
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    write_string(text, &mut out);
    out
}

impl Chain {
    /// The priority of what stands at the head, when nothing follows it: of two operators the one with the lower needs parentheses
    /// inside the other.
    fn priority(&self) -> u8 {
        match &self.head {
            _ if !self.steps.is_empty() => 6,
            Head::Predicate(predicate) => match predicate.as_ref() {
                Predicate::Or(..) => 0,
                Predicate::And(..) => 1,
                Predicate::Compare(..) | Predicate::StartsWith(..) => 2,
                Predicate::Not(_) | Predicate::IsUnknown(_) | Predicate::LikeRegex { .. } | Predicate::Exists(_) => 6,
            },
            Head::Binary(Arithmetic::Add | Arithmetic::Subtract, ..) => 3,
            Head::Binary(..) => 4,
            Head::Sign { .. } => 5,
            Head::Root | Head::Current | Head::Last | Head::Literal(_) | Head::Variable(_) => 6,
        }
    }

    /// Whether the head prints in parentheses when `wanted`.
    fn takes_parentheses(&self) -> bool {
        match &self.head {
            Head::Binary(..) | Head::Sign { .. } => true,
            Head::Predicate(predicate) => !matches!(**predicate, Predicate::Not(_) | Predicate::IsUnknown(_) | Predicate::Exists(_)),
            Head::Root | Head::Current | Head::Last | Head::Literal(_) | Head::Variable(_) => false,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, parentheses: bool) -> fmt::Result {
        let parentheses = self.takes_parentheses() && (parentheses || !self.steps.is_empty());
        if parentheses {
            f.write_str("(")?;
        }
        self.write_head(f)?;
        if parentheses {
            f.write_str(")")?;
        }
        self.steps.iter().try_for_each(|step| step.write(f))
    }

    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = self.without_steps_priority();
        match &self.head {
            Head::Root => f.write_str("$"),
            Head::Current => f.write_str("@"),
            Head::Last => f.write_str("last"),
            Head::Literal(value) => f.write_str(&value.to_text()),
            Head::Variable(name) => write!(f, "${}", quoted(name)),
            Head::Binary(op, left, right) => write_binary(f, left, op.symbol(), right, own),
            Head::Sign { negative, operand } => {
                f.write_str(if *negative { "-" } else { "+" })?;
                operand.write(f, operand.priority() <= own)
            }
            Head::Predicate(predicate) => predicate.write(f, own),
        }
    }

    fn without_steps_priority(&self) -> u8 {
        Self { head: self.head.clone(), steps: Vec::new() }.priority()
    }
}

fn write_binary(f: &mut fmt::Formatter<'_>, left: &Chain, symbol: &str, right: &Chain, own: u8) -> fmt::Result {
    left.write(f, left.priority() <= own)?;
    write!(f, " {symbol} ")?;
    right.write(f, right.priority() <= own)
}

impl Predicate {
    fn write(&self, f: &mut fmt::Formatter<'_>, own: u8) -> fmt::Result {
        let inside = |f: &mut fmt::Formatter<'_>, before: &str, operand: &Chain, after: &str| {
            f.write_str(before)?;
            operand.write(f, false)?;
            f.write_str(after)
        };
        match self {
            Self::And(left, right) => write_binary(f, left, "&&", right, own),
            Self::Or(left, right) => write_binary(f, left, "||", right, own),
            Self::Compare(op, left, right) => write_binary(f, left, op.symbol(), right, own),
            Self::StartsWith(left, right) => write_binary(f, left, "starts with", right, own),
            Self::Not(operand) => inside(f, "!(", operand, ")"),
            Self::IsUnknown(operand) => inside(f, "(", operand, ") is unknown"),
            Self::Exists(operand) => inside(f, "exists (", operand, ")"),
            Self::LikeRegex { operand, pattern, flags, .. } => {
                operand.write(f, operand.priority() <= own)?;
                write!(f, " like_regex {}", quoted(pattern))?;
                if flags.is_empty() { Ok(()) } else { write!(f, " flag {}", quoted(flags)) }
            }
        }
    }
}

impl Step {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, ".{}", quoted(key)),
            Self::AnyKey => f.write_str(".*"),
            Self::AnyElement => f.write_str("[*]"),
            Self::Elements(elements) => {
                f.write_str("[")?;
                for (at, (from, to)) in elements.iter().enumerate() {
                    if at > 0 {
                        f.write_str(",")?;
                    }
                    from.write(f, false)?;
                    if let Some(to) = to {
                        f.write_str(" to ")?;
                        to.write(f, false)?;
                    }
                }
                f.write_str("]")
            }
            Self::AnyLevel { first, last } => {
                let level = |level: Option<u32>| level.map_or("last".to_owned(), |level| level.to_string());
                match (first, last) {
                    (Some(0), None) => f.write_str(".**"),
                    (first, last) if first == last => write!(f, ".**{{{}}}", level(*first)),
                    (first, last) => write!(f, ".**{{{} to {}}}", level(*first), level(*last)),
                }
            }
            Self::Filter(condition) => {
                f.write_str("?(")?;
                condition.write(f, false)?;
                f.write_str(")")
            }
            Self::Method(method) => write!(f, ".{}()", method.name()),
        }
    }
}
