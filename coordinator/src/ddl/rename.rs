//! New names, schemas and owners of objects.

use std::sync::Arc;

use catalog::changes::Change;
use catalog::objects::{Index, Sequence, Table, View};
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use sql::object_syntax::ObjectKind;
use sqlparser::ast::ObjectName;

use super::{ATTEMPTS_MAX, Surroundings, missing_relation, propose, skipped_relation, split_name, too_many_attempts};
use crate::result::StatementResult;
use crate::session::Session;

/// What becomes of the object.
pub(super) enum To {
    Name(String),
    Schema(String),
    /// There is one role.
    Owner,
}

pub(super) async fn execute(
    session: &mut Session,
    kind: ObjectKind,
    if_exists: bool,
    name: &ObjectName,
    to: &To,
) -> Result<StatementResult, Report> {
    let done = || StatementResult::Command(format!("ALTER {}", kind.keyword()));
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let changes = match kind {
            ObjectKind::Schema => schema(&around, name, to)?,
            _ => match relation(&around, kind, name, to)? {
                Some(changes) => changes,
                None if if_exists => {
                    session.notices.push(skipped_relation(name));
                    return Ok(done());
                }
                None => return Err(missing_relation(name)),
            },
        };
        if changes.is_empty() || propose(session, around.state.version(), &changes).await?.is_some() {
            return Ok(done());
        }
    }
    Err(too_many_attempts())
}

fn schema(around: &Surroundings, name: &ObjectName, to: &To) -> Result<Vec<Change>, Report> {
    let name = split_name(name)?.1;
    let missing = || Report::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist"));
    let schema = around.state.schema_named(&name).ok_or_else(missing)?;
    let To::Name(new) = to else { return Ok(Vec::new()) };
    if around.state.schema_named(new).is_some() || crate::system_views::schema_exists(new) {
        return Err(Report::new(SqlState::DUPLICATE_SCHEMA, format!("schema \"{new}\" already exists")));
    }
    super::drop::refuse_system_schema_name(new)?;
    Ok(vec![Change::RenameSchema(schema.oid, new.clone())])
}

/// The changes of a relation; `None` when there is none of the name.
fn relation(around: &Surroundings, kind: ObjectKind, name: &ObjectName, to: &To) -> Result<Option<Vec<Change>>, Report> {
    if let Some(sequence) = around.sequence(name)? {
        if !matches!(kind, ObjectKind::Sequence | ObjectKind::Table) {
            return Err(wrong_kind(name, kind));
        }
        return Ok(Some(sequence_changes(around, &sequence, to)?));
    }
    if let Some(view) = around.view(name)? {
        if !matches!(kind, ObjectKind::View | ObjectKind::Table) {
            return Err(wrong_kind(name, kind));
        }
        return Ok(Some(view_changes(around, &view, to)?));
    }
    if let Some(index) = around.index(name)? {
        return match (kind, to) {
            (ObjectKind::Index, To::Schema(_)) => Err(wrong_kind(name, ObjectKind::Table)),
            (ObjectKind::Index | ObjectKind::Table, _) => Ok(Some(index_changes(around, &index, to)?)),
            _ => Err(wrong_kind(name, kind)),
        };
    }
    if let Some(table) = around.table(name)? {
        return match kind {
            ObjectKind::Table => Ok(Some(table_changes(around, &table, to)?)),
            _ => Err(wrong_kind(name, kind)),
        };
    }
    match key_of(around, name)? {
        Some((table, oid)) if kind == ObjectKind::Index => Ok(Some(key_changes(around, &table, oid, to)?)),
        Some(_) => Err(wrong_kind(name, kind)),
        None => Ok(None),
    }
}

fn wrong_kind(name: &ObjectName, kind: ObjectKind) -> Report {
    let what = match kind {
        ObjectKind::Table => "table",
        ObjectKind::Index => "index",
        ObjectKind::Sequence => "sequence",
        ObjectKind::View => "view",
        ObjectKind::MaterializedView => "materialized view",
        ObjectKind::Schema => "schema",
    };
    let article = if what == "index" { "an" } else { "a" };
    let bare = split_name(name).map(|(_, name)| name).unwrap_or_default();
    Report::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{bare}\" is not {article} {what}"))
}

/// The table whose own key is the index of that name.
pub(super) fn key_of(around: &Surroundings, name: &ObjectName) -> Result<Option<(Arc<Table>, Oid)>, Report> {
    let (schema, name) = split_name(name)?;
    let path: Vec<String> = match schema {
        Some(schema) => vec![schema],
        None => around.settings.search_path.to_vec(),
    };
    let schemas: Vec<Oid> = path.iter().filter_map(|s| around.state.schema_named(s)).map(|s| s.oid).collect();
    let mut tables = around.state.tables().filter(|t| schemas.contains(&t.schema));
    Ok(tables.find_map(|t| t.uniques.iter().find(|u| u.name == name).map(|u| (Arc::clone(t), u.oid))))
}

