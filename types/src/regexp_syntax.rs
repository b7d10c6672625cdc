//! The parse tree of PostgreSQL's regular expressions, and how it is written for the engines.
//!
//! Every character is written so that it means itself whatever the engine's flags are; only the flag for small and large letters is used.

use std::fmt::Write as _;

/// A part of a regular expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Empty,
    /// One character, as the engines write it.
    Atom(String),
    /// A place in the text, as the engines write it.
    Place(String),
    Group {
        inner: Box<Node>,
        captures: bool,
    },
    Look {
        ahead: bool,
        negated: bool,
        inner: Box<Node>,
    },
    BackReference(usize),
    /// `fixed` is `{m}`, which prefers no length; `{m,m}` does.
    Repeat {
        inner: Box<Node>,
        least: u32,
        most: Option<u32>,
        greedy: bool,
        fixed: bool,
    },
    Sequence(Vec<Node>),
    Branches(Vec<Node>),
}

/// Which of the matches that begin at one place is meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Preference {
    Longest,
    Shortest,
}

impl Node {
    /// PostgreSQL's rule: the first quantified part that prefers anything decides for a branch; branches prefer the longest.
    pub(crate) fn preference(&self) -> Option<Preference> {
        match self {
            Self::Empty | Self::Atom(_) | Self::Place(_) | Self::Look { .. } | Self::BackReference(_) => None,
            Self::Group { inner, .. } => inner.preference(),
            Self::Repeat { inner, fixed: true, .. } => inner.preference(),
            Self::Repeat { greedy, .. } => Some(if *greedy { Preference::Longest } else { Preference::Shortest }),
            Self::Sequence(parts) => parts.iter().find_map(Self::preference),
            Self::Branches(_) => Some(Preference::Longest),
        }
    }

    /// Whether the first match that a backtracking engine finds may have another length than the preferred one.
    pub(crate) fn length_is_open(&self) -> bool {
        let (mut quantified, mut groups) = (0, 0);
        let choice = self.has_choice(&mut quantified, &mut groups);
        choice || (groups > 0 && quantified > 1) || self.preference() == Some(Preference::Shortest)
    }

    /// Whether there are branches or quantifiers that are not greedy; counts the quantified parts and those of more than one character.
    fn has_choice(&self, quantified: &mut u32, groups: &mut u32) -> bool {
        match self {
            Self::Branches(_) => true,
            Self::Repeat { inner, greedy, fixed, .. } => {
                *quantified += u32::from(!fixed);
                *groups += u32::from(!fixed && !matches!(**inner, Self::Atom(_)));
                (!greedy && !fixed) || inner.has_choice(quantified, groups)
            }
            Self::Group { inner, .. } => inner.has_choice(quantified, groups),
            Self::Sequence(parts) => parts.iter().any(|part| part.has_choice(quantified, groups)),
            Self::Empty | Self::Atom(_) | Self::Place(_) | Self::Look { .. } | Self::BackReference(_) => false,
        }
    }

    /// Whether only a backtracking engine can match this.
    pub(crate) fn needs_backtracking(&self) -> bool {
        match self {
            Self::Look { .. } | Self::BackReference(_) => true,
            Self::Empty | Self::Atom(_) | Self::Place(_) => false,
            Self::Group { inner, .. } | Self::Repeat { inner, .. } => inner.needs_backtracking(),
            Self::Sequence(parts) | Self::Branches(parts) => parts.iter().any(Self::needs_backtracking),
        }
    }

    /// The text for the engines.
    pub(crate) fn write(&self, out: &mut String) {
        match self {
            Self::Empty => out.push_str("(?:)"),
            Self::Atom(text) | Self::Place(text) => out.push_str(text),
            Self::Group { inner, captures } => inner.enclosed(if *captures { "(" } else { "(?:" }, out),
            Self::Look { ahead, negated, inner } => {
                let open = match (ahead, negated) {
                    (true, false) => "(?=",
                    (true, true) => "(?!",
                    (false, false) => "(?<=",
                    (false, true) => "(?<!",
                };
                inner.enclosed(open, out);
            }
            Self::BackReference(index) => {
                let _ = write!(out, "(?:\\{index})");
            }
            Self::Repeat { inner, least, most, greedy, .. } => {
                inner.enclosed("(?:", out);
                let _ = match (least, most) {
                    (0, None) => write!(out, "*"),
                    (1, None) => write!(out, "+"),
                    (0, Some(1)) => write!(out, "?"),
                    (least, None) => write!(out, "{{{least},}}"),
                    (least, Some(most)) if least == most => write!(out, "{{{least}}}"),
                    (least, Some(most)) => write!(out, "{{{least},{most}}}"),
                };
                if !greedy {
                    out.push('?');
                }
            }
            Self::Sequence(parts) => parts.iter().for_each(|part| part.write(out)),
            Self::Branches(branches) => {
                for (i, branch) in branches.iter().enumerate() {
                    if i > 0 {
                        out.push('|');
                    }
                    branch.write(out);
                }
            }
        }
    }

