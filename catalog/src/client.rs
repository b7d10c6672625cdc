//! The newest catalog state at a node that is not the catalog.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use common::error::Report;
use common::ids::CatalogVersion;
use futures::StreamExt;
use rpc::catalog_api::{CatalogApi, StateStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::error::CatalogError;
use crate::state::CatalogState;

/// Between attempts to reach the catalog: doubled each time, up to the second.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Follows the catalog.
#[derive(Debug)]
pub struct CatalogCache {
    state: ArcSwap<CatalogState>,
    version: watch::Sender<CatalogVersion>,
}

impl CatalogCache {
    /// Reads the first state and follows the later ones until `stop`; a catalog that is not there yet is waited for.
    pub async fn start(api: Arc<dyn CatalogApi>, stop: CancellationToken) -> Result<Arc<Self>, Report> {
        let mut pause = RETRY_PAUSE;
        let (first, stream) = loop {
            match first_state(api.as_ref()).await {
                Ok(found) => break found,
                Err(error) => {
                    tracing::info!(%error, "waiting for the catalog");
                    if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                        return Err(error);
                    }
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
            }
        };
        let (version, _) = watch::channel(first.version());
        let cache = Arc::new(Self { state: ArcSwap::from_pointee(first), version });
        let follower = Arc::clone(&cache);
        common::tasks::spawn("catalog_cache", async move {
            stop.run_until_cancelled(follower.follow(api, stream)).await;
        });
        Ok(cache)
    }

    async fn follow(&self, api: Arc<dyn CatalogApi>, mut stream: StateStream) {
        let mut pause = RETRY_PAUSE;
        loop {
            while let Some(Ok(bytes)) = stream.next().await {
                pause = RETRY_PAUSE;
                self.take(&bytes);
            }
            loop {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RETRY_PAUSE_MAX);
                match api.watch().await {
                    Ok(again) => {
                        stream = again;
                        break;
                    }
                    Err(error) => tracing::debug!(%error, "the catalog does not answer"),
                }
            }
        }
    }

    fn take(&self, bytes: &[u8]) {
        match CatalogState::deserialize(bytes) {
            Ok(state) if state.version() > self.state.load().version() => {
                let version = state.version();
                self.state.store(Arc::new(state));
                self.version.send_replace(version);
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "a catalog state cannot be read"),
        }
    }

    /// The newest state that has arrived.
    pub fn current(&self) -> Arc<CatalogState> {
        self.state.load_full()
    }

    /// Tells each new version.
    pub fn subscribe(&self) -> watch::Receiver<CatalogVersion> {
        self.version.subscribe()
    }

    /// The first state at or above `version` that arrives; 08006 after `limit`.
    pub async fn wait_for(&self, version: CatalogVersion, limit: Duration) -> Result<Arc<CatalogState>, Report> {
        if self.state.load().version() < version {
            let mut versions = self.version.subscribe();
            let arrived = tokio::time::timeout(limit, versions.wait_for(|v| *v >= version)).await;
            if !matches!(arrived, Ok(Ok(_))) {
                return Err(CatalogError::TooSlow(version).into());
            }
        }
        Ok(self.current())
    }
}

async fn first_state(api: &dyn CatalogApi) -> Result<(CatalogState, StateStream), Report> {
    let mut stream = api.watch().await?;
    match stream.next().await {
        Some(bytes) => Ok((CatalogState::deserialize(&bytes?)?, stream)),
        None => Err(Report::internal("the catalog ended the watch")),
    }
}
