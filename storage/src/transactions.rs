//! The transaction table: what the log says about each transaction, for readers that meet tagged versions.
//!
//! The table is a function of the log: a checkpoint stores it as it was at its position, recovery applies the log's records after that. It is
//! sharded, so that readers rarely meet the one writer.
//!
//! ROLLBACK TO removes nothing: it notes from when to when the transaction's versions are void ([`Undone`]). A version's key has the timestamp of
//! its writing, so that says it all, however many versions there are; the fold drops them in time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use common::ids::{LogPosition, Timestamp, TransactionId, WorkerId};
use parking_lot::RwLock;

use crate::record::{Record, TransactionState};

const SHARDS: usize = 32;

/// What a reader needs to know about a tagged version of another transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Open, aborted or unknown: not there.
    Absent,
    Prepared(Timestamp),
    Committed(Timestamp),
}

/// Spans of writing timestamps whose versions are void, in order and apart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Undone(Option<Arc<Vec<Span>>>);

/// The versions above `after` and below `at`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) after: Timestamp,
    pub(crate) at: Timestamp,
    /// The end of the frame that says so.
    pub(crate) noted: LogPosition,
}

impl Undone {
    pub(crate) fn spans(&self) -> &[Span] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// The span that a version written then is in.
    #[inline]
    pub(crate) fn span_of(&self, written: Timestamp) -> Option<&Span> {
        let spans = self.0.as_deref()?;
        let first = spans.partition_point(|span| span.at <= written);
        spans.get(first).filter(|span| span.after < written)
    }

    /// Adds a span that ends above all others. What it covers is in it from now on.
    pub(crate) fn add(&mut self, mut span: Span) {
        let spans = Arc::make_mut(self.0.get_or_insert_default());
        while let Some(last) = spans.last().filter(|last| last.at >= span.after) {
            if last.at >= span.at {
                // Replayed: it is there already.
                return;
            }
            span.after = span.after.min(last.after);
            spans.pop();
        }
        spans.push(span);
    }
}

/// One transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) state: State,
    pub(crate) undone: Undone,
}

impl Entry {
    pub(crate) fn new(state: State) -> Self {
        Self { state, undone: Undone::default() }
    }

    /// Where the decision stands.
    pub(crate) fn decided(&self) -> Option<LogPosition> {
        self.state.decided()
    }
}

/// How far a transaction is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Open,
    Prepared {
        at: Timestamp,
        participants: Arc<[WorkerId]>,
    },
    /// `decided` is the end of the frame with the decision.
    Committed {
        at: Timestamp,
        decided: LogPosition,
    },
    Aborted {
        decided: LogPosition,
    },
}

impl State {
    fn decided(&self) -> Option<LogPosition> {
        match self {
            Self::Open | Self::Prepared { .. } => None,
            Self::Committed { decided, .. } | Self::Aborted { decided } => Some(*decided),
        }
    }
}

/// All transactions that somebody may still ask for.
#[derive(Debug)]
pub(crate) struct TransactionTable {
    shards: [RwLock<HashMap<TransactionId, Entry>>; SHARDS],
}

impl TransactionTable {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()) }
    }

    fn shard(&self, id: TransactionId) -> &RwLock<HashMap<TransactionId, Entry>> {
        // Ids are timestamps: their low bits alone may all be equal.
        &self.shards[(id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 59) as usize % SHARDS]
    }

    /// What tagged versions of that transaction mean, and which of them are void.
    pub(crate) fn outcome(&self, id: TransactionId) -> (Outcome, Undone) {
        let shard = self.shard(id).read();
        let Some(entry) = shard.get(&id) else { return (Outcome::Absent, Undone::default()) };
        let outcome = match &entry.state {
            State::Open | State::Aborted { .. } => Outcome::Absent,
            State::Prepared { at, .. } => Outcome::Prepared(*at),
            State::Committed { at, .. } => Outcome::Committed(*at),
        };
        (outcome, entry.undone.clone())
    }

    pub(crate) fn entry(&self, id: TransactionId) -> Option<Entry> {
        self.shard(id).read().get(&id).cloned()
    }

    pub(crate) fn state(&self, id: TransactionId) -> TransactionState {
        match self.entry(id).map(|entry| entry.state) {
            None => TransactionState::Unknown,
            Some(State::Open) => TransactionState::Open,
            Some(State::Prepared { at, participants }) => TransactionState::Prepared { at, participants: participants.to_vec() },
            Some(State::Committed { at, .. }) => TransactionState::Committed(at),
            Some(State::Aborted { .. }) => TransactionState::Aborted,
        }
    }

    /// Applies a record of the frame that ends at `end`. Applying again changes nothing.
    pub(crate) fn apply(&self, record: &Record, end: LogPosition) {
        match record {
            Record::Provisional { transaction, .. } => {
                // The common case is a transaction that is known: no write lock for it.
                if !self.shard(*transaction).read().contains_key(transaction) {
                    self.shard(*transaction).write().entry(*transaction).or_insert(Entry::new(State::Open));
                }
            }
            Record::Prepare { transaction, at, participants } => {
                let mut shard = self.shard(*transaction).write();
                let entry = shard.entry(*transaction).or_insert(Entry::new(State::Open));
                if entry.decided().is_none() {
                    entry.state = State::Prepared { at: *at, participants: participants.as_slice().into() };
                }
            }
            Record::Decide { transaction, outcome } => {
                let mut shard = self.shard(*transaction).write();
                let entry = shard.entry(*transaction).or_insert(Entry::new(State::Open));
                if entry.decided().is_none() {
                    entry.state = match outcome {
                        Some(at) => State::Committed { at: *at, decided: end },
                        None => State::Aborted { decided: end },
                    };
                }
            }
            Record::Undo { transaction, after, at } => {
                if let Some(entry) = self.shard(*transaction).write().get_mut(transaction) {
                    entry.undone.add(Span { after: *after, at: *at, noted: end });
                }
            }
            Record::Write { .. } | Record::Metadata { .. } | Record::DropRange { .. } => {}
        }
    }

    /// Puts an entry as a checkpoint stored it.
    pub(crate) fn restore(&self, id: TransactionId, entry: Entry) {
        self.shard(id).write().insert(id, entry);
    }

    /// A copy of all entries, by id.
    pub(crate) fn entries(&self) -> Vec<(TransactionId, Entry)> {
        let mut all: Vec<_> =
            self.shards.iter().flat_map(|shard| shard.read().iter().map(|(id, entry)| (*id, entry.clone())).collect::<Vec<_>>()).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all
    }

    /// Forgets transactions.
    pub(crate) fn forget(&self, ids: &HashSet<TransactionId>) {
        for shard in &self.shards {
            shard.write().retain(|id, _| !ids.contains(id));
        }
    }
}
