//! PostgreSQL's advanced regular expressions: from text to [`Node`]s.
//!
//! An expression may begin with a director (`***:`, `***=`) and with options in `(?…)`; then come branches of quantified atoms and
//! constraints. Brackets are in [`crate::regexp_brackets`].

use common::sqlstate::SqlState;

use crate::error::ValueError;
use crate::regexp_syntax::{Node, character, class};

/// Quantifiers count no further.
const REPEATS_MAX: u32 = 255;
/// Groups nest no deeper.
const DEPTH_MAX: usize = 200;

/// How an expression is read and matched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Options {
    pub(crate) ignores_case: bool,
    /// Blanks and comments do not count.
    pub(crate) expanded: bool,
    /// `.` and negated brackets do not match a newline.
    pub(crate) newline_stops: bool,
    /// `^` and `$` match at newlines too.
    pub(crate) newline_anchors: bool,
    /// The expression is plain text.
    pub(crate) literal: bool,
    /// A basic or extended expression of POSIX instead of an advanced one.
    pub(crate) posix: bool,
}

impl Options {
    /// Applies an option's letter; `false` when it is none.
    pub(crate) fn apply(&mut self, letter: char) -> bool {
        match letter {
            'i' => self.ignores_case = true,
            'c' => self.ignores_case = false,
            'x' => self.expanded = true,
            't' => self.expanded = false,
            'n' | 'm' => (self.newline_stops, self.newline_anchors) = (true, true),
            's' => (self.newline_stops, self.newline_anchors) = (false, false),
            'p' => (self.newline_stops, self.newline_anchors) = (true, false),
            'w' => (self.newline_stops, self.newline_anchors) = (false, true),
            'q' => self.literal = true,
            'b' | 'e' => self.posix = true,
            _ => return false,
        }
        true
    }
}

/// An expression that was read.
pub(crate) struct Parsed {
    pub(crate) node: Node,
    pub(crate) options: Options,
    pub(crate) groups: usize,
}

/// 2201B with PostgreSQL's words for what is wrong.
pub(crate) fn invalid(reason: &str) -> ValueError {
    ValueError::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {reason}"))
}

pub(crate) fn bad_quantifier() -> ValueError {
    invalid("quantifier operand invalid")
}

pub(crate) fn bad_escape() -> ValueError {
    invalid("invalid escape \\ sequence")
}

fn unbalanced() -> ValueError {
    invalid("parentheses () not balanced")
}

