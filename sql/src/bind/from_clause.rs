//! FROM items and joins.

use std::sync::Arc;

use common::error::Report;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use datafusion::common::{Column, JoinType, TableReference};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Subquery, TableScanBuilder, lit};
use functions::resolve;
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{Join, JoinConstraint, JoinOperator, ObjectName, Query, TableAlias, TableFactor, TableSampleKind, TableWithJoins};

use super::Binder;
use super::ctes::Ctes;
use super::environment::Environment;
use super::relation::{Output, Relation, filter, one_row};
use super::row_locks::ScopeRow;
use super::scope::{Scope, ScopeColumn, ScopeTable, folded};
use super::sets::FunctionItem;
use crate::error::{BindError, Result};
use crate::rewrites::USING_ALIAS;
use crate::schema::{RelationInfo, RelationKind, TABLE_OID};

/// A plan and the names that it gives.
pub(crate) struct Source {
    pub(crate) plan: LogicalPlan,
    pub(crate) scope: Scope,
}

impl Binder<'_> {
    /// The FROM clause: its items joined in order. None: one row without columns.
    pub(crate) fn sources(&self, items: &[TableWithJoins], outer: Option<&Environment<'_>>, ctes: Option<&Ctes<'_>>) -> Result<Source> {
        let mut whole: Option<Source> = None;
        for item in items {
            let left = whole.take();
            whole = Some(self.item_with_joins(left, item, outer, ctes)?);
        }
        Ok(whole.unwrap_or_else(|| Source { plan: one_row(), scope: Scope::default() }))
    }

    /// One comma-separated item with its joins, beside what stands left of it.
    fn item_with_joins(
        &self,
        left: Option<Source>,
        item: &TableWithJoins,
        outer: Option<&Environment<'_>>,
        ctes: Option<&Ctes<'_>>,
    ) -> Result<Source> {
        let is_lateral = is_lateral(&item.relation);
        match left {
            // What a lateral item may name is all that stands left of it.
            Some(left) if is_lateral => {
                let joined = self.lateral(left, &item.relation, JoinType::Inner, None, outer, ctes)?;
                self.joins(joined, &item.joins, outer, ctes)
            }
            left => {
                let first = self.factor(&item.relation, outer, ctes)?;
                let first = self.joins(first, &item.joins, outer, ctes)?;
                match left {
                    None => Ok(first),
                    Some(left) => cross(left, first),
                }
            }
        }
    }

    fn joins(&self, mut source: Source, joins: &[Join], outer: Option<&Environment<'_>>, ctes: Option<&Ctes<'_>>) -> Result<Source> {
        for join in joins {
            let (kind, constraint) = join_kind(&join.join_operator)?;
            source = if is_lateral(&join.relation) {
                self.lateral(source, &join.relation, kind, Some(constraint), outer, ctes)?
            } else {
                let right = self.factor(&join.relation, outer, ctes)?;
                self.join(source, right, kind, constraint, outer, ctes)?
            };
        }
        Ok(source)
    }

    pub(crate) fn join(
        &self,
        left: Source,
        right: Source,
        kind: JoinType,
        constraint: &JoinConstraint,
        outer: Option<&Environment<'_>>,
        ctes: Option<&Ctes<'_>>,
    ) -> Result<Source> {
        match constraint {
            JoinConstraint::None => {
                let mut scope = left.scope;
                scope.append(right.scope)?;
                let plan = join_plan(left.plan, right.plan, kind, lit(true))?;
                Ok(Source { plan, scope })
            }
            JoinConstraint::On(condition) => {
                let mut scope = left.scope;
                scope.append(right.scope)?;
                let env = Environment::new(&scope, outer, ctes, "JOIN conditions").filtering();
                let bound = self.expression(condition, &env)?;
                let on = resolve::to_boolean(&self.cx(), bound, "JOIN/ON")?.expr;
                if let Some(outer) = outer {
                    outer.absorb(&env);
                }
                let plan = if kind == JoinType::Inner && super::has_subquery(&on) {
                    filter(join_plan(left.plan, right.plan, kind, lit(true))?, on)?
                } else {
                    join_plan(left.plan, right.plan, kind, on)?
                };
                Ok(Source { plan, scope })
            }
            JoinConstraint::Using(names) => {
                let names: Result<Vec<String>> = names.iter().map(single_name).collect();
                self.join_using(left, right, kind, &names?)
            }
            JoinConstraint::Natural => {
                let mut names = Vec::new();
                for column in left.scope.star() {
                    if right.scope.column(&column.name)?.is_some() && !names.contains(&column.name) {
                        names.push(column.name.clone());
                    }
                }
                self.join_using(left, right, kind, &names)
            }
        }
    }

    fn join_using(&self, left: Source, right: Source, kind: JoinType, names: &[String]) -> Result<Source> {
        if let Some((alias, names)) = names.split_last().and_then(|(last, names)| Some((last.strip_prefix(USING_ALIAS)?, names))) {
            let mut source = self.join_using(left, right, kind, names)?;
            // Under this name alone: without it they are the join's merged columns.
            let columns = source.scope.merged[..names.len()].iter().map(|column| ScopeColumn { merged: true, ..column.clone() });
            let table = ScopeTable { name: alias.to_owned(), columns: columns.collect(), ..ScopeTable::default() };
            source.scope.append(Scope { tables: vec![table], merged: Vec::new() })?;
            return Ok(source);
        }
        let cx = self.cx();
        let mut on = lit(true);
        let mut merged = Vec::with_capacity(names.len());
        for name in names {
            let side = |scope: &Scope, side: &str| -> Result<ScopeColumn> {
                scope.column(name)?.cloned().ok_or_else(|| {
                    let message = format!("column \"{name}\" specified in USING clause does not exist in {side} table");
                    BindError::new(SqlState::UNDEFINED_COLUMN, message)
                })
            };
            let (l, r) = (side(&left.scope, "left")?, side(&right.scope, "right")?);
            let equal = resolve::binary_operator(&cx, "=", l.value.clone(), r.value.clone())?.expr;
            on = if on == lit(true) { equal } else { on.and(equal) };
            let ty = resolve::common_type(&cx, &[l.value.clone(), r.value.clone()], "JOIN/USING")?;
            let value = match kind {
                JoinType::Right => r.value.clone(),
                JoinType::Full => resolve::call(&cx, "coalesce", vec![l.value.clone(), r.value.clone()], false)?,
                _ => l.value.clone(),
            };
            let value = resolve::cast(&cx, value, ty, functions::context::CastContext::Implicit)?;
            merged.push((name.clone(), value, l.arrow.clone()));
        }
        let plan = join_plan(left.plan, right.plan, kind, on)?;
        let (mut scope, mut right_scope) = (left.scope, right.scope);
        hide(&mut scope, names);
        hide(&mut right_scope, names);
        scope.append(right_scope)?;
        self.merge_columns(plan, scope, merged)
    }

    /// Makes plain columns of merged values that are computed.
    fn merge_columns(
        &self,
        plan: LogicalPlan,
        mut scope: Scope,
        merged: Vec<(String, TypedExpr, arrow::datatypes::DataType)>,
    ) -> Result<Source> {
        let mut plan = plan;
        let mut columns = Vec::with_capacity(merged.len());
        for (name, mut value, _) in merged {
            if !matches!(value.expr, Expr::Column(_)) {
                let (extended, column) = self.extend(plan, value)?;
                plan = extended;
                value = column;
            }
            let arrow = super::select::arrow_type(&value, &plan)?;
            columns.push(ScopeColumn { name, value, arrow, origin: None, merged: false });
        }
        columns.append(&mut scope.merged);
        scope.merged = columns;
        Ok(Source { plan, scope })
    }

    /// The plan with one more column, the others as they are.
    pub(crate) fn extend(&self, plan: LogicalPlan, value: TypedExpr) -> Result<(LogicalPlan, TypedExpr)> {
        let alias = TableReference::bare(self.unique("x"));
        let name = super::plan_name("", alias.table());
        let mut exprs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
        exprs.push(value.expr.clone().alias_qualified(Some(alias.clone()), name.clone()));
        let plan = LogicalPlan::Projection(datafusion::logical_expr::Projection::try_new(exprs, Arc::new(plan))?);
        Ok((plan, TypedExpr { expr: Expr::Column(Column::new(Some(alias), name)), ..value }))
    }

    fn factor(&self, factor: &TableFactor, outer: Option<&Environment<'_>>, ctes: Option<&Ctes<'_>>) -> Result<Source> {
        match factor {
            TableFactor::Table { name, alias, args: None, sample, .. } => {
                let source = match only(name, alias.as_ref()) {
                    Some(table) => self.named(&table, None, ctes)?,
                    None => self.named(name, alias.as_ref(), ctes)?,
                };
                match sample {
                    Some(TableSampleKind::BeforeTableAlias(sample) | TableSampleKind::AfterTableAlias(sample)) => {
                        self.sampled(source, sample, (outer, ctes))
                    }
                    None => Ok(source),
                }
            }
            TableFactor::Derived { subquery, alias, sample: None, .. } => self.derived(subquery, alias.as_ref(), outer, ctes),
            TableFactor::NestedJoin { table_with_joins, alias } => {
                let source = self.item_with_joins(None, table_with_joins, outer, ctes)?;
                match alias {
                    None => Ok(source),
                    Some(alias) => {
                        let columns: Vec<ScopeColumn> = source.scope.star().cloned().collect();
                        let mut table = ScopeTable { name: folded(&alias.name), columns, ..ScopeTable::default() };
                        rename_scope(&mut table, alias)?;
                        Ok(Source { plan: source.plan, scope: Scope { tables: vec![table], merged: Vec::new() } })
                    }
                }
            }
            _ => match FunctionItem::of(factor) {
                Some(call) => {
                    let base = Source { plan: one_row(), scope: Scope::default() };
                    self.function_item(base, &call, false, (outer, ctes))
                }
                None => Err(BindError::unsupported(format!("the FROM item {factor}"))),
            },
        }
    }

    fn derived(
        &self,
        query: &Query,
        alias: Option<&TableAlias>,
        outer: Option<&Environment<'_>>,
        ctes: Option<&Ctes<'_>>,
    ) -> Result<Source> {
        let Some(alias) = alias else {
            return Err(Report::new(SqlState::SYNTAX_ERROR, "subquery in FROM must have an alias")
                .with_hint("For example, FROM (SELECT ...) [AS] foo.")
                .into());
        };
        let relation = self.query(query, outer, ctes)?;
        self.aliased(relation, alias)
    }

    fn aliased(&self, relation: Relation, alias: &TableAlias) -> Result<Source> {
        let relation = self.settled(relation)?;
        let mut table = ScopeTable { name: folded(&alias.name), columns: scope_columns(&relation)?, ..ScopeTable::default() };
        rename_scope(&mut table, alias)?;
        Ok(Source { plan: relation.plan, scope: Scope { tables: vec![table], merged: Vec::new() } })
    }

    /// Unknown literals among the output columns become text, as PostgreSQL makes them in subqueries.
    pub(crate) fn settled(&self, relation: Relation) -> Result<Relation> {
        if relation.columns.iter().all(|c| c.value.ty.scalar != Scalar::Unknown) {
            return Ok(relation);
        }
        let cx = self.cx();
        let columns = relation.columns.into_iter().map(|c| Ok(Output { value: resolve::settle_unknown(&cx, c.value.clone())?, ..c }));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        self.project(relation.plan, columns)
    }

    /// A table, a view of the system, or a WITH query.
    fn named(&self, name: &ObjectName, alias: Option<&TableAlias>, ctes: Option<&Ctes<'_>>) -> Result<Source> {
        if let ([part], Some(ctes)) = (name.0.as_slice(), ctes)
            && let Some(ident) = part.as_ident()
            && let Some((cte, seen)) = ctes.find(&folded(ident))
        {
            let relation = self.settled(self.cte_relation(&cte, &seen)?)?;
            let mut table = ScopeTable { name: folded(ident), columns: scope_columns(&relation)?, ..ScopeTable::default() };
            if let Some(alias) = alias {
                table.name = folded(&alias.name);
                rename_scope(&mut table, alias)?;
            }
            return Ok(Source { plan: relation.plan, scope: Scope { tables: vec![table], merged: Vec::new() } });
        }
        let info = self.relation(name)?;
        let (plan, mut table) = self.scan(&info)?;
        self.named_as_in_view(name, &info, &mut table)?;
        if let Some(alias) = alias {
            table.name = folded(&alias.name);
            table.schema = None;
            rename_scope(&mut table, alias)?;
        }
        Ok(Source { plan, scope: Scope { tables: vec![table], merged: Vec::new() } })
    }

    /// The relation of a name, found through the search path.
    pub(crate) fn relation(&self, name: &ObjectName) -> Result<Arc<RelationInfo>> {
        let parts = name_parts(name)?;
        let found = match parts.as_slice() {
            [_] if super::view::referenced(name)?.is_some() => {
                let named = super::view::referenced(name)?.and_then(|oid| self.view.relation_by_oid(oid));
                named.and_then(|(schema, relation)| self.view.relation(&schema, &relation))
            }
            [relation] => {
                let system = std::iter::once("pg_catalog".to_owned());
                let mut path = system.chain(self.settings.search_path.iter().cloned());
                path.find_map(|schema| self.view.relation(&schema, relation))
            }
            [schema, relation] => self.view.relation(schema, relation),
            [database, schema, relation] if **database == *self.settings.database => self.view.relation(schema, relation),
            _ => return Err(BindError::unsupported("a reference to another database")),
        };
        found.ok_or_else(|| {
            let shown = parts.join(".");
            let error = BindError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{shown}\" does not exist"));
            match name.0.first().and_then(|p| p.as_ident()) {
                Some(ident) => self.error_at(ident, error),
                None => error,
            }
        })
    }

    /// A scan of a relation, under a new name in the plan.
    pub(crate) fn scan(&self, info: &RelationInfo) -> Result<(LogicalPlan, ScopeTable)> {
        if let Some(view) = &info.view {
            return self.view(info, view);
        }
        let alias = TableReference::bare(self.unique("r"));
        let plan = TableScanBuilder::new(alias.clone(), Arc::clone(&info.source)).build()?;
        let columns = info.columns.iter().map(|column| {
            let expr = Expr::Column(Column::new(Some(alias.clone()), column.name.clone()));
            ScopeColumn {
                name: column.name.clone(),
                value: TypedExpr::new(expr, column.ty),
                arrow: column.ty.arrow(),
                origin: Some((info.oid, column.attnum)),
                merged: false,
            }
        });
        let table_oid = (info.kind == RelationKind::SystemView).then(|| ScopeColumn {
            name: TABLE_OID.to_owned(),
            value: TypedExpr::new(Expr::Column(Column::new(Some(alias.clone()), TABLE_OID)), Scalar::Oid),
            arrow: SqlType::from(Scalar::Oid).arrow(),
            origin: None,
            merged: false,
        });
        let primary = info.unique_keys.iter().find(|k| k.is_primary).map(|k| k.attnums.as_slice()).unwrap_or_default();
        let place = |attnum: &i16| info.columns.iter().position(|c| c.attnum == *attnum);
        let table = ScopeTable {
            schema: Some(info.schema.clone()),
            name: info.name.clone(),
            columns: columns.collect(),
            system: table_oid.into_iter().collect(),
            primary_key: primary.iter().filter_map(place).collect(),
            row: (info.kind == RelationKind::Table).then_some(ScopeRow { reference: alias, relation: info.oid }),
            is_value: false,
        };
        Ok((LogicalPlan::TableScan(plan), table))
    }

    /// An item that may name what stands left of it.
    fn lateral(
        &self,
        left: Source,
        factor: &TableFactor,
        kind: JoinType,
        constraint: Option<&JoinConstraint>,
        outer: Option<&Environment<'_>>,
        ctes: Option<&Ctes<'_>>,
    ) -> Result<Source> {
        let constraint = constraint.unwrap_or(&JoinConstraint::None);
        let env = Environment::new(&left.scope, outer, ctes, "LATERAL");
        let right = self.factor(factor, Some(&env), ctes)?;
        let references = env.outer_references.borrow().clone();
        self.pass_on_lateral(&references, &left.scope, outer);
        if !references.iter().any(|reference| is_of(reference, &left.scope)) {
            return self.join(left, right, kind, constraint, outer, ctes);
        }
        if !matches!(kind, JoinType::Inner | JoinType::Left) {
            return Err(invalid_lateral(&references, &left.scope));
        }
        let is_true = |c: &JoinConstraint| matches!(c, JoinConstraint::On(e) if e.to_string().eq_ignore_ascii_case("true"));
        if let Some(call) = FunctionItem::of(factor)
            && (matches!(constraint, JoinConstraint::None) || is_true(constraint))
        {
            return self.function_item(left, &call, kind == JoinType::Left, (outer, ctes));
        }
        let spans = datafusion::common::Spans::default();
        let subquery = Subquery { subquery: Arc::new(right.plan), outer_ref_columns: references, spans };
        let right = Source { plan: LogicalPlan::Subquery(subquery), scope: right.scope };
        self.join(left, right, kind, constraint, outer, ctes)
    }

    fn pass_on_lateral(&self, references: &[Expr], left: &Scope, outer: Option<&Environment<'_>>) {
        if let Some(outer) = outer {
            outer.note_references(references.iter().filter(|r| !is_of(r, left)).cloned());
        }
    }
}

