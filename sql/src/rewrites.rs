//! Syntax that the parser does not know, said in other tokens before it is parsed. What has no other words gets names that begin with `\u{1}`, which no
//! text can hold; the binder knows them.

use common::error::Report;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Whitespace};

use crate::parse::is_keyword;

/// All of them, on the tokens of one statement.
pub(crate) fn apply(tokens: &mut Vec<TokenWithSpan>) -> Result<(), Report> {
    table_commands(tokens);
    merge_actions(tokens);
    rows_from(tokens);
    using_aliases(tokens);
    distinct_groups(tokens);
    frame_exclusions(tokens)
}

/// `TABLE t` at the beginning of a query is `SELECT * FROM t`.
fn table_commands(tokens: &mut Vec<TokenWithSpan>) {
    let keyword = |token: &Token| if let Token::Word(word) = token { word.keyword } else { Keyword::NoKeyword };
    let is_blank = |t: &&TokenWithSpan| matches!(t.token, Token::Whitespace(_) | Token::LParen);
    let first = tokens.iter().find(|t| !is_blank(t)).map(|t| keyword(&t.token));
    let is_query =
        matches!(first, Some(Keyword::TABLE | Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::INSERT | Keyword::MERGE));
    let holds_query = matches!(first, Some(Keyword::EXPLAIN | Keyword::CREATE | Keyword::COPY | Keyword::PREPARE | Keyword::DECLARE));
    if !is_query && !holds_query {
        return;
    }
    let mut before: Option<Token> = None;
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at].token.clone();
        let begins = match &before {
            None | Some(Token::LParen) => true,
            // The source of an INSERT.
            Some(other) if is_query && keyword(other) != Keyword::INTO => true,
            Some(other) => {
                matches!(
                    keyword(other),
                    Keyword::UNION
                        | Keyword::ALL
                        | Keyword::INTERSECT
                        | Keyword::EXCEPT
                        | Keyword::EXPLAIN
                        | Keyword::ANALYZE
                        | Keyword::AS
                        | Keyword::FOR
                )
            }
        };
        if begins && keyword(&token) == Keyword::TABLE {
            let span = tokens[at].span;
            let blank = Token::Whitespace(Whitespace::Space);
            let select = [Token::make_keyword("SELECT"), blank.clone(), Token::Mul, blank, Token::make_keyword("FROM")];
            let count = select.len();
            tokens.splice(at..=at, select.into_iter().map(|token| TokenWithSpan { token, span }));
            at += count - 1;
        }
        if !matches!(token, Token::Whitespace(_)) {
            before = Some(token);
        }
        at += 1;
    }
}

