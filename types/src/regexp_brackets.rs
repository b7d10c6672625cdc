//! Bracket expressions: `[a-z[:digit:]_]`.

use crate::error::ValueError;
use crate::regexp_parse::{Escape, Parser, bad_escape, invalid};
use crate::regexp_syntax::{Node, character, class, collating_element};

/// One item between brackets.
enum Item {
    Character(char),
    /// Written for the engines.
    Class(String),
}

impl Parser<'_> {
    /// What follows the opening bracket.
    pub(crate) fn brackets(&mut self) -> Result<Node, ValueError> {
        if self.take("[:<:]]") {
            return Ok(Node::Place(r"\b{start}".into()));
        }
        if self.take("[:>:]]") {
            return Ok(Node::Place(r"\b{end}".into()));
        }
        let negated = self.take("^");
        let mut out = String::from(if negated { "[^" } else { "[" });
        let mut first = true;
        while first || !self.take("]") {
            let item = self.item()?;
            first = false;
            let ranged = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            match (item, ranged) {
                (Item::Character(low), true) => {
                    self.take("-");
                    let Item::Character(high) = self.item()? else { return Err(bad_range()) };
                    if low > high {
                        return Err(bad_range());
                    }
                    out.push_str(&format!("{}-{}", character(low), character(high)));
                    // A range is no end of another.
                    if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                        return Err(bad_range());
                    }
                }
                (Item::Class(_), true) => return Err(bad_range()),
                (Item::Character(c), false) => out.push_str(&character(c)),
                (Item::Class(class), false) => out.push_str(&class),
            }
        }
        if negated && self.options.newline_stops {
            out.push_str(r"\n");
        }
        out.push(']');
        Ok(Node::Atom(out))
    }

    fn item(&mut self) -> Result<Item, ValueError> {
        for (kind, close) in [(':', ":]"), ('.', ".]"), ('=', "=]")] {
            if self.rest.starts_with('[') && self.rest[1..].starts_with(kind) {
                let inner = &self.rest[2..];
                let end = inner.find(close).ok_or_else(unbalanced)?;
                let name = &inner[..end];
                self.rest = &inner[end + 2..];
                return if kind == ':' { self.named_class(name) } else { element(name) };
            }
        }
        match self.next().ok_or_else(unbalanced)? {
            '\\' => Ok(match self.escape()? {
                Escape::Character(c) => Item::Character(c),
                Escape::Class(name, negated) => {
                    let class = class(name).unwrap_or_default();
                    Item::Class(if negated { format!("[^{class}]") } else { class.to_owned() })
                }
                Escape::Place(_) => return Err(bad_escape()),
                Escape::Digits if self.reference().is_some() => return Err(bad_escape()),
                Escape::Digits => Item::Character(self.octal()?),
            }),
            c => Ok(Item::Character(c)),
        }
    }

    fn named_class(&self, name: &str) -> Result<Item, ValueError> {
        // Letters of either case are any letters.
        let name = if self.options.ignores_case && matches!(name, "upper" | "lower") { "alpha" } else { name };
        class(name).map(|class| Item::Class(class.to_owned())).ok_or_else(|| invalid("invalid character class"))
    }
}

fn element(name: &str) -> Result<Item, ValueError> {
    collating_element(name).map(Item::Character).ok_or_else(|| invalid("invalid collating element"))
}

fn unbalanced() -> ValueError {
    invalid("brackets [] not balanced")
}

fn bad_range() -> ValueError {
    invalid("invalid character range")
}
