//! LIKE, ILIKE, and SIMILAR TO's patterns as regular expressions.

use common::sqlstate::SqlState;

use crate::error::ValueError;
use crate::strings::to_lower;

/// What patterns and texts of LIKE consist of: characters or bytes.
trait Symbol: Copy + PartialEq {
    const ANY: Self;
    const ONE: Self;
    const ESCAPE: Self;
}

impl Symbol for char {
    const ANY: Self = '%';
    const ONE: Self = '_';
    const ESCAPE: Self = '\\';
}

impl Symbol for u8 {
    const ANY: Self = b'%';
    const ONE: Self = b'_';
    const ESCAPE: Self = b'\\';
}

/// Whether a text is like a pattern whose escape character is the backslash.
pub fn like(text: &str, pattern: &str) -> Result<bool, ValueError> {
    if text.is_ascii() && pattern.is_ascii() {
        return like_bytes(text.as_bytes(), pattern.as_bytes());
    }
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    matches(&text, &pattern)
}

/// As [`like`], whatever the letters' case.
pub fn ilike(text: &str, pattern: &str) -> Result<bool, ValueError> {
    like(&to_lower(text), &to_lower(pattern))
}

/// As [`like`], for bytes.
pub fn like_bytes(text: &[u8], pattern: &[u8]) -> Result<bool, ValueError> {
    matches(text, pattern)
}

/// Goes through both; on a difference the last `%` takes one symbol more. Only the last one ever needs to.
fn matches<T: Symbol>(text: &[T], pattern: &[T]) -> Result<bool, ValueError> {
    let (mut t, mut p) = (0, 0);
    let mut last_any: Option<(usize, usize)> = None;
    while t < text.len() {
        let step = match pattern.get(p) {
            Some(symbol) if *symbol == T::ANY => {
                last_any = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(symbol) if *symbol == T::ONE => 1,
            Some(symbol) if *symbol == T::ESCAPE => match pattern.get(p + 1) {
                None => {
                    let message = "LIKE pattern must not end with escape character";
                    return Err(ValueError::new(SqlState::INVALID_ESCAPE_SEQUENCE, message));
                }
                Some(escaped) if *escaped == text[t] => 2,
                Some(_) => 0,
            },
            Some(symbol) if *symbol == text[t] => 1,
            _ => 0,
        };
        match (step, last_any) {
            (0, None) => return Ok(false),
            (0, Some((after_any, taken))) => {
                last_any = Some((after_any, taken + 1));
                (p, t) = (after_any, taken + 1);
            }
            (step, _) => {
                p += step;
                t += 1;
            }
        }
    }
    Ok(pattern[p..].iter().all(|symbol| *symbol == T::ANY))
}

fn bad_escape_string() -> ValueError {
    ValueError::Other {
        sqlstate: SqlState::INVALID_ESCAPE_SEQUENCE,
        message: "invalid escape string".into(),
        detail: None,
        hint: Some("Escape string must be empty or one character.".into()),
    }
}

/// The only character of an escape string; `None` for an empty one.
fn escape_character(escape: &str) -> Result<Option<char>, ValueError> {
    let mut chars = escape.chars();
    let character = chars.next();
    if chars.next().is_some() { Err(bad_escape_string()) } else { Ok(character) }
}

/// A pattern with another escape character as one with backslashes.
pub fn like_escape(pattern: &str, escape: &str) -> Result<String, ValueError> {
    let escape = escape_character(escape)?;
    if escape == Some('\\') {
        return Ok(pattern.to_owned());
    }
    let mut out = String::with_capacity(pattern.len() + 4);
    let mut escaped = false;
    for c in pattern.chars() {
        if Some(c) == escape && !escaped {
            out.push('\\');
            escaped = true;
            continue;
        }
        if c == '\\' && !escaped {
            out.push('\\');
        }
        out.push(c);
        escaped = false;
    }
    Ok(out)
}

/// As [`like_escape`], for bytes.
pub fn like_escape_bytes(pattern: &[u8], escape: &[u8]) -> Result<Vec<u8>, ValueError> {
    let escape = match escape {
        [] => None,
        [only] => Some(*only),
        _ => return Err(bad_escape_string()),
    };
    if escape == Some(b'\\') {
        return Ok(pattern.to_vec());
    }
    let mut out = Vec::with_capacity(pattern.len() + 4);
    let mut escaped = false;
    for byte in pattern {
        if Some(*byte) == escape && !escaped {
            out.push(b'\\');
            escaped = true;
            continue;
        }
        if *byte == b'\\' && !escaped {
            out.push(b'\\');
        }
        out.push(*byte);
        escaped = false;
    }
    Ok(out)
}

/// The regular expression of a SIMILAR TO pattern, as PostgreSQL writes it.
pub fn similar_to_regexp(pattern: &str, escape: &str) -> Result<String, ValueError> {
    let escape = escape_character(escape)?;
    let mut out = String::from("^(?:");
    let (mut escaped, mut separators) = (false, 0);
    // How deep in brackets, and how far: a closing bracket right behind the opening one (1) or its caret (2) is a plain character.
    let (mut brackets, mut inside) = (0_u32, 0_u8);
    for c in pattern.chars() {
        if escaped {
            escaped = false;
            if c == '"' && brackets == 0 {
                separators += 1;
                // What stands before the first is not greedy, what stands between is captured.
                out.push_str(match separators {
                    1 => "){1,1}?(",
                    2 => "){1,1}(?:",
                    _ => {
                        let message = "SQL regular expression may not contain more than two escape-double-quote separators";
                        return Err(ValueError::new(SqlState::parse("2200C"), message));
                    }
                });
            } else {
                out.extend(['\\', c]);
                inside = 3;
            }
        } else if Some(c) == escape {
            escaped = true;
        } else if brackets > 0 {
            if c == '\\' {
                out.push('\\');
            }
            out.push(c);
            match c {
                ']' if inside > 2 => brackets -= 1,
                '[' => brackets += 1,
                _ => {}
            }
            inside = if c == '^' { inside.saturating_add(1) } else { 3 };
        } else {
            match c {
                '[' => {
                    out.push('[');
                    (brackets, inside) = (1, 1);
                }
                '%' => out.push_str(".*"),
                '_' => out.push('.'),
                '(' => out.push_str("(?:"),
                '\\' | '.' | '^' | '$' => out.extend(['\\', c]),
                other => out.push(other),
            }
        }
    }
    out.push_str(")$");
    Ok(out)
}
