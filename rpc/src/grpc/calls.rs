//! What can be asked of a node, as it is serialised.

use bytes::Bytes;
use common::ids::{CatalogVersion, Oid, PartitionId, RelationId, Timestamp, TransactionId, WorkerId};
use serde::{Deserialize, Serialize};

use crate::catalog_api::{RegisterRequest, SequenceCall};
use crate::error::RpcError;
use crate::locks::{AdvisoryKey, EndOfWait, LockMode, LockWait, WaitTicket};
use crate::worker_api::{
    CommitRequest, FragmentPlan, FragmentRequest, GetRequest, IndexFeedRequest, LockRequest, LockTableRequest, Outcome, PartitionRef,
    PrepareRequest, RangeRequest, ReadContext, UndoRequest, WriteRequest,
};

/// A request with one answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Call {
    Worker(WorkerCall),
    Catalog(CatalogCall),
}

/// A request with many answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum StreamCall {
    Fragment(EncodedFragment),
    Watch,
}

/// The methods of [`crate::worker_api::WorkerApi`] that have one answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum WorkerCall {
    Get(GetRequest),
    Range(RangeRequest),
    Lock(LockRequest),
    LockTable(LockTableRequest),
    AdvisoryLock(AdvisoryKey, LockMode, LockWait),
    AdvisoryUnlock(i32, AdvisoryKey, Option<LockMode>),
    KeepSessions(Vec<i32>),
    EndSession(i32),
    LockWaits,
    HeldLocks,
    EndWait(WaitTicket, EndOfWait),
    CancelWaits(i32),
    Write(WriteRequest),
    Undo(UndoRequest),
    Commit(CommitRequest),
    Prepare(PrepareRequest),
    Decide(TransactionId, Outcome),
    VoteOf(TransactionId),
    KeepAlive(Vec<TransactionId>),
    IndexFeed(IndexFeedRequest),
    IndexFresh { index: Oid, at: Timestamp, wait_ms: u32 },
    IndexLag,
    BuildIndex(CatalogVersion, Oid),
    Sizes(Vec<(RelationId, PartitionId)>),
}

/// The methods of [`crate::catalog_api::CatalogApi`] that have one answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum CatalogCall {
    Propose(CatalogVersion, Bytes),
    Timestamps(u32),
    AllocateIds(u32),
    Sequence(Oid, SequenceCall),
    Register(RegisterRequest),
    Heartbeat(WorkerId),
    OldestSnapshot(String, Timestamp),
}

/// [`FragmentRequest`] with a plan that can be sent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EncodedFragment {
    context: ReadContext,
    plan: Bytes,
    partitions: Vec<PartitionRef>,
    output: u32,
    settings: Bytes,
}

impl EncodedFragment {
    /// The request as it is sent to `peer`.
    pub(crate) fn new(request: FragmentRequest, peer: &str) -> Result<Self, RpcError> {
        let FragmentRequest { context, plan, partitions, output, settings } = request;
        match plan {
            FragmentPlan::Encoded(plan) => Ok(Self { context, plan, partitions, output, settings }),
            FragmentPlan::Local(_) => Err(RpcError::LocalPlan { peer: peer.to_owned() }),
        }
    }

    /// The request as it was meant.
    pub(crate) fn into_request(self) -> FragmentRequest {
        let Self { context, plan, partitions, output, settings } = self;
        FragmentRequest { context, plan: FragmentPlan::Encoded(plan), partitions, output, settings }
    }
}
