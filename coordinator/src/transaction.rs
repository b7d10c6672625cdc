//! The coordinator's side of transactions: see [`rpc::worker_api`] for the protocol.
//!
//! A [`Transaction`] is what a statement (or a block) does at the workers under one id. A statement by itself whose writes all go to one worker
//! has none: its commit is one message. [`TransactionBlock`] is what a session knows of BEGIN … COMMIT.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use common::error::Report;
use common::ids::{CatalogVersion, RelationId, Timestamp, TransactionId, WorkerId};
use common::sqlstate::SqlState;
use futures::future::join_all;
use parking_lot::Mutex;
use rpc::worker_api::{
    CommitRequest, CommitResponse, LockWait, Outcome, PartitionWrites, PrepareRequest, PrepareResponse, Vote, WorkerApi, WriteOutcome,
    WriteRequest,
};

use crate::coordinator::Coordinator;
use crate::write_set::{Refusal, WriteSet};

/// How often participants hear that their transaction lives.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How often a decision is told to a participant that does not answer; then it finds out by itself.
const DECIDE_ATTEMPTS: u32 = 5;
/// How often an unanswered vote is asked for before the outcome is called unknown.
const VOTE_ATTEMPTS: u32 = 20;
/// Between two attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// The transactions that this coordinator runs, so that their participants are kept alive.
#[derive(Debug, Default)]
pub struct LiveTransactions(Mutex<HashMap<TransactionId, BTreeSet<WorkerId>>>);

impl LiveTransactions {
    fn touch(&self, id: TransactionId, workers: impl Iterator<Item = WorkerId>) {
        self.0.lock().entry(id).or_default().extend(workers);
    }

    fn forget(&self, id: TransactionId) {
        self.0.lock().remove(&id);
    }

    fn by_worker(&self) -> HashMap<WorkerId, Vec<TransactionId>> {
        let mut out: HashMap<_, Vec<_>> = HashMap::new();
        for (id, workers) in self.0.lock().iter() {
            for worker in workers {
                out.entry(*worker).or_default().push(*id);
            }
        }
        out
    }
}

/// Tells participants, until `stop`, that their transactions live.
pub async fn keep_transactions_alive(coordinator: Arc<Coordinator>, stop: tokio_util::sync::CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(KEEP_ALIVE) => {}
        }
        for (worker, transactions) in coordinator.transactions.by_worker() {
            if let Ok(worker) = coordinator.worker(worker)
                && let Err(error) = worker.keep_alive(transactions).await
            {
                tracing::debug!(%error, "a participant could not be kept alive");
            }
        }
    }
}

/// How a commit ended.
#[derive(Debug)]
pub enum Committed {
    At(Timestamp),
    /// Nothing was written.
    Refused(Refusal),
}

/// A transaction with an id. One that is dropped without an end is aborted in the background.
pub struct Transaction {
    coordinator: Arc<Coordinator>,
    id: TransactionId,
    participants: BTreeSet<WorkerId>,
    /// The key spaces that it has written.
    written: BTreeSet<RelationId>,
    ended: bool,
}

impl Transaction {
    /// Begins: takes an id from the oracle.
    pub async fn begin(coordinator: &Arc<Coordinator>) -> Result<Self, Report> {
        let id = TransactionId(coordinator.timestamp().await?.0);
        Ok(Self { coordinator: Arc::clone(coordinator), id, participants: BTreeSet::new(), written: BTreeSet::new(), ended: false })
    }

    /// Its id.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// The coordinator that runs it.
    pub fn coordinator(&self) -> &Arc<Coordinator> {
        &self.coordinator
    }

    /// Notes that a worker holds something of it; done before the worker is asked, so that an unanswered call is cleaned up as well.
    pub fn touch(&mut self, worker: WorkerId) {
        if self.participants.insert(worker) {
            self.coordinator.transactions.touch(self.id, std::iter::once(worker));
        }
    }

    /// Writes provisionally, at all owners at once.
    pub async fn write(&mut self, version: CatalogVersion, writes: &mut WriteSet, wait: LockWait) -> Result<Option<Refusal>, Report> {
        let parts = writes.take();
        for (worker, partitions) in &parts {
            self.touch(*worker);
            self.written.extend(partitions.iter().map(|p| p.relation));
        }
        write_parts(&self.coordinator, self.id, version, parts, wait).await
    }

