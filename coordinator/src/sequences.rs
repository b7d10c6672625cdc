//! The values of sequences: `nextval` and what goes with it.
//!
//! A coordinator takes runs of values from the catalog ([`catalog::sequences`]) and hands them out one by one: usually [`RUN`] at a time, as PostgreSQL
//! logs 32 values ahead, and longer runs while they are used up quickly. What a session has seen of its sequences (`currval`, `lastval`) is in its
//! [`SequenceMemory`].
//!
//! Kernels cannot wait, and nearly always need not: [`SequenceReader::next`] draws from the run in hand. When that is used up in the middle of a
//! statement, the kernel's thread is handed over to the runtime's other work until the next run is there.
//!
//! A sequence that the session's own, uncommitted changes have made or altered is not known to the catalog; its values are counted in the session, and
//! [`SequenceMemory::settle`] writes into the changes where it stands.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use catalog::changes::Change;
use catalog::objects::{Sequence, SequencePosition};
use catalog::sequences::{self, Stand};
use catalog::state::CatalogState;
use common::error::Report;
use common::ids::Oid;
use common::sqlstate::SqlState;
use parking_lot::Mutex;
use rpc::catalog_api::{SequenceAnswer, SequenceCall};
use tokio::runtime::{Handle, RuntimeFlavor};

use crate::coordinator::{CATALOG_WAIT, Coordinator};
use crate::session::Session;

/// Values that are taken at once: the one that is wanted, and as many ahead as PostgreSQL logs.
const RUN: u32 = 33;
/// The longest run.
const RUN_MAX: u32 = 8_192;
/// A run that was used up within this time is followed by one of twice its length.
const QUICK: Duration = Duration::from_millis(100);

/// A run in hand.
#[derive(Clone, Copy, Debug)]
struct Hand {
    generation: u64,
    next: i64,
    left: u32,
    increment: i64,
    /// The last value of the run.
    end: i64,
    length: u32,
    taken_at: Duration,
}

/// A sequence's run, and who may fetch the next one.
#[derive(Debug, Default)]
struct Held {
    hand: Mutex<Option<Hand>>,
    fetching: tokio::sync::Mutex<()>,
}

impl Held {
    /// The next value of the run in hand, unless it is used up or of an older generation.
    fn draw(&self, generation: u64) -> Option<i64> {
        let mut hand = self.hand.lock();
        let hand = hand.as_mut().filter(|hand| hand.left > 0 && hand.generation >= generation)?;
        let value = hand.next;
        hand.left -= 1;
        hand.next = hand.next.wrapping_add(hand.increment);
        Some(value)
    }

    /// How many values to take next.
    fn wanted(&self, sequence: &Sequence, now: Duration) -> u32 {
        let least = RUN.max(u32::try_from(sequence.cache).unwrap_or(RUN_MAX));
        match *self.hand.lock() {
            Some(hand) if now.saturating_sub(hand.taken_at) < QUICK => (hand.length * 2).clamp(least, RUN_MAX.max(least)),
            _ => least,
        }
    }
}

/// The runs that a coordinator has in hand.
#[derive(Debug, Default)]
pub struct Sequences(Mutex<HashMap<Oid, Arc<Held>>>);

impl Sequences {
    fn held(&self, sequence: Oid) -> Arc<Held> {
        Arc::clone(self.0.lock().entry(sequence).or_default())
    }

    /// Forgets the runs of sequences that are gone.
    fn prune(&self, state: &CatalogState) {
        self.0.lock().retain(|oid, _| state.sequence(*oid).is_some());
    }
}

/// What one session has seen of sequences.
#[derive(Debug, Default)]
pub struct SequenceMemory(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    current: HashMap<Oid, i64>,
    last: Option<Oid>,
    /// Where sequences stand that only this session's uncommitted changes know.
    own: HashMap<Oid, Stand>,
}

impl SequenceMemory {
    fn note(&self, sequence: Oid, value: i64) {
        let mut seen = self.0.lock();
        seen.current.insert(sequence, value);
        seen.last = Some(sequence);
    }

    /// DISCARD SEQUENCES.
    pub fn discard(&self) {
        let mut seen = self.0.lock();
        seen.current.clear();
        seen.last = None;
    }

