//! Ids, each a type of its own, so that a partition can never be passed where a group is meant.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A PostgreSQL object identifier: stable, durable, cluster-wide. Ids below 16384 belong to the system.
    Oid(u32)
}
id! {
    /// A key space on disk: one table's rows or one index's entries. TRUNCATE gives a table a new one; its [`Oid`] stays.
    RelationId(u32)
}
id! {
    /// A partition: a half-open key range of one relation.
    PartitionId(u64)
}
id! {
    /// A worker, as the catalog registered it; it survives the worker's restart.
    WorkerId(u32)
}
id! {
    /// A group of partitions on one worker that share one log order and one base file.
    GroupId(u32)
}
id! {
    /// A partition's ownership number; it rises with every move, split, merge or failover.
    Epoch(u64)
}
id! {
    /// A timestamp of the cluster's oracle. Commits have one each per batch; a snapshot is one.
    Timestamp(u64)
}
id! {
    /// The number of a catalog state; each change makes the next.
    CatalogVersion(u64)
}
id! {
    /// A transaction, unique in the cluster: the timestamp of its beginning.
    TransactionId(u64)
}
id! {
    /// The position of a frame in a worker's log: a byte offset that only grows.
    LogPosition(u64)
}

/// A reader's own uncommitted writes: which of them it sees, beside what its snapshot shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OwnWrites {
    pub transaction: TransactionId,
    /// Those written at or below it: a statement does not see what it writes itself.
    pub up_to: Timestamp,
}

impl OwnWrites {
    /// All that the transaction has written so far.
    pub const fn all(transaction: TransactionId) -> Self {
        Self { transaction, up_to: Timestamp(u64::MAX) }
    }
}

impl Timestamp {
    /// Before every commit.
    pub const MIN: Self = Self(0);
    /// After every commit: the newest committed state.
    pub const MAX: Self = Self(u64::MAX);
}

/// The first object identifier that a user's object can have, as in PostgreSQL.
pub const FIRST_USER_OID: Oid = Oid(16384);
