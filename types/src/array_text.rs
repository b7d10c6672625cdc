//! Reading arrays: `{a,"b c",NULL}`, one dimension.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::SqlType;

use crate::datetime_tokens::is_space;
use crate::error::ValueError;
use crate::format_settings::FormatSettings;
use crate::text_input;

fn malformed(text: &str, detail: impl Into<String>) -> ValueError {
    ValueError::Other {
        sqlstate: SqlState::INVALID_TEXT_REPRESENTATION,
        message: format!("malformed array literal: \"{text}\""),
        detail: Some(detail.into()),
        hint: None,
    }
}

/// Reads an array of `ty`'s elements.
pub(crate) fn parse(text: &str, ty: SqlType, settings: &FormatSettings) -> Result<Datum, ValueError> {
    let mut reader = Reader { text, at: 0 };
    reader.skip_space();
    if reader.peek() == Some(b'[') {
        return Err(ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, "array literals with explicit bounds are not supported"));
    }
    if reader.peek() != Some(b'{') {
        return Err(malformed(text, "Array value must start with \"{\" or dimension information."));
    }
    reader.at += 1;
    let mut out = Vec::new();
    reader.skip_space();
    if reader.peek() == Some(b'}') {
        reader.at += 1;
    } else {
        loop {
            out.push(match reader.element()? {
                Some(element) => text_input::parse(&element, ty.element(), settings)?,
                None => Datum::Null,
            });
            reader.skip_space();
            let next = reader.peek();
            reader.at += 1;
            match next {
                Some(b',') => {}
                Some(b'}') => break,
                Some(_) => return Err(malformed(text, "Unexpected array element.")),
                None => return Err(malformed(text, "Unexpected end of input.")),
            }
        }
    }
    reader.skip_space();
    if reader.at < text.len() {
        return Err(malformed(text, "Junk after closing right brace."));
    }
    Ok(Datum::Array(out))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    /// The text of the next element; `None` for NULL.
    fn element(&mut self) -> Result<Option<String>, ValueError> {
        self.skip_space();
        match self.peek() {
            Some(b'"') => self.quoted().map(Some),
            Some(b'{') => Err(ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, "multidimensional arrays are not supported")),
            Some(b @ (b',' | b'}')) => Err(malformed(self.text, format!("Unexpected \"{}\" character.", char::from(b)))),
            None => Err(malformed(self.text, "Unexpected end of input.")),
            Some(_) => self.bare(),
        }
    }

    fn quoted(&mut self) -> Result<String, ValueError> {
        self.at += 1;
        let mut out = String::new();
        let mut chars = self.text[self.at..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Ok(out);
                }
                '\\' => out.push(chars.next().ok_or_else(|| malformed(self.text, "Unexpected end of input."))?.1),
                _ => out.push(c),
            }
        }
        Err(malformed(self.text, "Unexpected end of input."))
    }

    fn bare(&mut self) -> Result<Option<String>, ValueError> {
        let mut out = String::new();
        // Blanks at the end do not count unless escaped.
        let mut kept = 0;
        let mut escaped = false;
        let mut chars = self.text[self.at..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                ',' | '}' => {
                    self.at += at;
                    out.truncate(kept);
                    return Ok((escaped || !out.eq_ignore_ascii_case("null")).then_some(out));
                }
                '"' | '{' => {
                    let detail = if c == '"' { "Unexpected array element.".to_owned() } else { format!("Unexpected \"{c}\" character.") };
                    return Err(malformed(self.text, detail));
                }
                '\\' => {
                    out.push(chars.next().ok_or_else(|| malformed(self.text, "Unexpected end of input."))?.1);
                    escaped = true;
                    kept = out.len();
                }
                c => {
                    out.push(c);
                    if !(c.is_ascii() && is_space(c as u8)) {
                        kept = out.len();
                    }
                }
            }
        }
        Err(malformed(self.text, "Unexpected end of input."))
    }
}
