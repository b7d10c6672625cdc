//! `UPDATE … SET a[1] = x`: the parser knows columns only as targets. The subscripts are put behind the column's name as a second name, which
//! begins with a mark that no name has, and the binder reads them from there.

use sqlparser::ast::{AccessExpr, Expr, Ident, ObjectName, Subscript};
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::error::Result;

/// The first character of a name that holds subscripts.
const MARK: char = '\u{1}';

/// Rewrites the targets of SET lists that have subscripts.
pub(crate) fn normalise(tokens: &mut Vec<TokenWithSpan>) {
    let (mut depth, mut set_at, mut expects_target) = (0_usize, None, false);
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at].token {
            Token::Whitespace(_) => {}
            Token::LParen | Token::LBracket => {
                depth += 1;
                expects_target = false;
            }
            Token::RParen | Token::RBracket => {
                depth = depth.saturating_sub(1);
                expects_target = false;
            }
            Token::Comma => expects_target = set_at == Some(depth),
            Token::Word(word) if word.keyword == Keyword::SET => {
                set_at = Some(depth);
                expects_target = true;
            }
            Token::Word(word) if matches!(word.keyword, Keyword::WHERE | Keyword::FROM | Keyword::RETURNING) && set_at == Some(depth) => {
                set_at = None;
                expects_target = false;
            }
            Token::Word(_) if expects_target => {
                hide_subscripts(tokens, at + 1);
                expects_target = false;
            }
            _ => expects_target = false,
        }
        at += 1;
    }
}

/// Puts `[…][…]` from that token on into a name, if an assignment follows.
fn hide_subscripts(tokens: &mut Vec<TokenWithSpan>, start: usize) {
    let (mut depth, mut end) = (0_usize, start);
    let mut text = String::from(MARK);
    for (at, token) in tokens.iter().enumerate().skip(start) {
        match &token.token {
            Token::LBracket => depth += 1,
            Token::RBracket => depth = depth.saturating_sub(1),
            Token::Whitespace(_) => {}
            Token::Eq if depth == 0 => {
                end = at;
                break;
            }
            _ if depth == 0 => return,
            _ => {}
        }
        text.push_str(&token.token.to_string());
    }
    if end == start || !text[MARK.len_utf8()..].trim_start().starts_with('[') {
        return;
    }
    let span = tokens[start].span;
    let name = Token::Word(Word { value: text, quote_style: Some('"'), keyword: Keyword::NoKeyword });
    tokens.splice(start..end, [Token::Period, name].map(|token| TokenWithSpan { token, span }));
}

/// The column's name and the subscripts of a target; `None` when it has none.
pub(crate) fn read(name: &ObjectName) -> Result<Option<(ObjectName, Vec<Subscript>)>> {
    let [column, hidden] = name.0.as_slice() else { return Ok(None) };
    let Some(text) = hidden.as_ident().and_then(|ident: &Ident| ident.value.strip_prefix(MARK)) else { return Ok(None) };
    let tree = crate::parse::parse_expression(&format!("x{text}"))?;
    let Expr::CompoundFieldAccess { access_chain, .. } = tree else { return Ok(None) };
    let subscripts = access_chain.into_iter().map(|a| if let AccessExpr::Subscript(s) = a { Some(s) } else { None });
    Ok(subscripts.collect::<Option<Vec<_>>>().map(|subscripts| (ObjectName(vec![column.clone()]), subscripts)))
}
