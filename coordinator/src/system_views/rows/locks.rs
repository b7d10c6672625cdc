//! Locks of the whole cluster, asked of all workers.
//!
//! Rows are locked by the million: `pg_locks` shows those that somebody waits for, as PostgreSQL does, as a wait for the transaction that has the row.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use catalog::state::CatalogState;
use common::datum::Datum;
use common::ids::{RelationId, TransactionId, WorkerId};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use rpc::locks::{HeldLock, LockTarget, LockWaiter};
use rpc::worker_api::{Answer, WorkerApi};

use super::super::roles::database_oid;
use super::{FALSE, NULL, Reading, Row, TRUE, big, oid, text};
use crate::coordinator::Coordinator;

/// How long a worker may take to answer; a slower one is left out.
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// What a worker is asked.
type Question<T> = fn(Arc<dyn WorkerApi>) -> BoxFuture<'static, Answer<Vec<T>>>;

/// What all workers that answer say.
async fn ask_all<T: Send + 'static>(coordinator: &Coordinator, ask: Question<T>) -> Vec<(WorkerId, T)> {
    let workers: Vec<WorkerId> = coordinator.state().workers().map(|worker| worker.id).collect();
    let asked = workers.into_iter().filter_map(|id| Some((id, coordinator.worker(id).ok()?))).map(|(id, worker)| async move {
        let answer = tokio::time::timeout(ANSWER_WAIT, ask(worker)).await.ok().and_then(Result::ok).unwrap_or_default();
        answer.into_iter().map(|item| (id, item)).collect::<Vec<_>>()
    });
    join_all(asked).await.into_iter().flatten().collect()
}

/// Everybody who waits for a lock, and where.
pub(super) async fn all_waits(coordinator: &Coordinator) -> Vec<(WorkerId, LockWaiter)> {
    ask_all(coordinator, |worker| async move { worker.lock_waits().await }.boxed()).await
}

/// `pg_blocking_pids`: who is in the way of a session.
pub(in super::super) async fn blocking_pids(coordinator: &Coordinator, pid: i32) -> Datum {
    let waits = all_waits(coordinator).await;
    let own = waits.iter().filter(|(_, wait)| wait.owner.session == pid);
    let blockers: BTreeSet<i32> = own.flat_map(|(_, wait)| wait.blockers.iter().map(|blocker| blocker.session)).collect();
    Datum::Array(blockers.into_iter().map(Datum::Int4).collect())
}

/// As `locktype` and `wait_event` name it.
pub(super) fn lock_type(target: LockTarget) -> &'static str {
    match target {
        LockTarget::Row(_) => "transactionid",
        LockTarget::Table(_) => "relation",
        LockTarget::Advisory(_) => "advisory",
    }
}

/// A transaction's number where PostgreSQL has 32 bits for it.
pub(super) fn transaction_number(id: TransactionId) -> Datum {
    Datum::Oid(id.0 as u32)
}

fn relation(catalog: &CatalogState, relation: RelationId) -> Datum {
    catalog.table_of_storage(relation).map_or(NULL, |table| oid(table.oid))
}

