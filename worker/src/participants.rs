//! Transactions at this worker: who has begun here, what they hold, how far they are.
//!
//! # Invariants
//!
//! - A participant is here from the first call of its transaction until its end is applied; its locks are released then, and not before.
//! - Calls of one transaction run one after another; an abort ends the one that waits for a lock.
//! - A vote once made stays until the outcome is known: from the coordinator, or from all other participants. A participant without a
//!   vote whose coordinator is silent for [`IDLE_LIMIT`] is aborted.
//! - The outcome is final when the log says so; the log takes the first decision.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use common::ids::{PartitionId, Timestamp, TransactionId, WorkerId};
use parking_lot::Mutex;
use rpc::worker_api::Outcome;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::{Result, WorkerError};
use crate::locks::{Held, LockTable, Owner};
use crate::sizes::SizeChange;
use crate::table_locks::AnnouncedTable;
use crate::validation::{Entered, KeySets};
use crate::writers::Writing;
use crate::writes::Plan;

/// A participant that has not voted and is not heard of for this long is aborted.
pub(crate) const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// Ended transactions that are remembered to refuse their late calls.
const ENDED_MAX: usize = 16_384;

/// How far a participant is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// It takes calls.
    Open,
    /// Its commit, vote or end is on the way to the log.
    Busy,
    Prepared(Timestamp),
    Ended(Outcome),
}

#[derive(Debug)]
struct Possessions {
    held: Held,
    writing: Vec<Writing>,
    tables: Vec<AnnouncedTable>,
    /// By the timestamps of the writes.
    sizes: Vec<(Timestamp, Vec<(PartitionId, SizeChange)>)>,
    /// Of a serializable transaction: what it has written, what was undone included.
    written: KeySets,
    /// Of one that commits.
    entered: Option<Entered>,
    /// How often writes were undone.
    undos: u32,
    heard: Duration,
    /// Something of it is in the log.
    has_written: bool,
    participants: Vec<WorkerId>,
}

/// One transaction here.
#[derive(Debug)]
pub(crate) struct Participant {
    pub(crate) id: TransactionId,
    /// Held by the call that runs.
    pub(crate) turn: Arc<tokio::sync::Mutex<()>>,
    /// Held by who asks the other participants.
    pub(crate) asking: tokio::sync::Mutex<()>,
    /// Cancelled when it shall be aborted, for the call that waits for a lock.
    pub(crate) aborting: CancellationToken,
    /// The number of the client's session that it belongs to; 0 as long as no call has told it.
    session: AtomicI32,
    phase: watch::Sender<Phase>,
    possessions: Mutex<Possessions>,
}

impl Participant {
    fn new(id: TransactionId, locks: &Arc<LockTable>, now: Duration) -> Self {
        let possessions = Possessions {
            held: Held::new(locks, Owner::Transaction(id)),
            writing: Vec::new(),
            tables: Vec::new(),
            sizes: Vec::new(),
            written: KeySets::default(),
            entered: None,
            undos: 0,
            heard: now,
            has_written: false,
            participants: Vec::new(),
        };
        Self {
            id,
            turn: Arc::default(),
            asking: tokio::sync::Mutex::default(),
            aborting: CancellationToken::new(),
            session: AtomicI32::new(0),
            phase: watch::channel(Phase::Open).0,
            possessions: Mutex::new(possessions),
        }
    }

    pub(crate) fn session(&self) -> i32 {
        self.session.load(Ordering::Relaxed)
    }

