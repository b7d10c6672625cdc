//! One worker's disk: the log, the MVCC memtables, the redb base, checkpoints and recovery.
//!
//! # The idea
//!
//! The log is the truth. A worker's state changes only by [`Engine::append`]: frames go to the log, one `fdatasync` makes all of them durable, and
//! then they are applied, in order, to their groups' memtables. A checkpoint folds a frozen memtable into the group's redb file in
//! large sorted transactions, with the applied log position in the same transaction, and then old segments go. A read merges memtables over base.
//!
//! # Keys and versions
//!
//! A version's place is relation, key, timestamp (newer versions first). Keys may be prefixes of each other; memtable and base compare the parts one
//! by one (see [`version`]), so keys stand as they are. A value says whether it is a row or a deletion, and whether it is *tagged*: written by a
//! transaction that had not committed when it was written. A tagged version's outcome stands in the transaction table; its key's timestamp
//! is the one of its writing, which is above every version that its key had then (the writer holds the row's lock), so versions of one key are in
//! commit order.
//!
//! # What readers see
//!
//! At snapshot `at`, with own writes `own`: the newest version that is committed at or below `at`; or a tagged version of the own transaction whose
//! writing timestamp is at or below `own.up_to` (so that a statement does not see what it writes itself, and a snapshot that is older than the
//! transaction's writes hides none of them). What [`Record::Undo`] has undone is no version at all. A tagged version of another transaction: committed, at its
//! commit timestamp; aborted or open, skipped; prepared at or below `at`, the read answers [`ReadOutcome::Undecided`] and the caller waits; prepared above `at`, skipped.
//!
//! # Columns
//!
//! [`View::scan`] lends rows. [`View::scan_columns`] gives whole Arrow columns where it can: of stretches of the base, which it keeps in memory for the
//! next scan (see [`column_cache`]), with the memtables' rows merged in.
//!
//! All calls block (they are short, scans excepted); nothing here is async.

pub mod columns;
pub mod disk;
pub mod engine;
pub mod error;
pub mod record;
pub mod view;

mod base;
mod checkpoint;
mod codec;
mod column_cache;
mod fold;
mod key_filter;
mod log;
mod memtable;
mod recovery;
mod transactions;
mod version;

pub use columns::{RowColumn, RowColumns, RowLayout};
pub use engine::{Engine, EngineOptions, EngineStats, RecoveredTransaction};
pub use error::StorageError;
pub use record::{Change, Frame, Record, TransactionState};
pub use view::{ColumnVisitor, Piece, Progress, ReadOutcome, ScanEnd, ScanRange, View, Visitor};
