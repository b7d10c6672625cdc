//! The coordinator's side of transactions: see [`rpc::worker_api`] for the protocol.
//!
//! A [`Transaction`] is what a statement (or a block) does at the workers under one id. A statement by itself whose writes all go to one worker
//! has none: its commit is one message. What a session knows of BEGIN … COMMIT is [`crate::transaction_block`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::error::Report;
use common::ids::{CatalogVersion, OwnWrites, RelationId, Timestamp, TransactionId, WorkerId};
use common::sqlstate::SqlState;
use futures::future::join_all;
use parking_lot::Mutex;
use query::read_log::ReadLog;
use rpc::worker_api::{
    CommitRequest, CommitResponse, LockWait, Outcome, PartitionWrites, PrepareRequest, PrepareResponse, UndoRequest, Validation, Vote,
    WorkerApi, WriteRequest, WriteResponse,
};

use crate::coordinator::Coordinator;
use crate::write_set::{Refusal, RefusalKind, WriteSet};

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

/// Whether a participant has answered: from then on it must be there.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<AtomicBool>);

impl Known {
    /// Whether it has answered.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Notes that it has.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// What a transaction knows of one of its workers.
#[derive(Clone, Debug, Default)]
struct Participant {
    known: Known,
    /// The number of the last write request that went there; 0 without any.
    last_write: u64,
    /// How often its writes were undone.
    undos: u32,
}

/// A place in a transaction's writes, to go back to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    /// The timestamp of the newest write before it.
    written: Timestamp,
    /// How many write requests were sent before it.
    writes: u64,
    /// Whether some of them were not undone before it.
    has_written: bool,
}

/// What a serializable transaction has read, and when.
#[derive(Clone, Debug)]
pub struct SerializableReads {
    pub snapshot: Timestamp,
    pub log: Arc<ReadLog>,
}

/// A transaction with an id. One that is dropped without an end is aborted in the background.
pub struct Transaction {
    coordinator: Arc<Coordinator>,
    id: TransactionId,
    participants: BTreeMap<WorkerId, Participant>,
    /// The timestamp of the newest write that was answered.
    written: Arc<AtomicU64>,
    /// How many write requests were sent.
    writes: u64,
    /// Whether some of them are not undone.
    has_written: bool,
    /// The key spaces that were written.
    relations: BTreeSet<RelationId>,
    serializable: Option<SerializableReads>,
    ended: bool,
}

impl Transaction {
    /// Begins: takes an id from the oracle.
    pub async fn begin(coordinator: &Arc<Coordinator>) -> Result<Self, Report> {
        let id = TransactionId(coordinator.timestamp().await?.0);
        Ok(Self {
            coordinator: Arc::clone(coordinator),
            id,
            participants: BTreeMap::new(),
            written: Arc::default(),
            writes: 0,
            has_written: false,
            relations: BTreeSet::new(),
            serializable: None,
            ended: false,
        })
    }

    /// These reads are validated when it commits. Nothing may have been written yet.
    pub fn validate(&mut self, reads: Option<SerializableReads>) {
        self.serializable = reads;
    }

    /// The workers that vote on its writes; none when it has not written.
    pub fn voters(&self) -> Vec<WorkerId> {
        if self.has_written { self.participants.keys().copied().collect() } else { Vec::new() }
    }

    /// Whether it has written rows (or entries) of a key space.
    pub fn has_written(&self, relation: RelationId) -> bool {
        self.relations.contains(&relation)
    }

    /// Its id.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// The coordinator that runs it.
    pub fn coordinator(&self) -> &Arc<Coordinator> {
        &self.coordinator
    }

    /// What a statement that begins now sees of its writes.
    pub fn own_writes(&self) -> OwnWrites {
        OwnWrites { transaction: self.id, up_to: Timestamp(self.written.load(Ordering::Acquire)) }
    }

    /// Notes that a worker holds something of it; done before the worker is asked, so that an unanswered call is cleaned up as well. Who has asked
    /// notes in the answer whether it was answered.
    pub fn touch(&mut self, worker: WorkerId) -> Known {
        self.participant(worker).known.clone()
    }

    fn participant(&mut self, worker: WorkerId) -> &mut Participant {
        let (coordinator, id) = (&self.coordinator, self.id);
        self.participants.entry(worker).or_insert_with(|| {
            coordinator.transactions.touch(id, std::iter::once(worker));
            Participant::default()
        })
    }

