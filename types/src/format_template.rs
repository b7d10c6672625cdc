//! Templates of `to_char`, `to_date`, `to_timestamp` and `to_number`: key words, with prefixes and suffixes, among other characters.
//!
//! Templates are parsed once for a thread ([`TemplateCache`]); a statement uses the same one for all of its rows.

use std::rc::Rc;

/// A key word of a template.
#[derive(Debug)]
pub(crate) struct Keyword<K: 'static> {
    pub(crate) name: &'static str,
    pub(crate) key: K,
}

/// What stands before or after a key word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Modifiers {
    /// FM: no padding.
    pub(crate) fill: bool,
    /// TM: in the language of the session, which is English here, and unpadded.
    pub(crate) translate: bool,
    /// TH and th: an ordinal's ending.
    pub(crate) ordinal: Option<Ordinal>,
}

/// How an ordinal's ending is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ordinal {
    Upper,
    Lower,
}

/// A part of a template.
#[derive(Debug)]
pub(crate) enum Node<K: 'static> {
    Key(&'static Keyword<K>, Modifiers),
    /// A punctuation character, in templates of dates.
    Separator(char),
    Space(char),
    /// Any other character, and all that are quoted.
    Char(char),
}

/// Whether the character may separate fields.
pub(crate) fn is_separator(c: char) -> bool {
    c.is_ascii_graphic() && !c.is_ascii_alphanumeric()
}

/// C's isspace.
pub(crate) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

/// Which templates have prefixes, suffixes and separators.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Dates,
    Numbers,
}

/// Splits a template. The first key word in the list that fits is taken.
pub(crate) fn parse<K>(template: &str, keywords: &'static [Keyword<K>], kind: Kind) -> Vec<Node<K>> {
    let mut nodes = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let mut modifiers = Modifiers::default();
        if kind == Kind::Dates {
            // A prefix without a key word is dropped.
            rest = prefix(rest, &mut modifiers);
        }
        if let Some(keyword) = keywords.iter().find(|k| rest.starts_with(k.name)) {
            rest = &rest[keyword.name.len()..];
            if kind == Kind::Dates {
                rest = suffix(rest, &mut modifiers);
            }
            nodes.push(Node::Key(keyword, modifiers));
        } else if let Some(quoted) = rest.strip_prefix('"') {
            rest = literal(quoted, &mut nodes);
        } else {
            // A backslash only means something before a quote.
            let text = if rest.starts_with("\\\"") { &rest[1..] } else { rest };
            let Some(c) = text.chars().next() else { break };
            rest = &text[c.len_utf8()..];
            nodes.push(match c {
                c if kind == Kind::Dates && is_separator(c) => Node::Separator(c),
                c if is_space(c) => Node::Space(c),
                c => Node::Char(c),
            });
        }
    }
    nodes
}

fn prefix<'a>(text: &'a str, modifiers: &mut Modifiers) -> &'a str {
    match text.get(..2) {
        Some("FM" | "fm") => modifiers.fill = true,
        Some("TM" | "tm") => modifiers.translate = true,
        _ => return text,
    }
    &text[2..]
}

fn suffix<'a>(text: &'a str, modifiers: &mut Modifiers) -> &'a str {
    match text.get(..2) {
        Some("TH") => modifiers.ordinal = Some(Ordinal::Upper),
        Some("th") => modifiers.ordinal = Some(Ordinal::Lower),
        // SP, spelled out, is known and does nothing.
        Some("SP") => {}
        _ => return text,
    }
    &text[2..]
}

/// Characters up to the closing quote; a backslash quotes the next one.
fn literal<'a, K>(quoted: &'a str, nodes: &mut Vec<Node<K>>) -> &'a str {
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => nodes.push(Node::Char(chars.next().unwrap_or('\\'))),
            c => nodes.push(Node::Char(c)),
        }
    }
    chars.as_str()
}

/// The ending of a number: `st`, `nd`, `rd`, `th`.
pub(crate) fn ordinal_ending(digits: &str, form: Ordinal) -> &'static str {
    let bytes = digits.as_bytes();
    let teens = bytes.len() > 1 && bytes[bytes.len() - 2] == b'1';
    let endings = match form {
        Ordinal::Upper => ["ST", "ND", "RD", "TH"],
        Ordinal::Lower => ["st", "nd", "rd", "th"],
    };
    match bytes.last() {
        Some(b'1') if !teens => endings[0],
        Some(b'2') if !teens => endings[1],
        Some(b'3') if !teens => endings[2],
        _ => endings[3],
    }
}

/// The templates that were used last, the latest first.
#[derive(Debug)]
pub(crate) struct TemplateCache<T>(Vec<(String, Rc<T>)>);

impl<T> TemplateCache<T> {
    const TEMPLATES_MAX: usize = 20;

    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// The parsed template, out of the cache or by `parse`.
    pub(crate) fn find<E>(&mut self, template: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<Rc<T>, E> {
        if let Some(at) = self.0.iter().position(|(text, _)| text == template) {
            self.0[..=at].rotate_right(1);
        } else {
            let parsed = Rc::new(parse(template)?);
            self.0.truncate(Self::TEMPLATES_MAX - 1);
            self.0.insert(0, (template.to_owned(), parsed));
        }
        Ok(Rc::clone(&self.0[0].1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_keeps_the_latest() {
        let mut cache = TemplateCache::new();
        for n in 0..30 {
            cache.find::<()>(&n.to_string(), |text| Ok(text.len())).unwrap();
        }
        let parsed = cache.find("29", |_| Err(())).unwrap();
        assert_eq!((*parsed, cache.0.len()), (2, TemplateCache::<usize>::TEMPLATES_MAX));
        assert!(cache.find("3", |_| Err(())).is_err());
    }
}
