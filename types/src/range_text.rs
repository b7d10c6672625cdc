//! Reading and writing ranges: `[1,5)`, `(,"2024-01-01 00:00:00"]`, `empty`; and their wire form.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::RangeKind;

use crate::datetime_tokens::is_space;
use crate::error::ValueError;
use crate::format_settings::FormatSettings;
use crate::range::{Bound, Range, make};
use crate::{binary, text_input, text_output};

/// Flags of the wire form.
const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const NO_LOWER: u8 = 0x08;
const NO_UPPER: u8 = 0x10;

fn malformed(text: &str, detail: &str) -> ValueError {
    ValueError::Other {
        sqlstate: SqlState::INVALID_TEXT_REPRESENTATION,
        message: format!("malformed range literal: \"{text}\""),
        detail: Some(detail.to_owned()),
        hint: None,
    }
}

fn skip_space(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_ascii() && is_space(c as u8))
}

/// Reads a range.
pub fn parse(text: &str, kind: RangeKind, settings: &FormatSettings) -> Result<Range, ValueError> {
    let rest = skip_space(text);
    if rest.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("empty")) {
        return if skip_space(&rest[5..]).is_empty() { Ok(None) } else { Err(malformed(text, "Junk after \"empty\" key word.")) };
    }
    let lower_inclusive = match rest.chars().next() {
        Some('[') => true,
        Some('(') => false,
        _ => return Err(malformed(text, "Missing left parenthesis or bracket.")),
    };
    let (lower, rest) = bound_text(&rest[1..], text)?;
    let rest = rest.strip_prefix(',').ok_or_else(|| malformed(text, "Missing comma after lower bound."))?;
    let (upper, rest) = bound_text(rest, text)?;
    let upper_inclusive = match rest.chars().next() {
        Some(']') => true,
        Some(')') => false,
        _ => return Err(malformed(text, "Too many commas.")),
    };
    if !skip_space(&rest[1..]).is_empty() {
        return Err(malformed(text, "Junk after right parenthesis or bracket."));
    }
    let element = kind.element().into();
    let value = |bound: Option<String>| bound.map(|bound| text_input::parse(&bound, element, settings)).transpose();
    make(Bound::new(value(lower)?, lower_inclusive, true), Bound::new(value(upper)?, upper_inclusive, false), kind)
}

/// The text of a bound, and what comes behind it; `None` when there is no bound.
fn bound_text<'a>(input: &'a str, whole: &str) -> Result<(Option<String>, &'a str), ValueError> {
    if input.starts_with([',', ')', ']']) {
        return Ok((None, input));
    }
    let (mut out, mut in_quotes) = (String::new(), false);
    let mut chars = input.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            ',' | ')' | ']' if !in_quotes => return Ok((Some(out), &input[at..])),
            '\\' => out.push(chars.next().ok_or_else(|| malformed(whole, "Unexpected end of input."))?.1),
            '"' if !in_quotes => in_quotes = true,
            '"' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                chars.next();
                out.push('"');
            }
            '"' => in_quotes = false,
            c => out.push(c),
        }
    }
    Err(malformed(whole, "Unexpected end of input."))
}

/// Appends the text of a range.
pub fn write(range: &Range, kind: RangeKind, settings: &FormatSettings, out: &mut Vec<u8>) {
    let Some((lower, upper)) = range else { return out.extend_from_slice(b"empty") };
    out.push(if lower.inclusive { b'[' } else { b'(' });
    write_bound(lower.value.as_ref(), kind, settings, out);
    out.push(b',');
    write_bound(upper.value.as_ref(), kind, settings, out);
    out.push(if upper.inclusive { b']' } else { b')' });
}

fn write_bound(value: Option<&Datum>, kind: RangeKind, settings: &FormatSettings, out: &mut Vec<u8>) {
    let Some(value) = value else { return };
    let text = text_output::to_text(value, kind.element().into(), settings);
    let special = |c: char| matches!(c, '"' | '\\' | '(' | ')' | '[' | ']' | ',') || c.is_ascii() && is_space(c as u8);
    if text.is_empty() || text.contains(special) {
        out.push(b'"');
        for byte in text.bytes() {
            if matches!(byte, b'"' | b'\\') {
                out.push(byte);
            }
            out.push(byte);
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(text.as_bytes());
    }
}

/// Appends the wire form: flags, then the bounds that are there, each with its length.
pub fn write_binary(range: &Range, kind: RangeKind, out: &mut Vec<u8>) {
    let Some((lower, upper)) = range else { return out.push(EMPTY) };
    let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
    out.push(
        flag(lower.inclusive, LOWER_INCLUSIVE)
            | flag(upper.inclusive, UPPER_INCLUSIVE)
            | flag(lower.value.is_none(), NO_LOWER)
            | flag(upper.value.is_none(), NO_UPPER),
    );
    for value in [&lower.value, &upper.value].into_iter().flatten() {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        binary::write(value, kind.element().into(), out);
        let length = (out.len() - start - 4) as i32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// Reads the wire form.
pub fn read_binary(bytes: &[u8], kind: RangeKind) -> Result<Range, ValueError> {
    let short = || ValueError::new(SqlState::PROTOCOL_VIOLATION, "insufficient data left in message");
    let (&flags, mut rest) = bytes.split_first().ok_or_else(short)?;
    if flags & EMPTY != 0 {
        return Ok(None);
    }
    let mut value = |is_missing: bool| {
        if is_missing {
            return Ok(None);
        }
        let (length, tail) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| short())?;
        let (value, tail) = tail.split_at_checked(length).ok_or_else(short)?;
        rest = tail;
        binary::parse(value, kind.element().into()).map(Some)
    };
    let lower = value(flags & NO_LOWER != 0)?;
    let upper = value(flags & NO_UPPER != 0)?;
    make(Bound::new(lower, flags & LOWER_INCLUSIVE != 0, true), Bound::new(upper, flags & UPPER_INCLUSIVE != 0, false), kind)
}
