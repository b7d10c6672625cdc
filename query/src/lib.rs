//! What both sides share of DataFusion: the session, the scan leaf, the scatter operator, the plan codec, the mapping of errors.
//!
//! - [`scan`]: [`scan::ScanSpec`], what a scan reads, as plain data, and [`scan::ScanSource`], who reads it on a worker.
//! - `table`: the provider of a table at a snapshot: pruning, choice of the access path.
//! - `scan_exec`, `scatter_exec`: the leaf beside the data, and the operator that sends a fragment to each owner and gathers.
//! - `scatter_rule`: finds the largest exchange-free subtree above the scans.
//! - `codec`: plans to bytes and back. `errors`: DataFusion's errors to reports. `session`: one shared, trimmed session state.

pub mod scan;
