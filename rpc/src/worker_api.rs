//! What a worker does for coordinators and for other workers.
//!
//! # Transactions
//!
//! A statement or a transaction block is a transaction with an id from the oracle. At each worker that it touches it has a *participant*,
//! which holds row locks, provisional writes and, later, a vote:
//!
//! 1. [`WorkerApi::lock`] and [`WorkerApi::write`] take row locks; writes of a statement that commits by itself travel in
//!    [`CommitRequest::writes`] instead, so that the common statement is one message.
//! 2. One worker: [`WorkerApi::commit`] appends all groups' changes as one framed record, takes the commit timestamp after the locks are held, and answers
//!    it. Several workers: [`WorkerApi::prepare`] at all of them in one round, each with the names of all. Each takes a prepare timestamp from
//!    the oracle after its locks are held and makes its vote durable. The transaction **is committed** once all votes are durable; its
//!    commit timestamp is the largest prepare timestamp. The client is told then; [`WorkerApi::decide`] follows without anyone waiting.
//!    Before that, [`WorkerApi::undo`] voids what a worker was told to write since a timestamp: ROLLBACK TO. A savepoint itself costs no message: it is
//!    the timestamp of the last write that was answered, because every later one gets a higher one from the oracle. Locks stay.
//! 3. Who meets an undecided vote (a reader, or a participant whose coordinator is gone) asks every named participant by
//!    [`WorkerApi::vote_of`]; a participant that has not voted answers *forbidden* and will refuse that vote for ever, so the outcome is the
//!    same for everybody.
//!
//! A serializable transaction's commit or vote carries what it has read ([`Validation`]); a worker where it has only read votes too.
//!
//! # Versions and epochs
//!
//! Each request names the catalog version that it was planned with and the epoch of each partition; a worker that knows a newer epoch
//! answers SQLSTATE 55000 with `retryable` set and the message `partition map is stale`, and the coordinator plans again. A worker that knows only an older
//! version first waits (bounded) for the catalog to tell it the newer one.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use common::error::Report;
use common::ids::{CatalogVersion, Epoch, GroupId, Oid, OwnWrites, PartitionId, RelationId, Timestamp, TransactionId, WorkerId};
use futures::Stream;
use serde::{Deserialize, Serialize};

use crate::locks::{AdvisoryKey, EndOfWait, HeldLock, LockWaiter, WaitTicket};
pub use crate::locks::{LockMode, LockWait, WaitLimit};

/// The answer to a call: an error is what the client may see.
pub type Answer<T> = Result<T, Report>;

/// Batches as they come; dropping the stream cancels the work behind it.
pub type BatchStream = Pin<Box<dyn Stream<Item = Answer<RecordBatch>> + Send>>;

/// A partition as the sender believes it to be owned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct PartitionRef {
    pub id: PartitionId,
    pub epoch: Epoch,
    pub group: GroupId,
}

/// Which state a read sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ReadAt {
    /// The owner's newest committed state: for a read of one partition outside any snapshot.
    Newest,
    /// Exactly the commits at or below the timestamp.
    Snapshot(Timestamp),
}

/// What every read carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ReadContext {
    pub catalog_version: CatalogVersion,
    pub at: ReadAt,
    /// The reader's own provisional writes that it sees.
    pub own: Option<OwnWrites>,
}

/// Point reads in one partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GetRequest {
    pub context: ReadContext,
    pub relation: RelationId,
    pub partition: PartitionRef,
    /// Encoded keys, without the relation id.
    pub keys: Vec<Bytes>,
}

/// A row as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundRow {
    /// The timestamp of the commit that wrote it; [`Timestamp::MAX`] for the reader's own provisional write.
    pub version: Timestamp,
    /// The stored row ([`common::row`]).
    pub row: Bytes,
}

/// A short scan of one partition for the point path: at most `limit` rows, in key order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RangeRequest {
    pub context: ReadContext,
    pub relation: RelationId,
    pub partition: PartitionRef,
    pub lo: Bytes,
    pub hi: Option<Bytes>,
    pub reverse: bool,
    pub limit: u32,
}

