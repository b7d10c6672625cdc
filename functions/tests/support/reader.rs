//! A reader of a small part of SQL: literals, casts, calls, operators.

use common::datum::Datum;
use common::types::{Scalar, SqlType};
use datafusion::logical_expr::Expr;
use functions::context::{CastContext, ExprContext};
use functions::error::{FunctionError, Result};
use functions::resolve;
use functions::typed_expr::TypedExpr;

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Number(String),
    Text(String),
    Word(String),
    Op(String),
    End,
}

#[allow(clippy::too_many_lines, reason = "one branch for each kind of token")]
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if c.is_whitespace() {
            at += 1;
        } else if c == '\'' || (c == 'E' && chars.get(at + 1) == Some(&'\'')) {
            let escapes = c == 'E';
            at += if escapes { 2 } else { 1 };
            let mut value = String::new();
            loop {
                match (chars[at], chars.get(at + 1)) {
                    ('\'', Some('\'')) => {
                        value.push('\'');
                        at += 2;
                    }
                    ('\'', _) => break,
                    ('\\', Some(next)) if escapes => {
                        value.push(match next {
                            'n' => '\n',
                            't' => '\t',
                            other => *other,
                        });
                        at += 2;
                    }
                    (c, _) => {
                        value.push(c);
                        at += 1;
                    }
                }
            }
            at += 1;
            out.push(Token::Text(value));
        } else if c.is_ascii_digit() || (c == '.' && chars.get(at + 1).is_some_and(char::is_ascii_digit)) {
            let start = at;
            while at < chars.len() && (chars[at].is_ascii_alphanumeric() || chars[at] == '.') {
                at += 1;
                if matches!(chars[at - 1], 'e' | 'E') && matches!(chars.get(at), Some('+' | '-')) {
                    at += 1;
                }
            }
            out.push(Token::Number(chars[start..at].iter().collect()));
        } else if c.is_alphabetic() || c == '_' {
            let start = at;
            while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
                at += 1;
            }
            out.push(Token::Word(chars[start..at].iter().collect()));
        } else if "()[],".contains(c) {
            out.push(Token::Op(c.to_string()));
            at += 1;
        } else if c == ':' {
            let double = chars.get(at + 1) == Some(&':');
            out.push(Token::Op(if double { "::" } else { ":" }.into()));
            at += if double { 2 } else { 1 };
        } else {
            let start = at;
            while at < chars.len() && "+-*/<>=~!@#%^&|?".contains(chars[at]) {
                at += 1;
            }
            assert!(at > start, "unexpected {c} in {text}");
            let mut end = at;
            // As in PostgreSQL, an operator ends with + or - only if it has a special character.
            while end - start > 1 && "+-".contains(chars[end - 1]) && !chars[start..end].iter().any(|c| "~!@#%^&|?".contains(*c)) {
                end -= 1;
            }
            at = end;
            out.push(Token::Op(chars[start..end].iter().collect()));
        }
    }
    out.push(Token::End);
    out
}

struct Reader<'a> {
    cx: &'a ExprContext<'a>,
    tokens: Vec<Token>,
    at: usize,
}

pub(crate) fn read(cx: &ExprContext<'_>, text: &str) -> Result<TypedExpr> {
    let mut reader = Reader { cx, tokens: tokens(text), at: 0 };
    let expr = reader.expr(0)?;
    assert_eq!(reader.peek(), &Token::End, "rest of {text}");
    Ok(expr)
}