    fn enclosed(&self, open: &str, out: &mut String) {
        out.push_str(open);
        self.write(out);
        out.push(')');
    }
}

/// A character that means itself, alone or between brackets.
pub(crate) fn character(c: char) -> String {
    if c.is_ascii_alphanumeric() { c.to_string() } else { format!("\\x{{{:x}}}", u32::from(c)) }
}

/// A named class as it stands between brackets.
pub(crate) fn class(name: &str) -> Option<&'static str> {
    Some(match name {
        "alpha" => r"[[\p{Alphabetic}\p{Nd}]--[0-9]]",
        "alnum" => r"\p{Alphabetic}\p{Nd}",
        "word" => r"\p{Alphabetic}\p{Nd}_",
        "digit" => "0-9",
        "xdigit" => "0-9A-Fa-f",
        "space" => r"\x{9}-\x{d}\x{20}\x{1680}\x{2000}-\x{2006}\x{2008}-\x{200a}\x{2028}\x{2029}\x{205f}\x{3000}",
        "blank" => r"\x{9}\x{20}\x{1680}\x{2000}-\x{2006}\x{2008}-\x{200a}\x{205f}\x{3000}",
        "upper" => r"\p{Uppercase}",
        "lower" => r"\p{Lowercase}",
        "punct" => r"[[\p{P}\p{S}]--\p{Alphabetic}]",
        "cntrl" => r"\p{Cc}\x{2028}\x{2029}",
        "graph" => r"[[^\p{Cc}\p{Cn}\p{Cs}\p{Zs}]--[\x{2028}\x{2029}]]",
        "print" => r"[[^\p{Cc}\p{Cn}\p{Cs}]--[\x{2028}\x{2029}]]",
        "ascii" => r"\x{0}-\x{7f}",
        _ => return None,
    })
}

/// A character by its name between `[.` and `.]`.
pub(crate) fn collating_element(name: &str) -> Option<char> {
    let mut chars = name.chars();
    if let (Some(only), None) = (chars.next(), chars.next()) {
        return Some(only);
    }
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, c)| *c)
}

const NAMES: &[(&str, char)] = &[
    ("NUL", '\0'),
    ("alert", '\x07'),
    ("backspace", '\x08'),
    ("tab", '\t'),
    ("newline", '\n'),
    ("vertical-tab", '\x0b'),
    ("form-feed", '\x0c'),
    ("carriage-return", '\r'),
    ("space", ' '),
    ("exclamation-mark", '!'),
    ("quotation-mark", '"'),
    ("number-sign", '#'),
    ("dollar-sign", '$'),
    ("percent-sign", '%'),
    ("ampersand", '&'),
    ("apostrophe", '\''),
    ("left-parenthesis", '('),
    ("right-parenthesis", ')'),
    ("asterisk", '*'),
    ("plus-sign", '+'),
    ("comma", ','),
    ("hyphen", '-'),
    ("hyphen-minus", '-'),
    ("period", '.'),
    ("full-stop", '.'),
    ("slash", '/'),
    ("solidus", '/'),
    ("zero", '0'),
    ("one", '1'),
    ("two", '2'),
    ("three", '3'),
    ("four", '4'),
    ("five", '5'),
    ("six", '6'),
    ("seven", '7'),
    ("eight", '8'),
    ("nine", '9'),
    ("colon", ':'),
    ("semicolon", ';'),
    ("less-than-sign", '<'),
    ("equals-sign", '='),
    ("greater-than-sign", '>'),
    ("question-mark", '?'),
    ("commercial-at", '@'),
    ("left-square-bracket", '['),
    ("backslash", '\\'),
    ("reverse-solidus", '\\'),
    ("right-square-bracket", ']'),
    ("circumflex", '^'),
    ("circumflex-accent", '^'),
    ("underscore", '_'),
    ("low-line", '_'),
    ("grave-accent", '`'),
    ("left-brace", '{'),
    ("left-curly-bracket", '{'),
    ("vertical-line", '|'),
    ("right-brace", '}'),
    ("right-curly-bracket", '}'),
    ("tilde", '~'),
    ("DEL", '\x7f'),
];
