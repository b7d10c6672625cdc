//! Nodes that call each other over real TCP connections.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fakes;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use common::ids::{CatalogVersion, Epoch, GroupId, Oid, OwnWrites, PartitionId, RelationId, Timestamp, TransactionId, WorkerId};
use common::sqlstate::SqlState;
use fakes::{FakeCatalog, FakeWorker, batch, failure, lock_waiter};
use futures::StreamExt;
use rpc::catalog_api::{CatalogApi, RegisterRequest, SequenceCall};
use rpc::directory::{DynamicDirectory, WorkerDirectory};
use rpc::grpc::{CatalogClient, WorkerClient, serve};
use rpc::locks::{AdvisoryKey, EndOfWait};
use rpc::worker_api::{
    CommitRequest, CommitResponse, FoundRow, FragmentPlan, FragmentRequest, GetRequest, IndexFeedChange, IndexFeedRequest, LockMode,
    LockRequest, LockTableRequest, LockWait, LockedRow, Outcome, PartitionRef, PartitionWrites, Precondition, PrepareRequest,
    PrepareResponse, RangeRequest, ReadAt, ReadContext, RowWrite, UndoRequest, Vote, WaitLimit, WorkerApi, WriteOutcome, WriteRequest,
    WriteResponse,
};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(5);

struct Node {
    address: String,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<Result<(), common::error::Report>>,
}

impl Node {
    async fn start(worker: Option<Arc<FakeWorker>>, catalog: Option<Arc<FakeCatalog>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let worker = worker.map(|w| w as Arc<dyn WorkerApi>);
        let catalog = catalog.map(|c| c as Arc<dyn CatalogApi>);
        let served = common::tasks::spawn("node", serve(listener, worker, catalog, stop.clone()));
        Self { address, stop, served }
    }

    fn worker(&self) -> WorkerClient {
        WorkerClient::new(WorkerId(3), &self.address).unwrap()
    }

    async fn stop(self) {
        self.stop.cancel();
        timeout(SOON, self.served).await.expect("a server stops in bounded time").unwrap().unwrap();
    }
}

const PARTITION: PartitionRef = PartitionRef { id: PartitionId(7), epoch: Epoch(2), group: GroupId(1) };
const CONTEXT: ReadContext =
    ReadContext { catalog_version: CatalogVersion(5), at: ReadAt::Snapshot(Timestamp(99)), own: Some(OwnWrites::all(TransactionId(4))) };

fn fragment(plan: FragmentPlan) -> FragmentRequest {
    FragmentRequest { context: CONTEXT, plan, partitions: vec![PARTITION], output: 1, settings: Bytes::from_static(b"settings") }
}

fn scan(text: &'static str) -> FragmentRequest {
    fragment(FragmentPlan::Encoded(Bytes::from_static(text.as_bytes())))
}

fn writes() -> Vec<PartitionWrites> {
    let write = |key: &'static [u8], row, precondition| RowWrite { key: Bytes::from_static(key), row, precondition };
    vec![PartitionWrites {
        relation: RelationId(8),
        partition: PARTITION,
        writes: vec![
            write(b"a", Some(Bytes::from_static(b"row")), Precondition::Absent),
            write(b"b", None, Precondition::Version(Timestamp(3))),
            write(b"", None, Precondition::None),
        ],
        constraint: Some(Oid(17000)),
    }]
}