/// Whether an outward reference means a column of that scope.
fn is_of(reference: &Expr, scope: &Scope) -> bool {
    match reference {
        Expr::OuterReferenceColumn(_, column) => scope.columns().any(|c| c.value.expr == Expr::Column(column.clone())),
        _ => false,
    }
}

/// A RIGHT or FULL join whose right side names the left one.
fn invalid_lateral(references: &[Expr], left: &Scope) -> BindError {
    let named = |table: &&ScopeTable| {
        references.iter().any(|r| matches!(r, Expr::OuterReferenceColumn(_, column) if table.columns.iter().any(|c| c.value.expr == Expr::Column(column.clone()))))
    };
    let table = left.tables.iter().find(named).map_or("", |t| t.name.as_str());
    Report::new(SqlState::INVALID_COLUMN_REFERENCE, format!("invalid reference to FROM-clause entry for table \"{table}\""))
        .with_detail("The combining JOIN type must be INNER or LEFT for a LATERAL reference.")
        .into()
}

/// `FROM ONLY t` is read as a table `only` with the alias `t`. No table has children, so ONLY changes nothing.
fn only(name: &ObjectName, alias: Option<&TableAlias>) -> Option<ObjectName> {
    let [part] = name.0.as_slice() else { return None };
    let is_word = part.as_ident().is_some_and(|i| i.quote_style.is_none() && i.value.eq_ignore_ascii_case("only"));
    alias.filter(|a| is_word && !a.explicit && a.columns.is_empty()).map(|a| ObjectName::from(vec![a.name.clone()]))
}

