//! What black-box tests share: servers as processes, and clients that look closely.
//!
//! - [`partita`]: Partita as one process or as a cluster of processes. [`postgres`]: a PostgreSQL 15 of the tests' own.
//! - [`process`]: a child process with its log, which can be killed, stopped, frozen and waited for, always with a limit.
//! - [`client`]: a client of the simple protocol that gives everything that the server says.
//! - [`acknowledged`]: writers that know what must be there after a crash.
//! - [`pending`]: which tests Partita does not pass yet.
//! - [`isolation`]: sessions that take their steps in a given order (`isolation/specs/*.spec`).
//! - [`logic`]: logic tests (`slt/**.slt`), and [`partita_clauses`], what is left of them for PostgreSQL.
//!
//! Everything here panics when something goes wrong: it is used by tests alone.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test fails by panicking")]

pub mod acknowledged;
pub mod client;
pub mod isolation;
pub mod logic;
pub mod partita;
pub mod partita_clauses;
pub mod pending;
pub mod postgres;
pub mod process;
pub mod wait;

use std::path::PathBuf;

/// The directory of the test crate.
pub fn crate_directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The directory of the workspace.
pub fn workspace_directory() -> PathBuf {
    crate_directory().parent().unwrap().to_path_buf()
}

/// A number from the environment, or its default.
pub fn number_from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}