/// The rows of a short scan.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RangeResponse {
    pub rows: Vec<(Bytes, FoundRow)>,
    /// Where to go on when the limit was reached: the last key given.
    pub more: bool,
}

/// What a write demands of the key's newest committed state, checked under the row's lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Precondition {
    /// There is no row: else a unique violation of the constraint, which the sender words, see [`WriteOutcome::Duplicate`].
    Absent,
    /// The row is there in this version: else [`WriteOutcome::Changed`].
    Version(Timestamp),
    /// Anything (the sender has made sure already, or does not care).
    None,
}

/// One row to write. The worker maintains the relation's local indexes itself, and checks unique ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RowWrite {
    pub key: Bytes,
    /// The stored row; `None` deletes.
    pub row: Option<Bytes>,
    pub precondition: Precondition,
}

/// Rows to write in one partition.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PartitionWrites {
    pub relation: RelationId,
    pub partition: PartitionRef,
    pub writes: Vec<RowWrite>,
    /// For a synchronous global index's entries: what the unique violation is worded with. For tables it is the primary key's oid.
    pub constraint: Option<Oid>,
}

/// How one write went. All writes of a request are applied, or none when any is not `Done`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteOutcome {
    Done,
    /// The precondition [`Precondition::Absent`] failed, or a unique local index has such an entry already.
    Duplicate {
        /// Place in the request: partition, write.
        at: (u32, u32),
        /// The constraint or unique index.
        constraint: Option<Oid>,
        /// The existing row's table key (encoded), for ON CONFLICT.
        existing: Bytes,
    },
    /// The precondition [`Precondition::Version`] failed: the row was changed or deleted since it was read.
    Changed {
        at: (u32, u32),
    },
}

/// Locks rows of one partition. Answers, for each key, the newest committed row under the lock.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LockRequest {
    pub catalog_version: CatalogVersion,
    pub transaction: TransactionId,
    pub relation: RelationId,
    pub partition: PartitionRef,
    pub keys: Vec<Bytes>,
    pub mode: LockMode,
    pub wait: LockWait,
    /// With [`WaitLimit::Skip`](crate::locks::WaitLimit::Skip): no more rows than this, the first of `keys` that can be locked.
    pub rows_max: Option<u32>,
    /// The transaction has been here before: one that is not here any more (the worker has restarted) is refused, because its locks are gone.
    pub is_known: bool,
}

/// What became of one key of a [`LockRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockedRow {
    Found(FoundRow),
    /// The key is locked, and has no row.
    Missing,
    /// It is not locked: somebody else has it, or there were rows enough.
    Skipped,
}

impl LockedRow {
    /// The row, if there is one under the lock.
    pub fn found(self) -> Option<FoundRow> {
        match self {
            Self::Found(row) => Some(row),
            Self::Missing | Self::Skipped => None,
        }
    }
}

/// Locks a table at one worker, as LOCK TABLE does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LockTableRequest {
    pub catalog_version: CatalogVersion,
    pub transaction: TransactionId,
    pub relation: RelationId,
    pub mode: LockMode,
    pub wait: LockWait,
    /// As [`LockRequest::is_known`].
    pub is_known: bool,
}

/// Provisional writes of a transaction that goes on: they are in the log and the memtable, visible to their own transaction alone.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WriteRequest {
    pub catalog_version: CatalogVersion,
    pub transaction: TransactionId,
    pub partitions: Vec<PartitionWrites>,
    pub wait: LockWait,
    /// As [`LockRequest::is_known`].
    pub is_known: bool,
    /// How often the sender has undone writes here. A request from before an undo that arrives after it is refused.
    pub undos: u32,
    /// Whether the commit will be validated, so that the keys must be remembered.
    pub is_serializable: bool,
}

/// The answer to a write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WriteResponse {
    /// Written at that timestamp, which is below those of all later writes; [`Timestamp::MIN`] when there was nothing to write.
    Written(Timestamp),
    Refused(WriteOutcome),
}

/// Voids what a transaction has written here above `after`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct UndoRequest {
    pub transaction: TransactionId,
    pub after: Timestamp,
    /// Which undo it is, from 1.
    pub undos: u32,
    /// As [`LockRequest::is_known`].
    pub is_known: bool,
}

