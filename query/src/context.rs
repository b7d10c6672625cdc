//! What one statement carries through planning and execution.

use std::fmt;
use std::sync::Arc;

use catalog::state::CatalogState;
use functions::context::{CatalogLookup, SessionSettings};
use rpc::directory::WorkerDirectory;
use rpc::worker_api::ReadContext;

use crate::freshness::IndexFreshness;
use crate::read_log::ReadLog;

/// A statement's surroundings. Found in DataFusion's session config as an extension.
#[derive(Clone)]
pub struct StatementContext {
    pub catalog: Arc<CatalogState>,
    pub directory: Arc<dyn WorkerDirectory>,
    pub read: ReadContext,
    pub settings: SessionSettings,
    pub freshness: IndexFreshness,
    /// Of a serializable transaction: notes what it reads.
    pub reads: Option<Arc<ReadLog>>,
    /// Keeps the versions that the snapshot sees.
    pub kept: Option<Arc<dyn std::any::Any + Send + Sync>>,
    /// For functions that read the catalog, and for the system views.
    pub lookup: Option<Arc<dyn CatalogLookup>>,
}

impl fmt::Debug for StatementContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatementContext").field("read", &self.read).finish_non_exhaustive()
    }
}
