//! Reading arrays: `{a,"b c",NULL}`, `{{1,2},{3,4}}`, `[0:1]={5,6}`.
//!
//! The structure is checked first, character by character in the states that PostgreSQL knows, and the elements' texts are collected; then
//! the elements are read.

use common::array::{Array, DIMENSIONS_MAX, Dimension};
use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::SqlType;

use crate::array::too_many_dimensions;
use crate::datetime_tokens::is_space;
use crate::error::ValueError;
use crate::format_settings::FormatSettings;
use crate::text_input;

/// Reads an array of `ty`'s elements.
pub(crate) fn parse(text: &str, ty: SqlType, settings: &FormatSettings) -> Result<Datum, ValueError> {
    let (dimensions, elements) = Reader { text, at: 0 }.array()?;
    let mut values = Vec::with_capacity(elements.len());
    for element in elements {
        values.push(match element {
            Some(element) => text_input::parse(&element, ty.element(), settings)?,
            None => Datum::Null,
        });
    }
    let array = Array::new(dimensions, values);
    array.map(Datum::Array).ok_or_else(|| malformed(text, "Specified array dimensions do not match array contents."))
}

fn malformed(text: &str, detail: impl Into<String>) -> ValueError {
    ValueError::Other {
        sqlstate: SqlState::INVALID_TEXT_REPRESENTATION,
        message: format!("malformed array literal: \"{text}\""),
        detail: Some(detail.into()),
        hint: None,
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

type Structure = (Vec<Dimension>, Vec<Option<String>>);

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn malformed(&self, detail: &str) -> ValueError {
        malformed(self.text, detail)
    }

    fn array(mut self) -> Result<Structure, ValueError> {
        let declared = self.bounds()?;
        if declared.is_empty() {
            if self.peek() != Some(b'{') {
                return Err(self.malformed("Array value must start with \"{\" or dimension information."));
            }
        } else {
            if self.peek() != Some(b'=') {
                return Err(self.malformed("Missing \"=\" after array dimensions."));
            }
            self.at += 1;
            self.skip_space();
            if self.peek() != Some(b'{') {
                return Err(self.malformed("Array contents must start with \"{\"."));
            }
        }
        let mut contents = Contents::new(self.text);
        self.at += contents.read(&self.text[self.at..])?;
        self.skip_space();
        if self.at < self.text.len() {
            return Err(self.malformed("Junk after closing right brace."));
        }
        let found = contents.dimensions();
        if declared.is_empty() {
            return Ok((found, contents.elements));
        }
        if !found.iter().map(|d| d.length).eq(declared.iter().map(|d| d.length)) {
            return Err(self.malformed("Specified array dimensions do not match array contents."));
        }
        Ok((declared, contents.elements))
    }

    /// `[1:2][0:4]`, or `[5]` for a dimension that begins at 1.
    fn bounds(&mut self) -> Result<Vec<Dimension>, ValueError> {
        let mut out = Vec::new();
        loop {
            self.skip_space();
            if self.peek() != Some(b'[') {
                return Ok(out);
            }
            self.at += 1;
            if out.len() >= DIMENSIONS_MAX {
                return Err(too_many_dimensions(out.len() + 1));
            }
            let Some(first) = self.number() else {
                return Err(self.malformed("\"[\" must introduce explicitly-specified array dimensions."));
            };
            let (lower, upper) = if self.peek() == Some(b':') {
                self.at += 1;
                (first, self.number().ok_or_else(|| self.malformed("Missing array dimension value."))?)
            } else {
                (1, first)
            };
            if self.peek() != Some(b']') {
                return Err(self.malformed("Missing \"]\" after array dimensions."));
            }
            self.at += 1;
            if upper < lower {
                return Err(ValueError::new(SqlState::ARRAY_SUBSCRIPT_ERROR, "upper bound cannot be less than lower bound"));
            }
            let length = i32::try_from(i64::from(upper) - i64::from(lower) + 1);
            let length = length.map_err(|_| crate::array::too_large())?;
            out.push(Dimension { length, lower });
        }
    }

    fn number(&mut self) -> Option<i32> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-')) {
            self.at += 1;
        }
        if self.at == start {
            return None;
        }
        let digits = &self.text[start..self.at];
        Some(digits.parse::<i64>().map_or(0, |n| n.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    NoLevel,
    LevelStarted,
    ElementStarted,
    QuotedStarted,
    QuotedCompleted,
    ElementDelimited,
    LevelCompleted,
    LevelDelimited,
}

/// What stands between the outer braces.
struct Contents<'a> {
    /// The whole literal, for messages.
    text: &'a str,
    state: State,
    /// How many braces are open.
    level: usize,
    /// How many items the open braces of each level hold so far, and how many the last closed ones held.
    counts: [i32; DIMENSIONS_MAX],
    closed: [i32; DIMENSIONS_MAX],
    depth: usize,
    element: String,
    /// The element's length without blanks at its end that do not count.
    kept: usize,
    /// The element has a quote or an escape, so that it is no NULL.
    literal: bool,
    elements: Vec<Option<String>>,
}

impl<'a> Contents<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            state: State::NoLevel,
            level: 0,
            counts: [1; DIMENSIONS_MAX],
            closed: [0; DIMENSIONS_MAX],
            depth: 0,
            element: String::new(),
            kept: 0,
            literal: false,
            elements: Vec::new(),
        }
    }

    fn dimensions(&self) -> Vec<Dimension> {
        if self.elements.is_empty() {
            return Vec::new();
        }
        self.closed[..self.depth].iter().map(|length| Dimension { length: *length, lower: 1 }).collect()
    }

    fn unexpected(&self, c: char) -> ValueError {
        malformed(self.text, format!("Unexpected \"{c}\" character."))
    }

    /// Reads until the outermost brace closes; answers how many bytes were read.
    fn read(&mut self, input: &str) -> Result<usize, ValueError> {
        let mut chars = input.char_indices();
        while let Some((at, c)) = chars.next() {
            let quoted = self.state == State::QuotedStarted;
            match c {
                '\\' => {
                    self.begin_element(self.unexpected(c))?;
                    let escaped = chars.next().ok_or_else(|| malformed(self.text, "Unexpected end of input."))?.1;
                    self.literal = true;
                    self.keep(escaped);
                }
                '"' => self.quote()?,
                _ if quoted => self.keep(c),
                '{' => self.open()?,
                '}' => {
                    self.close()?;
                    if self.level == 0 {
                        return Ok(at + 1);
                    }
                }
                ',' => self.delimit()?,
                c if c.is_ascii() && is_space(c as u8) => {
                    if self.state == State::ElementStarted {
                        self.element.push(c);
                    }
                }
                c => {
                    self.begin_element(malformed(self.text, "Unexpected array element."))?;
                    self.keep(c);
                }
            }
        }
        Err(malformed(self.text, "Unexpected end of input."))
    }

    fn keep(&mut self, c: char) {
        self.element.push(c);
        self.kept = self.element.len();
    }

    fn begin_element(&mut self, otherwise: ValueError) -> Result<(), ValueError> {
        match self.state {
            State::QuotedStarted => Ok(()),
            State::LevelStarted | State::ElementStarted | State::ElementDelimited => {
                self.state = State::ElementStarted;
                Ok(())
            }
            _ => Err(otherwise),
        }
    }

    fn quote(&mut self) -> Result<(), ValueError> {
        self.state = match self.state {
            State::QuotedStarted => State::QuotedCompleted,
            State::LevelStarted | State::ElementDelimited => State::QuotedStarted,
            _ => return Err(malformed(self.text, "Unexpected array element.")),
        };
        self.literal = true;
        Ok(())
    }

    fn open(&mut self) -> Result<(), ValueError> {
        if !matches!(self.state, State::NoLevel | State::LevelStarted | State::LevelDelimited) {
            return Err(self.unexpected('{'));
        }
        self.state = State::LevelStarted;
        if self.level >= DIMENSIONS_MAX {
            return Err(too_many_dimensions(self.level + 1));
        }
        self.level += 1;
        self.depth = self.depth.max(self.level);
        Ok(())
    }

    fn close(&mut self) -> Result<(), ValueError> {
        match self.state {
            State::ElementStarted | State::QuotedCompleted => self.end_element(),
            State::LevelCompleted => {}
            State::LevelStarted if self.level == 1 => {}
            _ => return Err(self.unexpected('}')),
        }
        self.state = State::LevelCompleted;
        self.level -= 1;
        let (count, before) = (&mut self.counts[self.level], &mut self.closed[self.level]);
        if *before != 0 && count != before {
            return Err(malformed(self.text, "Multidimensional arrays must have sub-arrays with matching dimensions."));
        }
        *before = *count;
        *count = 1;
        Ok(())
    }

    fn delimit(&mut self) -> Result<(), ValueError> {
        self.state = match self.state {
            State::ElementStarted | State::QuotedCompleted => {
                self.end_element();
                State::ElementDelimited
            }
            State::LevelCompleted => State::LevelDelimited,
            _ => return Err(self.unexpected(',')),
        };
        let count = &mut self.counts[self.level - 1];
        *count = count.saturating_add(1);
        Ok(())
    }

    fn end_element(&mut self) {
        let mut element = std::mem::take(&mut self.element);
        element.truncate(self.kept);
        let is_null = !self.literal && element.eq_ignore_ascii_case("null");
        self.elements.push((!is_null).then_some(element));
        self.kept = 0;
        self.literal = false;
    }
}
