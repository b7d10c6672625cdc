//! What one statement carries through planning and execution.

use std::fmt;
use std::sync::Arc;

use catalog::state::CatalogState;
use functions::context::{CatalogLookup, SessionSettings};
use rpc::directory::WorkerDirectory;
use rpc::worker_api::ReadContext;

use crate::freshness::IndexFreshness;

/// A statement's surroundings. Found in DataFusion's session config as an extension.
#[derive(Clone)]
pub struct StatementContext {
    pub catalog: Arc<CatalogState>,
    pub directory: Arc<dyn WorkerDirectory>,
    pub read: ReadContext,
    pub settings: SessionSettings,
    pub freshness: IndexFreshness,
    /// For functions that read the catalog, and for the system views.
    pub lookup: Option<Arc<dyn CatalogLookup>>,
}

impl fmt::Debug for StatementContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatementContext").field("read", &self.read).finish_non_exhaustive()
    }
}