    /// Writes into changes that are about to be committed where the session's own sequences stand; they are everybody's from then on.
    pub fn settle(&self, changes: &mut [Change]) {
        let mut seen = self.0.lock();
        for change in changes {
            if let Change::PutSequence(sequence) = change
                && let Some(stand) = seen.own.remove(&sequence.oid)
                && stand.generation == sequence.generation
            {
                sequence.restart = catalog::objects::SequenceRestart { generation: sequence.generation, position: stand.position };
            }
        }
    }

    /// Forgets the session's own sequences: their changes were rolled back.
    pub fn forget_own(&self) {
        self.0.lock().own.clear();
    }
}

/// Where a sequence stands, as `SELECT * FROM sequence` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub last: i64,
    /// Values that are taken ahead.
    pub ahead: u32,
    pub is_called: bool,
}

/// Access to sequences as one statement sees them.
#[derive(Clone)]
pub struct SequenceReader {
    pub coordinator: Arc<Coordinator>,
    pub memory: Arc<SequenceMemory>,
    /// The state that the statement sees.
    pub state: Arc<CatalogState>,
}

impl SequenceReader {
    /// What a session's statement sees.
    pub fn of(session: &Session, state: &Arc<CatalogState>) -> Self {
        Self { coordinator: Arc::clone(&session.coordinator), memory: Arc::clone(&session.sequences), state: Arc::clone(state) }
    }

    fn sequence(&self, oid: Oid) -> Result<Arc<Sequence>, Report> {
        if let Some(sequence) = self.state.sequence(oid) {
            return Ok(sequence);
        }
        let relation = self.state.table(oid).map(|t| t.name.clone()).or_else(|| self.state.index(oid).map(|i| i.name.clone()));
        Err(match relation {
            Some(name) => Report::new(SqlState::WRONG_OBJECT_TYPE, format!("\"{name}\" is not a sequence")),
            None => sequences::missing(oid),
        })
    }

    /// Whether the catalog knows the sequence as this statement sees it.
    fn is_shared(&self, sequence: &Sequence) -> bool {
        self.coordinator.state().sequence(sequence.oid).is_some_and(|known| known.generation >= sequence.generation)
    }

    /// The next value without waiting; `None` when a run must be fetched first.
    fn drawn(&self, sequence: &Sequence) -> Option<Result<i64, Report>> {
        if self.is_shared(sequence) {
            let known = self.coordinator.state().sequence(sequence.oid).map_or(0, |s| s.generation);
            return self.coordinator.sequences.held(sequence.oid).draw(known.max(sequence.generation)).map(Ok);
        }
        let mut seen = self.memory.0.lock();
        let stand = seen.own.get(&sequence.oid).copied().unwrap_or_else(|| Stand::first(sequence));
        Some(sequences::take(sequence, stand, 1).map(|(run, stand)| {
            seen.own.insert(sequence.oid, stand);
            run.first
        }))
    }

    /// `nextval`.
    pub async fn next(&self, oid: Oid) -> Result<i64, Report> {
        let sequence = self.sequence(oid)?;
        let value = match self.drawn(&sequence) {
            Some(value) => value?,
            None => self.fetched(&sequence).await?,
        };
        self.memory.note(oid, value);
        Ok(value)
    }

    /// `nextval` inside a kernel.
    pub fn next_now(&self, oid: Oid) -> Result<i64, Report> {
        let sequence = self.sequence(oid)?;
        let value = match self.drawn(&sequence) {
            Some(value) => value?,
            None => wait(self.fetched(&sequence))?,
        };
        self.memory.note(oid, value);
        Ok(value)
    }

    async fn fetched(&self, sequence: &Sequence) -> Result<i64, Report> {
        let held = self.coordinator.sequences.held(sequence.oid);
        // One fetches; the others then find what it has brought.
        let _fetching = held.fetching.lock().await;
        if let Some(value) = self.drawn(sequence) {
            return value;
        }
        self.coordinator.sequences.prune(&self.coordinator.state());
        let now = self.coordinator.clock.monotonic();
        let length = held.wanted(sequence, now);
        let run = self.coordinator.catalog.sequence(sequence.oid, SequenceCall::Take(length)).await?;
        let end = run.value.wrapping_add(run.increment.wrapping_mul(i64::from(run.count) - 1));
        let next = run.value.wrapping_add(run.increment);
        let hand = Hand { generation: run.generation, next, left: run.count - 1, increment: run.increment, end, length, taken_at: now };
        *held.hand.lock() = Some(hand);
        Ok(run.value)
    }

