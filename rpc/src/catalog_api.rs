//! What the catalog does for everybody. Catalog states and changes cross as bytes: `catalog` owns their form.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use common::ids::{CatalogVersion, Oid, Timestamp, WorkerId};
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

/// What is asked of a sequence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum SequenceCall {
    /// The next values, this many at most: no one else gets them.
    Take(u32),
    /// `setval`: value, and whether it counts as handed out. Takes effect at once, whatever transaction it is asked in.
    Set { value: i64, is_called: bool },
    /// Where it stands.
    Read,
    /// Of a run that was taken in this generation and ended with `end`, all values after `last` were not handed out.
    GiveBack { generation: u64, end: i64, last: i64 },
}

/// What became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SequenceAnswer {
    /// The catalog version with the generation below.
    pub version: CatalogVersion,
    pub generation: u64,
    /// For `Take` the first value, otherwise the last one that left the catalog, or will be the first to.
    pub value: i64,
    pub is_called: bool,
    /// For `Take`: how many values, and what lies between them.
    pub count: u32,
    pub increment: i64,
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
    /// Asks something of a sequence; what is handed out is durable as such before it is answered.
    async fn sequence(&self, sequence: Oid, call: SequenceCall) -> Answer<SequenceAnswer>;
    /// Registers a worker; answers its id.
    async fn register(&self, request: RegisterRequest) -> Answer<WorkerId>;
    /// A worker is alive; one that is not heard of is marked down.
    async fn heartbeat(&self, worker: WorkerId) -> Answer<()>;
    /// Tells the oldest snapshot that a node still reads, and learns the oldest in the cluster: what is older may go.
    async fn oldest_snapshot(&self, node: String, oldest: Timestamp) -> Answer<Timestamp>;
}
