//! What both sides share of DataFusion: the session, the scan leaf, the scatter operator, the plan codec, the mapping of errors.
//!
//! - [`planner`]: [`planner::Planner`], a coordinator's way from a bound plan to batches. [`context`]: what one statement carries through it.
//! - [`table`]: the provider of a table: [`pruning`] of partitions, choice of the access path ([`access`]).
//! - [`scan`]: [`scan::ScanSpec`], what a scan reads, as plain data, and [`scan::ScanSource`], who reads it on a worker.
//! - [`scan_exec`], [`scatter_exec`]: the leaf beside the data, and the operator that sends a fragment to each owner and gathers.
//! - [`scatter_rule`]: pushes operators from above a scatter into its fragment.
//! - `scalar_subqueries`: correlated subqueries that are no aggregates, as joins.
//! - [`index_lookup`]: from entries of a global index to the rows.
//! - [`fragment`]: runs a fragment on a worker. [`codec`]: plans to bytes and back. [`errors`]: DataFusion's errors to reports.
//! - [`explain`]: plans as text.

pub mod access;
pub mod codec;
pub mod context;
pub mod errors;
pub mod explain;
pub mod fragment;
pub mod freshness;
pub mod index_lookup;
pub mod planner;
pub mod pruning;
mod scalar_subqueries;
pub mod scan;
pub mod scan_exec;
pub mod scatter_exec;
pub mod scatter_rule;
pub mod table;
