//! Functions over text: positions and lengths count characters, from 1.

use common::sqlstate::SqlState;

use crate::error::ValueError;

/// The longest value that PostgreSQL makes, in bytes with its header.
const BYTES_MAX: usize = 0x3fff_ffff;
/// Bytes of the longest character, by which PostgreSQL reckons.
const CHARACTER_BYTES_MAX: usize = 4;

fn too_long() -> ValueError {
    ValueError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

/// 22011: a negative length.
pub(crate) fn negative_length() -> ValueError {
    ValueError::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed")
}

/// Characters of a text.
pub fn length(text: &str) -> i32 {
    let count = if text.is_ascii() { text.len() } else { text.chars().count() };
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// The byte at which the character with that index (from 0) begins; the end of the text for later ones.
fn byte_of(text: &str, index: usize) -> usize {
    if text.is_ascii() {
        return index.min(text.len());
    }
    text.char_indices().nth(index).map_or(text.len(), |(at, _)| at)
}

/// The half-open range of a substring, from 0, cut to what is at or behind the first character; `None` for the end is the text's end.
pub(crate) fn substring_range(start: i32, length: Option<i32>) -> Result<(usize, Option<usize>), ValueError> {
    let from = usize::try_from(start.max(1)).unwrap_or(1) - 1;
    let Some(length) = length else { return Ok((from, None)) };
    let Some(end) = start.checked_add(length) else {
        return if length < 0 { Err(negative_length()) } else { Ok((from, None)) };
    };
    if length < 0 {
        return Err(negative_length());
    }
    let to = usize::try_from(end.max(1)).unwrap_or(1) - 1;
    Ok((from, Some(to.max(from))))
}

/// `substr(text, start, length)`.
pub fn substring(text: &str, start: i32, length: Option<i32>) -> Result<&str, ValueError> {
    let (from, to) = substring_range(start, length)?;
    let begin = byte_of(text, from);
    let rest = &text[begin..];
    Ok(match to {
        Some(to) => &rest[..byte_of(rest, to - from)],
        None => rest,
    })
}

/// The first characters; all but the last ones for a negative count.
pub fn left(text: &str, count: i32) -> &str {
    &text[..byte_of(text, kept(text, count))]
}

/// The last characters; all but the first ones for a negative count.
pub fn right(text: &str, count: i32) -> &str {
    let all = usize::try_from(length(text)).unwrap_or(0);
    &text[byte_of(text, all - kept(text, count).min(all))..]
}

/// How many characters `left` and `right` keep.
fn kept(text: &str, count: i32) -> usize {
    let wanted = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count >= 0 { wanted } else { usize::try_from(length(text)).unwrap_or(0).saturating_sub(wanted) }
}

/// Replaces characters of a text by another; `length` is the other's where it is not given.
pub fn overlay(text: &str, by: &str, start: i32, length_replaced: Option<i32>) -> Result<String, ValueError> {
    let replaced = length_replaced.unwrap_or_else(|| length(by));
    if start <= 0 {
        return Err(negative_length());
    }
    let after = start.checked_add(replaced).ok_or_else(|| ValueError::out_of_range("integer"))?;
    let head = substring(text, 1, Some(start - 1))?;
    Ok([head, by, substring(text, after, None)?].concat())
}

/// Where a text is first found, from 1; 0 if nowhere.
pub fn position(text: &str, wanted: &str) -> i32 {
    text.find(wanted).map_or(0, |at| length(&text[..at]) + 1)
}

fn padding(text: &str, wanted: i32, fill: &str) -> Result<(usize, String), ValueError> {
    let wanted = usize::try_from(wanted.max(0)).unwrap_or(0);
    let has = usize::try_from(length(text)).unwrap_or(0);
    let keep = has.min(wanted);
    // Without anything to fill with, the text can only get shorter.
    let missing = if fill.is_empty() { 0 } else { wanted - keep };
    if (keep + missing).saturating_mul(CHARACTER_BYTES_MAX) > BYTES_MAX - CHARACTER_BYTES_MAX {
        return Err(too_long());
    }
    Ok((byte_of(text, keep), fill.chars().cycle().take(missing).collect()))
}

/// Fills on the left, or cuts on the right, to a length.
pub fn lpad(text: &str, wanted: i32, fill: &str) -> Result<String, ValueError> {
    let (keep, padding) = padding(text, wanted, fill)?;
    Ok(padding + &text[..keep])
}

/// Fills or cuts on the right, to a length.
pub fn rpad(text: &str, wanted: i32, fill: &str) -> Result<String, ValueError> {
    let (keep, padding) = padding(text, wanted, fill)?;
    Ok([&text[..keep], padding.as_str()].concat())
}

/// Without any of the characters at the chosen ends.
pub fn trim<'a>(text: &'a str, characters: &str, start: bool, end: bool) -> &'a str {
    let listed = |c: char| characters.contains(c);
    let text = if start { text.trim_start_matches(listed) } else { text };
    if end { text.trim_end_matches(listed) } else { text }
}

/// Every occurrence of a text replaced; an empty one occurs nowhere.
pub fn replace(text: &str, from: &str, to: &str) -> String {
    if from.is_empty() { text.to_owned() } else { text.replace(from, to) }
}

/// Characters of `from` replaced by those at the same places of `to`; those without one vanish.
pub fn translate(text: &str, from: &str, to: &str) -> String {
    let to: Vec<char> = to.chars().collect();
    let changed = |c: char| match from.chars().position(|f| f == c) {
        Some(at) => to.get(at).copied(),
        None => Some(c),
    };
    text.chars().filter_map(changed).collect()
}

