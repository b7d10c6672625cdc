//! JSON text: checking it with PostgreSQL's error words, reading it into a tree, and writing the canonical text of jsonb.
//!
//! The canonical text is what PostgreSQL prints for a jsonb: object keys in order of their length, then their bytes, the last of two
//! equal keys; numbers as numeric prints them; `", "` and `": "` between things. Text that this module wrote is read back faster by
//! skipping the sort.

use std::cmp::Ordering;

use common::numeric::Numeric;
use common::sqlstate::SqlState;

use crate::error::ValueError;

/// Arrays and objects may be nested this deep; the reader is recursive.
const DEPTH_MAX: usize = 1_000;

/// A JSON value; in a jsonb the keys of objects are in canonical order and unique.
#[derive(Clone, Debug)]
pub enum Json {
    Null,
    Bool(bool),
    /// As a numeric prints it, or as it was written in a `json`.
    Number(String),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// The order of keys in a jsonb.
pub fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

fn invalid(detail: impl Into<String>) -> ValueError {
    ValueError::Other {
        sqlstate: SqlState::INVALID_TEXT_REPRESENTATION,
        message: "invalid input syntax for type json".to_owned(),
        detail: Some(detail.into()),
        hint: None,
    }
}

fn ended() -> ValueError {
    invalid("The input string ended unexpectedly.")
}

/// Checks that a text is a `json`.
pub fn validate(text: &str) -> Result<(), ValueError> {
    let mut reader = Reader::new(text, false);
    reader.skip_value(0)?;
    reader.expect_end()
}

/// The canonical text of a jsonb.
pub fn to_jsonb(text: &str) -> Result<String, ValueError> {
    let mut out = String::with_capacity(text.len());
    parse_jsonb(text)?.write(&mut out);
    Ok(out)
}

/// Reads a jsonb.
pub fn parse_jsonb(text: &str) -> Result<Json, ValueError> {
    let mut reader = Reader::new(text, true);
    let value = reader.value(0)?;
    reader.expect_end()?;
    Ok(value)
}

/// Reads a `json`: keys in the order of the text, also twice, numbers as written.
pub fn parse_json(text: &str) -> Result<Json, ValueError> {
    let mut reader = Reader::new(text, true);
    reader.keep_text = true;
    let value = reader.value(0)?;
    reader.expect_end()?;
    Ok(value)
}

/// Reads JSON from the front of a text.
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Strings are wanted, so their escapes must mean something.
    unescape: bool,
    /// Keep numbers and keys as they are written.
    keep_text: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str, unescape: bool) -> Self {
        Self { text, at: 0, unescape, keep_text: false }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }

    /// The first byte of the next token.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.text.as_bytes().get(self.at).copied()
    }

    pub(crate) fn expect_end(&mut self) -> Result<(), ValueError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.unexpected("Expected end of input")),
        }
    }

    /// `Expected …, but found "token".`, or that the token is none.
    fn unexpected(&mut self, expected: &str) -> ValueError {
        let start = self.at;
        match self.token() {
            Err(error) => error,
            Ok(()) if start >= self.text.len() => ended(),
            Ok(()) => invalid(format!("{expected}, but found \"{}\".", &self.text[start..self.at])),
        }
    }

    /// Steps over one token, whatever it is.
    fn token(&mut self) -> Result<(), ValueError> {
        match self.peek() {
            None => Ok(()),
            Some(b'{' | b'}' | b'[' | b']' | b',' | b':') => {
                self.at += 1;
                Ok(())
            }
            Some(b'"') => self.skip_string(),
            Some(b'-' | b'0'..=b'9') => self.number().map(|_| ()),
            Some(_) => self.word().map(|_| ()),
        }
    }

    /// `true`, `false` or `null`.
    fn word(&mut self) -> Result<&'a str, ValueError> {
        let start = self.at;
        let len = self.text[start..].bytes().take_while(|b| is_word_byte(*b)).count();
        if len == 0 {
            let c = self.text[start..].chars().next().map_or(0, char::len_utf8);
            return Err(invalid(format!("Token \"{}\" is invalid.", &self.text[start..start + c])));
        }
        self.at += len;
        let word = &self.text[start..self.at];
        match word {
            "true" | "false" | "null" => Ok(word),
            _ => Err(invalid(format!("Token \"{word}\" is invalid."))),
        }
    }

    fn number(&mut self) -> Result<&'a str, ValueError> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let digits = |from: usize| bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut at = start + usize::from(bytes[start] == b'-');
        let mut valid = true;
        match bytes.get(at) {
            Some(b'0') => at += 1,
            Some(b'1'..=b'9') => at += digits(at),
            _ => valid = false,
        }
        if valid && bytes.get(at) == Some(&b'.') {
            let count = digits(at + 1);
            valid = count > 0;
            at += 1 + count;
        }
        if valid && matches!(bytes.get(at), Some(b'e' | b'E')) {
            at += 1;
            if matches!(bytes.get(at), Some(b'+' | b'-')) {
                at += 1;
            }
            let count = digits(at);
            valid = count > 0;
            at += count;
        }
        // Letters that follow belong to the same, wrong, token.
        let trailing = bytes[at.min(bytes.len())..].iter().take_while(|b| is_word_byte(**b)).count();
        self.at = (at + trailing).min(bytes.len());
        let token = &self.text[start..self.at];
        if valid && trailing == 0 { Ok(token) } else { Err(invalid(format!("Token \"{token}\" is invalid."))) }
    }

    /// Steps over a string, checking its escapes.
    fn skip_string(&mut self) -> Result<(), ValueError> {
        let mut ignored = None;
        self.string_into(&mut ignored)
    }

    /// The string that begins here.
    pub(crate) fn string(&mut self) -> Result<String, ValueError> {
        let mut out = Some(String::new());
        self.string_into(&mut out)?;
        Ok(out.unwrap_or_default())
    }

    fn string_into(&mut self, out: &mut Option<String>) -> Result<(), ValueError> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        self.at += 1;
        loop {
            let plain = bytes[self.at..].iter().take_while(|b| !matches!(b, b'"' | b'\\' | 0..=0x1f)).count();
            if let Some(out) = out {
                out.push_str(&self.text[self.at..self.at + plain]);
            }
            self.at += plain;
            match bytes.get(self.at) {
                None => return Err(invalid(format!("Token \"{}\" is invalid.", &self.text[start..]))),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    let c = self.escape(start)?;
                    if let Some(out) = out {
                        out.push(c);
                    }
                }
                Some(byte) => return Err(invalid(format!("Character with value 0x{byte:02x} must be escaped."))),
            }
        }
    }

    fn escape(&mut self, start: usize) -> Result<char, ValueError> {
        let unfinished = || invalid(format!("Token \"{}\" is invalid.", &self.text[start..]));
        let letter = self.text[self.at + 1..].chars().next().ok_or_else(unfinished)?;
        let plain = match letter {
            '"' | '\\' | '/' => letter,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(start),
            other => return Err(invalid(format!("Escape sequence \"\\{other}\" is invalid."))),
        };
        self.at += 2;
        Ok(plain)
    }

    /// `\u` and four digits; answers a replacement for half a pair when nobody wants the string.
    fn unicode(&mut self, start: usize) -> Result<char, ValueError> {
        let first = self.four_digits(start)?;
        if !self.unescape {
            return Ok('?');
        }
        if first == 0 {
            return Err(ValueError::Other {
                sqlstate: SqlState::UNTRANSLATABLE_CHARACTER,
                message: "unsupported Unicode escape sequence".to_owned(),
                detail: Some("\\u0000 cannot be converted to text.".to_owned()),
                hint: None,
            });
        }
        let lonely = || invalid("Unicode low surrogate must follow a high surrogate.");
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or_else(lonely);
        }
        if !self.text[self.at..].starts_with("\\u") {
            return Err(lonely());
        }
        let second = self.four_digits(start)?;
        if (0xd800..0xdc00).contains(&second) {
            return Err(invalid("Unicode high surrogate must not follow a high surrogate."));
        }
        if !(0xdc00..0xe000).contains(&second) {
            return Err(lonely());
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or_else(lonely)
    }

    fn four_digits(&mut self, start: usize) -> Result<u32, ValueError> {
        let mut value = 0;
        for i in 0..4 {
            let Some(byte) = self.text.as_bytes().get(self.at + 2 + i) else {
                return Err(invalid(format!("Token \"{}\" is invalid.", &self.text[start..])));
            };
            let digit = char::from(*byte).to_digit(16);
            value = value * 16 + digit.ok_or_else(|| invalid("\"\\u\" must be followed by four hexadecimal digits."))?;
        }
        self.at += 6;
        Ok(value)
    }

    fn check_depth(depth: usize) -> Result<(), ValueError> {
        if depth < DEPTH_MAX {
            return Ok(());
        }
        Err(ValueError::Other {
            sqlstate: SqlState::STATEMENT_TOO_COMPLEX,
            message: "stack depth limit exceeded".to_owned(),
            detail: None,
            hint: Some(format!("JSON can be nested {DEPTH_MAX} levels deep.")),
        })
    }

    fn value(&mut self, depth: usize) -> Result<Json, ValueError> {
        Self::check_depth(depth)?;
        match self.peek() {
            None => Err(ended()),
            Some(b'{') => self.object(depth),
            Some(b'[') => {
                let mut elements = Vec::new();
                self.each_element(|reader| {
                    elements.push(reader.value(depth + 1)?);
                    Ok(())
                })?;
                Ok(Json::Array(elements))
            }
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => {
                let text = self.number()?;
                if self.keep_text {
                    return Ok(Json::Number(text.to_owned()));
                }
                crate::text_input::parse_numeric(text).map(|n| Json::Number(n.to_string()))
            }
            Some(b'}' | b']' | b',' | b':') => Err(self.unexpected("Expected JSON value")),
            Some(_) => Ok(match self.word()? {
                "true" => Json::Bool(true),
                "false" => Json::Bool(false),
                _ => Json::Null,
            }),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, ValueError> {
        let mut members = Vec::new();
        self.each_member(|reader, key| {
            members.push((key, reader.value(depth + 1)?));
            Ok(())
        })?;
        if !self.keep_text {
            canonicalize(&mut members);
        }
        Ok(Json::Object(members))
    }

    /// Steps over a value, checking it.
    pub(crate) fn skip_value(&mut self, depth: usize) -> Result<(), ValueError> {
        Self::check_depth(depth)?;
        match self.peek() {
            None => Err(ended()),
            Some(b'{') => self.each_member_raw(|reader, _| reader.skip_value(depth + 1)),
            Some(b'[') => self.each_element(|reader| reader.skip_value(depth + 1)),
            Some(b'}' | b']' | b',' | b':') => Err(self.unexpected("Expected JSON value")),
            Some(_) => self.token(),
        }
    }

    /// Reads an array; `element` must read one value.
    pub(crate) fn each_element(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), ValueError>) -> Result<(), ValueError> {
        self.at += 1;
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            element(self)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.unexpected("Expected \",\" or \"]\"")),
            }
        }
    }

    /// Reads an object; `member` gets the key and must read one value.
    pub(crate) fn each_member(&mut self, mut member: impl FnMut(&mut Self, String) -> Result<(), ValueError>) -> Result<(), ValueError> {
        self.each_member_raw(|reader, key_at| {
            let mut key = Reader::new(reader.text, true);
            key.at = key_at;
            member(reader, key.string()?)
        })
    }

    /// The same with the place of the key.
    fn each_member_raw(&mut self, mut member: impl FnMut(&mut Self, usize) -> Result<(), ValueError>) -> Result<(), ValueError> {
        self.at += 1;
        let mut first = true;
        loop {
            match self.peek() {
                Some(b'"') => {}
                Some(b'}') if first => {
                    self.at += 1;
                    return Ok(());
                }
                _ if first => return Err(self.unexpected("Expected string or \"}\"")),
                _ => return Err(self.unexpected("Expected string")),
            }
            first = false;
            let key_at = self.at;
            self.skip_string()?;
            if self.peek() != Some(b':') {
                return Err(self.unexpected("Expected \":\""));
            }
            self.at += 1;
            member(self, key_at)?;
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(self.unexpected("Expected \",\" or \"}\"")),
            }
        }
    }
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Sorts the members of an object and keeps the last of equal keys.
pub(crate) fn canonicalize(members: &mut Vec<(String, Json)>) {
    if members.windows(2).all(|pair| key_order(&pair[0].0, &pair[1].0).is_lt()) {
        return;
    }
    // Stable: of equal keys the last stays last.
    members.sort_by(|a, b| key_order(&a.0, &b.0));
    members.reverse();
    members.dedup_by(|later, earlier| later.0 == earlier.0);
    members.reverse();
}

/// Appends a string in quotes, with escapes where JSON needs them.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            8 => "\\b",
            12 => "\\f",
            0..=0x1f => "",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        if escaped.is_empty() {
            out.push_str(&format!("\\u{byte:04x}"));
        } else {
            out.push_str(escaped);
        }
        from = at + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

impl Json {
    /// Appends the canonical text.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(text) => out.push_str(text),
            Self::String(text) => write_string(text, out),
            Self::Array(elements) => {
                out.push('[');
                for (i, element) in elements.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    element.write(out);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (i, (key, value)) in members.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    write_string(key, out);
                    out.push_str(": ");
                    value.write(out);
                }
                out.push('}');
            }
        }
    }

    /// The canonical text as a string.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// A number as a numeric; `None` for anything else.
    pub fn as_numeric(&self) -> Option<Numeric> {
        match self {
            Self::Number(text) => text.parse().ok(),
            _ => None,
        }
    }
}