impl Reader<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.at]
    }

    fn next(&mut self) -> Token {
        self.at += 1;
        self.tokens[self.at - 1].clone()
    }

    fn is(&self, op: &str) -> bool {
        matches!(self.peek(), Token::Op(o) if o == op)
    }

    fn take(&mut self, op: &str) -> bool {
        let found = self.is(op);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, op: &str) {
        assert!(self.take(op), "expected {op}, found {:?}", self.peek());
    }

    fn word(&self) -> Option<String> {
        match self.peek() {
            Token::Word(w) => Some(w.to_lowercase()),
            _ => None,
        }
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.word().as_deref() == Some(word);
        self.at += usize::from(found);
        found
    }

    /// The binary operator that stands here, with its precedence.
    fn operator(&self) -> Option<(String, u8)> {
        match self.peek() {
            Token::Op(op) => Some(match op.as_str() {
                "(" | ")" | "[" | "]" | "," | "::" | ":" => return None,
                "=" | "<" | ">" | "<=" | ">=" | "<>" | "!=" => (op.clone(), 4),
                "+" | "-" => (op.clone(), 7),
                "*" | "/" | "%" => (op.clone(), 8),
                "^" => (op.clone(), 9),
                _ => (op.clone(), 6),
            }),
            Token::Word(word) => Some(match word.to_lowercase().as_str() {
                "or" => ("or".into(), 1),
                "and" => ("and".into(), 2),
                "like" => ("~~".into(), 5),
                "ilike" => ("~~*".into(), 5),
                "is" => ("is".into(), 3),
                "at" => ("at".into(), 10),
                _ => return None,
            }),
            _ => None,
        }
    }

    fn expr(&mut self, least: u8) -> Result<TypedExpr> {
        let mut left = self.unary()?;
        while let Some((op, precedence)) = self.operator().filter(|(_, p)| *p > least) {
            self.at += 1;
            left = match op.as_str() {
                "is" => self.is_test(left)?,
                "at" => {
                    assert!(self.take_word("time") && self.take_word("zone"));
                    let zone = self.expr(precedence)?;
                    resolve::call(self.cx, "timezone", vec![zone, left], false)?
                }
                "and" | "or" => {
                    let right = self.expr(precedence)?;
                    let left = resolve::to_boolean(self.cx, left, "AND")?;
                    let right = resolve::to_boolean(self.cx, right, "AND")?;
                    let expr = if op == "and" { left.expr.and(right.expr) } else { left.expr.or(right.expr) };
                    TypedExpr::new(expr, Scalar::Bool)
                }
                _ => match self.word().as_deref() {
                    Some(word @ ("any" | "all")) => {
                        let all = word == "all";
                        self.at += 1;
                        self.expect("(");
                        let array = self.expr(0)?;
                        self.expect(")");
                        resolve::any_all(self.cx, left, &op, array, all)?
                    }
                    _ => {
                        let right = self.expr(precedence)?;
                        resolve::binary_operator(self.cx, &op, left, right)?
                    }
                },
            };
        }
        Ok(left)
    }

    fn is_test(&mut self, left: TypedExpr) -> Result<TypedExpr> {
        let not = self.take_word("not");
        if self.take_word("null") {
            let expr = Box::new(left.expr);
            return Ok(TypedExpr::new(if not { Expr::IsNotNull(expr) } else { Expr::IsNull(expr) }, Scalar::Bool));
        }
        assert!(self.take_word("distinct") && self.take_word("from"));
        let right = self.expr(3)?;
        resolve::binary_operator(self.cx, if not { "IS NOT DISTINCT FROM" } else { "IS DISTINCT FROM" }, left, right)
    }

    fn unary(&mut self) -> Result<TypedExpr> {
        if self.take_word("not") {
            let operand = self.expr(2)?;
            let operand = resolve::to_boolean(self.cx, operand, "NOT")?;
            return Ok(TypedExpr::new(Expr::Not(Box::new(operand.expr)), Scalar::Bool));
        }
        if let Token::Op(op) = self.peek().clone()
            && !["(", "["].contains(&op.as_str())
        {
            self.at += 1;
            let operand = self.expr(if ["-", "+"].contains(&op.as_str()) { 9 } else { 6 })?;
            return resolve::unary_operator(self.cx, &op, operand);
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Result<TypedExpr> {
        let mut expr = self.primary()?;
        loop {
            if self.take("::") {
                let ty = self.type_name();
                expr = resolve::cast(self.cx, expr, ty, CastContext::Explicit)?;
            } else if self.take("[") {
                let mut subscripts = vec![self.subscript()?];
                while self.take("[") {
                    subscripts.push(self.subscript()?);
                }
                expr = resolve::subscript(self.cx, expr, subscripts)?;
            } else {
                return Ok(expr);
            }
        }
    }

    /// What stands behind an opening bracket, and the closing one.
    fn subscript(&mut self) -> Result<resolve::Subscript> {
        let is = |token: &Token, op: &str| matches!(token, Token::Op(found) if found == op);
        let low = if is(self.peek(), ":") { None } else { Some(self.expr(0)?) };
        let subscript = if self.take(":") {
            let high = if is(self.peek(), "]") { None } else { Some(self.expr(0)?) };
            resolve::Subscript::Slice(low, high)
        } else {
            low.map_or(resolve::Subscript::Slice(None, None), resolve::Subscript::Index)
        };
        self.expect("]");
        Ok(subscript)
    }

    fn type_name(&mut self) -> SqlType {
        let Token::Word(name) = self.next() else { panic!("a type's name") };
        let mut modifiers = Vec::new();
        if self.take("(") {
            loop {
                let Token::Number(n) = self.next() else { panic!("a modifier") };
                modifiers.push(n.parse::<i32>().unwrap());
                if !self.take(",") {
                    break;
                }
            }
            self.expect(")");
        }
        let mut ty = types::text_input::type_by_name(&name.to_lowercase()).unwrap_or_else(|| panic!("type {name}"));
        ty.typmod = match (ty.scalar, modifiers.as_slice()) {
            (_, []) => ty.typmod,
            (Scalar::Numeric, [p]) => SqlType::numeric((*p).try_into().unwrap(), 0).typmod,
            (Scalar::Numeric, [p, s]) => SqlType::numeric((*p).try_into().unwrap(), (*s).try_into().unwrap()).typmod,
            (Scalar::Varchar | Scalar::Bpchar, [n]) => n + 4,
            (_, [n, ..]) => *n,
        };
        if self.take("[") {
            self.expect("]");
            ty = SqlType::array_of(ty);
        }
        ty
    }

    fn list(&mut self, end: &str) -> Result<(Vec<TypedExpr>, bool)> {
        let mut out = Vec::new();
        let mut variadic = false;
        if !self.take(end) {
            loop {
                variadic |= self.take_word("variadic");
                out.push(self.expr(0)?);
                if !self.take(",") {
                    break;
                }
            }
            self.expect(end);
        }
        Ok((out, variadic))
    }

    fn primary(&mut self) -> Result<TypedExpr> {
        match self.next() {
            Token::Number(text) => Ok(number(&text)),
            Token::Text(text) => Ok(resolve::unknown_literal(text)),
            Token::Op(op) if op == "(" => {
                let inner = self.expr(0)?;
                self.expect(")");
                Ok(inner)
            }
            Token::Word(word) => match word.to_lowercase().as_str() {
                "null" => Ok(TypedExpr::new(Expr::Literal(datafusion::common::ScalarValue::Utf8(None), None), Scalar::Unknown)),
                "true" => Ok(resolve::literal(&Datum::Bool(true), Scalar::Bool.into())),
                "false" => Ok(resolve::literal(&Datum::Bool(false), Scalar::Bool.into())),
                "array" if self.take("[") => {
                    let (elements, _) = self.list("]")?;
                    resolve::array_constructor(self.cx, elements)
                }
                name if self.take("(") => {
                    let (args, variadic) = self.list(")")?;
                    resolve::call(self.cx, name, args, variadic)
                }
                // `date '…'`
                name => match (types::text_input::type_by_name(name), self.peek().clone()) {
                    (Some(ty), Token::Text(text)) => {
                        self.at += 1;
                        resolve::cast(self.cx, resolve::unknown_literal(text), ty, CastContext::Explicit)
                    }
                    _ => Err(FunctionError::Unsupported(format!("the word {name}"))),
                },
            },
            other => panic!("unexpected {other:?}"),
        }
    }
}

fn number(text: &str) -> TypedExpr {
    if let Ok(value) = text.parse::<i32>() {
        return resolve::literal(&Datum::Int4(value), Scalar::Int4.into());
    }
    if let Ok(value) = text.parse::<i64>() {
        return resolve::literal(&Datum::Int8(value), Scalar::Int8.into());
    }
    resolve::literal(&Datum::Numeric(text.parse().unwrap()), Scalar::Numeric.into())
}
