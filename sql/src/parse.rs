//! Text to syntax trees, with PostgreSQL's syntax errors.
//!
//! A text is tokenised once and cut at its semicolons; each piece is parsed for itself. What `sqlparser` does not know is taken out of the
//! token list before: the partition clause of Partita ([`crate::partition_clause`]), and maintenance commands.

use std::ops::ControlFlow;
use std::sync::Arc;

use common::error::Report;
use common::sqlstate::SqlState;
use sqlparser::ast::{Expr, Ident, Statement, visit_relations};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer, Whitespace};

use crate::copy_syntax;
use crate::dialect::PartitaDialect;
use crate::domain_syntax;
use crate::object_syntax::{self, ObjectStatement};
use crate::partition_clause::{self, PartitionClause};
use crate::rewrites;
use crate::row_lock_syntax;
use crate::subscript_targets;
use crate::table_syntax;
use crate::transaction_syntax;

/// How deep expressions and queries may nest.
const NESTING_MAX: usize = 120;

/// What a piece of text is.
#[derive(Clone, Debug)]
pub enum Syntax {
    Statement(Arc<Statement>),
    /// VACUUM, ANALYZE, CHECKPOINT, REINDEX, CLUSTER: Partita does on its own what they ask for. The command tag.
    Maintenance(&'static str),
    /// A statement about a schema object that the parser does not know.
    Object(Arc<ObjectStatement>),
    Empty,
}

/// One statement of a text.
#[derive(Clone, Debug)]
pub struct ParsedStatement {
    /// The statement's own text.
    text: Arc<str>,
    /// The whole text that it stood in: error positions count from its beginning.
    source: Arc<str>,
    pub syntax: Syntax,
    /// The partition clause of a CREATE TABLE or CREATE INDEX.
    pub partitioning: Option<Arc<PartitionClause>>,
    /// Whether BEGIN or SET TRANSACTION says DEFERRABLE or NOT DEFERRABLE.
    pub deferrable: Option<bool>,
}

impl ParsedStatement {
    /// The empty statement.
    pub fn empty() -> Self {
        Self { text: "".into(), source: "".into(), syntax: Syntax::Empty, partitioning: None, deferrable: None }
    }

    /// The statement's own text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The statement's own text, shared.
    pub fn shared_text(&self) -> Arc<str> {
        Arc::clone(&self.text)
    }

    /// The text that positions count in.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether there is nothing but blanks and comments.
    pub fn is_empty(&self) -> bool {
        matches!(self.syntax, Syntax::Empty)
    }

    /// The same text context around another statement: for EXECUTE, EXPLAIN, PREPARE, which carry one.
    #[must_use]
    pub fn with_statement(&self, statement: Statement) -> Self {
        Self { text: statement.to_string().into(), syntax: Syntax::Statement(Arc::new(statement)), ..self.clone() }
    }
}

/// Parses a text of statements, separated by semicolons. Empty statements between semicolons are left out; a text without any statement gives none.
pub fn parse_statements(text: &str) -> Result<Vec<ParsedStatement>, Report> {
    if text.contains('\0') {
        return Err(Report::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\": 0x00"));
    }
    let source: Arc<str> = text.into();
    let tokens = tokenize(text)?;
    let mut places = Places::new(text);
    let mut statements = Vec::new();
    for piece in tokens.split(|t| t.token == Token::SemiColon) {
        let mut significant = piece.iter().filter(|t| !matches!(t.token, Token::Whitespace(_)));
        let Some(first) = significant.next() else { continue };
        let last = significant.next_back().unwrap_or(first);
        let start = places.offset(first.span.start);
        let end = places.offset(last.span.end);
        let own = text.get(start..end).unwrap_or(text);
        let joined = join_adjacent_strings(piece);
        refuse_neighbours(&joined, &source)?;
        statements.push(parse_piece(joined, own.into(), &source)?);
    }
    Ok(statements)
}

