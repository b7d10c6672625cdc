//! What a catalog node does.
//!
//! Proposals go one after another: apply, make durable, publish. Everything else reads the published state.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use common::clock::Clock;
use common::error::Report;
use common::ids::{CatalogVersion, FIRST_USER_OID, Timestamp, WorkerId};
use futures::StreamExt;
use parking_lot::Mutex;
use rpc::catalog_api::{CatalogApi, RegisterRequest, StateStream};
use rpc::worker_api::Answer;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use crate::changes::{self, Change};
use crate::error::CatalogError;
use crate::objects::{Worker, WorkerState};
use crate::oracle::Oracle;
use crate::state::CatalogState;
use crate::store::Store;

/// A worker that is not heard of for this long is marked down.
const WORKER_SILENCE: Duration = Duration::from_secs(6);
/// Ids are made durable in runs of this many.
const IDS_RUN: u64 = 1_000;
/// A node whose oldest snapshot is not renewed for this long reads nothing any more.
const SNAPSHOT_SILENCE: Duration = Duration::from_secs(60);
/// Even without any reader, versions are kept for this long.
const VERSIONS_KEPT_MICROS: i64 = 10_000_000;

#[derive(Debug)]
struct Ids {
    next: u64,
    mark: u64,
}

/// The catalog node.
#[derive(Debug)]
pub struct CatalogService {
    store: Arc<Store>,
    oracle: Oracle,
    clock: Arc<dyn Clock>,
    state: ArcSwap<CatalogState>,
    published: watch::Sender<Bytes>,
    proposals: Mutex<()>,
    ids: Mutex<Ids>,
    heard: Mutex<HashMap<WorkerId, Duration>>,
    snapshots: Mutex<HashMap<String, (Timestamp, Duration)>>,
}

impl CatalogService {
    /// Opens or makes the catalog in a directory.
    pub fn open(directory: &Path, clock: Arc<dyn Clock>) -> Result<Arc<Self>, Report> {
        let store = Arc::new(Store::open(directory)?);
        let state = store.load()?;
        let oracle = Oracle::open(Arc::clone(&store), Arc::clone(&clock))?;
        let next = store.ids_mark()?.unwrap_or(u64::from(FIRST_USER_OID.0));
        let (published, _) = watch::channel(state.serialize());
        Ok(Arc::new(Self {
            store,
            oracle,
            clock,
            state: ArcSwap::from_pointee(state),
            published,
            proposals: Mutex::default(),
            ids: Mutex::new(Ids { next, mark: next }),
            heard: Mutex::default(),
            snapshots: Mutex::default(),
        }))
    }

    /// The newest state.
    pub fn state(&self) -> Arc<CatalogState> {
        self.state.load_full()
    }

    /// Nothing needs to be written at the end: every change is durable already.
    pub fn shut_down(&self) {
        tracing::debug!("catalog stopped");
    }

    fn change(&self, base: Option<CatalogVersion>, changes: &[Change]) -> Result<CatalogVersion, CatalogError> {
        let _one_at_a_time = self.proposals.lock();
        let current = self.state.load_full();
        if let Some(base) = base
            && base < current.schema_version()
        {
            return Err(CatalogError::Stale { proposed_on: base, current: current.version() });
        }
        let next = current.apply(changes)?;
        self.store.save(&current, &next)?;
        let version = next.version();
        self.published.send_replace(next.serialize());
        self.state.store(Arc::new(next));
        Ok(version)
    }

    fn take_ids(&self, count: u32) -> Result<u64, CatalogError> {
        let mut ids = self.ids.lock();
        let first = ids.next;
        let next = first + u64::from(count);
        if next > u64::from(u32::MAX) {
            return Err(CatalogError::OutOfIds);
        }
        if next > ids.mark {
            let mark = next + IDS_RUN;
            self.store.set_ids_mark(mark)?;
            ids.mark = mark;
        }
        ids.next = next;
        Ok(first)
    }

