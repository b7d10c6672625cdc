//! One SELECT.
//!
//! The order of the steps: FROM, WHERE, then the select list, HAVING and ORDER BY are bound over the rows; what they hold of aggregates, window
//! functions and set-returning functions is collected; grouping, windows and unnesting are put on the plan; the bound expressions are rewritten
//! to read their results; and the projection, DISTINCT and the sort end it.

use std::sync::Arc;

use common::sqlstate::SqlState;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, TableReference};
use datafusion::logical_expr::{Distinct, Expr, ExprSchemable, LogicalPlan, SortExpr, Window};
use functions::resolve::{self, AggregateCall, SortKey};
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{
    Distinct as DistinctTree, Expr as Tree, OrderBy, OrderByExpr, Select, SelectItem, SelectItemQualifiedWildcardKind, Value,
};

use super::Binder;
use super::ctes::Ctes;
use super::environment::{Collected, Environment};
use super::query::{direction, order_expressions, output_by_number, sorted};
use super::relation::{Output, Relation, filter};
use super::scope::{Scope, ScopeColumn, folded};
use crate::error::{BindError, Result};

/// One ORDER BY item, bound: an output column by place, or an expression of its own.
enum OrderItem {
    Output(usize),
    Value(TypedExpr),
}

/// Chooses columns of the FROM items.
type RowColumns<'a> = &'a mut dyn FnMut(&Scope) -> Result<Vec<Output>>;

/// A SELECT's expressions.
struct Expressions {
    outputs: Vec<Output>,
    order: Vec<(OrderItem, bool, bool)>,
    distinct_on: Vec<TypedExpr>,
    having: Option<Expr>,
}

