//! Function calls: scalar functions, aggregates, window functions, set-returning functions, and calls with a syntax of their own.

use common::datum::Datum;
use common::sqlstate::SqlState;
use common::types::Scalar;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, WindowFrame, WindowFrameBound, WindowFrameUnits};
use functions::context::CastContext;
use functions::resolve::{self, AggregateCall, SortKey, WindowCall};
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{
    BinaryOperator, CeilFloorKind, DateTimeField, DuplicateTreatment, Expr as Tree, Function, FunctionArg, FunctionArgExpr,
    FunctionArgOperator, FunctionArgumentClause, FunctionArguments, NamedWindowExpr, NullTreatment, ObjectName, OrderByExpr,
    TrimWhereField, WindowSpec, WindowType,
};

use super::Binder;
use super::environment::Environment;
use super::query::direction;
use super::scope::folded;
use super::select::{SET, WINDOW, placeholder, result_column};
use crate::error::{BindError, Result};

/// The name of a function, without `pg_catalog`.
pub(crate) fn function_name(name: &ObjectName) -> Result<String> {
    let mut parts = super::from_clause::name_parts(name)?;
    match (parts.len(), parts.pop()) {
        (1, Some(name)) => Ok(name),
        (2, Some(name)) if parts[0] == "pg_catalog" || parts[0] == "information_schema" => Ok(name),
        (_, name) => {
            let shown = parts.into_iter().chain(name).collect::<Vec<_>>().join(".");
            Err(BindError::new(SqlState::UNDEFINED_FUNCTION, format!("function {shown} does not exist")))
        }
    }
}