    /// Notes the session, where a call tells it.
    pub(crate) fn set_session(&self, session: i32) {
        if session != 0 {
            self.session.store(session, Ordering::Relaxed);
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Waits until nothing of it is on the way to the log.
    pub(crate) async fn not_busy(&self) -> Phase {
        self.wait_for(|phase| phase != Phase::Busy).await
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) -> Phase {
        self.wait_for(|phase| matches!(phase, Phase::Ended(_))).await
    }

    async fn wait_for(&self, is_it: impl Fn(Phase) -> bool) -> Phase {
        let mut phases = self.phase.subscribe();
        // The sender is `self`: it cannot be gone.
        phases.wait_for(|phase| is_it(*phase)).await.map_or(Phase::Busy, |phase| *phase)
    }

    /// Notes a sign of life.
    pub(crate) fn hear(&self, now: Duration) {
        self.possessions.lock().heard = now;
    }

    /// When it was last heard of.
    pub(crate) fn heard(&self) -> Duration {
        self.possessions.lock().heard
    }

    /// Keeps locks until the end.
    pub(crate) fn keep(&self, held: Held) {
        self.possessions.lock().held.absorb(held);
    }

    /// Keeps a table's lock announced until the end.
    pub(crate) fn keep_table(&self, table: AnnouncedTable) {
        self.possessions.lock().tables.push(table);
    }

    /// Keeps a catalog state from being passed until the end.
    pub(crate) fn keep_writing(&self, writing: Writing) {
        let mut possessions = self.possessions.lock();
        if !possessions.writing.iter().any(|earlier| earlier.covers(&writing)) {
            possessions.writing.push(writing);
        }
    }

    /// Adds to what its commit changes of partitions' sizes.
    pub(crate) fn add_sizes(&self, at: Timestamp, sizes: Vec<(PartitionId, SizeChange)>) {
        self.possessions.lock().sizes.push((at, sizes));
    }

    /// Remembers keys for the validation.
    pub(crate) fn remember(&self, plan: &Plan) {
        plan.add_keys(&mut self.possessions.lock().written);
    }

    /// What it has written, if it was remembered.
    pub(crate) fn written(&self) -> KeySets {
        self.possessions.lock().written.clone()
    }

    /// Protects what was validated until the end.
    pub(crate) fn keep_entered(&self, entered: Entered) {
        self.possessions.lock().entered = Some(entered);
    }

    /// How often writes were undone here.
    pub(crate) fn undos(&self) -> u32 {
        self.possessions.lock().undos
    }

    /// Notes that the writes above `after` are undone, by that undo.
    pub(crate) fn set_undone(&self, after: Timestamp, undos: u32) {
        let mut possessions = self.possessions.lock();
        possessions.undos = undos;
        possessions.sizes.retain(|(at, _)| *at <= after);
    }

    pub(crate) fn has_written(&self) -> bool {
        self.possessions.lock().has_written
    }

    pub(crate) fn set_written(&self) {
        self.possessions.lock().has_written = true;
    }

    pub(crate) fn others(&self, me: WorkerId) -> Vec<WorkerId> {
        self.possessions.lock().participants.iter().copied().filter(|worker| *worker != me).collect()
    }

    pub(crate) fn set_participants(&self, participants: Vec<WorkerId>) {
        self.possessions.lock().participants = participants;
    }
}

#[derive(Debug, Default)]
struct Ended {
    order: VecDeque<TransactionId>,
    outcomes: HashSet<TransactionId>,
}

/// All transactions at this worker.
#[derive(Debug)]
pub(crate) struct Participants {
    locks: Arc<LockTable>,
    live: Mutex<HashMap<TransactionId, Arc<Participant>>>,
    ended: Mutex<Ended>,
}

impl Participants {
    pub(crate) fn new(locks: &Arc<LockTable>) -> Self {
        Self { locks: Arc::clone(locks), live: Mutex::default(), ended: Mutex::default() }
    }

    /// One that is here.
    pub(crate) fn get(&self, id: TransactionId) -> Option<Arc<Participant>> {
        self.live.lock().get(&id).cloned()
    }

    /// All that are here.
    pub(crate) fn all(&self) -> Vec<Arc<Participant>> {
        self.live.lock().values().cloned().collect()
    }

    /// The participant, made if it is new and `may_begin` (asked under the lock under which ends are noted) agrees.
    pub(crate) fn enter(&self, id: TransactionId, now: Duration, may_begin: impl FnOnce() -> bool) -> Result<Arc<Participant>> {
        let mut live = self.live.lock();
        if let Some(participant) = live.get(&id) {
            participant.hear(now);
            return Ok(Arc::clone(participant));
        }
        if self.ended.lock().outcomes.contains(&id) || !may_begin() {
            return Err(WorkerError::TransactionEnded(id));
        }
        let participant = Arc::new(Participant::new(id, &self.locks, now));
        live.insert(id, Arc::clone(&participant));
        Ok(participant)
    }

    /// Notes a sign of life of those that are here.
    pub(crate) fn hear(&self, ids: &[TransactionId], now: Duration) {
        let live = self.live.lock();
        for participant in ids.iter().filter_map(|id| live.get(id)) {
            participant.hear(now);
        }
    }

    /// Ends one whose end is applied (or that left nothing in the log): its locks go, those who wait for its outcome go on. Answers
    /// what its commit changed of partitions' sizes.
    pub(crate) fn end(&self, participant: &Participant, outcome: Outcome) -> Vec<(PartitionId, SizeChange)> {
        self.forbid(participant.id);
        self.live.lock().remove(&participant.id);
        let (held, writing, tables, sizes, entered) = {
            let mut possessions = participant.possessions.lock();
            let none = Held::new(&self.locks, Owner::Transaction(participant.id));
            (
                std::mem::replace(&mut possessions.held, none),
                std::mem::take(&mut possessions.writing),
                std::mem::take(&mut possessions.tables),
                std::mem::take(&mut possessions.sizes),
                possessions.entered.take(),
            )
        };
        participant.set_phase(Phase::Ended(outcome));
        participant.aborting.cancel();
        drop(entered);
        drop(held);
        drop(writing);
        drop(tables);
        if outcome == Outcome::Aborted { Vec::new() } else { sizes.into_iter().flat_map(|(_, sizes)| sizes).collect() }
    }

    /// Refuses later calls of a transaction.
    pub(crate) fn forbid(&self, id: TransactionId) {
        let mut ended = self.ended.lock();
        if ended.outcomes.insert(id) {
            ended.order.push_back(id);
            if ended.order.len() > ENDED_MAX
                && let Some(oldest) = ended.order.pop_front()
            {
                ended.outcomes.remove(&oldest);
            }
        }
    }
}
