//! COPY as PostgreSQL writes it and `sqlparser` does not read it: its tokens are put into the form that the parser knows.
//!
//! - `FREEZE on`, `HEADER off`, `HEADER 1`: any spelling of a boolean becomes TRUE or FALSE.
//! - `FORCE_QUOTE *` becomes a list of the one column [`ALL_COLUMNS`].
//! - `E'\t'` becomes a plain string.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::parse::is_keyword;

/// Stands for `*` in `FORCE_QUOTE *`: no column has this name, as names are not empty.
pub const ALL_COLUMNS: &str = "";

/// Rewrites the tokens of a COPY; leaves those of any other statement.
pub(crate) fn normalise(tokens: &mut Vec<TokenWithSpan>) {
    let significant: Vec<usize> = (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    if !significant.first().is_some_and(|at| is_keyword(&tokens[*at], Keyword::COPY)) {
        return;
    }
    let mut insert_parentheses = Vec::new();
    for pair in significant.windows(2) {
        let [option, value] = [pair[0], pair[1]];
        if let Token::EscapedStringLiteral(text) = &tokens[value].token {
            tokens[value].token = Token::SingleQuotedString(text.clone());
        }
        if is_keyword(&tokens[option], Keyword::FREEZE) || is_keyword(&tokens[option], Keyword::HEADER) {
            if let Some(on) = boolean(&tokens[value].token) {
                tokens[value].token = Token::make_keyword(if on { "TRUE" } else { "FALSE" });
            }
        } else if is_keyword(&tokens[option], Keyword::FORCE_QUOTE) && tokens[value].token == Token::Mul {
            tokens[value].token = Token::make_word(ALL_COLUMNS, Some('"'));
            insert_parentheses.push(value);
        }
    }
    for at in insert_parentheses.into_iter().rev() {
        let beside = |token| TokenWithSpan { token, span: tokens[at].span };
        let (open, close) = (beside(Token::LParen), beside(Token::RParen));
        tokens.insert(at + 1, close);
        tokens.insert(at, open);
    }
}

fn boolean(token: &Token) -> Option<bool> {
    let text = match token {
        Token::Word(word) => word.value.as_str(),
        Token::SingleQuotedString(text) | Token::Number(text, _) => text.as_str(),
        _ => return None,
    };
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "1" => Some(true),
        "false" | "off" | "0" => Some(false),
        _ => None,
    }
}
