//! DROP, TRUNCATE, and schemas.

use std::sync::Arc;

use catalog::changes::Change;
use catalog::objects::{Schema, Table};
use catalog::{placement, state::CatalogState};
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use sqlparser::ast::{DropBehavior, ObjectName, ObjectType, SchemaName, Statement, Truncate};

use super::{ATTEMPTS_MAX, Ids, Surroundings, missing_relation, propose, split_name, too_many_attempts, user_types};
use crate::result::StatementResult;
use crate::session::Session;

pub(super) async fn execute(session: &mut Session, tree: &Statement) -> Result<StatementResult, Report> {
    match tree {
        Statement::CreateSchema { schema_name, if_not_exists, .. } => create_schema(session, schema_name, *if_not_exists).await,
        Statement::Drop { object_type, if_exists, names, cascade, .. } => {
            let verb = match object_type {
                ObjectType::Table => "DROP TABLE",
                ObjectType::Index => "DROP INDEX",
                ObjectType::Schema => "DROP SCHEMA",
                ObjectType::Type => "DROP TYPE",
                ObjectType::View | ObjectType::MaterializedView | ObjectType::Sequence if *if_exists => {
                    // There are none of these, so that there is nothing to drop.
                    for name in names {
                        session.notices.push(skipped(&object_type.to_string().to_lowercase(), &name.to_string()));
                    }
                    return Ok(StatementResult::Command(format!("DROP {object_type}")));
                }
                other => return Err(Report::unsupported(format!("DROP {other}"))),
            };
            for _ in 0..ATTEMPTS_MAX {
                let around = Surroundings::of(session);
                let mut changes = Vec::new();
                for name in names {
                    match object_type {
                        ObjectType::Table => drop_table(&around, name, *if_exists, session, &mut changes)?,
                        ObjectType::Type => drop_type(&around, name, (*if_exists, *cascade), None, session, &mut changes)?,
                        ObjectType::Index => drop_index(&around, name, *if_exists, session, &mut changes)?,
                        _ => drop_schema(&around, name, *if_exists, *cascade, session, &mut changes)?,
                    }
                }
                if changes.is_empty() || propose(session, around.state.version(), &changes).await?.is_some() {
                    return Ok(StatementResult::Command(verb.into()));
                }
            }
            Err(too_many_attempts())
        }
        Statement::DropDomain(drop) => {
            let cascade = matches!(drop.drop_behavior, Some(DropBehavior::Cascade));
            for _ in 0..ATTEMPTS_MAX {
                let around = Surroundings::of(session);
                let mut changes = Vec::new();
                drop_type(&around, &drop.name, (drop.if_exists, cascade), Some("domain"), session, &mut changes)?;
                if changes.is_empty() || propose(session, around.state.version(), &changes).await?.is_some() {
                    return Ok(StatementResult::Command("DROP DOMAIN".into()));
                }
            }
            Err(too_many_attempts())
        }
        other => Err(Report::unsupported(format!("the statement {other}"))),
    }
}

/// DROP TYPE, or DROP DOMAIN, which wants a domain.
fn drop_type(
    around: &Surroundings,
    name: &ObjectName,
    (if_exists, cascade): (bool, bool),
    kind: Option<&str>,
    session: &mut Session,
    changes: &mut Vec<Change>,
) -> Result<(), Report> {
    match around.user_type(name)? {
        Some(ty) if kind.is_some() && ty.domain().is_none() => {
            return Err(Report::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{}\" is not a domain", user_types::plain(name))));
        }
        Some(ty) => changes.push(user_types::drop_type(around, &ty, cascade)?),
        None if if_exists => session.notices.push(skipped("type", &user_types::plain(name))),
        None => return Err(user_types::missing_type(name)),
    }
    Ok(())
}

fn skipped(kind: &str, name: &str) -> Report {
    Report::new(SqlState::SUCCESSFUL_COMPLETION, format!("{kind} \"{name}\" does not exist, skipping"))
}

fn drop_table(
    around: &Surroundings,
    name: &ObjectName,
    if_exists: bool,
    session: &mut Session,
    changes: &mut Vec<Change>,
) -> Result<(), Report> {
    match around.table(name)? {
        Some(table) => changes.push(Change::DropTable(table.oid)),
        None if around.index(name)?.is_some() => {
            return Err(Report::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a table"))
                .with_hint("Use DROP INDEX to remove an index."));
        }
        None if if_exists => session.notices.push(skipped("table", &name.to_string())),
        None => return Err(Report::new(SqlState::UNDEFINED_TABLE, format!("table \"{name}\" does not exist"))),
    }
    Ok(())
}

fn drop_index(
    around: &Surroundings,
    name: &ObjectName,
    if_exists: bool,
    session: &mut Session,
    changes: &mut Vec<Change>,
) -> Result<(), Report> {
    match around.index(name)? {
        Some(index) => {
            let owner = around.state.table(index.table);
            let constraint =
                owner.as_ref().and_then(|t| t.uniques.iter().find(|u| u.enforced_by == catalog::objects::Enforcement::Index(index.oid)));
            if let (Some(table), Some(constraint)) = (&owner, constraint) {
                let message =
                    format!("cannot drop index {} because constraint {} on table {} requires it", index.name, constraint.name, table.name);
                return Err(Report::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
                    .with_hint(format!("You can drop constraint {} on table {} instead.", constraint.name, table.name)));
            }
            changes.push(Change::DropIndex(index.oid));
        }
        None if if_exists => session.notices.push(skipped("index", &name.to_string())),
        None => return Err(Report::new(SqlState::UNDEFINED_OBJECT, format!("index \"{name}\" does not exist"))),
    }
    Ok(())
}