/// Parses one expression by itself.
pub fn parse_expression(text: &str) -> Result<Expr, Report> {
    let dialect = PartitaDialect::default();
    let mut parser = Parser::new(&dialect).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(tokenize(text)?);
    let expr = parser.parse_expr().map_err(|e| syntax_error(e, text))?;
    match parser.peek_token().token {
        Token::EOF => Ok(expr),
        _ => Err(near(&parser.peek_token(), text)),
    }
}

fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>, Report> {
    let dialect = PartitaDialect::default();
    Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|error| {
        let offset = Places::new(text).offset(error.location);
        let rest = &text[offset..];
        let what = if error.message.contains("comment") {
            "unterminated /* comment"
        } else if rest.starts_with('"') {
            "unterminated quoted identifier"
        } else if rest.starts_with('$') {
            "unterminated dollar-quoted string"
        } else if error.message.contains("nterminated") || error.message.contains("Expected close delimiter") {
            "unterminated quoted string"
        } else {
            "syntax error"
        };
        Report::new(SqlState::SYNTAX_ERROR, format!("{what} at or near \"{rest}\"")).at(char_position(text, offset))
    })
}

fn parse_piece(mut tokens: Vec<TokenWithSpan>, text: Arc<str>, source: &Arc<str>) -> Result<ParsedStatement, Report> {
    let deferrable = transaction_syntax::take_deferrable(&mut tokens);
    let parsed =
        |syntax, partitioning| ParsedStatement { text: Arc::clone(&text), source: Arc::clone(source), syntax, partitioning, deferrable };
    if let Some(tag) = maintenance(&tokens) {
        return Ok(parsed(Syntax::Maintenance(tag), None));
    }
    copy_syntax::normalise(&mut tokens);
    row_lock_syntax::normalise(&mut tokens);
    subscript_targets::normalise(&mut tokens);
    domain_syntax::normalise(&mut tokens);
    rewrites::apply(&mut tokens)?;
    object_syntax::overriding(&mut tokens);
    table_syntax::normalise(&mut tokens);
    if object_syntax::begins(&tokens) {
        return Ok(parsed(Syntax::Object(Arc::new(parse_object(tokens, source)?)), None));
    }
    let clause = partition_clause::take(&mut tokens, source)?;
    let dialect = PartitaDialect::default();
    let mut parser = Parser::new(&dialect).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(tokens);
    let statement = table_syntax::into_table(parser.parse_statement().map_err(|e| syntax_error(e, source))?);
    refuse_reserved_names(&statement, source)?;
    let next = parser.peek_token();
    if next.token != Token::EOF {
        return Err(near(&next, source));
    }
    Ok(parsed(Syntax::Statement(Arc::new(statement)), clause.map(Arc::new)))
}

fn parse_object(tokens: Vec<TokenWithSpan>, source: &str) -> Result<ObjectStatement, Report> {
    let dialect = PartitaDialect::default();
    let mut parser = Parser::new(&dialect).with_recursion_limit(NESTING_MAX).with_tokens_with_locations(tokens);
    let statement = object_syntax::parse(&mut parser).map_err(|e| syntax_error(e, source))?;
    match parser.peek_token() {
        next if next.token == Token::EOF => Ok(statement),
        next => Err(near(&next, source)),
    }
}

/// PostgreSQL's keywords that name no table unless they are quoted; the parser takes them for names.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "constraint",
    "create",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "not",
    "null",
    "offset",
    "on",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "some",
    "symmetric",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

/// A reserved keyword in the place of a relation's name is a syntax error.
fn refuse_reserved_names(statement: &Statement, source: &str) -> Result<(), Report> {
    let found = visit_relations(statement, |name| {
        let reserved = |ident: &&Ident| ident.quote_style.is_none() && RESERVED.contains(&ident.value.to_ascii_lowercase().as_str());
        match name.0.first().and_then(|part| part.as_ident()).filter(reserved) {
            Some(ident) if name.0.len() == 1 => ControlFlow::Break(ident.clone()),
            _ => ControlFlow::Continue(()),
        }
    });
    let ControlFlow::Break(ident) = found else { return Ok(()) };
    let report = Report::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{}\"", ident.value));
    Err(match position_of(ident.span.start, source) {
        Some(position) => report.at(position),
        None => report,
    })
}