/// What a serializable transaction's commit must hold against: nobody else may have changed, or be about to change, what it has read here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validation {
    /// What it has read, it has read at this timestamp.
    pub snapshot: Timestamp,
    pub reads: Vec<PartitionReads>,
}

/// What was read in one partition: rows, or the absence of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionReads {
    pub partition: PartitionRef,
    pub relation: RelationId,
    /// The relation is a local index: the table whose rows were read beside it. Keys are those of the index, without the partition prefix.
    pub rows_of: Option<RelationId>,
    /// From, and to (to the end without).
    pub ranges: Vec<(Bytes, Option<Bytes>)>,
}

/// The last writes of a transaction that touched this worker alone, and its commit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommitRequest {
    pub catalog_version: CatalogVersion,
    /// `None`: a statement by itself, all of whose writes are here.
    pub transaction: Option<TransactionId>,
    pub writes: Vec<PartitionWrites>,
    pub wait: LockWait,
    /// As [`LockRequest::is_known`].
    pub is_known: bool,
    /// Of a serializable transaction.
    pub validation: Option<Validation>,
}

/// The answer to a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommitResponse {
    Committed(Timestamp),
    /// Nothing was written; a transaction that had an id keeps its locks until it is decided.
    Refused(WriteOutcome),
}

/// The vote of one of several workers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PrepareRequest {
    pub catalog_version: CatalogVersion,
    pub transaction: TransactionId,
    /// All workers whose votes make the commit.
    pub participants: Vec<WorkerId>,
    pub writes: Vec<PartitionWrites>,
    pub wait: LockWait,
    /// As [`LockRequest::is_known`].
    pub is_known: bool,
    /// Of a serializable transaction.
    pub validation: Option<Validation>,
}

/// The answer to a prepare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PrepareResponse {
    /// Durable; the commit timestamp will not be below this.
    Voted(Timestamp),
    Refused(WriteOutcome),
}

/// The end of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    Committed(Timestamp),
    Aborted,
}

/// What a participant knows of its own vote.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Vote {
    Prepared(Timestamp),
    Decided(Outcome),
    /// It had not voted and never will.
    Forbidden,
}

/// The plan of a fragment: the part of a plan that runs beside the partitions that it reads.
#[derive(Clone)]
pub enum FragmentPlan {
    /// `datafusion-proto` bytes of the physical plan.
    Encoded(Bytes),
    /// The plan itself, inside one process: an `Arc<dyn ExecutionPlan>` that `query` wraps and unwraps.
    Local(Arc<dyn Any + Send + Sync>),
}

impl std::fmt::Debug for FragmentPlan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Encoded(bytes) => write!(f, "Encoded({} bytes)", bytes.len()),
            Self::Local(_) => f.write_str("Local"),
        }
    }
}

/// Runs a fragment and streams its batches.
#[derive(Clone, Debug)]
pub struct FragmentRequest {
    pub context: ReadContext,
    pub plan: FragmentPlan,
    /// The partitions that the fragment's scans name, for the epoch check.
    pub partitions: Vec<PartitionRef>,
    /// Which output partition of the plan to run.
    pub output: u32,
    /// The session settings that functions read (`sql`'s serialised form).
    pub settings: Bytes,
}

/// How far an asynchronous index is, at its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexLag {
    pub index: Oid,
    /// The worker and group whose log is read.
    pub source: (WorkerId, GroupId),
    pub watermark: Timestamp,
    pub lag_ms: u64,
    pub changes: u64,
}

/// Changes to the entries of an asynchronous global index, from one source group's log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IndexFeedRequest {
    pub catalog_version: CatalogVersion,
    pub index: Oid,
    pub source: (WorkerId, GroupId),
    /// The watermark that the sender believes the receiver to have; another one makes the receiver answer its own and change nothing.
    pub after: Timestamp,
    /// The watermark once these changes are in.
    pub up_to: Timestamp,
    pub changes: Vec<IndexFeedChange>,
}

/// One entry's change, at the commit timestamp of the row's change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IndexFeedChange {
    pub partition: PartitionRef,
    pub at: Timestamp,
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// The size of a partition at its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct PartitionSize {
    pub rows: u64,
    pub bytes: u64,
}