#[tokio::test]
async fn reads_cross_the_network() {
    let worker = Arc::new(FakeWorker::default());
    let node = Node::start(Some(Arc::clone(&worker)), None).await;
    let client = node.worker();
    let keys = vec![Bytes::from_static(b"k1"), Bytes::from_static(b"none")];
    let get = GetRequest { context: CONTEXT, relation: RelationId(8), partition: PARTITION, keys: keys.clone() };
    let found = client.get(get.clone()).await.unwrap();
    assert_eq!(found, vec![Some(FoundRow { version: Timestamp(11), row: Bytes::from_static(b"row of k1") }), None]);
    worker.assert_last(&get);

    let range = RangeRequest {
        context: CONTEXT,
        relation: RelationId(8),
        partition: PARTITION,
        lo: Bytes::new(),
        hi: Some(Bytes::from_static(&[0xff; 3])),
        reverse: true,
        limit: 9,
    };
    let response = client.range(range.clone()).await.unwrap();
    assert!(response.more);
    assert_eq!(response.rows[0].0, Bytes::from_static(b"k"));
    worker.assert_last(&range);

    let sizes = client.sizes(vec![(RelationId(8), PartitionId(7)), (RelationId(9), PartitionId(1))]).await.unwrap();
    assert_eq!(sizes.iter().map(|s| (s.rows, s.bytes)).collect::<Vec<_>>(), [(8, 7), (9, 1)]);
    assert_eq!(client.index_lag().await.unwrap(), vec![fakes::index_lag()]);
    assert!(client.index_fresh(Oid(20000), Timestamp(1), 500).await.unwrap());
    assert!(!client.index_fresh(Oid(20000), Timestamp(1), 0).await.unwrap());
    node.stop().await;
}

#[tokio::test]
async fn locks_cross_the_network() {
    let worker = Arc::new(FakeWorker::default());
    let node = Node::start(Some(Arc::clone(&worker)), None).await;
    let client = node.worker();
    let (catalog_version, transaction) = (CatalogVersion(5), TransactionId(77));

    let keys = vec![Bytes::from_static(b"k")];
    let (wait, mode) = (LockWait::new(WaitLimit::Millis(5)), LockMode::ForShare);
    let lock = LockRequest {
        catalog_version,
        transaction,
        relation: RelationId(8),
        partition: PARTITION,
        keys,
        mode,
        wait,
        rows_max: Some(1),
        is_known: false,
    };
    assert_eq!(client.lock(lock.clone()).await.unwrap(), vec![LockedRow::Missing, LockedRow::Skipped]);
    worker.assert_last(&lock);
    let table = LockTableRequest { catalog_version, transaction, relation: RelationId(8), mode: LockMode::Exclusive, wait, is_known: true };
    client.lock_table(table).await.unwrap();
    worker.assert_last(&table);

    let key = AdvisoryKey::One(i64::MIN);
    assert!(client.advisory_lock(key, LockMode::Share, wait).await.unwrap());
    worker.assert_last(&(key, LockMode::Share, wait));
    client.advisory_unlock(9, key, Some(LockMode::Share)).await.unwrap();
    worker.assert_last(&(9, key, Some(LockMode::Share)));
    client.keep_sessions(vec![9, 10]).await.unwrap();
    worker.assert_last(&vec![9, 10]);
    client.end_session(9).await.unwrap();
    worker.assert_last(&9);
    assert_eq!(client.lock_waits().await.unwrap(), vec![lock_waiter()]);
    assert_eq!(client.held_locks().await.unwrap()[0].mode, LockMode::Exclusive);
    client.end_wait(7, EndOfWait::Deadlock("x".to_owned())).await.unwrap();
    worker.assert_last(&(7, EndOfWait::Deadlock("x".to_owned())));
    client.cancel_waits(8).await.unwrap();
    worker.assert_last(&8);
    node.stop().await;
}

