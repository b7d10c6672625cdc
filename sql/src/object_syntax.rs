//! Statements about schema objects that `sqlparser` does not know, or knows in one order of their options only: CREATE and ALTER SEQUENCE, ALTER of
//! views, indexes and schemas, tables that move to another schema, REFRESH MATERIALIZED VIEW.

use sqlparser::ast::{
    ColumnOption, DataType, Expr, GeneratedAs, Ident, ObjectName, SequenceOptions as ParserOptions, UnaryOperator, Value,
};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

/// The kinds of objects that the statements here are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectKind {
    Table,
    Index,
    Sequence,
    View,
    MaterializedView,
    Schema,
}

impl ObjectKind {
    /// As SQL writes it.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::Index => "INDEX",
            Self::Sequence => "SEQUENCE",
            Self::View => "VIEW",
            Self::MaterializedView => "MATERIALIZED VIEW",
            Self::Schema => "SCHEMA",
        }
    }
}

/// Options of a sequence, as written; those that were left out are `None`.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SequenceOptions {
    pub ty: Option<DataType>,
    pub increment: Option<i64>,
    /// `Some(None)`: NO MINVALUE.
    pub min: Option<Option<i64>>,
    pub max: Option<Option<i64>>,
    pub start: Option<i64>,
    /// `Some(None)`: where it started.
    pub restart: Option<Option<i64>>,
    pub cache: Option<i64>,
    pub cycle: Option<bool>,
    /// `Some(None)`: NONE.
    pub owned_by: Option<Option<ObjectName>>,
    /// The name of an identity column's sequence.
    pub name: Option<ObjectName>,
}

/// A statement about an object.
#[derive(Clone, PartialEq, Debug)]
pub enum ObjectStatement {
    CreateSequence {
        temporary: bool,
        if_not_exists: bool,
        name: ObjectName,
        options: SequenceOptions,
    },
    AlterSequence {
        if_exists: bool,
        name: ObjectName,
        options: SequenceOptions,
    },
    Rename {
        kind: ObjectKind,
        if_exists: bool,
        name: ObjectName,
        to: Ident,
    },
    SetSchema {
        kind: ObjectKind,
        if_exists: bool,
        name: ObjectName,
        schema: Ident,
    },
    /// There is one role: accepted when the object is there.
    OwnerTo {
        kind: ObjectKind,
        if_exists: bool,
        name: ObjectName,
    },
    /// `ALTER TABLE … ALTER COLUMN … DROP IDENTITY [IF EXISTS]`
    DropIdentity {
        table: ObjectName,
        column: Ident,
        if_exists: bool,
    },
    /// `ALTER TABLE … ALTER COLUMN … DROP EXPRESSION [IF EXISTS]`
    DropExpression {
        table: ObjectName,
        column: Ident,
        if_exists: bool,
    },
    Refresh {
        name: ObjectName,
        with_data: bool,
    },
}

type Parsed<T> = Result<T, ParserError>;

/// Whether the tokens begin such a statement.
pub(crate) fn begins(tokens: &[TokenWithSpan]) -> bool {
    let words: Vec<String> = tokens
        .iter()
        .filter(|t| !matches!(t.token, Token::Whitespace(_)))
        .map(|t| if let Token::Word(w) = &t.token { w.value.to_ascii_uppercase() } else { String::new() })
        .collect();
    let word = |at: usize| words.get(at).map_or("", String::as_str);
    let has = |a: &str, b: &str| words.windows(2).any(|pair| pair[0] == a && pair[1] == b);
    match (word(0), word(1)) {
        ("CREATE", "SEQUENCE") => true,
        ("CREATE", "TEMP" | "TEMPORARY") => word(2) == "SEQUENCE",
        ("ALTER", "SEQUENCE" | "INDEX" | "SCHEMA") => true,
        ("ALTER", "VIEW") => has("RENAME", "TO") || has("SET", "SCHEMA") || has("OWNER", "TO"),
        ("ALTER", "MATERIALIZED") | ("REFRESH", "MATERIALIZED") => true,
        ("ALTER", "TABLE") => has("SET", "SCHEMA") || has("DROP", "IDENTITY") || has("DROP", "EXPRESSION"),
        _ => false,
    }
}

