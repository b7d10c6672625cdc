//! INSERT.

use std::sync::Arc;

use common::datum::Datum;
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::SqlType;
use datafusion::logical_expr::Expr;
use functions::resolve;
use functions::typed_expr::TypedExpr;
use sqlparser::ast::{
    Assignment, AssignmentTarget, ConflictTarget, Expr as Tree, Insert, ObjectName, OnConflictAction, OnInsert, SetExpr, TableObject,
    Values,
};

use super::Binder;
use super::environment::Environment;
use super::relation::{Output, Relation};
use super::returning::row_scope;
use super::scope::{Scope, folded};
use crate::bound::{BoundInsert, ConflictAction, OnConflict};
use crate::error::{BindError, Result};
use crate::object_syntax::{OVERRIDING_SYSTEM, OVERRIDING_USER};
use crate::schema::{ColumnInfo, Generated, RelationInfo, RelationKind};
use crate::subscript_targets;

impl Binder<'_> {
    pub(crate) fn insert(&self, insert: &Insert) -> Result<BoundInsert> {
        let TableObject::TableName(name) = &insert.table else {
            return Err(BindError::unsupported("INSERT into something that is no table"));
        };
        let info = self.target(name)?;
        let places = self.insert_columns(&info, &insert.columns)?;
        let overriding = Overriding::of(insert)?;
        let types: Vec<SqlType> = info.columns.iter().map(|c| c.ty).collect();
        let (source, rows) = match &insert.source {
            None => {
                let row = self.completed(&info, &places, Vec::new(), overriding)?;
                (self.rows_plan(vec![row.clone()], &types)?, Some(vec![row]))
            }
            Some(query) => match query.body.as_ref() {
                SetExpr::Values(values) if query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() => {
                    let rows = self.insert_values(&info, &places, values, !insert.columns.is_empty(), overriding)?;
                    let plain = !rows.iter().flatten().any(super::has_subquery);
                    (self.rows_plan(rows.clone(), &types)?, plain.then_some(rows))
                }
                _ => {
                    let relation = self.query(query, None, None)?;
                    (self.insert_query(&info, &places, relation, !insert.columns.is_empty(), overriding)?.plan, None)
                }
            },
        };
        let alias = insert.table_alias.as_ref().map(|a| folded(&a.alias));
        let shown = alias.unwrap_or_else(|| info.name.clone());
        let scope = row_scope("t", &shown, &info);
        Ok(BoundInsert {
            target: info.oid,
            source,
            rows,
            on_conflict: self.on_conflict(insert.on.as_ref(), &info, &scope)?,
            returning: self.returning(insert.returning.as_deref(), &scope, &[])?,
        })
    }

    /// A table that is written to.
    pub(crate) fn target(&self, name: &ObjectName) -> Result<Arc<RelationInfo>> {
        let info = self.relation(name)?;
        match info.kind {
            RelationKind::Table => Ok(info),
            RelationKind::View => Err(BindError::unsupported(format!("changing rows through the view \"{}\"", info.name))),
            RelationKind::Sequence => Err(BindError::new(SqlState::WRONG_OBJECT_TYPE, format!("cannot change sequence \"{}\"", info.name))),
            RelationKind::SystemView => {
                Err(BindError::new(SqlState::WRONG_OBJECT_TYPE, format!("cannot change relation \"{}\"", info.name)))
            }
        }
    }

    /// Places of the named columns, or of all.
    fn insert_columns(&self, info: &RelationInfo, names: &[ObjectName]) -> Result<Vec<usize>> {
        if names.is_empty() {
            return Ok((0..info.columns.len()).collect());
        }
        let mut places = Vec::with_capacity(names.len());
        for name in names {
            let at = self.column_place(info, name)?;
            if places.contains(&at) {
                let message = format!("column \"{}\" specified more than once", info.columns[at].name);
                return Err(BindError::new(SqlState::DUPLICATE_COLUMN, message));
            }
            places.push(at);
        }
        Ok(places)
    }

    pub(crate) fn column_place(&self, info: &RelationInfo, name: &ObjectName) -> Result<usize> {
        let [part] = name.0.as_slice() else { return Err(BindError::unsupported("an assignment to a part of a column")) };
        let Some(ident) = part.as_ident() else { return Err(BindError::unsupported(format!("the column name {name}"))) };
        let wanted = folded(ident);
        info.columns.iter().position(|c| c.name == wanted).ok_or_else(|| {
            let message = format!("column \"{wanted}\" of relation \"{}\" does not exist", info.name);
            self.error_at(ident, BindError::new(SqlState::UNDEFINED_COLUMN, message))
        })
    }

    /// The default of a column: its expression, or NULL.
    pub(crate) fn default_value(&self, info: &RelationInfo, at: usize) -> Result<Expr> {
        let column = &info.columns[at];
        match &column.default {
            None => Ok(resolve::literal(&Datum::Null, column.ty).expr),
            Some(text) => {
                let tree = crate::parse::parse_expression(text)?;
                let scope = Scope::default();
                let bound = self.expression(&tree, &Environment::new(&scope, None, None, "DEFAULT expressions"))?;
                Ok(resolve::assignment_cast(&self.cx(), bound, column.ty, &column.name)?.expr)
            }
        }
    }

    /// A row of all columns: the given ones cast, defaults in the others. Values beyond those given take their defaults too.
    fn completed(
        &self,
        info: &RelationInfo,
        places: &[usize],
        given: Vec<Option<TypedExpr>>,
        overriding: Option<Overriding>,
    ) -> Result<Vec<Expr>> {
        let mut row: Vec<Option<Expr>> = vec![None; info.columns.len()];
        for (value, &at) in given.into_iter().zip(places) {
            if let Some(value) = value {
                let column = &info.columns[at];
                if !overriding_allows(column, overriding)? {
                    continue;
                }
                row[at] = Some(resolve::assignment_cast(&self.cx(), value, column.ty, &column.name)?.expr);
            }
        }
        row.into_iter().enumerate().map(|(at, value)| value.map_or_else(|| self.default_value(info, at), Ok)).collect()
    }

    fn insert_values(
        &self,
        info: &RelationInfo,
        places: &[usize],
        values: &Values,
        named: bool,
        overriding: Option<Overriding>,
    ) -> Result<Vec<Vec<Expr>>> {
        let scope = Scope::default();
        let env = Environment::new(&scope, None, None, "VALUES");
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let mut rows = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            if row.content.len() != width {
                return Err(BindError::new(SqlState::SYNTAX_ERROR, "VALUES lists must all be the same length"));
            }
            check_width(row.content.len(), places.len(), named)?;
            let mut given = Vec::with_capacity(row.content.len());
            for tree in &row.content {
                given.push(if is_default(tree) { None } else { Some(self.expression(tree, &env)?) });
            }
            rows.push(self.completed(info, places, given, overriding)?);
        }
        Ok(rows)
    }

    fn insert_query(
        &self,
        info: &RelationInfo,
        places: &[usize],
        relation: Relation,
        named: bool,
        overriding: Option<Overriding>,
    ) -> Result<Relation> {
        check_width(relation.columns.len(), places.len(), named)?;
        let given = relation.columns.iter().map(|c| Some(c.value.clone())).collect();
        let row = self.completed(info, places, given, overriding)?;
        let outputs = row.into_iter().zip(&info.columns);
        let outputs =
            outputs.map(|(expr, column)| Output { name: column.name.clone(), value: TypedExpr::new(expr, column.ty), origin: None });
        self.project(relation.plan, outputs.collect())
    }

    fn on_conflict(&self, on: Option<&OnInsert>, info: &RelationInfo, table: &Scope) -> Result<Option<OnConflict>> {
        let conflict = match on {
            None => return Ok(None),
            Some(OnInsert::OnConflict(conflict)) => conflict,
            Some(_) => return Err(BindError::unsupported("ON DUPLICATE KEY UPDATE")),
        };
        let arbiter = conflict.conflict_target.as_ref().map(|target| arbiter(info, target)).transpose()?;
        let action = match &conflict.action {
            OnConflictAction::DoNothing => ConflictAction::Nothing,
            OnConflictAction::DoUpdate(update) => {
                if arbiter.is_none() {
                    return Err(Report::new(
                        SqlState::SYNTAX_ERROR,
                        "ON CONFLICT DO UPDATE requires inference specification or constraint name",
                    )
                    .with_hint("For example, ON CONFLICT (column_name).")
                    .into());
                }
                let mut scope = table.clone();
                scope.append(row_scope("excluded", "excluded", info))?;
                // A bare name means the existing row.
                for column in scope.tables.iter_mut().skip(1).flat_map(|t| &mut t.columns) {
                    column.merged = true;
                }
                let env = Environment::new(&scope, None, None, "ON CONFLICT DO UPDATE");
                let assignments = self.assignments(info, &update.assignments, &env)?;
                let filter = match &update.selection {
                    None => None,
                    Some(tree) => {
                        let bound = self.expression(tree, &env)?;
                        Some(resolve::to_boolean(&self.cx(), bound, "WHERE")?.expr)
                    }
                };
                if assignments.iter().map(|(_, e)| e).chain(&filter).any(super::has_subquery) {
                    return Err(BindError::unsupported("a subquery in ON CONFLICT DO UPDATE"));
                }
                ConflictAction::Update { assignments, filter }
            }
        };
        Ok(Some(OnConflict { arbiter, action }))
    }

    /// SET lists: (place of the column, its new value).
    pub(crate) fn assignments(&self, info: &RelationInfo, list: &[Assignment], env: &Environment<'_>) -> Result<Vec<(usize, Expr)>> {
        let mut assigned: Vec<(usize, Expr)> = Vec::with_capacity(list.len());
        // Columns of which parts were assigned: other parts may follow.
        let mut parts: Vec<usize> = Vec::new();
        let assign = |assigned: &mut Vec<(usize, Expr)>, at: usize, value: Expr| {
            if assigned.iter().any(|(other, _)| *other == at) {
                let message = format!("multiple assignments to same column \"{}\"", info.columns[at].name);
                return Err(BindError::new(SqlState::SYNTAX_ERROR, message));
            }
            assigned.push((at, value));
            Ok(())
        };
        let value = |at: usize, tree: &Tree| -> Result<Expr> {
            if is_default(tree) {
                return self.default_value(info, at);
            }
            let column = &info.columns[at];
            refuse_generated(column, |name| format!("column \"{name}\" can only be updated to DEFAULT"))?;
            let bound = self.expression(tree, env)?;
            Ok(resolve::assignment_cast(&self.cx(), bound, column.ty, &column.name)?.expr)
        };
        for assignment in list {
            match (&assignment.target, &assignment.value) {
                (AssignmentTarget::ColumnName(name), tree) => {
                    if let Some((name, subscripts)) = subscript_targets::read(name)? {
                        self.assign_part(info, &name, &subscripts, tree, env, &mut assigned, &mut parts)?;
                        continue;
                    }
                    let at = self.column_place(info, name)?;
                    let value = value(at, tree)?;
                    assign(&mut assigned, at, value)?;
                }
                (AssignmentTarget::Tuple(names), Tree::Tuple(trees)) => {
                    if names.len() != trees.len() {
                        return Err(BindError::new(SqlState::SYNTAX_ERROR, "number of columns does not match number of values"));
                    }
                    for (name, tree) in names.iter().zip(trees) {
                        let at = self.column_place(info, name)?;
                        let value = value(at, tree)?;
                        assign(&mut assigned, at, value)?;
                    }
                }
                (AssignmentTarget::Tuple(names), tree) if names.len() == 1 => {
                    let at = self.column_place(info, &names[0])?;
                    let value = value(at, tree)?;
                    assign(&mut assigned, at, value)?;
                }
                (AssignmentTarget::Tuple(names), Tree::Subquery(query)) => {
                    let values = self.row_subquery(query, names.len(), env)?;
                    for (name, value) in names.iter().zip(values) {
                        let at = self.column_place(info, name)?;
                        let column = &info.columns[at];
                        refuse_generated(column, |name| format!("column \"{name}\" can only be updated to DEFAULT"))?;
                        assign(&mut assigned, at, resolve::assignment_cast(&self.cx(), value, column.ty, &column.name)?.expr)?;
                    }
                }
                (AssignmentTarget::Tuple(_), _) => {
                    let message = "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression";
                    return Err(BindError::new(SqlState::FEATURE_NOT_SUPPORTED, message));
                }
            }
        }
        Ok(assigned)
    }

    /// `SET a[1] = x`: the column with one part changed, on top of the parts that were changed before.
    #[allow(clippy::too_many_arguments, reason = "the last two are what a SET list has collected")]
    fn assign_part(
        &self,
        info: &RelationInfo,
        name: &ObjectName,
        subscripts: &[sqlparser::ast::Subscript],
        tree: &Tree,
        env: &Environment<'_>,
        assigned: &mut Vec<(usize, Expr)>,
        parts: &mut Vec<usize>,
    ) -> Result<()> {
        let at = self.column_place(info, name)?;
        let column = &info.columns[at];
        let before = assigned.iter().position(|(other, _)| *other == at);
        if before.is_some() && !parts.contains(&at) {
            let message = format!("multiple assignments to same column \"{}\"", column.name);
            return Err(BindError::new(SqlState::SYNTAX_ERROR, message));
        }
        let array = match before {
            Some(place) => TypedExpr::new(assigned[place].1.clone(), column.ty),
            None => {
                let missing = || BindError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{}\" does not exist", column.name));
                env.scope.tables.first().and_then(|t| t.columns.get(at)).map(|c| c.value.clone()).ok_or_else(missing)?
            }
        };
        let subscripts = subscripts.iter().map(|s| self.subscript(s, env)).collect::<Result<Vec<_>>>()?;
        let value = self.expression(tree, env)?;
        let cx = self.cx();
        let changed = resolve::assign_subscript(&cx, array, subscripts, value, &column.name)?;
        let changed = resolve::assignment_cast(&cx, changed, column.ty, &column.name)?.expr;
        match before {
            Some(place) => assigned[place].1 = changed,
            None => {
                parts.push(at);
                assigned.push((at, changed));
            }
        }
        Ok(())
    }
}