impl Binder<'_> {
    pub(crate) fn select(
        &self,
        select: &Select,
        order: Option<&OrderBy>,
        outer: Option<&Environment<'_>>,
        ctes: Option<&Ctes<'_>>,
    ) -> Result<Relation> {
        self.select_rows(select, order, outer, ctes, None)
    }

    /// A SELECT for a locking clause (worded `clause`): the columns that `rows` chooses stand behind its own.
    pub(crate) fn select_with_rows(
        &self,
        select: &Select,
        order: Option<&OrderBy>,
        outer: Option<&Environment<'_>>,
        ctes: Option<&Ctes<'_>>,
        clause: &str,
        mut rows: impl FnMut(&Scope) -> Result<Vec<Output>>,
    ) -> Result<Relation> {
        self.select_rows(select, order, outer, ctes, Some((clause, &mut rows)))
    }

    fn select_rows(
        &self,
        select: &Select,
        order: Option<&OrderBy>,
        outer: Option<&Environment<'_>>,
        ctes: Option<&Ctes<'_>>,
        locking: Option<(&str, RowColumns<'_>)>,
    ) -> Result<Relation> {
        reject_foreign_clauses(select)?;
        let source = self.sources(&select.from, outer, ctes)?;
        let mut plan = source.plan;
        if let Some(condition) = &select.selection {
            let env = Environment::new(&source.scope, outer, ctes, "WHERE").filtering();
            let bound = self.expression(condition, &env)?;
            let predicate = resolve::to_boolean(&self.cx(), bound, "WHERE")?.expr;
            absorb(outer, &env);
            plan = filter(plan, predicate)?;
        }
        let collected = Collected::default();
        let env = Environment {
            collected: Some(&collected),
            aggregates_allowed: true,
            windows_allowed: true,
            sets_allowed: true,
            named_windows: &select.named_window,
            ..Environment::new(&source.scope, outer, ctes, "SELECT")
        };
        let mut parts = self.expressions(select, order, &env)?;
        let grouping = self.grouping(select, &parts.outputs, &env)?;
        absorb(outer, &env);
        let is_grouped = grouping.is_some() || parts.having.is_some() || !collected.aggregates.borrow().is_empty();
        let mut windows = collected.windows.borrow().clone();
        let mut sets = collected.sets.borrow().clone();
        if let Some((clause, rows)) = locking {
            super::row_locks::check_calls(clause, is_grouped, !windows.is_empty(), !sets.is_empty())?;
            parts.outputs.extend(rows(&source.scope)?);
        }
        if is_grouped {
            let mut grouping = grouping.unwrap_or_default();
            if grouping.names_sets() {
                let (unnested, results) = self.unnest_select_list(plan, std::mem::take(&mut sets))?;
                plan = unnested;
                grouping.with_sets(&results)?;
                for value in parts.values_mut().chain(&mut windows) {
                    *value = replace_placeholders(std::mem::take(value), SET, &results)?;
                }
            }
            let of_sets = sets.iter_mut().map(|set| &mut set.expr.expr);
            for value in parts.values_mut().chain(&mut windows).chain(of_sets) {
                *value = self.over_groups(std::mem::take(value), &mut grouping, &source.scope)?;
            }
            let mut aggregates = collected.aggregates.borrow().clone();
            if aggregates.is_empty() && grouping.is_empty() {
                // One group of all rows, of which nothing is asked.
                aggregates
                    .push(resolve::aggregate(&self.cx(), AggregateCall { star: true, ..AggregateCall::plain("count", Vec::new()) })?.expr);
            }
            plan = grouping.plan(plan, aggregates)?;
            if let Some(having) = parts.having.take() {
                plan = filter(plan, having)?;
            }
        }
        if !windows.is_empty() {
            let results: Vec<Expr> = windows.iter().map(|w| Expr::Column(result_column(w))).collect();
            plan = window_plan(plan, windows)?;
            for value in parts.values_mut().chain(sets.iter_mut().map(|set| &mut set.expr.expr)) {
                *value = replace_placeholders(std::mem::take(value), WINDOW, &results)?;
            }
        }
        if !sets.is_empty() {
            let (unnested, results) = self.unnest_select_list(plan, sets)?;
            plan = unnested;
            for value in parts.values_mut() {
                *value = replace_placeholders(std::mem::take(value), SET, &results)?;
            }
        }
        self.finish(plan, parts, select.distinct.as_ref())
    }

    /// Binds select list, ORDER BY, DISTINCT ON and HAVING over the rows of FROM.
    fn expressions(&self, select: &Select, order: Option<&OrderBy>, env: &Environment<'_>) -> Result<Expressions> {
        let outputs = self.select_list(&select.projection, env)?;
        let mut items = Vec::new();
        if let Some(order) = order {
            for item in order_expressions(order)? {
                let (descending, nulls_first) = direction(item)?;
                items.push((self.order_item(item, &outputs, env)?, descending, nulls_first));
            }
        }
        let mut distinct_on = Vec::new();
        if let Some(DistinctTree::On(trees)) = &select.distinct {
            for tree in trees {
                let item = OrderByExpr {
                    expr: tree.clone(),
                    options: sqlparser::ast::OrderByOptions { sort: None, nulls_first: None },
                    with_fill: None,
                };
                distinct_on.push(match self.order_item(&item, &outputs, env)? {
                    OrderItem::Output(at) => outputs[at].value.clone(),
                    OrderItem::Value(value) => value,
                });
            }
        }
        let having = match &select.having {
            None => None,
            Some(tree) => {
                let inside = env.inside("HAVING", true, false).filtering();
                let bound = self.expression(tree, &inside)?;
                env.absorb(&inside);
                Some(resolve::to_boolean(&self.cx(), bound, "HAVING")?.expr)
            }
        };
        Ok(Expressions { outputs, order: items, distinct_on, having })
    }

    /// The output columns of a select list.
    pub(crate) fn select_list(&self, items: &[SelectItem], env: &Environment<'_>) -> Result<Vec<Output>> {
        let star = |column: &ScopeColumn| Output { name: column.name.clone(), value: column.value.clone(), origin: column.origin };
        let mut outputs = Vec::with_capacity(items.len());
        for item in items {
            match item {
                SelectItem::Wildcard(_) => {
                    if env.scope.tables.is_empty() {
                        return Err(BindError::new(SqlState::SYNTAX_ERROR, "SELECT * with no tables specified is not valid"));
                    }
                    outputs.extend(env.scope.star().map(star));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                    let parts = super::from_clause::name_parts(name)?;
                    let (schema, table) = match parts.as_slice() {
                        [table] => (None, table),
                        [.., schema, table] => (Some(schema.as_str()), table),
                        [] => continue,
                    };
                    let found = env.scope.table(schema, table)?.ok_or_else(|| self.missing_item(table, env))?;
                    outputs.extend(found.columns.iter().map(star));
                }
                SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::Expr(_), _) => {
                    return Err(BindError::unsupported("the expansion of a composite value"));
                }
                SelectItem::ExprWithAliases { .. } => return Err(BindError::unsupported("several names for one column")),
                SelectItem::UnnamedExpr(tree) => outputs.push(self.output(tree, super::output_name::of(tree), env)?),
                SelectItem::ExprWithAlias { expr, alias } => outputs.push(self.output(expr, folded(alias), env)?),
            }
        }
        Ok(outputs)
    }

    fn output(&self, tree: &Tree, name: String, env: &Environment<'_>) -> Result<Output> {
        let value = self.expression(tree, env)?;
        let origin = match &value.expr {
            Expr::Column(_) => env.scope.tables.iter().flat_map(|t| &t.columns).find(|c| c.value.expr == value.expr).and_then(|c| c.origin),
            _ => None,
        };
        Ok(Output { name, value, origin })
    }

    /// An ORDER BY item means an output column by name or number, or else an expression over the rows.
    fn order_item(&self, item: &OrderByExpr, outputs: &[Output], env: &Environment<'_>) -> Result<OrderItem> {
        match &item.expr {
            Tree::Value(value) => match &value.value {
                Value::Number(number, _) => {
                    let found = output_by_number(outputs, number, "ORDER BY")?;
                    let at = outputs.iter().position(|o| std::ptr::eq(o, found)).unwrap_or(0);
                    return Ok(OrderItem::Output(at));
                }
                Value::Placeholder(_) => {}
                _ => return Err(BindError::new(SqlState::SYNTAX_ERROR, "non-integer constant in ORDER BY")),
            },
            Tree::Identifier(ident) => {
                let name = folded(ident);
                let mut named = outputs.iter().enumerate().filter(|(_, o)| o.name == name);
                if let Some((at, first)) = named.next() {
                    if named.any(|(_, other)| other.value != first.value) {
                        let error = BindError::new(SqlState::AMBIGUOUS_COLUMN, format!("ORDER BY \"{name}\" is ambiguous"));
                        return Err(self.error_at(ident, error));
                    }
                    return Ok(OrderItem::Output(at));
                }
            }
            _ => {}
        }
        let value = self.expression(&item.expr, env)?;
        // The same expression as an output column: that column.
        match outputs.iter().position(|o| o.value.expr == value.expr && !value.expr.is_volatile()) {
            Some(at) => Ok(OrderItem::Output(at)),
            None => Ok(OrderItem::Value(value)),
        }
    }

    fn finish(&self, plan: LogicalPlan, parts: Expressions, distinct: Option<&DistinctTree>) -> Result<Relation> {
        let visible = parts.outputs.len();
        let cx = self.cx();
        let mut outputs = parts.outputs;
        let is_distinct = matches!(distinct, Some(DistinctTree::Distinct));
        let is_open = |output: &Output| output.value.is_unknown() && matches!(output.value.expr, Expr::Literal(..));
        let open: Vec<Option<TypedExpr>> = outputs.iter().map(|output| is_open(output).then(|| output.value.clone())).collect();
        for output in &mut outputs {
            output.value = resolve::settle_unknown(&cx, output.value.clone())?;
            if is_distinct {
                resolve::group_key_expr(&cx, output.value.clone())?;
            }
        }
        let mut order = Vec::with_capacity(parts.order.len());
        for (item, descending, nulls_first) in parts.order {
            let at = match item {
                OrderItem::Output(at) => at,
                OrderItem::Value(_) if is_distinct => {
                    let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
                    return Err(BindError::new(SqlState::INVALID_COLUMN_REFERENCE, message));
                }
                OrderItem::Value(value) => {
                    outputs.push(Output { name: String::new(), value: resolve::settle_unknown(&cx, value)?, origin: None });
                    outputs.len() - 1
                }
            };
            order.push((at, descending, nulls_first));
        }
        let mut on = Vec::with_capacity(parts.distinct_on.len());
        for value in parts.distinct_on {
            on.push(outputs.iter().position(|o| o.value.expr == value.expr).unwrap_or_else(|| {
                outputs.push(Output { name: String::new(), value, origin: None });
                outputs.len() - 1
            }));
        }
        let mut relation = self.project(plan, outputs)?;
        if is_distinct {
            relation.plan = LogicalPlan::Distinct(Distinct::All(Arc::new(relation.plan)));
        }
        let keys = |relation: &Relation| -> Result<Vec<SortKey>> {
            let key = |&(at, descending, nulls_first): &(usize, bool, bool)| {
                let expr = resolve::sort_key_expr(&cx, relation.columns[at].value.clone())?;
                Ok(SortKey { expr, descending, nulls_first })
            };
            order.iter().map(key).collect()
        };
        if !on.is_empty() {
            relation = self.distinct_on(relation, &on, &order, keys)?;
        }
        let sort: Vec<SortExpr> =
            keys(&relation)?.into_iter().map(|k| SortExpr { expr: k.expr.expr, asc: !k.descending, nulls_first: k.nulls_first }).collect();
        relation.plan = sorted(relation.plan, sort);
        if relation.columns.len() > visible {
            relation.columns.truncate(visible);
            relation = self.project(relation.plan, relation.columns)?;
        }
        for (column, literal) in relation.columns.iter().zip(open) {
            if let Some(literal) = literal {
                self.open_literals.borrow_mut().insert(column.value.expr.clone(), literal);
            }
        }
        Ok(relation)
    }

    /// The first row, in the order of ORDER BY, of each set of rows with equal ON values.
    fn distinct_on(
        &self,
        relation: Relation,
        on: &[usize],
        order: &[(usize, bool, bool)],
        keys: impl Fn(&Relation) -> Result<Vec<SortKey>>,
    ) -> Result<Relation> {
        let leading = order.iter().take(on.len()).all(|(at, ..)| on.contains(at));
        if !leading {
            let message = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
            return Err(BindError::new(SqlState::INVALID_COLUMN_REFERENCE, message));
        }
        let mut partition_by = Vec::with_capacity(on.len());
        for &at in on {
            partition_by.push(resolve::group_key_expr(&self.cx(), relation.columns[at].value.clone())?.expr);
        }
        let number = self.row_number(partition_by, keys(&relation)?)?;
        let mut numbered = self.with_window(relation, number)?;
        let Some(number) = numbered.columns.pop() else { return Ok(numbered) };
        let one = resolve::literal(&common::datum::Datum::Int8(1), common::types::Scalar::Int8.into());
        let first = resolve::binary_operator(&self.cx(), "=", number.value, one)?;
        self.project(filter(numbered.plan, first.expr)?, numbered.columns)
    }
}