/// Parses it.
pub(crate) fn parse(parser: &mut Parser<'_>) -> Parsed<ObjectStatement> {
    if parser.parse_keyword(Keyword::CREATE) {
        let temporary = parser.parse_one_of_keywords(&[Keyword::TEMP, Keyword::TEMPORARY]).is_some();
        parser.expect_keyword(Keyword::SEQUENCE)?;
        let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
        let name = parser.parse_object_name(false)?;
        return Ok(ObjectStatement::CreateSequence { temporary, if_not_exists, name, options: sequence_options(parser)? });
    }
    if accepts(parser, "REFRESH") {
        parser.expect_keywords(&[Keyword::MATERIALIZED, Keyword::VIEW])?;
        accepts(parser, "CONCURRENTLY");
        let name = parser.parse_object_name(false)?;
        let mut with_data = true;
        if parser.parse_keyword(Keyword::WITH) {
            with_data = !parser.parse_keyword(Keyword::NO);
            parser.expect_keyword(Keyword::DATA)?;
        }
        return Ok(ObjectStatement::Refresh { name, with_data });
    }
    parser.expect_keyword(Keyword::ALTER)?;
    let kind = match parser.parse_one_of_keywords(&[
        Keyword::TABLE,
        Keyword::INDEX,
        Keyword::SEQUENCE,
        Keyword::VIEW,
        Keyword::SCHEMA,
        Keyword::MATERIALIZED,
    ]) {
        Some(Keyword::TABLE) => ObjectKind::Table,
        Some(Keyword::INDEX) => ObjectKind::Index,
        Some(Keyword::SEQUENCE) => ObjectKind::Sequence,
        Some(Keyword::VIEW) => ObjectKind::View,
        Some(Keyword::SCHEMA) => ObjectKind::Schema,
        _ => {
            parser.expect_keyword(Keyword::VIEW)?;
            ObjectKind::MaterializedView
        }
    };
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    if kind == ObjectKind::Table {
        let _ = parser.parse_keyword(Keyword::ONLY);
    }
    let name = parser.parse_object_name(false)?;
    alteration(parser, kind, if_exists, name)
}

fn alteration(parser: &mut Parser<'_>, kind: ObjectKind, if_exists: bool, name: ObjectName) -> Parsed<ObjectStatement> {
    if parser.parse_keyword(Keyword::RENAME) {
        parser.expect_keyword(Keyword::TO)?;
        return Ok(ObjectStatement::Rename { kind, if_exists, name, to: parser.parse_identifier()? });
    }
    if parser.parse_keywords(&[Keyword::SET, Keyword::SCHEMA]) {
        return Ok(ObjectStatement::SetSchema { kind, if_exists, name, schema: parser.parse_identifier()? });
    }
    if accepts(parser, "OWNER") {
        parser.expect_keyword(Keyword::TO)?;
        parser.parse_identifier()?;
        return Ok(ObjectStatement::OwnerTo { kind, if_exists, name });
    }
    if kind == ObjectKind::Sequence {
        return Ok(ObjectStatement::AlterSequence { if_exists, name, options: sequence_options(parser)? });
    }
    if kind == ObjectKind::Table && parser.parse_keyword(Keyword::ALTER) {
        let _ = parser.parse_keyword(Keyword::COLUMN);
        let column = parser.parse_identifier()?;
        parser.expect_keyword(Keyword::DROP)?;
        let is_identity = accepts(parser, "IDENTITY");
        if is_identity || accepts(parser, "EXPRESSION") {
            let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
            return Ok(if is_identity {
                ObjectStatement::DropIdentity { table: name, column, if_exists }
            } else {
                ObjectStatement::DropExpression { table: name, column, if_exists }
            });
        }
    }
    let next = parser.peek_token();
    parser.expected("an alteration", next)
}

