//! What each kind of process consists of.
//!
//! All start in the same order: bind the ports, claim the data directory, open what is on disk, say that it is ready; and stop in the
//! opposite one: no new clients, then the storage, then what all hung on.

pub(crate) mod catalog;
pub(crate) mod coordinator;
pub(crate) mod start;
pub(crate) mod worker;

use std::sync::Arc;
use std::time::Duration;

use ::catalog::client::CatalogCache;
use common::clock::{Clock, SystemClock};
use rpc::directory::DynamicDirectory;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::ServerError;

/// Clients' statements have this long to end when a coordinator stops.
const CLIENTS_GRACE: Duration = Duration::from_secs(10);

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// Keeps the directory as the catalog tells: what is known now at once, the rest until `stop`.
fn follow_workers(cache: &Arc<CatalogCache>, directory: &Arc<DynamicDirectory>, stop: CancellationToken) {
    let (cache, directory) = (Arc::clone(cache), Arc::clone(directory));
    let mut versions = cache.subscribe();
    let update = move || {
        let workers: Vec<_> = cache.current().workers().map(|worker| (worker.id, worker.address.clone())).collect();
        directory.update(&workers);
    };
    update();
    common::tasks::spawn("workers", async move {
        while let Some(Ok(())) = stop.run_until_cancelled(versions.changed()).await {
            update();
        }
    });
}

/// Waits for the end of a task that serves clients: it comes when the process is told to stop, and within a limit then. An end before that
/// is an error, and stops the rest.
async fn served<T>(stop: &CancellationToken, what: &'static str, mut serving: JoinHandle<T>) -> Result<(), ServerError> {
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => tokio::time::timeout(CLIENTS_GRACE, serving).await.ok(),
        ended = &mut serving => {
            stop.cancel();
            tracing::error!(failure = ended.err().map(tracing::field::display), "{what} ended before it was told to");
            return Err(ServerError::EndedEarly(what));
        }
    };
    match ended {
        None => tracing::warn!("{what} did not end in time"),
        Some(Err(error)) => tracing::error!(%error, "{what} failed"),
        Some(Ok(_)) => {}
    }
    Ok(())
}