/// The command tag of a maintenance command.
fn maintenance(tokens: &[TokenWithSpan]) -> Option<&'static str> {
    let first = tokens.iter().find(|t| !matches!(t.token, Token::Whitespace(_)))?;
    let Token::Word(word) = &first.token else { return None };
    match word.value.to_ascii_uppercase().as_str() {
        "VACUUM" => Some("VACUUM"),
        "ANALYZE" | "ANALYSE" => Some("ANALYZE"),
        "CHECKPOINT" => Some("CHECKPOINT"),
        "REINDEX" => Some("REINDEX"),
        "CLUSTER" => Some("CLUSTER"),
        _ => None,
    }
}

/// Strings that only blanks with a line break separate are one string.
fn join_adjacent_strings(tokens: &[TokenWithSpan]) -> Vec<TokenWithSpan> {
    let mut joined: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut pending_break = false;
    for token in tokens {
        match &token.token {
            Token::Whitespace(Whitespace::Newline) => pending_break = true,
            Token::Whitespace(_) => {}
            Token::SingleQuotedString(more) if pending_break => {
                pending_break = false;
                let before = joined.iter_mut().rev().find(|t| !matches!(t.token, Token::Whitespace(_)));
                if let Some(TokenWithSpan { token: Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text), .. }) = before {
                    text.push_str(more);
                    continue;
                }
            }
            _ => pending_break = false,
        }
        joined.push(token.clone());
    }
    joined
}

/// Two strings side by side in one line, and a number that runs into a word, are errors.
fn refuse_neighbours(tokens: &[TokenWithSpan], source: &str) -> Result<(), Report> {
    let mut before: Option<&TokenWithSpan> = None;
    for token in tokens {
        match (before.map(|t| &t.token), &token.token) {
            (Some(Token::SingleQuotedString(_) | Token::EscapedStringLiteral(_)), Token::SingleQuotedString(_)) => {
                return Err(near(token, source));
            }
            (Some(Token::Number(digits, _)), Token::Word(word)) if before.is_some_and(|t| t.span.end == token.span.start) => {
                return Err(junk(&format!("{digits}{}", word.value), before.unwrap_or(token), source));
            }
            (_, Token::HexStringLiteral(digits)) => {
                let offset = Places::new(source).offset(token.span.start);
                if source[offset..].starts_with('0') {
                    return Err(junk(&format!("0x{digits}"), token, source));
                }
            }
            _ => {}
        }
        if !matches!(token.token, Token::Whitespace(_)) {
            before = Some(token);
        }
    }
    Ok(())
}

fn junk(what: &str, token: &TokenWithSpan, source: &str) -> Report {
    let report = Report::new(SqlState::SYNTAX_ERROR, format!("trailing junk after numeric literal at or near \"{what}\""));
    match position_of(token.span.start, source) {
        Some(position) => report.at(position),
        None => report,
    }
}

/// PostgreSQL's syntax error at a token.
pub(crate) fn near(token: &TokenWithSpan, source: &str) -> Report {
    if token.token == Token::EOF || token.span.start.line == 0 {
        return at_end(source);
    }
    let mut places = Places::new(source);
    let start = places.offset(token.span.start);
    let end = places.offset(token.span.end).max(start);
    let shown = source.get(start..end).filter(|s| !s.is_empty()).map_or_else(|| token.to_string(), str::to_owned);
    Report::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{shown}\"")).at(char_position(source, start))
}

fn at_end(source: &str) -> Report {
    let position = char_position(source, source.trim_end().len());
    Report::new(SqlState::SYNTAX_ERROR, "syntax error at end of input").at(position)
}