/// 42P07 when a schema has a relation of the name.
pub(super) fn refuse_taken(around: &Surroundings, schema: Oid, name: &str) -> Result<(), Report> {
    let schema = around.state.schema(schema).map(|s| s.name.clone()).unwrap_or_default();
    match around.state.relation_named(&schema, name) {
        Some(_) => Err(Report::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists"))),
        None => Ok(()),
    }
}

/// A schema that something moves to, in which its name must be free.
fn target_schema(around: &Surroundings, schema: &str, name: &str, from: Oid) -> Result<Option<Oid>, Report> {
    let missing = || Report::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{schema}\" does not exist"));
    let found = around.state.schema_named(schema).ok_or_else(missing)?.oid;
    if found == from {
        return Ok(None);
    }
    if around.state.relation_named(schema, name).is_some() {
        let message = format!("relation \"{name}\" already exists in schema \"{schema}\"");
        return Err(Report::new(SqlState::DUPLICATE_TABLE, message));
    }
    Ok(Some(found))
}

fn sequence_changes(around: &Surroundings, sequence: &Sequence, to: &To) -> Result<Vec<Change>, Report> {
    let mut changed = sequence.clone();
    match to {
        To::Owner => return Ok(Vec::new()),
        To::Name(name) => {
            refuse_taken(around, sequence.schema, name)?;
            changed.name.clone_from(name);
        }
        To::Schema(schema) => {
            if sequence.owner.is_some() {
                let table = sequence.owner.and_then(|o| around.state.table(o.table)).map(|t| t.name.clone()).unwrap_or_default();
                return Err(Report::new(SqlState::FEATURE_NOT_SUPPORTED, "cannot move an owned sequence into another schema")
                    .with_detail(format!("Sequence \"{}\" is linked to table \"{table}\".", sequence.name)));
            }
            match target_schema(around, schema, &sequence.name, sequence.schema)? {
                Some(schema) => changed.schema = schema,
                None => return Ok(Vec::new()),
            }
        }
    }
    Ok(vec![Change::PutSequence(changed)])
}

fn view_changes(around: &Surroundings, view: &View, to: &To) -> Result<Vec<Change>, Report> {
    let mut changed = view.clone();
    match to {
        To::Owner => return Ok(Vec::new()),
        To::Name(name) => {
            refuse_taken(around, view.schema, name)?;
            changed.name.clone_from(name);
        }
        To::Schema(schema) => match target_schema(around, schema, &view.name, view.schema)? {
            Some(schema) => changed.schema = schema,
            None => return Ok(Vec::new()),
        },
    }
    Ok(vec![Change::PutView(changed)])
}

/// An index has the name of its constraint.
fn index_changes(around: &Surroundings, index: &Index, to: &To) -> Result<Vec<Change>, Report> {
    let To::Name(name) = to else { return Ok(Vec::new()) };
    refuse_taken(around, index.schema, name)?;
    let mut changes = vec![Change::AlterIndex(Index { name: name.clone(), ..index.clone() })];
    if let Some(table) = around.state.table(index.table) {
        let mut table = Table::clone(&table);
        let by = catalog::objects::Enforcement::Index(index.oid);
        if let Some(unique) = table.uniques.iter_mut().find(|u| u.enforced_by == by) {
            unique.name.clone_from(name);
            changes.push(Change::AlterTable(table));
        }
    }
    Ok(changes)
}

fn key_changes(around: &Surroundings, table: &Table, constraint: Oid, to: &To) -> Result<Vec<Change>, Report> {
    let To::Name(name) = to else { return Ok(Vec::new()) };
    refuse_taken(around, table.schema, name)?;
    let mut table = table.clone();
    if let Some(unique) = table.uniques.iter_mut().find(|u| u.oid == constraint) {
        unique.name.clone_from(name);
    }
    Ok(vec![Change::AlterTable(table)])
}

/// A table takes its indexes and sequences along to another schema.
fn table_changes(around: &Surroundings, table: &Table, to: &To) -> Result<Vec<Change>, Report> {
    let mut changed = table.clone();
    let schema = match to {
        To::Owner => return Ok(Vec::new()),
        To::Name(name) => {
            refuse_taken(around, table.schema, name)?;
            changed.name.clone_from(name);
            return Ok(vec![Change::AlterTable(changed)]);
        }
        To::Schema(schema) => match target_schema(around, schema, &table.name, table.schema)? {
            Some(schema) => schema,
            None => return Ok(Vec::new()),
        },
    };
    changed.schema = schema;
    let mut changes = vec![Change::AlterTable(changed)];
    changes.extend(around.state.indexes_of(table).map(|i| Change::AlterIndex(Index { schema, ..Index::clone(i) })));
    changes.extend(around.state.sequences_of(table.oid).map(|s| Change::PutSequence(Sequence { schema, ..Sequence::clone(s) })));
    Ok(changes)
}