    /// Begins to write provisionally; the answer comes from the task, which ends when its handle is dropped.
    pub fn begin_write(&mut self, version: CatalogVersion, writes: &mut WriteSet, wait: LockWait) -> WriteInFlight {
        let parts = writes.take();
        for (worker, partitions) in &parts {
            self.touch(*worker);
            self.written.extend(partitions.iter().map(|p| p.relation));
        }
        let (coordinator, id) = (Arc::clone(&self.coordinator), self.id);
        WriteInFlight(common::tasks::spawn("write", async move { write_parts(&coordinator, id, version, parts, wait).await }))
    }

    /// Commits, with the last writes.
    pub async fn commit(mut self, version: CatalogVersion, writes: &mut WriteSet, wait: LockWait) -> Result<Committed, Report> {
        for worker in writes.workers().collect::<Vec<_>>() {
            self.touch(worker);
        }
        let result = match self.participants.len() {
            0 => Ok(Committed::At(Timestamp(self.id.0))),
            // Locks without writes: nothing is to be agreed on.
            _ if self.written.is_empty() && writes.workers().next().is_none() => {
                self.abort_now().await;
                return Ok(Committed::At(Timestamp(self.id.0)));
            }
            1 => self.commit_on_one(version, writes, wait).await,
            _ => self.commit_on_several(version, writes, wait).await,
        };
        match &result {
            Ok(Committed::At(_)) => self.finish(),
            Ok(Committed::Refused(_)) => self.abort_now().await,
            // After an unknown outcome the participants decide by themselves; an abort by us could contradict a commit.
            Err(error) if error.sqlstate == SqlState::STATEMENT_COMPLETION_UNKNOWN => self.finish(),
            Err(_) => self.abort_now().await,
        }
        result
    }

    async fn commit_on_one(&self, version: CatalogVersion, writes: &mut WriteSet, wait: LockWait) -> Result<Committed, Report> {
        let worker = *self.participants.first().expect("the caller counted one participant");
        let writes = writes.take().pop().map(|(_, writes)| writes).unwrap_or_default();
        commit_at(&self.coordinator, worker, version, Some(self.id), writes, wait).await
    }

    async fn commit_on_several(&self, version: CatalogVersion, writes: &mut WriteSet, wait: LockWait) -> Result<Committed, Report> {
        let mut by_worker: HashMap<WorkerId, Vec<PartitionWrites>> = writes.take().into_iter().collect();
        let participants: Vec<WorkerId> = self.participants.iter().copied().collect();
        let calls = participants.iter().map(|&worker| {
            let request = PrepareRequest {
                catalog_version: version,
                transaction: self.id,
                participants: participants.clone(),
                writes: by_worker.remove(&worker).unwrap_or_default(),
                wait,
            };
            self.vote(worker, request)
        });
        let mut at = Timestamp::MIN;
        let (mut refusal, mut failure, mut unknown) = (None, None, None);
        for answer in join_all(calls).await {
            match answer {
                Ok(Ok(voted)) => at = at.max(voted),
                Ok(Err(refused)) => refusal = Some(refused),
                Err(error) if error.sqlstate == SqlState::STATEMENT_COMPLETION_UNKNOWN => unknown = Some(error),
                Err(error) => failure = Some(error),
            }
        }
        // One vote that is known to be missing for ever decides, whatever the unanswered ones were.
        if let Some(refused) = refusal {
            return Ok(Committed::Refused(refused));
        }
        if let Some(error) = failure.or(unknown) {
            return Err(error);
        }
        self.tell(Outcome::Committed(at));
        Ok(Committed::At(at))
    }

