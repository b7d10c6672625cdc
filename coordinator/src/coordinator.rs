//! What all sessions of a coordinator share.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use arc_swap::ArcSwap;
use catalog::client::CatalogCache;
use catalog::state::CatalogState;
use common::clock::Clock;
use common::error::Report;
use common::ids::{CatalogVersion, Timestamp, TransactionId, WorkerId};
use common::sqlstate::SqlState;
use parking_lot::Mutex;
use query::planner::Planner;
use rpc::catalog_api::CatalogApi;
use rpc::directory::WorkerDirectory;
use rpc::worker_api::WorkerApi;
use tokio_util::sync::CancellationToken;

use crate::prepared::StatementCache;
use crate::schema_view::SchemaView;
use crate::sequences::Sequences;
use crate::snapshots::Snapshots;
use crate::transaction::LiveTransactions;

/// How a coordinator runs.
#[derive(Clone, Debug)]
pub struct CoordinatorOptions {
    /// A name for this node, unique in the cluster: its address.
    pub name: String,
    /// Connections at once; one more is refused with 53300.
    pub connections_max: usize,
    /// Memory that the statements of this coordinator may use together, in bytes.
    pub memory_bytes_max: usize,
}

impl Default for CoordinatorOptions {
    fn default() -> Self {
        Self { name: "coordinator".to_owned(), connections_max: 2_000, memory_bytes_max: 1 << 30 }
    }
}

/// A connected client, for cancel requests and pg_stat_activity.
#[derive(Debug)]
pub struct ConnectedSession {
    pub pid: i32,
    pub secret: i32,
    pub user: String,
    pub database: String,
    pub application_name: Mutex<String>,
    pub client_address: String,
    /// Cancelled when the running statement shall end; replaced for each statement.
    pub statement: Mutex<CancellationToken>,
    /// Cancelled when the connection shall end.
    pub connection: CancellationToken,
    /// When the client came, in microseconds since 1970 UTC.
    pub started_micros: i64,
    pub activity: Mutex<Activity>,
}

/// What a session does, as pg_stat_activity names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionState {
    Active,
    Idle,
    IdleInTransaction,
    IdleInFailedTransaction,
}

impl SessionState {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Idle => "idle",
            Self::IdleInTransaction => "idle in transaction",
            Self::IdleInFailedTransaction => "idle in transaction (aborted)",
        }
    }
}

/// What a session does, and since when (microseconds since 1970 UTC).
#[derive(Clone, Debug)]
pub struct Activity {
    pub state: SessionState,
    /// The text of the statement that runs, or of the last one.
    pub query: Arc<str>,
    pub transaction_micros: Option<i64>,
    pub query_micros: Option<i64>,
    pub state_micros: i64,
}

impl Activity {
    /// A statement begins.
    pub fn begin(&mut self, query: Arc<str>, transaction_micros: Option<i64>, now: i64) {
        let state = SessionState::Active;
        *self = Self { state, query, transaction_micros: transaction_micros.or(Some(now)), query_micros: Some(now), state_micros: now };
    }

    /// Statements have ended.
    pub fn rest(&mut self, state: SessionState, transaction_micros: Option<i64>, now: i64) {
        (self.state, self.transaction_micros, self.state_micros) = (state, transaction_micros, now);
    }
}

/// A coordinator.
pub struct Coordinator {
    pub options: CoordinatorOptions,
    pub catalog: Arc<dyn CatalogApi>,
    pub cache: Arc<CatalogCache>,
    pub directory: Arc<dyn WorkerDirectory>,
    pub clock: Arc<dyn Clock>,
    pub statements: StatementCache,
    pub transactions: LiveTransactions,
    pub snapshots: Arc<Snapshots>,
    pub planner: Planner,
    pub sequences: Sequences,
    /// When it began, in microseconds since 1970 UTC.
    pub started_micros: i64,
    /// The transactions of this coordinator that have changed the schema and are not ended.
    pub schema_changes: Mutex<HashSet<TransactionId>>,
    public: ArcSwap<CatalogState>,
    view: ArcSwap<SchemaView>,
    sessions: Mutex<HashMap<i32, Arc<ConnectedSession>>>,
    /// Session numbers that are reserved for this coordinator.
    pids: tokio::sync::Mutex<Range<u64>>,
    /// The sessions that have, or ask for, advisory locks.
    pub advisory_sessions: Mutex<HashSet<i32>>,
}

