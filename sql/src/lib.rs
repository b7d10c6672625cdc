//! From SQL text to a typed logical plan with PostgreSQL's meaning. Knows no node and no disk.
//!
//! - [`schema`]: what the binder asks of a catalog ([`schema::CatalogView`]).
//! - [`bound`]: what comes out ([`bound::BoundStatement`]).
//! - `dialect`, `parse`: text to `sqlparser`'s syntax tree, with PostgreSQL's syntax errors.
//! - `bind`: one file for each part of a statement: from, select list, expressions, aggregates, windows, subqueries, set operations, DML, DDL.
//!
//! Invariant: every expression in a plan is fully cast by `functions`; columns have opaque unique names in the plan and the real names stand in
//! [`bound::OutputColumn`] only, so that duplicate output names are no problem.

pub mod bound;
pub mod schema;