    fn register_worker(&self, request: RegisterRequest) -> Result<WorkerId, CatalogError> {
        self.oracle.advance_beyond(request.last_timestamp);
        let known = |id: WorkerId| self.state.load().worker(id).cloned();
        let id = match request.id {
            Some(id) if known(id).is_none() => return Err(CatalogError::UnknownWorker(id)),
            Some(id) => id,
            None => WorkerId(self.state.load().workers().map(|w| w.id.0).max().unwrap_or(0) + 1),
        };
        let worker = Worker { id, address: request.address, state: WorkerState::Up, groups: request.groups };
        self.heard.lock().insert(id, self.clock.monotonic());
        if known(id).as_deref() != Some(&worker) {
            self.change(None, &[Change::PutWorker(worker)])?;
        }
        Ok(id)
    }

    fn heard_of(&self, id: WorkerId) -> Result<(), CatalogError> {
        self.heard.lock().insert(id, self.clock.monotonic());
        self.mark_silent_workers()?;
        let worker = self.state.load().worker(id).cloned().ok_or(CatalogError::UnknownWorker(id))?;
        if worker.state == WorkerState::Down {
            self.change(None, &[Change::PutWorker(Worker { state: WorkerState::Up, ..Worker::clone(&worker) })])?;
        }
        Ok(())
    }

    /// Marks workers down that were not heard of lately. Runs with every heartbeat and every watch; [`Self::watch_workers`] runs it by time.
    pub fn mark_silent_workers(&self) -> Result<(), CatalogError> {
        let now = self.clock.monotonic();
        let silent: Vec<Change> = {
            let mut heard = self.heard.lock();
            let state = self.state.load();
            let is_silent = |w: &Worker| {
                let last = *heard.entry(w.id).or_insert(now);
                w.state == WorkerState::Up && now.saturating_sub(last) > WORKER_SILENCE
            };
            let mut is_silent = is_silent;
            state
                .workers()
                .filter(|w| is_silent(w))
                .map(|w| Change::PutWorker(Worker { state: WorkerState::Down, ..Worker::clone(w) }))
                .collect()
        };
        if !silent.is_empty() {
            self.change(None, &silent)?;
        }
        Ok(())
    }

    /// Looks for silent workers until `stop`.
    pub async fn watch_workers(self: Arc<Self>, stop: tokio_util::sync::CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(WORKER_SILENCE / 3)).await.is_some() {
            if let Err(error) = self.mark_silent_workers() {
                tracing::warn!(%error, "could not mark silent workers");
            }
        }
    }

    fn note_snapshot(&self, node: String, oldest: Timestamp) -> Timestamp {
        let now = self.clock.monotonic();
        let mut snapshots = self.snapshots.lock();
        snapshots.insert(node, (oldest, now));
        snapshots.retain(|_, (_, at)| now.saturating_sub(*at) < SNAPSHOT_SILENCE);
        let kept = crate::oracle::at_micros(self.clock.unix_micros() - VERSIONS_KEPT_MICROS);
        snapshots.values().map(|(oldest, _)| *oldest).min().unwrap_or(kept).min(kept)
    }
}

#[async_trait]
impl CatalogApi for CatalogService {
    async fn propose(&self, base: CatalogVersion, changes: Bytes) -> Answer<CatalogVersion> {
        let changes = changes::deserialize(&changes)?;
        Ok(self.change(Some(base), &changes)?)
    }

    async fn watch(&self) -> Answer<StateStream> {
        Ok(WatchStream::new(self.published.subscribe()).map(Ok).boxed())
    }

    async fn timestamps(&self, count: u32) -> Answer<Timestamp> {
        Ok(self.oracle.take(count)?)
    }

    async fn allocate_ids(&self, count: u32) -> Answer<u64> {
        Ok(self.take_ids(count)?)
    }

    async fn register(&self, request: RegisterRequest) -> Answer<WorkerId> {
        Ok(self.register_worker(request)?)
    }

    async fn heartbeat(&self, worker: WorkerId) -> Answer<()> {
        Ok(self.heard_of(worker)?)
    }

    async fn oldest_snapshot(&self, node: String, oldest: Timestamp) -> Answer<Timestamp> {
        Ok(self.note_snapshot(node, oldest))
    }
}
