//! From a worker's id to something that can be called.

use std::sync::Arc;

use common::ids::WorkerId;

use crate::worker_api::{Answer, WorkerApi};

/// Finds workers. An unknown or unreachable one is an error of class 08.
pub trait WorkerDirectory: Send + Sync {
    /// The worker with that id.
    fn worker(&self, id: WorkerId) -> Answer<Arc<dyn WorkerApi>>;
    /// Whether the worker runs in this process, so that plans and batches pass without a copy.
    fn is_local(&self, id: WorkerId) -> bool;
}
