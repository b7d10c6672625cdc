//! One worker: serves the partitions that the catalog gives it.
//!
//! - [`worker`]: the [`Worker`] itself; `core`: what its parts share, and who is let in.
//! - `reads`, `scan`, `fragments`: what is read, and how a reader waits for what it must see.
//! - `writes`, `entries`, `locks`, `commit`: from a request to the log, under locks, one sync for many.
//! - `participants`, `transactions`: transactions that last longer than a call, or that several workers share.
//! - `feed_source`, `feed_log`, `feed_send`, `feed_target`: asynchronous indexes, from the log of the rows' owners to the owners of the entries.
//! - `build_index`: a new local index. `storage_cleanup`, `heartbeat`, `sizes`, `tasks`: what goes on beside.
//!
//! Invariant: the state changes by the log alone, and the log is written by the commit pipeline alone.

mod advisory;
mod build_index;
mod commit;
mod core;
mod deadlocks;
mod entries;
mod error;
mod feed_log;
mod feed_send;
mod feed_source;
mod feed_target;
mod fragments;
mod heartbeat;
mod locks;
mod participants;
mod reads;
mod scan;
mod sizes;
mod storage_cleanup;
mod table_locks;
mod tasks;
mod transactions;
mod validation;
pub mod worker;
mod writers;
mod writes;

pub use error::WorkerError;
pub use worker::{Worker, WorkerOptions};