/// The OVERRIDING clause.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overriding {
    System,
    User,
}

impl Overriding {
    fn of(insert: &Insert) -> Result<Option<Self>> {
        match insert.partitioned.as_deref() {
            None => Ok(None),
            Some([Tree::Identifier(name)]) if name.value == OVERRIDING_SYSTEM => Ok(Some(Self::System)),
            Some([Tree::Identifier(name)]) if name.value == OVERRIDING_USER => Ok(Some(Self::User)),
            Some(_) => Err(BindError::new(SqlState::SYNTAX_ERROR, "syntax error at or near \"partition\"")),
        }
    }
}

/// Whether a value that an INSERT gives for the column is taken; `false`: the column's own value comes in its place.
fn overriding_allows(column: &ColumnInfo, overriding: Option<Overriding>) -> Result<bool> {
    match (column.generated, overriding) {
        (Some(Generated::IdentityAlways | Generated::IdentityByDefault), Some(Overriding::User)) => Ok(false),
        (Some(Generated::IdentityAlways), Some(Overriding::System)) => Ok(true),
        _ => {
            let message = |name: &str| format!("cannot insert a non-DEFAULT value into column \"{name}\"");
            refuse_generated(column, message).map_err(|error| match column.generated {
                Some(Generated::IdentityAlways) => {
                    common::error::SqlError::report(&error).with_hint("Use OVERRIDING SYSTEM VALUE to override.").into()
                }
                _ => error,
            })?;
            Ok(true)
        }
    }
}