pub(super) fn pg_locks(reading: Reading<'_>) -> BoxFuture<'_, Vec<Row>> {
    async move {
        let Some(coordinator) = &reading.system.coordinator else { return Vec::new() };
        let (held, waits) =
            tokio::join!(ask_all(coordinator, |worker| async move { worker.held_locks().await }.boxed()), all_waits(coordinator));
        // A table is locked at several workers.
        let mut held: Vec<HeldLock> = held.into_iter().map(|(_, lock)| lock).collect();
        held.sort_unstable_by_key(|lock| (lock.owner, lock.target, lock.mode));
        held.dedup();
        let granted = held.iter().map(|lock| Shown {
            pid: lock.owner.session,
            target: lock.target,
            transaction: None,
            mode: lock.mode.name(),
            granted: true,
            waited: None,
        });
        let waiting = waits.iter().map(|(_, wait)| Shown {
            pid: wait.owner.session,
            target: wait.target,
            transaction: wait.blockers.iter().find_map(|blocker| blocker.transaction),
            mode: if matches!(wait.target, LockTarget::Row(_)) { "ShareLock" } else { wait.mode.name() },
            granted: false,
            waited: Some(wait.waited_ms),
        });
        let mut rows: Vec<Row> = granted.chain(waiting).map(|lock| lock.row(&reading)).collect();
        let owners = held.iter().map(|lock| lock.owner).chain(waits.iter().flat_map(|(_, w)| w.blockers.iter().copied().chain([w.owner])));
        let transactions: BTreeSet<(i32, TransactionId)> = owners.filter_map(|owner| Some((owner.session, owner.transaction?))).collect();
        rows.extend(transactions.into_iter().map(|(pid, id)| transaction_row(pid, id)));
        rows
    }
    .boxed()
}

struct Shown {
    pid: i32,
    target: LockTarget,
    transaction: Option<TransactionId>,
    mode: &'static str,
    granted: bool,
    waited: Option<u64>,
}

impl Shown {
    fn row(&self, reading: &Reading<'_>) -> Row {
        let database = oid(database_oid(&reading.system.settings.database));
        let mut class = [NULL, NULL, NULL];
        let (database, table, transaction) = match self.target {
            LockTarget::Row(_) => (NULL, NULL, self.transaction.map_or(NULL, transaction_number)),
            LockTarget::Table(table) => (database, relation(reading.catalog, table), NULL),
            LockTarget::Advisory(key) => {
                let (high, low, kind) = key.parts();
                class = [Datum::Oid(high), Datum::Oid(low), Datum::Int2(kind)];
                (database, NULL, NULL)
            }
        };
        let [class, object, kind] = class;
        let since = self.waited.map(|waited| {
            let waited = i64::try_from(waited.saturating_mul(1_000)).unwrap_or(i64::MAX);
            Datum::Timestamp(reading.system.settings.statement_micros.saturating_sub(waited))
        });
        vec![
            text(lock_type(self.target)),
            database,
            table,
            NULL, // page
            NULL, // tuple
            NULL, // virtualxid
            transaction,
            class,
            object,
            kind,
            text(format!("{}/0", self.pid)),
            Datum::Int4(self.pid),
            text(self.mode),
            if self.granted { TRUE } else { FALSE },
            FALSE,
            since.unwrap_or(NULL),
        ]
    }
}

/// Every transaction holds the lock of its own number.
fn transaction_row(pid: i32, id: TransactionId) -> Row {
    let mut row = vec![text("transactionid"), NULL, NULL, NULL, NULL, NULL, transaction_number(id), NULL, NULL, NULL];
    row.extend([text(format!("{pid}/0")), Datum::Int4(pid), text("ExclusiveLock"), TRUE, FALSE, NULL]);
    row
}

/// `partita.lock_waits`: who waits for whom, and where.
pub(super) fn lock_waits(reading: Reading<'_>) -> BoxFuture<'_, Vec<Row>> {
    async move {
        let Some(coordinator) = &reading.system.coordinator else { return Vec::new() };
        let mut waits = all_waits(coordinator).await;
        waits.sort_by_key(|(worker, wait)| (wait.owner, *worker, wait.ticket));
        let row = |(worker, wait): (WorkerId, LockWaiter)| {
            let kind = if matches!(wait.target, LockTarget::Row(_)) { "row" } else { lock_type(wait.target) };
            let table = match wait.target {
                LockTarget::Row(table) | LockTarget::Table(table) => relation(reading.catalog, table),
                LockTarget::Advisory(_) => NULL,
            };
            let blockers: BTreeSet<i32> = wait.blockers.iter().map(|blocker| blocker.session).collect();
            vec![
                Datum::Int4(wait.owner.session),
                Datum::Array(blockers.into_iter().map(Datum::Int4).collect()),
                Datum::Int8(i64::from(worker.0)),
                text(kind),
                table,
                text(wait.mode.name()),
                big(wait.waited_ms),
            ]
        };
        waits.into_iter().map(row).collect()
    }
    .boxed()
}
