//! The version that clients are told.

/// What `server_version` reports: PostgreSQL's number, for clients that ask which features there are, and our own.
pub const SERVER_VERSION: &str = "15.18 (Partita 0.1)";
