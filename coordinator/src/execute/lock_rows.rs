//! Locking rows at their owners.
//!
//! Rows are locked in one order, of workers, partitions and keys, by every statement: two that change the same rows wait for each other and are
//! not in a deadlock.

use std::collections::BTreeMap;

use bytes::Bytes;
use common::error::Report;
use common::ids::{CatalogVersion, PartitionId, WorkerId};
use rpc::worker_api::{FoundRow, LockMode, LockRequest, LockWait, LockedRow, PartitionRef};

use crate::target_table::TargetTable;
use crate::transaction::Transaction;
use crate::write_set::Destination;

/// Keys in one lock request.
const LOCKS_AT_ONCE: usize = 10_000;

/// Locks rows at their owners, and answers the newest row for each key, in the keys' order.
pub async fn lock_rows(
    transaction: &mut Transaction,
    target: &TargetTable,
    keys: Vec<Bytes>,
    mode: LockMode,
    wait: LockWait,
) -> Result<Vec<Option<FoundRow>>, Report> {
    lock_keys(transaction, target.version, target.destination(), keys, mode, wait).await
}

/// As [`lock_rows`], for any relation: the entries of a global index too.
pub async fn lock_keys(
    transaction: &mut Transaction,
    version: CatalogVersion,
    destination: Destination<'_>,
    keys: Vec<Bytes>,
    mode: LockMode,
    wait: LockWait,
) -> Result<Vec<Option<FoundRow>>, Report> {
    let locked = try_lock_keys(transaction, version, destination, &keys, mode, wait).await?;
    Ok(locked.into_iter().map(LockedRow::found).collect())
}

/// As [`lock_keys`], and tells which keys SKIP LOCKED has left out.
pub async fn try_lock_keys(
    transaction: &mut Transaction,
    version: CatalogVersion,
    destination: Destination<'_>,
    keys: &[Bytes],
    mode: LockMode,
    wait: LockWait,
) -> Result<Vec<LockedRow>, Report> {
    let mut by_partition: BTreeMap<(WorkerId, PartitionId), (PartitionRef, Vec<usize>)> = BTreeMap::new();
    for (i, key) in keys.iter().enumerate() {
        let (worker, partition) = destination.route(key);
        by_partition.entry((worker, partition.id)).or_insert_with(|| (partition, Vec::new())).1.push(i);
    }
    let mut locked = vec![LockedRow::Missing; keys.len()];
    for ((worker, _), (partition, mut places)) in by_partition {
        let known = transaction.touch(worker);
        let api = transaction.coordinator().worker(worker)?;
        places.sort_by(|a, b| keys[*a].cmp(&keys[*b]));
        for chunk in places.chunks(LOCKS_AT_ONCE) {
            let request = LockRequest {
                catalog_version: version,
                transaction: transaction.id(),
                relation: destination.relation,
                partition,
                keys: chunk.iter().map(|&i| keys[i].clone()).collect(),
                mode,
                wait,
                rows_max: None,
                is_known: known.get(),
            };
            let rows = api.lock(request).await?;
            known.set();
            for (&i, row) in chunk.iter().zip(rows) {
                locked[i] = row;
            }
        }
    }
    Ok(locked)
}