#[tokio::test]
async fn writes_cross_the_network() {
    let worker = Arc::new(FakeWorker::default());
    let node = Node::start(Some(Arc::clone(&worker)), None).await;
    let client = node.worker();
    let (catalog_version, transaction) = (CatalogVersion(5), TransactionId(77));

    let write = WriteRequest {
        catalog_version,
        transaction,
        partitions: writes(),
        wait: LockWait::NO,
        is_known: true,
        undos: 1,
        is_serializable: false,
    };
    let duplicate = WriteOutcome::Duplicate { at: (0, 1), constraint: Some(Oid(17000)), existing: Bytes::from_static(b"there") };
    assert_eq!(client.write(write.clone()).await.unwrap(), WriteResponse::Refused(duplicate.clone()));
    worker.assert_last(&write);

    let undo = UndoRequest { transaction, after: Timestamp(12), undos: 2, is_known: true };
    assert_eq!(client.undo(undo).await.unwrap(), Timestamp(12));
    worker.assert_last(&undo);

    let commit =
        CommitRequest { catalog_version, transaction: None, writes: writes(), wait: LockWait::FOREVER, is_known: true, validation: None };
    assert_eq!(client.commit(commit.clone()).await.unwrap(), CommitResponse::Committed(Timestamp(u64::MAX - 1)));
    worker.assert_last(&commit);

    let participants = vec![WorkerId(3), WorkerId(4)];
    let prepare = PrepareRequest {
        catalog_version,
        transaction,
        participants,
        writes: Vec::new(),
        wait: LockWait::FOREVER,
        is_known: true,
        validation: None,
    };
    let refused = PrepareResponse::Refused(WriteOutcome::Changed { at: (1, 2) });
    assert_eq!(client.prepare(prepare.clone()).await.unwrap(), refused);
    worker.assert_last(&prepare);

    client.decide(transaction, Outcome::Committed(Timestamp(8))).await.unwrap();
    worker.assert_last(&(transaction, Outcome::Committed(Timestamp(8))));
    assert_eq!(client.vote_of(transaction).await.unwrap(), Vote::Decided(Outcome::Aborted));
    client.keep_alive(vec![transaction, TransactionId(78)]).await.unwrap();
    worker.assert_last(&vec![transaction, TransactionId(78)]);

    let change = IndexFeedChange { partition: PARTITION, at: Timestamp(6), key: Bytes::from_static(b"k"), value: None };
    let source = (WorkerId(1), GroupId(2));
    let (after, up_to) = (Timestamp(5), Timestamp(6));
    let feed = IndexFeedRequest { catalog_version, index: Oid(20000), source, after, up_to, changes: vec![change] };
    assert_eq!(client.index_feed(feed.clone()).await.unwrap(), Timestamp(6));
    worker.assert_last(&feed);

    assert_eq!(client.build_index(catalog_version, Oid(1)).await.unwrap(), Ok(12));
    assert_eq!(client.build_index(catalog_version, Oid(2)).await.unwrap(), Err(duplicate));
    node.stop().await;
}

