//! Operators of every kind: arithmetic, comparison (also of rows), LIKE, IN, BETWEEN, ANY and ALL.

use common::sqlstate::SqlState;
use common::types::Scalar;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Expr, lit};
use functions::context::CastContext;
use functions::resolve;
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{BinaryOperator, Expr as Tree, FunctionArg, FunctionArgExpr, FunctionArguments, UnaryOperator, Value};

use super::Binder;
use super::environment::Environment;
use crate::error::{BindError, Result};

/// From this many constants on, IN is a list and no chain of comparisons.
const LIST_MIN: usize = 3;

impl Binder<'_> {
    pub(crate) fn binary(&self, left: &Tree, op: &BinaryOperator, right: &Tree, env: &Environment<'_>) -> Result<TypedExpr> {
        match op {
            BinaryOperator::And | BinaryOperator::Or => return self.logical(left, op, right, env),
            BinaryOperator::Overlaps => return self.overlaps(left, right, env),
            _ => {}
        }
        let symbol = symbol(op)?;
        if let (Some(left), Some(right)) = (row(left), row(right)) {
            return self.row_comparison(&left, &symbol, &right, env);
        }
        if let (Some(left), Tree::Subquery(query)) = (row(left), right) {
            let left = self.all(&left, env)?;
            let right = self.row_subquery(query, left.len(), env)?;
            return self.compare_rows(&left, &symbol, &right);
        }
        let left = self.expression(left, env)?;
        let right = self.expression(right, env)?;
        Ok(resolve::binary_operator(&self.cx(), &symbol, left, right)?)
    }

    fn logical(&self, left: &Tree, op: &BinaryOperator, right: &Tree, env: &Environment<'_>) -> Result<TypedExpr> {
        // A long chain leans to the left: go down it without recursion.
        let mut operands = vec![right];
        let mut first = left;
        while let Tree::BinaryOp { left, op: next, right } = first
            && next == op
        {
            operands.push(right);
            first = left;
        }
        operands.push(first);
        let name = if matches!(op, BinaryOperator::And) { "AND" } else { "OR" };
        let mut result: Option<Expr> = None;
        for operand in operands.into_iter().rev() {
            let bound = self.expression(operand, env)?;
            let expr = resolve::to_boolean(&self.cx(), bound, name)?.expr;
            result = Some(match result {
                None => expr,
                Some(before) if name == "AND" => before.and(expr),
                Some(before) => before.or(expr),
            });
        }
        Ok(TypedExpr::new(result.unwrap_or_else(|| lit(true)), Scalar::Bool))
    }

    pub(crate) fn unary(&self, op: UnaryOperator, operand: &Tree, env: &Environment<'_>) -> Result<TypedExpr> {
        if let (UnaryOperator::Minus, Tree::Value(value)) = (op, operand)
            && let Value::Number(digits, _) = &value.value
        {
            return super::literal::number(digits, true);
        }
        let bound = self.expression(operand, env)?;
        let cx = self.cx();
        let symbol = match op {
            UnaryOperator::Not => {
                let expr = resolve::to_boolean(&cx, bound, "NOT")?.expr;
                return Ok(TypedExpr::new(Expr::Not(Box::new(expr)), Scalar::Bool));
            }
            UnaryOperator::Plus => "+",
            UnaryOperator::Minus => "-",
            UnaryOperator::BitwiseNot => "~",
            UnaryOperator::PGAbs => "@",
            UnaryOperator::PGSquareRoot => "|/",
            UnaryOperator::PGCubeRoot => "||/",
            other => return Err(BindError::unsupported(format!("the operator {other}"))),
        };
        Ok(resolve::unary_operator(&cx, symbol, bound)?)
    }

    fn all(&self, trees: &[Tree], env: &Environment<'_>) -> Result<Vec<TypedExpr>> {
        trees.iter().map(|tree| self.expression(tree, env)).collect()
    }

    /// `(a, b) < (c, d)`: column by column, the first difference decides.
    fn row_comparison(&self, left: &[Tree], op: &str, right: &[Tree], env: &Environment<'_>) -> Result<TypedExpr> {
        if left.len() != right.len() {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, "unequal number of entries in row expressions"));
        }
        let (left, right) = (self.all(left, env)?, self.all(right, env)?);
        self.compare_rows(&left, op, &right)
    }

    pub(crate) fn compare_rows(&self, left: &[TypedExpr], op: &str, right: &[TypedExpr]) -> Result<TypedExpr> {
        let compare = |op: &str, at: usize| resolve::binary_operator(&self.cx(), op, left[at].clone(), right[at].clone());
        let expr = match op {
            "=" | "<>" => {
                let mut all = compare("=", 0)?.expr;
                for at in 1..left.len() {
                    all = all.and(compare("=", at)?.expr);
                }
                if op == "=" { all } else { Expr::Not(Box::new(all)) }
            }
            "<" | "<=" | ">" | ">=" => {
                let strict = &op[..1];
                let last = left.len() - 1;
                let mut expr = compare(op, last)?.expr;
                for at in (0..last).rev() {
                    expr = compare(strict, at)?.expr.or(compare("=", at)?.expr.and(expr));
                }
                expr
            }
            _ => return Err(BindError::unsupported(format!("the operator {op} between rows"))),
        };
        Ok(TypedExpr::new(expr, Scalar::Bool))
    }

    fn overlaps(&self, left: &Tree, right: &Tree, env: &Environment<'_>) -> Result<TypedExpr> {
        let (Some(left), Some(right)) = (row(left), row(right)) else {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, "wrong number of parameters on left side of OVERLAPS expression"));
        };
        let mut args = self.all(&left, env)?;
        args.extend(self.all(&right, env)?);
        Ok(resolve::call(&self.cx(), "overlaps", args, false)?)
    }

    pub(crate) fn is_distinct(&self, left: &Tree, right: &Tree, negated: bool, env: &Environment<'_>) -> Result<TypedExpr> {
        let op = if negated { "IS NOT DISTINCT FROM" } else { "IS DISTINCT FROM" };
        if let (Some(left), Some(right)) = (row(left), row(right)) {
            if left.len() != right.len() {
                return Err(BindError::new(SqlState::SYNTAX_ERROR, "unequal number of entries in row expressions"));
            }
            let mut differs = lit(false);
            for (left, right) in left.iter().zip(&right) {
                differs = differs.or(self.is_distinct(left, right, false, env)?.expr);
            }
            let expr = if negated { Expr::Not(Box::new(differs)) } else { differs };
            return Ok(TypedExpr::new(expr, Scalar::Bool));
        }
        let (left, right) = (self.expression(left, env)?, self.expression(right, env)?);
        Ok(resolve::binary_operator(&self.cx(), op, left, right)?)
    }

    pub(crate) fn between(&self, value: &Tree, low: &Tree, high: &Tree, negated: bool, env: &Environment<'_>) -> Result<TypedExpr> {
        let cx = self.cx();
        let value = self.expression(value, env)?;
        let (low, high) = (self.expression(low, env)?, self.expression(high, env)?);
        let above = resolve::binary_operator(&cx, if negated { "<" } else { ">=" }, value.clone(), low)?.expr;
        let below = resolve::binary_operator(&cx, if negated { ">" } else { "<=" }, value, high)?.expr;
        let expr = if negated { above.or(below) } else { above.and(below) };
        Ok(TypedExpr::new(expr, Scalar::Bool))
    }

    pub(crate) fn in_list(&self, value: &Tree, list: &[Tree], negated: bool, env: &Environment<'_>) -> Result<TypedExpr> {
        let expr = match row(value) {
            Some(left) => self.row_in_list(&left, list, env)?,
            None => {
                let value = self.expression(value, env)?;
                let items = self.all(list, env)?;
                self.value_in_list(value, items)?
            }
        };
        let expr = if negated { Expr::Not(Box::new(expr)) } else { expr };
        Ok(TypedExpr::new(expr, Scalar::Bool))
    }

    fn row_in_list(&self, left: &[Tree], list: &[Tree], env: &Environment<'_>) -> Result<Expr> {
        let mut any: Option<Expr> = None;
        for item in list {
            let Some(right) = row(item) else {
                return Err(BindError::new(SqlState::SYNTAX_ERROR, "unequal number of entries in row expressions"));
            };
            let same = self.row_comparison(left, "=", &right, env)?.expr;
            any = Some(match any {
                None => same,
                Some(before) => before.or(same),
            });
        }
        Ok(any.unwrap_or_else(|| lit(false)))
    }

    fn value_in_list(&self, value: TypedExpr, items: Vec<TypedExpr>) -> Result<Expr> {
        let cx = self.cx();
        let mut compared = Vec::with_capacity(items.len());
        let same_form = |ty: Scalar| {
            !matches!(
                ty,
                Scalar::Numeric | Scalar::Bpchar | Scalar::Interval | Scalar::Float4 | Scalar::Float8 | Scalar::Jsonb | Scalar::Json
            )
        };
        for item in &items {
            compared.push(resolve::binary_operator(&cx, "=", value.clone(), item.clone())?.expr);
        }
        // When all comparisons are plain ones with the same left side, they are a list.
        let plain: Option<Vec<(&Expr, &Expr)>> = compared
            .iter()
            .map(|e| match e {
                Expr::BinaryExpr(b) if b.op == datafusion::logical_expr::Operator::Eq => Some((b.left.as_ref(), b.right.as_ref())),
                _ => None,
            })
            .collect();
        if let Some(plain) = plain
            && plain.len() >= LIST_MIN
            && same_form(value.ty.scalar)
            && plain.iter().all(|(left, right)| *left == plain[0].0 && matches!(right, Expr::Literal(..)))
        {
            let list = plain.iter().map(|(_, right)| (*right).clone()).collect();
            return Ok(Expr::InList(InList::new(Box::new(plain[0].0.clone()), list, false)));
        }
        Ok(balanced_or(compared))
    }

    /// LIKE and ILIKE under their operators' names; `any` stands before the pattern, ALL is taken for a function by the parser.
    pub(crate) fn like(
        &self,
        op: &str,
        (value, any): (&Tree, bool),
        pattern: &Tree,
        escape: Option<&Tree>,
        env: &Environment<'_>,
    ) -> Result<TypedExpr> {
        let cx = self.cx();
        let all = all_of(pattern);
        if (any || all.is_some()) && escape.is_some() {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"escape\""));
        }
        match (any, all) {
            (true, _) => return self.any_all(value, op, pattern, false, env),
            (false, Some(pattern)) => return self.any_all(value, op, pattern, true, env),
            (false, None) => {}
        }
        let value = self.expression(value, env)?;
        let mut pattern = self.expression(pattern, env)?;
        if let Some(escape) = escape {
            let escape = self.expression(escape, env)?;
            pattern = resolve::call(&cx, "like_escape", vec![pattern, escape], false)?;
        }
        Ok(resolve::binary_operator(&cx, op, value, pattern)?)
    }

    pub(crate) fn similar(
        &self,
        value: &Tree,
        pattern: &Tree,
        escape: Option<&Tree>,
        negated: bool,
        env: &Environment<'_>,
    ) -> Result<TypedExpr> {
        let cx = self.cx();
        let value = self.expression(value, env)?;
        let mut args = vec![self.expression(pattern, env)?];
        if let Some(escape) = escape {
            args.push(self.expression(escape, env)?);
        }
        let pattern = resolve::call(&cx, "similar_to_escape", args, false)?;
        Ok(resolve::binary_operator(&cx, if negated { "!~" } else { "~" }, value, pattern)?)
    }

    /// `x op ANY (array or query)`, `x op ALL (…)`.
    pub(crate) fn any_all(&self, left: &Tree, symbol: &str, right: &Tree, all: bool, env: &Environment<'_>) -> Result<TypedExpr> {
        let right = match right {
            Tree::Nested(inner) => inner.as_ref(),
            other => other,
        };
        if let Tree::Subquery(query) = right {
            let left = self.row_entries(left, env)?;
            return self.quantified(left, symbol, query, all, env);
        }
        let left = self.expression(left, env)?;
        let array = self.expression(right, env)?;
        Ok(resolve::any_all(&self.cx(), left, symbol, array, all)?)
    }

    pub(crate) fn at_time_zone(&self, value: &Tree, zone: &Tree, env: &Environment<'_>) -> Result<TypedExpr> {
        let (value, zone) = (self.expression(value, env)?, self.expression(zone, env)?);
        Ok(resolve::call(&self.cx(), "timezone", vec![zone, value], false)?)
    }

    pub(crate) fn cast_to(&self, value: TypedExpr, ty: common::types::SqlType) -> Result<TypedExpr> {
        if let Some(oid) = self.constant_object(&value, ty)? {
            return Ok(oid);
        }
        Ok(resolve::cast(&self.cx(), value, ty, CastContext::Explicit)?)
    }

    /// `'orders'::regclass` of a constant is known while binding.
    fn constant_object(&self, value: &TypedExpr, ty: common::types::SqlType) -> Result<Option<TypedExpr>> {
        if ty.scalar != Scalar::Regclass || ty.is_array || !matches!(value.ty.scalar, Scalar::Unknown | Scalar::Text) {
            return Ok(None);
        }
        let Some(common::datum::Datum::Text(text)) = resolve::constant(&value.expr, value.ty) else { return Ok(None) };
        if text.parse::<u32>().is_ok() || text == "-" {
            return Ok(None);
        }
        let name = sqlparser::parser::Parser::new(&sqlparser::dialect::PostgreSqlDialect {})
            .try_with_sql(&text)
            .and_then(|mut parser| parser.parse_object_name(false))
            .map_err(|_| BindError::new(SqlState::INVALID_NAME, "invalid name syntax"))?;
        let parts = super::from_clause::name_parts(&name)?;
        let found = match parts.as_slice() {
            [relation] => {
                let system = std::iter::once("pg_catalog".to_owned());
                system.chain(self.settings.search_path.iter().cloned()).find_map(|schema| self.view.relation_oid(&schema, relation))
            }
            [schema, relation] => self.view.relation_oid(schema, relation),
            _ => None,
        };
        match found {
            Some(oid) => Ok(Some(resolve::literal(&common::datum::Datum::Oid(oid.0), ty))),
            None => Err(BindError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{text}\" does not exist"))),
        }
    }
}

