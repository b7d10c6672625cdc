//! What the catalog does for everybody. Catalog states and changes cross as bytes: `catalog` owns their form.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use common::ids::{CatalogVersion, Timestamp, WorkerId};
use futures::Stream;
use serde::{Deserialize, Serialize};

use crate::worker_api::Answer;

/// A worker announces itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RegisterRequest {
    /// The id that it got the first time, kept on its disk; `None` the first time.
    pub id: Option<WorkerId>,
    /// Where its rpc server listens; empty for a worker inside the catalog's own process.
    pub address: String,
    pub groups: u32,
    /// The highest commit timestamp in its log: the oracle starts above it.
    pub last_timestamp: Timestamp,
}

/// Catalog states as they come: first the current one, then each later one (or a later one standing for several).
pub type StateStream = Pin<Box<dyn Stream<Item = Answer<Bytes>> + Send>>;

/// What the catalog does. Two implementations: the catalog service itself (in one process), and the client over the network.
#[async_trait]
pub trait CatalogApi: Send + Sync {
    /// Makes one change (a serialised list that takes effect as a whole), if it can; `base` is the version that the proposer had seen.
    async fn propose(&self, base: CatalogVersion, changes: Bytes) -> Answer<CatalogVersion>;
    /// Watches states (serialised).
    async fn watch(&self) -> Answer<StateStream>;
    /// Takes `count` timestamps, above all that were given before: the first of a run of consecutive ones.
    async fn timestamps(&self, count: u32) -> Answer<Timestamp>;
    /// Reserves `count` ids (oids, relation ids and partition ids come from one counter): the first of a run.
    async fn allocate_ids(&self, count: u32) -> Answer<u64>;
    /// Registers a worker; answers its id.
    async fn register(&self, request: RegisterRequest) -> Answer<WorkerId>;
    /// A worker is alive; one that is not heard of is marked down.
    async fn heartbeat(&self, worker: WorkerId) -> Answer<()>;
    /// Tells the oldest snapshot that a node still reads, and learns the oldest in the cluster: what is older may go.
    async fn oldest_snapshot(&self, node: String, oldest: Timestamp) -> Answer<Timestamp>;
}
