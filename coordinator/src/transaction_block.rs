//! What a session knows of BEGIN … COMMIT.
//!
//! A block is made explicit by BEGIN, or implicit by the protocol: the statements of one simple query, a pipeline up to its Sync, and a single
//! statement above READ COMMITTED. Its work at the workers ([`Transaction`]) begins with its first write or lock.
//!
//! A savepoint is a [`Mark`] in that work, taken without asking anybody. A block whose statement has failed keeps its work as long as it has a savepoint to
//! go back to; without one the work is undone at once, so that its locks are free.

use std::sync::Arc;

use common::error::Report;
use common::ids::{CatalogVersion, OwnWrites, RelationId, Timestamp, WorkerId};
use common::sqlstate::SqlState;
use query::read_log::ReadLog;
use rpc::worker_api::{LockWait, ReadAt};

use crate::coordinator::Coordinator;
use crate::isolation::{Isolation, Modes, NewModes, concurrent_change};
use crate::snapshots::Snapshot;
use crate::transaction::{Committed, Mark, SerializableReads, Transaction};
use crate::write_set::WriteSet;

struct Savepoint {
    name: String,
    mark: Mark,
    modes: Modes,
}

struct Block {
    implicit: bool,
    failed: bool,
    began_micros: i64,
    modes: Modes,
    /// A statement has read or written: the isolation level stands.
    has_queried: bool,
    /// What all statements read at, above READ COMMITTED.
    snapshot: Option<Arc<Snapshot>>,
    reads: Option<Arc<ReadLog>>,
    transaction: Option<Transaction>,
    savepoints: Vec<Savepoint>,
}

impl Block {
    fn serializable_reads(&self) -> Option<SerializableReads> {
        let (snapshot, log) = (self.snapshot.as_ref()?.at(), Arc::clone(self.reads.as_ref()?));
        Some(SerializableReads { snapshot, log })
    }
}

/// The newest version of a row that a block may change: others' changes after its snapshot are conflicts.
#[derive(Clone, Copy, Debug)]
pub struct VersionBound(Option<Timestamp>);

impl VersionBound {
    /// Whether rows of any version may be changed, as under READ COMMITTED.
    pub fn is_none(self) -> bool {
        self.0.is_none()
    }

    /// 40001 for a version that is newer. The block's own is [`Timestamp::MAX`].
    pub fn check(self, version: Timestamp) -> Result<(), Report> {
        let is_newer = self.0.is_some_and(|snapshot| version > snapshot && version != Timestamp::MAX);
        if is_newer { Err(concurrent_change(false)) } else { Ok(()) }
    }
}

/// A session's block, if it is in one.
#[derive(Default)]
pub struct TransactionBlock(Option<Box<Block>>);

impl TransactionBlock {
    /// Whether there is a block, failed ones included.
    pub fn is_begun(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a statement failed in this block.
    pub fn is_failed(&self) -> bool {
        self.0.as_ref().is_some_and(|block| block.failed)
    }

    /// Whether the client opened a block with BEGIN: what ReadyForQuery tells.
    pub fn is_explicit(&self) -> bool {
        self.0.as_ref().is_some_and(|block| !block.implicit)
    }

    /// Whether statements here commit together.
    pub fn is_open(&self) -> bool {
        self.0.as_ref().is_some_and(|block| !block.failed)
    }

    /// Whether what it has locked stays locked: as long as it is open, or can be opened again by going back to a savepoint.
    pub fn keeps_locks(&self) -> bool {
        self.0.as_ref().is_some_and(|block| !block.failed || !block.savepoints.is_empty())
    }

    /// When the block began.
    pub fn began_micros(&self) -> Option<i64> {
        self.0.as_ref().map(|block| block.began_micros)
    }

    /// The modes of the block.
    pub fn modes(&self) -> Option<Modes> {
        self.0.as_ref().map(|block| block.modes)
    }

    /// What a statement that begins now sees of this block's writes.
    pub fn own_writes(&self) -> Option<OwnWrites> {
        self.0.as_ref()?.transaction.as_ref().map(Transaction::own_writes)
    }

    /// The workers that vote on the block's writes; none when it has not written.
    pub fn voters(&self) -> Vec<WorkerId> {
        self.0.as_ref().and_then(|block| block.transaction.as_ref()).map(Transaction::voters).unwrap_or_default()
    }

    /// Whether the block has written rows (or entries) of a key space.
    pub fn has_written(&self, relation: RelationId) -> bool {
        self.0.as_ref().and_then(|block| block.transaction.as_ref()).is_some_and(|transaction| transaction.has_written(relation))
    }

    /// The snapshot of a block that keeps one.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.0.as_ref()?.snapshot.as_ref()
    }

