//! A worker and a catalog that answer from a script and note what they were asked.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::{Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use bytes::Bytes;
use common::error::Report;
use common::ids::{CatalogVersion, GroupId, Oid, PartitionId, RelationId, Timestamp, TransactionId, WorkerId};
use common::sqlstate::SqlState;
use futures::{Stream, StreamExt, stream};
use rpc::catalog_api::{CatalogApi, RegisterRequest, SequenceAnswer, SequenceCall, StateStream};
use rpc::locks::{AdvisoryKey, EndOfWait, HeldLock, LockMode, LockOwner, LockTarget, LockWait, LockWaiter, WaitTicket};
use rpc::worker_api::{
    Answer, BatchStream, CommitRequest, CommitResponse, FoundRow, FragmentPlan, FragmentRequest, GetRequest, IndexFeedRequest, IndexLag,
    LockRequest, LockTableRequest, LockedRow, Outcome, PartitionSize, PrepareRequest, PrepareResponse, RangeRequest, RangeResponse,
    UndoRequest, Vote, WorkerApi, WriteOutcome, WriteRequest, WriteResponse,
};
use tokio::sync::watch;

/// [`WorkerApi::vote_of`] this transaction never answers.
pub(crate) const WAITS_FOREVER: u64 = 999;

/// An error with everything in it.
pub(crate) fn failure() -> Report {
    Report {
        sqlstate: SqlState::UNIQUE_VIOLATION,
        message: "duplicate key „ä“".to_owned(),
        detail: Some("Key (a)=(1) already exists.".to_owned()),
        hint: Some("Try another one.".to_owned()),
        position: Some(17),
        schema: Some("public".to_owned()),
        table: Some("t".to_owned()),
        column: Some("a".to_owned()),
        data_type: Some("int4".to_owned()),
        constraint: Some("t_pkey".to_owned()),
        context: Some("COPY t, line 3".to_owned()),
        retryable: true,
    }
}

/// A batch of two columns, with nulls.
pub(crate) fn batch(number: i64, rows: i64) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)]);
    let ids: Int64Array = (0..rows).map(|i| number * 1_000_000 + i).collect();
    let names: StringArray = (0..rows).map(|i| (i % 3 != 0).then(|| format!("name {i}"))).collect();
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), Arc::new(names)]).unwrap()
}

/// A batch of 40 MB.
pub(crate) fn large_batch() -> RecordBatch {
    let text = "x".repeat(10_000_000);
    let texts = StringArray::from(vec![text.as_str(); 4]);
    let schema = Schema::new(vec![Field::new("text", texts.data_type().clone(), false)]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(texts)]).unwrap()
}

fn rows_only(rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).unwrap()
}

pub(crate) fn index_lag() -> IndexLag {
    IndexLag { index: Oid(20000), source: (WorkerId(1), GroupId(2)), watermark: Timestamp(5), lag_ms: 6, changes: 7 }
}

/// Counts itself when it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A stream that never ends.
struct Endless {
    produced: Arc<AtomicUsize>,
    batch: RecordBatch,
    _counted: Counted,
}

impl Stream for Endless {
    type Item = Answer<RecordBatch>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.produced.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(Some(Ok(self.batch.clone())))
    }
}

#[derive(Default)]
pub(crate) struct FakeWorker {
    last: Mutex<String>,
    pub(crate) produced: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
    waiting: AtomicUsize,
}

impl FakeWorker {
    fn note(&self, request: &impl Debug) {
        *self.last.lock().unwrap() = format!("{request:?}");
    }

    /// The last request was this one; a string stands for its own debug form.
    pub(crate) fn assert_last(&self, request: &impl Debug) {
        let expected = format!("{request:?}");
        let last = self.last.lock().unwrap();
        assert!(*last == expected || format!("{last:?}") == expected, "{last} is not {expected}");
    }

