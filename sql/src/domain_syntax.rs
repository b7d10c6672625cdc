//! CREATE DOMAIN and ALTER DOMAIN, which say what a column definition and ALTER TABLE say: they become statements about a table of one column
//! `value`, whose name begins with a mark that no name has.

use sqlparser::ast::ObjectName;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

/// The first part of the name.
const MARK: &str = "\u{1}domain";
/// The column, and what a condition calls the value.
pub const VALUE: &str = "value";

/// Rewrites the statement, if it is one of these.
pub(crate) fn normalise(tokens: &mut Vec<TokenWithSpan>) {
    let keyword = |token: &Token| if let Token::Word(word) = token { word.keyword } else { Keyword::NoKeyword };
    let places: Vec<usize> = (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    let word = |at: usize| places.get(at).map_or(Keyword::NoKeyword, |place| keyword(&tokens[*place].token));
    let creates = word(0) == Keyword::CREATE;
    if !(creates || word(0) == Keyword::ALTER) || word(1) != Keyword::DOMAIN {
        return;
    }
    let mut end = 3;
    while places.get(end).is_some_and(|place| tokens[*place].token == Token::Period) {
        end += 2;
    }
    let Some(&name) = places.get(2) else { return };
    let Some(&after) = places.get(end) else { return };
    let body = if creates && word(end) == Keyword::AS { after + 1 } else { after };
    let alters_column =
        !creates && (matches!(word(end), Keyword::SET) || word(end) == Keyword::DROP && word(end + 1) != Keyword::CONSTRAINT);
    let span = tokens[name].span;
    let add = |out: &mut Vec<TokenWithSpan>, token: Token| out.push(TokenWithSpan { token, span });
    let mut out = tokens[..name].to_vec();
    out[places[1]].token = Token::make_keyword("TABLE");
    add(&mut out, quoted(MARK));
    add(&mut out, Token::Period);
    out.extend_from_slice(&tokens[name..after]);
    if creates {
        add(&mut out, Token::LParen);
        add(&mut out, quoted(VALUE));
    } else if alters_column {
        add(&mut out, Token::make_keyword("ALTER"));
        add(&mut out, Token::make_keyword("COLUMN"));
        add(&mut out, quoted(VALUE));
    }
    out.extend_from_slice(&tokens[body..]);
    if creates {
        add(&mut out, Token::RParen);
    }
    *tokens = out;
}

fn quoted(name: &str) -> Token {
    Token::Word(Word { value: name.to_owned(), quote_style: Some('"'), keyword: Keyword::NoKeyword })
}

/// The domain that a table's name stands for; `None` for a table.
pub fn domain_name(name: &ObjectName) -> Option<ObjectName> {
    let (first, rest) = name.0.split_first()?;
    (first.as_ident()?.value == MARK).then(|| ObjectName(rest.to_vec()))
}
