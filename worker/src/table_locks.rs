//! LOCK TABLE. Ordinary statements pay nothing for it while nobody uses it.
//!
//! A table is locked at each worker that has partitions of it, one worker after the other. Only the modes that LOCK TABLE asks for are in the
//! lock table; that somebody writes the table is known from [`crate::writers`] already. So at one worker:
//!
//! 1. Who locks the table announces it ([`LockTable::announce_table`]). From now on every writer, and everybody who locks rows, takes ROW
//!    EXCLUSIVE or ROW SHARE on the table too ([`Core::enter_table`]), and so waits in the same queue as everybody else.
//! 2. It takes its mode in the lock table.
//! 3. A mode that no writer may be beside waits for the writers that were there before the announcement; they are entered before they look
//!    for announcements, so that one of both sees the other.
//!
//! Readers hold nothing: with versions of rows they disturb nobody. ACCESS EXCLUSIVE therefore keeps out writers and row locks, not
//! plain reads.

use std::sync::Arc;
use std::time::Duration;

use catalog::state::CatalogState;
use common::ids::{CatalogVersion, RelationId};
use rpc::locks::{EndOfWait, LockMode, LockTarget, LockWait, WaitLimit};
use rpc::worker_api::{LockTableRequest, PartitionWrites};
use tokio::time::Instant;

use crate::core::Core;
use crate::error::{Result, WorkerError};
use crate::locks::{Held, LockKey, LockTable, Owner};
use crate::transactions::unless_aborted;
use crate::writers::Writing;

/// Somebody locks a table, or is about to.
#[derive(Debug)]
pub(crate) struct AnnouncedTable {
    locks: Arc<LockTable>,
    relation: RelationId,
}

impl Drop for AnnouncedTable {
    fn drop(&mut self) {
        self.locks.withdraw_table(self.relation);
    }
}

impl Core {
    /// See [`rpc::worker_api::WorkerApi::lock_table`].
    pub(crate) async fn lock_table(self: &Arc<Self>, request: LockTableRequest) -> Result<()> {
        let state = self.state(request.catalog_version).await?;
        let (participant, _turn) = self.turn(request.transaction, request.wait.session, request.is_known).await?;
        let owner = Owner::Transaction(request.transaction);
        self.locks.announce_table(request.relation);
        let announced = AnnouncedTable { locks: Arc::clone(&self.locks), relation: request.relation };
        let before = self.writers.next_number();
        let mut held = Held::new(&self.locks, owner);
        let locked = unless_aborted(&participant, async {
            let key = LockKey::Table(request.relation);
            if request.wait.limit != WaitLimit::No || !self.take_now(&mut held, &key, request.mode).await? {
                held.take(key, request.mode, request.wait).await?;
            }
            if request.mode.conflicts().contains(LockMode::RowExclusive) {
                self.wait_for_writers(owner, before, request).await?;
            }
            Ok(())
        });
        locked.await.map_err(|error| error.naming_relation(&state))?;
        participant.keep(held);
        participant.keep_table(announced);
        Ok(())
    }

    /// Waits until nobody else writes the table who began before it was announced.
    async fn wait_for_writers(&self, owner: Owner, before: u64, request: LockTableRequest) -> Result<()> {
        let mut wait = None;
        let limit = match request.wait.limit {
            WaitLimit::Millis(limit) => Some(Instant::now() + Duration::from_millis(u64::from(limit))),
            WaitLimit::Forever | WaitLimit::No | WaitLimit::Skip => None,
        };
        loop {
            let left = self.writers.left();
            tokio::pin!(left);
            left.as_mut().enable();
            let present = self.writers.present(request.relation, before, owner);
            if present.is_empty() {
                return Ok(());
            }
            if matches!(request.wait.limit, WaitLimit::No | WaitLimit::Skip) {
                if self.await_outcomes(present.into_iter()).await {
                    continue;
                }
                return Err(WorkerError::LockNotAvailable(LockTarget::Table(request.relation)));
            }
            let target = LockTarget::Table(request.relation);
            let noted = wait.get_or_insert_with(|| self.locks.note_wait(owner, target, request.mode, request.wait));
            noted.set_blockers(present);
            let too_late = async {
                match limit {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = left => {}
                why = noted.ended() => return Err(match why {
                    EndOfWait::Deadlock(detail) => WorkerError::Deadlock { detail },
                    EndOfWait::Canceled => WorkerError::WaitCanceled,
                }),
                () = too_late => return Err(WorkerError::LockTimeout),
            }
        }
    }

    /// Takes what a statement holds of the tables that it writes or locks rows of, where somebody has announced to lock them.
    pub(crate) async fn enter_table(&self, relation: RelationId, mode: LockMode, held: &mut Held, wait: LockWait) -> Result<()> {
        if !self.must_enter_table(relation, held.owner()) {
            return Ok(());
        }
        // SKIP LOCKED and NOWAIT are about rows.
        let wait = if matches!(wait.limit, WaitLimit::No | WaitLimit::Skip) { wait.with_limit(WaitLimit::Forever) } else { wait };
        held.take(LockKey::Table(relation), mode, wait).await
    }

    /// Whether a writer must take the table's lock: not one who has written the table before it was announced, for whom the other waits.
    fn must_enter_table(&self, relation: RelationId, owner: Owner) -> bool {
        self.locks.is_table_announced(relation) && !self.writers.is_present(relation, owner)
    }

    /// Enters a writer of these partitions, if they are this worker's, and into the queues of tables that somebody locks.
    pub(crate) async fn admit_writes(
        &self,
        version: CatalogVersion,
        writes: &[PartitionWrites],
        held: &mut Held,
        wait: LockWait,
    ) -> Result<(Arc<CatalogState>, Writing)> {
        self.state(version).await?;
        loop {
            for part in writes {
                self.enter_table(part.relation, LockMode::RowExclusive, held, wait).await?;
            }
            let owner = held.owner();
            let was_present = |relation| self.writers.is_present(relation, owner);
            let fresh: Vec<RelationId> = writes.iter().map(|part| part.relation).filter(|relation| !was_present(*relation)).collect();
            let (state, writing) = self.writers.enter(&self.cache, writes.iter().map(|part| part.relation), owner);
            // Announced between the look and the entering: once more, or each would wait for the other.
            let is_late = |relation: &RelationId| {
                self.locks.is_table_announced(*relation) && !held.holds(&LockKey::Table(*relation), LockMode::RowExclusive)
            };
            if fresh.iter().any(is_late) {
                continue;
            }
            for part in writes {
                self.check(&state, part.relation, part.partition)?;
            }
            return Ok((state, writing));
        }
    }
}