    pub(crate) async fn wait_for_dropped(&self, count: usize) {
        while self.dropped.load(Ordering::SeqCst) < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn wait_for_waiting(&self, count: usize) {
        while self.waiting.load(Ordering::SeqCst) < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[async_trait]
impl WorkerApi for FakeWorker {
    async fn get(&self, request: GetRequest) -> Answer<Vec<Option<FoundRow>>> {
        self.note(&request);
        let row = |key: &Bytes| Bytes::from([b"row of ", key.as_ref()].concat());
        Ok(request.keys.iter().map(|k| (k != "none").then(|| FoundRow { version: Timestamp(11), row: row(k) })).collect())
    }

    async fn range(&self, request: RangeRequest) -> Answer<RangeResponse> {
        self.note(&request);
        let row = FoundRow { version: Timestamp::MAX, row: Bytes::from_static(b"row") };
        Ok(RangeResponse { rows: vec![(Bytes::from_static(b"k"), row)], more: true })
    }

    async fn fragment(&self, request: FragmentRequest) -> Answer<BatchStream> {
        *self.last.lock().unwrap() = format!("{request:?}");
        let FragmentPlan::Encoded(plan) = request.plan else { panic!("a local plan has crossed the network") };
        let batches = match plan.as_ref() {
            b"refuse" => return Err(failure()),
            b"fail in the middle" => vec![Ok(batch(0, 10)), Err(failure()), Ok(batch(1, 10))],
            b"three" => vec![Ok(batch(0, 10)), Ok(batch(1, 0)), Ok(batch(2, 100_000))],
            b"no columns" => vec![Ok(rows_only(5)), Ok(rows_only(0)), Ok(rows_only(7))],
            b"large" => vec![Ok(large_batch())],
            b"endless" => {
                let counted = Counted(Arc::clone(&self.dropped));
                return Ok(Endless { produced: Arc::clone(&self.produced), batch: batch(0, 8192), _counted: counted }.boxed());
            }
            _ => Vec::new(),
        };
        Ok(stream::iter(batches).boxed())
    }

    async fn lock(&self, request: LockRequest) -> Answer<Vec<LockedRow>> {
        self.note(&request);
        Ok(vec![LockedRow::Missing, LockedRow::Skipped])
    }

    async fn lock_table(&self, request: LockTableRequest) -> Answer<()> {
        self.note(&request);
        Ok(())
    }

    async fn advisory_lock(&self, key: AdvisoryKey, mode: LockMode, wait: LockWait) -> Answer<bool> {
        self.note(&(key, mode, wait));
        Ok(true)
    }

    async fn advisory_unlock(&self, session: i32, key: AdvisoryKey, keep: Option<LockMode>) -> Answer<()> {
        self.note(&(session, key, keep));
        Ok(())
    }

    async fn keep_sessions(&self, sessions: Vec<i32>) -> Answer<()> {
        self.note(&sessions);
        Ok(())
    }

    async fn end_session(&self, session: i32) -> Answer<()> {
        self.note(&session);
        Ok(())
    }

    async fn lock_waits(&self) -> Answer<Vec<LockWaiter>> {
        Ok(vec![lock_waiter()])
    }

    async fn held_locks(&self) -> Answer<Vec<HeldLock>> {
        let LockWaiter { owner, target, mode, .. } = lock_waiter();
        Ok(vec![HeldLock { owner, target, mode }])
    }

    async fn end_wait(&self, ticket: WaitTicket, why: EndOfWait) -> Answer<()> {
        self.note(&(ticket, why));
        Ok(())
    }

    async fn cancel_waits(&self, session: i32) -> Answer<()> {
        self.note(&session);
        Ok(())
    }

    async fn write(&self, request: WriteRequest) -> Answer<WriteResponse> {
        self.note(&request);
        let duplicate = WriteOutcome::Duplicate { at: (0, 1), constraint: Some(Oid(17000)), existing: Bytes::from_static(b"there") };
        Ok(WriteResponse::Refused(duplicate))
    }

    async fn undo(&self, request: UndoRequest) -> Answer<Timestamp> {
        self.note(&request);
        Ok(request.after)
    }

    async fn commit(&self, request: CommitRequest) -> Answer<CommitResponse> {
        self.note(&request);
        Ok(CommitResponse::Committed(Timestamp(u64::MAX - 1)))
    }

    async fn prepare(&self, request: PrepareRequest) -> Answer<PrepareResponse> {
        self.note(&request);
        Ok(PrepareResponse::Refused(WriteOutcome::Changed { at: (1, 2) }))
    }

    async fn decide(&self, transaction: TransactionId, outcome: Outcome) -> Answer<()> {
        self.note(&(transaction, outcome));
        Ok(())
    }

    async fn vote_of(&self, transaction: TransactionId) -> Answer<Vote> {
        match transaction.0 {
            0 => Err(failure()),
            WAITS_FOREVER => {
                let _counted = Counted(Arc::clone(&self.dropped));
                self.waiting.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            }
            _ => Ok(Vote::Decided(Outcome::Aborted)),
        }
    }

    async fn keep_alive(&self, transactions: Vec<TransactionId>) -> Answer<()> {
        self.note(&transactions);
        Ok(())
    }

    async fn index_feed(&self, request: IndexFeedRequest) -> Answer<Timestamp> {
        self.note(&request);
        Ok(request.up_to)
    }

    async fn index_fresh(&self, _: Oid, _: Timestamp, wait_ms: u32) -> Answer<bool> {
        Ok(wait_ms > 0)
    }

    async fn index_lag(&self) -> Answer<Vec<IndexLag>> {
        Ok(vec![index_lag()])
    }

    async fn build_index(&self, _: CatalogVersion, index: Oid) -> Answer<Result<u64, WriteOutcome>> {
        let duplicate = WriteOutcome::Duplicate { at: (0, 1), constraint: Some(Oid(17000)), existing: Bytes::from_static(b"there") };
        Ok(if index == Oid(1) { Ok(12) } else { Err(duplicate) })
    }

    async fn sizes(&self, partitions: Vec<(RelationId, PartitionId)>) -> Answer<Vec<PartitionSize>> {
        Ok(partitions.iter().map(|(r, p)| PartitionSize { rows: r.0.into(), bytes: p.0 }).collect())
    }
}

pub(crate) fn lock_waiter() -> LockWaiter {
    LockWaiter {
        ticket: 7,
        owner: LockOwner { session: 3, transaction: Some(TransactionId(4)) },
        target: LockTarget::Advisory(AdvisoryKey::Two(-1, 2)),
        mode: LockMode::Exclusive,
        waited_ms: 1_000,
        blockers: vec![LockOwner { session: 5, transaction: None }],
    }
}

pub(crate) struct FakeCatalog {
    pub(crate) seen: Mutex<Vec<String>>,
    pub(crate) states: watch::Sender<Bytes>,
}

impl Default for FakeCatalog {
    fn default() -> Self {
        Self { seen: Mutex::default(), states: watch::channel(Bytes::from_static(b"first")).0 }
    }
}

impl FakeCatalog {
    fn note(&self, what: String) {
        self.seen.lock().unwrap().push(what);
    }
}

#[async_trait]
impl CatalogApi for FakeCatalog {
    async fn propose(&self, base: CatalogVersion, changes: Bytes) -> Answer<CatalogVersion> {
        self.note(format!("propose {base} {}", String::from_utf8_lossy(&changes)));
        Ok(CatalogVersion(base.0 + 1))
    }

    async fn watch(&self) -> Answer<StateStream> {
        let states = stream::unfold((self.states.subscribe(), true), |(mut states, first)| async move {
            if !first {
                states.changed().await.ok()?;
            }
            let state = states.borrow_and_update().clone();
            Some((Ok(state), (states, false)))
        });
        Ok(states.boxed())
    }

    async fn timestamps(&self, count: u32) -> Answer<Timestamp> {
        self.note(format!("timestamps {count}"));
        Ok(Timestamp(1000 + u64::from(count)))
    }

    async fn allocate_ids(&self, count: u32) -> Answer<u64> {
        self.note(format!("ids {count}"));
        Ok(20_000 + u64::from(count))
    }

    async fn sequence(&self, _: Oid, call: SequenceCall) -> Answer<SequenceAnswer> {
        let SequenceCall::Take(count) = call else { return Err(failure()) };
        Ok(SequenceAnswer { version: CatalogVersion(7), generation: 3, value: 10, is_called: true, count, increment: 2 })
    }

    async fn register(&self, request: RegisterRequest) -> Answer<WorkerId> {
        self.note(format!("register {}", request.address));
        Ok(WorkerId(4 + request.groups))
    }

    async fn heartbeat(&self, worker: WorkerId) -> Answer<()> {
        if worker == WorkerId(9) {
            return Err(failure());
        }
        self.note(format!("heartbeat {worker}"));
        Ok(())
    }

    async fn oldest_snapshot(&self, node: String, oldest: Timestamp) -> Answer<Timestamp> {
        self.note(format!("oldest {node} {oldest}"));
        Ok(Timestamp(oldest.0 - 1))
    }
}
