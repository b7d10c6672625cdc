//! PostgreSQL's regular expressions: compiled, cached, and matched.
//!
//! An expression is parsed ([`crate::regexp_parse`]), written in the syntax of the `regex` crate, and run by it, or by `fancy-regex` where
//! it has back references or looks around. PostgreSQL asks for the longest of the matches that begin leftmost (or the shortest, where the
//! expression's first quantifier is not greedy); the engine finds the first in the order of its branches. So the match's beginning is the
//! engine's, its end comes from an automaton over all matches, and the groups from a second search that must end there.
//!
//! Two differences remain: expressions that need backtracking keep the engine's own end; and where several branches let a match have the
//! same end, the groups are those of the first branch that fits, where PostgreSQL takes the longest group.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use common::sqlstate::SqlState;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::meta;
use regex_automata::{Anchored, Input, MatchKind};

use crate::error::ValueError;
use crate::regexp_parse::{Options, invalid, parse};
use crate::regexp_syntax::{Node, Preference};

/// A thread keeps so many compiled expressions.
const CACHED_MAX: usize = 32;
/// Bytes that a compiled expression may take.
const COMPILED_MAX: usize = 64 << 20;

/// The letters of a function's flags argument.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Flags {
    options: Options,
    /// All matches.
    pub global: bool,
}

impl Flags {
    /// Reads the letters.
    pub fn parse(text: &str) -> Result<Self, ValueError> {
        let mut flags = Self::default();
        for letter in text.chars() {
            if letter == 'g' {
                flags.global = true;
            } else if !flags.options.apply(letter) {
                let message = format!("invalid regular expression option: \"{letter}\"");
                return Err(ValueError::new(SqlState::INVALID_PARAMETER_VALUE, message));
            }
        }
        Ok(flags)
    }

    /// What `~*` asks for.
    pub fn ignoring_case() -> Self {
        Self { options: Options { ignores_case: true, ..Options::default() }, global: false }
    }
}

/// A compiled expression.
pub struct Regexp {
    engine: Engine,
    groups: usize,
}

enum Engine {
    Plain(Box<Plain>),
    Backtracking(Box<fancy_regex::Regex>),
}

struct Plain {
    /// For the engine.
    text: String,
    first: meta::Regex,
    /// Asked for the end of a match, where the first one need not be the preferred one.
    preference: Option<Preference>,
    ends: OnceLock<Option<Ends>>,
    /// Matches that end where the text ends.
    ending: OnceLock<Option<meta::Regex>>,
}

struct Ends {
    automaton: DFA,
    cache: Mutex<Cache>,
}

/// A match: the whole and its groups, as ranges of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    pub whole: Range<usize>,
    pub groups: Vec<Option<Range<usize>>>,
}

fn too_complex() -> ValueError {
    invalid("regular expression is too complex")
}

fn failed(error: &dyn std::fmt::Display) -> ValueError {
    ValueError::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("regular expression failed: {error}"))
}

fn engine(text: &str) -> Option<meta::Regex> {
    let config = meta::Config::new().nfa_size_limit(Some(COMPILED_MAX)).hybrid_cache_capacity(COMPILED_MAX / 8);
    meta::Builder::new().configure(config).build(text).ok()
}

impl Regexp {
    /// A compiled expression from this thread's cache, or compiled now.
    pub fn cached(pattern: &str, flags: Flags) -> Result<Arc<Self>, ValueError> {
        thread_local! {
            static CACHE: RefCell<VecDeque<(String, Options, Arc<Regexp>)>> = const { RefCell::new(VecDeque::new()) };
        }
        CACHE.with_borrow_mut(|cache| {
            let at = cache.iter().position(|(text, options, _)| text == pattern && *options == flags.options);
            if let Some(entry) = at.and_then(|at| cache.remove(at)) {
                let found = Arc::clone(&entry.2);
                cache.push_front(entry);
                return Ok(found);
            }
            let compiled = Arc::new(Self::compile(pattern, flags)?);
            cache.truncate(CACHED_MAX - 1);
            cache.push_front((pattern.to_owned(), flags.options, Arc::clone(&compiled)));
            Ok(compiled)
        })
    }