/// The argument of `ALL (…)`.
fn all_of(pattern: &Tree) -> Option<&Tree> {
    let Tree::Function(function) = pattern else { return None };
    let FunctionArguments::List(list) = &function.args else { return None };
    match (function.name.0.as_slice(), list.args.as_slice()) {
        ([name], [FunctionArg::Unnamed(FunctionArgExpr::Expr(argument))]) => {
            name.as_ident().is_some_and(|i| i.quote_style.is_none() && i.value.eq_ignore_ascii_case("all")).then_some(argument)
        }
        _ => None,
    }
}

/// The entries of a row expression, with or without the word ROW; one in parentheses is no row.
pub(crate) fn row(tree: &Tree) -> Option<Vec<Tree>> {
    match tree {
        Tree::Tuple(entries) => Some(entries.clone()),
        Tree::Nested(inner) if matches!(inner.as_ref(), Tree::Tuple(_)) => row(inner),
        Tree::Function(function) if function.name.to_string().eq_ignore_ascii_case("row") && function.over.is_none() => {
            let FunctionArguments::List(list) = &function.args else { return None };
            let entry = |arg: &FunctionArg| match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(tree)) => Some(tree.clone()),
                _ => None,
            };
            list.args.iter().map(entry).collect()
        }
        _ => None,
    }
}

/// A chain of ORs as a balanced tree, so that long ones do not nest deeply.
fn balanced_or(mut exprs: Vec<Expr>) -> Expr {
    while exprs.len() > 1 {
        let mut halves = Vec::with_capacity(exprs.len().div_ceil(2));
        let mut pairs = exprs.into_iter();
        while let Some(first) = pairs.next() {
            halves.push(match pairs.next() {
                Some(second) => first.or(second),
                None => first,
            });
        }
        exprs = halves;
    }
    exprs.pop().unwrap_or_else(|| lit(false))
}

pub(crate) fn symbol(op: &BinaryOperator) -> Result<String> {
    Ok(match op {
        BinaryOperator::NotEq => "<>".into(),
        BinaryOperator::PGCustomBinaryOperator(parts) => match parts.as_slice() {
            [symbol] => symbol.clone(),
            [schema, symbol] if schema.eq_ignore_ascii_case("pg_catalog") => symbol.clone(),
            _ => return Err(BindError::unsupported("an operator of another schema")),
        },
        other => other.to_string(),
    })
}
