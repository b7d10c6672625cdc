//! Expressions.

use common::sqlstate::SqlState;
use common::types::Scalar;
use datafusion::logical_expr::{Case, Expr};
use functions::context::CastContext;
use functions::resolve;
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{AccessExpr, BinaryOperator, CaseWhen, CastKind, Expr as Tree, Ident, Subscript, UnaryOperator};

use super::Binder;
use super::environment::{Environment, Truth};
use super::scope::folded;
use super::select::missing_from;
use crate::error::{BindError, Result};

impl Binder<'_> {
    pub(crate) fn expression(&self, tree: &Tree, env: &Environment<'_>) -> Result<TypedExpr> {
        let before = env.truth.get();
        env.truth.set(truth_below(tree, before));
        let bound = self.expression_of(tree, env);
        env.truth.set(before);
        bound
    }

    fn expression_of(&self, tree: &Tree, env: &Environment<'_>) -> Result<TypedExpr> {
        match tree {
            Tree::Value(value) => self.literal(&value.value),
            Tree::Identifier(ident) => self.column(ident, env),
            Tree::CompoundIdentifier(parts) => self.qualified_column(parts, env),
            Tree::BinaryOp { left, op, right } => self.binary(left, op, right, env),
            Tree::UnaryOp { op: UnaryOperator::Not, expr } if is_in_subquery(expr) => match unnested(expr) {
                Tree::InSubquery { expr, subquery, negated } => {
                    let left = self.row_entries(expr, env)?;
                    self.in_subquery(left, subquery, !negated, env)
                }
                other => self.unary(UnaryOperator::Not, other, env),
            },
            Tree::UnaryOp { op, expr } => self.unary(*op, expr, env),
            Tree::Nested(inner) => self.expression(inner, env),
            Tree::Function(function) => self.function(function, env),
            Tree::Cast { kind: CastKind::Cast | CastKind::DoubleColon, expr, data_type, format: None } => {
                let named = super::type_name::named_type(data_type, self.settings)?;
                let value = match expr.as_ref() {
                    Tree::Array(array) if array.elem.is_empty() && named.ty.is_array => {
                        resolve::literal(&common::datum::Datum::Array(common::array::Array::default()), named.ty)
                    }
                    expr => self.expression(expr, env)?,
                };
                let value = self.cast_to(value, named.ty)?;
                self.in_domain(value, named.domain.as_deref())
            }
            Tree::TypedString(typed) => self.typed_string(typed),
            Tree::Interval(interval) => self.interval(interval),
            Tree::Case { operand, conditions, else_result, .. } => self.case(operand.as_deref(), conditions, else_result.as_deref(), env),
            Tree::Subquery(query) => self.scalar_subquery(query, env),
            Tree::Exists { subquery, negated } => self.exists(subquery, *negated, env),
            Tree::InSubquery { expr, subquery, negated } => {
                let left = self.row_entries(expr, env)?;
                self.in_subquery(left, subquery, *negated, env)
            }
            _ => self.predicate(tree, env),
        }
    }

    /// The left side of IN: a row's entries, or the one value. They are values, whatever becomes of the whole.
    pub(crate) fn row_entries(&self, tree: &Tree, env: &Environment<'_>) -> Result<Vec<TypedExpr>> {
        let truth = env.truth.replace(Truth::Value);
        let entries = match super::operators::row(tree) {
            Some(entries) => entries.iter().map(|e| self.expression(e, env)).collect(),
            None => self.expression(tree, env).map(|value| vec![value]),
        };
        env.truth.set(truth);
        entries
    }

    /// Predicates with a syntax of their own.
    fn predicate(&self, tree: &Tree, env: &Environment<'_>) -> Result<TypedExpr> {
        match tree {
            Tree::InList { expr, list, negated } => self.in_list(expr, list, *negated, env),
            Tree::Between { expr, negated, low, high } => self.between(expr, low, high, *negated, env),
            Tree::IsNull(inner) => self.is_null(inner, false, env),
            Tree::IsNotNull(inner) => self.is_null(inner, true, env),
            Tree::IsTrue(inner) => self.truth(inner, Expr::IsTrue, "IS TRUE", env),
            Tree::IsNotTrue(inner) => self.truth(inner, Expr::IsNotTrue, "IS NOT TRUE", env),
            Tree::IsFalse(inner) => self.truth(inner, Expr::IsFalse, "IS FALSE", env),
            Tree::IsNotFalse(inner) => self.truth(inner, Expr::IsNotFalse, "IS NOT FALSE", env),
            Tree::IsUnknown(inner) => self.truth(inner, Expr::IsUnknown, "IS UNKNOWN", env),
            Tree::IsNotUnknown(inner) => self.truth(inner, Expr::IsNotUnknown, "IS NOT UNKNOWN", env),
            Tree::IsDistinctFrom(left, right) => self.is_distinct(left, right, false, env),
            Tree::IsNotDistinctFrom(left, right) => self.is_distinct(left, right, true, env),
            Tree::Like { negated, any, expr, pattern, escape_char } => {
                self.like(if *negated { "!~~" } else { "~~" }, (expr, *any), pattern, escape_char.as_deref(), env)
            }
            Tree::ILike { negated, any, expr, pattern, escape_char } => {
                self.like(if *negated { "!~~*" } else { "~~*" }, (expr, *any), pattern, escape_char.as_deref(), env)
            }
            Tree::SimilarTo { negated, expr, pattern, escape_char } => self.similar(expr, pattern, escape_char.as_deref(), *negated, env),
            Tree::AnyOp { left, compare_op, right, .. } => self.any_all(left, &super::operators::symbol(compare_op)?, right, false, env),
            Tree::AllOp { left, compare_op, right } => self.any_all(left, &super::operators::symbol(compare_op)?, right, true, env),
            Tree::AtTimeZone { timestamp, time_zone } => self.at_time_zone(timestamp, time_zone, env),
            Tree::Collate { expr, collation } => self.collate(expr, collation, env),
            Tree::Array(array) => {
                let elements = array.elem.iter().map(|e| self.expression(e, env)).collect::<Result<Vec<_>>>()?;
                Ok(resolve::array_constructor(&self.cx(), elements)?)
            }
            Tree::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, env),
            Tree::Extract { .. }
            | Tree::Ceil { .. }
            | Tree::Floor { .. }
            | Tree::Position { .. }
            | Tree::Substring { .. }
            | Tree::Trim { .. }
            | Tree::IsNormalized { .. }
            | Tree::Overlay { .. } => self.special_call(tree, env),
            Tree::Tuple(entries) => {
                let entries = entries.iter().map(|e| self.expression(e, env)).collect::<Result<Vec<_>>>()?;
                self.row_constructor(entries)
            }
            other => Err(BindError::unsupported(format!("the expression {other}"))),
        }
    }

    fn is_null(&self, tree: &Tree, negated: bool, env: &Environment<'_>) -> Result<TypedExpr> {
        let entries = super::operators::row(tree).unwrap_or_else(|| vec![tree.clone()]);
        let mut all: Option<Expr> = None;
        for entry in &entries {
            let value = resolve::settle_unknown(&self.cx(), self.expression(entry, env)?)?.expr;
            let test = if negated { value.is_not_null() } else { value.is_null() };
            all = Some(match all {
                None => test,
                Some(before) => before.and(test),
            });
        }
        Ok(TypedExpr::new(all.unwrap_or_else(|| datafusion::logical_expr::lit(true)), Scalar::Bool))
    }

    fn truth(&self, tree: &Tree, test: fn(Box<Expr>) -> Expr, name: &str, env: &Environment<'_>) -> Result<TypedExpr> {
        let bound = self.expression(tree, env)?;
        let value = resolve::to_boolean(&self.cx(), bound, name)?;
        Ok(TypedExpr::new(test(Box::new(value.expr)), Scalar::Bool))
    }

    fn case(&self, operand: Option<&Tree>, conditions: &[CaseWhen], otherwise: Option<&Tree>, env: &Environment<'_>) -> Result<TypedExpr> {
        let cx = self.cx();
        let operand = operand.map(|tree| self.expression(tree, env)).transpose()?;
        let mut whens = Vec::with_capacity(conditions.len());
        let mut results = Vec::with_capacity(conditions.len() + 1);
        for when in conditions {
            let condition = self.expression(&when.condition, env)?;
            whens.push(match &operand {
                Some(operand) => resolve::binary_operator(&cx, "=", operand.clone(), condition)?,
                None => resolve::to_boolean(&cx, condition, "CASE/WHEN")?,
            });
            results.push(self.expression(&when.result, env)?);
        }
        if let Some(otherwise) = otherwise {
            results.push(self.expression(otherwise, env)?);
        }
        // PostgreSQL looks at ELSE first when it chooses the type.
        let mut candidates = results.clone();
        if otherwise.is_some() {
            candidates.rotate_right(1);
        }
        let ty = resolve::common_type(&cx, &candidates, "CASE")?;
        let mut cast = Vec::with_capacity(results.len());
        for result in results {
            cast.push(resolve::cast(&cx, result, ty, CastContext::Implicit)?);
        }
        let otherwise = if otherwise.is_some() { cast.pop() } else { None };
        let model = cast.first().cloned();
        let when_then_expr = whens.into_iter().zip(cast).map(|(w, r)| (Box::new(w.expr), Box::new(r.expr))).collect();
        let otherwise = match otherwise {
            Some(otherwise) => otherwise.expr,
            None => resolve::literal(&common::datum::Datum::Null, ty).expr,
        };
        let expr = Expr::Case(Case { expr: None, when_then_expr, else_expr: Some(Box::new(otherwise)) });
        Ok(match model {
            Some(model) => TypedExpr { expr, ty, ..model },
            None => TypedExpr::new(expr, ty),
        })
    }

    fn collate(&self, tree: &Tree, collation: &sqlparser::ast::ObjectName, env: &Environment<'_>) -> Result<TypedExpr> {
        let parts = super::from_clause::name_parts(collation)?;
        match parts.last().map(String::as_str) {
            Some("C" | "POSIX" | "default" | "ucs_basic" | "C.UTF-8" | "C.utf8") => self.expression(tree, env),
            Some(other) => Err(BindError::unsupported(format!("collation \"{other}\""))),
            None => self.expression(tree, env),
        }
    }

    /// `a[1]`, `t.a[1]`: the names before the first subscript are a column's.
    fn access(&self, root: &Tree, chain: &[AccessExpr], env: &Environment<'_>) -> Result<TypedExpr> {
        let mut names = match root {
            Tree::Identifier(ident) => vec![ident.clone()],
            _ => Vec::new(),
        };
        if !names.is_empty() {
            let dotted = chain.iter().map_while(|access| match access {
                AccessExpr::Dot(Tree::Identifier(ident)) => Some(ident.clone()),
                _ => None,
            });
            names.extend(dotted);
        }
        let qualified = names.len() > 1;
        let mut value = if qualified { self.qualified_column(&names, env)? } else { self.expression(root, env)? };
        let mut subscripts = Vec::new();
        for access in chain.iter().skip(names.len().saturating_sub(1)) {
            match access {
                AccessExpr::Subscript(subscript) => subscripts.push(self.subscript(subscript, env)?),
                AccessExpr::Dot(_) => return Err(BindError::unsupported("a field of a composite value")),
            }
        }
        if !subscripts.is_empty() {
            value = resolve::subscript(&self.cx(), value, subscripts)?;
        }
        Ok(value)
    }

    pub(crate) fn subscript(&self, subscript: &Subscript, env: &Environment<'_>) -> Result<resolve::Subscript> {
        let bound = |tree: &Option<Tree>| tree.as_ref().map(|tree| self.expression(tree, env)).transpose();
        Ok(match subscript {
            Subscript::Index { index } => resolve::Subscript::Index(self.expression(index, env)?),
            Subscript::Slice { lower_bound, upper_bound, stride: None } => {
                resolve::Subscript::Slice(bound(lower_bound)?, bound(upper_bound)?)
            }
            Subscript::Slice { stride: Some(_), .. } => return Err(BindError::unsupported("an array slice with a stride")),
        })
    }

    fn column(&self, ident: &Ident, env: &Environment<'_>) -> Result<TypedExpr> {
        let name = folded(ident);
        let found = self.find(env, |scope| Ok(scope.column(&name)?.cloned())).map_err(|e| self.error_at(ident, e))?;
        match found {
            Some(value) => Ok(value),
            None if ident.quote_style.is_none() && is_bare_function(&name) => self.bare_function(&name),
            None => match self.whole_row(&name, env).map_err(|e| self.error_at(ident, e))? {
                Some(row) => Ok(row),
                None => {
                    let error = BindError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"));
                    Err(self.error_at(ident, error))
                }
            },
        }
    }

    /// The row of a FROM item, or the value of a function there that answers one.
    pub(crate) fn whole_row(&self, name: &str, env: &Environment<'_>) -> Result<Option<TypedExpr>> {
        if let Some(item) = env.scope.table(None, name)? {
            return Ok(Some(row_of(item, |column| column.value.clone())));
        }
        let mut outer = env.outer;
        while let Some(enclosing) = outer {
            if let Some(item) = enclosing.scope.table(None, name)? {
                let reference = |column: &super::scope::ScopeColumn| {
                    let reference = super::subquery::outer_reference(column);
                    env.note_references([reference.clone()]);
                    TypedExpr { expr: reference, ..column.value.clone() }
                };
                return Ok(Some(row_of(item, reference)));
            }
            outer = enclosing.outer;
        }
        Ok(None)
    }

    /// `ROW(a, b)`, `(a, b)`.
    pub(crate) fn row_constructor(&self, values: Vec<TypedExpr>) -> Result<TypedExpr> {
        let mut fields = Vec::with_capacity(values.len());
        for (at, value) in values.into_iter().enumerate() {
            fields.push((format!("f{}", at + 1), resolve::settle_unknown(&self.cx(), value)?));
        }
        Ok(resolve::row_value(fields))
    }

    fn qualified_column(&self, parts: &[Ident], env: &Environment<'_>) -> Result<TypedExpr> {
        let names: Vec<String> = parts.iter().map(folded).collect();
        let (schema, table, column) = match names.as_slice() {
            [table, column] => (None, table, column),
            [schema, table, column] => (Some(schema.as_str()), table, column),
            [_, schema, table, column] => (Some(schema.as_str()), table, column),
            _ => return Err(BindError::new(SqlState::SYNTAX_ERROR, format!("improper qualified name: {}", names.join(".")))),
        };
        let mut table_found = false;
        let found = self.find(env, |scope| {
            let Some(item) = scope.table(schema, table)? else { return Ok(None) };
            table_found = true;
            Ok(item.columns.iter().chain(&item.system).find(|c| c.name == *column).cloned())
        });
        let first = &parts[0];
        match found.map_err(|e| self.error_at(first, e))? {
            Some(value) => Ok(value),
            None if table_found => {
                let error = BindError::new(SqlState::UNDEFINED_COLUMN, format!("column {table}.{column} does not exist"));
                Err(self.error_at(first, error))
            }
            None => Err(self.error_at(first, missing_from(table))),
        }
    }

    /// Looks in this query's scope, then in the enclosing ones'.
    fn find(
        &self,
        env: &Environment<'_>,
        mut look: impl FnMut(&super::scope::Scope) -> Result<Option<super::scope::ScopeColumn>>,
    ) -> Result<Option<TypedExpr>> {
        if let Some(column) = look(env.scope)? {
            return Ok(Some(column.value));
        }
        let mut outer = env.outer;
        while let Some(enclosing) = outer {
            if let Some(column) = look(enclosing.scope)? {
                let reference = super::subquery::outer_reference(&column);
                env.note_references([reference.clone()]);
                return Ok(Some(TypedExpr { expr: reference, ..column.value }));
            }
            outer = enclosing.outer;
        }
        Ok(None)
    }

    fn bare_function(&self, name: &str) -> Result<TypedExpr> {
        Ok(resolve::call(&self.cx(), name, Vec::new(), false)?)
    }
}

