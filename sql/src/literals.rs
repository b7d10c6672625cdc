//! Lifting literals out of a text, so that statements that differ in them alone share what was bound for one of them.
//!
//! `SELECT v FROM t WHERE id = 17 AND k = 'x'` becomes `SELECT v FROM t WHERE id = $1 AND k = $2` with the values 17 and `x`. An integer is a
//! parameter of the type that the literal has; a plain string is one of unknown type, which is resolved as an unknown literal is.
//!
//! This is done on words, not on syntax, and so the template may mean something else, or nothing: `ORDER BY $1` orders by a value, `numeric($1)` is
//! no type. A template is therefore tried only for statements that begin and look like the simplest ones (see [`lift`]), and who uses it must hold to two
//! rules: it serves only where it binds to a read or a change of rows by key, and whenever anything is wrong with it the text itself is taken.

/// Texts that are longer are not worth it.
const TEXT_BYTES_MAX: usize = 1 << 10;
/// Literals of one text.
const LITERALS_MAX: usize = 64;
/// Words after which a number does not stand for its value, or a literal is not an expression.
const POSITIONAL: [&str; 9] = ["order", "group", "limit", "offset", "fetch", "interval", "returning", "over", "for"];

/// A literal that was lifted out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    /// An integer that int4 holds.
    Int4(i32),
    /// An integer that int8 holds, and int4 does not.
    Int8(i64),
    /// A string without escapes, of unknown type.
    Unknown(String),
}

/// A text without its literals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifted {
    /// The text with `$1`, `$2`, … in the places of the literals.
    pub template: String,
    pub literals: Vec<Literal>,
}

/// Lifts the literals out of one statement; `None` when it has none, or is not of the simplest kind: SELECT, INSERT, UPDATE or DELETE without comments, parameters,
/// escapes, and without clauses in which a number is a position.
pub fn lift(text: &str) -> Option<Lifted> {
    if text.len() > TEXT_BYTES_MAX || !begins_simply(text) {
        return None;
    }
    let mut lifted = Lifted { template: String::with_capacity(text.len() + 8), literals: Vec::new() };
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let end = match byte {
            b'\'' => {
                let (literal, end) = string(text, at)?;
                lifted.push(literal)?;
                at = end;
                continue;
            }
            b'0'..=b'9' => {
                let end = run(bytes, at, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
                if let Some(literal) = integer(&text[at..end]) {
                    lifted.push(literal)?;
                    at = end;
                    continue;
                }
                end
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => {
                let end = run(bytes, at, |b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$') || b >= 0x80);
                let is_prefix = bytes.get(end) == Some(&b'\'') || (bytes.get(end) == Some(&b'&') && end - at == 1);
                if is_prefix || POSITIONAL.iter().any(|word| word.eq_ignore_ascii_case(&text[at..end])) {
                    return None;
                }
                end
            }
            b'"' => at + 2 + text[at + 1..].find('"')?,
            // A `.5`, or the number after a qualified name.
            b'.' => run(bytes, at + 1, |b| b.is_ascii_alphanumeric()),
            b'$' | b'\\' => return None,
            b'-' if bytes.get(at + 1) == Some(&b'-') => return None,
            b'/' if bytes.get(at + 1) == Some(&b'*') => return None,
            // More than one statement, unless it ends the text.
            b';' if !text[at + 1..].trim_ascii().is_empty() => return None,
            _ => at + 1,
        };
        lifted.template.push_str(&text[at..end]);
        at = end;
    }
    (!lifted.literals.is_empty()).then_some(lifted)
}

fn begins_simply(text: &str) -> bool {
    let text = text.trim_ascii_start();
    let word = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    ["select", "insert", "update", "delete"].iter().any(|verb| verb.eq_ignore_ascii_case(word))
}

fn run(bytes: &[u8], from: usize, belongs: impl Fn(u8) -> bool) -> usize {
    bytes[from..].iter().position(|b| !belongs(*b)).map_or(bytes.len(), |length| from + length)
}

fn integer(digits: &str) -> Option<Literal> {
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().map(Literal::Int4).or_else(|_| digits.parse().map(Literal::Int8)).ok()
}

/// The string that begins at a quote, and where it ends.
fn string(text: &str, at: usize) -> Option<(Literal, usize)> {
    let mut value = String::new();
    let mut from = at + 1;
    loop {
        let length = text[from..].find('\'')?;
        value.push_str(&text[from..from + length]);
        from += length + 1;
        if text.as_bytes().get(from) != Some(&b'\'') {
            return Some((Literal::Unknown(value), from));
        }
        value.push('\'');
        from += 1;
    }
}

impl Lifted {
    fn push(&mut self, literal: Literal) -> Option<()> {
        if self.literals.len() >= LITERALS_MAX {
            return None;
        }
        // A literal that touches a word would make the parameter part of it.
        if self.template.bytes().next_back().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return None;
        }
        self.literals.push(literal);
        self.template.push('$');
        self.template.push_str(&self.literals.len().to_string());
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, template: &str, literals: &[Literal]) {
        let lifted = lift(text).unwrap_or_else(|| panic!("{text} is not lifted"));
        assert_eq!((lifted.template.as_str(), lifted.literals.as_slice()), (template, literals));
    }

    fn unknown(text: &str) -> Literal {
        Literal::Unknown(text.to_owned())
    }

    #[test]
    fn literals_become_parameters() {
        check("SELECT v FROM t WHERE id = 17;", "SELECT v FROM t WHERE id = $1;", &[Literal::Int4(17)]);
        check(
            "select 'it''s', é1 from t1 where a=3000000000",
            "select $1, é1 from t1 where a=$2",
            &[unknown("it's"), Literal::Int8(3_000_000_000)],
        );
        check(
            "update t set a = a + -5, b = 1.5 where k=''",
            "update t set a = a + -$1, b = 1.5 where k=$2",
            &[Literal::Int4(5), unknown("")],
        );
        check(
            "insert into s.t (\"a 1\", b) values (1,'x')",
            "insert into s.t (\"a 1\", b) values ($1,$2)",
            &[Literal::Int4(1), unknown("x")],
        );
    }

    #[test]
    fn what_is_not_simple_is_left_alone() {
        for text in [
            "select a from t order by 1",
            "select a from t where a = $1 and b = 2",
            "select a from t where b = E'x\\n'",
            "select a from t where b = U&'x'",
            "select a -- 1\n from t where a = 1",
            "select a /* 1 */ from t where a = 1",
            "select 1; select 2",
            "select a from t where a = $$x$$ and b = 1",
            "select a from t",
            "select 'open",
            "create table t1 (a numeric(10, 2))",
            "explain select a from t where a = 1",
        ] {
            assert_eq!(lift(text), None, "{text}");
        }
        // Numbers of other forms stay where they are.
        check(
            "select 1e5, .5, 0x1F, 99999999999999999999, 2 from t",
            "select 1e5, .5, 0x1F, 99999999999999999999, $1 from t",
            &[Literal::Int4(2)],
        );
    }
}
