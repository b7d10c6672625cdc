//! Our dialect: `sqlparser`'s PostgreSQL dialect, with its deviations from PostgreSQL put right.

use std::any::TypeId;

use sqlparser::ast::{ColumnOption, Expr, TrimWhereField, UnaryOperator};
use sqlparser::dialect::{Dialect, PostgreSqlDialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::Token;

/// PostgreSQL's syntax.
#[derive(Debug, Default)]
pub(crate) struct PartitaDialect {
    base: PostgreSqlDialect,
}

macro_rules! delegate {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $result:ty;)*) => {$(
        fn $name(&self, $($arg: $ty),*) -> $result {
            self.base.$name($($arg),*)
        }
    )*};
}

impl Dialect for PartitaDialect {
    // The parser asks for the dialect's type where it has no method for a difference.
    fn dialect(&self) -> TypeId {
        TypeId::of::<PostgreSqlDialect>()
    }

    delegate! {
        identifier_quote_style(identifier: &str) -> Option<char>;
        is_delimited_identifier_start(ch: char) -> bool;
        is_identifier_start(ch: char) -> bool;
        is_identifier_part(ch: char) -> bool;
        supports_unicode_string_literal() -> bool;
        is_reserved_for_identifier(kw: Keyword) -> bool;
        is_table_alias(kw: &Keyword, parser: &mut Parser<'_>) -> bool;
        is_custom_operator_part(ch: char) -> bool;
        get_next_precedence(parser: &Parser<'_>) -> Option<Result<u8, ParserError>>;
        supports_filter_during_aggregation() -> bool;
        supports_group_by_expr() -> bool;
        supports_alter_user_as_alter_role() -> bool;
        prec_value(prec: Precedence) -> u8;
        allow_extract_custom() -> bool;
        allow_extract_single_quotes() -> bool;
        supports_create_index_with_clause() -> bool;
        supports_explain_with_utility_options() -> bool;
        supports_listen_notify() -> bool;
        supports_exclude_constraint() -> bool;
        supports_factorial_operator() -> bool;
        supports_bitwise_shift_operators() -> bool;
        supports_comment_on() -> bool;
        supports_load_extension() -> bool;
        supports_named_fn_args_with_colon_operator() -> bool;
        supports_named_fn_args_with_expr_name() -> bool;
        supports_empty_projections() -> bool;
        supports_nested_comments() -> bool;
        supports_string_escape_constant() -> bool;
        supports_numeric_literal_underscores() -> bool;
        supports_array_typedef_with_brackets() -> bool;
        supports_geometric_types() -> bool;
        supports_order_by_using_operator() -> bool;
        supports_set_names() -> bool;
        supports_alter_column_type_using() -> bool;
        supports_left_associative_joins_without_parens() -> bool;
        supports_notnull_operator() -> bool;
        supports_comma_separated_trim() -> bool;
        supports_interval_options() -> bool;
        supports_insert_table_alias() -> bool;
        supports_create_table_like_parenthesized() -> bool;
        supports_select_wildcard_with_alias() -> bool;
        supports_aliased_function_args() -> bool;
    }

    fn parse_column_option(&self, parser: &mut Parser<'_>) -> Result<Option<Result<Option<ColumnOption>, ParserError>>, ParserError> {
        Ok(crate::object_syntax::identity_option(parser).map(|option| option.map(Some)))
    }

    fn parse_prefix(&self, parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
        // In PostgreSQL a sign binds closer than `^` and all other binary operators.
        let op = match &parser.peek_token_ref().token {
            Token::Minus => UnaryOperator::Minus,
            Token::Plus => UnaryOperator::Plus,
            Token::Word(word) if word.keyword == Keyword::TRIM && word.quote_style.is_none() => return blanks_trimmed(parser),
            _ => return None,
        };
        parser.next_token();
        let operand = parser.parse_subexpr(self.prec_value(Precedence::Caret));
        Some(operand.map(|expr| Expr::UnaryOp { op, expr: Box::new(expr) }))
    }
}

/// `TRIM(FROM text)`, `TRIM(BOTH FROM text)`: without the characters to trim; the parser knows the other forms.
fn blanks_trimmed(parser: &mut Parser<'_>) -> Option<Result<Expr, ParserError>> {
    let keyword = |n: usize| match &parser.peek_nth_token_ref(n).token {
        Token::Word(word) if word.quote_style.is_none() => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let opens = parser.peek_nth_token_ref(1).token == Token::LParen;
    let trim_where = match keyword(2) {
        Keyword::BOTH => Some(TrimWhereField::Both),
        Keyword::LEADING => Some(TrimWhereField::Leading),
        Keyword::TRAILING => Some(TrimWhereField::Trailing),
        _ => None,
    };
    let before_from = if trim_where.is_some() { 3 } else { 2 };
    if !opens || keyword(before_from) != Keyword::FROM {
        return None;
    }
    for _ in 0..=before_from {
        parser.next_token();
    }
    let trimmed = parser.parse_expr().and_then(|expr| parser.expect_token(&Token::RParen).map(|_| expr));
    Some(trimmed.map(|expr| Expr::Trim { expr: Box::new(expr), trim_where, trim_what: None, trim_characters: None }))
}
