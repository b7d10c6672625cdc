//! The protocol of [`rpc::worker_api`] at this worker: locks, provisional writes, commit, votes and decisions.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::ids::{GroupId, OwnWrites, Timestamp, TransactionId};
use rpc::locks::{LockMode, LockWait, WaitLimit};
use rpc::worker_api::{
    CommitRequest, CommitResponse, FoundRow, LockRequest, LockedRow, Outcome, PartitionWrites, PrepareRequest, PrepareResponse,
    UndoRequest, Validation, Vote, WriteRequest, WriteResponse,
};
use storage::{Frame, ReadOutcome, Record, TransactionState};
use tokio::sync::OwnedMutexGuard;

use crate::commit::{Job, STAMP};
use crate::core::Core;
use crate::error::{Result, WorkerError};
use crate::locks::{Held, LockKey, Owner};
use crate::participants::{IDLE_LIMIT, Participant, Phase};
use crate::writes::{Plan, Planned, plan};

/// Where the log says what is about a transaction as a whole.
const TRANSACTIONS_GROUP: GroupId = GroupId(0);
/// How long a reader waits for the coordinator's decision before it asks the participants.
const READER_PATIENCE: Duration = Duration::from_millis(500);
/// How long a vote waits for its decision before this worker asks the other participants.
const VOTE_PATIENCE: Duration = Duration::from_secs(3);
/// How long somebody who asks for a vote waits for the call that may be making it.
const VOTE_WAIT: Duration = Duration::from_secs(5);
/// How long a reader waits for an outcome altogether.
const RESOLVE_LIMIT: Duration = Duration::from_secs(30);
/// How long somebody who does not wait for locks waits for the outcome of a commit that is under way.
const OUTCOME_PATIENCE: Duration = Duration::from_millis(200);
/// How often a lock that is not waited for is tried again after the outcome of one that had it.
const OUTCOMES_MAX: u32 = 5;
/// Between two rounds of asking.
const RESOLVE_PAUSE: Duration = Duration::from_millis(100);

pub(crate) type Turn = (Arc<Participant>, OwnedMutexGuard<()>);

impl Core {
    /// See [`rpc::worker_api::WorkerApi::lock`].
    pub(crate) async fn lock(self: &Arc<Self>, request: LockRequest) -> Result<Vec<LockedRow>> {
        let state = self.state(request.catalog_version).await?;
        self.check(&state, request.relation, request.partition)?;
        let (participant, _turn) = self.turn(request.transaction, request.wait.session, request.is_known).await?;
        let mut held = Held::new(&self.locks, Owner::Transaction(request.transaction));
        let taken = unless_aborted(&participant, self.take_rows(&request, &mut held)).await;
        participant.keep(held);
        let is_locked = taken.map_err(|error| error.naming_relation(&state))?;
        let mut rows = Vec::with_capacity(request.keys.len());
        for (key, is_locked) in request.keys.iter().zip(is_locked) {
            if !is_locked {
                rows.push(LockedRow::Skipped);
                continue;
            }
            rows.push(loop {
                let view = self.engine.view(request.partition.group);
                match view.get(request.relation, key, Timestamp::MAX, Some(OwnWrites::all(request.transaction)))? {
                    ReadOutcome::Missing => break LockedRow::Missing,
                    ReadOutcome::Row { version, value } => break LockedRow::Found(FoundRow { version, row: value }),
                    ReadOutcome::Undecided(transaction) => self.resolve(transaction).await?,
                }
            });
        }
        Ok(rows)
    }

