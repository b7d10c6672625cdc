//! Signs of life to the catalog, and the exchange of the oldest snapshot, below which versions may go.

use std::sync::Arc;
use std::time::Duration;

use common::ids::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::core::Core;

/// Between signs of life; the catalog waits for three of them.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Between exchanges of the oldest snapshot.
const SNAPSHOTS: Duration = Duration::from_secs(5);

/// Tells the catalog that this worker is there, until `stop`.
pub(crate) async fn beat(core: Arc<Core>, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(HEARTBEAT)).await.is_some() {
        if let Some(Err(error)) = stop.run_until_cancelled(core.catalog.heartbeat(core.id)).await {
            tracing::debug!(%error, "the catalog does not hear this worker");
        }
    }
}

/// Learns the oldest snapshot of the cluster, until `stop`. What this worker itself still reads is its own oldest.
pub(crate) async fn exchange_snapshots(core: Arc<Core>, stop: CancellationToken) {
    let node = format!("worker-{}", core.id);
    while stop.run_until_cancelled(tokio::time::sleep(SNAPSHOTS)).await.is_some() {
        let own = core.feeds.oldest_pinned().unwrap_or(Timestamp::MAX);
        match stop.run_until_cancelled(core.catalog.oldest_snapshot(node.clone(), own)).await {
            Some(Ok(oldest)) => core.engine.set_oldest_snapshot(oldest.min(core.feeds.oldest_pinned().unwrap_or(Timestamp::MAX))),
            Some(Err(error)) => tracing::debug!(%error, "the oldest snapshot is not known"),
            None => return,
        }
    }
}
