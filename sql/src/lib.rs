//! From SQL text to a typed logical plan with PostgreSQL's meaning. Knows no node and no disk.
//!
//! - [`parse`]: text to `sqlparser`'s syntax trees, with PostgreSQL's syntax errors. [`partition_clause`]: what Partita adds to the syntax. [`copy_syntax`]: COPY.
//!   [`object_syntax`]: statements about schema objects.
//!   [`table_syntax`]: forms of CREATE TABLE.
//! - [`schema`]: what the binder asks of a catalog ([`schema::CatalogView`]).
//! - [`bound`]: what comes out ([`bound::BoundStatement`]). [`given_rows`]: rows that its plans read and the executor has.
//! - [`bind`]: one file for each part of a statement: from, select list, expressions, aggregates, windows, subqueries, set operations, DML.
//!
//! Invariant: every expression in a plan is fully cast by `functions`; columns have opaque unique names in the plan and the real names stand in
//! [`bound::OutputColumn`] only, so that duplicate output names are no problem.

pub mod bind;
pub mod bound;
pub mod copy_syntax;
mod dialect;
pub mod domain_syntax;
pub mod error;
pub mod given_rows;
pub mod literals;
pub mod object_syntax;
pub mod parse;
pub mod partition_clause;
mod rewrites;
mod row_lock_syntax;
pub mod schema;
mod subscript_targets;
pub mod table_syntax;
mod transaction_syntax;

pub use bind::row_locks::LockedRows;
pub use bind::{bind, bind_check, bind_expression, find_relation, ident_name};
