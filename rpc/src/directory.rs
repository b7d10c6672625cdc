//! From a worker's id to something that can be called.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use common::ids::WorkerId;

use crate::error::RpcError;
use crate::grpc::WorkerClient;
use crate::worker_api::{Answer, WorkerApi};

/// Finds workers. An unknown or unreachable one is an error of class 08.
pub trait WorkerDirectory: Send + Sync {
    /// The worker with that id.
    fn worker(&self, id: WorkerId) -> Answer<Arc<dyn WorkerApi>>;
    /// Whether the worker runs in this process, so that plans and batches pass without a copy.
    fn is_local(&self, id: WorkerId) -> bool;
}

#[derive(Clone)]
enum Entry {
    Local(Arc<dyn WorkerApi>),
    Remote(Arc<WorkerClient>),
}

/// A directory that is kept up to date from outside: the workers of this process, and those that the catalog tells of. Reads take no lock.
#[derive(Default)]
pub struct DynamicDirectory(ArcSwap<HashMap<WorkerId, Entry>>);

impl DynamicDirectory {
    /// A directory of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on the worker is this object, whatever the catalog says of its address.
    pub fn set_local(&self, id: WorkerId, worker: Arc<dyn WorkerApi>) {
        self.0.rcu(|entries| {
            let mut entries = HashMap::clone(entries);
            entries.insert(id, Entry::Local(Arc::clone(&worker)));
            entries
        });
    }

    /// These are the workers now, with their addresses. Who is at the same address keeps the connection; an address that cannot be one is
    /// left out, as is the empty one of a worker inside another process.
    pub fn update(&self, workers: &[(WorkerId, String)]) {
        self.0.rcu(|old| {
            let local = old.iter().filter(|(_, entry)| matches!(entry, Entry::Local(_)));
            let mut entries: HashMap<WorkerId, Entry> = local.map(|(id, entry)| (*id, entry.clone())).collect();
            for (id, address) in workers {
                if entries.contains_key(id) || address.is_empty() {
                    continue;
                }
                let client = match old.get(id) {
                    Some(Entry::Remote(client)) if client.address() == address => Ok(Arc::clone(client)),
                    _ => WorkerClient::new(*id, address).map(Arc::new),
                };
                match client {
                    Ok(client) => _ = entries.insert(*id, Entry::Remote(client)),
                    Err(error) => tracing::warn!(%error, "a worker cannot be called"),
                }
            }
            entries
        });
    }
}

impl WorkerDirectory for DynamicDirectory {
    fn worker(&self, id: WorkerId) -> Answer<Arc<dyn WorkerApi>> {
        match self.0.load().get(&id) {
            Some(Entry::Local(worker)) => Ok(Arc::clone(worker)),
            Some(Entry::Remote(client)) => Ok(Arc::clone(client) as Arc<dyn WorkerApi>),
            None => Err(RpcError::UnknownWorker(id).into()),
        }
    }

    fn is_local(&self, id: WorkerId) -> bool {
        matches!(self.0.load().get(&id), Some(Entry::Local(_)))
    }
}

impl fmt::Debug for DynamicDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |entry: &Entry| match entry {
            Entry::Local(_) => "local".to_owned(),
            Entry::Remote(client) => client.address().to_owned(),
        };
        f.debug_map().entries(self.0.load().iter().map(|(id, entry)| (id.0, names(entry)))).finish()
    }
}
