//! DROP, TRUNCATE, and schemas.

use catalog::changes::Change;
use catalog::objects::{Schema, Sequence, SequencePosition, Table};
use catalog::{placement, state::CatalogState};
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use sqlparser::ast::{DropBehavior, ObjectName, ObjectType, SchemaName, Statement, Truncate, TruncateIdentityOption};

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
                ObjectType::Sequence => "DROP SEQUENCE",
                ObjectType::View => "DROP VIEW",
                ObjectType::MaterializedView if *if_exists => {
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
                let mut gone = Vec::new();
                for name in names {
                    match object_type {
                        ObjectType::Type => drop_type(&around, name, (*if_exists, *cascade), None, session, &mut changes)?,
                        ObjectType::Sequence => sequence(&around, name, *if_exists, *cascade, session, &mut changes)?,
                        ObjectType::Table => gone.extend(found_table(&around, name, *if_exists, session)?),
                        ObjectType::View => gone.extend(found_view(&around, name, *if_exists, session)?),
                        ObjectType::Index => drop_index(&around, name, *if_exists, session, &mut changes)?,
                        _ => drop_schema(&around, name, *if_exists, *cascade, session, &mut changes)?,
                    }
                }
                super::view::drop_dependents(&around, session, &gone, *cascade, &mut changes)?;
                changes.extend(gone.iter().map(|oid| match object_type {
                    ObjectType::View => Change::DropView(*oid),
                    _ => Change::DropTable(*oid),
                }));
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

fn sequence(
    around: &Surroundings,
    name: &ObjectName,
    if_exists: bool,
    cascade: bool,
    session: &mut Session,
    changes: &mut Vec<Change>,
) -> Result<(), Report> {
    match around.sequence(name)? {
        Some(sequence) => super::sequence::drop_sequence(around, &sequence, cascade, session, changes),
        None => not_found(around, name, ("sequence", "a"), if_exists, session).map(|_| ()),
    }
}

fn found_table(around: &Surroundings, name: &ObjectName, if_exists: bool, session: &mut Session) -> Result<Option<Oid>, Report> {
    match around.table(name)? {
        Some(table) => Ok(Some(table.oid)),
        None => not_found(around, name, ("table", "a"), if_exists, session),
    }
}

fn found_view(around: &Surroundings, name: &ObjectName, if_exists: bool, session: &mut Session) -> Result<Option<Oid>, Report> {
    match around.view(name)? {
        Some(view) => Ok(Some(view.oid)),
        None => not_found(around, name, ("view", "a"), if_exists, session),
    }
}

/// What there is in place of the object that was to be dropped: something of another kind, or nothing.
fn not_found(
    around: &Surroundings,
    name: &ObjectName,
    (kind, article): (&str, &str),
    if_exists: bool,
    session: &mut Session,
) -> Result<Option<Oid>, Report> {
    let (schema, bare) = split_name(name)?;
    let other = if around.table(name)?.is_some() {
        Some(("TABLE", "a table"))
    } else if around.view(name)?.is_some() {
        Some(("VIEW", "a view"))
    } else if around.sequence(name)?.is_some() {
        Some(("SEQUENCE", "a sequence"))
    } else if around.index(name)?.is_some() {
        Some(("INDEX", "an index"))
    } else {
        None
    };
    if let Some((verb, what)) = other {
        return Err(Report::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{bare}\" is not {article} {kind}"))
            .with_hint(format!("Use DROP {verb} to remove {what}.")));
    }
    if let Some(schema) = schema.filter(|s| around.state.schema_named(s).is_none() && !crate::system_views::schema_exists(s)) {
        if if_exists {
            session.notices.push(skipped("schema", &schema));
            return Ok(None);
        }
        return Err(Report::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{schema}\" does not exist")));
    }
    if if_exists {
        session.notices.push(skipped(kind, &bare));
        return Ok(None);
    }
    Err(Report::new(SqlState::UNDEFINED_TABLE, format!("{kind} \"{name}\" does not exist")))
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
        None => {
            if let Some((table, _)) = super::rename::key_of(around, name)? {
                let index = split_name(name)?.1;
                let message = format!("cannot drop index {index} because constraint {index} on table {} requires it", table.name);
                return Err(Report::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message)
                    .with_hint(format!("You can drop constraint {index} on table {} instead.", table.name)));
            }
            not_found(around, name, ("index", "an"), if_exists, session).map_err(|error| match error.sqlstate {
                SqlState::UNDEFINED_TABLE => Report { sqlstate: SqlState::UNDEFINED_OBJECT, ..error },
                _ => error,
            })?;
        }
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
    let tables = around.state.tables().filter(|t| t.schema == schema.oid);
    let sequences = around.state.sequences().filter(|s| s.schema == schema.oid && s.owner.is_none());
    let views = around.state.views().filter(|v| v.schema == schema.oid);
    let mut parts: Vec<(Oid, String, Change)> = tables
        .map(|t| (t.oid, format!("table {}", shown(around, schema, &t.name)), Change::DropTable(t.oid)))
        .chain(views.map(|v| (v.oid, format!("view {}", shown(around, schema, &v.name)), Change::DropView(v.oid))))
        .chain(sequences.map(|s| (s.oid, format!("sequence {}", shown(around, schema, &s.name)), Change::DropSequence(s.oid))))
        .collect();
    let types: Vec<_> = around.state.all_user_types().filter(|ty| ty.schema == schema.oid).collect();
    for ty in &types {
        parts.push((ty.oid, format!("type {}", shown(around, schema, &ty.name)), Change::DropType(ty.oid)));
    }
    let dropped: Vec<Oid> = parts.iter().map(|(oid, ..)| *oid).collect();
    if cascade && types.iter().any(|ty| around.tables_of(ty).any(|table| !dropped.contains(&table))) {
        return Err(Report::unsupported("DROP SCHEMA … CASCADE of a type that columns of other schemas have"));
    }
    parts.sort_by_key(|(oid, ..)| *oid);
    if !parts.is_empty() && !cascade {
        let lines: Vec<String> = parts.iter().map(|(_, what, _)| format!("{what} depends on schema {name}")).collect();
        return Err(Report::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop schema {name} because other objects depend on it"),
        )
        .with_detail(lines.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
    }
    if !parts.is_empty() {
        session.notices.push(super::cascades_to(&parts.iter().map(|(_, what, _)| what.clone()).collect::<Vec<_>>()));
    }
    changes.extend(parts.into_iter().map(|(_, _, change)| change));
    changes.push(Change::DropSchema(schema.oid));
    Ok(())
}

