//! Queries: WITH, set operations, VALUES, and ORDER BY and LIMIT around them.

use std::rc::Rc;
use std::sync::Arc;

use common::error::Report;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use datafusion::common::DFSchema;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{
    Distinct, Expr, Limit, LogicalPlan, LogicalPlanBuilder, Projection, Sort, SortExpr, TableScanBuilder, Union, Values, WindowFrame, lit,
};
use functions::context::CastContext;
use functions::resolve::{self, AggregateCall, SortKey, WindowCall};
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{
    Expr as Tree, LimitClause, OrderBy, OrderByKind, Query, SetExpr, SetOperator, SetQuantifier, Value, Values as ValuesTree,
};

use super::Binder;
use super::ctes::{Cte, CteBody, Ctes};
use super::environment::Environment;
use super::relation::{Output, Relation};
use super::scope::{Scope, folded};
use super::subquery::at_sort;
use crate::error::{BindError, Result};

impl Binder<'_> {
    /// Binds a query. References to enclosing queries are left in `outer`'s list.
    pub(crate) fn query(&self, query: &Query, outer: Option<&Environment<'_>>, ctes: Option<&Ctes<'_>>) -> Result<Relation> {
        if !query.locks.is_empty() {
            return self.locking_query(query, outer, ctes);
        }
        let own;
        let ctes = match &query.with {
            Some(with) => {
                self.check_with(with)?;
                own = Ctes::of_clause(with, ctes);
                Some(&own)
            }
            None => ctes,
        };
        self.query_body(query, outer, ctes)
    }

    /// A query but for its WITH clause.
    pub(crate) fn query_body(&self, query: &Query, outer: Option<&Environment<'_>>, ctes: Option<&Ctes<'_>>) -> Result<Relation> {
        if !query.locks.is_empty() {
            // What its WITH clause names stands in `ctes`.
            let alone = Query { with: None, ..query.clone() };
            return self.locking_query(&alone, outer, ctes);
        }
        let no_scope = Scope::default();
        let env = Environment::new(&no_scope, outer, ctes, "LIMIT");
        if let (Some(_), Some(LimitClause::LimitOffset { limit: Some(_), .. })) = (&query.fetch, &query.limit_clause) {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, "multiple LIMIT clauses not allowed"));
        }
        let relation = match query.body.as_ref() {
            SetExpr::Select(select) => self.select(select, query.order_by.as_ref(), outer, ctes)?,
            body => {
                let relation = self.set_expression(body, outer, ctes)?;
                self.order_output(relation, query.order_by.as_ref())?
            }
        };
        self.limit(relation, query, &env)
    }

    /// A WITH clause inside a statement: it changes no rows.
    pub(crate) fn check_with(&self, with: &sqlparser::ast::With) -> Result<()> {
        self.check_names(with)?;
        match with.cte_tables.iter().find(|cte| super::parts::is_change(cte)) {
            Some(cte) => {
                let message = "WITH clause containing a data-modifying statement must be at the top level";
                Err(self.error_at(&cte.alias.name, BindError::new(SqlState::FEATURE_NOT_SUPPORTED, message)))
            }
            None => Ok(()),
        }
    }

    pub(crate) fn check_names(&self, with: &sqlparser::ast::With) -> Result<()> {
        for (at, cte) in with.cte_tables.iter().enumerate() {
            let name = folded(&cte.alias.name);
            if with.cte_tables[..at].iter().any(|c| folded(&c.alias.name) == name) {
                let error = BindError::new(SqlState::DUPLICATE_ALIAS, format!("WITH query name \"{name}\" specified more than once"));
                return Err(self.error_at(&cte.alias.name, error));
            }
        }
        Ok(())
    }

    pub(crate) fn set_expression(&self, body: &SetExpr, outer: Option<&Environment<'_>>, ctes: Option<&Ctes<'_>>) -> Result<Relation> {
        match body {
            SetExpr::Select(select) => self.select(select, None, outer, ctes),
            SetExpr::Query(query) => self.query(query, outer, ctes),
            SetExpr::Values(values) => self.values(values, outer, ctes),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let all = match set_quantifier {
                    SetQuantifier::All => true,
                    SetQuantifier::None | SetQuantifier::Distinct => false,
                    SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName => {
                        return Err(BindError::unsupported("UNION BY NAME"));
                    }
                };
                let left = self.set_expression(left, outer, ctes)?;
                let right = self.set_expression(right, outer, ctes)?;
                self.set_operation(*op, all, left, right)
            }
            SetExpr::Table(table) => {
                let name = table.table_name.clone().unwrap_or_default();
                let text = match &table.schema_name {
                    Some(schema) => format!("select * from \"{schema}\".\"{name}\""),
                    None => format!("select * from \"{name}\""),
                };
                let parsed = crate::parse::parse_statements(&text)?;
                match parsed.first().map(|p| &p.syntax) {
                    Some(crate::parse::Syntax::Statement(tree)) => match tree.as_ref() {
                        sqlparser::ast::Statement::Query(query) => self.query(query, outer, ctes),
                        _ => Err(BindError::unsupported("TABLE")),
                    },
                    _ => Err(BindError::unsupported("TABLE")),
                }
            }
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Err(BindError::unsupported("a data-modifying statement inside a query"))
            }
        }
    }

    fn set_operation(&self, op: SetOperator, all: bool, left: Relation, right: Relation) -> Result<Relation> {
        let name = match op {
            SetOperator::Union => "UNION",
            SetOperator::Except | SetOperator::Minus => "EXCEPT",
            SetOperator::Intersect => "INTERSECT",
        };
        if left.columns.len() != right.columns.len() {
            let message = format!("each {name} query must have the same number of columns");
            return Err(BindError::new(SqlState::SYNTAX_ERROR, message));
        }
        let cx = self.cx();
        let (left, right) = (self.with_open_literals(left), self.with_open_literals(right));
        let mut types = Vec::with_capacity(left.columns.len());
        for (l, r) in left.columns.iter().zip(&right.columns) {
            types.push(resolve::common_type(&cx, &[l.value.clone(), r.value.clone()], name)?);
        }
        let left = self.cast_columns(left, &types, !all)?;
        let right = self.cast_columns(right, &types, !all)?;
        let names = left.columns.clone();
        let plan = match (op, all) {
            (SetOperator::Union, true) => union(left.plan, right.plan)?,
            (SetOperator::Union, false) => LogicalPlan::Distinct(Distinct::All(Arc::new(union(left.plan, right.plan)?))),
            (SetOperator::Intersect, false) => LogicalPlanBuilder::intersect(left.plan, right.plan, false)?,
            (SetOperator::Except | SetOperator::Minus, false) => LogicalPlanBuilder::except(left.plan, right.plan, false)?,
            // With each duplicate numbered, rows are distinct, and the plain operation counts them right.
            (_, true) => {
                let (left, right) = (self.numbered(left)?, self.numbered(right)?);
                match op {
                    SetOperator::Intersect => LogicalPlanBuilder::intersect(left.plan, right.plan, false)?,
                    _ => LogicalPlanBuilder::except(left.plan, right.plan, false)?,
                }
            }
        };
        self.renamed(plan, names)
    }

    /// The relation with literals of an open type in place of the columns that hold them.
    pub(crate) fn with_open_literals(&self, mut relation: Relation) -> Relation {
        let open = self.open_literals.borrow();
        for column in &mut relation.columns {
            if let Some(literal) = open.get(&column.value.expr) {
                column.value = literal.clone();
            }
        }
        relation
    }

    /// Casts all columns; for operations that compare rows, to the form in which they compare.
    pub(crate) fn cast_columns(&self, relation: Relation, types: &[SqlType], compared: bool) -> Result<Relation> {
        let cx = self.cx();
        let mut outputs = Vec::with_capacity(types.len());
        for (column, ty) in relation.columns.into_iter().zip(types) {
            let same = column.value.ty == *ty && ty.scalar != Scalar::Numeric;
            let mut value = if same { column.value } else { resolve::cast(&cx, column.value, *ty, CastContext::Implicit)? };
            if compared {
                value = resolve::group_key_expr(&cx, value)?;
            }
            outputs.push(Output { value: TypedExpr { ty: *ty, ..value }, origin: None, ..column });
        }
        self.project(relation.plan, outputs)
    }

    /// Each row with its number among its equals, as one more column.
    fn numbered(&self, relation: Relation) -> Result<Relation> {
        let partition_by = relation.columns.iter().map(|c| c.value.expr.clone()).collect();
        let number = self.row_number(partition_by, Vec::new())?;
        self.with_window(relation, number)
    }

    /// `row_number() OVER (PARTITION BY … ORDER BY …)`.
    pub(crate) fn row_number(&self, partition_by: Vec<Expr>, order_by: Vec<SortKey>) -> Result<TypedExpr> {
        self.ranking("row_number", partition_by, order_by)
    }

    fn ranking(&self, name: &str, partition_by: Vec<Expr>, order_by: Vec<SortKey>) -> Result<TypedExpr> {
        let function = AggregateCall::plain(name, Vec::new());
        let frame = WindowFrame::new((!order_by.is_empty()).then_some(false));
        Ok(resolve::window(&self.cx(), WindowCall { function, partition_by, order_by, frame, ignore_nulls: false })?)
    }

    /// The relation with the window function's result as one more column.
    pub(crate) fn with_window(&self, relation: Relation, window: TypedExpr) -> Result<Relation> {
        let column = super::select::result_column(&window.expr);
        let ty = window.ty;
        let plan = super::select::window_plan(relation.plan, vec![window.expr])?;
        let mut outputs = relation.columns;
        let expr = Expr::Column(column);
        outputs.push(Output { name: "row_number".into(), value: TypedExpr::new(expr, ty), origin: None });
        self.project(plan, outputs)
    }

    /// A plan whose first columns are those of `names`, in order, under new names.
    fn renamed(&self, plan: LogicalPlan, names: Vec<Output>) -> Result<Relation> {
        let schema = Arc::clone(plan.schema());
        let columns = names.into_iter().enumerate().map(|(at, output)| {
            let expr = Expr::Column(datafusion::common::Column::from(schema.qualified_field(at)));
            Output { value: TypedExpr { expr, ..output.value }, ..output }
        });
        self.project(plan, columns.collect())
    }

    /// VALUES as a query of its own.
    pub(crate) fn values(&self, values: &ValuesTree, outer: Option<&Environment<'_>>, ctes: Option<&Ctes<'_>>) -> Result<Relation> {
        let scope = Scope::default();
        let env = Environment::new(&scope, outer, ctes, "VALUES");
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            let row: Result<Vec<TypedExpr>> = row.content.iter().map(|tree| self.expression(tree, &env)).collect();
            rows.push(row?);
        }
        if let Some(outer) = outer {
            outer.absorb(&env);
        }
        let width = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|row| row.len() != width) {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length"));
        }
        let cx = self.cx();
        let mut types = Vec::with_capacity(width);
        for at in 0..width {
            let column: Vec<TypedExpr> = rows.iter().map(|row| row[at].clone()).collect();
            types.push(resolve::common_type(&cx, &column, "VALUES")?);
        }
        let mut exprs = Vec::with_capacity(rows.len());
        for row in rows {
            let cast = row.into_iter().zip(&types).map(|(value, ty)| Ok(resolve::cast(&cx, value, *ty, CastContext::Implicit)?.expr));
            exprs.push(cast.collect::<Result<Vec<Expr>>>()?);
        }
        let plan = self.rows_plan(exprs, &types)?;
        let named = types.iter().enumerate().map(|(at, ty)| Output {
            name: format!("column{}", at + 1),
            value: TypedExpr::new(Expr::Literal(datafusion::common::ScalarValue::Null, None), *ty),
            origin: None,
        });
        self.renamed(plan, named.collect())
    }

    /// Rows of expressions without columns, all cast to `types` already.
    pub(crate) fn rows_plan(&self, rows: Vec<Vec<Expr>>, types: &[SqlType]) -> Result<LogicalPlan> {
        let outputs = |row: Vec<Expr>| -> Vec<Output> {
            let values = row.into_iter().zip(types);
            values.map(|(expr, ty)| Output { name: String::new(), value: TypedExpr::new(expr, *ty), origin: None }).collect()
        };
        let is_plain = |row: &Vec<Expr>| !row.iter().any(|e| super::has_subquery(e) || e.contains_outer());
        if rows.len() > 1 && rows.iter().all(is_plain) {
            let fields = types.iter().enumerate();
            let fields = fields.map(|(at, ty)| (None, Arc::new(arrow::datatypes::Field::new(at.to_string(), ty.arrow(), true))));
            let schema = DFSchema::new_with_metadata(fields.collect(), std::collections::HashMap::new())?;
            return Ok(LogicalPlan::Values(Values { schema: Arc::new(schema), values: rows }));
        }
        let mut plans = Vec::with_capacity(rows.len());
        for row in rows {
            plans.push(self.project(super::relation::one_row(), outputs(row))?.plan);
        }
        match plans.len() {
            1 => Ok(plans.remove(0)),
            _ => Ok(LogicalPlan::Union(Union::try_new_with_loose_types(plans.into_iter().map(Arc::new).collect())?)),
        }
    }

    /// ORDER BY behind a set operation: output columns by name or number.
    fn order_output(&self, relation: Relation, order: Option<&OrderBy>) -> Result<Relation> {
        let Some(order) = order else { return Ok(relation) };
        let mut keys = Vec::new();
        for item in order_expressions(order)? {
            let column = match &item.expr {
                Tree::Value(value) => match &value.value {
                    Value::Number(number, _) => output_by_number(&relation.columns, number, "ORDER BY")?,
                    _ => return Err(BindError::new(SqlState::SYNTAX_ERROR, "non-integer constant in ORDER BY")),
                },
                Tree::Identifier(ident) => {
                    let name = folded(ident);
                    relation.columns.iter().find(|c| c.name == name).ok_or_else(|| {
                        self.error_at(ident, BindError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")))
                    })?
                }
                _ => return Err(invalid_set_order()),
            };
            keys.push(self.sort_expr(column.value.clone(), item)?);
        }
        Ok(Relation { plan: sorted(relation.plan, keys), columns: relation.columns })
    }

    /// The key of one ORDER BY item.
    pub(crate) fn sort_expr(&self, value: TypedExpr, item: &sqlparser::ast::OrderByExpr) -> Result<SortExpr> {
        let (descending, nulls_first) = direction(item)?;
        let key = resolve::sort_key_expr(&self.cx(), value)?;
        Ok(SortExpr { expr: key.expr, asc: !descending, nulls_first })
    }

    /// LIMIT, OFFSET, FETCH FIRST.
    fn limit(&self, relation: Relation, query: &Query, env: &Environment<'_>) -> Result<Relation> {
        let (mut limit, mut offset) = match &query.limit_clause {
            None => (None, None),
            Some(LimitClause::LimitOffset { limit, offset, .. }) => (limit.as_ref(), offset.as_ref().map(|o| &o.value)),
            Some(LimitClause::OffsetCommaLimit { .. }) => {
                return Err(BindError::new(SqlState::SYNTAX_ERROR, "LIMIT #,# syntax is not supported"));
            }
        };
        let one = Tree::Value(Value::Number("1".into(), false).with_empty_span());
        let mut with_ties = false;
        if let Some(fetch) = &query.fetch {
            with_ties = fetch.with_ties;
            limit = Some(fetch.quantity.as_ref().unwrap_or(&one));
        }
        if matches!(limit, Some(Tree::Value(v)) if v.value == Value::Null) {
            limit = None;
        }
        if matches!(offset, Some(Tree::Value(v)) if v.value == Value::Null) {
            offset = None;
        }
        if limit.is_none() && offset.is_none() {
            return Ok(relation);
        }
        let fetch = limit.map(|tree| self.row_count(tree, env, "LIMIT")).transpose()?;
        let skip = offset.map(|tree| self.row_count(tree, env, "OFFSET")).transpose()?;
        let is_computed = |count: &Option<Expr>| count.as_ref().is_some_and(|e| super::has_subquery(e) || e.contains_outer());
        if with_ties || is_computed(&fetch) || is_computed(&skip) {
            return self.limit_by_number(relation, fetch, skip, with_ties);
        }
        let plan = LogicalPlan::Limit(Limit { skip: skip.map(Box::new), fetch: fetch.map(Box::new), input: Arc::new(relation.plan) });
        Ok(Relation { plan, columns: relation.columns })
    }

    /// A limit that is no plain number of rows: each row's number, or its rank among its equals, decides.
    fn limit_by_number(&self, relation: Relation, fetch: Option<Expr>, skip: Option<Expr>, with_ties: bool) -> Result<Relation> {
        let mut plan = relation.plan.clone();
        let mut order = Vec::new();
        let mut columns = relation.columns.clone();
        for column in &mut columns {
            if let Some((below, value, keys)) = at_sort(&relation.plan, &column.value.expr) {
                (plan, order) = (below, keys);
                column.value.expr = value;
            }
        }
        if with_ties && order.is_empty() {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, "WITH TIES cannot be specified without ORDER BY clause"));
        }
        let key = |key: &SortExpr| SortKey {
            expr: TypedExpr::new(key.expr.clone(), Scalar::Bytea),
            descending: !key.asc,
            nulls_first: key.nulls_first,
        };
        let keys: Vec<SortKey> = order.iter().map(key).collect();
        let number = self.ranking("row_number", Vec::new(), keys.clone())?.expr;
        let rank = if with_ties { self.ranking("rank", Vec::new(), keys)?.expr } else { number.clone() };
        let column = |window: &Expr| Expr::Column(super::select::result_column(window));
        let (number_column, rank_column) = (column(&number), column(&rank));
        plan = super::select::window_plan(plan, vec![number, rank])?;
        let first = match &skip {
            Some(skip) => datafusion::logical_expr::when(skip.clone().is_null(), lit(0_i64)).otherwise(skip.clone())?,
            None => lit(0_i64),
        };
        let in_type = |column: Expr| datafusion::logical_expr::cast(column, arrow::datatypes::DataType::Int64);
        plan = super::relation::filter(plan, in_type(number_column).gt(first.clone()))?;
        if let Some(fetch) = fetch {
            let within = in_type(rank_column).lt_eq(first + fetch.clone());
            plan = super::relation::filter(plan, fetch.is_null().or(within))?;
        }
        self.project(sorted(plan, order), columns)
    }

    pub(crate) fn row_count(&self, tree: &Tree, env: &Environment<'_>, what: &str) -> Result<Expr> {
        let bound = self.expression(tree, env)?;
        let cast = resolve::cast(&self.cx(), bound, Scalar::Int8.into(), CastContext::Assignment)?;
        if !cast.expr.column_refs().is_empty() {
            let message = format!("argument of {what} must not contain variables");
            return Err(BindError::new(SqlState::INVALID_COLUMN_REFERENCE, message));
        }
        if let Some(common::datum::Datum::Int8(count)) = resolve::constant(&cast.expr, cast.ty)
            && count < 0
        {
            let state = if what == "LIMIT" {
                SqlState::INVALID_ROW_COUNT_IN_LIMIT_CLAUSE
            } else {
                SqlState::INVALID_ROW_COUNT_IN_RESULT_OFFSET_CLAUSE
            };
            return Err(BindError::new(state, format!("{what} must not be negative")));
        }
        Ok(cast.expr)
    }

    /// A reference to a WITH query.
    pub(crate) fn cte_relation(&self, cte: &Rc<Cte<'_>>, seen: &Ctes<'_>) -> Result<Relation> {
        let relation = match &cte.body {
            CteBody::Part { rows, columns } => self.part_relation(rows, columns)?,
            CteBody::Silent => {
                let message = format!("WITH query \"{}\" does not have a RETURNING clause", cte.name);
                return Err(BindError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
            }
            CteBody::WorkTable { table, schema, columns } => {
                let source = provider_as_source(Arc::new(CteWorkTable::new(table, Arc::clone(schema))));
                let scan = LogicalPlan::TableScan(TableScanBuilder::new(table.as_str(), source).build()?);
                self.renamed(scan, columns.clone())?
            }
            CteBody::Query { query, recursive: true } => match query.body.as_ref() {
                SetExpr::SetOperation { left, op: SetOperator::Union, set_quantifier, right } if names_table(right, &cte.name) => {
                    let all = matches!(set_quantifier, SetQuantifier::All);
                    self.recursive_cte(cte, seen, (left, right), all)?
                }
                body if names_table(body, &cte.name) && seen.find(&cte.name).is_none() => {
                    let message =
                        format!("recursive query \"{}\" does not have the form non-recursive-term UNION [ALL] recursive-term", cte.name);
                    return Err(BindError::new(SqlState::INVALID_RECURSION, message));
                }
                _ => self.query(query, None, Some(seen))?,
            },
            CteBody::Query { query, recursive: false } => self.query(query, None, Some(seen))?,
        };
        let mut relation = relation;
        super::from_clause::rename_columns(&mut relation.columns, cte.alias)?;
        Ok(relation)
    }

    fn recursive_cte(&self, cte: &Rc<Cte<'_>>, seen: &Ctes<'_>, (left, right): (&SetExpr, &SetExpr), all: bool) -> Result<Relation> {
        let cx = self.cx();
        let mut start = self.set_expression(left, None, Some(seen))?;
        let settled = start.columns.iter().map(|c| Ok(Output { value: resolve::settle_unknown(&cx, c.value.clone())?, ..c.clone() }));
        let settled = settled.collect::<Result<Vec<_>>>()?;
        // Numbers in the form that the type itself says: the step may compute them in another one.
        let types: Vec<SqlType> = settled.iter().map(|c| c.value.ty).collect();
        start = self.cast_columns(Relation { plan: start.plan, columns: settled }, &types, false)?;
        super::from_clause::rename_columns(&mut start.columns, cte.alias)?;
        let table = self.unique("work");
        // The working table's columns go by their place.
        let fields: Vec<_> = start.plan.schema().fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
        let schema = Arc::new(arrow::datatypes::Schema::new(fields));
        let body = CteBody::WorkTable { table: table.clone(), schema, columns: start.columns.clone() };
        let inside = seen.with(Cte { name: cte.name.clone(), alias: cte.alias, body });
        let step = self.set_expression(right, None, Some(&inside))?;
        refuse_aggregates(&step.plan, &table)?;
        if step.columns.len() != start.columns.len() {
            return Err(BindError::new(SqlState::SYNTAX_ERROR, "each UNION query must have the same number of columns"));
        }
        for (at, (first, next)) in start.columns.iter().zip(&step.columns).enumerate() {
            let common = resolve::common_type(&cx, &[first.value.clone(), next.value.clone()], "UNION")?;
            if common.without_typmod() != first.value.ty.without_typmod() {
                let message = format!(
                    "recursive query \"{}\" column {} has type {} in non-recursive term but type {} overall",
                    cte.name,
                    at + 1,
                    first.value.ty,
                    common
                );
                return Err(Report::new(SqlState::DATATYPE_MISMATCH, message)
                    .with_hint("Cast the output of the non-recursive term to the correct type.")
                    .into());
            }
        }
        let step = self.cast_columns(step, &types, false)?;
        let columns = start.columns.clone();
        let plan = LogicalPlanBuilder::from(start.plan).to_recursive_query(table, step.plan, !all)?.build()?;
        self.renamed(plan, columns)
    }
}

