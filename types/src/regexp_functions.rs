//! What the functions `regexp_…` do with matches. Positions count characters, from 1.

use common::sqlstate::SqlState;

use crate::error::ValueError;
use crate::regexp::{Match, Regexp};
use crate::strings;

/// No function collects more matches.
const MATCHES_MAX: usize = 1 << 24;

/// The byte behind the character at a byte; behind the text if there is none.
fn after_character(text: &str, at: usize) -> usize {
    at + text[at..].chars().next().map_or(1, char::len_utf8)
}

/// Calls `each` for one match after the other, from a byte on, until it answers false.
fn for_each(regexp: &Regexp, text: &str, start: usize, mut each: impl FnMut(Match) -> Result<bool, ValueError>) -> Result<(), ValueError> {
    let mut from = start;
    while from <= text.len() {
        let Some(found) = regexp.find_at(text, from)? else { break };
        // An empty match must not be found again.
        from = if found.whole.is_empty() { after_character(text, found.whole.end) } else { found.whole.end };
        if !each(found)? {
            break;
        }
    }
    Ok(())
}

/// The byte of the character position where a search begins; `None` behind the text's end.
fn start_byte(text: &str, start: i32) -> Result<Option<usize>, ValueError> {
    let Some(index) = usize::try_from(start).ok().and_then(|s| s.checked_sub(1)) else { return Err(bad_parameter("start", start)) };
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
    Ok(ends.into_iter().nth(index))
}

/// 22023: a parameter with a value that it cannot have.
pub fn bad_parameter(name: &str, value: i32) -> ValueError {
    ValueError::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{name}\": {value}"))
}

/// The groups of a match, or the whole match where there are no groups.
pub fn matched<'a>(text: &'a str, found: &Match) -> Vec<Option<&'a str>> {
    if found.groups.is_empty() {
        return vec![Some(&text[found.whole.clone()])];
    }
    found.groups.iter().map(|group| group.clone().map(|range| &text[range])).collect()
}

/// All matches, or the first.
pub fn matches(regexp: &Regexp, text: &str, all: bool) -> Result<Vec<Match>, ValueError> {
    let mut out = Vec::new();
    for_each(regexp, text, 0, |found| {
        if out.len() >= MATCHES_MAX {
            return Err(ValueError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "too many regular expression matches"));
        }
        out.push(found);
        Ok(all)
    })?;
    Ok(out)
}

/// How often the expression matches from a position on.
pub fn count(regexp: &Regexp, text: &str, start: i32) -> Result<i32, ValueError> {
    let mut count = 0;
    if let Some(from) = start_byte(text, start)? {
        for_each(regexp, text, from, |_| {
            count += 1;
            Ok(true)
        })?;
    }
    Ok(count)
}

/// The n-th match from a position on.
fn nth(regexp: &Regexp, text: &str, start: i32, n: i32) -> Result<Option<Match>, ValueError> {
    let from = start_byte(text, start)?;
    if n <= 0 {
        return Err(bad_parameter("n", n));
    }
    let (mut number, mut wanted) = (0, None);
    if let Some(from) = from {
        for_each(regexp, text, from, |found| {
            number += 1;
            let reached = number == n;
            if reached {
                wanted = Some(found);
            }
            Ok(!reached)
        })?;
    }
    Ok(wanted)
}

/// The n-th match or one of its groups; without groups, group 1 is the whole match.
fn nth_part(regexp: &Regexp, text: &str, start: i32, n: i32, group: i32) -> Result<Option<std::ops::Range<usize>>, ValueError> {
    let found = nth(regexp, text, start, n)?;
    let index = usize::try_from(group).map_err(|_| bad_parameter("subexpr", group))?;
    let Some(found) = found else { return Ok(None) };
    Ok(match index {
        0 => Some(found.whole),
        1 if found.groups.is_empty() => Some(found.whole),
        index => found.groups.get(index - 1).cloned().flatten(),
    })
}

/// `regexp_substr`.
pub fn substr<'a>(regexp: &Regexp, text: &'a str, start: i32, n: i32, group: i32) -> Result<Option<&'a str>, ValueError> {
    Ok(nth_part(regexp, text, start, n, group)?.map(|range| &text[range]))
}

/// `regexp_instr`: where the match begins, or where what follows it begins; 0 for none.
pub fn instr(regexp: &Regexp, text: &str, start: i32, n: i32, behind: bool, group: i32) -> Result<i32, ValueError> {
    let range = nth_part(regexp, text, start, n, group)?;
    Ok(range.map_or(0, |range| strings::length(&text[..if behind { range.end } else { range.start }]) + 1))
}

/// The text between matches. Empty matches at the ends of the text and right behind a match separate nothing.
pub fn split<'a>(regexp: &Regexp, text: &'a str) -> Result<Vec<&'a str>, ValueError> {
    let mut out = Vec::new();
    let (mut from, mut previous_end) = (0, 0);
    for_each(regexp, text, 0, |found| {
        if found.whole.start < text.len() && found.whole.end > previous_end {
            out.push(&text[from..found.whole.start]);
            from = found.whole.end;
        }
        previous_end = found.whole.end;
        Ok(true)
    })?;
    out.push(&text[from..]);
    Ok(out)
}

/// `substring(text from pattern)`: the first group, or the whole match where there are no groups.
pub fn first_part<'a>(regexp: &Regexp, text: &'a str) -> Result<Option<&'a str>, ValueError> {
    let Some(found) = regexp.find_at(text, 0)? else { return Ok(None) };
    Ok(matched(text, &found).first().copied().flatten())
}

/// `regexp_replace`: the n-th match from a position on replaced; all for `n` = 0.
pub fn replace(regexp: &Regexp, text: &str, replacement: &str, start: i32, n: i32) -> Result<String, ValueError> {
    let from = start_byte(text, start)?;
    if n < 0 {
        return Err(bad_parameter("n", n));
    }
    let Some(from) = from else { return Ok(text.to_owned()) };
    let mut out = String::with_capacity(text.len());
    let (mut copied, mut number) = (0, 0);
    for_each(regexp, text, from, |found| {
        number += 1;
        if n > 0 && number != n {
            return Ok(true);
        }
        out.push_str(&text[copied..found.whole.start]);
        append_replacement(&mut out, text, replacement, &found);
        copied = found.whole.end;
        Ok(n == 0)
    })?;
    out.push_str(&text[copied..]);
    Ok(out)
}

/// The replacement with `\1` … `\9`, `\&` and `\\` filled in.
fn append_replacement(out: &mut String, text: &str, replacement: &str, found: &Match) {
    let mut rest = replacement;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.chars().next() {
            Some(digit @ '1'..='9') => {
                let index = usize::try_from(digit.to_digit(10).unwrap_or(1)).unwrap_or(1) - 1;
                if let Some(Some(range)) = found.groups.get(index) {
                    out.push_str(&text[range.clone()]);
                }
                rest = &rest[1..];
            }
            Some('&') => {
                out.push_str(&text[found.whole.clone()]);
                rest = &rest[1..];
            }
            Some('\\') => {
                out.push('\\');
                rest = &rest[1..];
            }
            _ => out.push('\\'),
        }
    }
    out.push_str(rest);
}
