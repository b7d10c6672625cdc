//! ALTER TABLE … ALTER COLUMN, DROP COLUMN, RENAME COLUMN, DROP CONSTRAINT.

use catalog::changes::Change;
use catalog::objects::{Column, Enforcement, Generated, PartitionMethod, Partitioning, Table, UniqueConstraint, View};
use common::datum::Datum;
use common::error::{Report, SqlError};
use common::ids::Oid;
use common::sqlstate::SqlState;
use common::types::{Scalar, SqlType};
use sql::bind::type_name::{NamedType, named_type};
use sqlparser::ast::{AlterColumnOperation, DataType, Expr, Ident, VisitMut, VisitorMut};
use types::quoting::quote_ident;

use super::alter_table::{has_row, place, redefine};
use super::definition::{UniqueDraft, attnum, attnums, default_text, key_schema, row_id};
use super::swap::{Rewrite, rewrite};
use super::view::described;
use super::{Ids, Surroundings, folded, stored_expression};
use crate::session::Session;

/// ALTER COLUMN.
pub(super) async fn alter(session: &mut Session, table: Oid, name: &str, op: &AlterColumnOperation) -> Result<(), Report> {
    match op {
        AlterColumnOperation::SetNotNull => set_not_null(session, table, name).await,
        AlterColumnOperation::SetDataType { data_type, using, .. } => set_type(session, table, name, data_type, using.as_ref()).await,
        AlterColumnOperation::DropNotNull => {
            redefine(session, table, |table, _| {
                let at = place(table, name)?;
                if table.primary_key().is_some_and(|k| k.columns.contains(&table.columns[at].attnum)) {
                    return Err(Report::new(SqlState::INVALID_TABLE_DEFINITION, format!("column \"{name}\" is in a primary key")));
                }
                if table.columns[at].generated.is_some_and(Generated::is_identity) {
                    let message = format!("column \"{name}\" of relation \"{}\" is an identity column", table.name);
                    return Err(Report::new(SqlState::SYNTAX_ERROR, message));
                }
                table.columns[at].not_null = false;
                Ok(Vec::new())
            })
            .await
        }
        AlterColumnOperation::SetDefault { value } => {
            redefine(session, table, |table, around| {
                let at = place(table, name)?;
                refuse_generated(table, at).map_err(|e| Report { hint: None, ..e })?;
                table.columns[at].default = Some(default_text(value, &table.columns[at], around)?);
                Ok(Vec::new())
            })
            .await
        }
        AlterColumnOperation::DropDefault => {
            redefine(session, table, |table, _| {
                let at = place(table, name)?;
                refuse_generated(table, at)?;
                table.columns[at].default = None;
                Ok(Vec::new())
            })
            .await
        }
        other @ AlterColumnOperation::AddGenerated { .. } => Err(Report::unsupported(format!("ALTER COLUMN … {other}"))),
    }
}

fn refuse_generated(table: &Table, at: usize) -> Result<(), Report> {
    let column = &table.columns[at];
    let (what, hint) = match column.generated {
        None => return Ok(()),
        Some(Generated::Stored) => ("a generated column", "Use ALTER TABLE ... ALTER COLUMN ... DROP EXPRESSION instead."),
        Some(_) => ("an identity column", "Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead."),
    };
    let message = format!("column \"{}\" of relation \"{}\" is {what}", column.name, table.name);
    Err(Report::new(SqlState::SYNTAX_ERROR, message).with_hint(hint))
}