    /// Locks the rows of a request; tells which ones it has.
    async fn take_rows(self: &Arc<Self>, request: &LockRequest, held: &mut Held) -> Result<Vec<bool>> {
        let key_of = |key: &Bytes| LockKey::row(request.relation, key.clone());
        self.enter_table(request.relation, LockMode::RowShare, held, request.wait).await?;
        if request.wait.limit == WaitLimit::Skip {
            let mut left = request.rows_max.unwrap_or(u32::MAX);
            let mut is_locked = vec![false; request.keys.len()];
            for (key, is_locked) in request.keys.iter().zip(&mut is_locked) {
                *is_locked = left > 0 && self.take_now(held, &key_of(key), request.mode).await?;
                left -= u32::from(*is_locked);
            }
            return Ok(is_locked);
        }
        let mut keys: Vec<_> = request.keys.iter().map(key_of).collect();
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            if request.wait.limit == WaitLimit::No && self.take_now(held, &key, request.mode).await? {
                continue;
            }
            held.take(key, request.mode, request.wait).await?;
        }
        Ok(vec![true; request.keys.len()])
    }

    /// Takes a lock without waiting for its holder; but one that has voted to commit may have committed already, for all that its client knows, and
    /// its outcome is on the way.
    pub(crate) async fn take_now(&self, held: &mut Held, key: &LockKey, mode: LockMode) -> Result<bool> {
        for _ in 0..OUTCOMES_MAX {
            if held.take_free(key, mode) {
                return Ok(true);
            }
            let holders = self.locks.holders(key).into_iter().map(|(owner, _)| owner);
            if !self.await_outcomes(holders).await {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Waits, not for long, for the outcomes of those that have voted; tells whether one of them has ended.
    pub(crate) async fn await_outcomes(&self, owners: impl Iterator<Item = Owner>) -> bool {
        let ids = owners.filter_map(|owner| if let Owner::Transaction(id) = owner { Some(id) } else { None });
        let voted: Vec<_> = ids.filter_map(|id| self.participants.get(id)).filter(|p| !matches!(p.phase(), Phase::Open)).collect();
        let ended = futures::future::join_all(voted.iter().map(|participant| participant.ended()));
        !voted.is_empty() && tokio::time::timeout(OUTCOME_PATIENCE, ended).await.is_ok()
    }

    /// See [`rpc::worker_api::WorkerApi::write`].
    pub(crate) async fn write(self: &Arc<Self>, request: WriteRequest) -> Result<WriteResponse> {
        let (participant, _turn) = self.turn(request.transaction, request.wait.session, request.is_known).await?;
        if request.undos < participant.undos() {
            return Err(WorkerError::Undone(request.transaction));
        }
        let mut plan = match self.plan_for(&participant, request.catalog_version, request.partitions, request.wait).await? {
            Planned::Refused(outcome) => return Ok(WriteResponse::Refused(outcome)),
            Planned::Ready(plan) => plan,
        };
        if plan.is_empty() {
            return Ok(WriteResponse::Written(Timestamp::MIN));
        }
        participant.set_written();
        if request.is_serializable {
            participant.remember(&plan);
        }
        let sizes = std::mem::take(&mut plan.sizes);
        let at = self.pipeline.submit(Job::stamped(provisional(&participant, plan)).buffered()).await?;
        participant.add_sizes(at, sizes);
        Ok(WriteResponse::Written(at))
    }

    /// See [`rpc::worker_api::WorkerApi::undo`].
    ///
    /// The record is not synced: what it voids is not either, and a vote or commit, which comes behind it in the log, syncs both.
    pub(crate) async fn undo(self: &Arc<Self>, request: UndoRequest) -> Result<Timestamp> {
        let UndoRequest { transaction, after, undos, is_known } = request;
        let (participant, _turn) = self.turn(transaction, 0, is_known).await?;
        if undos <= participant.undos() {
            return Err(WorkerError::Undone(transaction));
        }
        participant.set_undone(after, undos);
        if !participant.has_written() {
            return Ok(after);
        }
        let frame = vec![(TRANSACTIONS_GROUP, Record::Undo { transaction, after, at: STAMP })];
        Ok(self.pipeline.submit(Job::stamped(frame).buffered()).await?)
    }

    /// See [`rpc::worker_api::WorkerApi::commit`].
    pub(crate) async fn commit(self: &Arc<Self>, request: CommitRequest) -> Result<CommitResponse> {
        let Some(id) = request.transaction else { return self.commit_statement(request).await };
        let (participant, _turn) = self.turn(id, request.wait.session, request.is_known).await?;
        let mut plan = match self.plan_for(&participant, request.catalog_version, request.writes, request.wait).await? {
            Planned::Refused(outcome) => return Ok(CommitResponse::Refused(outcome)),
            Planned::Ready(plan) => plan,
        };
        self.validate_for(&participant, request.validation, &plan).await?;
        participant.add_sizes(Timestamp::MAX, std::mem::take(&mut plan.sizes));
        let frame = if participant.has_written() {
            let mut frame = provisional(&participant, plan);
            frame.push((TRANSACTIONS_GROUP, Record::Decide { transaction: id, outcome: Some(STAMP) }));
            frame
        } else if plan.is_empty() {
            let at = self.timestamp().await?;
            self.participants.end(&participant, Outcome::Committed(at));
            return Ok(CommitResponse::Committed(at));
        } else {
            plan.frame(|changes| Record::Write { at: STAMP, changes })
        };
        participant.set_phase(Phase::Busy);
        let core = Arc::clone(self);
        let job = Job::stamped(frame).then(Box::new(move |at| match at {
            Some(at) => core.end(&participant, Outcome::Committed(at)),
            None => participant.set_phase(Phase::Open),
        }));
        Ok(CommitResponse::Committed(self.pipeline.submit(job).await?))
    }

    async fn commit_statement(self: &Arc<Self>, request: CommitRequest) -> Result<CommitResponse> {
        let mut held = Held::for_statement(&self.locks, request.wait.session);
        let (state, writing) = self.admit_writes(request.catalog_version, &request.writes, &mut held, request.wait).await?;
        let mut plan = match plan(self, state, request.writes, None, &mut held, request.wait).await? {
            Planned::Refused(outcome) => return Ok(CommitResponse::Refused(outcome)),
            Planned::Ready(plan) => plan,
        };
        if plan.is_empty() {
            return Ok(CommitResponse::Committed(self.timestamp().await?));
        }
        let sizes = std::mem::take(&mut plan.sizes);
        let frame = plan.frame(|changes| Record::Write { at: STAMP, changes });
        let at = self.pipeline.submit(Job::stamped(frame).holding(held, writing)).await?;
        self.sizes.add(&sizes);
        Ok(CommitResponse::Committed(at))
    }

    /// See [`rpc::worker_api::WorkerApi::prepare`].
    pub(crate) async fn prepare(self: &Arc<Self>, request: PrepareRequest) -> Result<PrepareResponse> {
        let (participant, _turn) = self.turn(request.transaction, request.wait.session, request.is_known).await?;
        let mut plan = match self.plan_for(&participant, request.catalog_version, request.writes, request.wait).await? {
            Planned::Refused(outcome) => return Ok(PrepareResponse::Refused(outcome)),
            Planned::Ready(plan) => plan,
        };
        self.validate_for(&participant, request.validation, &plan).await?;
        participant.add_sizes(Timestamp::MAX, std::mem::take(&mut plan.sizes));
        let mut frame = provisional(&participant, plan);
        let (transaction, participants) = (request.transaction, request.participants);
        participant.set_participants(participants.clone());
        frame.push((TRANSACTIONS_GROUP, Record::Prepare { transaction, at: STAMP, participants }));
        participant.set_written();
        participant.set_phase(Phase::Busy);
        let now = self.clock.monotonic();
        let job = Job::stamped(frame).then(Box::new(move |at| {
            participant.hear(now);
            participant.set_phase(at.map_or(Phase::Open, Phase::Prepared));
        }));
        Ok(PrepareResponse::Voted(self.pipeline.submit(job).await?))
    }

    /// See [`rpc::worker_api::WorkerApi::decide`].
    pub(crate) async fn decide(self: &Arc<Self>, id: TransactionId, outcome: Outcome) -> Result<()> {
        let Some(participant) = self.participants.get(id) else {
            if outcome == Outcome::Aborted {
                self.participants.forbid(id);
            }
            return Ok(());
        };
        if outcome == Outcome::Aborted {
            participant.aborting.cancel();
        }
        let _turn = participant.turn.lock().await;
        match participant.not_busy().await {
            Phase::Ended(_) => Ok(()),
            Phase::Open if outcome != Outcome::Aborted => {
                Err(WorkerError::Background(format!("transaction {id} cannot commit: this worker has not voted")))
            }
            Phase::Open | Phase::Busy | Phase::Prepared(_) => self.put_end(&participant, outcome, false).await,
        }
    }

    /// See [`rpc::worker_api::WorkerApi::vote_of`].
    pub(crate) async fn vote_of(self: &Arc<Self>, id: TransactionId) -> Result<Vote> {
        let Ok(participant) = self.participants.enter(id, self.clock.monotonic(), || self.is_undecided(id)) else {
            return Ok(match self.engine.transaction_state(id) {
                TransactionState::Committed(at) => Vote::Decided(Outcome::Committed(at)),
                TransactionState::Prepared { at, .. } => Vote::Prepared(at),
                TransactionState::Aborted => Vote::Decided(Outcome::Aborted),
                // It ended without a trace in the log: make the trace.
                TransactionState::Open | TransactionState::Unknown => {
                    self.pipeline.submit(Job::plain(abort_frame(id))).await?;
                    Vote::Forbidden
                }
            });
        };
        // The call that runs may be making the vote: wait for it, within limits.
        let _late = tokio::time::timeout(VOTE_WAIT, async {
            drop(participant.turn.lock().await);
            participant.not_busy().await
        })
        .await;
        if let Some(vote) = vote_in(participant.phase()) {
            return Ok(vote);
        }
        participant.aborting.cancel();
        let _turn = participant.turn.lock().await;
        if let Some(vote) = vote_in(participant.not_busy().await) {
            return Ok(vote);
        }
        self.put_end(&participant, Outcome::Aborted, true).await?;
        Ok(Vote::Forbidden)
    }

    /// Waits until the outcome of a transaction that has voted here is applied, so that a read that met it can be made again.
    pub(crate) async fn resolve(self: &Arc<Self>, id: TransactionId) -> Result<()> {
        let Some(participant) = self.participants.get(id) else {
            // Its end was applied meanwhile; anything else is a vote without a voter, which must not become a busy loop.
            if matches!(self.engine.transaction_state(id), TransactionState::Prepared { .. }) {
                tokio::time::sleep(RESOLVE_PAUSE).await;
            }
            return Ok(());
        };
        let resolved = tokio::time::timeout(RESOLVE_LIMIT, async {
            if tokio::time::timeout(READER_PATIENCE, participant.ended()).await.is_ok() {
                return;
            }
            while let Err(error) = self.ask(&participant).await {
                tracing::debug!(%id, %error, "the outcome cannot be learnt yet");
                if tokio::time::timeout(RESOLVE_PAUSE, participant.ended()).await.is_ok() {
                    return;
                }
            }
        });
        resolved.await.map_err(|_| WorkerError::Undecided(id))
    }

    /// Learns the outcome from the other participants, and applies it here.
    async fn ask(self: &Arc<Self>, participant: &Arc<Participant>) -> Result<()> {
        let _asking = participant.asking.lock().await;
        let Phase::Prepared(own) = participant.phase() else { return Ok(()) };
        let others = participant.others(self.id);
        let votes = futures::future::join_all(others.into_iter().map(|worker| {
            let found = self.directory.worker(worker);
            async move { found?.vote_of(participant.id).await }
        }))
        .await;
        let (mut at, mut missing, mut outcome) = (own, None, None);
        for vote in votes {
            match vote {
                Ok(Vote::Prepared(other)) => at = at.max(other),
                Ok(Vote::Decided(decided)) => outcome = Some(decided),
                Ok(Vote::Forbidden) => outcome = Some(Outcome::Aborted),
                Err(error) => missing = Some(error),
            }
        }
        let outcome = match (outcome, missing) {
            (Some(outcome), _) => outcome,
            (None, Some(error)) => return Err(error.into()),
            (None, None) => Outcome::Committed(at),
        };
        tracing::info!(id = %participant.id, ?outcome, "an outcome was learnt from the other participants");
        self.decide(participant.id, outcome).await
    }

    /// Aborts what nobody cares for, and finds out about votes whose decision does not come. Called about every second.
    pub(crate) async fn tend_transactions(self: &Arc<Self>) {
        let now = self.clock.monotonic();
        let silent = |participant: &Participant, limit| now.saturating_sub(participant.heard()) > limit;
        for participant in self.participants.all() {
            match participant.phase() {
                Phase::Open if silent(&participant, IDLE_LIMIT) => {
                    tracing::info!(id = %participant.id, "a transaction is aborted: its coordinator is silent");
                    if let Err(error) = self.decide(participant.id, Outcome::Aborted).await {
                        tracing::warn!(id = %participant.id, %error, "a transaction could not be aborted");
                    }
                }
                Phase::Prepared(_) if silent(&participant, VOTE_PATIENCE) && participant.asking.try_lock().is_ok() => {
                    let core = Arc::clone(self);
                    common::tasks::spawn("learn_outcome", async move {
                        if let Err(error) = core.ask(&participant).await {
                            tracing::debug!(id = %participant.id, %error, "the outcome cannot be learnt yet");
                        }
                    });
                }
                Phase::Open | Phase::Busy | Phase::Prepared(_) | Phase::Ended(_) => {}
            }
        }
    }

    /// Takes up what was open when the worker stopped: transactions without a vote are aborted, the others get their locks back.
    pub(crate) async fn recover_transactions(self: &Arc<Self>) -> Result<()> {
        let mut open = Frame::new();
        for recovered in self.engine.recovered() {
            match recovered.state {
                TransactionState::Open => open.extend(abort_frame(recovered.id)),
                TransactionState::Prepared { at, participants } => {
                    let participant = self.participants.enter(recovered.id, Duration::ZERO, || true)?;
                    let mut held = Held::new(&self.locks, Owner::Transaction(recovered.id));
                    for (_, relation, key) in recovered.keys {
                        if !held.take_free(&LockKey::row(relation, key), LockMode::ForUpdate) {
                            tracing::error!(id = %recovered.id, "a key has two undecided writers");
                        }
                    }
                    participant.keep(held);
                    participant.keep_entered(self.validator.enter_recovered(recovered.id));
                    participant.set_written();
                    participant.set_participants(participants);
                    participant.set_phase(Phase::Prepared(at));
                }
                TransactionState::Committed(_) | TransactionState::Aborted | TransactionState::Unknown => {}
            }
        }
        if !open.is_empty() {
            self.pipeline.submit(Job::plain(open)).await?;
        }
        Ok(())
    }

    fn is_undecided(&self, id: TransactionId) -> bool {
        !matches!(self.engine.transaction_state(id), TransactionState::Committed(_) | TransactionState::Aborted)
    }

    /// The participant of a call, which runs alone until the guard goes; `session` is 0 where the call does not tell it. A transaction `is_known` to have been here and is not here any more
    /// has lost its locks, and maybe writes: it can only be aborted.
    pub(crate) async fn turn(&self, id: TransactionId, session: i32, is_known: bool) -> Result<Turn> {
        if is_known && self.participants.get(id).is_none() {
            return Err(WorkerError::TransactionEnded(id));
        }
        let participant = self.participants.enter(id, self.clock.monotonic(), || self.is_undecided(id))?;
        participant.set_session(session);
        let turn = Arc::clone(&participant.turn).lock_owned().await;
        let phase = participant.not_busy().await;
        match phase {
            _ if participant.aborting.is_cancelled() => Err(WorkerError::TransactionEnded(id)),
            Phase::Ended(_) | Phase::Busy => Err(WorkerError::TransactionEnded(id)),
            Phase::Prepared(_) => Err(WorkerError::AlreadyPrepared(id)),
            Phase::Open => Ok((participant, turn)),
        }
    }

    /// Plans the writes of a transaction's call; the locks stay with the transaction, however it goes.
    async fn plan_for(
        self: &Arc<Self>,
        participant: &Arc<Participant>,
        version: common::ids::CatalogVersion,
        writes: Vec<PartitionWrites>,
        wait: LockWait,
    ) -> Result<Planned> {
        let mut held = Held::new(&self.locks, Owner::Transaction(participant.id));
        let planned = unless_aborted(participant, async {
            let (state, writing) = self.admit_writes(version, &writes, &mut held, wait).await?;
            participant.keep_writing(writing);
            plan(self, state, writes, Some(participant.id), &mut held, wait).await
        })
        .await;
        participant.keep(held);
        planned
    }

    /// Validates the commit or vote of a serializable transaction; see [`crate::validation`].
    async fn validate_for(self: &Arc<Self>, participant: &Participant, validation: Option<Validation>, plan: &Plan) -> Result<()> {
        let Some(validation) = validation else { return Ok(()) };
        let mut writes = participant.written();
        plan.add_keys(&mut writes);
        participant.keep_entered(self.validate(participant.id, validation, writes).await?);
        Ok(())
    }

    /// Puts the end of a participant into the log, and lets go of it once it is applied. The caller has its turn.
    async fn put_end(self: &Arc<Self>, participant: &Arc<Participant>, outcome: Outcome, durable: bool) -> Result<()> {
        let before = participant.phase();
        if !participant.has_written() && !durable {
            self.end(participant, outcome);
            return Ok(());
        }
        let at = match outcome {
            Outcome::Committed(at) => Some(at),
            Outcome::Aborted => None,
        };
        let job = Job::plain(vec![(TRANSACTIONS_GROUP, Record::Decide { transaction: participant.id, outcome: at })]);
        let (core, ended) = (Arc::clone(self), Arc::clone(participant));
        participant.set_phase(Phase::Busy);
        let job = job.then(Box::new(move |applied| match applied {
            Some(_) => core.end(&ended, outcome),
            None => ended.set_phase(before),
        }));
        self.pipeline.submit(if durable { job } else { job.buffered() }).await?;
        Ok(())
    }

    fn end(&self, participant: &Participant, outcome: Outcome) {
        let sizes = self.participants.end(participant, outcome);
        self.sizes.add(&sizes);
    }
}

/// A transaction's changes before its end.
fn provisional(participant: &Participant, plan: Plan) -> Frame {
    plan.frame(|changes| Record::Provisional { transaction: participant.id, at: STAMP, changes })
}

fn abort_frame(transaction: TransactionId) -> Frame {
    vec![(TRANSACTIONS_GROUP, Record::Decide { transaction, outcome: None })]
}

fn vote_in(phase: Phase) -> Option<Vote> {
    match phase {
        Phase::Prepared(at) => Some(Vote::Prepared(at)),
        Phase::Ended(outcome) => Some(Vote::Decided(outcome)),
        Phase::Open | Phase::Busy => None,
    }
}

/// Does the work of a call, unless the transaction is aborted meanwhile.
pub(crate) async fn unless_aborted<T>(participant: &Participant, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        biased;
        () = participant.aborting.cancelled() => Err(WorkerError::TransactionEnded(participant.id)),
        done = work => done,
    }
}
