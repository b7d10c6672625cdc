//! What both sides share of DataFusion: the session, the scan leaf, the scatter operator, the plan codec, the mapping of errors.
//!
//! - [`planner`]: [`planner::Planner`], a coordinator's way from a bound plan to batches. [`context`]: what one statement carries through it.
//! - [`table`]: the provider of a table: [`pruning`] of partitions, choice of the access path ([`access`]).
//! - [`scan`]: [`scan::ScanSpec`], what a scan reads, as plain data, and [`scan::ScanSource`], who reads it on a worker.
//! - [`scan_exec`], [`scatter_exec`]: the leaf beside the data, and the operator that sends a fragment to each owner and gathers.
//! - [`scatter_rule`]: pushes operators from above a scatter into its fragment; [`layout`]: how a scatter's streams follow partitions.
//! - [`index_lookup`]: from entries of a global index to the rows.
//! - `correlation`: which correlated subqueries become joins; `apply`, `apply_exec`: the dependent join for all others.
//! - [`fragment`]: runs a fragment on a worker. [`codec`]: plans to bytes and back. [`errors`]: DataFusion's errors to reports.
//! - [`explain`]: plans as text.

pub mod access;
mod apply;
mod apply_exec;
pub mod codec;
pub mod context;
mod correlation;
pub mod errors;
pub mod explain;
pub mod fragment;
pub mod freshness;
pub mod index_lookup;
pub mod layout;
pub mod planner;
pub mod pruning;
pub mod read_log;
pub mod scan;
pub mod scan_exec;
pub mod scatter_exec;
pub mod scatter_rule;
pub mod table;