    /// One participant's vote; when its answer is lost, what it says when asked again.
    async fn vote(&self, id: WorkerId, request: PrepareRequest) -> Result<Result<Timestamp, Refusal>, Report> {
        let sent = request.writes.clone();
        let lost = match self.coordinator.worker(id) {
            Ok(worker) => match worker.prepare(request).await {
                Ok(PrepareResponse::Voted(at)) => return Ok(Ok(at)),
                Ok(PrepareResponse::Refused(outcome)) => {
                    let refused = Refusal::find(&sent, &outcome)?;
                    return refused.map(Err).ok_or_else(|| Report::internal("a worker refused a vote without a reason"));
                }
                Err(error) if !is_lost_answer(&error) => return Err(error),
                Err(error) => error,
            },
            Err(error) => return Err(error),
        };
        for _ in 0..VOTE_ATTEMPTS {
            if let Ok(worker) = self.coordinator.worker(id)
                && let Ok(vote) = worker.vote_of(self.id).await
            {
                return match vote {
                    Vote::Prepared(at) | Vote::Decided(Outcome::Committed(at)) => Ok(Ok(at)),
                    Vote::Forbidden | Vote::Decided(Outcome::Aborted) => Err(lost),
                };
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Err(Report::new(SqlState::STATEMENT_COMPLETION_UNKNOWN, "the outcome of the transaction is unknown")
            .with_detail(format!("Worker {id} stopped answering while the transaction committed: {lost}")))
    }

    /// Aborts and waits until the participants that answer have freed its locks.
    pub async fn abort(mut self) {
        self.abort_now().await;
    }

    async fn abort_now(&mut self) {
        self.ended = true;
        decide(&self.coordinator, self.id, &self.participants, Outcome::Aborted).await;
        self.coordinator.transactions.forget(self.id);
    }

    fn finish(&mut self) {
        self.ended = true;
        self.coordinator.transactions.forget(self.id);
    }

    fn tell(&self, outcome: Outcome) {
        let (coordinator, id, participants) = (Arc::clone(&self.coordinator), self.id, self.participants.clone());
        common::tasks::spawn("decide", async move { decide(&coordinator, id, &participants, outcome).await });
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.ended {
            self.tell(Outcome::Aborted);
            self.coordinator.transactions.forget(self.id);
        }
    }
}

/// Writes that are on their way to their owners.
#[derive(Debug)]
pub struct WriteInFlight(tokio::task::JoinHandle<Result<Option<Refusal>, Report>>);

impl WriteInFlight {
    /// Waits for the owners' answers.
    pub async fn answer(&mut self) -> Result<Option<Refusal>, Report> {
        (&mut self.0).await.map_err(|error| Report::internal(format!("writing failed: {error}")))?
    }
}

impl Drop for WriteInFlight {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn write_parts(
    coordinator: &Coordinator,
    transaction: TransactionId,
    catalog_version: CatalogVersion,
    parts: Vec<(WorkerId, Vec<PartitionWrites>)>,
    wait: LockWait,
) -> Result<Option<Refusal>, Report> {
    let calls = parts.into_iter().map(|(worker, partitions)| {
        let request = WriteRequest { catalog_version, transaction, partitions, wait };
        let worker = coordinator.worker(worker);
        async move {
            let sent = request.partitions.clone();
            let outcome: WriteOutcome = worker?.write(request).await?;
            Refusal::find(&sent, &outcome)
        }
    });
    first_refusal(join_all(calls).await)
}

async fn decide(coordinator: &Coordinator, id: TransactionId, participants: &BTreeSet<WorkerId>, outcome: Outcome) {
    let calls = participants.iter().map(|&worker| async move {
        for _ in 0..DECIDE_ATTEMPTS {
            let told = match coordinator.worker(worker) {
                Ok(api) => api.decide(id, outcome).await,
                Err(error) => Err(error),
            };
            match told {
                Ok(()) => return,
                Err(error) => tracing::debug!(%worker, %error, "a decision did not arrive"),
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    });
    join_all(calls).await;
}

/// Whether the call may have been carried out although it failed.
fn is_lost_answer(error: &Report) -> bool {
    matches!(
        error.sqlstate,
        SqlState::CONNECTION_FAILURE | SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::CONNECTION_EXCEPTION
    )
}

async fn commit_at(
    coordinator: &Coordinator,
    id: WorkerId,
    catalog_version: CatalogVersion,
    transaction: Option<TransactionId>,
    writes: Vec<PartitionWrites>,
    wait: LockWait,
) -> Result<Committed, Report> {
    let worker: Arc<dyn WorkerApi> = coordinator.worker(id)?;
    // Who is refused must be found again in what was sent; only writes with a precondition can be.
    let sent = writes.clone();
    match worker.commit(CommitRequest { catalog_version, transaction, writes, wait }).await? {
        CommitResponse::Committed(at) => Ok(Committed::At(at)),
        CommitResponse::Refused(outcome) => match Refusal::find(&sent, &outcome)? {
            Some(refusal) => Ok(Committed::Refused(refusal)),
            None => Err(Report::internal("a worker refused a commit without a reason")),
        },
    }
}

/// Commits a statement by itself: one message when one worker owns all of its rows, votes otherwise.
pub async fn commit_statement(
    coordinator: &Arc<Coordinator>,
    version: CatalogVersion,
    writes: &mut WriteSet,
    wait: LockWait,
) -> Result<Committed, Report> {
    let mut workers = writes.workers();
    match (workers.next(), workers.next()) {
        (None, _) => Ok(Committed::At(Timestamp::MIN)),
        (Some(worker), None) => {
            drop(workers);
            let parts = writes.take().pop().map(|(_, writes)| writes).unwrap_or_default();
            commit_at(coordinator, worker, version, None, parts, wait).await
        }
        _ => {
            drop(workers);
            Transaction::begin(coordinator).await?.commit(version, writes, wait).await
        }
    }
}

fn first_refusal(answers: Vec<Result<Option<Refusal>, Report>>) -> Result<Option<Refusal>, Report> {
    let mut refusal = None;
    for answer in answers {
        refusal = answer?.or(refusal);
    }
    Ok(refusal)
}

/// What a session knows of BEGIN … COMMIT.
#[derive(Default)]
pub enum TransactionBlock {
    /// Each statement by itself.
    #[default]
    None,
    /// In a block. `implicit`: the statements of one simple query, or a pipeline up to its Sync.
    Open { transaction: Option<Transaction>, began_micros: i64, implicit: bool },
    /// A statement of the block failed: nothing but its end is taken.
    Failed { implicit: bool },
}

impl TransactionBlock {
    /// Whether a statement failed in this block.
    pub fn is_failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }

    /// Whether the client opened a block with BEGIN: what ReadyForQuery tells.
    pub fn is_explicit(&self) -> bool {
        matches!(self, Self::Open { implicit: false, .. } | Self::Failed { implicit: false })
    }

    /// Whether statements here commit together.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// When the block began.
    pub fn began_micros(&self) -> Option<i64> {
        match self {
            Self::Open { began_micros, .. } => Some(*began_micros),
            Self::None | Self::Failed { .. } => None,
        }
    }

    /// Whether the block has written rows (or entries) of a key space.
    pub fn has_written(&self, relation: RelationId) -> bool {
        matches!(self, Self::Open { transaction: Some(transaction), .. } if transaction.written.contains(&relation))
    }

    /// The workers that hold something of this block.
    pub fn participants(&self) -> Vec<WorkerId> {
        match self {
            Self::Open { transaction: Some(transaction), .. } => transaction.participants.iter().copied().collect(),
            Self::Open { transaction: None, .. } | Self::None | Self::Failed { .. } => Vec::new(),
        }
    }

    /// The id under which this block has written, if it has.
    pub fn id(&self) -> Option<TransactionId> {
        match self {
            Self::Open { transaction: Some(transaction), .. } => Some(transaction.id()),
            Self::Open { transaction: None, .. } | Self::None | Self::Failed { .. } => None,
        }
    }

    /// A statement failed: an open block is over, its work undone (in the background, when the transaction is dropped).
    pub fn statement_failed(&mut self) {
        if let Self::Open { implicit, .. } = self {
            *self = Self::Failed { implicit: *implicit };
        }
    }

    /// Opens a block; inside one, nothing happens.
    pub fn open(&mut self, now_micros: i64, implicit: bool) {
        if matches!(self, Self::None) {
            *self = Self::Open { transaction: None, began_micros: now_micros, implicit };
        }
    }

    /// BEGIN inside an implicit block makes it one that only COMMIT or ROLLBACK ends.
    pub fn make_explicit(&mut self) {
        if let Self::Open { implicit, .. } | Self::Failed { implicit } = self {
            *implicit = false;
        }
    }

    /// Ends the block, with its work: answers when it committed, and `None` when it wrote nothing or had failed.
    pub async fn commit(&mut self, version: CatalogVersion) -> Result<Option<Timestamp>, Report> {
        let Self::Open { transaction: Some(transaction), .. } = std::mem::take(self) else { return Ok(None) };
        match transaction.commit(version, &mut WriteSet::default(), LockWait::FOREVER).await? {
            Committed::At(at) => Ok(Some(at)),
            Committed::Refused(_) => Err(Report::internal("a commit without writes was refused")),
        }
    }

    /// Ends the block without its work.
    pub async fn rollback(&mut self) {
        if let Self::Open { transaction: Some(transaction), .. } = std::mem::take(self) {
            transaction.abort().await;
        }
    }

    /// The block's transaction, begun now if the block has not written yet; `None` outside a block.
    pub async fn transaction(&mut self, coordinator: &Arc<Coordinator>) -> Result<Option<&mut Transaction>, Report> {
        let Self::Open { transaction, .. } = self else { return Ok(None) };
        if transaction.is_none() {
            *transaction = Some(Transaction::begin(coordinator).await?);
        }
        Ok(transaction.as_mut())
    }
}