/// 428C9 for a value of a column that makes its own always.
fn refuse_generated(column: &ColumnInfo, message: impl Fn(&str) -> String) -> Result<()> {
    let what = match column.generated {
        None | Some(Generated::IdentityByDefault) => return Ok(()),
        Some(Generated::Stored) => "a generated column",
        Some(Generated::IdentityAlways) => "an identity column defined as GENERATED ALWAYS",
    };
    let report = Report::new(SqlState::GENERATED_ALWAYS, message(&column.name));
    Err(report.with_detail(format!("Column \"{}\" is {what}.", column.name)).into())
}

fn is_default(tree: &Tree) -> bool {
    matches!(tree, Tree::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

fn check_width(values: usize, columns: usize, named: bool) -> Result<()> {
    if values > columns {
        return Err(BindError::new(SqlState::SYNTAX_ERROR, "INSERT has more expressions than target columns"));
    }
    if named && values < columns {
        return Err(BindError::new(SqlState::SYNTAX_ERROR, "INSERT has more target columns than expressions"));
    }
    Ok(())
}

/// The unique key that ON CONFLICT names.
fn arbiter(info: &RelationInfo, target: &ConflictTarget) -> Result<Oid> {
    match target {
        ConflictTarget::OnConstraint(name) => {
            let wanted = super::from_clause::name_parts(name)?.pop().unwrap_or_default();
            info.unique_keys.iter().find(|k| k.name == wanted).map(|k| k.oid).ok_or_else(|| {
                let message = format!("constraint \"{wanted}\" for table \"{}\" does not exist", info.name);
                BindError::new(SqlState::UNDEFINED_OBJECT, message)
            })
        }
        ConflictTarget::Columns(names) => {
            let mut wanted = Vec::with_capacity(names.len());
            for ident in names {
                let name = folded(ident);
                let column = info
                    .columns
                    .iter()
                    .find(|c| c.name == name)
                    .ok_or_else(|| BindError::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")))?;
                wanted.push(column.attnum);
            }
            wanted.sort_unstable();
            wanted.dedup();
            let same = |attnums: &[i16]| {
                let mut attnums = attnums.to_vec();
                attnums.sort_unstable();
                attnums == wanted
            };
            info.unique_keys.iter().find(|k| same(&k.attnums)).map(|k| k.oid).ok_or_else(|| {
                let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
                BindError::new(SqlState::INVALID_COLUMN_REFERENCE, message)
            })
        }
    }
}