fn cross(left: Source, right: Source) -> Result<Source> {
    let mut scope = left.scope;
    scope.append(right.scope)?;
    Ok(Source { plan: LogicalPlanBuilder::from(left.plan).cross_join(right.plan)?.build()?, scope })
}

fn join_plan(left: LogicalPlan, right: LogicalPlan, kind: JoinType, on: Expr) -> Result<LogicalPlan> {
    let builder = LogicalPlanBuilder::from(left);
    if kind == JoinType::Inner && on == lit(true) && !matches!(right, LogicalPlan::Subquery(_)) {
        return Ok(builder.cross_join(right)?.build()?);
    }
    Ok(builder.join_on(right, kind, [on])?.build()?)
}

fn is_lateral(factor: &TableFactor) -> bool {
    match factor {
        TableFactor::Derived { lateral, .. } => *lateral,
        TableFactor::Function { .. } | TableFactor::UNNEST { .. } | TableFactor::Table { args: Some(_), .. } => true,
        _ => false,
    }
}

fn join_kind(operator: &JoinOperator) -> Result<(JoinType, &JoinConstraint)> {
    Ok(match operator {
        JoinOperator::Join(c) | JoinOperator::Inner(c) | JoinOperator::CrossJoin(c) => (JoinType::Inner, c),
        JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => (JoinType::Left, c),
        JoinOperator::Right(c) | JoinOperator::RightOuter(c) => (JoinType::Right, c),
        JoinOperator::FullOuter(c) => (JoinType::Full, c),
        other => return Err(BindError::unsupported(format!("the join {other:?}"))),
    })
}