/// The branches' columns have the same names: when DataFusion finds that one branch is empty, it takes the other for the whole.
fn union(left: LogicalPlan, right: LogicalPlan) -> Result<LogicalPlan> {
    let names = left.schema().fields().iter().map(|field| field.name().clone());
    let renamed = right.schema().columns().into_iter().zip(names).map(|(column, name)| Expr::Column(column).alias(name)).collect();
    let right = LogicalPlan::Projection(Projection::try_new(renamed, Arc::new(right))?);
    Ok(LogicalPlanBuilder::from(left).union(right)?.build()?)
}

/// A sort on a plan, unless there is nothing to sort by.
pub(crate) fn sorted(plan: LogicalPlan, keys: Vec<SortExpr>) -> LogicalPlan {
    if keys.is_empty() { plan } else { LogicalPlan::Sort(Sort { expr: keys, input: Arc::new(plan), fetch: None }) }
}

/// Descending, and NULLs first: PostgreSQL's NULLs are larger than everything.
pub(crate) fn direction(item: &sqlparser::ast::OrderByExpr) -> Result<(bool, bool)> {
    let descending = match &item.options.sort {
        None | Some(sqlparser::ast::OrderBySort::Asc) => false,
        Some(sqlparser::ast::OrderBySort::Desc) => true,
        Some(sqlparser::ast::OrderBySort::Using(_)) => return Err(BindError::unsupported("ORDER BY … USING")),
    };
    Ok((descending, item.options.nulls_first.unwrap_or(descending)))
}

