//! The transaction table: what the log says about each transaction, for readers that meet tagged versions.
//!
//! The table is a function of the log: a checkpoint stores it as it was at its position, recovery applies the log's records after that. It is
//! sharded, so that readers rarely meet the one writer.

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

/// One transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
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

impl Entry {
    /// Where the decision stands.
    pub(crate) fn decided(&self) -> Option<LogPosition> {
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

    /// What a tagged version of that transaction means.
    pub(crate) fn outcome(&self, id: TransactionId) -> Outcome {
        match self.shard(id).read().get(&id) {
            None | Some(Entry::Open | Entry::Aborted { .. }) => Outcome::Absent,
            Some(Entry::Prepared { at, .. }) => Outcome::Prepared(*at),
            Some(Entry::Committed { at, .. }) => Outcome::Committed(*at),
        }
    }

    pub(crate) fn entry(&self, id: TransactionId) -> Option<Entry> {
        self.shard(id).read().get(&id).cloned()
    }

    pub(crate) fn state(&self, id: TransactionId) -> TransactionState {
        match self.entry(id) {
            None => TransactionState::Unknown,
            Some(Entry::Open) => TransactionState::Open,
            Some(Entry::Prepared { at, participants }) => TransactionState::Prepared { at, participants: participants.to_vec() },
            Some(Entry::Committed { at, .. }) => TransactionState::Committed(at),
            Some(Entry::Aborted { .. }) => TransactionState::Aborted,
        }
    }

    /// Applies a record of the frame that ends at `end`. Applying again changes nothing.
    pub(crate) fn apply(&self, record: &Record, end: LogPosition) {
        match record {
            Record::Provisional { transaction, .. } => {
                // The common case is a transaction that is known: no write lock for it.
                if !self.shard(*transaction).read().contains_key(transaction) {
                    self.shard(*transaction).write().entry(*transaction).or_insert(Entry::Open);
                }
            }
            Record::Prepare { transaction, at, participants } => {
                let mut shard = self.shard(*transaction).write();
                let entry = shard.entry(*transaction).or_insert(Entry::Open);
                if entry.decided().is_none() {
                    *entry = Entry::Prepared { at: *at, participants: participants.as_slice().into() };
                }
            }
            Record::Decide { transaction, outcome } => {
                let mut shard = self.shard(*transaction).write();
                let entry = shard.entry(*transaction).or_insert(Entry::Open);
                if entry.decided().is_none() {
                    *entry = match outcome {
                        Some(at) => Entry::Committed { at: *at, decided: end },
                        None => Entry::Aborted { decided: end },
                    };
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
