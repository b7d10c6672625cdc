//! What the log says: records, grouped into frames that happen entirely or not at all.

use bytes::Bytes;
use common::ids::{GroupId, RelationId, Timestamp, TransactionId, WorkerId};

/// One row written: a new value, or its deletion.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    pub relation: RelationId,
    /// The key, without the relation. Any bytes; one key may be a prefix of another.
    pub key: Bytes,
    /// `None` deletes.
    pub value: Option<Bytes>,
    /// What the row was before, for those who read the log to feed an index; not stored elsewhere.
    pub before: Option<Bytes>,
}

/// What happens together, in any number of groups.
pub type Frame = Vec<(GroupId, Record)>;

/// A change of a group's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// Rows that are committed at `at` with this record.
    Write { at: Timestamp, changes: Vec<Change> },
    /// Rows of a transaction that has not committed: tagged versions. Opens the transaction.
    Provisional { transaction: TransactionId, at: Timestamp, changes: Vec<Change> },
    /// The vote: the transaction commits here if everybody votes so. A decision that came before stands.
    Prepare { transaction: TransactionId, at: Timestamp, participants: Vec<WorkerId> },
    /// The end of a transaction: its commit timestamp, or `None` for abort. For an id that was never seen it forbids the vote.
    /// The first decision stands.
    Decide { transaction: TransactionId, outcome: Option<Timestamp> },
    /// What an open transaction has written above `after` and below `at` was never written: its ROLLBACK TO.
    Undo { transaction: TransactionId, after: Timestamp, at: Timestamp },
    /// A value of the group that is not versioned; `None` removes it.
    Metadata { key: Bytes, value: Option<Bytes> },
    /// All versions of all keys in `lo..hi` (to the relation's end without `hi`) that the log has so far vanish, for every snapshot.
    DropRange { relation: RelationId, lo: Bytes, hi: Option<Bytes> },
}

/// What the log says about a transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TransactionState {
    /// Nothing, or it was decided so long ago that nobody can ask.
    Unknown,
    /// It has written and has not voted.
    Open,
    /// It has voted at `at`.
    Prepared { at: Timestamp, participants: Vec<WorkerId> },
    /// It is committed at that timestamp.
    Committed(Timestamp),
    /// It is aborted.
    Aborted,
}