impl Coordinator {
    /// A coordinator over a catalog and the workers that it knows.
    pub fn new(
        options: CoordinatorOptions,
        catalog: Arc<dyn CatalogApi>,
        cache: Arc<CatalogCache>,
        directory: Arc<dyn WorkerDirectory>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, Report> {
        let public = cache.current().public();
        let view = ArcSwap::from_pointee(SchemaView::new(Arc::clone(&public)));
        let planner = Planner::new(options.memory_bytes_max)?;
        Ok(Arc::new(Self {
            options,
            started_micros: clock.unix_micros(),
            catalog,
            cache,
            directory,
            clock,
            statements: StatementCache::default(),
            transactions: LiveTransactions::default(),
            snapshots: Arc::default(),
            planner,
            sequences: Sequences::default(),
            schema_changes: Mutex::default(),
            public: ArcSwap::new(public),
            view,
            sessions: Mutex::default(),
            pids: tokio::sync::Mutex::new(0..0),
            advisory_sessions: Mutex::default(),
        }))
    }

    /// The newest catalog state that this coordinator knows, as everybody sees it.
    pub fn state(&self) -> Arc<CatalogState> {
        let current = self.cache.current();
        let public = self.public.load_full();
        if public.version() == current.version() {
            return public;
        }
        let public = current.public();
        self.public.store(Arc::clone(&public));
        public
    }

    /// The binder's view of the newest catalog state, with everything that is computed once for each version.
    pub fn view(&self) -> Arc<SchemaView> {
        let current = self.state();
        let view = self.view.load_full();
        if view.state().version() == current.version() {
            return view;
        }
        let fresh = Arc::new(SchemaView::new(current));
        self.view.store(Arc::clone(&fresh));
        fresh
    }

    /// A timestamp: a snapshot that sees every commit that was acknowledged before this call.
    pub async fn timestamp(&self) -> Result<Timestamp, Report> {
        self.catalog.timestamps(1).await
    }

    /// A worker by id.
    pub fn worker(&self, id: WorkerId) -> Result<Arc<dyn WorkerApi>, Report> {
        self.directory.worker(id)
    }

    /// Makes schema changes and waits until this coordinator sees them.
    pub async fn propose(&self, base: CatalogVersion, changes: &[catalog::changes::Change]) -> Result<CatalogVersion, Report> {
        let version = self.catalog.propose(base, catalog::changes::serialize(changes)).await?;
        self.cache.wait_for(version, CATALOG_WAIT).await?;
        Ok(version)
    }

    /// A number for a session that no other session of the cluster has.
    pub async fn next_pid(&self) -> Result<i32, Report> {
        let mut pids = self.pids.lock().await;
        loop {
            if let Some(id) = pids.next() {
                let pid = i32::try_from(id & 0x7fff_ffff).unwrap_or_default();
                // 0 stands for nobody.
                if pid != 0 {
                    return Ok(pid);
                }
            } else {
                let first = self.catalog.allocate_ids(PIDS_AT_ONCE).await?;
                *pids = first..first + u64::from(PIDS_AT_ONCE);
            }
        }
    }

    /// Ends the waits for locks of a session whose statement is to end.
    pub async fn cancel_waits(&self, session: i32) {
        let state = self.state();
        let calls = state.workers().filter_map(|worker| self.worker(worker.id).ok()).map(|api| async move {
            if let Err(error) = api.cancel_waits(session).await {
                tracing::debug!(%error, "a wait could not be ended");
            }
        });
        futures::future::join_all(calls).await;
    }

    /// Admits a client, unless there are too many.
    pub fn connect(
        &self,
        pid: i32,
        user: String,
        database: String,
        application_name: String,
        client_address: String,
    ) -> Result<Arc<ConnectedSession>, Report> {
        let now = self.clock.unix_micros();
        let mut sessions = self.sessions.lock();
        if sessions.len() >= self.options.connections_max {
            return Err(Report::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already"));
        }
        let session = Arc::new(ConnectedSession {
            pid,
            secret: rand::random(),
            user,
            database,
            application_name: Mutex::new(application_name),
            client_address,
            statement: Mutex::new(CancellationToken::new()),
            connection: CancellationToken::new(),
            started_micros: now,
            activity: Mutex::new(Activity {
                state: SessionState::Idle,
                query: "".into(),
                transaction_micros: None,
                query_micros: None,
                state_micros: now,
            }),
        });
        sessions.insert(pid, Arc::clone(&session));
        Ok(session)
    }

    /// Forgets a client that is gone.
    pub fn disconnect(&self, pid: i32) {
        self.sessions.lock().remove(&pid);
    }

    /// Ends the running statement of the client with that pid and secret; anything else is ignored, as in PostgreSQL.
    pub fn cancel(&self, pid: i32, secret: i32) {
        let session = self.sessions.lock().get(&pid).cloned();
        if let Some(session) = session.filter(|s| s.secret == secret) {
            session.statement.lock().cancel();
        }
    }

    /// The connected clients.
    pub fn connected(&self) -> Vec<Arc<ConnectedSession>> {
        self.sessions.lock().values().cloned().collect()
    }
}

/// Session numbers are reserved in runs of this length: they come from the counter of the catalog's ids.
const PIDS_AT_ONCE: u32 = 1_024;

/// How long a node waits for a catalog version that it knows to exist.
pub const CATALOG_WAIT: std::time::Duration = std::time::Duration::from_secs(10);