/// What an escape means.
pub(crate) enum Escape {
    Character(char),
    /// A class, and whether it is negated.
    Class(&'static str, bool),
    Place(&'static str),
    Digits,
}

/// Reads an expression.
pub(crate) fn parse(text: &str, mut options: Options) -> Result<Parsed, ValueError> {
    let mut rest = text;
    if let Some(after) = rest.strip_prefix("***") {
        match after.chars().next() {
            Some('=') => options.literal = true,
            Some(':') => (options.literal, options.posix) = (false, false),
            _ => return Err(bad_quantifier()),
        }
        rest = &after[1..];
    }
    if !options.literal
        && !options.posix
        && let Some(after) = rest.strip_prefix("(?").filter(|after| after.starts_with(|c: char| c.is_ascii_alphabetic()))
    {
        let bad = || invalid("invalid embedded option");
        let end = after.find(')').ok_or_else(bad)?;
        if !after[..end].chars().all(|letter| options.apply(letter)) {
            return Err(bad());
        }
        rest = &after[end + 1..];
    }
    if options.literal {
        let node = Node::Sequence(rest.chars().map(|c| Node::Atom(character(c))).collect());
        return Ok(Parsed { node, options, groups: 0 });
    }
    if options.posix {
        let message = "basic and extended regular expressions (options b and e) are not supported";
        return Err(ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    let mut parser = Parser { rest, options, opened: 0, closed: Vec::new(), depth: 0, in_look: false };
    let node = parser.branches()?;
    if parser.rest.is_empty() { Ok(Parsed { node, options, groups: parser.opened }) } else { Err(unbalanced()) }
}

pub(crate) struct Parser<'a> {
    pub(crate) rest: &'a str,
    pub(crate) options: Options,
    opened: usize,
    /// The groups that are complete: back references may name them.
    closed: Vec<usize>,
    depth: usize,
    in_look: bool,
}

impl Parser<'_> {
    pub(crate) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(crate) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    pub(crate) fn take(&mut self, prefix: &str) -> bool {
        let after = self.rest.strip_prefix(prefix);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn skip_comments(&mut self) -> Result<(), ValueError> {
        loop {
            if self.options.expanded {
                self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
                if self.rest.starts_with('#') {
                    self.rest = self.rest.find('\n').map_or("", |at| &self.rest[at..]);
                    continue;
                }
            }
            if !self.take("(?#") {
                return Ok(());
            }
            self.rest = self.rest.find(')').map(|at| &self.rest[at + 1..]).unwrap_or("");
        }
    }

    fn branches(&mut self) -> Result<Node, ValueError> {
        let mut branches = vec![self.branch()?];
        while self.take("|") {
            branches.push(self.branch()?);
        }
        Ok(if branches.len() == 1 { branches.remove(0) } else { Node::Branches(branches) })
    }

    fn branch(&mut self) -> Result<Node, ValueError> {
        let mut parts = Vec::new();
        loop {
            self.skip_comments()?;
            match self.peek() {
                None | Some('|') => break,
                Some(')') if self.depth > 0 => break,
                Some(')') => return Err(unbalanced()),
                Some(_) => {}
            }
            let part = self.part()?;
            parts.push(self.quantified(part)?);
        }
        Ok(match parts.len() {
            0 => Node::Empty,
            1 => parts.remove(0),
            _ => Node::Sequence(parts),
        })
    }

    fn quantifier_follows(&self) -> bool {
        match self.peek() {
            Some('*' | '+' | '?') => true,
            Some('{') => self.rest[1..].starts_with(|c: char| c.is_ascii_digit()),
            _ => false,
        }
    }

    fn quantified(&mut self, part: Node) -> Result<Node, ValueError> {
        self.skip_comments()?;
        if !self.quantifier_follows() {
            return Ok(part);
        }
        if matches!(part, Node::Place(_) | Node::Look { .. }) {
            return Err(bad_quantifier());
        }
        let (least, most, fixed) = match self.next() {
            Some('*') => (0, None, false),
            Some('+') => (1, None, false),
            Some('?') => (0, Some(1), false),
            _ => self.bounds()?,
        };
        let greedy = !self.take("?");
        self.skip_comments()?;
        if self.quantifier_follows() {
            return Err(bad_quantifier());
        }
        Ok(Node::Repeat { inner: Box::new(part), least, most, greedy, fixed })
    }

    /// `m}`, `m,}` or `m,n}`; the last tells the first form.
    fn bounds(&mut self) -> Result<(u32, Option<u32>, bool), ValueError> {
        let bad = || invalid("invalid repetition count(s)");
        let least = self.count()?.ok_or_else(bad)?;
        let fixed = !self.take(",");
        let most = if fixed { Some(least) } else { self.count()? };
        if !self.take("}") {
            return Err(if self.rest.is_empty() { invalid("braces {} not balanced") } else { bad() });
        }
        if most.is_some_and(|most| most < least) { Err(bad()) } else { Ok((least, most, fixed)) }
    }

    fn count(&mut self) -> Result<Option<u32>, ValueError> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let digits = &self.rest[..end];
        self.rest = &self.rest[end..];
        if digits.is_empty() {
            return Ok(None);
        }
        let count = digits.parse().ok().filter(|n| *n <= REPEATS_MAX);
        count.map(Some).ok_or_else(|| invalid("invalid repetition count(s)"))
    }

    fn part(&mut self) -> Result<Node, ValueError> {
        if self.quantifier_follows() {
            return Err(bad_quantifier());
        }
        let place = |multiple: bool, lines: &str, text: &str| Node::Place(if multiple { lines } else { text }.to_owned());
        Ok(match self.next() {
            None => Node::Empty,
            Some('^') => place(self.options.newline_anchors, "(?m:^)", r"\A"),
            Some('$') => place(self.options.newline_anchors, "(?m:$)", r"\z"),
            Some('.') => Node::Atom(if self.options.newline_stops { r"[^\n]" } else { "(?s:.)" }.to_owned()),
            Some('[') => self.brackets()?,
            Some('(') => return self.group(),
            Some('\\') => self.escaped()?,
            Some(c) => Node::Atom(character(c)),
        })
    }

    fn group(&mut self) -> Result<Node, ValueError> {
        if self.depth >= DEPTH_MAX {
            return Err(invalid("regular expression is too complex"));
        }
        self.depth += 1;
        let look = [("?=", true, false), ("?!", true, true), ("?<=", false, false), ("?<!", false, true)];
        let look = look.into_iter().find(|(prefix, ..)| self.take(prefix));
        let node = if let Some((_, ahead, negated)) = look {
            let outside = std::mem::replace(&mut self.in_look, true);
            let inner = Box::new(self.branches()?);
            self.in_look = outside;
            Node::Look { ahead, negated, inner }
        } else if self.take("?:") {
            Node::Group { inner: Box::new(self.branches()?), captures: false }
        } else if self.peek() == Some('?') {
            return Err(bad_quantifier());
        } else if self.in_look {
            Node::Group { inner: Box::new(self.branches()?), captures: false }
        } else {
            self.opened += 1;
            let index = self.opened;
            let inner = Box::new(self.branches()?);
            self.closed.push(index);
            Node::Group { inner, captures: true }
        };
        self.depth -= 1;
        if self.take(")") { Ok(node) } else { Err(unbalanced()) }
    }

    fn escaped(&mut self) -> Result<Node, ValueError> {
        Ok(match self.escape()? {
            Escape::Character(c) => Node::Atom(character(c)),
            Escape::Class(name, negated) => Node::Atom(format!("[{}{}]", if negated { "^" } else { "" }, class(name).unwrap_or_default())),
            Escape::Place(text) => Node::Place(text.to_owned()),
            Escape::Digits => self.reference_or_octal()?,
        })
    }

    /// What follows a backslash. Digits other than 0 are left to the caller.
    pub(crate) fn escape(&mut self) -> Result<Escape, ValueError> {
        let before = self.rest;
        let c = self.next().ok_or_else(bad_escape)?;
        Ok(match c {
            'a' => Escape::Character('\x07'),
            'b' => Escape::Character('\x08'),
            'B' => Escape::Character('\\'),
            'c' => {
                let control = u32::from(self.next().ok_or_else(bad_escape)?) & 31;
                Escape::Character(char::from_u32(control).ok_or_else(bad_escape)?)
            }
            'e' => Escape::Character('\x1b'),
            'f' => Escape::Character('\x0c'),
            'n' => Escape::Character('\n'),
            'r' => Escape::Character('\r'),
            't' => Escape::Character('\t'),
            'v' => Escape::Character('\x0b'),
            'u' => Escape::Character(self.code(16, 4, 4)?),
            'U' => Escape::Character(self.code(16, 8, 8)?),
            'x' => Escape::Character(self.code(16, 1, 255)?),
            'd' => Escape::Class("digit", false),
            'D' => Escape::Class("digit", true),
            's' => Escape::Class("space", false),
            'S' => Escape::Class("space", true),
            'w' => Escape::Class("word", false),
            'W' => Escape::Class("word", true),
            'A' => Escape::Place(r"\A"),
            'Z' => Escape::Place(r"\z"),
            'm' => Escape::Place(r"\b{start}"),
            'M' => Escape::Place(r"\b{end}"),
            'y' => Escape::Place(r"\b"),
            'Y' => Escape::Place(r"\B"),
            '0'..='9' => {
                self.rest = before;
                Escape::Digits
            }
            other if other.is_alphanumeric() => return Err(bad_escape()),
            other => Escape::Character(other),
        })
    }

    fn code(&mut self, radix: u32, least: usize, most: usize) -> Result<char, ValueError> {
        let length = self.rest.bytes().take(most).take_while(|b| char::from(*b).is_digit(radix)).count();
        if length < least {
            return Err(bad_escape());
        }
        let value = u32::from_str_radix(&self.rest[..length], radix).ok().and_then(char::from_u32);
        self.rest = &self.rest[length..];
        value.ok_or_else(bad_escape)
    }

    fn reference_or_octal(&mut self) -> Result<Node, ValueError> {
        match self.reference() {
            None => Ok(Node::Atom(character(self.octal()?))),
            Some(number) if !self.in_look && self.closed.contains(&number) => Ok(Node::BackReference(number)),
            Some(_) => Err(invalid("invalid backreference number")),
        }
    }

    /// The number of a back reference: one digit, or more if there are so many groups.
    pub(crate) fn reference(&mut self) -> Option<usize> {
        let length = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: usize = self.rest[..length].parse().unwrap_or(usize::MAX);
        let refers = !self.rest.starts_with('0') && (length == 1 || number <= self.opened);
        if refers {
            self.rest = &self.rest[length..];
        }
        refers.then_some(number)
    }

    /// Up to three octal digits, as many as make a byte.
    pub(crate) fn octal(&mut self) -> Result<char, ValueError> {
        let most = if self.rest.starts_with(|c: char| ('4'..='7').contains(&c)) { 2 } else { 3 };
        self.code(8, 1, most)
    }
}