    /// The place in its writes that has been reached. No write may be on its way.
    pub fn mark(&self) -> Mark {
        Mark { written: Timestamp(self.written.load(Ordering::Acquire)), writes: self.writes, has_written: self.has_written }
    }

    /// Undoes everything that was written since, at the workers that were told to write since. Locks stay until the end.
    pub async fn undo(&mut self, to: Mark) -> Result<(), Report> {
        let (id, coordinator, written) = (self.id, &self.coordinator, &self.written);
        let calls =
            self.participants.iter_mut().filter(|(_, participant)| participant.last_write > to.writes).map(|(worker, participant)| {
                participant.undos += 1;
                let is_known = participant.known.get();
                let request = UndoRequest { transaction: id, after: to.written, undos: participant.undos, is_known };
                let api = coordinator.worker(*worker);
                async move {
                    let at = api?.undo(request).await?;
                    // Later marks are above what was undone.
                    written.fetch_max(at.0, Ordering::AcqRel);
                    participant.known.set();
                    participant.last_write = to.writes;
                    Ok::<_, Report>(())
                }
            });
        join_all(calls).await.into_iter().collect::<Result<(), Report>>()?;
        self.has_written = to.has_written;
        Ok(())
    }

    /// Writes provisionally, at all owners at once.
    pub async fn write(&mut self, version: CatalogVersion, writes: &mut WriteSet, wait: LockWait) -> Result<Option<Refusal>, Report> {
        self.requests(version, writes, wait).send().await
    }

    /// Begins to write provisionally; the answer comes from the task, which ends when its handle is dropped.
    pub fn begin_write(&mut self, version: CatalogVersion, writes: &mut WriteSet, wait: LockWait) -> WriteInFlight {
        WriteInFlight(common::tasks::spawn("write", self.requests(version, writes, wait).send()))
    }

    fn requests(&mut self, catalog_version: CatalogVersion, writes: &mut WriteSet, wait: LockWait) -> Writing {
        self.writes += 1;
        self.has_written = true;
        let (number, transaction, is_serializable) = (self.writes, self.id, self.serializable.is_some());
        let requests = writes.take().into_iter().map(|(worker, partitions)| {
            self.relations.extend(partitions.iter().map(|part| part.relation));
            let participant = self.participant(worker);
            participant.last_write = number;
            let (known, undos) = (participant.known.clone(), participant.undos);
            let request = WriteRequest { catalog_version, transaction, partitions, wait, is_known: known.get(), undos, is_serializable };
            (worker, known, request)
        });
        let requests = requests.collect();
        let reads = self.serializable.as_ref().map(|reads| Arc::clone(&reads.log));
        Writing { coordinator: Arc::clone(&self.coordinator), requests, written: Arc::clone(&self.written), reads }
    }