    /// Compiles an expression.
    pub fn compile(pattern: &str, flags: Flags) -> Result<Self, ValueError> {
        let parsed = parse(pattern, flags.options)?;
        let mut text = String::from(if parsed.options.ignores_case { "(?i)" } else { "" });
        parsed.node.write(&mut text);
        let engine = if parsed.node.needs_backtracking() {
            // This engine has no boundaries for one side of a word. Characters are written so that no other text looks like these.
            let text = text.replace(r"\b{start}", r"\b(?=\w)").replace(r"\b{end}", r"\b(?<=\w)");
            let compiled = fancy_regex::RegexBuilder::new(&text).build().map_err(|_| too_complex())?;
            Engine::Backtracking(Box::new(compiled))
        } else {
            Engine::Plain(Box::new(Plain::compile(text, &parsed.node)?))
        };
        Ok(Self { engine, groups: parsed.groups })
    }

    /// How many groups the expression has.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Whether it matches anywhere.
    pub fn is_match(&self, text: &str) -> Result<bool, ValueError> {
        match &self.engine {
            Engine::Plain(plain) => Ok(plain.first.is_match(text)),
            Engine::Backtracking(regex) => regex.is_match(text).map_err(|e| failed(&e)),
        }
    }

    /// The first match that begins at or behind a byte.
    pub fn find_at(&self, text: &str, start: usize) -> Result<Option<Match>, ValueError> {
        match &self.engine {
            Engine::Plain(plain) => Ok(plain.find_at(text, start, self.groups)),
            Engine::Backtracking(regex) => {
                let Some(captures) = regex.captures_from_pos(text, start).map_err(|e| failed(&e))? else { return Ok(None) };
                let range = |index: usize| captures.get(index).map(|found| found.range());
                let Some(whole) = range(0) else { return Ok(None) };
                Ok(Some(Match { whole, groups: (1..=self.groups).map(range).collect() }))
            }
        }
    }
}

impl Plain {
    fn compile(text: String, node: &Node) -> Result<Self, ValueError> {
        let first = engine(&text).ok_or_else(too_complex)?;
        let preference = node.length_is_open().then(|| node.preference().unwrap_or(Preference::Longest));
        Ok(Self { text, first, preference, ends: OnceLock::new(), ending: OnceLock::new() })
    }

    fn find_at(&self, text: &str, start: usize, groups: usize) -> Option<Match> {
        let mut captures = self.first.create_captures();
        let input = Input::new(text).range(start..);
        if groups == 0 {
            let found = self.first.search(&input)?;
            let end = self.preferred_end(text, found.start()).unwrap_or(found.end());
            return Some(Match { whole: found.start()..end, groups: Vec::new() });
        }
        self.first.search_captures(&input, &mut captures);
        let found = captures.get_match()?;
        let end = self.preferred_end(text, found.start()).unwrap_or(found.end());
        if end != found.end()
            && let Some(ending) = self.ending.get_or_init(|| engine(&format!(r"(?:{})\z", self.text)))
        {
            let mut again = ending.create_captures();
            let input = Input::new(&text[..end]).range(found.start()..).anchored(Anchored::Yes);
            ending.search_captures(&input, &mut again);
            if again.is_match() {
                captures = again;
            }
        }
        let group = |index: usize| captures.get_group(index).map(|span| span.range());
        Some(Match { whole: found.start()..end, groups: (1..=groups).map(group).collect() })
    }

    /// Where the preferred match from a place ends; `None` where the first match is the preferred one, or the automaton gives up.
    fn preferred_end(&self, text: &str, start: usize) -> Option<usize> {
        let preference = self.preference?;
        let ends = self.ends.get_or_init(|| Ends::compile(&self.text)).as_ref()?;
        let input = Input::new(text).range(start..).anchored(Anchored::Yes).earliest(preference == Preference::Shortest);
        let mut cache = ends.cache.lock().unwrap_or_else(PoisonError::into_inner);
        ends.automaton.try_search_fwd(&mut cache, &input).ok().flatten().map(|end| end.offset())
    }
}

impl Ends {
    fn compile(text: &str) -> Option<Self> {
        let config = DFA::config().match_kind(MatchKind::All).unicode_word_boundary(true).skip_cache_capacity_check(true);
        let automaton = DFA::builder().configure(config).build(text).ok()?;
        let cache = Mutex::new(automaton.create_cache());
        Some(Self { automaton, cache })
    }
}