/// Takes a word that is no keyword of the parser's.
fn accepts(parser: &mut Parser<'_>, word: &str) -> bool {
    let found = matches!(&parser.peek_token_ref().token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
    if found {
        parser.next_token();
    }
    found
}

/// Options in any order, as far as they go.
pub(crate) fn sequence_options(parser: &mut Parser<'_>) -> Parsed<SequenceOptions> {
    let mut options = SequenceOptions::default();
    loop {
        let next = parser.peek_token();
        if !one_option(parser, &mut options)? {
            return Ok(options);
        }
        if parser.peek_token() == next && next.token == Token::EOF {
            return Ok(options);
        }
    }
}

/// `false` when what follows is no option.
fn one_option(parser: &mut Parser<'_>, options: &mut SequenceOptions) -> Parsed<bool> {
    let once = |given: bool| match given {
        true => Err(ParserError::ParserError("conflicting or redundant options".to_owned())),
        false => Ok(()),
    };
    if parser.parse_keyword(Keyword::AS) {
        once(options.ty.is_some())?;
        options.ty = Some(parser.parse_data_type()?);
    } else if accepts(parser, "INCREMENT") {
        once(options.increment.is_some())?;
        let _ = parser.parse_keyword(Keyword::BY);
        options.increment = Some(number(parser)?);
    } else if accepts(parser, "MINVALUE") {
        once(options.min.is_some())?;
        options.min = Some(Some(number(parser)?));
    } else if accepts(parser, "MAXVALUE") {
        once(options.max.is_some())?;
        options.max = Some(Some(number(parser)?));
    } else if parser.parse_keyword(Keyword::NO) {
        if accepts(parser, "MINVALUE") {
            options.min = Some(None);
        } else if accepts(parser, "MAXVALUE") {
            options.max = Some(None);
        } else if accepts(parser, "CYCLE") {
            options.cycle = Some(false);
        } else {
            let next = parser.peek_token();
            return parser.expected("MINVALUE, MAXVALUE or CYCLE", next);
        }
    } else if parser.parse_keyword(Keyword::START) {
        once(options.start.is_some())?;
        let _ = parser.parse_keyword(Keyword::WITH);
        options.start = Some(number(parser)?);
    } else if accepts(parser, "RESTART") {
        once(options.restart.is_some())?;
        let with = parser.parse_keyword(Keyword::WITH);
        let given = with || matches!(parser.peek_token_ref().token, Token::Number(..) | Token::Minus | Token::Plus);
        options.restart = Some(if given { Some(number(parser)?) } else { None });
    } else if accepts(parser, "CACHE") {
        once(options.cache.is_some())?;
        options.cache = Some(number(parser)?);
    } else if accepts(parser, "CYCLE") {
        once(options.cycle.is_some())?;
        options.cycle = Some(true);
    } else if accepts(parser, "OWNED") {
        once(options.owned_by.is_some())?;
        parser.expect_keyword(Keyword::BY)?;
        options.owned_by = Some(if parser.parse_keyword(Keyword::NONE) { None } else { Some(parser.parse_object_name(false)?) });
    } else if parser.parse_keyword(Keyword::SEQUENCE) {
        if !accepts(parser, "NAME") {
            let next = parser.peek_token();
            return parser.expected("NAME", next);
        }
        options.name = Some(parser.parse_object_name(false)?);
    } else {
        return Ok(false);
    }
    Ok(true)
}

fn number(parser: &mut Parser<'_>) -> Parsed<i64> {
    let negative = parser.consume_token(&Token::Minus);
    if !negative {
        let _ = parser.consume_token(&Token::Plus);
    }
    let token = parser.next_token();
    let Token::Number(digits, _) = &token.token else { return parser.expected("a number", token) };
    let signed = if negative { format!("-{digits}") } else { digits.clone() };
    match signed.parse() {
        Ok(number) => Ok(number),
        Err(_) => parser.expected("a bigint", token),
    }
}

/// `GENERATED { ALWAYS | BY DEFAULT } AS IDENTITY [ ( options ) ]`, as a column option; `None` for anything else.
pub(crate) fn identity_option(parser: &mut Parser<'_>) -> Option<Parsed<ColumnOption>> {
    let always = [Keyword::GENERATED, Keyword::ALWAYS, Keyword::AS, Keyword::IDENTITY];
    let by_default = [Keyword::GENERATED, Keyword::BY, Keyword::DEFAULT, Keyword::AS, Keyword::IDENTITY];
    let generated_as = if parser.parse_keywords(&always) {
        GeneratedAs::Always
    } else if parser.parse_keywords(&by_default) {
        GeneratedAs::ByDefault
    } else {
        return None;
    };
    Some(options_in_parentheses(parser).map(|options| ColumnOption::Generated {
        generated_as,
        sequence_options: Some(to_parser_options(&options)),
        generation_expr: None,
        generation_expr_mode: None,
        generated_keyword: true,
    }))
}

fn options_in_parentheses(parser: &mut Parser<'_>) -> Parsed<SequenceOptions> {
    if !parser.consume_token(&Token::LParen) {
        return Ok(SequenceOptions::default());
    }
    let options = sequence_options(parser)?;
    parser.expect_token(&Token::RParen)?;
    Ok(options)
}

fn to_parser_options(options: &SequenceOptions) -> Vec<ParserOptions> {
    let number = |n: i64| {
        let digits = Expr::value(Value::Number(n.unsigned_abs().to_string(), false));
        if n < 0 { Expr::UnaryOp { op: UnaryOperator::Minus, expr: Box::new(digits) } } else { digits }
    };
    let mut out = Vec::new();
    out.extend(options.increment.map(|n| ParserOptions::IncrementBy(number(n), true)));
    out.extend(options.min.map(|n| ParserOptions::MinValue(n.map(number))));
    out.extend(options.max.map(|n| ParserOptions::MaxValue(n.map(number))));
    out.extend(options.start.map(|n| ParserOptions::StartWith(number(n), true)));
    out.extend(options.cache.map(|n| ParserOptions::Cache(number(n))));
    // The parser's flag says NO.
    out.extend(options.cycle.map(|cycle| ParserOptions::Cycle(!cycle)));
    out
}

/// The options of an identity column, as the parser keeps them.
pub fn of_parser_options(options: &[ParserOptions]) -> SequenceOptions {
    let number = |expr: &Expr| expr.to_string().replace(' ', "").parse::<i64>().ok();
    let mut out = SequenceOptions::default();
    for option in options {
        match option {
            ParserOptions::IncrementBy(n, _) => out.increment = number(n),
            ParserOptions::MinValue(n) => out.min = Some(n.as_ref().and_then(number)),
            ParserOptions::MaxValue(n) => out.max = Some(n.as_ref().and_then(number)),
            ParserOptions::StartWith(n, _) => out.start = number(n),
            ParserOptions::Cache(n) => out.cache = number(n),
            ParserOptions::Cycle(no) => out.cycle = Some(!no),
        }
    }
    out
}

/// Words for `OVERRIDING { SYSTEM | USER } VALUE` where the parser keeps a list of expressions.
pub(crate) const OVERRIDING_SYSTEM: &str = "\u{1}overriding system";
pub(crate) const OVERRIDING_USER: &str = "\u{1}overriding user";

/// Puts the OVERRIDING clause of an INSERT into a form that the parser knows: a PARTITION clause of one name.
pub(crate) fn overriding(tokens: &mut Vec<TokenWithSpan>) {
    let word = |t: &TokenWithSpan| if let Token::Word(w) = &t.token { w.value.to_ascii_uppercase() } else { String::new() };
    let significant: Vec<usize> = (0..tokens.len()).filter(|at| !matches!(tokens[*at].token, Token::Whitespace(_))).collect();
    let found = significant.windows(3).find(|at| {
        word(&tokens[at[0]]) == "OVERRIDING"
            && matches!(word(&tokens[at[1]]).as_str(), "SYSTEM" | "USER")
            && word(&tokens[at[2]]) == "VALUE"
    });
    let Some(&[first, which, last]) = found else { return };
    if !significant.iter().any(|at| word(&tokens[*at]) == "INSERT") {
        return;
    }
    let name = if word(&tokens[which]) == "SYSTEM" { OVERRIDING_SYSTEM } else { OVERRIDING_USER };
    let span = tokens[first].span;
    let clause = [Token::make_keyword("PARTITION"), Token::LParen, Token::make_word(name, Some('"')), Token::RParen];
    tokens.splice(first..=last, clause.into_iter().map(|token| TokenWithSpan { token, span }));
}