    /// `currval`.
    pub fn current(&self, oid: Oid) -> Result<i64, Report> {
        let sequence = self.sequence(oid)?;
        let seen = self.memory.0.lock();
        seen.current.get(&oid).copied().ok_or_else(|| {
            let message = format!("currval of sequence \"{}\" is not yet defined in this session", sequence.name);
            Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
        })
    }

    /// `lastval`.
    pub fn last(&self) -> Result<i64, Report> {
        let seen = self.memory.0.lock();
        let last = seen.last.filter(|oid| self.state.sequence(*oid).is_some()).and_then(|oid| seen.current.get(&oid).copied());
        last.ok_or_else(|| Report::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "lastval is not yet defined in this session"))
    }

    /// `setval`.
    pub fn set_now(&self, oid: Oid, value: i64, is_called: bool) -> Result<i64, Report> {
        let sequence = self.sequence(oid)?;
        if self.is_shared(&sequence) {
            wait(async {
                let answer = self.coordinator.catalog.sequence(oid, SequenceCall::Set { value, is_called }).await?;
                self.coordinator.cache.wait_for(answer.version, CATALOG_WAIT).await
            })?;
        } else {
            let position = sequences::set(&sequence, value, is_called)?.restart.position;
            self.memory.0.lock().own.insert(oid, Stand { generation: sequence.generation, position });
        }
        let mut seen = self.memory.0.lock();
        if is_called {
            seen.current.insert(oid, value);
        }
        Ok(value)
    }

    /// Where a sequence stands, so far as this coordinator has handed out its values.
    pub async fn standing(&self, sequence: &Sequence) -> Result<Standing, Report> {
        if !self.is_shared(sequence) {
            let stand = self.memory.0.lock().own.get(&sequence.oid).copied().unwrap_or_else(|| Stand::first(sequence));
            return Ok(Standing { last: stand.position.last, ahead: 0, is_called: stand.position.is_called });
        }
        let answer = self.coordinator.catalog.sequence(sequence.oid, SequenceCall::Read).await?;
        let hand = *self.coordinator.sequences.held(sequence.oid).hand.lock();
        Ok(match hand.filter(|hand| is_newest(hand, &answer)) {
            Some(hand) => Standing { last: hand.next.wrapping_sub(hand.increment), ahead: hand.left, is_called: true },
            None => Standing { last: answer.value, ahead: 0, is_called: answer.is_called },
        })
    }

    /// As [`Self::standing`], inside a kernel.
    pub fn standing_now(&self, oid: Oid) -> Result<Standing, Report> {
        let sequence = self.sequence(oid)?;
        wait(self.standing(&sequence))
    }

    /// Gives the rest of the run in hand back to the catalog: before a change of the sequence that goes on where it stands.
    pub async fn give_back(&self, sequence: &Sequence) -> Result<(), Report> {
        if !self.is_shared(sequence) {
            return Ok(());
        }
        let hand = self.coordinator.sequences.held(sequence.oid).hand.lock().take();
        if let Some(hand) = hand.filter(|hand| hand.left > 0) {
            let last = hand.next.wrapping_sub(hand.increment);
            let call = SequenceCall::GiveBack { generation: hand.generation, end: hand.end, last };
            self.coordinator.catalog.sequence(sequence.oid, call).await?;
        }
        Ok(())
    }

    /// Where a sequence that is about to be altered stands: for the check of its new bounds.
    pub async fn position(&self, sequence: &Sequence) -> Result<SequencePosition, Report> {
        let standing = self.standing(sequence).await?;
        Ok(SequencePosition { last: standing.last, is_called: standing.is_called })
    }
}

/// Whether the catalog has given no run after the one in hand.
fn is_newest(hand: &Hand, answer: &SequenceAnswer) -> bool {
    hand.generation == answer.generation && answer.is_called && hand.end == answer.value
}

/// Waits inside a kernel. The thread's other tasks go on elsewhere meanwhile.
fn wait<T>(future: impl Future<Output = Result<T, Report>>) -> Result<T, Report> {
    match Handle::try_current() {
        Ok(runtime) if runtime.runtime_flavor() == RuntimeFlavor::MultiThread => tokio::task::block_in_place(|| runtime.block_on(future)),
        _ => Err(Report::internal("a sequence's next run cannot be waited for here")),
    }
}
