//! `format('… %1$-10s …', …)`.

use common::sqlstate::SqlState;

use crate::error::ValueError;
use crate::quoting::{quote_ident, quote_literal};

/// The widest field; PostgreSQL counts in 32 bits and refuses what it cannot allocate.
const WIDTH_MAX: usize = 0x3fff_ffff;

/// One argument of `format`: its text, and the number that it is as a width.
pub trait FormatArguments {
    /// How many there are.
    fn count(&self) -> usize;
    /// The text of an argument; `None` for NULL.
    fn text(&self, index: usize) -> Option<String>;
    /// An argument as a width; `None` for NULL.
    fn width(&self, index: usize) -> Result<Option<i32>, ValueError>;
}

fn bad(message: impl Into<String>) -> ValueError {
    ValueError::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

fn bad_specifier(message: String) -> ValueError {
    ValueError::Other {
        sqlstate: SqlState::INVALID_PARAMETER_VALUE,
        message,
        detail: None,
        hint: Some("For a single \"%\" use \"%%\".".into()),
    }
}

fn unterminated() -> ValueError {
    bad_specifier("unterminated format() type specifier".into())
}

/// Where the width of a field comes from.
#[derive(Clone, Copy)]
enum Width {
    None,
    Number(i32),
    /// The next argument, or the one with that number.
    Argument(Option<usize>),
}

/// What stands between `%` and the letter.
struct Specifier {
    argument: Option<usize>,
    left: bool,
    width: Width,
    letter: char,
}

struct Cursor<'a>(&'a str);

impl Cursor<'_> {
    fn peek(&self) -> Result<char, ValueError> {
        self.0.chars().next().ok_or_else(unterminated)
    }

    fn skip(&mut self, c: char) {
        self.0 = &self.0[c.len_utf8()..];
    }

    fn take(&mut self, c: char) -> Result<bool, ValueError> {
        let found = self.peek()? == c;
        if found {
            self.skip(c);
        }
        Ok(found)
    }

    /// A number, if one stands here.
    fn number(&mut self) -> Result<Option<i32>, ValueError> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let digits = &self.0[..end];
        if digits.is_empty() {
            return Ok(None);
        }
        let value = digits.parse().map_err(|_| ValueError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "number is out of range"))?;
        self.0 = &self.0[end..];
        self.peek()?;
        Ok(Some(value))
    }

    fn specifier(&mut self) -> Result<Specifier, ValueError> {
        let mut found = Specifier { argument: None, left: false, width: Width::None, letter: '%' };
        let number = self.number()?;
        if let Some(number) = number {
            if self.peek()? == '$' {
                self.skip('$');
                found.argument = Some(argument_index(number)?);
            } else {
                found.width = Width::Number(number);
                found.letter = self.letter()?;
                return Ok(found);
            }
        }
        while self.take('-')? {
            found.left = true;
        }
        if self.take('*')? {
            let number = self.number()?;
            found.width = Width::Argument(match number {
                Some(number) => {
                    let index = argument_index(number)?;
                    if !self.take('$')? {
                        return Err(bad("width argument position must be ended by \"$\""));
                    }
                    Some(index)
                }
                None => None,
            });
        } else if let Some(width) = self.number()? {
            found.width = Width::Number(width);
        }
        found.letter = self.letter()?;
        Ok(found)
    }

    fn letter(&mut self) -> Result<char, ValueError> {
        let letter = self.peek()?;
        self.skip(letter);
        Ok(letter)
    }
}

fn argument_index(number: i32) -> Result<usize, ValueError> {
    match usize::try_from(number).ok().and_then(|n| n.checked_sub(1)) {
        Some(index) => Ok(index),
        None => Err(bad("format specifies argument 0, but arguments are numbered from 1")),
    }
}

/// Fills the arguments into the text.
pub fn format(text: &str, arguments: &impl FormatArguments) -> Result<String, ValueError> {
    let mut out = String::with_capacity(text.len());
    let mut cursor = Cursor(text);
    let mut next = 0;
    while let Some(at) = cursor.0.find('%') {
        out.push_str(&cursor.0[..at]);
        cursor.0 = &cursor.0[at + 1..];
        if cursor.take('%')? {
            out.push('%');
            continue;
        }
        let specifier = cursor.specifier()?;
        if !matches!(specifier.letter, 's' | 'I' | 'L') {
            return Err(bad_specifier(format!("unrecognized format() type specifier \"{}\"", specifier.letter)));
        }
        let mut left = specifier.left;
        let mut argument = |numbered: Option<usize>| {
            let index = numbered.unwrap_or(next);
            next = index + 1;
            if index < arguments.count() { Ok(index) } else { Err(bad("too few arguments for format()")) }
        };
        let width = match specifier.width {
            Width::None => 0,
            Width::Number(width) => width,
            Width::Argument(numbered) => arguments.width(argument(numbered)?)?.unwrap_or(0),
        };
        left |= width < 0;
        let value = converted(arguments.text(argument(specifier.argument)?), specifier.letter)?;
        pad(&mut out, &value, usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX), left)?;
    }
    out.push_str(cursor.0);
    Ok(out)
}

fn converted(value: Option<String>, letter: char) -> Result<String, ValueError> {
    Ok(match (letter, value) {
        ('I', None) => {
            let message = "null values cannot be formatted as an SQL identifier";
            return Err(ValueError::new(SqlState::NULL_VALUE_NOT_ALLOWED, message));
        }
        ('I', Some(value)) => quote_ident(&value),
        ('L', None) => "NULL".to_owned(),
        ('L', Some(value)) => quote_literal(&value),
        (_, value) => value.unwrap_or_default(),
    })
}

fn pad(out: &mut String, value: &str, width: usize, left: bool) -> Result<(), ValueError> {
    let blanks = width.saturating_sub(value.chars().count());
    if blanks > WIDTH_MAX {
        return Err(ValueError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large"));
    }
    if left {
        out.push_str(value);
    }
    out.extend(std::iter::repeat_n(' ', blanks));
    if !left {
        out.push_str(value);
    }
    Ok(())
}
