//! The worker: opened over a directory, registered at the catalog, called through [`WorkerApi`].

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use catalog::client::CatalogCache;
use common::clock::Clock;
use common::error::{Report, SqlError};
use common::ids::{CatalogVersion, GroupId, Oid, PartitionId, RelationId, Timestamp, TransactionId, WorkerId};
use query::scan::ScanSource;
use rpc::catalog_api::{CatalogApi, RegisterRequest};
use rpc::directory::WorkerDirectory;
use rpc::locks::{AdvisoryKey, EndOfWait, HeldLock, LockMode, LockWait, LockWaiter, WaitTicket};
use rpc::worker_api::{
    Answer, BatchStream, CommitRequest, CommitResponse, FoundRow, FragmentRequest, GetRequest, IndexFeedRequest, IndexLag, LockRequest,
    LockTableRequest, LockedRow, Outcome, PartitionSize, PrepareRequest, PrepareResponse, RangeRequest, RangeResponse, UndoRequest, Vote,
    WorkerApi, WriteOutcome, WriteRequest, WriteResponse,
};
use storage::{Engine, EngineOptions, Record};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::commit::Pipeline;
use crate::core::Core;
use crate::error::{Result, WorkerError};
use crate::feed_source::Feeds;
use crate::feed_target::Marks;
use crate::locks::LockTable;
use crate::participants::Participants;
use crate::scan::StorageScan;
use crate::sizes::Sizes;

/// Where a worker keeps its id: group 0, under this key.
const ID_KEY: &[u8] = b"worker_id";

/// How to open a worker.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    /// The data directory; made if it is not there.
    pub data: PathBuf,
    /// Where its rpc server listens; empty for one inside the catalog's process.
    pub address: String,
    /// How many groups its partitions are spread over. Never fewer than the directory was made with.
    pub groups: u32,
}

/// A worker. Dropping it without [`Worker::shut_down`] is like a crash, except that what is queued is still written.
#[derive(Debug)]
pub struct Worker {
    core: Arc<Core>,
    tasks: parking_lot::Mutex<Vec<JoinHandle<()>>>,
    stop: CancellationToken,
    _stop_at_drop: DropGuard,
}

impl Worker {
    /// Opens the storage, registers at the catalog, takes up what was open, and starts the worker's tasks.
    pub async fn open(
        options: WorkerOptions,
        catalog: Arc<dyn CatalogApi>,
        cache: Arc<CatalogCache>,
        directory: Arc<dyn WorkerDirectory>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Report> {
        let engine_options = EngineOptions { groups: options.groups, ..EngineOptions::new(&options.data) };
        let engine = tokio::task::spawn_blocking(move || Engine::open(engine_options))
            .await
            .map_err(|error| WorkerError::Background(error.to_string()))?
            .map_err(|error| error.report())?;
        let id = register(&engine, catalog.as_ref(), &options).await?;
        let pipeline = Pipeline::start(Arc::clone(&engine), Arc::clone(&catalog))?;
        let locks = LockTable::new();
        let participants = Participants::new(&locks);
        let core = Arc::new(Core {
            id,
            groups: options.groups,
            engine,
            catalog,
            cache,
            directory,
            clock,
            pipeline,
            locks,
            writers: Arc::default(),
            participants,
            advisory: crate::advisory::Advisory::default(),
            validator: Arc::default(),
            sizes: Sizes::default(),
            feeds: Feeds::default(),
            marks: Marks::default(),
        });
        core.recover_transactions().await?;
        let stop = CancellationToken::new();
        let tasks = crate::tasks::start(&core, &stop);
        Ok(Arc::new(Self { core, tasks: parking_lot::Mutex::new(tasks), _stop_at_drop: stop.clone().drop_guard(), stop }))
    }

    /// The id that the catalog gave.
    pub fn id(&self) -> WorkerId {
        self.core.id
    }

    /// Who reads this worker's rows for plans in this process.
    pub fn scan_source(&self) -> Arc<dyn ScanSource> {
        Arc::new(StorageScan::new(&self.core))
    }

    /// Ends the tasks, writes what is queued, and closes the storage so that the next opening has nothing to recover.
    pub async fn shut_down(&self) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the worker failed");
            }
        }
        self.core.pipeline.close().await;
        let engine = Arc::clone(&self.core.engine);
        match tokio::task::spawn_blocking(move || engine.shut_down()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the storage was not closed cleanly"),
            Err(error) => tracing::error!(%error, "the storage was not closed cleanly"),
        }
    }
}