/// The name of something in a schema, qualified unless the search path finds it.
fn shown(around: &Surroundings, schema: &Schema, name: &str) -> String {
    use types::quoting::quote_ident;
    let found = around.settings.search_path.iter().find_map(|path| around.state.relation_named(path, name));
    if found.is_some() && found == around.state.relation_named(&schema.name, name) {
        return quote_ident(name);
    }
    format!("{}.{}", quote_ident(&schema.name), quote_ident(name))
}

/// 42939 for the name of a schema that could be the system's.
pub(super) fn refuse_system_schema_name(name: &str) -> Result<(), Report> {
    if name.starts_with("pg_") {
        return Err(Report::new(SqlState::RESERVED_NAME, format!("unacceptable schema name \"{name}\""))
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    Ok(())
}

async fn create_schema(session: &mut Session, name: &SchemaName, if_not_exists: bool) -> Result<StatementResult, Report> {
    let name = match name {
        SchemaName::Simple(name) | SchemaName::NamedAuthorization(name, _) => split_name(name)?.1,
        SchemaName::UnnamedAuthorization(user) => super::folded(user),
    };
    refuse_system_schema_name(&name)?;
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
            if matches!(truncate.identity, Some(TruncateIdentityOption::Restart)) {
                changes.extend(restarted(&around.state, table));
            }
        }
        if propose(session, around.state.version(), &changes).await?.is_some() {
            return Ok(StatementResult::Command("TRUNCATE TABLE".into()));
        }
    }
    Err(too_many_attempts())
}

/// The sequences that go with a table, begun again.
fn restarted<'a>(state: &'a CatalogState, table: &Table) -> impl Iterator<Item = Change> + use<'a> {
    state.sequences_of(table.oid).map(|s| {
        let position = SequencePosition { last: s.start, is_called: false };
        Change::PutSequence(Sequence::clone(s).restarted(position))
    })
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