    /// Commits, with the last writes.
    pub async fn commit(mut self, version: CatalogVersion, writes: &mut WriteSet, wait: LockWait) -> Result<Committed, Report> {
        for worker in writes.workers().collect::<Vec<_>>() {
            self.touch(worker);
        }
        let mut reads = self.reads_to_validate(writes);
        let result = match self.participants.len() {
            0 => Ok(Committed::At(Timestamp(self.id.0))),
            // Locks without writes: nothing is to be agreed on.
            _ if !self.has_written && writes.is_empty() => {
                self.abort_now().await;
                return Ok(Committed::At(Timestamp(self.id.0)));
            }
            1 => self.commit_on_one(version, writes, wait, &mut reads).await,
            _ => self.commit_on_several(version, writes, wait, &mut reads).await,
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

    /// What a serializable transaction has read, by worker; each worker where it has read takes part in the commit. One that has written nothing
    /// needs no validation: it stands where its snapshot is.
    fn reads_to_validate(&mut self, writes: &WriteSet) -> Option<BTreeMap<WorkerId, Validation>> {
        let reads = self.serializable.clone().filter(|_| self.has_written || !writes.is_empty())?;
        let mut by_worker = reads.log.by_worker();
        for worker in by_worker.keys() {
            self.touch(*worker);
        }
        let validation = |worker: &WorkerId| Validation { snapshot: reads.snapshot, reads: by_worker.remove(worker).unwrap_or_default() };
        let participants: Vec<WorkerId> = self.participants.keys().copied().collect();
        Some(participants.iter().map(validation).zip(&participants).map(|(validation, worker)| (*worker, validation)).collect())
    }

    async fn commit_on_one(
        &self,
        catalog_version: CatalogVersion,
        writes: &mut WriteSet,
        wait: LockWait,
        reads: &mut Option<BTreeMap<WorkerId, Validation>>,
    ) -> Result<Committed, Report> {
        let (worker, participant) = self.participants.first_key_value().expect("the caller counted one participant");
        let writes = writes.take().pop().map(|(_, writes)| writes).unwrap_or_default();
        let validation = reads.as_mut().and_then(|reads| reads.remove(worker));
        let request =
            CommitRequest { catalog_version, transaction: Some(self.id), writes, wait, is_known: participant.known.get(), validation };
        commit_at(&self.coordinator, *worker, request).await
    }

    async fn commit_on_several(
        &self,
        version: CatalogVersion,
        writes: &mut WriteSet,
        wait: LockWait,
        reads: &mut Option<BTreeMap<WorkerId, Validation>>,
    ) -> Result<Committed, Report> {
        let mut by_worker: HashMap<WorkerId, Vec<PartitionWrites>> = writes.take().into_iter().collect();
        let names: Vec<WorkerId> = self.participants.keys().copied().collect();
        let calls = self.participants.iter().map(|(&worker, participant)| {
            let request = PrepareRequest {
                catalog_version: version,
                transaction: self.id,
                participants: names.clone(),
                writes: by_worker.remove(&worker).unwrap_or_default(),
                wait,
                is_known: participant.known.get(),
                validation: reads.as_mut().and_then(|reads| reads.remove(&worker)),
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
        decide(&self.coordinator, self.id, self.participants.keys().copied().collect(), Outcome::Aborted).await;
        self.coordinator.transactions.forget(self.id);
    }

    fn finish(&mut self) {
        self.ended = true;
        self.coordinator.transactions.forget(self.id);
    }

    fn tell(&self, outcome: Outcome) {
        let (coordinator, id) = (Arc::clone(&self.coordinator), self.id);
        let participants = self.participants.keys().copied().collect();
        common::tasks::spawn("decide", async move { decide(&coordinator, id, participants, outcome).await });
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

/// Write requests, ready to go.
struct Writing {
    coordinator: Arc<Coordinator>,
    requests: Vec<(WorkerId, Known, WriteRequest)>,
    written: Arc<AtomicU64>,
    /// Of a serializable transaction: what it has read.
    reads: Option<Arc<ReadLog>>,
}

impl Writing {
    async fn send(self) -> Result<Option<Refusal>, Report> {
        let (written, reads) = (&self.written, &self.reads);
        let calls = self.requests.into_iter().map(|(worker, known, request)| {
            let api = self.coordinator.worker(worker);
            async move {
                let sent = request.partitions.clone();
                let response = api?.write(request).await?;
                known.set();
                match response {
                    WriteResponse::Written(at) => {
                        written.fetch_max(at.0, Ordering::AcqRel);
                        Ok(None)
                    }
                    WriteResponse::Refused(outcome) => {
                        let refusal = Refusal::find(&sent, &outcome)?;
                        // The sender has learnt that the row is there.
                        if let (Some(refusal), Some(reads)) = (&refusal, reads) {
                            note_refusal(reads, worker, &sent, refusal);
                        }
                        Ok(refusal)
                    }
                }
            }
        });
        first_refusal(join_all(calls).await)
    }
}

fn note_refusal(reads: &ReadLog, worker: WorkerId, sent: &[PartitionWrites], refusal: &Refusal) {
    if let Some(part) = sent.iter().find(|part| part.relation == refusal.relation && part.writes.iter().any(|w| w.key == refusal.key)) {
        reads.add_key(worker, part.partition, part.relation, &refusal.key);
        if let RefusalKind::Duplicate { existing, .. } = &refusal.kind {
            reads.add_key(worker, part.partition, part.relation, existing);
        }
    }
}

async fn decide(coordinator: &Coordinator, id: TransactionId, participants: Vec<WorkerId>, outcome: Outcome) {
    let calls = participants.into_iter().map(|worker| async move {
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

async fn commit_at(coordinator: &Coordinator, id: WorkerId, request: CommitRequest) -> Result<Committed, Report> {
    let worker: Arc<dyn WorkerApi> = coordinator.worker(id)?;
    // Who is refused must be found again in what was sent; only writes with a precondition can be.
    let sent = request.writes.clone();
    match worker.commit(request).await? {
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
            let writes = writes.take().pop().map(|(_, writes)| writes).unwrap_or_default();
            let request = CommitRequest { catalog_version: version, transaction: None, writes, wait, is_known: false, validation: None };
            commit_at(coordinator, worker, request).await
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
