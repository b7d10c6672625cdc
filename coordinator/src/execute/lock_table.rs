//! LOCK TABLE: at each worker that has partitions of the table, in the order of the workers. What it means there is in `worker::table_locks`.

use std::collections::BTreeSet;

use common::error::{Report, SqlError};
use common::ids::WorkerId;
use common::sqlstate::SqlState;
use rpc::worker_api::{LockMode, LockTableRequest, WaitLimit};
use sql::schema::RelationKind;
use sqlparser::ast::{Lock, LockTableMode};

use crate::prepared::Prepared;
use crate::result::StatementResult;
use crate::session::Session;

/// Runs it.
pub async fn execute(session: &mut Session, prepared: &Prepared, lock: &Lock) -> Result<StatementResult, Report> {
    if !session.transaction.is_open() {
        return Err(Report::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, "LOCK TABLE can only be used in transaction blocks"));
    }
    let mode = mode_of(lock.lock_mode.as_ref());
    let wait = session.lock_wait();
    let wait = if lock.nowait { wait.with_limit(WaitLimit::No) } else { wait };
    let settings = session.expression_settings();
    let coordinator = std::sync::Arc::clone(&session.coordinator);
    for target in &lock.tables {
        let info = sql::find_relation(&target.name, prepared.view.as_ref(), &settings).map_err(|e| e.report())?;
        if info.kind != RelationKind::Table {
            continue;
        }
        let state = prepared.view.state();
        let missing = || Report::internal(format!("table \"{}\" has no partition map", info.name));
        let storage = state.table(info.oid).ok_or_else(missing)?.storage;
        let map = state.partition_map(storage).ok_or_else(missing)?;
        let workers: BTreeSet<WorkerId> = map.partitions.iter().map(|partition| partition.worker).collect();
        let Some(transaction) = session.transaction.transaction(&coordinator).await? else { continue };
        for worker in workers {
            let known = transaction.touch(worker);
            let (catalog_version, transaction) = (state.version(), transaction.id());
            let request = LockTableRequest { catalog_version, transaction, relation: storage, mode, wait, is_known: known.get() };
            coordinator.worker(worker)?.lock_table(request).await?;
            known.set();
        }
    }
    Ok(StatementResult::Command("LOCK TABLE".to_owned()))
}

fn mode_of(mode: Option<&LockTableMode>) -> LockMode {
    match mode {
        None | Some(LockTableMode::AccessExclusive) => LockMode::AccessExclusive,
        Some(LockTableMode::AccessShare) => LockMode::AccessShare,
        Some(LockTableMode::RowShare) => LockMode::RowShare,
        Some(LockTableMode::RowExclusive) => LockMode::RowExclusive,
        Some(LockTableMode::ShareUpdateExclusive) => LockMode::ShareUpdateExclusive,
        Some(LockTableMode::Share) => LockMode::Share,
        Some(LockTableMode::ShareRowExclusive) => LockMode::ShareRowExclusive,
        Some(LockTableMode::Exclusive) => LockMode::Exclusive,
    }
}