/// The items of an ORDER BY.
pub(crate) fn order_expressions(order: &OrderBy) -> Result<&[sqlparser::ast::OrderByExpr]> {
    match &order.kind {
        OrderByKind::Expressions(items) => Ok(items),
        OrderByKind::All(_) => Err(BindError::unsupported("ORDER BY ALL")),
    }
}

/// The output column of a number as ORDER BY and GROUP BY count.
pub(crate) fn output_by_number<'o>(columns: &'o [Output], number: &str, clause: &str) -> Result<&'o Output> {
    let Ok(place) = number.parse::<usize>() else {
        return Err(BindError::new(SqlState::SYNTAX_ERROR, format!("non-integer constant in {clause}")));
    };
    place
        .checked_sub(1)
        .and_then(|at| columns.get(at))
        .ok_or_else(|| BindError::new(SqlState::INVALID_COLUMN_REFERENCE, format!("{clause} position {place} is not in select list")))
}

/// Refuses aggregates over the working table of a recursive query: they would never come to an end.
fn refuse_aggregates(step: &LogicalPlan, table: &str) -> Result<()> {
    use datafusion::common::tree_node::TreeNode;
    let reads =
        |plan: &LogicalPlan| plan.exists(|node| Ok(matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table() == table)));
    let found = step.exists(|node| match node {
        LogicalPlan::Aggregate(aggregate) if !aggregate.aggr_expr.is_empty() => reads(node),
        _ => Ok(false),
    })?;
    if found {
        let message = "aggregate functions are not allowed in a recursive query's recursive term";
        return Err(BindError::new(SqlState::INVALID_RECURSION, message));
    }
    Ok(())
}

/// Whether a query reads a table of that name anywhere in its FROM clauses.
fn names_table(body: &SetExpr, name: &str) -> bool {
    use std::ops::ControlFlow;
    sqlparser::ast::visit_relations(body, |relation| {
        let is_it = relation.0.len() == 1 && relation.0[0].as_ident().is_some_and(|ident| folded(ident) == name);
        if is_it { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .is_break()
}

fn invalid_set_order() -> BindError {
    Report::new(SqlState::FEATURE_NOT_SUPPORTED, "invalid UNION/INTERSECT/EXCEPT ORDER BY clause")
        .with_detail("Only result column names can be used, not expressions or functions.")
        .with_hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause.")
        .into()
}