fn drop_schema(
    around: &Surroundings,
    name: &ObjectName,
    if_exists: bool,
    cascade: bool,
    session: &mut Session,
    changes: &mut Vec<Change>,
) -> Result<(), Report> {
    let (_, name) = split_name(name)?;
    let Some(schema) = around.state.schema_named(&name) else {
        if if_exists {
            session.notices.push(skipped("schema", &name));
            return Ok(());
        }
        return Err(Report::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist")));
    };
    let tables: Vec<&Arc<Table>> = around.state.tables().filter(|t| t.schema == schema.oid).collect();
    if let (Some(first), false) = (tables.first(), cascade) {
        return Err(Report::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop schema {name} because other objects depend on it"),
        )
        .with_detail(format!("table {name}.{} depends on schema {name}", first.name))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    let types: Vec<_> = around.state.all_user_types().filter(|ty| ty.schema == schema.oid).collect();
    if let (Some(first), false) = (types.first(), cascade) {
        return Err(Report::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop schema {name} because other objects depend on it"),
        )
        .with_detail(format!("type {name}.{} depends on schema {name}", first.name))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    let dropped: Vec<Oid> = tables.iter().map(|t| t.oid).collect();
    changes.extend(tables.into_iter().map(|t| Change::DropTable(t.oid)));
    for ty in types {
        if around.tables_of(ty).all(|table| dropped.contains(&table)) {
            changes.push(Change::DropType(ty.oid));
        } else {
            return Err(Report::unsupported("DROP SCHEMA … CASCADE of a type that columns of other schemas have"));
        }
    }
    changes.push(Change::DropSchema(schema.oid));
    Ok(())
}

async fn create_schema(session: &mut Session, name: &SchemaName, if_not_exists: bool) -> Result<StatementResult, Report> {
    let name = match name {
        SchemaName::Simple(name) | SchemaName::NamedAuthorization(name, _) => split_name(name)?.1,
        SchemaName::UnnamedAuthorization(user) => super::folded(user),
    };
    if name.starts_with("pg_") {
        return Err(Report::new(SqlState::RESERVED_NAME, format!("unacceptable schema name \"{name}\""))
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let exists = around.state.schema_named(&name).is_some() || matches!(name.as_str(), "information_schema" | "partita");
        if exists {
            let report = Report::new(SqlState::DUPLICATE_SCHEMA, format!("schema \"{name}\" already exists"));
            if if_not_exists {
                session.notices.push(Report { message: format!("{}, skipping", report.message), ..report });
                return Ok(StatementResult::Command("CREATE SCHEMA".into()));
            }
            return Err(report);
        }
        let oid = Ids::take(session, 1).await?.oid()?;
        let change = Change::CreateSchema(Schema { oid, name: name.clone() });
        if propose(session, around.state.version(), &[change]).await?.is_some() {
            return Ok(StatementResult::Command("CREATE SCHEMA".into()));
        }
    }
    Err(too_many_attempts())
}

/// TRUNCATE by itself: the tables and their indexes get new, empty key spaces.
pub(super) async fn truncate(session: &mut Session, truncate: &Truncate) -> Result<StatementResult, Report> {
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let mut tables = Vec::with_capacity(truncate.table_names.len());
        for target in &truncate.table_names {
            tables.push(around.table(&target.name)?.ok_or_else(|| missing_relation(&target.name))?);
        }
        let parts: usize = tables.iter().map(|t| 2 + storages(&around.state, t)).sum();
        let mut ids = Ids::take(session, parts).await?;
        let mut changes = Vec::new();
        for table in &tables {
            renewed(&around.state, table, &mut ids, &mut changes)?;
        }
        if propose(session, around.state.version(), &changes).await?.is_some() {
            return Ok(StatementResult::Command("TRUNCATE TABLE".into()));
        }
    }
    Err(too_many_attempts())
}

/// Ids that new key spaces of a table and its indexes need.
fn storages(state: &CatalogState, table: &Table) -> usize {
    let partitions = |storage| state.partition_map(storage).map_or(0, |m| m.partitions.len());
    partitions(table.storage) + state.indexes_of(table).map(|i| 1 + partitions(i.storage)).sum::<usize>()
}

fn renewed(state: &CatalogState, table: &Table, ids: &mut Ids, changes: &mut Vec<Change>) -> Result<(), Report> {
    let map = state.partition_map(table.storage).ok_or_else(|| Report::internal("a table has no partition map"))?;
    let storage = ids.relation()?;
    changes.push(Change::AlterTable(Table { storage, ..table.clone() }));
    changes.push(Change::PutPartitionMap(placement::colocate(&map, storage, ids.run(map.partitions.len())?)));
    for index in state.indexes_of(table) {
        let storage = ids.relation()?;
        changes.push(Change::AlterIndex(catalog::objects::Index { storage, ..catalog::objects::Index::clone(index) }));
        if let Some(map) = state.partition_map(index.storage) {
            changes.push(Change::PutPartitionMap(placement::colocate(&map, storage, ids.run(map.partitions.len())?)));
        }
    }
    Ok(())
}

/// TRUNCATE inside a transaction block: the rows are deleted with the block's other work.
pub(super) async fn delete_all(session: &mut Session, truncate: &Truncate) -> Result<StatementResult, Report> {
    for target in &truncate.table_names {
        let text = format!("DELETE FROM {}", target.name);
        let parsed = sql::parse::parse_statements(&text)?.into_iter().next().ok_or_else(|| Report::internal("no statement"))?;
        let delete = session.prepare(&parsed, Vec::new())?;
        Box::pin(crate::execute::execute(session, &delete, Vec::new())).await?;
    }
    Ok(StatementResult::Command("TRUNCATE TABLE".into()))
}
