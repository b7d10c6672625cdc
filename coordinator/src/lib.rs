//! The node that clients talk to: PostgreSQL's wire protocol, sessions, planning for partitions, execution, the coordinator's side of
//! transactions, and the system views.
//!
//! - [`coordinator`]: [`coordinator::Coordinator`], what all sessions share; start here.
//! - [`wire`]: the connection loop and the messages. [`session`]: what one client has: settings, prepared statements, a transaction.
//! - [`prepared`]: a statement parsed, bound and, where its shape allows, turned into a point template; cached by text.
//! - [`execute`]: one file for each kind of statement. `ddl`: schema changes. `system_views`: pg_catalog, information_schema, partita.
//! - [`target_table`]: all that writing to a table needs, computed once for each catalog version.
//! - [`write_set`] and [`transaction`]: where rows go and how they commit. [`transaction_block`]: BEGIN … COMMIT, savepoints, isolation levels.
//!
//! Invariant: stateless on disk. Nothing here survives a restart, and nothing that was acknowledged needs to.

pub mod coordinator;
mod ddl;
pub mod execute;
pub mod isolation;
pub mod prepared;
pub mod result;
pub mod row_expression;
pub mod schema_changes;
pub mod schema_view;
pub mod sequences;
pub mod session;
pub mod session_locks;
pub mod settings;
pub mod settings_scope;
pub mod snapshots;
pub mod system_views;
pub mod target_table;
pub mod transaction;
pub mod transaction_block;
pub mod wire;
pub mod write_set;