/// In a MERGE, `INSERT DEFAULT VALUES` is said as `INSERT VALUES (DEFAULT)`, which the parser knows: values that are not given are defaults too.
fn merge_actions(tokens: &mut Vec<TokenWithSpan>) {
    const WORDS: [Keyword; 4] = [Keyword::THEN, Keyword::INSERT, Keyword::DEFAULT, Keyword::VALUES];
    let significant: Vec<usize> = (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    for places in significant.windows(WORDS.len()).rev() {
        if places.iter().zip(WORDS).all(|(place, word)| is_keyword(&tokens[*place], word)) {
            let span = tokens[places[2]].span;
            let values = [Token::make_keyword("VALUES"), Token::LParen, Token::make_keyword("DEFAULT"), Token::RParen];
            tokens.splice(places[2]..=places[3], values.map(|token| TokenWithSpan { token, span }));
        }
    }
}

/// The function that stands for ROWS FROM: its arguments are the functions.
pub(crate) const ROWS_FROM: &str = "\u{1}rows from";

/// `ROWS FROM (…)` is said as a call of [`ROWS_FROM`].
fn rows_from(tokens: &mut Vec<TokenWithSpan>) {
    let significant: Vec<usize> = (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    for places in significant.windows(3).rev() {
        let is_it = is_keyword(&tokens[places[0]], Keyword::ROWS) && is_keyword(&tokens[places[1]], Keyword::FROM);
        if is_it && tokens[places[2]].token == Token::LParen {
            let span = tokens[places[0]].span;
            tokens.splice(places[0]..=places[1], [TokenWithSpan { token: Token::make_word(ROWS_FROM, Some('"')), span }]);
        }
    }
}

/// Before the alias of the columns of a JOIN … USING.
pub(crate) const USING_ALIAS: char = '\u{1}';

/// `USING (a, b) AS j` is said as one more column of the list, `\u{1}j`.
fn using_aliases(tokens: &mut Vec<TokenWithSpan>) {
    let significant: Vec<usize> = (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    for start in (0..significant.len()).rev() {
        if !is_keyword(&tokens[significant[start]], Keyword::USING) {
            continue;
        }
        let token = |n: usize| significant.get(start + n).map(|at| &tokens[*at]);
        let mut n = 2;
        while token(n).is_some_and(|t| matches!(t.token, Token::Word(_))) && token(n + 1).is_some_and(|t| t.token == Token::Comma) {
            n += 2;
        }
        let is_list = token(1).is_some_and(|t| t.token == Token::LParen) && token(n).is_some_and(|t| matches!(t.token, Token::Word(_)));
        let is_named = token(n + 1).is_some_and(|t| t.token == Token::RParen) && token(n + 2).is_some_and(|t| is_keyword(t, Keyword::AS));
        let Some(TokenWithSpan { token: Token::Word(alias), span }) = token(n + 3) else { continue };
        if !is_list || !is_named {
            continue;
        }
        let name = if alias.quote_style.is_some() { alias.value.clone() } else { alias.value.to_lowercase() };
        let column = Token::make_word(&format!("{USING_ALIAS}{name}"), Some('"'));
        let span = *span;
        let more = [Token::Comma, column, Token::RParen].map(|token| TokenWithSpan { token, span });
        tokens.splice(significant[start + n + 1]..=significant[start + n + 3], more);
    }
}

/// The first item of a GROUP BY DISTINCT.
pub(crate) const DISTINCT_GROUPS: &str = "\u{1}distinct";

/// `GROUP BY DISTINCT …` is said as one more item, [`DISTINCT_GROUPS`].
fn distinct_groups(tokens: &mut Vec<TokenWithSpan>) {
    let significant: Vec<usize> = (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    for places in significant.windows(3).rev() {
        if places.iter().zip([Keyword::GROUP, Keyword::BY, Keyword::DISTINCT]).all(|(at, word)| is_keyword(&tokens[*at], word)) {
            let span = tokens[places[2]].span;
            let item = [Token::SingleQuotedString(DISTINCT_GROUPS.to_owned()), Token::Comma];
            tokens.splice(places[2]..=places[2], item.map(|token| TokenWithSpan { token, span }));
        }
    }
}

/// `EXCLUDE NO OTHERS` at the end of a window frame says nothing. The parser knows no exclusion.
fn frame_exclusions(tokens: &mut Vec<TokenWithSpan>) -> Result<(), Report> {
    let word = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) if word.quote_style.is_none() => word.value.to_ascii_uppercase(),
        Token::RParen => ")".to_owned(),
        _ => String::new(),
    };
    let significant: Vec<usize> = (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    for places in significant.windows(4).rev() {
        let [a, b, c, d] = [0, 1, 2, 3].map(|n| word(&tokens[places[n]]));
        match [a.as_str(), &b, &c, &d] {
            ["EXCLUDE", "NO", "OTHERS", ")"] => drop(tokens.drain(places[0]..places[3])),
            ["EXCLUDE", "CURRENT", "ROW", ")"] | ["EXCLUDE", "GROUP" | "TIES", ")", _] => {
                return Err(Report::unsupported(format!("EXCLUDE {b} in a window frame")));
            }
            _ => {}
        }
    }
    Ok(())
}
