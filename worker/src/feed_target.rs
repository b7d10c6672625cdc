//! Asynchronous indexes, at the owner of the entries: takes batches of changes, and knows how far each source has come.
//!
//! A worker's log is one for all of its groups, so a source is a worker, named by its group 0. The watermark of an index and a source says: every
//! commit of that source at or below it has its entries here. Changes become durable in one frame with the watermark that they reach. A batch without changes
//! moves the watermark in memory alone: after a restart an older one is answered, and the source goes on from there, as nothing lies between.
//!
//! Entries carry the commit timestamps of their rows, so taking a change twice changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::objects::{Index, IndexScope, Maintenance};
use catalog::oracle::physical_micros;
use catalog::state::CatalogState;
use common::ids::{GroupId, Oid, RelationId, Timestamp, WorkerId};
use parking_lot::Mutex;
use rpc::worker_api::{IndexFeedRequest, IndexLag};
use storage::{Change, Frame, Record};
use tokio::sync::watch;

use crate::commit::Job;
use crate::core::Core;
use crate::error::{Result, WorkerError};

/// Where watermarks are kept.
const MARKS_GROUP: GroupId = GroupId(0);
/// The group that stands for a worker's whole log.
pub(crate) const SOURCE_GROUP: GroupId = GroupId(0);
/// The longest wait for freshness that a caller may ask for.
const FRESH_WAIT_MAX: Duration = Duration::from_secs(60);

type Source = (WorkerId, GroupId);

#[derive(Clone, Copy, Default, Debug)]
struct Mark {
    at: Timestamp,
    /// Changes taken since the worker started.
    changes: u64,
}

/// One index and source: its watermark, under the lock of who takes a batch.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// The watermarks of the indexes whose partitions are here, by the index's key space.
#[derive(Debug)]
pub(crate) struct Marks {
    known: Mutex<HashMap<(RelationId, Source), (Mark, Turn)>>,
    moved: watch::Sender<()>,
}

impl Default for Marks {
    fn default() -> Self {
        Self { known: Mutex::default(), moved: watch::channel(()).0 }
    }
}

fn mark_key(storage: RelationId, (worker, group): Source) -> Bytes {
    [b"index_mark/".as_slice(), &storage.0.to_be_bytes(), &worker.0.to_be_bytes(), &group.0.to_be_bytes()].concat().into()
}

impl Core {
    /// See [`rpc::worker_api::WorkerApi::index_feed`].
    pub(crate) async fn take_feed(&self, request: IndexFeedRequest) -> Result<Timestamp> {
        let state = self.state(request.catalog_version).await?;
        let index = state.index(request.index).ok_or(WorkerError::UnknownIndex(request.index))?;
        let (_, turn) = self.mark(index.storage, request.source);
        let _turn = turn.lock().await;
        let (mark, _) = self.mark(index.storage, request.source);
        if mark.at != request.after {
            return Ok(mark.at);
        }
        let (up_to, source) = (request.up_to.max(mark.at), request.source);
        let count = request.changes.len() as u64;
        if count > 0 {
            let mut frame = self.entries_frame(&state, &index, request)?;
            let value = Some(Bytes::copy_from_slice(&up_to.0.to_be_bytes()));
            frame.push((MARKS_GROUP, Record::Metadata { key: mark_key(index.storage, source), value }));
            self.pipeline.submit(Job::plain(frame)).await?;
        }
        let moved = Mark { at: up_to, changes: mark.changes + count };
        if let Some((mark, _)) = self.marks.known.lock().get_mut(&(index.storage, source)) {
            *mark = moved;
        }
        self.marks.moved.send_replace(());
        Ok(up_to)
    }

    fn entries_frame(&self, state: &CatalogState, index: &Index, request: IndexFeedRequest) -> Result<Frame> {
        let mut checked = BTreeSet::new();
        let mut records: BTreeMap<(GroupId, Timestamp), Vec<Change>> = BTreeMap::new();
        for change in request.changes {
            if checked.insert(change.partition.id) {
                self.check(state, index.storage, change.partition)?;
            }
            let entry = Change { relation: index.storage, key: change.key, value: change.value, before: None };
            records.entry((change.partition.group, change.at)).or_default().push(entry);
        }
        Ok(records.into_iter().map(|((group, at), changes)| (group, Record::Write { at, changes })).collect())
    }

    /// The watermark of an index and a source, read from disk the first time.
    fn mark(&self, storage: RelationId, source: Source) -> (Mark, Turn) {
        let mut known = self.marks.known.lock();
        let (mark, turn) = known.entry((storage, source)).or_insert_with(|| {
            let stored = self.engine.metadata(MARKS_GROUP, &mark_key(storage, source));
            let at = stored.and_then(|bytes| bytes.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes);
            (Mark { at: Timestamp(at), changes: 0 }, Turn::default())
        });
        (*mark, Arc::clone(turn))
    }

    /// See [`rpc::worker_api::WorkerApi::index_fresh`].
    pub(crate) async fn index_fresh(&self, index: Oid, at: Timestamp, wait_ms: u32) -> Result<bool> {
        let limit = Duration::from_millis(u64::from(wait_ms)).min(FRESH_WAIT_MAX);
        let mut moved = self.marks.moved.subscribe();
        let fresh = async {
            loop {
                let state = self.cache.current();
                let index = state.index(index).ok_or(WorkerError::UnknownIndex(index))?;
                if self.sources(&state, &index).iter().all(|source| self.mark(index.storage, *source).0.at >= at) {
                    return Ok(());
                }
                // The sender lives as long as this worker.
                let _moved = moved.changed().await;
            }
        };
        match tokio::time::timeout(limit, fresh).await {
            Ok(fresh) => fresh.map(|()| true),
            Err(_) => Ok(false),
        }
    }

    /// See [`rpc::worker_api::WorkerApi::index_lag`].
    pub(crate) fn index_lag(&self) -> Vec<IndexLag> {
        let state = self.cache.current();
        let now = self.clock.unix_micros();
        let mut lags = Vec::new();
        for index in state.indexes().filter(|index| is_async(index)) {
            for source in self.sources(&state, index) {
                let (mark, _) = self.mark(index.storage, source);
                let lag = u64::try_from(now - physical_micros(mark.at)).unwrap_or(0) / 1_000;
                lags.push(IndexLag { index: index.oid, source, watermark: mark.at, lag_ms: lag, changes: mark.changes });
            }
        }
        lags
    }

    /// The sources that feed this worker's part of an index: none, when it has no part.
    fn sources(&self, state: &CatalogState, index: &Index) -> BTreeSet<Source> {
        if self.owned(state, index.storage).is_empty() {
            return BTreeSet::new();
        }
        let map = state.table(index.table).and_then(|table| state.partition_map(table.storage));
        map.iter().flat_map(|map| &map.partitions).map(|p| (p.worker, SOURCE_GROUP)).collect()
    }
}

/// Whether an index is fed from the log.
pub(crate) fn is_async(index: &Index) -> bool {
    matches!(index.scope, IndexScope::Global { maintenance: Maintenance::Async, .. })
}
