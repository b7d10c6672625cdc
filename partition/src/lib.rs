//! The pure arithmetic of partitioning: no IO, no async, no clock.
//!
//! - [`key`]: values to keys whose byte order is SQL order ([`key::KeySchema`]).
//! - [`range`]: half-open ranges of keys. [`bounds`]: a relation cut into partitions: route a key, find what a range overlaps.
//! - [`hash`]: the hash prefix, and split points that cut the hash space evenly.
//! - [`prune`]: from what a condition says of the key columns to the ranges that it can meet.
//! - [`balance`]: where new partitions go, and which moves even out the load.
//!
//! Invariant: all ranges are half-open; a boundary key belongs to the right-hand partition.

pub mod balance;
pub mod bounds;
pub mod error;
pub mod hash;
pub mod key;
pub mod prune;
pub mod range;
pub mod range_set;