/// The text again and again.
pub fn repeat(text: &str, count: i32) -> Result<String, ValueError> {
    let count = usize::try_from(count).unwrap_or(0);
    if text.len().saturating_mul(count) > BYTES_MAX - CHARACTER_BYTES_MAX {
        return Err(too_long());
    }
    Ok(text.repeat(count))
}

/// The n-th field, from 1; negative ones count from the end.
pub fn split_part<'a>(text: &'a str, separator: &str, field: i32) -> Result<&'a str, ValueError> {
    let index = usize::try_from(field.unsigned_abs()).unwrap_or(usize::MAX);
    let Some(index) = index.checked_sub(1) else {
        return Err(ValueError::new(SqlState::INVALID_PARAMETER_VALUE, "field position must not be zero"));
    };
    if separator.is_empty() {
        return Ok(if index == 0 { text } else { "" });
    }
    // Separators are found from the left even where fields are counted from the right.
    let mut fields = text.split(separator);
    if field > 0 {
        return Ok(fields.nth(index).unwrap_or(""));
    }
    let count = text.split(separator).count();
    Ok(count.checked_sub(index + 1).and_then(|at| fields.nth(at)).unwrap_or(""))
}

/// Each word's first letter large, the others small; a word is letters and digits.
pub fn initcap(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        out.push(if inside { lower(c) } else { upper(c) });
        inside = c.is_alphanumeric();
    }
    out
}

/// The large letter of a letter, where it is a single one.
fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

/// The small letter of a letter; combining marks that would belong to it are left out.
fn lower(c: char) -> char {
    c.to_lowercase().next().unwrap_or(c)
}

/// Large letters, one for one.
pub fn to_upper(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_uppercase() } else { text.chars().map(upper).collect() }
}

/// Small letters, one for one.
pub fn to_lower(text: &str) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.chars().map(lower).collect() }
}

/// The character with a code.
pub fn chr(code: i32) -> Result<String, ValueError> {
    let limit = |message: String| ValueError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message);
    let negative = || ValueError::new(SqlState::INVALID_PARAMETER_VALUE, "character number must be positive");
    let code = u32::try_from(code).map_err(|_| negative())?;
    if code == 0 {
        return Err(limit("null character not permitted".into()));
    }
    if code > u32::from(char::MAX) {
        return Err(limit(format!("requested character too large for encoding: {code}")));
    }
    let c = char::from_u32(code).ok_or_else(|| limit(format!("requested character not valid for encoding: {code}")))?;
    Ok(c.to_string())
}

/// The code of the first character; 0 for none.
pub fn ascii(text: &str) -> i32 {
    text.chars().next().and_then(|c| i32::try_from(u32::from(c)).ok()).unwrap_or(0)
}

/// The fields between separators. Without a separator, each character; an empty one separates nothing; an empty text has no fields.
pub fn fields<'a>(text: &'a str, separator: Option<&str>) -> Vec<&'a str> {
    match separator {
        _ if text.is_empty() => Vec::new(),
        None => text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect(),
        Some("") => vec![text],
        Some(separator) => text.split(separator).collect(),
    }
}

fn bad_escape() -> ValueError {
    ValueError::Other {
        sqlstate: SqlState::SYNTAX_ERROR,
        message: "invalid Unicode escape".into(),
        detail: None,
        hint: Some("Unicode escapes must be \\XXXX, \\+XXXXXX, \\uXXXX, or \\UXXXXXXXX.".into()),
    }
}

fn bad_pair() -> ValueError {
    ValueError::new(SqlState::SYNTAX_ERROR, "invalid Unicode surrogate pair")
}

/// The code of an escape behind its backslash, and what follows it.
fn escaped_code(rest: &str) -> Result<(u32, &str), ValueError> {
    let (digits, rest) = match rest.as_bytes().first() {
        Some(b'u') => (4, &rest[1..]),
        Some(b'U') => (8, &rest[1..]),
        Some(b'+') => (6, &rest[1..]),
        _ => (4, rest),
    };
    let code = rest.get(..digits).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(bad_escape)?;
    Ok((u32::from_str_radix(code, 16).map_err(|_| bad_escape())?, &rest[digits..]))
}

/// Replaces Unicode escapes; two backslashes are one.
pub fn unistr(text: &str) -> Result<String, ValueError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut high: Option<u32> = None;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        if c != '\\' || after.starts_with('\\') {
            if high.is_some() {
                return Err(bad_pair());
            }
            out.push(c);
            rest = if c == '\\' { &after[1..] } else { after };
            continue;
        }
        let (code, after) = escaped_code(after)?;
        let code = match (high.take(), code) {
            (None, 0xd800..=0xdbff) => {
                high = Some(code);
                rest = after;
                continue;
            }
            (Some(high), 0xdc00..=0xdfff) => 0x1_0000 + ((high - 0xd800) << 10) + (code - 0xdc00),
            (Some(_), _) | (None, 0xdc00..=0xdfff) => return Err(bad_pair()),
            (None, code) => code,
        };
        let invalid = || ValueError::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid Unicode code point: {code:04X}"));
        out.push(char::from_u32(code).filter(|c| *c != '\0').ok_or_else(invalid)?);
        rest = after;
    }
    if high.is_some() { Err(bad_pair()) } else { Ok(out) }
}
