//! The words and signs of a path.

use common::sqlstate::SqlState;

use crate::error::ValueError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// An operator or a bracket.
    Sign(&'static str),
    /// A bare word.
    Word(String),
    /// A string in quotes.
    Text(String),
    Number(String),
    /// `$name`
    Variable(String),
    End,
}

/// The signs, longer ones before their beginnings.
const SIGNS: &[&str] = &[
    "**", "&&", "||", "==", "!=", "<>", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", "{", "}", ".", ",", "*", "+", "-", "/", "%", "?",
    "@", "=",
];

/// What ends a bare word.
const SPECIAL: &str = "?%$.[]{}()|&!=<>@#,*:-+/\"";

/// 42601 at a token.
pub(super) fn syntax_error(near: &str) -> ValueError {
    let message = if near.is_empty() {
        "syntax error at end of jsonpath input".to_owned()
    } else {
        format!("syntax error at or near \"{near}\" of jsonpath input")
    };
    ValueError::new(SqlState::SYNTAX_ERROR, message)
}

/// All tokens, with the text of each for error messages; the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, String)>, ValueError> {
    let mut out = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
        if let Some(comment) = rest.strip_prefix("/*") {
            let end = comment.find("*/").ok_or_else(|| ValueError::new(SqlState::SYNTAX_ERROR, "unexpected end of comment"))?;
            rest = &comment[end + 2..];
            continue;
        }
        let Some(first) = rest.chars().next() else { break };
        let (token, length) = token(rest, first)?;
        out.push((token, rest[..length].to_owned()));
        rest = &rest[length..];
    }
    out.push((Token::End, String::new()));
    Ok(out)
}

fn token(rest: &str, first: char) -> Result<(Token, usize), ValueError> {
    if first == '"' {
        return string(rest).map(|(text, length)| (Token::Text(text), length));
    }
    if first == '$' {
        return Ok(match rest[1..].chars().next() {
            Some('"') => {
                let (name, length) = string(&rest[1..])?;
                (Token::Variable(name), length + 1)
            }
            Some(c) if is_word(c) => {
                let (name, length) = word(&rest[1..])?;
                (Token::Variable(name), length + 1)
            }
            _ => (Token::Sign("$"), 1),
        });
    }
    let number = number_length(rest);
    if number > 0 {
        let after = rest[number..].chars().next();
        if after.is_some_and(|c| is_word(c) || c == '_') {
            return Err(ValueError::new(
                SqlState::SYNTAX_ERROR,
                format!(
                    "trailing junk after numeric literal at or near \"{}\" of jsonpath input",
                    &rest[..number + after.map_or(0, char::len_utf8)]
                ),
            ));
        }
        return Ok((Token::Number(rest[..number].to_owned()), number));
    }
    if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
        return Ok((Token::Sign(sign), sign.len()));
    }
    if is_word(first) {
        return word(rest).map(|(text, length)| (Token::Word(text), length));
    }
    Err(syntax_error(&first.to_string()))
}

fn is_word(c: char) -> bool {
    !c.is_ascii_whitespace() && !SPECIAL.contains(c)
}

/// Digits with a point and an exponent: `1`, `1.5`, `.5`, `1e3`.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(0);
    let mut end = whole;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits(end + 1);
        if fraction > 0 || whole > 0 {
            end += 1 + fraction;
        }
    }
    if end == 0 {
        return 0;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    end
}

fn word(text: &str) -> Result<(String, usize), ValueError> {
    let mut out = String::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next().filter(|c| is_word(*c)) {
        if c == '\\' {
            at += escape(&text[at..], &mut out)?;
        } else {
            out.push(c);
            at += c.len_utf8();
        }
    }
    Ok((out, at))
}

fn string(text: &str) -> Result<(String, usize), ValueError> {
    let mut out = String::new();
    let mut at = 1;
    while let Some(c) = text[at..].chars().next() {
        match c {
            '"' => return Ok((out, at + 1)),
            '\\' => at += escape(&text[at..], &mut out)?,
            c => {
                out.push(c);
                at += c.len_utf8();
            }
        }
    }
    Err(ValueError::new(SqlState::SYNTAX_ERROR, "unexpected end of quoted string at end of jsonpath input"))
}

/// Appends what an escape stands for; answers its length.
fn escape(text: &str, out: &mut String) -> Result<usize, ValueError> {
    let invalid = || ValueError::new(SqlState::SYNTAX_ERROR, format!("invalid escape sequence at or near \"{text}\" of jsonpath input"));
    let c = text[1..].chars().next().ok_or_else(invalid)?;
    let (code, length) = match c {
        'x' => (text.get(2..4), 4),
        'u' if text[2..].starts_with('{') => {
            let end = text.find('}').ok_or_else(invalid)?;
            (text.get(3..end), end + 1)
        }
        'u' => (text.get(2..6), 6),
        other => {
            out.push(match other {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                other => other,
            });
            return Ok(1 + other.len_utf8());
        }
    };
    let number = |digits: &str| u32::from_str_radix(digits, 16).ok();
    let code = code.and_then(number).ok_or_else(invalid)?;
    if (0xd800..0xdc00).contains(&code) {
        // The first half of a pair.
        let low = text.get(length..length + 6).filter(|low| low.starts_with("\\u")).and_then(|low| number(&low[2..]));
        let low = low.filter(|low| (0xdc00..0xe000).contains(low)).ok_or_else(invalid)?;
        out.push(char::from_u32(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)).ok_or_else(invalid)?);
        return Ok(length + 6);
    }
    out.push(char::from_u32(code).filter(|c| *c != '\0').ok_or_else(invalid)?);
    Ok(length)
}