fn hide(scope: &mut Scope, names: &[String]) {
    for column in scope.tables.iter_mut().flat_map(|t| &mut t.columns) {
        if names.contains(&column.name) {
            column.merged = true;
        }
    }
    scope.merged.retain(|c| !names.contains(&c.name));
}

fn single_name(name: &ObjectName) -> Result<String> {
    match name_parts(name)?.as_slice() {
        [single] => Ok(single.clone()),
        _ => Err(BindError::new(SqlState::SYNTAX_ERROR, format!("syntax error at or near \"{name}\""))),
    }
}

/// The folded parts of a dotted name.
pub(crate) fn name_parts(name: &ObjectName) -> Result<Vec<String>> {
    let part = |part: &sqlparser::ast::ObjectNamePart| match part.as_ident() {
        Some(ident) => Ok(folded(ident)),
        None => Err(BindError::unsupported(format!("the name {name}"))),
    };
    name.0.iter().map(part).collect()
}

/// The columns of a bound query as a FROM item's.
pub(crate) fn scope_columns(relation: &Relation) -> Result<Vec<ScopeColumn>> {
    let column = |output: &Output| {
        Ok(ScopeColumn {
            name: output.name.clone(),
            value: output.value.clone(),
            arrow: super::select::arrow_type(&output.value, &relation.plan)?,
            origin: output.origin,
            merged: false,
        })
    };
    relation.columns.iter().map(column).collect()
}

fn too_many_aliases(alias: &TableAlias, available: usize) -> BindError {
    let message =
        format!("table \"{}\" has {available} columns available but {} columns specified", folded(&alias.name), alias.columns.len());
    BindError::new(SqlState::INVALID_COLUMN_REFERENCE, message)
}

pub(crate) fn rename_scope(table: &mut ScopeTable, alias: &TableAlias) -> Result<()> {
    if alias.columns.len() > table.columns.len() {
        return Err(too_many_aliases(alias, table.columns.len()));
    }
    for (column, new) in table.columns.iter_mut().zip(&alias.columns) {
        column.name = folded(&new.name);
    }
    Ok(())
}

/// Gives a WITH query's columns the names of its column list.
pub(crate) fn rename_columns(columns: &mut [Output], alias: &TableAlias) -> Result<()> {
    if alias.columns.len() > columns.len() {
        let (name, available) = (folded(&alias.name), columns.len());
        let message = format!("WITH query \"{name}\" has {available} columns available but {} columns specified", alias.columns.len());
        return Err(BindError::new(SqlState::INVALID_COLUMN_REFERENCE, message));
    }
    for (column, new) in columns.iter_mut().zip(&alias.columns) {
        column.name = folded(&new.name);
    }
    Ok(())
}
