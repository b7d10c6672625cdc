//! Names as SQL text: quoted where SQL needs it, and read back.

use common::error::Report;
use common::sqlstate::SqlState;
pub(super) use types::quoting::quote_ident as quoted;

/// `schema.name`, each quoted as it must be.
pub(super) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}

/// The parts of a dotted name: quoted ones as they are, others in lower case.
pub(crate) fn split(text: &str) -> Result<Vec<String>, Report> {
    let invalid = || Report::new(SqlState::INVALID_NAME, "invalid name syntax");
    let mut parts = Vec::new();
    let mut rest = text.trim();
    loop {
        let mut part = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let (before, after) = quoted.split_once('"').ok_or_else(invalid)?;
                part.push_str(before);
                match after.strip_prefix('"') {
                    Some(more) => {
                        part.push('"');
                        quoted = more;
                    }
                    None => break rest = after,
                }
            }
        } else {
            let end = rest.find(['.', ' ', '"']).unwrap_or(rest.len());
            part = rest[..end].to_ascii_lowercase();
            rest = &rest[end..];
        }
        if part.is_empty() {
            return Err(invalid());
        }
        parts.push(part);
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(parts);
        }
        rest = rest.strip_prefix('.').ok_or_else(invalid)?.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_split() {
        assert_eq!(quoted("a_1"), "a_1");
        assert_eq!(quoted("select"), "\"select\"");
        assert_eq!(quoted("A\"b"), "\"A\"\"b\"");
        assert_eq!(quoted("1a"), "\"1a\"");
        assert_eq!(split("Public . \"A\"\"b\"").unwrap(), ["public", "A\"b"]);
        assert!(split("a.").is_err() && split("\"a").is_err() && split("").is_err());
    }
}