/// What a worker does. Two implementations: the worker itself (in one process), and the client over the network.
#[async_trait]
pub trait WorkerApi: Send + Sync {
    /// Reads rows by key; one answer for each key, in order.
    async fn get(&self, request: GetRequest) -> Answer<Vec<Option<FoundRow>>>;
    /// A short scan.
    async fn range(&self, request: RangeRequest) -> Answer<RangeResponse>;
    /// Runs a fragment.
    async fn fragment(&self, request: FragmentRequest) -> Answer<BatchStream>;
    /// Locks rows.
    async fn lock(&self, request: LockRequest) -> Answer<Vec<LockedRow>>;
    /// Locks a table until the transaction ends, against what others do at this worker.
    async fn lock_table(&self, request: LockTableRequest) -> Answer<()>;
    /// Locks an advisory key for the session that `wait` names; answers whether it has it (a wait with a limit of its own is an error when it
    /// ends, one that does not wait is `false`).
    async fn advisory_lock(&self, key: AdvisoryKey, mode: LockMode, wait: LockWait) -> Answer<bool>;
    /// Leaves a session nothing but `keep` of its lock of an advisory key.
    async fn advisory_unlock(&self, session: i32, key: AdvisoryKey, keep: Option<LockMode>) -> Answer<()>;
    /// Keeps the advisory locks of sessions; those of one that is not heard of for a while go.
    async fn keep_sessions(&self, sessions: Vec<i32>) -> Answer<()>;
    /// A session has ended: its advisory locks go.
    async fn end_session(&self, session: i32) -> Answer<()>;
    /// Everybody who waits for a lock here.
    async fn lock_waits(&self) -> Answer<Vec<LockWaiter>>;
    /// The tables and advisory keys that are locked here.
    async fn held_locks(&self) -> Answer<Vec<HeldLock>>;
    /// Ends one wait, unless it is over.
    async fn end_wait(&self, ticket: WaitTicket, why: EndOfWait) -> Answer<()>;
    /// Ends the waits of a session whose statement is cancelled.
    async fn cancel_waits(&self, session: i32) -> Answer<()>;
    /// Writes provisionally.
    async fn write(&self, request: WriteRequest) -> Answer<WriteResponse>;
    /// Voids a transaction's latest writes; answers a timestamp above theirs and below those of all later ones.
    async fn undo(&self, request: UndoRequest) -> Answer<Timestamp>;
    /// Commits on this worker alone.
    async fn commit(&self, request: CommitRequest) -> Answer<CommitResponse>;
    /// Votes.
    async fn prepare(&self, request: PrepareRequest) -> Answer<PrepareResponse>;
    /// Ends a transaction here and frees its locks; of an unknown transaction, does nothing.
    async fn decide(&self, transaction: TransactionId, outcome: Outcome) -> Answer<()>;
    /// Tells the vote, or forbids it.
    async fn vote_of(&self, transaction: TransactionId) -> Answer<Vote>;
    /// Keeps a transaction's participant alive; one that is not heard of for a while is aborted.
    async fn keep_alive(&self, transactions: Vec<TransactionId>) -> Answer<()>;
    /// Takes a batch of an asynchronous index's changes; answers the watermark that is durable now.
    async fn index_feed(&self, request: IndexFeedRequest) -> Answer<Timestamp>;
    /// Waits until the index partitions that this worker owns have seen every source up to `at`, at most `wait_ms`; answers whether they have.
    async fn index_fresh(&self, index: Oid, at: Timestamp, wait_ms: u32) -> Answer<bool>;
    /// How far the asynchronous indexes are whose partitions this worker owns.
    async fn index_lag(&self) -> Answer<Vec<IndexLag>>;
    /// Builds a new local index over the rows of the partitions that this worker owns (idempotent); answers the number of entries, or the
    /// duplicate that a unique index met.
    async fn build_index(&self, catalog_version: CatalogVersion, index: Oid) -> Answer<Result<u64, WriteOutcome>>;
    /// Sizes of partitions (estimates).
    async fn sizes(&self, partitions: Vec<(RelationId, PartitionId)>) -> Answer<Vec<PartitionSize>>;
}