    /// Where a read of one row reads: at the block's snapshot, or at the newest state.
    pub fn read_at(&self) -> ReadAt {
        self.snapshot().map_or(ReadAt::Newest, |snapshot| ReadAt::Snapshot(snapshot.at()))
    }

    /// Notes what a serializable block reads.
    pub fn reads(&self) -> Option<&Arc<ReadLog>> {
        self.0.as_ref()?.reads.as_ref()
    }

    /// What rows that this block wants to change must not be newer than.
    pub fn bound(&self) -> VersionBound {
        VersionBound(self.snapshot().map(|snapshot| snapshot.at()))
    }

    /// A statement failed. Without a savepoint the block's work is undone, in the background.
    pub fn statement_failed(&mut self) {
        let Some(block) = &mut self.0 else { return };
        block.failed = true;
        if block.savepoints.is_empty() {
            block.transaction = None;
            block.snapshot = None;
        }
    }

    /// Opens a block; inside one, nothing happens. Answers whether it has opened one.
    pub fn open(&mut self, began_micros: i64, implicit: bool, modes: Modes) -> bool {
        if self.0.is_some() {
            return false;
        }
        self.0 = Some(Box::new(Block {
            implicit,
            failed: false,
            began_micros,
            modes,
            has_queried: false,
            snapshot: None,
            reads: None,
            transaction: None,
            savepoints: Vec::new(),
        }));
        true
    }

    /// BEGIN inside an implicit block makes it one that only COMMIT or ROLLBACK ends.
    pub fn make_explicit(&mut self) {
        if let Some(block) = &mut self.0 {
            block.implicit = false;
        }
    }

    /// Changes the modes, as long as they can be changed.
    pub fn set_modes(&mut self, new: NewModes) -> Result<(), Report> {
        let Some(block) = &mut self.0 else { return Ok(()) };
        let refuse = |message: &str| Err(Report::new(SqlState::ACTIVE_SQL_TRANSACTION, message));
        let is_nested = !block.savepoints.is_empty();
        if let Some(isolation) = new.isolation.filter(|new| *new != block.modes.isolation) {
            if block.has_queried {
                return refuse("SET TRANSACTION ISOLATION LEVEL must be called before any query");
            }
            if is_nested {
                return refuse("SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction");
            }
            block.modes.isolation = isolation;
        }
        if let Some(read_only) = new.read_only {
            if !read_only && block.modes.read_only {
                if block.savepoints.iter().any(|savepoint| savepoint.modes.read_only) {
                    return refuse("cannot set transaction read-write mode inside a read-only transaction");
                }
                if block.has_queried {
                    return refuse("transaction read-write mode must be set before any query");
                }
            }
            block.modes.read_only = read_only;
        }
        if let Some(deferrable) = new.deferrable {
            if is_nested {
                return refuse("SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction");
            }
            if block.has_queried {
                return refuse("SET TRANSACTION [NOT] DEFERRABLE must be called before any query");
            }
            block.modes.deferrable = deferrable;
        }
        Ok(())
    }