/// Writers see that NULL is refused before the rows are looked through.
async fn set_not_null(session: &mut Session, oid: Oid, name: &str) -> Result<(), Report> {
    let mut found = (String::new(), String::new(), false);
    redefine(session, oid, |table, around| {
        let at = place(table, name)?;
        let schema = around.state.schema(table.schema).map(|s| s.name.clone()).unwrap_or_default();
        found = (schema, table.name.clone(), table.columns[at].not_null);
        table.columns[at].not_null = true;
        Ok(Vec::new())
    })
    .await?;
    let (schema, table, was_set) = found;
    let column = quote_ident(name);
    let probe = format!("SELECT 1 FROM {}.{} WHERE {column} IS NULL LIMIT 1", quote_ident(&schema), quote_ident(&table));
    if was_set || !has_row(session, &probe).await? {
        return Ok(());
    }
    redefine(session, oid, |table, _| {
        let at = place(table, name)?;
        table.columns[at].not_null = false;
        Ok(Vec::new())
    })
    .await?;
    let message = format!("column \"{name}\" of relation \"{table}\" contains null values");
    Err(Report::new(SqlState::NOT_NULL_VIOLATION, message))
}

/// ALTER COLUMN TYPE: the rows are written anew.
async fn set_type(session: &mut Session, oid: Oid, name: &str, ty: &DataType, using: Option<&Expr>) -> Result<(), Report> {
    let around = Surroundings::of(session);
    let table = around.state.table(oid).ok_or_else(|| Report::new(SqlState::UNDEFINED_TABLE, "the table was dropped meanwhile"))?;
    let at = place(&table, name)?;
    let column = &table.columns[at];
    let NamedType { ty, domain } = named_type(ty, &around.settings).map_err(|e| e.report())?;
    refuse_views(&around, &table, column.attnum)?;
    let value = new_value(&around, &table, column, ty, using)?;
    let default = column.default.clone().filter(|_| column.generated.is_none());
    if let Some(default) = &default {
        // Casts to the new type as an assignment does.
        let typed = format!("CAST({default} AS {})", column.ty);
        sql::bind_expression(&typed, &[], ty, &around.settings).map_err(|_| {
            Report::new(SqlState::DATATYPE_MISMATCH, format!("default for column \"{name}\" cannot be cast automatically to type {ty}"))
        })?;
    }
    if table.partitioning.method == PartitionMethod::Range && table.partitioning.columns.contains(&column.attnum) {
        return Err(Report::unsupported("another type of a column by which a table is cut"));
    }
    let (from, changed) = (column.ty, column.attnum);
    rewrite(session, oid, |_, closed| {
        let mut table = closed.clone();
        let column = &mut table.columns[at];
        column.ty = ty;
        column.domain = domain.map(|domain| domain.oid);
        column.missing = Datum::Null;
        if let Some(default) = default.filter(|_| ty.without_typmod() != from.without_typmod()) {
            // The default keeps its value: it is cast from the type that it had.
            let is_plain = sql::bind_expression(&default, &[], ty, &around.settings).is_ok();
            column.default = Some(if is_plain { default } else { format!("CAST({default} AS {from})") });
        }
        let hashed = table.partitioning.key.hash_columns;
        table.partitioning.key = key_schema(&table.columns, &table.partitioning.key_columns, hashed)?;
        Ok(Rewrite { table, values: vec![(changed, value)], fresh: Vec::new(), dropped: Vec::new(), more: Vec::new() })
    })
    .await
}

/// SQL for the value in the new type.
fn new_value(around: &Surroundings, table: &Table, column: &Column, ty: SqlType, using: Option<&Expr>) -> Result<String, Report> {
    let columns: Vec<(String, SqlType)> = table.visible_columns().map(|c| (c.name.clone(), c.ty)).collect();
    let name = &column.name;
    if let Some(using) = using {
        let text = stored_expression::stored_text(using, around)?;
        sql::bind_expression(&text, &columns, ty, &around.settings).map_err(|e| {
            let report = e.report();
            if report.sqlstate != SqlState::DATATYPE_MISMATCH {
                return report;
            }
            let message = format!("result of USING clause for column \"{name}\" cannot be cast automatically to type {ty}");
            Report::new(SqlState::DATATYPE_MISMATCH, message).with_hint("You might need to add an explicit cast.")
        })?;
        return Ok(text);
    }
    let own = quote_ident(name);
    sql::bind_expression(&own, &columns, ty, &around.settings).map_err(|_| {
        let message = format!("column \"{name}\" cannot be cast automatically to type {ty}");
        Report::new(SqlState::DATATYPE_MISMATCH, message).with_hint(format!("You might need to specify \"USING {own}::{ty}\"."))
    })?;
    Ok(own)
}

