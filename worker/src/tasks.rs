//! The worker's background tasks. All of them end when the stop token is cancelled.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::{deadlocks, feed_source, heartbeat, storage_cleanup};

/// Between looks at transactions that are silent.
const TEND: Duration = Duration::from_secs(1);

/// Starts them.
pub(crate) fn start(core: &Arc<Core>, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    // Before anything else can let go of log or versions that a feed still needs.
    feed_source::load(core);
    vec![
        spawn("heartbeat", heartbeat::beat(Arc::clone(core), stop.clone())),
        spawn("oldest_snapshot", heartbeat::exchange_snapshots(Arc::clone(core), stop.clone())),
        spawn("deadlocks", deadlocks::watch(Arc::clone(core), stop.clone())),
        spawn("transactions", tend_transactions(Arc::clone(core), stop.clone())),
        spawn("index_feeds", feed_source::supervise(Arc::clone(core), stop.clone())),
        spawn("storage_cleanup", storage_cleanup::run(Arc::clone(core), stop.clone())),
    ]
}

fn spawn(name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    common::tasks::spawn(name, task)
}

async fn tend_transactions(core: Arc<Core>, stop: CancellationToken) {
    loop {
        if stop.run_until_cancelled(core.tend_transactions()).await.is_none() {
            return;
        }
        core.advisory.forget_silent(core.clock.monotonic());
        if stop.run_until_cancelled(tokio::time::sleep(TEND)).await.is_none() {
            return;
        }
    }
}
