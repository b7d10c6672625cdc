//! CREATE INDEX.
//!
//! An index over a table that may have rows comes in three steps. It is proposed as *building*, and the epochs of the table's partitions rise with
//! it, so that every write planned without the index is refused and planned again. Then its entries are made: a local index's by the workers, a
//! synchronous global one's here (each row locked while its entry is written), an asynchronous one's by its feed. At last it is *ready*.

use std::collections::BTreeMap;
use std::sync::Arc;

use catalog::changes::Change;
use catalog::objects::{Index, IndexColumn, IndexScope, IndexState, Maintenance, PartitionMap, Table};
use catalog::state::CatalogState;
use common::error::Report;
use common::ids::{CatalogVersion, Epoch, Oid, PartitionId, WorkerId};
use common::sqlstate::SqlState;
use rpc::worker_api::{FoundRow, GetRequest, LockMode, PartitionRef, Precondition, ReadAt, ReadContext};
use sql::partition_clause::PartitionClause;
use sqlparser::ast::{CreateIndex, Expr};

use super::definition::{Definer, IndexDraft, names};
use super::own_rows::{self, Pieces};
use super::{ATTEMPTS_MAX, Ids, Surroundings, folded, missing_relation, propose, too_many_attempts};
use crate::execute::lock_rows::lock_rows;
use crate::result::StatementResult;
use crate::session::Session;
use crate::target_table::{SyncIndex, TargetTable};
use crate::transaction::{Committed, Transaction};
use crate::write_set::{RefusalKind, WriteSet};

/// How long the owners of an asynchronous index are asked to wait at a time.
const FRESH_WAIT_MS: u32 = 10_000;
/// How often they are asked.
const FRESH_ATTEMPTS: usize = 360;

pub(super) async fn execute(
    session: &mut Session,
    create: &CreateIndex,
    clause: Option<&PartitionClause>,
) -> Result<StatementResult, Report> {
    if let Some(predicate) = &create.predicate {
        let around = Surroundings::of(session);
        let table = around.table(&create.table_name)?.ok_or_else(|| missing_relation(&create.table_name))?;
        let columns: Vec<_> = table.visible_columns().map(|c| (c.name.clone(), c.ty)).collect();
        sql::bind_check(&predicate.to_string(), &columns, &around.settings).map_err(|e| common::error::SqlError::report(&e))?;
        return Err(Report::unsupported("a partial index"));
    }
    if create.nulls_distinct == Some(false) {
        return Err(Report::unsupported("NULLS NOT DISTINCT"));
    }
    if let Some(using) = &create.using
        && !matches!(using.to_string().to_lowercase().as_str(), "btree" | "hash")
    {
        return Err(Report::unsupported(format!("access method \"{using}\"")));
    }
    let done = || StatementResult::Command("CREATE INDEX".into());
    for _ in 0..ATTEMPTS_MAX {
        let around = Surroundings::of(session);
        let table = around.table(&create.table_name)?.ok_or_else(|| missing_relation(&create.table_name))?;
        let schema_name = around.state.schema(table.schema).map(|s| s.name.clone()).unwrap_or_default();
        let given = create.name.as_ref().map(|n| super::split_name(n).map(|(_, name)| name)).transpose()?;
        if let Some(name) = &given
            && around.state.relation_named(&schema_name, name).is_some()
        {
            let report = Report::new(SqlState::DUPLICATE_TABLE, format!("relation \"{name}\" already exists"));
            if create.if_not_exists {
                session.notices.push(Report { message: format!("{}, skipping", report.message), ..report });
                return Ok(done());
            }
            return Err(report);
        }
        let partitions = around.state.partition_map(table.storage).map_or(1, |m| m.partitions.len());
        let mut ids = Ids::take(session, 4 + partitions.max(wanted_partitions(create)?.unwrap_or(0) as usize)).await?;
        let (index, map) = define(create, clause, &around, &table, given, &mut ids)?;
        let oid = index.oid;
        let mut changes = vec![Change::CreateIndex(index)];
        changes.extend(map.map(Change::PutPartitionMap));
        changes.push(Change::PutPartitionMap(with_next_epochs(&around.state, &table)?));
        if let Some(version) = propose(session, around.state.version(), &changes).await? {
            build(session, version, oid).await?;
            return Ok(done());
        }
    }
    Err(too_many_attempts())
}

fn wanted_partitions(create: &CreateIndex) -> Result<Option<u32>, Report> {
    match option(create, "partitions") {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| invalid_option("partitions", &text)),
    }
}