fn refuse_views(around: &Surroundings, table: &Table, attnum: i16) -> Result<(), Report> {
    let Some(view) = views_on(around, table, attnum).into_iter().next() else { return Ok(()) };
    let column = table.column(attnum).map_or("", |c| c.name.as_str());
    Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, "cannot alter type of a column used by a view or rule")
        .with_detail(format!("rule _RETURN on {} depends on column \"{column}\"", described(around, view.oid))))
}

fn views_on(around: &Surroundings, table: &Table, attnum: i16) -> Vec<std::sync::Arc<View>> {
    let needs = |v: &&std::sync::Arc<View>| v.query.uses.iter().any(|u| u.relation == table.oid && u.needed.contains(&attnum));
    around.state.views_of(table.oid).filter(needs).cloned().collect()
}

/// The places in the visible columns that an expression names.
fn names_of(text: &str, table: &Table, ty: SqlType, around: &Surroundings) -> Vec<i16> {
    let visible: Vec<&Column> = table.visible_columns().collect();
    let columns: Vec<(String, SqlType)> = visible.iter().map(|c| (c.name.clone(), c.ty)).collect();
    let Ok(bound) = sql::bind_expression(text, &columns, ty, &around.settings) else { return Vec::new() };
    let place = |name: &str| name.parse().ok().and_then(|at: usize| visible.get(at).map(|c| c.attnum));
    bound.expr.column_refs().into_iter().filter_map(|c| place(&c.name)).collect()
}

