//! The snapshots that this coordinator's transactions and statements read at: as long as one is here, no worker drops the versions that it sees.
//!
//! The oldest is told to the catalog every [`EXCHANGE`], from which the workers learn the oldest of all. A snapshot that is taken between two exchanges is
//! safe meanwhile, because the catalog keeps versions for longer than that anyhow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::ids::Timestamp;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::coordinator::Coordinator;

/// How often the oldest snapshot is told.
const EXCHANGE: Duration = Duration::from_secs(3);

/// The snapshots in use, with how many use each.
#[derive(Debug, Default)]
pub struct Snapshots(Mutex<BTreeMap<Timestamp, usize>>);

/// A snapshot in use, until it is dropped.
#[derive(Debug)]
pub struct Snapshot {
    all: Arc<Snapshots>,
    at: Timestamp,
}

impl Snapshots {
    /// Keeps a snapshot.
    pub fn keep(self: &Arc<Self>, at: Timestamp) -> Arc<Snapshot> {
        *self.0.lock().entry(at).or_default() += 1;
        Arc::new(Snapshot { all: Arc::clone(self), at })
    }

    fn oldest(&self) -> Option<Timestamp> {
        self.0.lock().first_key_value().map(|(at, _)| *at)
    }
}

impl Snapshot {
    /// Its timestamp.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut all = self.all.0.lock();
        if let Some(users) = all.get_mut(&self.at) {
            *users -= 1;
            if *users == 0 {
                all.remove(&self.at);
            }
        }
    }
}

/// Tells the catalog the oldest snapshot, until `stop`.
pub async fn tell_oldest(coordinator: Arc<Coordinator>, stop: CancellationToken) {
    let node = coordinator.options.name.clone();
    while stop.run_until_cancelled(tokio::time::sleep(EXCHANGE)).await.is_some() {
        let oldest = coordinator.snapshots.oldest().unwrap_or(Timestamp::MAX);
        let told = stop.run_until_cancelled(coordinator.catalog.oldest_snapshot(node.clone(), oldest)).await;
        if let Some(Err(error)) = told {
            tracing::debug!(%error, "the oldest snapshot could not be told");
        }
    }
}
