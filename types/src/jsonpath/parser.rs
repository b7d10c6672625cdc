//! Reading a path: operators by priority, from `||` down to the accessors.
//!
//! Conditions and values are one grammar here; [`Parser::condition`] and [`Parser::value`] check what is wanted where.

use common::sqlstate::SqlState;

use super::lexer::{Token, syntax_error, tokens};
use super::{Arithmetic, Chain, Comparison, Head, Method, Path, Predicate, Regex, Step};
use crate::error::ValueError;
use crate::json_parse::Json;
use crate::text_input::parse_numeric;

/// Expressions may be nested this deep.
const DEPTH_MAX: usize = 100;

pub(super) fn parse(text: &str) -> Result<Path, ValueError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, in_subscript: 0, in_filter: 0 };
    if parser.peek() == &Token::End {
        return Err(ValueError::syntax("jsonpath", text));
    }
    let strict = parser.word("strict");
    if !strict {
        parser.word("lax");
    }
    let root = parser.or()?;
    match parser.peek() {
        Token::End => Ok(Path { strict, root }),
        _ => Err(parser.unexpected()),
    }
}

struct Parser {
    tokens: Vec<(Token, String)>,
    at: usize,
    depth: usize,
    /// Inside how many subscripts and filters this is: where `last` and `@` mean something.
    in_subscript: usize,
    in_filter: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].0
    }

    fn unexpected(&self) -> ValueError {
        match &self.tokens[self.at] {
            // PostgreSQL has gone past a bare word when it reports, and shows nothing.
            (Token::Word(_), _) => syntax_error(""),
            (_, text) => syntax_error(text),
        }
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].0.clone();
        if token != Token::End {
            self.at += 1;
        }
        token
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(s) if *s == sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), ValueError> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// Takes a keyword.
    fn word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Word(w) if w.eq_ignore_ascii_case(word));
        self.at += usize::from(found);
        found
    }

    fn or(&mut self) -> Result<Chain, ValueError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ValueError::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded"));
        }
        let mut left = self.and()?;
        while self.take("||") {
            let right = self.and()?;
            left = predicate(Predicate::Or(self.condition(left)?, self.condition(right)?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Chain, ValueError> {
        let mut left = self.comparison()?;
        while self.take("&&") {
            let right = self.comparison()?;
            left = predicate(Predicate::And(self.condition(left)?, self.condition(right)?));
        }
        Ok(left)
    }

    /// An operand of a logical operator.
    fn condition(&self, chain: Chain) -> Result<Box<Chain>, ValueError> {
        if is_condition(&chain) { Ok(Box::new(chain)) } else { Err(self.unexpected()) }
    }

    /// An operand of any other operator.
    fn value(&self, chain: Chain) -> Result<Box<Chain>, ValueError> {
        if is_condition(&chain) { Err(self.unexpected()) } else { Ok(Box::new(chain)) }
    }

    fn comparison(&mut self) -> Result<Chain, ValueError> {
        if self.take("!") {
            let operand = match self.peek() {
                Token::Sign("(") => {
                    self.at += 1;
                    let inner = self.or()?;
                    self.expect(")")?;
                    inner
                }
                Token::Word(word) if word.eq_ignore_ascii_case("exists") => self.sum()?,
                _ => return Err(self.unexpected()),
            };
            return Ok(predicate(Predicate::Not(self.condition(operand)?)));
        }
        let left = self.sum()?;
        let Some(op) = self.comparison_sign() else { return self.test(left) };
        let right = self.sum()?;
        Ok(predicate(Predicate::Compare(op, self.value(left)?, self.value(right)?)))
    }

    fn comparison_sign(&mut self) -> Option<Comparison> {
        let Token::Sign(sign) = self.peek() else { return None };
        let op = match *sign {
            "==" | "=" => Comparison::Equal,
            "!=" | "<>" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => return None,
        };
        self.at += 1;
        Some(op)
    }

    /// `is unknown`, `starts with`, `like_regex`.
    fn test(&mut self, left: Chain) -> Result<Chain, ValueError> {
        if self.word("starts") {
            if !self.word("with") {
                return Err(self.unexpected());
            }
            let head = match self.next() {
                Token::Text(text) => Head::Literal(Json::String(text)),
                Token::Variable(name) => Head::Variable(name),
                _ => return Err(self.unexpected()),
            };
            let initial = Box::new(Chain { head, steps: Vec::new() });
            return Ok(predicate(Predicate::StartsWith(self.value(left)?, initial)));
        }
        if self.word("like_regex") {
            let Token::Text(pattern) = self.next() else { return Err(self.unexpected()) };
            let flags = match self.word("flag") {
                false => String::new(),
                true => match self.next() {
                    Token::Text(flags) => canonical_flags(&flags)?,
                    _ => return Err(self.unexpected()),
                },
            };
            let regex = compile(&pattern, &flags)?;
            return Ok(predicate(Predicate::LikeRegex { operand: self.value(left)?, pattern, flags, regex }));
        }
        if is_condition(&left) && self.word("is") {
            if !self.word("unknown") {
                return Err(self.unexpected());
            }
            return Ok(predicate(Predicate::IsUnknown(Box::new(left))));
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Chain, ValueError> {
        let mut left = self.product()?;
        loop {
            let op = match self.peek() {
                Token::Sign("+") => Arithmetic::Add,
                Token::Sign("-") => Arithmetic::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.product()?;
            left = binary(op, self.value(left)?, self.value(right)?);
        }
    }

    fn product(&mut self) -> Result<Chain, ValueError> {
        let mut left = self.signed()?;
        loop {
            let op = match self.peek() {
                Token::Sign("*") => Arithmetic::Multiply,
                Token::Sign("/") => Arithmetic::Divide,
                Token::Sign("%") => Arithmetic::Modulo,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.signed()?;
            left = binary(op, self.value(left)?, self.value(right)?);
        }
    }

    fn signed(&mut self) -> Result<Chain, ValueError> {
        let mut signs = Vec::new();
        while let Token::Sign(sign @ ("+" | "-")) = self.peek() {
            signs.push(*sign == "-");
            self.at += 1;
            if signs.len() > DEPTH_MAX {
                return Err(ValueError::new(SqlState::STATEMENT_TOO_COMPLEX, "stack depth limit exceeded"));
            }
        }
        let mut chain = self.accessed()?;
        for negative in signs.into_iter().rev() {
            chain = match chain {
                // The sign of a number is the number's.
                Chain { head: Head::Literal(Json::Number(digits)), steps } if steps.is_empty() => {
                    let digits = match (negative, digits.strip_prefix('-')) {
                        (false, _) => digits,
                        (true, Some(positive)) => positive.to_owned(),
                        (true, None) => format!("-{digits}"),
                    };
                    Chain { head: Head::Literal(Json::Number(digits)), steps }
                }
                operand => Chain { head: Head::Sign { negative, operand: self.value(operand)? }, steps: Vec::new() },
            };
        }
        Ok(chain)
    }

    fn accessed(&mut self) -> Result<Chain, ValueError> {
        let mut chain = self.primary()?;
        while let Some(step) = self.step()? {
            chain.steps.push(step);
        }
        Ok(chain)
    }

    fn primary(&mut self) -> Result<Chain, ValueError> {
        let start = self.at;
        let head = match self.next() {
            Token::Sign("$") => Head::Root,
            Token::Sign("@") if self.in_filter > 0 => Head::Current,
            Token::Sign("@") => return Err(ValueError::new(SqlState::SYNTAX_ERROR, "@ is not allowed in root expressions")),
            Token::Sign("(") => {
                let inner = self.or()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Variable(name) => Head::Variable(name),
            Token::Text(text) => Head::Literal(Json::String(text)),
            Token::Number(digits) => Head::Literal(Json::Number(parse_numeric(&digits)?.to_string())),
            Token::Word(word) => match word.to_ascii_lowercase().as_str() {
                "null" => Head::Literal(Json::Null),
                "true" => Head::Literal(Json::Bool(true)),
                "false" => Head::Literal(Json::Bool(false)),
                "last" if self.in_subscript > 0 => Head::Last,
                "last" => return Err(ValueError::new(SqlState::SYNTAX_ERROR, "LAST is allowed only in array subscripts")),
                "exists" => {
                    self.expect("(")?;
                    let inner = self.or()?;
                    self.expect(")")?;
                    return Ok(predicate(Predicate::Exists(self.value(inner)?)));
                }
                _ => {
                    self.at = start;
                    return Err(self.unexpected());
                }
            },
            _ => {
                self.at = start;
                return Err(self.unexpected());
            }
        };
        Ok(Chain { head, steps: Vec::new() })
    }

    /// The accessor that stands here, if one does.
    fn step(&mut self) -> Result<Option<Step>, ValueError> {
        if self.take("[") {
            return self.subscripts().map(Some);
        }
        if self.take("?") {
            self.expect("(")?;
            self.in_filter += 1;
            let condition = self.or()?;
            self.in_filter -= 1;
            let condition = *self.condition(condition)?;
            self.expect(")")?;
            return Ok(Some(Step::Filter(condition)));
        }
        if !self.take(".") {
            return Ok(None);
        }
        let start = self.at;
        Ok(Some(match self.next() {
            Token::Sign("*") => Step::AnyKey,
            Token::Sign("**") => self.levels()?,
            Token::Text(key) => Step::Key(key),
            Token::Word(word) => match self.peek() {
                Token::Sign("(") => self.method(&word)?,
                _ => Step::Key(word),
            },
            _ => {
                self.at = start;
                return Err(self.unexpected());
            }
        }))
    }

    fn method(&mut self, name: &str) -> Result<Step, ValueError> {
        if name.eq_ignore_ascii_case("datetime") {
            return Err(ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, "jsonpath item method .datetime() is not supported"));
        }
        match Method::ALL.into_iter().find(|method| method.name().eq_ignore_ascii_case(name)) {
            Some(method) => {
                self.expect("(")?;
                self.expect(")")?;
                Ok(Step::Method(method))
            }
            None => Err(self.unexpected()),
        }
    }

    fn subscripts(&mut self) -> Result<Step, ValueError> {
        if self.take("*") {
            self.expect("]")?;
            return Ok(Step::AnyElement);
        }
        self.in_subscript += 1;
        let mut out = Vec::new();
        loop {
            let from = self.sum()?;
            let from = *self.value(from)?;
            let to = if self.word("to") {
                let to = self.sum()?;
                Some(*self.value(to)?)
            } else {
                None
            };
            out.push((from, to));
            if !self.take(",") {
                break;
            }
        }
        self.in_subscript -= 1;
        self.expect("]")?;
        Ok(Step::Elements(out))
    }

    /// What may follow `.**`: the levels.
    fn levels(&mut self) -> Result<Step, ValueError> {
        if !self.take("{") {
            return Ok(Step::AnyLevel { first: Some(0), last: None });
        }
        let first = self.level()?;
        let last = if self.word("to") { self.level()? } else { first };
        self.expect("}")?;
        Ok(Step::AnyLevel { first, last })
    }

    fn level(&mut self) -> Result<Option<u32>, ValueError> {
        if self.word("last") {
            return Ok(None);
        }
        match self.next() {
            Token::Number(digits) => digits.parse().map(Some).map_err(|_| syntax_error(&digits)),
            _ => Err(self.unexpected()),
        }
    }
}

fn predicate(predicate: Predicate) -> Chain {
    Chain { head: Head::Predicate(Box::new(predicate)), steps: Vec::new() }
}

fn binary(op: Arithmetic, left: Box<Chain>, right: Box<Chain>) -> Chain {
    Chain { head: Head::Binary(op, left, right), steps: Vec::new() }
}

/// Whether a chain is a condition, and not a value that a condition may be made of.
fn is_condition(chain: &Chain) -> bool {
    chain.steps.is_empty() && matches!(chain.head, Head::Predicate(_))
}

/// The flags in the order in which they print, each once.
fn canonical_flags(flags: &str) -> Result<String, ValueError> {
    for flag in flags.chars() {
        if flag == 'x' {
            let message = "XQuery \"x\" flag (expanded regular expressions) is not implemented";
            return Err(ValueError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        if !"ismq".contains(flag) {
            return Err(ValueError::Other {
                sqlstate: SqlState::SYNTAX_ERROR,
                message: "invalid input syntax for type jsonpath".to_owned(),
                detail: Some(format!("Unrecognized flag character \"{flag}\" in LIKE_REGEX predicate.")),
                hint: None,
            });
        }
    }
    Ok("ismq".chars().filter(|flag| flags.contains(*flag)).collect())
}

fn compile(pattern: &str, flags: &str) -> Result<Regex, ValueError> {
    let body = if flags.contains('q') { fancy_regex::escape(pattern).into_owned() } else { pattern.to_owned() };
    let inline: String = flags.chars().filter(|flag| "ism".contains(*flag)).collect();
    let whole = if inline.is_empty() { body } else { format!("(?{inline}){body}") };
    match fancy_regex::Regex::new(&whole) {
        Ok(regex) => Ok(Regex(regex)),
        Err(error) => Err(ValueError::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {error}"))),
    }
}