fn invalid_option(name: &str, value: &str) -> Report {
    Report::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for option \"{name}\": {value}"))
}

/// An option of `WITH (name = value, …)`.
fn options(create: &CreateIndex) -> Vec<(String, String)> {
    let pair = |expr: &Expr| match expr {
        Expr::BinaryOp { left, right, .. } => Some((left.to_string().to_lowercase(), super::create_table::option_value(right))),
        Expr::Identifier(name) => Some((folded(name), "true".to_owned())),
        _ => None,
    };
    create.with.iter().filter_map(pair).collect()
}

fn option(create: &CreateIndex, name: &str) -> Option<String> {
    options(create).into_iter().find(|(n, _)| n == name).map(|(_, value)| value)
}

fn define(
    create: &CreateIndex,
    clause: Option<&PartitionClause>,
    around: &Surroundings,
    table: &Table,
    given: Option<String>,
    ids: &mut Ids,
) -> Result<(Index, Option<PartitionMap>), Report> {
    let mut columns = Vec::with_capacity(create.columns.len());
    for tree in &create.columns {
        let Expr::Identifier(ident) = &tree.column.expr else {
            return Err(Report::unsupported(format!("an index on the expression {}", tree.column.expr)));
        };
        let attnum = column_of(table, &folded(ident))?;
        let descending = matches!(tree.column.options.sort, Some(sqlparser::ast::OrderBySort::Desc));
        columns.push(IndexColumn { attnum, descending, nulls_first: tree.column.options.nulls_first.unwrap_or(descending) });
    }
    let include: Result<Vec<i16>, Report> = names(&create.include).iter().map(|name| column_of(table, name)).collect();
    let contains_partition_columns = table.partitioning.columns.iter().all(|a| columns.iter().any(|c| c.attnum == *a));
    let local = match option(create, "scope").as_deref() {
        Some("global") => false,
        Some("local") if create.unique && !contains_partition_columns => {
            return Err(Report::new(SqlState::INVALID_TABLE_DEFINITION, "a local unique index must contain the table's partition columns")
                .with_hint("Use scope = global."));
        }
        Some("local") => true,
        Some(other) => return Err(invalid_option("scope", other)),
        None => clause.is_none() && (!create.unique || contains_partition_columns),
    };
    let maintenance = match option(create, "maintenance").as_deref() {
        Some("async") if create.unique => {
            return Err(Report::new(SqlState::INVALID_TABLE_DEFINITION, "a unique index is maintained synchronously"));
        }
        Some("async") if local => {
            return Err(Report::new(SqlState::INVALID_TABLE_DEFINITION, "a local index is maintained synchronously"));
        }
        Some("async") => Maintenance::Async,
        Some("sync") | None => Maintenance::Sync,
        Some(other) => return Err(invalid_option("maintenance", other)),
    };
    for (name, _) in options(create) {
        if !matches!(name.as_str(), "scope" | "maintenance" | "partitions" | "fillfactor" | "deduplicate_items") {
            return Err(Report::new(SqlState::INVALID_PARAMETER_VALUE, format!("unrecognized parameter \"{name}\"")));
        }
    }
    let shown: Vec<String> = columns.iter().filter_map(|c| table.column(c.attnum)).map(|c| c.name.clone()).collect();
    let mut definer = Definer::of(around, table, ids);
    let name = definer.constraint_name(given, &shown.iter().map(String::as_str).collect::<Vec<_>>(), "idx");
    let draft = IndexDraft {
        name,
        columns,
        include: include?,
        unique: create.unique,
        local,
        maintenance,
        partitions: wanted_partitions(create)?,
        clause,
        state: IndexState::Building,
        options: options(create),
    };
    definer.index(table, draft)
}

fn column_of(table: &Table, name: &str) -> Result<i16, Report> {
    let column =
        table.column_named(name).ok_or_else(|| Report::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" does not exist")))?;
    Ok(column.attnum)
}

/// The table's map with all epochs risen: what was planned on the old one is refused.
pub(super) fn with_next_epochs(state: &CatalogState, table: &Table) -> Result<PartitionMap, Report> {
    let map = state.partition_map(table.storage).ok_or_else(|| Report::internal("a table has no partition map"))?;
    let mut map = PartitionMap::clone(&map);
    for partition in &mut map.partitions {
        partition.epoch = Epoch(partition.epoch.0 + 1);
    }
    Ok(map)
}

