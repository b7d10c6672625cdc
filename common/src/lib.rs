//! What every other crate of Partita may use: names for things (ids), PostgreSQL's types and values, the row format,
//! SQLSTATE codes and the error trait, the clock and the task spawner.
//!
//! Invariant: nothing here knows a node, a disk, a socket or a plan. Arrow is known (columns are how batches travel),
//! DataFusion is not.
//!
//! Start with [`types::SqlType`] and [`datum::Datum`], then [`row`] (how a row is stored) and [`error`].

pub mod array;
pub mod clock;
pub mod columns;
pub mod datum;
pub mod enums;
pub mod error;
pub mod ids;
pub mod interval;
pub mod numeric;
pub mod row;
pub mod sqlstate;
pub mod tasks;
pub mod types;
pub mod user_types;
pub mod version;