impl Expressions {
    /// All expressions that are bound over the rows.
    fn values_mut(&mut self) -> impl Iterator<Item = &mut Expr> {
        let outputs = self.outputs.iter_mut().map(|o| &mut o.value.expr);
        let order = self.order.iter_mut().filter_map(|(item, ..)| match item {
            OrderItem::Value(value) => Some(&mut value.expr),
            OrderItem::Output(_) => None,
        });
        outputs.chain(order).chain(self.distinct_on.iter_mut().map(|v| &mut v.expr)).chain(self.having.iter_mut())
    }
}

/// Qualifier of the columns that stand for window functions and for set-returning functions until these are in the plan.
pub(crate) const WINDOW: &str = "\u{1}w";
pub(crate) const SET: &str = "\u{1}s";

/// The column that stands for the `at`-th of them.
pub(crate) fn placeholder(kind: &str, at: usize) -> Expr {
    Expr::Column(Column::new(Some(TableReference::bare(kind)), at.to_string()))
}

/// The numbers of the placeholders of a kind in an expression.
pub(crate) fn placeholders(expr: &Expr, kind: &str) -> Vec<usize> {
    let is_one = |c: &&Column| c.relation.as_ref().is_some_and(|r| r.table() == kind);
    expr.column_refs().into_iter().filter(is_one).filter_map(|c| c.name.parse().ok()).collect()
}