/// The parser tells the place in its message only: `Expected: …, found: x at Line: 1, Column: 8`.
pub(crate) fn syntax_error(error: ParserError, source: &str) -> Report {
    let message = match error {
        ParserError::ParserError(message) if message == "conflicting or redundant options" => {
            return Report::new(SqlState::SYNTAX_ERROR, message);
        }
        ParserError::RecursionLimitExceeded => {
            return Report::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded")
                .with_hint("The expressions or queries of the statement are nested too deeply.");
        }
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
    };
    if message.contains("found: EOF") {
        return at_end(source);
    }
    let place = message.rsplit_once(" at Line: ").and_then(|(_, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some(Location::new(line.trim().parse().ok()?, column.trim().parse().ok()?))
    });
    let Some(location) = place else {
        return Report::new(SqlState::SYNTAX_ERROR, format!("syntax error: {}", message.trim_start_matches("sql parser error: ")));
    };
    let at_location = |token: &TokenWithSpan| token.span.start == location;
    match tokenize(source).ok().and_then(|tokens| tokens.into_iter().find(at_location)) {
        Some(token) => near(&token, source),
        None => at_end(source),
    }
}

/// One-based position in characters of a byte offset.
pub(crate) fn char_position(text: &str, offset: usize) -> u32 {
    let before = text.get(..offset).map_or(0, |t| t.chars().count());
    u32::try_from(before + 1).unwrap_or(u32::MAX)
}

/// The position of a span's start in a text; `None` for the empty span of something that was made up.
pub(crate) fn position_of(location: Location, text: &str) -> Option<u32> {
    if location.line == 0 {
        return None;
    }
    let offset = Places::new(text).offset(location);
    Some(char_position(text, offset))
}

/// Turns the tokenizer's lines and columns (in characters) into byte offsets; cheap when asked in ascending order.
struct Places<'a> {
    text: &'a str,
    at: Location,
    offset: usize,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: Location::new(1, 1), offset: 0 }
    }

    fn offset(&mut self, wanted: Location) -> usize {
        if (wanted.line, wanted.column) < (self.at.line, self.at.column) {
            (self.at, self.offset) = (Location::new(1, 1), 0);
        }
        for ch in self.text[self.offset..].chars() {
            if (self.at.line, self.at.column) >= (wanted.line, wanted.column) {
                break;
            }
            self.offset += ch.len_utf8();
            if ch == '\n' {
                self.at = Location::new(self.at.line + 1, 1);
            } else {
                self.at.column += 1;
            }
        }
        self.offset
    }
}

/// Whether a token is this keyword.
pub(crate) fn is_keyword(token: &TokenWithSpan, keyword: Keyword) -> bool {
    matches!(&token.token, Token::Word(word) if word.keyword == keyword)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> (String, Option<u32>) {
        let report = parse_statements(text).unwrap_err();
        assert_eq!(report.sqlstate, SqlState::SYNTAX_ERROR);
        (report.message, report.position)
    }

    #[test]
    fn a_text_is_cut_at_semicolons_outside_of_strings() {
        let texts: Vec<String> =
            parse_statements(" select ';' ; ;\n/* ; */ select 2;").unwrap().iter().map(|s| s.text().to_owned()).collect();
        assert_eq!(texts, ["select ';'", "select 2"]);
    }

    #[test]
    fn syntax_errors_are_postgresqls() {
        assert_eq!(refused("selec 1"), ("syntax error at or near \"selec\"".into(), Some(1)));
        assert_eq!(refused("select 1 from"), ("syntax error at end of input".into(), Some(14)));
        assert_eq!(refused("select é from where"), ("syntax error at or near \"where\"".into(), Some(15)));
        assert_eq!(refused("select 'abc"), ("unterminated quoted string at or near \"'abc\"".into(), Some(8)));
        assert_eq!(refused("select 1 1"), ("syntax error at or near \"1\"".into(), Some(10)));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = format!("select {}1{}", "(".repeat(5_000), ")".repeat(5_000));
        assert_eq!(parse_statements(&text).unwrap_err().sqlstate, SqlState::STATEMENT_TOO_COMPLEX);
    }

    #[test]
    fn strings_on_following_lines_are_one() {
        let parsed = parse_statements("select 'a'\n 'b'").unwrap();
        let Syntax::Statement(statement) = &parsed[0].syntax else { panic!("a statement") };
        assert_eq!(statement.to_string(), "SELECT 'ab'");
    }

    #[test]
    fn a_sign_binds_closer_than_a_power() {
        assert!(matches!(parse_expression("-2 ^ 2").unwrap(), Expr::BinaryOp { .. }));
    }
}