impl Binder<'_> {
    pub(crate) fn function(&self, function: &Function, env: &Environment<'_>) -> Result<TypedExpr> {
        let name = function_name(&function.name)?;
        let named = |error: BindError| match function.name.0.first().and_then(|p| p.as_ident()) {
            Some(ident) => self.error_at(ident, error),
            None => error,
        };
        if let FunctionArguments::Subquery(query) = &function.args {
            return match name.as_str() {
                "array" => self.array_subquery(query, env),
                _ => Err(BindError::unsupported(format!("a subquery as the arguments of {name}"))),
            };
        }
        if let Some(over) = &function.over {
            return self.window_function(&name, function, over, env).map_err(named);
        }
        if !function.within_group.is_empty() && super::hypothetical::is_hypothetical(&name) {
            return self.hypothetical(&name, function, env);
        }
        if name == "grouping" {
            return self.grouping_call(function, env);
        }
        if resolve::is_aggregate(&name) {
            return self.aggregate(&name, function, env).map_err(named);
        }
        if resolve::is_window(&name) {
            let message = format!("window function {name} requires an OVER clause");
            return Err(named(BindError::new(SqlState::WRONG_OBJECT_TYPE, message)));
        }
        if let FunctionArguments::List(list) = &function.args
            && matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct))
        {
            let message = format!("DISTINCT specified, but {name} is not an aggregate function");
            return Err(named(BindError::new(SqlState::WRONG_OBJECT_TYPE, message)));
        }
        let (args, variadic) = self.arguments(&name, function, env).map_err(named)?;
        if name == "row" {
            return self.row_constructor(args);
        }
        if function.filter.is_some() {
            let message = format!("FILTER specified, but {name} is not an aggregate function");
            return Err(named(BindError::new(SqlState::WRONG_OBJECT_TYPE, message)));
        }
        if resolve::is_set_returning(&name) {
            return self.set_in_select(&name, args, env).map_err(named);
        }
        resolve::call(&self.cx(), &name, args, variadic).map_err(|e| named(e.into()))
    }

    /// Arguments of a plain call.
    fn arguments(&self, name: &str, function: &Function, env: &Environment<'_>) -> Result<(Vec<TypedExpr>, bool)> {
        let FunctionArguments::List(list) = &function.args else { return Ok((Vec::new(), false)) };
        if let Some(clause) = list.clauses.first() {
            return Err(BindError::unsupported(format!("{clause} in the arguments of {}", function.name)));
        }
        if let ([value, FunctionArg::Unnamed(FunctionArgExpr::Expr(Tree::Identifier(form)))], "NORMALIZE") =
            (list.args.as_slice(), function.name.to_string().to_ascii_uppercase().as_str())
            && form.quote_style.is_none()
        {
            // The form is a keyword.
            let mut args = self.function_arguments(std::slice::from_ref(value), env)?;
            args.push(resolve::literal(&Datum::Text(form.value.clone()), Scalar::Text.into()));
            return Ok((args, false));
        }
        let first_named = list.args.iter().position(is_named).unwrap_or(list.args.len());
        let (positional, named) = list.args.split_at(first_named);
        let positional = self.function_arguments(positional, env)?;
        if named.is_empty() {
            return Ok((positional, false));
        }
        let named = named.iter().map(|arg| self.named_argument(arg, env)).collect::<Result<_>>()?;
        Ok((resolve::arrange_named_arguments(name, positional, named)?, false))
    }

    /// `name => value`, also written `name := value`, which the parser takes for an assignment.
    fn named_argument(&self, arg: &FunctionArg, env: &Environment<'_>) -> Result<(String, TypedExpr)> {
        let (name, tree) = match arg {
            FunctionArg::Named { name, arg: FunctionArgExpr::Expr(tree), operator: FunctionArgOperator::RightArrow } => (name, tree),
            FunctionArg::ExprNamed {
                name: Tree::Identifier(name),
                arg: FunctionArgExpr::Expr(tree),
                operator: FunctionArgOperator::RightArrow,
            } => (name, tree),
            FunctionArg::Unnamed(FunctionArgExpr::Expr(Tree::BinaryOp { left, op: BinaryOperator::Assignment, right })) => {
                match left.as_ref() {
                    Tree::Identifier(name) => (name, right.as_ref()),
                    _ => return Err(BindError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \":=\"")),
                }
            }
            FunctionArg::Unnamed(_) => {
                return Err(BindError::new(SqlState::SYNTAX_ERROR, "positional argument cannot follow named argument"));
            }
            other => return Err(BindError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{other}\""))),
        };
        Ok((folded(name), self.expression(tree, env)?))
    }

    pub(crate) fn function_arguments(&self, args: &[FunctionArg], env: &Environment<'_>) -> Result<Vec<TypedExpr>> {
        let bind = |arg: &FunctionArg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(tree)) => self.expression(tree, env),
            FunctionArg::Unnamed(FunctionArgExpr::QualifiedWildcard(name)) => self.row_of_item(name, env),
            FunctionArg::Unnamed(_) => Err(BindError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"*\"")),
            FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => Err(BindError::unsupported("named argument notation")),
        };
        args.iter().map(bind).collect()
    }

    /// `t.*` as an argument.
    fn row_of_item(&self, name: &ObjectName, env: &Environment<'_>) -> Result<TypedExpr> {
        let parts = super::from_clause::name_parts(name)?;
        let table = parts.last().map_or("", String::as_str);
        match self.whole_row(table, env)? {
            Some(row) => Ok(row),
            None => Err(super::select::missing_from(table)),
        }
    }

    /// A set-returning function in the select list.
    fn set_in_select(&self, name: &str, args: Vec<TypedExpr>, env: &Environment<'_>) -> Result<TypedExpr> {
        let collected = env.collected.filter(|_| env.sets_allowed).ok_or_else(|| super::sets::not_allowed(env.clause))?;
        let set = resolve::set_returning(&self.cx(), name, args)?;
        let [(_, ty)] = set.columns.as_slice() else {
            return Err(BindError::unsupported(format!("the set-returning function {name} in the select list")));
        };
        let ty = *ty;
        let mut sets = collected.sets.borrow_mut();
        sets.push(set);
        Ok(TypedExpr::new(placeholder(SET, sets.len() - 1), ty))
    }

    fn aggregate(&self, name: &str, function: &Function, env: &Environment<'_>) -> Result<TypedExpr> {
        if let Some(outer) = self.outer_aggregate(name, function, env)? {
            return Ok(outer);
        }
        let collected = env.collected.filter(|_| env.aggregates_allowed).ok_or_else(|| {
            let message = match env.clause {
                "aggregate" => "aggregate function calls cannot be nested".to_owned(),
                clause => format!("aggregate functions are not allowed in {clause}"),
            };
            BindError::new(SqlState::GROUPING_ERROR, message)
        })?;
        let inside = env.inside("aggregate", false, false);
        let call = self.aggregate_call(name, function, &inside)?;
        if name == "count" && call.args.is_empty() && !call.star {
            let message = "count(*) must be used to call a parameterless aggregate function";
            return Err(BindError::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        env.absorb(&inside);
        let bound = resolve::aggregate(&self.cx(), call)?;
        // What the aggregate is wrapped in (a cast, say) stays around the column that stands for it.
        let expr = take_aggregates(bound.expr.clone(), &collected.aggregates)?;
        Ok(TypedExpr { expr, ..bound })
    }

    /// `GROUPING(…)`: which of the arguments the row's grouping set leaves out.
    fn grouping_call(&self, function: &Function, env: &Environment<'_>) -> Result<TypedExpr> {
        let collected = env
            .collected
            .filter(|_| env.aggregates_allowed)
            .ok_or_else(|| BindError::new(SqlState::GROUPING_ERROR, format!("grouping operations are not allowed in {}", env.clause)))?;
        let (args, _) = self.arguments("grouping", function, &env.inside("GROUPING", false, false))?;
        let args = args.into_iter().map(|a| a.expr).collect();
        let call = Expr::AggregateFunction(datafusion::logical_expr::expr::AggregateFunction::new_udf(
            datafusion::functions_aggregate::grouping::grouping_udaf(),
            args,
            false,
            None,
            Vec::new(),
            None,
        ));
        Ok(TypedExpr::new(take_aggregates(call, &collected.aggregates)?, Scalar::Int4))
    }

    /// An aggregate whose arguments name columns of an enclosing query alone is that query's.
    fn outer_aggregate(&self, name: &str, function: &Function, env: &Environment<'_>) -> Result<Option<TypedExpr>> {
        let mut enclosing = env.outer;
        while let Some(outer) = enclosing {
            enclosing = outer.outer;
            let Some(collected) = outer.collected.filter(|_| outer.aggregates_allowed) else { continue };
            let inside = Environment::new(env.scope, env.outer, env.ctes, "aggregate");
            let Ok(call) = self.aggregate_call(name, function, &inside) else { return Ok(None) };
            let references = inside.outer_references.borrow();
            let is_of_outer = |reference: &Expr| match reference {
                Expr::OuterReferenceColumn(_, column) => outer.scope.columns().any(|c| c.value.expr == Expr::Column(column.clone())),
                _ => false,
            };
            let names_own = call.args.iter().any(|arg| !arg.expr.column_refs().is_empty());
            if names_own || references.is_empty() || !references.iter().all(is_of_outer) {
                continue;
            }
            let there = outer.inside("aggregate", false, false);
            let bound = resolve::aggregate(&self.cx(), self.aggregate_call(name, function, &there)?)?;
            let expr = take_aggregates(bound.expr.clone(), &collected.aggregates)?;
            let arrow = bound.arrow();
            let Expr::Column(column) = expr else { return Ok(None) };
            let field = arrow::datatypes::Field::new(column.name.clone(), arrow, true);
            let reference = Expr::OuterReferenceColumn(std::sync::Arc::new(field), column);
            env.note_references([reference.clone()]);
            return Ok(Some(TypedExpr { expr: reference, ..bound }));
        }
        Ok(None)
    }

    fn aggregate_call(&self, name: &str, function: &Function, env: &Environment<'_>) -> Result<AggregateCall> {
        let mut call = AggregateCall {
            name: name.to_owned(),
            args: Vec::new(),
            star: false,
            distinct: false,
            order_by: Vec::new(),
            filter: None,
            within_group: !function.within_group.is_empty(),
        };
        if let FunctionArguments::List(list) = &function.args {
            call.distinct = matches!(list.duplicate_treatment, Some(DuplicateTreatment::Distinct));
            if let [FunctionArg::Unnamed(FunctionArgExpr::Wildcard)] = list.args.as_slice() {
                call.star = true;
            } else {
                call.args = self.function_arguments(&list.args, env)?;
            }
            for clause in &list.clauses {
                match clause {
                    FunctionArgumentClause::OrderBy(items) => call.order_by = self.sort_keys(items, env)?,
                    other => return Err(BindError::unsupported(format!("{other} in an aggregate"))),
                }
            }
        }
        if call.within_group {
            call.order_by = self.sort_keys(&function.within_group, env)?;
        }
        if let Some(filter) = &function.filter {
            let bound = self.expression(filter, env)?;
            call.filter = Some(resolve::to_boolean(&self.cx(), bound, "FILTER")?.expr);
        }
        Ok(call)
    }

    fn sort_keys(&self, items: &[OrderByExpr], env: &Environment<'_>) -> Result<Vec<SortKey>> {
        let key = |item: &OrderByExpr| {
            let (descending, nulls_first) = direction(item)?;
            let value = resolve::settle_unknown(&self.cx(), self.expression(&item.expr, env)?)?;
            Ok(SortKey { expr: resolve::sort_key_expr(&self.cx(), value)?, descending, nulls_first })
        };
        items.iter().map(key).collect()
    }

    fn window_function(&self, name: &str, function: &Function, over: &WindowType, env: &Environment<'_>) -> Result<TypedExpr> {
        let collected = env.collected.filter(|_| env.windows_allowed).ok_or_else(|| match env.clause {
            "window" => BindError::new(SqlState::WINDOWING_ERROR, "window function calls cannot be nested"),
            "aggregate" => BindError::new(SqlState::GROUPING_ERROR, "aggregate function calls cannot contain window function calls"),
            clause => BindError::new(SqlState::WINDOWING_ERROR, format!("window functions are not allowed in {clause}")),
        })?;
        if !resolve::is_window(name) && !resolve::is_aggregate(name) {
            let message = format!("OVER specified, but {name} is not a window function nor an aggregate function");
            return Err(BindError::new(SqlState::WRONG_OBJECT_TYPE, message));
        }
        let inside = env.inside("window", true, false);
        let call = self.aggregate_call(name, function, &inside)?;
        let mut spec = match over {
            WindowType::WindowSpec(spec) => spec.clone(),
            WindowType::NamedWindow(window) => self.named_window(window, env)?,
        };
        if let Some(base) = spec.window_name.take() {
            let base = self.named_window(&base, env)?;
            spec.partition_by = base.partition_by;
            if spec.order_by.is_empty() {
                spec.order_by = base.order_by;
            }
        }
        let cx = self.cx();
        let mut partition_by = Vec::with_capacity(spec.partition_by.len());
        for tree in &spec.partition_by {
            let value = resolve::settle_unknown(&cx, self.expression(tree, &inside)?)?;
            partition_by.push(resolve::group_key_expr(&cx, value)?.expr);
        }
        let order_by = self.sort_keys(&spec.order_by, &inside)?;
        let frame = self.frame(&spec, order_by.first(), &inside)?;
        env.absorb(&inside);
        let ignore_nulls = matches!(function.null_treatment, Some(NullTreatment::IgnoreNulls));
        let bound = resolve::window(&cx, WindowCall { function: call, partition_by, order_by, frame, ignore_nulls })?;
        let expr = take_windows(bound.expr.clone(), &collected.windows)?;
        Ok(TypedExpr { expr, ..bound })
    }

    fn named_window(&self, name: &sqlparser::ast::Ident, env: &Environment<'_>) -> Result<WindowSpec> {
        let wanted = folded(name);
        let found = env.named_windows.iter().find(|definition| folded(&definition.0) == wanted);
        match found.map(|definition| &definition.1) {
            Some(NamedWindowExpr::WindowSpec(spec)) => Ok(spec.clone()),
            Some(NamedWindowExpr::NamedWindow(other)) => self.named_window(other, env),
            None => {
                let error = BindError::new(SqlState::UNDEFINED_OBJECT, format!("window \"{wanted}\" does not exist"));
                Err(self.error_at(name, error))
            }
        }
    }

    fn frame(&self, spec: &WindowSpec, order: Option<&SortKey>, env: &Environment<'_>) -> Result<WindowFrame> {
        let Some(frame) = &spec.window_frame else {
            return Ok(WindowFrame::new(order.map(|_| false)));
        };
        let units = match frame.units {
            sqlparser::ast::WindowFrameUnits::Rows => WindowFrameUnits::Rows,
            sqlparser::ast::WindowFrameUnits::Range => WindowFrameUnits::Range,
            sqlparser::ast::WindowFrameUnits::Groups => WindowFrameUnits::Groups,
        };
        check_bounds(&frame.start_bound, frame.end_bound.as_ref())?;
        let start = self.frame_bound(&frame.start_bound, units, order, env)?;
        let end = match &frame.end_bound {
            Some(bound) => self.frame_bound(bound, units, order, env)?,
            None => WindowFrameBound::CurrentRow,
        };
        Ok(WindowFrame::new_bounds(units, start, end))
    }

    fn frame_bound(
        &self,
        bound: &sqlparser::ast::WindowFrameBound,
        units: WindowFrameUnits,
        order: Option<&SortKey>,
        env: &Environment<'_>,
    ) -> Result<WindowFrameBound> {
        use sqlparser::ast::WindowFrameBound as Bound;
        Ok(match bound {
            Bound::CurrentRow => WindowFrameBound::CurrentRow,
            Bound::Preceding(None) => WindowFrameBound::Preceding(ScalarValue::UInt64(None)),
            Bound::Following(None) => WindowFrameBound::Following(ScalarValue::UInt64(None)),
            Bound::Preceding(Some(tree)) => WindowFrameBound::Preceding(self.frame_offset(tree, units, order, env)?),
            Bound::Following(Some(tree)) => WindowFrameBound::Following(self.frame_offset(tree, units, order, env)?),
        })
    }

    fn frame_offset(&self, tree: &Tree, units: WindowFrameUnits, order: Option<&SortKey>, env: &Environment<'_>) -> Result<ScalarValue> {
        let value = self.expression(tree, env)?;
        let target = match (units, order) {
            (WindowFrameUnits::Rows | WindowFrameUnits::Groups, _) => Scalar::Int8.into(),
            (WindowFrameUnits::Range, Some(order)) => match order.expr.ty.scalar {
                Scalar::Date | Scalar::Timestamp | Scalar::Timestamptz | Scalar::Time => Scalar::Interval.into(),
                _ => order.expr.ty,
            },
            (WindowFrameUnits::Range, None) => {
                let message = "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column";
                return Err(BindError::new(SqlState::WINDOWING_ERROR, message));
            }
        };
        let cast = resolve::cast(&self.cx(), value, target, CastContext::Implicit)?;
        let Some(constant) = resolve::constant(&cast.expr, cast.ty) else {
            return Err(BindError::unsupported("a window frame offset that is no constant"));
        };
        match (units, constant) {
            (_, Datum::Null) => Err(BindError::new(SqlState::NULL_VALUE_NOT_ALLOWED, "frame starting offset must not be null")),
            (WindowFrameUnits::Rows | WindowFrameUnits::Groups, Datum::Int8(n)) => match u64::try_from(n) {
                Ok(n) => Ok(ScalarValue::UInt64(Some(n))),
                Err(_) => Err(BindError::new(SqlState::INVALID_PRECEDING_OR_FOLLOWING_SIZE, "frame starting offset must not be negative")),
            },
            (_, constant) => Ok(resolve::scalar_value(&constant, cast.ty)?),
        }
    }

    /// EXTRACT, POSITION, SUBSTRING, TRIM, OVERLAY, CEIL, FLOOR, IS NORMALIZED.
    pub(crate) fn special_call(&self, tree: &Tree, env: &Environment<'_>) -> Result<TypedExpr> {
        let bind = |tree: &Tree| self.expression(tree, env);
        let (name, args) = match tree {
            Tree::Extract { field, expr, .. } => {
                let field = match field {
                    DateTimeField::Custom(name) => name.value.clone(),
                    field => field.to_string().to_lowercase(),
                };
                ("extract", vec![resolve::unknown_literal(field), bind(expr)?])
            }
            Tree::Ceil { expr, field } => ("ceil", self.rounding(expr, field, env)?),
            Tree::Floor { expr, field } => ("floor", self.rounding(expr, field, env)?),
            Tree::Position { expr, r#in } => ("position", vec![bind(r#in)?, bind(expr)?]),
            Tree::Substring { expr, substring_from, substring_for, shorthand, .. } => {
                let mut args = vec![bind(expr)?];
                match (substring_from, substring_for) {
                    (Some(from), length) => {
                        args.push(bind(from)?);
                        args.extend(length.as_ref().map(|l| bind(l)).transpose()?);
                    }
                    (None, Some(length)) => {
                        args.push(resolve::literal(&Datum::Int4(1), Scalar::Int4.into()));
                        args.push(bind(length)?);
                    }
                    (None, None) => {}
                }
                (if *shorthand { "substr" } else { "substring" }, args)
            }
            Tree::Trim { trim_where, trim_what, expr, trim_characters } => {
                let name = match trim_where {
                    Some(TrimWhereField::Leading) => "ltrim",
                    Some(TrimWhereField::Trailing) => "rtrim",
                    Some(TrimWhereField::Both) | None => "btrim",
                };
                let mut args = vec![bind(expr)?];
                args.extend(trim_what.as_ref().map(|w| bind(w)).transpose()?);
                for characters in trim_characters.iter().flatten() {
                    args.push(bind(characters)?);
                }
                (name, args)
            }
            Tree::Overlay { expr, overlay_what, overlay_from, overlay_for } => {
                let mut args = vec![bind(expr)?, bind(overlay_what)?, bind(overlay_from)?];
                args.extend(overlay_for.as_ref().map(|l| bind(l)).transpose()?);
                ("overlay", args)
            }
            Tree::IsNormalized { expr, form, negated } => {
                let form = form.map_or("NFC".to_owned(), |form| form.to_string());
                let args = vec![bind(expr)?, resolve::literal(&Datum::Text(form), Scalar::Text.into())];
                let normalized = resolve::call(&self.cx(), "is_normalized", args, false)?;
                return Ok(if *negated { TypedExpr::new(Expr::Not(Box::new(normalized.expr)), Scalar::Bool) } else { normalized });
            }
            other => return Err(BindError::unsupported(format!("the expression {other}"))),
        };
        Ok(resolve::call(&self.cx(), name, args, false)?)
    }

    fn rounding(&self, expr: &Tree, field: &CeilFloorKind, env: &Environment<'_>) -> Result<Vec<TypedExpr>> {
        match field {
            CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) => Ok(vec![self.expression(expr, env)?]),
            _ => Err(BindError::unsupported("rounding to a unit")),
        }
    }
}

/// A frame ends where it begins, or behind.
fn check_bounds(start: &sqlparser::ast::WindowFrameBound, end: Option<&sqlparser::ast::WindowFrameBound>) -> Result<()> {
    use sqlparser::ast::WindowFrameBound as Bound;
    let message = match (start, end.unwrap_or(&Bound::CurrentRow)) {
        (Bound::Following(None), _) => "frame start cannot be UNBOUNDED FOLLOWING",
        (_, Bound::Preceding(None)) => "frame end cannot be UNBOUNDED PRECEDING",
        (Bound::CurrentRow, Bound::Preceding(_)) => "frame starting from current row cannot have preceding rows",
        (Bound::Following(_), Bound::Preceding(_)) => "frame starting from following row cannot have preceding rows",
        (Bound::Following(_), Bound::CurrentRow) if end.is_none() => "frame starting from following row cannot end with current row",
        (Bound::Following(_), Bound::CurrentRow) => "frame starting from following row cannot have preceding rows",
        _ => return Ok(()),
    };
    Err(BindError::new(SqlState::WINDOWING_ERROR, message))
}

/// Whether the argument has a name.
fn is_named(arg: &FunctionArg) -> bool {
    match arg {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Tree::BinaryOp { op, .. })) => *op == BinaryOperator::Assignment,
        FunctionArg::Unnamed(_) => false,
        FunctionArg::Named { .. } | FunctionArg::ExprNamed { .. } => true,
    }
}

/// Moves the aggregates of an expression to the list; columns stand for them.
pub(crate) fn take_aggregates(expr: Expr, list: &std::cell::RefCell<Vec<Expr>>) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
    let taken = expr.transform_down(|e| {
        if !matches!(e, Expr::AggregateFunction(_)) {
            return Ok(Transformed::no(e));
        }
        let column = Expr::Column(result_column(&e));
        let mut list = list.borrow_mut();
        if !list.contains(&e) {
            list.push(e);
        }
        Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
    })?;
    Ok(taken.data)
}

/// Moves the window functions of an expression to the list; placeholders stand for them.
fn take_windows(expr: Expr, list: &std::cell::RefCell<Vec<Expr>>) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
    let taken = expr.transform_down(|e| {
        if !matches!(e, Expr::WindowFunction(_)) {
            return Ok(Transformed::no(e));
        }
        let mut list = list.borrow_mut();
        let at = list.iter().position(|w| *w == e).unwrap_or_else(|| {
            list.push(e);
            list.len() - 1
        });
        Ok(Transformed::new(placeholder(WINDOW, at), true, TreeNodeRecursion::Jump))
    })?;
    Ok(taken.data)
}