/// Registers under the id on disk; a new worker's id is on disk before it is used.
async fn register(engine: &Arc<Engine>, catalog: &dyn CatalogApi, options: &WorkerOptions) -> Result<WorkerId, Report> {
    let stored = engine.metadata(GroupId(0), ID_KEY).and_then(|bytes| Some(u32::from_be_bytes(bytes.as_ref().try_into().ok()?)));
    let request = RegisterRequest {
        id: stored.map(WorkerId),
        address: options.address.clone(),
        groups: options.groups,
        last_timestamp: engine.last_timestamp(),
    };
    let id = catalog.register(request).await?;
    if stored.is_none() {
        let value = Some(Bytes::copy_from_slice(&id.0.to_be_bytes()));
        let frame = vec![(GroupId(0), Record::Metadata { key: Bytes::from_static(ID_KEY), value })];
        let engine = Arc::clone(engine);
        tokio::task::spawn_blocking(move || engine.append(&[frame]))
            .await
            .map_err(|error| WorkerError::Background(error.to_string()))?
            .map_err(|error| error.report())?;
    }
    Ok(id)
}

#[async_trait]
impl WorkerApi for Worker {
    async fn get(&self, request: GetRequest) -> Answer<Vec<Option<FoundRow>>> {
        Ok(self.core.get(request).await?)
    }

    async fn range(&self, request: RangeRequest) -> Answer<RangeResponse> {
        Ok(self.core.range(request).await?)
    }

    async fn fragment(&self, request: FragmentRequest) -> Answer<BatchStream> {
        Ok(self.core.fragment(request).await?)
    }

    async fn lock(&self, request: LockRequest) -> Answer<Vec<LockedRow>> {
        Ok(self.core.lock(request).await?)
    }

    async fn lock_table(&self, request: LockTableRequest) -> Answer<()> {
        Ok(self.core.lock_table(request).await?)
    }

    async fn advisory_lock(&self, key: AdvisoryKey, mode: LockMode, wait: LockWait) -> Answer<bool> {
        Ok(self.core.advisory_lock(key, mode, wait).await?)
    }

    async fn advisory_unlock(&self, session: i32, key: AdvisoryKey, keep: Option<LockMode>) -> Answer<()> {
        self.core.advisory_unlock(session, key, keep);
        Ok(())
    }

    async fn keep_sessions(&self, sessions: Vec<i32>) -> Answer<()> {
        self.core.advisory.keep(&sessions, self.core.clock.monotonic());
        Ok(())
    }

    async fn end_session(&self, session: i32) -> Answer<()> {
        self.core.advisory.end(session);
        Ok(())
    }

    async fn lock_waits(&self) -> Answer<Vec<LockWaiter>> {
        Ok(self.core.lock_waits())
    }

    async fn held_locks(&self) -> Answer<Vec<HeldLock>> {
        Ok(self.core.held_locks())
    }

    async fn end_wait(&self, ticket: WaitTicket, why: EndOfWait) -> Answer<()> {
        self.core.locks.end_wait(ticket, why);
        Ok(())
    }

    async fn cancel_waits(&self, session: i32) -> Answer<()> {
        self.core.locks.end_waits_of(session);
        Ok(())
    }

    async fn write(&self, request: WriteRequest) -> Answer<WriteResponse> {
        Ok(self.core.write(request).await?)
    }

    async fn undo(&self, request: UndoRequest) -> Answer<Timestamp> {
        Ok(self.core.undo(request).await?)
    }

    async fn commit(&self, request: CommitRequest) -> Answer<CommitResponse> {
        Ok(self.core.commit(request).await?)
    }

    async fn prepare(&self, request: PrepareRequest) -> Answer<PrepareResponse> {
        Ok(self.core.prepare(request).await?)
    }

    async fn decide(&self, transaction: TransactionId, outcome: Outcome) -> Answer<()> {
        Ok(self.core.decide(transaction, outcome).await?)
    }

    async fn vote_of(&self, transaction: TransactionId) -> Answer<Vote> {
        Ok(self.core.vote_of(transaction).await?)
    }

    async fn keep_alive(&self, transactions: Vec<TransactionId>) -> Answer<()> {
        self.core.participants.hear(&transactions, self.core.clock.monotonic());
        Ok(())
    }

    async fn index_feed(&self, request: IndexFeedRequest) -> Answer<Timestamp> {
        Ok(self.core.take_feed(request).await?)
    }

    async fn index_fresh(&self, index: Oid, at: Timestamp, wait_ms: u32) -> Answer<bool> {
        Ok(self.core.index_fresh(index, at, wait_ms).await?)
    }

    async fn index_lag(&self) -> Answer<Vec<IndexLag>> {
        Ok(self.core.index_lag())
    }

    async fn build_index(&self, catalog_version: CatalogVersion, index: Oid) -> Answer<Result<u64, WriteOutcome>> {
        Ok(self.core.build_index(catalog_version, index).await?)
    }

    async fn sizes(&self, partitions: Vec<(RelationId, PartitionId)>) -> Answer<Vec<PartitionSize>> {
        Ok(crate::sizes::sizes(&self.core, partitions).await)
    }
}