/// Makes the entries of a proposed index and lets readers use it; drops it when that fails.
pub(super) async fn build(session: &mut Session, version: CatalogVersion, index: Oid) -> Result<(), Report> {
    if session.schema_changes.is_some() {
        // A failure ends the transaction, and the index with it.
        own_entries(session, version, index).await?;
        return set_ready(session, index).await;
    }
    match entries(session, version, index).await {
        Ok(()) => set_ready(session, index).await,
        Err(error) => {
            let state = session.state();
            if state.index(index).is_some()
                && let Err(second) = session.coordinator.propose(state.version(), &[Change::DropIndex(index)]).await
            {
                tracing::warn!(error = %second, "an index that could not be built could not be dropped");
            }
            Err(error)
        }
    }
}

/// Makes the entries of an index that the open transaction has made: of rows that are committed as ever, of its own rows by writing them anew.
async fn own_entries(session: &mut Session, version: CatalogVersion, oid: Oid) -> Result<(), Report> {
    let state = session.state();
    let index = state.index(oid).ok_or_else(|| Report::internal("the new index has gone"))?;
    let table = state.table(index.table).ok_or_else(|| Report::internal("the table of the new index has gone"))?;
    let is_own = session.schema_changes.as_ref().is_some_and(|changes| changes.has_made(table.oid));
    match (is_own, session.transaction.has_written(table.storage)) {
        (true, false) => Ok(()),
        (true, true) => own_rows::write_again(session, &state, &table, &index).await,
        (false, false) => entries(session, version, oid).await,
        (false, true) => {
            Err(Report::unsupported(format!("an index on table \"{}\", whose rows this transaction has changed,", table.name)))
        }
    }
}

async fn set_ready(session: &Session, oid: Oid) -> Result<(), Report> {
    for _ in 0..ATTEMPTS_MAX {
        let state = session.state();
        let Some(index) = state.index(oid) else { return Err(Report::internal("the index has gone while it was built")) };
        let ready = Index { state: IndexState::Ready, ..Index::clone(&index) };
        if propose(session, state.version(), &[Change::AlterIndex(ready)]).await?.is_some() {
            return Ok(());
        }
    }
    Err(too_many_attempts())
}

async fn entries(session: &mut Session, version: CatalogVersion, oid: Oid) -> Result<(), Report> {
    let state = session.state();
    let index = state.index(oid).ok_or_else(|| Report::internal("the new index has gone"))?;
    let table = state.table(index.table).ok_or_else(|| Report::internal("the table of the new index has gone"))?;
    match &index.scope {
        IndexScope::Local => {
            let map = state.partition_map(table.storage).ok_or_else(|| Report::internal("a table has no partition map"))?;
            let mut workers: Vec<_> = map.partitions.iter().map(|p| p.worker).collect();
            workers.sort_unstable();
            workers.dedup();
            for worker in workers {
                if session.coordinator.worker(worker)?.build_index(version, oid).await?.is_err() {
                    return Err(not_unique(session, &state, &table, &index).await);
                }
            }
            Ok(())
        }
        IndexScope::Global { maintenance: Maintenance::Sync, .. } => sync_entries(session, &state, &table, &index).await,
        IndexScope::Global { maintenance: Maintenance::Async, .. } => async_entries(session, &state, &index).await,
    }
}

/// Names a key that is there twice, as PostgreSQL does; which one is for the rows to tell.
async fn not_unique(session: &mut Session, state: &CatalogState, table: &Table, index: &Index) -> Report {
    let names: Vec<String> = index.columns.iter().filter_map(|c| table.column(c.attnum)).map(|c| c.name.clone()).collect();
    let quoted: Vec<String> = names.iter().map(|n| types::quoting::quote_ident(n)).collect();
    let schema = state.schema(table.schema).map(|s| s.name.clone()).unwrap_or_default();
    let (list, schema, name) = (quoted.join(", "), types::quoting::quote_ident(&schema), types::quoting::quote_ident(&table.name));
    let not_null: Vec<String> = quoted.iter().map(|n| format!("{n} IS NOT NULL")).collect();
    let condition = not_null.join(" AND ");
    let shown: Vec<String> = quoted.iter().map(|n| format!("{n}::text")).collect();
    let query = format!(
        "SELECT {} FROM {schema}.{name} WHERE {condition} GROUP BY {list} HAVING count(*) > 1 ORDER BY {list} LIMIT 1",
        shown.join(" || ', ' || ")
    );
    let detail = match super::alter_table::first_text(session, &query).await {
        Ok(Some(values)) => format!("Key ({})=({values}) is duplicated.", names.join(", ")),
        Ok(None) | Err(_) => "The rows of the table have the same key twice.".to_owned(),
    };
    let mut report =
        Report::new(SqlState::UNIQUE_VIOLATION, format!("could not create unique index \"{}\"", index.name)).with_detail(detail);
    report.constraint = Some(index.name.clone());
    report
}