/// DROP COLUMN: its constraints and indexes go with it; what else depends on it goes by CASCADE alone.
pub(super) async fn drop(session: &mut Session, oid: Oid, name: &str, if_exists: bool, cascade: bool) -> Result<(), Report> {
    let around = Surroundings::of(session);
    let table = around.state.table(oid).ok_or_else(|| Report::new(SqlState::UNDEFINED_TABLE, "the table was dropped meanwhile"))?;
    let at = match place(&table, name) {
        Ok(at) => at,
        Err(error) if if_exists => {
            session.notices.push(Report::new(SqlState::SUCCESSFUL_COMPLETION, format!("{}, skipping", error.message)));
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let number = table.columns[at].attnum;
    let dependents = column_dependents(&around, session, &table, at, cascade)?;
    if table.partitioning.key_columns.contains(&number) {
        return drop_key(session, oid, Some(number)).await;
    }
    redefine(session, oid, |table, around| {
        let mut more = without_column(table, number, around);
        more.extend(dependents.iter().map(|v| Change::DropView(*v)));
        Ok(more)
    })
    .await
}

/// The views that go with a column; 2BP01 when there are some and no CASCADE.
fn column_dependents(around: &Surroundings, session: &mut Session, table: &Table, at: usize, cascade: bool) -> Result<Vec<Oid>, Report> {
    let column = &table.columns[at];
    let what = format!("column {} of {}", quote_ident(&column.name), described(around, table.oid));
    let (mut lines, mut names, mut views) = (Vec::new(), Vec::new(), Vec::new());
    let generated = |c: &&Column| c.generated == Some(Generated::Stored);
    for other in table.visible_columns().filter(generated).filter(|c| c.attnum != column.attnum) {
        if names_of(other.default.as_deref().unwrap_or("NULL"), table, other.ty, around).contains(&column.attnum) {
            if cascade {
                return Err(Report::unsupported("dropping a column with the generated columns that are made of it"));
            }
            lines.push(format!("column {} of {} depends on {what}", quote_ident(&other.name), described(around, table.oid)));
        }
    }
    for view in views_on(around, table, column.attnum) {
        lines.push(format!("{} depends on {what}", described(around, view.oid)));
        let above = super::view::dependents(&around.state, view.oid);
        for dependent in &above {
            lines.push(format!("{} depends on {}", described(around, dependent.view.oid), described(around, dependent.of)));
        }
        for gone in std::iter::once(view.oid).chain(above.iter().map(|d| d.view.oid)) {
            if !views.contains(&gone) {
                views.push(gone);
                names.push(described(around, gone));
            }
        }
    }
    if !lines.is_empty() && !cascade {
        return Err(Report::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, format!("cannot drop {what} because other objects depend on it"))
            .with_detail(lines.join("\n"))
            .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    if !names.is_empty() {
        session.notices.push(super::cascades_to(&names));
    }
    Ok(views)
}

/// Takes a column out of a table with its checks, unique constraints, indexes and sequence.
fn without_column(table: &mut Table, number: i16, around: &Surroundings) -> Vec<Change> {
    let bool = Scalar::Bool.into();
    let checks: Vec<Oid> =
        table.checks.iter().filter(|c| names_of(&c.expression, table, bool, around).contains(&number)).map(|c| c.oid).collect();
    table.checks.retain(|c| !checks.contains(&c.oid));
    table.uniques.retain(|u| !u.columns.contains(&number));
    let indexes = around.state.indexes_of(table);
    let gone: Vec<Oid> =
        indexes.filter(|i| i.columns.iter().any(|c| c.attnum == number) || i.include.contains(&number)).map(|i| i.oid).collect();
    let owned = around.state.sequences_of(table.oid).filter(|s| s.owner.is_some_and(|o| o.attnum == number));
    let mut changes: Vec<Change> = owned.map(|s| Change::DropSequence(s.oid)).collect();
    changes.extend(gone.into_iter().map(Change::DropIndex));
    if let Some(column) = table.columns.iter_mut().find(|c| c.attnum == number) {
        column.dropped = true;
        column.not_null = false;
        column.default = None;
        column.generated = None;
        column.name = format!("........pg.dropped.{number}........");
    }
    changes
}

/// Takes the primary key from a table, and one of its columns too, if given: the rows get a hidden row id.
pub(super) async fn drop_key(session: &mut Session, oid: Oid, column: Option<i16>) -> Result<(), Report> {
    let around = Surroundings::of(session);
    rewrite(session, oid, |_, closed| {
        let mut table = closed.clone();
        let key = table.primary_key().map(|k| k.columns.clone()).unwrap_or_default();
        table.uniques.retain(|u| u.enforced_by != Enforcement::TableKey);
        let mut more = Vec::new();
        if let Some(column) = column {
            if table.partitioning.columns.contains(&column) && sorted(&table.partitioning.columns) != sorted(&key) {
                return Err(Report::unsupported("dropping a column by which a table is cut"));
            }
            more = without_column(&mut table, column, &around);
        }
        let number = attnum(table.columns.len())?;
        table.columns.push(row_id(number));
        let stays = table.partitioning.method == PartitionMethod::Range || sorted(&table.partitioning.columns) != sorted(&key);
        if stays && column.is_some_and(|c| table.partitioning.columns.contains(&c)) {
            return Err(Report::unsupported("dropping a column by which a table is cut"));
        }
        let mut columns = if stays { table.partitioning.columns.clone() } else { vec![number] };
        let mut key_columns = columns.clone();
        if stays {
            key_columns.push(number);
        }
        columns.dedup();
        let hashed = if table.partitioning.method == PartitionMethod::Hash { columns.len() } else { 0 };
        let key = key_schema(&table.columns, &key_columns, hashed)?;
        table.partitioning = Partitioning { columns, key_columns, key, ..table.partitioning.clone() };
        let (dropped, more) = more.into_iter().partition::<Vec<_>, _>(|c| matches!(c, Change::DropIndex(_)));
        let dropped = dropped.into_iter().filter_map(|c| if let Change::DropIndex(oid) = c { Some(oid) } else { None }).collect();
        Ok(Rewrite { table, values: Vec::new(), fresh: Vec::new(), dropped, more })
    })
    .await
}

/// ADD PRIMARY KEY to a table without one: the key takes the place of the hidden row id.
pub(super) async fn add_key(session: &mut Session, oid: Oid, draft: UniqueDraft) -> Result<(), Report> {
    let constraint = Ids::take(session, 1).await?.oid()?;
    rewrite(session, oid, |_, closed| {
        let mut table = closed.clone();
        let wanted = attnums(&table.columns, &draft.columns, true)?;
        let row_id = table.columns.iter().find(|c| c.hidden && !c.dropped).map(|c| c.attnum);
        let is_cut_by_row_id = row_id.is_some_and(|id| table.partitioning.columns == [id]);
        let columns = if is_cut_by_row_id { wanted.clone() } else { table.partitioning.columns.clone() };
        if !columns.iter().all(|c| wanted.contains(c)) {
            return Err(Report::unsupported("a primary key that lacks a column by which its table is cut, on a table with rows"));
        }
        for column in &mut table.columns {
            column.not_null |= wanted.contains(&column.attnum);
            if column.hidden {
                column.dropped = true;
                column.not_null = false;
            }
        }
        let mut key_columns = columns.clone();
        key_columns.extend(wanted.iter().copied().filter(|a| !columns.contains(a)));
        let hashed = if table.partitioning.method == PartitionMethod::Hash { columns.len() } else { 0 };
        let key = key_schema(&table.columns, &key_columns, hashed)?;
        table.partitioning = Partitioning { columns, key_columns, key, ..table.partitioning.clone() };
        let name = draft.name.clone().unwrap_or_else(|| format!("{}_pkey", table.name));
        let unique = UniqueConstraint { oid: constraint, name, is_primary: true, columns: wanted, enforced_by: Enforcement::TableKey };
        table.uniques.push(unique);
        Ok(Rewrite { table, values: Vec::new(), fresh: Vec::new(), dropped: Vec::new(), more: Vec::new() })
    })
    .await
}

fn sorted(attnums: &[i16]) -> Vec<i16> {
    let mut sorted = attnums.to_vec();
    sorted.sort_unstable();
    sorted
}

/// RENAME COLUMN, in the table's own expressions too. Views keep the names that they know.
pub(super) fn rename(table: &mut Table, old: &str, new: &str) -> Result<(), Report> {
    let missing = |_| Report::new(SqlState::UNDEFINED_COLUMN, format!("column \"{old}\" does not exist"));
    let at = place(table, old).map_err(missing)?;
    if table.column_named(new).is_some() {
        let message = format!("column \"{new}\" of relation \"{}\" already exists", table.name);
        return Err(Report::new(SqlState::DUPLICATE_COLUMN, message));
    }
    for check in &mut table.checks {
        check.expression = renamed_in(&check.expression, old, new)?;
    }
    for column in table.columns.iter_mut().filter(|c| c.generated == Some(Generated::Stored)) {
        if let Some(text) = &column.default {
            column.default = Some(renamed_in(text, old, new)?);
        }
    }
    new.clone_into(&mut table.columns[at].name);
    Ok(())
}

fn renamed_in(text: &str, old: &str, new: &str) -> Result<String, Report> {
    struct Rename<'a>(&'a str, &'a str);
    impl VisitorMut for Rename<'_> {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> std::ops::ControlFlow<()> {
            let ident = match expr {
                Expr::Identifier(ident) => Some(ident),
                Expr::CompoundIdentifier(parts) => parts.last_mut(),
                _ => None,
            };
            if let Some(ident) = ident.filter(|i| folded(i) == self.0) {
                let quoted = quote_ident(self.1) != self.1;
                *ident = if quoted { Ident::with_quote('"', self.1) } else { Ident::new(self.1) };
            }
            std::ops::ControlFlow::Continue(())
        }
    }
    let mut expr = sql::parse::parse_expression(text)?;
    let _ = expr.visit(&mut Rename(old, new));
    Ok(expr.to_string().replace("'::REGCLASS", "'::regclass"))
}