pub(crate) fn replace_placeholders(expr: Expr, kind: &str, results: &[Expr]) -> Result<Expr> {
    let replaced = expr.transform_down(|e| {
        let found = match &e {
            Expr::Column(Column { relation: Some(relation), name, .. }) if relation.table() == kind => {
                name.parse::<usize>().ok().and_then(|at| results.get(at))
            }
            _ => None,
        };
        Ok(match found {
            Some(result) => Transformed::yes(result.clone()),
            None => Transformed::no(e),
        })
    })?;
    Ok(replaced.data)
}

/// The column by which a plan node gives the result of an expression.
pub(crate) fn result_column(expr: &Expr) -> Column {
    let (relation, name) = expr.qualified_name();
    Column::new(relation, name)
}

/// Window functions on a plan; those with the same partitions and order are computed together.
pub(crate) fn window_plan(plan: LogicalPlan, windows: Vec<Expr>) -> Result<LogicalPlan> {
    let mut plan = plan;
    let mut rest = windows;
    rest.dedup();
    while !rest.is_empty() {
        let key = |e: &Expr| match e {
            Expr::WindowFunction(w) => Some((w.params.partition_by.clone(), w.params.order_by.clone())),
            _ => None,
        };
        let first = key(&rest[0]);
        let (same, others): (Vec<Expr>, Vec<Expr>) = rest.into_iter().partition(|e| key(e) == first);
        plan = LogicalPlan::Window(Window::try_new(same, Arc::new(plan))?);
        rest = others;
    }
    Ok(plan)
}

/// What carries a value in a plan.
pub(crate) fn arrow_type(value: &TypedExpr, plan: &LogicalPlan) -> Result<DataType> {
    Ok(value.expr.get_type(plan.schema())?)
}

fn absorb(outer: Option<&Environment<'_>>, env: &Environment<'_>) {
    if let Some(outer) = outer {
        outer.absorb(env);
    }
}

pub(crate) fn missing_from(table: &str) -> BindError {
    BindError::new(SqlState::UNDEFINED_TABLE, format!("missing FROM-clause entry for table \"{table}\""))
}

fn reject_foreign_clauses(select: &Select) -> Result<()> {
    let foreign = [
        (select.top.is_some(), "TOP"),
        (select.into.is_some(), "SELECT INTO"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW"),
        (select.prewhere.is_some(), "PREWHERE"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (select.qualify.is_some(), "QUALIFY"),
        (select.value_table_mode.is_some(), "SELECT AS VALUE"),
        (select.exclude.is_some(), "EXCLUDE"),
    ];
    match foreign.iter().find(|(is_there, _)| *is_there) {
        Some((_, name)) => Err(BindError::unsupported(name)),
        None => Ok(()),
    }
}
