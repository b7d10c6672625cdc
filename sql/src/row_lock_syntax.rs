//! FOR UPDATE and its relatives, as `sqlparser` does not know them all: the clause is given the one form that it parses, `FOR UPDATE OF …`, with
//! the strength as the first part of the name and the tables as the others; LIMIT and OFFSET that stand behind it are put before it.

use sqlparser::ast::{LockClause, NonBlock, ObjectName};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan, Whitespace, Word};

use crate::bound::RowLockStrength;

/// Before the strength, in the first part of the name.
const MARK: char = '\u{1}';

/// A locking clause, read back.
#[derive(Debug)]
pub(crate) struct RowLockClause {
    pub(crate) strength: RowLockStrength,
    /// The tables that OF names; none: all.
    pub(crate) tables: Vec<sqlparser::ast::Ident>,
    pub(crate) nonblock: Option<NonBlock>,
}

/// Rewrites the locking clauses of a statement.
pub(crate) fn normalise(tokens: &mut Vec<TokenWithSpan>) {
    let is_for = |t: &TokenWithSpan| keyword(&t.token) == Keyword::FOR;
    let mut at = 0;
    while let Some(found) = tokens[at..].iter().position(is_for).map(|place| at + place) {
        at = match clause(tokens, found) {
            Some((end, replacement)) => {
                let length = replacement.len();
                tokens.splice(found..end, replacement);
                let end = found + length;
                match limit_behind(tokens, end) {
                    Some(limit_end) => {
                        tokens[found..limit_end].rotate_left(length);
                        limit_end
                    }
                    None => end,
                }
            }
            None => found + 1,
        };
    }
}

/// What a clause of the parser stands for.
pub(crate) fn read(clause: &LockClause) -> RowLockClause {
    let parts = clause.of.as_ref().map(|ObjectName(parts)| parts.as_slice()).unwrap_or_default();
    let mut idents = parts.iter().filter_map(|part| part.as_ident().cloned());
    let strength = idents.next().and_then(|first| RowLockStrength::ALL.into_iter().find(|s| first.value == marked(*s)));
    RowLockClause { strength: strength.unwrap_or(RowLockStrength::Update), tables: idents.collect(), nonblock: clause.nonblock }
}

fn marked(strength: RowLockStrength) -> String {
    format!("{MARK}{}", strength.clause())
}

fn keyword(token: &Token) -> Keyword {
    match token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// The next token that is no blank, and its place.
fn next(tokens: &[TokenWithSpan], from: usize) -> Option<(usize, &Token)> {
    tokens[from..].iter().position(|t| !matches!(t.token, Token::Whitespace(_))).map(|at| (from + at, &tokens[from + at].token))
}

/// A locking clause that begins at FOR: where it ends, and what stands for it.
fn clause(tokens: &[TokenWithSpan], start: usize) -> Option<(usize, Vec<TokenWithSpan>)> {
    let mut at = start + 1;
    let mut take = |wanted: &[Keyword]| {
        let mut end = at;
        for keyword_wanted in wanted {
            let (place, token) = next(tokens, end)?;
            if keyword(token) != *keyword_wanted {
                return None;
            }
            end = place + 1;
        }
        at = end;
        Some(())
    };
    let forms: [(&[Keyword], RowLockStrength); 4] = [
        (&[Keyword::NO, Keyword::KEY, Keyword::UPDATE], RowLockStrength::NoKeyUpdate),
        (&[Keyword::KEY, Keyword::SHARE], RowLockStrength::KeyShare),
        (&[Keyword::UPDATE], RowLockStrength::Update),
        (&[Keyword::SHARE], RowLockStrength::Share),
    ];
    let strength = forms.into_iter().find_map(|(words, strength)| take(words).map(|()| strength))?;
    let has_tables = take(&[Keyword::OF]).is_some();
    let span = tokens[start].span;
    let mut out = Vec::new();
    let mut put = |token: Token, span: Span| {
        out.push(TokenWithSpan { token, span });
        out.push(TokenWithSpan { token: Token::Whitespace(Whitespace::Space), span });
    };
    put(Token::make_keyword("FOR"), span);
    put(Token::make_keyword("UPDATE"), span);
    put(Token::make_keyword("OF"), span);
    let mark = Word { value: marked(strength), quote_style: Some('"'), keyword: Keyword::NoKeyword };
    put(Token::Word(mark), span);
    if has_tables {
        loop {
            let (place, token) = next(tokens, at)?;
            let Token::Word(_) = token else { return None };
            put(Token::Period, span);
            put(token.clone(), tokens[place].span);
            at = place + 1;
            match next(tokens, at) {
                Some((comma, Token::Comma)) => at = comma + 1,
                _ => break,
            }
        }
    }
    while let Some((place, token)) = next(tokens, at)
        && matches!(keyword(token), Keyword::NOWAIT | Keyword::SKIP | Keyword::LOCKED)
    {
        put(token.clone(), tokens[place].span);
        at = place + 1;
    }
    Some((at, out))
}

/// Where a LIMIT, OFFSET or FETCH ends that stands behind the clause.
fn limit_behind(tokens: &[TokenWithSpan], end: usize) -> Option<usize> {
    let (begin, first) = next(tokens, end)?;
    if !matches!(keyword(first), Keyword::LIMIT | Keyword::OFFSET | Keyword::FETCH) {
        return None;
    }
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(begin) {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => return Some(place),
            Token::RParen => depth -= 1,
            other if depth == 0 && matches!(keyword(other), Keyword::FOR | Keyword::ON | Keyword::RETURNING) => return Some(place),
            _ => {}
        }
    }
    Some(tokens.len())
}

#[cfg(test)]
mod tests {
    use sqlparser::dialect::PostgreSqlDialect;
    use sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn rewritten(text: &str) -> String {
        let mut tokens = Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().unwrap();
        normalise(&mut tokens);
        let text: Vec<String> = tokens.iter().map(|t| t.token.to_string()).collect();
        text.join(" ").replace(MARK, "").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn clauses_take_one_form() {
        assert_eq!(
            rewritten("select 1 from t for no key update of a, b nowait"),
            r#"select 1 from t FOR UPDATE OF "NO KEY UPDATE" . a . b nowait"#
        );
        assert_eq!(rewritten("(select 1 for share) for key share"), r#"( select 1 FOR UPDATE OF "SHARE" ) FOR UPDATE OF "KEY SHARE""#);
        assert_eq!(rewritten("select substring(a from 1 for 2)"), "select substring ( a from 1 for 2 )");
    }

    #[test]
    fn a_limit_goes_before_the_clause() {
        let expected = r#"( select 1 from t order by a limit 1 offset 2 FOR UPDATE OF "UPDATE" skip locked ) x"#;
        assert_eq!(rewritten("(select 1 from t order by a for update skip locked limit 1 offset 2) x"), expected);
        assert_eq!(rewritten("select 1 for share limit (1)"), r#"select 1 limit ( 1 ) FOR UPDATE OF "SHARE""#);
    }
}
