//! The versioned truth about schemas, tables, indexes, partitions, placements and workers.
//!
//! - [`objects`]: what a schema consists of, as plain values.
//! - [`changes`]: [`changes::Change`], what a proposal consists of.
//! - [`state`]: [`state::CatalogState`], an immutable snapshot of everything, and `apply`, the pure function from a state and a list of
//!   changes to the next state.
//! - [`store`]: the catalog node's disk (redb): every change durable before it is visible.
//! - [`service`]: [`service::CatalogService`], what a catalog node does: propose, watch, hand out timestamps and ids, register workers.
//! - [`oracle`]: the timestamp oracle.
//! - [`client`]: [`client::CatalogCache`], the newest state at any other node.
//! - [`sequences`]: the values of sequences.
//! - [`shadow`]: schema changes of transactions that have not committed.
//! - [`placement`]: partition maps for new relations.
//!
//! Invariant: a state never changes; a change makes a new one with the next version. Readers hold a snapshot by `Arc` and take no lock.

pub mod changes;
pub mod client;
pub mod error;
pub mod objects;
pub mod oracle;
pub mod placement;
pub mod sequences;
pub mod service;
pub mod shadow;
pub mod state;
pub mod store;