    /// A statement that reads or writes begins: the first one of a block that keeps a snapshot takes it.
    pub async fn begin_query(&mut self, coordinator: &Coordinator) -> Result<(), Report> {
        let Some(block) = self.0.as_mut().filter(|block| !block.failed) else { return Ok(()) };
        block.has_queried = true;
        if block.snapshot.is_none() && block.modes.isolation.keeps_snapshot() {
            block.snapshot = Some(coordinator.snapshots.keep(coordinator.timestamp().await?));
            block.reads = (block.modes.isolation == Isolation::Serializable).then(Arc::default);
            // LOCK TABLE has begun the work before the snapshot.
            let reads = block.serializable_reads();
            if let Some(transaction) = &mut block.transaction {
                transaction.validate(reads);
            }
        }
        Ok(())
    }

    /// Ends the block, with its work: answers when it committed, and `None` when it wrote nothing or had failed.
    pub async fn commit(&mut self, version: CatalogVersion) -> Result<Option<Timestamp>, Report> {
        let Some(block) = self.0.take().filter(|block| !block.failed) else { return Ok(None) };
        let Some(transaction) = block.transaction else { return Ok(None) };
        match transaction.commit(version, &mut WriteSet::default(), LockWait::FOREVER).await? {
            Committed::At(at) => Ok(Some(at)),
            Committed::Refused(_) => Err(Report::internal("a commit without writes was refused")),
        }
    }

    /// Ends the block without its work.
    pub async fn rollback(&mut self) {
        if let Some(transaction) = self.0.take().and_then(|block| block.transaction) {
            transaction.abort().await;
        }
    }

    /// The block's transaction, begun now if the block has not written yet; `None` outside a block.
    pub async fn transaction(&mut self, coordinator: &Arc<Coordinator>) -> Result<Option<&mut Transaction>, Report> {
        let Some(block) = self.0.as_mut().filter(|block| !block.failed) else { return Ok(None) };
        if block.transaction.is_none() {
            let mut transaction = Transaction::begin(coordinator).await?;
            transaction.validate(block.serializable_reads());
            block.transaction = Some(transaction);
        }
        Ok(block.transaction.as_mut())
    }

    /// The place that the block's writes have reached.
    pub fn mark(&self) -> Mark {
        let transaction = self.0.as_ref().and_then(|block| block.transaction.as_ref());
        transaction.map(Transaction::mark).unwrap_or_default()
    }

    /// Undoes what was written since.
    pub async fn undo(&mut self, to: Mark) -> Result<(), Report> {
        match self.0.as_mut().and_then(|block| block.transaction.as_mut()) {
            Some(transaction) => transaction.undo(to).await,
            None => Ok(()),
        }
    }

    /// SAVEPOINT: costs no message.
    pub fn set_savepoint(&mut self, name: String) {
        let mark = self.mark();
        if let Some(block) = &mut self.0 {
            block.savepoints.push(Savepoint { name, mark, modes: block.modes });
        }
    }

    /// The place of the newest savepoint of that name.
    pub fn savepoint(&self, name: &str) -> Result<usize, Report> {
        let place = self.0.as_ref().and_then(|block| block.savepoints.iter().rposition(|savepoint| savepoint.name == name));
        let missing = || format!("savepoint \"{name}\" does not exist");
        place.ok_or_else(|| Report::new(SqlState::INVALID_SAVEPOINT_SPECIFICATION, missing()))
    }

    /// RELEASE: the savepoint and those behind it go, their work stays.
    pub fn release(&mut self, place: usize) {
        if let Some(block) = &mut self.0 {
            block.savepoints.truncate(place);
        }
    }

    /// ROLLBACK TO: the work since goes, with the savepoints behind; a failed block takes statements again.
    pub async fn roll_back_to(&mut self, place: usize) -> Result<(), Report> {
        let Some(block) = &mut self.0 else { return Ok(()) };
        block.savepoints.truncate(place + 1);
        let Some(savepoint) = block.savepoints.last() else { return Ok(()) };
        let (mark, modes) = (savepoint.mark, savepoint.modes);
        // Until the work is undone, the block has failed.
        block.failed = true;
        if let Some(transaction) = &mut block.transaction {
            transaction.undo(mark).await?;
        }
        block.modes = modes;
        block.failed = false;
        Ok(())
    }
}