#[tokio::test]
async fn the_catalog_answers_over_the_network() {
    let catalog = Arc::new(FakeCatalog::default());
    let node = Node::start(None, Some(Arc::clone(&catalog))).await;
    let client = CatalogClient::new(&node.address).unwrap();
    assert_eq!(client.propose(CatalogVersion(4), Bytes::from_static(b"changes")).await.unwrap(), CatalogVersion(5));
    assert_eq!(client.timestamps(10).await.unwrap(), Timestamp(1010));
    assert_eq!(client.allocate_ids(3).await.unwrap(), 20_003);
    let run = client.sequence(Oid(8), SequenceCall::Take(5)).await.unwrap();
    assert_eq!((run.value, run.count, run.increment), (10, 5, 2));
    let request = RegisterRequest { id: None, address: "there:1".to_owned(), groups: 2, last_timestamp: Timestamp(40) };
    assert_eq!(client.register(request).await.unwrap(), WorkerId(6));
    client.heartbeat(WorkerId(6)).await.unwrap();
    assert_eq!(client.oldest_snapshot("me".to_owned(), Timestamp(50)).await.unwrap(), Timestamp(49));
    let expected = ["propose 4 changes", "timestamps 10", "ids 3", "register there:1", "heartbeat 6", "oldest me 50"];
    assert_eq!(*catalog.seen.lock().unwrap(), expected);
    assert_eq!(client.heartbeat(WorkerId(9)).await.unwrap_err(), failure());

    let mut states = client.watch().await.unwrap();
    assert_eq!(states.next().await.unwrap().unwrap(), Bytes::from_static(b"first"));
    catalog.states.send(Bytes::from_static(b"second")).unwrap();
    assert_eq!(states.next().await.unwrap().unwrap(), Bytes::from_static(b"second"));
    // A watch would never end by itself: it is told that the node stops.
    node.stop().await;
    let end = timeout(SOON, states.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(end.sqlstate, SqlState::ADMIN_SHUTDOWN);
}

#[tokio::test]
async fn errors_survive_whole() {
    let node = Node::start(Some(Arc::default()), None).await;
    let client = node.worker();
    assert_eq!(client.vote_of(TransactionId(0)).await.unwrap_err(), failure());
    assert_eq!(client.fragment(scan("refuse")).await.err().unwrap(), failure());
    let mut batches = client.fragment(scan("fail in the middle")).await.unwrap();
    assert_eq!(batches.next().await.unwrap().unwrap(), batch(0, 10));
    assert_eq!(batches.next().await.unwrap().unwrap_err(), failure());
    assert!(batches.next().await.is_none());
    // A node that has no such part says so.
    let catalog = CatalogClient::new(&node.address).unwrap();
    let error = catalog.timestamps(1).await.unwrap_err();
    assert_eq!((error.sqlstate, error.message.as_str()), (SqlState::CONNECTION_FAILURE, "this node is no catalog"));
    node.stop().await;
}

#[tokio::test]
async fn fragments_stream_their_batches() {
    let worker = Arc::new(FakeWorker::default());
    let node = Node::start(Some(Arc::clone(&worker)), None).await;
    let client = node.worker();
    let batches: Vec<_> = client.fragment(scan("three")).await.unwrap().map(Result::unwrap).collect().await;
    assert_eq!(batches, [batch(0, 10), batch(1, 0), batch(2, 100_000)]);
    worker.assert_last(&format!("{:?}", scan("three")));

    let empty: Vec<_> = client.fragment(scan("nothing")).await.unwrap().collect().await;
    assert!(empty.is_empty());
    // Batches without columns are but a number of rows.
    let counts: Vec<_> = client.fragment(scan("no columns")).await.unwrap().map(|b| b.unwrap().num_rows()).collect().await;
    assert_eq!(counts, [5, 0, 7]);
    // A batch larger than a message is cut and put together again.
    let large: Vec<_> = client.fragment(scan("large")).await.unwrap().map(Result::unwrap).collect().await;
    assert_eq!(large, [fakes::large_batch()]);

    let local = client.fragment(fragment(FragmentPlan::Local(Arc::new(1)))).await.err().unwrap();
    assert_eq!(local.sqlstate, SqlState::INTERNAL_ERROR);
    node.stop().await;
}

#[tokio::test]
async fn a_slow_reader_holds_the_sender_and_nobody_else() {
    let worker = Arc::new(FakeWorker::default());
    let node = Node::start(Some(Arc::clone(&worker)), None).await;
    let client = node.worker();
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut batches = client.fragment(scan("endless")).await.unwrap();
        batches.next().await.unwrap().unwrap();
        held.push(batches);
    }
    // Each of the forty has filled its window, and no more.
    let mut before = usize::MAX;
    while before != worker.produced.load(Ordering::SeqCst) {
        before = worker.produced.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(before < 40 * 100, "{before} batches were produced for readers who stopped");
    // Another stream on the same connection goes on.
    let read = client.fragment(scan("three")).await.unwrap().count();
    assert_eq!(timeout(SOON, read).await.expect("not held up by the others"), 3);
    drop(held);
    timeout(SOON, worker.wait_for_dropped(40)).await.expect("dropping the reader drops the sender");
    node.stop().await;
}

#[tokio::test]
async fn dropping_a_call_cancels_it() {
    let worker = Arc::new(FakeWorker::default());
    let node = Node::start(Some(Arc::clone(&worker)), None).await;
    let client = node.worker();
    // More calls wait than HTTP/2 servers usually admit, and another one still passes.
    let waiting: Vec<_> = (0..1_000)
        .map(|_| {
            let client = client.clone();
            common::tasks::spawn("waiting", async move { client.vote_of(TransactionId(fakes::WAITS_FOREVER)).await })
        })
        .collect();
    timeout(SOON, worker.wait_for_waiting(1_000)).await.expect("all calls have arrived");
    timeout(SOON, client.vote_of(TransactionId(1))).await.expect("another call passes").unwrap();
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    timeout(SOON, worker.wait_for_dropped(1_000)).await.expect("dropped calls are dropped at the server");
    client.vote_of(TransactionId(1)).await.unwrap();
    node.stop().await;
}

#[tokio::test]
async fn a_dead_server_is_an_error_of_class_08() {
    let node = Node::start(Some(Arc::default()), None).await;
    let (client, address) = (node.worker(), node.address.clone());
    client.vote_of(TransactionId(1)).await.unwrap();
    let waiting = client.clone();
    let waiting = common::tasks::spawn("waiting", async move { waiting.vote_of(TransactionId(fakes::WAITS_FOREVER)).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.stop().await;
    let told = timeout(SOON, waiting).await.expect("a call in flight ends").unwrap().unwrap_err();
    assert!(matches!(told.sqlstate, SqlState::ADMIN_SHUTDOWN | SqlState::CONNECTION_FAILURE), "{told:?}");

    let refused = timeout(SOON, client.vote_of(TransactionId(1))).await.unwrap().unwrap_err();
    assert_eq!(refused.sqlstate, SqlState::CONNECTION_FAILURE);
    assert_eq!(refused.message, "connection to worker 3 failed: connection refused (os error 111)");
    assert!(refused.retryable, "what never left the node may be sent again");
    assert_eq!(client.fragment(scan("three")).await.err().unwrap().sqlstate, SqlState::CONNECTION_FAILURE);

    // The same client works again once somebody listens there.
    let listener = TcpListener::bind(&address).await.unwrap();
    let stop = CancellationToken::new();
    let again: Arc<dyn WorkerApi> = Arc::new(FakeWorker::default());
    let served = common::tasks::spawn("node", serve(listener, Some(again), None, stop.clone()));
    client.vote_of(TransactionId(1)).await.unwrap();
    stop.cancel();
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_broken_connection_may_have_carried_the_call_out() {
    // A server that takes connections and closes them after a while.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = WorkerClient::new(WorkerId(3), &listener.local_addr().unwrap().to_string()).unwrap();
    let server = common::tasks::spawn("broken", async move {
        let (socket, _) = listener.accept().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        drop(socket);
    });
    let error = timeout(SOON, client.vote_of(TransactionId(1))).await.unwrap().unwrap_err();
    assert_eq!(error.sqlstate, SqlState::CONNECTION_FAILURE);
    assert!(error.message.starts_with("connection to worker 3 failed: "), "{}", error.message);
    assert!(!error.retryable);
    server.await.unwrap();
}

#[tokio::test]
async fn the_directory_follows_the_catalog() {
    let (first, second) = (Node::start(Some(Arc::default()), None).await, Node::start(Some(Arc::default()), None).await);
    let directory = DynamicDirectory::new();
    let unknown = directory.worker(WorkerId(3)).err().unwrap();
    assert_eq!((unknown.sqlstate, unknown.message.as_str()), (SqlState::CONNECTION_FAILURE, "worker 3 is not known"));

    let local: Arc<dyn WorkerApi> = Arc::new(FakeWorker::default());
    directory.set_local(WorkerId(1), Arc::clone(&local));
    directory.update(&[(WorkerId(1), first.address.clone()), (WorkerId(2), first.address.clone()), (WorkerId(4), String::new())]);
    assert!(directory.is_local(WorkerId(1)) && Arc::ptr_eq(&directory.worker(WorkerId(1)).unwrap(), &local));
    assert!(!directory.is_local(WorkerId(2)));
    let before = directory.worker(WorkerId(2)).unwrap();
    before.vote_of(TransactionId(1)).await.unwrap();
    assert!(directory.worker(WorkerId(4)).is_err(), "a worker inside another process cannot be called");

    directory.update(&[(WorkerId(2), first.address.clone()), (WorkerId(3), "no address".to_owned())]);
    assert!(Arc::ptr_eq(&directory.worker(WorkerId(2)).unwrap(), &before), "the same address keeps the connection");
    assert!(directory.worker(WorkerId(3)).is_err());
    assert!(directory.is_local(WorkerId(1)), "the catalog does not take a worker of this process away");

    directory.update(&[(WorkerId(2), second.address.clone())]);
    first.stop().await;
    directory.worker(WorkerId(2)).unwrap().vote_of(TransactionId(1)).await.unwrap();
    directory.update(&[]);
    assert!(directory.worker(WorkerId(2)).is_err());
    second.stop().await;
}
