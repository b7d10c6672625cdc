//! The clause by which Partita's CREATE TABLE and CREATE INDEX say how a relation is cut:
//!
//! ```sql
//! PARTITION BY HASH (a, b)
//! PARTITION BY RANGE (a) SPLIT AT VALUES (('2024-02-01'), ('2024-03-01'))
//! ```
//!
//! Both may be followed by `WITH (partitions = 16, colocate_with = 'orders', …)`, which stays with the statement.

use common::error::Report;
use common::sqlstate::SqlState;
use sqlparser::ast::Expr;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::dialect::PartitaDialect;
use crate::parse::{is_keyword, near, syntax_error};

/// How the clause says that a relation is cut.
#[derive(Clone, Debug, PartialEq)]
pub struct PartitionClause {
    pub method: Method,
    /// Names of the partition columns.
    pub columns: Vec<String>,
    /// For RANGE: the values at which it is split, a list for each split.
    pub splits: Vec<Vec<Expr>>,
}

/// The method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Hash,
    Range,
}

/// Takes the clause out of a statement's tokens, if it is a CREATE TABLE or CREATE INDEX that has one.
pub(crate) fn take(tokens: &mut Vec<TokenWithSpan>, source: &str) -> Result<Option<PartitionClause>, Report> {
    let words: Vec<Keyword> = significant(tokens).take(4).filter_map(|(_, t)| keyword(t)).collect();
    if words.first() != Some(&Keyword::CREATE) || !words.iter().any(|w| matches!(w, Keyword::TABLE | Keyword::INDEX)) {
        return Ok(None);
    }
    let Some(start) = find_clause(tokens) else { return Ok(None) };
    let mut cursor = Cursor { tokens, at: start, source };
    cursor.word("PARTITION")?;
    cursor.word("BY")?;
    let method = match cursor.next_word()?.as_str() {
        "HASH" => Method::Hash,
        "RANGE" => Method::Range,
        "LIST" => return Err(Report::unsupported("PARTITION BY LIST")),
        _ => return Err(cursor.error_before()),
    };
    let columns = cursor.columns()?;
    let splits = if cursor.peek_is("SPLIT") { cursor.splits()? } else { Vec::new() };
    let end = cursor.at;
    if method == Method::Hash && !splits.is_empty() {
        return Err(Report::new(SqlState::SYNTAX_ERROR, "SPLIT AT VALUES is for PARTITION BY RANGE")
            .with_hint("The number of hash partitions is given by WITH (partitions = n)."));
    }
    tokens.drain(start..end);
    Ok(Some(PartitionClause { method, columns, splits }))
}

fn keyword(token: &TokenWithSpan) -> Option<Keyword> {
    match &token.token {
        Token::Word(word) => Some(word.keyword),
        _ => None,
    }
}

fn significant(tokens: &[TokenWithSpan]) -> impl Iterator<Item = (usize, &TokenWithSpan)> {
    tokens.iter().enumerate().filter(|(_, t)| !matches!(t.token, Token::Whitespace(_)))
}

/// The place of PARTITION BY outside of all parentheses.
fn find_clause(tokens: &[TokenWithSpan]) -> Option<usize> {
    let mut depth = 0usize;
    let mut previous: Option<usize> = None;
    for (at, token) in significant(tokens) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0
            && is_keyword(token, Keyword::BY)
            && let Some(before) = previous
            && is_keyword(&tokens[before], Keyword::PARTITION)
        {
            return Some(before);
        }
        previous = Some(at);
    }
    None
}

struct Cursor<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
    source: &'a str,
}

impl Cursor<'_> {
    fn skip_blanks(&mut self) {
        while self.tokens.get(self.at).is_some_and(|t| matches!(t.token, Token::Whitespace(_))) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Result<&TokenWithSpan, Report> {
        self.skip_blanks();
        self.at += 1;
        self.tokens.get(self.at - 1).ok_or_else(|| near(&TokenWithSpan::wrap(Token::EOF), self.source))
    }

    fn error_before(&self) -> Report {
        near(&self.tokens[self.at - 1], self.source)
    }

    fn next_word(&mut self) -> Result<String, Report> {
        match &self.next()?.token {
            Token::Word(word) => Ok(word.value.to_ascii_uppercase()),
            _ => Err(self.error_before()),
        }
    }

    fn word(&mut self, expected: &str) -> Result<(), Report> {
        if self.next_word()? == expected { Ok(()) } else { Err(self.error_before()) }
    }

    fn peek_is(&mut self, word: &str) -> bool {
        self.skip_blanks();
        matches!(self.tokens.get(self.at).map(|t| &t.token), Some(Token::Word(w)) if w.value.eq_ignore_ascii_case(word))
    }

    /// The tokens of one parenthesised list, without its parentheses.
    fn parenthesised(&mut self) -> Result<Vec<TokenWithSpan>, Report> {
        if self.next()?.token != Token::LParen {
            return Err(self.error_before());
        }
        let start = self.at;
        let mut depth = 1;
        while depth > 0 {
            match self.next()?.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
        }
        Ok(self.tokens[start..self.at - 1].to_vec())
    }

    fn columns(&mut self) -> Result<Vec<String>, Report> {
        let mut columns = Vec::new();
        for token in self.parenthesised()? {
            match token.token {
                Token::Word(word) if word.quote_style.is_some() => columns.push(word.value),
                Token::Word(word) => columns.push(word.value.to_lowercase()),
                Token::Comma | Token::Whitespace(_) => {}
                _ => return Err(near(&token, self.source)),
            }
        }
        if columns.is_empty() { Err(self.error_before()) } else { Ok(columns) }
    }

    fn splits(&mut self) -> Result<Vec<Vec<Expr>>, Report> {
        self.word("SPLIT")?;
        self.word("AT")?;
        self.word("VALUES")?;
        let tokens = self.parenthesised()?;
        let dialect = PartitaDialect::default();
        let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
        let lists = parser.parse_comma_separated(Parser::parse_expr).map_err(|e| syntax_error(e, self.source))?;
        Ok(lists
            .into_iter()
            .map(|list| match list {
                Expr::Tuple(values) => values,
                Expr::Nested(value) => vec![*value],
                value => vec![value],
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::parse::{Syntax, parse_statements};

    #[test]
    fn the_clause_is_taken_and_the_rest_stays() {
        let text = "create table t (a int, \"B\" date, primary key (a)) partition by range (a, \"B\") split at values ((1, '2024-01-01'), (5)) with (fillfactor = 70)";
        let parsed = parse_statements(text).unwrap().remove(0);
        let clause = parsed.partitioning.as_ref().unwrap();
        assert_eq!(clause.columns, ["a", "B"]);
        assert_eq!(clause.splits.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
        let Syntax::Statement(statement) = &parsed.syntax else { panic!("a statement") };
        assert!(statement.to_string().ends_with("WITH (fillfactor = 70)"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let report = parse_statements("create table t (a int) partition by heap (a)").unwrap_err();
        assert_eq!(report.message, "syntax error at or near \"heap\"");
        assert!(parse_statements("create table t (a int) partition by hash (a").is_err());
    }

    #[test]
    fn windows_keep_their_partition_by() {
        assert!(parse_statements("create table t as select sum(a) over (partition by b) from u").unwrap()[0].partitioning.is_none());
    }
}
