//! Forms of CREATE TABLE that `sqlparser` does not read: they are put into ones that it knows.
//!
//! - `CREATE TABLE t (a, b) AS …`: the columns get a type that nobody reads.
//! - `CREATE TABLE t (LIKE u INCLUDING ALL, …)`: a column of the name [`LIKE_COLUMN`], whose type is the table's name and whose modifiers are the options.
//! - `SELECT … INTO t FROM …`: CREATE TABLE t AS SELECT ….

use sqlparser::ast::helpers::stmt_create_table::CreateTableBuilder;
use sqlparser::ast::{DataType, Expr, ObjectName, SetExpr, Statement};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::parse::is_keyword;

/// Stands for a LIKE clause among the columns: no column has this name.
pub const LIKE_COLUMN: &str = "\u{1}like";

/// A LIKE clause.
#[derive(Clone, PartialEq, Debug)]
pub struct Like {
    pub table: ObjectName,
    /// `(INCLUDING, what)` in order, in lower case.
    pub options: Vec<(bool, String)>,
}

/// The LIKE clause that a column's type stands for.
pub fn like_of(ty: &DataType) -> Option<Like> {
    let DataType::Custom(table, modifiers) = ty else { return None };
    let option = |text: &String| {
        let text = text.trim_matches('\'').to_lowercase();
        let (how, what) = text.split_once(' ')?;
        Some((how == "including", what.to_owned()))
    };
    Some(Like { table: table.clone(), options: modifiers.iter().filter_map(option).collect() })
}

/// Rewrites the tokens of a CREATE TABLE; leaves those of any other statement.
pub(crate) fn normalise(tokens: &mut Vec<TokenWithSpan>) {
    let significant: Vec<usize> = (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    let is = |at: usize, keyword| significant.get(at).is_some_and(|at| is_keyword(&tokens[*at], keyword));
    let creates = is(0, Keyword::CREATE) && (1..=3).any(|at| is(at, Keyword::TABLE));
    let Some(open) = significant.iter().position(|at| tokens[*at].token == Token::LParen).filter(|_| creates) else { return };
    match names_only(tokens, &significant, open) {
        Some(names) => {
            for at in names.into_iter().rev() {
                let span = tokens[at].span;
                let blank = Token::Whitespace(sqlparser::tokenizer::Whitespace::Space);
                let ty = [blank, Token::make_keyword("TEXT")];
                tokens.splice(at + 1..at + 1, ty.into_iter().map(|token| TokenWithSpan { token, span }));
            }
        }
        None => like_clauses(tokens),
    }
}

/// The places of the names in `(a, b) AS`; `None` for a list of anything else.
fn names_only(tokens: &[TokenWithSpan], significant: &[usize], open: usize) -> Option<Vec<usize>> {
    let mut names = Vec::new();
    let mut at = open + 1;
    loop {
        let name = *significant.get(at)?;
        matches!(tokens[name].token, Token::Word(_)).then(|| names.push(name))?;
        match tokens[*significant.get(at + 1)?].token {
            Token::Comma => at += 2,
            Token::RParen => break,
            _ => return None,
        }
    }
    // Options may stand between the list and AS.
    let rest = &significant[at + 2..];
    let is_as = |keyword| rest.first().is_some_and(|at| is_keyword(&tokens[*at], keyword));
    (is_as(Keyword::AS) || is_as(Keyword::WITH) || is_as(Keyword::ON)).then_some(names)
}

fn like_clauses(tokens: &mut Vec<TokenWithSpan>) {
    let mut depth = 0_usize;
    let mut at = 0;
    let mut begins = false;
    while at < tokens.len() {
        match &tokens[at].token {
            Token::Whitespace(_) => {
                at += 1;
                continue;
            }
            Token::LParen => {
                depth += 1;
                begins = depth == 1;
            }
            Token::RParen => {
                depth = depth.saturating_sub(1);
                begins = false;
            }
            Token::Comma => begins = depth == 1,
            _ if begins && is_keyword(&tokens[at], Keyword::LIKE) => {
                one_like(tokens, at);
                begins = false;
            }
            _ => begins = false,
        }
        at += 1;
    }
}

/// `LIKE a.b INCLUDING x EXCLUDING y` → `"like" a.b('including x', 'excluding y')`
fn one_like(tokens: &mut Vec<TokenWithSpan>, at: usize) {
    let span = tokens[at].span;
    tokens[at].token = Token::make_word(LIKE_COLUMN, Some('"'));
    let word = |t: &Token| if let Token::Word(w) = t { w.value.to_lowercase() } else { String::new() };
    let mut end = at + 1;
    let mut options: Vec<Token> = Vec::new();
    let mut first = None;
    while end < tokens.len() && !matches!(tokens[end].token, Token::Comma | Token::RParen) {
        let how = word(&tokens[end].token);
        if matches!(how.as_str(), "including" | "excluding") {
            first.get_or_insert(end);
            let what = tokens[end + 1..].iter().find(|t| !matches!(t.token, Token::Whitespace(_))).map(|t| word(&t.token));
            if !options.is_empty() {
                options.push(Token::Comma);
            }
            options.push(Token::SingleQuotedString(format!("{how} {}", what.unwrap_or_default())));
        }
        end += 1;
    }
    if let Some(first) = first {
        let list = std::iter::once(Token::LParen).chain(options).chain([Token::RParen]);
        tokens.splice(first..end, list.map(|token| TokenWithSpan { token, span }));
    }
}

/// `SELECT … INTO t` as the CREATE TABLE that it is.
pub(crate) fn into_table(statement: Statement) -> Statement {
    let Statement::Query(mut query) = statement else { return statement };
    let SetExpr::Select(select) = query.body.as_mut() else { return Statement::Query(query) };
    let Some(into) = select.into.take() else { return Statement::Query(query) };
    let name = match into.targets.as_slice() {
        [Expr::Identifier(name)] => ObjectName::from(vec![name.clone()]),
        [Expr::CompoundIdentifier(parts)] => ObjectName::from(parts.clone()),
        _ => {
            // Binding tells what is wrong.
            select.into = Some(into);
            return Statement::Query(query);
        }
    };
    CreateTableBuilder::new(name).temporary(into.temporary).query(Some(query)).build().into()
}