/// Reads the table piece by piece; each row is locked while its entry is written, so that no change slips between.
async fn sync_entries(session: &mut Session, state: &CatalogState, table: &Arc<Table>, index: &Arc<Index>) -> Result<(), Report> {
    let target = Arc::new(TargetTable::new(state, table, &session.expression_settings())?);
    let entry = SyncIndex::new(state, index, table)?;
    let mut pieces = Pieces::new(&target);
    loop {
        let rows = pieces.next(session).await?;
        if rows.is_empty() {
            return Ok(());
        }
        write_entries(session, state, &target, &entry, rows.into_iter().map(|(key, _)| key).collect()).await?;
    }
}

async fn write_entries(
    session: &mut Session,
    state: &CatalogState,
    target: &Arc<TargetTable>,
    entry: &SyncIndex,
    keys: Vec<bytes::Bytes>,
) -> Result<(), Report> {
    let wait = session.lock_wait();
    let mut own = Transaction::begin(&session.coordinator).await?;
    let rows = lock_rows(&mut own, target, keys.clone(), LockMode::ForUpdate, wait).await?;
    let mut entries = Vec::with_capacity(keys.len());
    for (key, row) in keys.into_iter().zip(rows) {
        let Some(row) = row else { continue };
        let stored = target.decode(&row.row)?;
        let (entry_key, value) = entry.entry(&stored, &key)?;
        entries.push((entry_key, value, entry.precondition(&stored)));
    }
    // A writer that knows the index already may have made a row's entry before the row was locked here.
    let there = existing_entries(session, state, entry, &entries).await?;
    let mut writes = WriteSet::default();
    for ((key, value, precondition), there) in entries.into_iter().zip(there) {
        match there {
            Some(found) if found.row == value => {}
            _ => writes.add(entry.destination(), key, Some(value), precondition),
        }
    }
    match own.commit(state.version(), &mut writes, wait).await? {
        Committed::At(_) => Ok(()),
        Committed::Refused(refusal) if matches!(refusal.kind, RefusalKind::Duplicate { .. }) => {
            Err(not_unique(session, state, &target.table, &entry.index).await)
        }
        Committed::Refused(_) => Err(Report::internal("an entry of a new index was refused")),
    }
}

async fn existing_entries(
    session: &Session,
    state: &CatalogState,
    entry: &SyncIndex,
    entries: &[(bytes::Bytes, bytes::Bytes, Precondition)],
) -> Result<Vec<Option<FoundRow>>, Report> {
    let destination = entry.destination();
    let mut by_partition: BTreeMap<(WorkerId, PartitionId), (PartitionRef, Vec<usize>)> = BTreeMap::new();
    for (at, (key, ..)) in entries.iter().enumerate() {
        let (worker, partition) = destination.route(key);
        by_partition.entry((worker, partition.id)).or_insert_with(|| (partition, Vec::new())).1.push(at);
    }
    let mut found = vec![None; entries.len()];
    let context = ReadContext { catalog_version: state.version(), at: ReadAt::Newest, own: None };
    for ((worker, _), (partition, places)) in by_partition {
        let keys = places.iter().map(|at| entries[*at].0.clone()).collect();
        let request = GetRequest { context, relation: entry.index.storage, partition, keys };
        let rows = session.coordinator.worker(worker)?.get(request).await?;
        for (at, row) in places.into_iter().zip(rows) {
            found[at] = row;
        }
    }
    Ok(found)
}

/// The feed builds the index by itself: wait until it has everything of now.
async fn async_entries(session: &Session, state: &CatalogState, index: &Index) -> Result<(), Report> {
    let now = session.coordinator.timestamp().await?;
    let map = state.partition_map(index.storage).ok_or_else(|| Report::internal("a global index has no partition map"))?;
    let mut workers: Vec<_> = map.partitions.iter().map(|p| p.worker).collect();
    workers.sort_unstable();
    workers.dedup();
    for worker in workers {
        let mut attempts = 0;
        while !session.coordinator.worker(worker)?.index_fresh(index.oid, now, FRESH_WAIT_MS).await? {
            attempts += 1;
            if attempts >= FRESH_ATTEMPTS {
                return Err(Report::new(SqlState::QUERY_CANCELED, format!("index \"{}\" did not become complete in time", index.name)));
            }
        }
    }
    Ok(())
}
