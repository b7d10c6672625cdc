//! `[NOT] DEFERRABLE` among the modes of BEGIN, START TRANSACTION and SET … TRANSACTION, which the parser does not know.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::parse::is_keyword;

/// Takes the mode out of a statement's tokens.
pub(crate) fn take_deferrable(tokens: &mut Vec<TokenWithSpan>) -> Option<bool> {
    let words: Vec<usize> = (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    let is = |place: usize, keyword| words.get(place).is_some_and(|at| is_keyword(&tokens[*at], keyword));
    let about_transactions = is(0, Keyword::BEGIN)
        || is(0, Keyword::START)
        || (is(0, Keyword::SET) && (is(1, Keyword::TRANSACTION) || (is(1, Keyword::SESSION) && is(2, Keyword::CHARACTERISTICS))));
    if !about_transactions {
        return None;
    }
    let mode = words.iter().position(|at| is_keyword(&tokens[*at], Keyword::DEFERRABLE))?;
    let negated = mode > 0 && is(mode - 1, Keyword::NOT);
    let first = if negated { mode - 1 } else { mode };
    let is_comma = |place: Option<usize>| place.and_then(|place| words.get(place)).is_some_and(|at| tokens[*at].token == Token::Comma);
    // One comma of those around it goes too.
    let (from, to) = if is_comma(first.checked_sub(1)) {
        (first - 1, mode)
    } else if is_comma(Some(mode + 1)) {
        (first, mode + 1)
    } else {
        (first, mode)
    };
    let taken = words[from]..=words[to];
    tokens.drain(taken);
    Some(!negated)
}

#[cfg(test)]
mod tests {
    use crate::parse::parse_statements;

    #[test]
    fn the_mode_is_taken_from_anywhere_in_the_list() {
        let parsed = |text: &str| {
            let statement = parse_statements(text).unwrap().remove(0);
            let crate::parse::Syntax::Statement(tree) = statement.syntax else { panic!("a statement") };
            (statement.deferrable, tree.to_string())
        };
        for (text, deferrable, rest) in [
            ("begin", None, "BEGIN"),
            ("begin deferrable", Some(true), "BEGIN"),
            ("begin isolation level serializable, read only, deferrable", Some(true), "BEGIN ISOLATION LEVEL SERIALIZABLE, READ ONLY"),
            ("start transaction not deferrable, read only", Some(false), "START TRANSACTION READ ONLY"),
            ("set transaction read only not deferrable read only", Some(false), "SET TRANSACTION READ ONLY, READ ONLY"),
        ] {
            assert_eq!(parsed(text), (deferrable, rest.to_owned()), "{text}");
        }
        assert!(parse_statements("begin, deferrable, deferrable").is_err());
    }
}