/// The row of a FROM item whose columns are found by `value`.
fn row_of(item: &super::scope::ScopeTable, value: impl Fn(&super::scope::ScopeColumn) -> TypedExpr) -> TypedExpr {
    match item.columns.as_slice() {
        [only] if item.is_value => value(only),
        columns => resolve::row_value(columns.iter().map(|column| (column.name.clone(), value(column))).collect()),
    }
}

/// What becomes of the parts of an expression of which `truth` becomes.
fn truth_below(tree: &Tree, truth: Truth) -> Truth {
    match tree {
        Tree::Nested(_) | Tree::InSubquery { .. } | Tree::Exists { .. } | Tree::AnyOp { .. } | Tree::AllOp { .. } => truth,
        Tree::BinaryOp { op: BinaryOperator::And, .. } => truth,
        Tree::BinaryOp { op: BinaryOperator::Or, .. } if truth == Truth::Conjunct => Truth::Positive,
        Tree::BinaryOp { op: BinaryOperator::Or, .. } => truth,
        Tree::UnaryOp { op: UnaryOperator::Not, expr } if is_in_subquery(expr) || matches!(unnested(expr), Tree::Exists { .. }) => truth,
        _ => Truth::Value,
    }
}

fn is_in_subquery(tree: &Tree) -> bool {
    matches!(unnested(tree), Tree::InSubquery { .. })
}

fn unnested(tree: &Tree) -> &Tree {
    match tree {
        Tree::Nested(inner) => unnested(inner),
        other => other,
    }
}

/// Functions that SQL writes without parentheses.
fn is_bare_function(name: &str) -> bool {
    matches!(
        name,
        "current_date"
            | "current_time"
            | "current_timestamp"
            | "localtime"
            | "localtimestamp"
            | "current_user"
            | "session_user"
            | "current_role"
            | "current_catalog"
            | "current_schema"
            | "user"
    )
}
