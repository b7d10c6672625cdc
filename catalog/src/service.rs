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
use common::ids::{CatalogVersion, FIRST_USER_OID, Oid, Timestamp, WorkerId};
use futures::StreamExt;
use parking_lot::Mutex;
use rpc::catalog_api::{CatalogApi, RegisterRequest, SequenceAnswer, SequenceCall, StateStream};
use rpc::worker_api::Answer;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use crate::changes::{self, Change};
use crate::error::CatalogError;
use crate::objects::{Sequence, SequencePosition, Worker, WorkerState};
use crate::oracle::Oracle;
use crate::sequences::{self, Stand};
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
    /// Where the sequences stand that were asked since the start.
    stands: Mutex<HashMap<Oid, Stand>>,
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
            stands: Mutex::default(),
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

    /// Makes the changes that `work_out` finds for the newest state; none leave it as it is. One caller at a time, so that what was worked
    /// out still holds.
    fn change(&self, work_out: impl FnOnce(&CatalogState) -> Result<Vec<Change>, CatalogError>) -> Result<CatalogVersion, CatalogError> {
        let _one_at_a_time = self.proposals.lock();
        let current = self.state.load_full();
        let changes = work_out(&current)?;
        if changes.is_empty() {
            return Ok(current.version());
        }
        let next = current.apply(&changes)?;
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

    /// The stand of a sequence, in memory from now on.
    fn stand(&self, stands: &mut HashMap<Oid, Stand>, sequence: &Sequence) -> Result<Stand, CatalogError> {
        let stand = match stands.get(&sequence.oid) {
            Some(stand) => *stand,
            None => self.store.stand(sequence.oid)?.unwrap_or_else(|| Stand::first(sequence)),
        };
        let stand = stand.brought_up_to(sequence);
        stands.insert(sequence.oid, stand);
        Ok(stand)
    }

    fn sequence_call(&self, oid: Oid, call: &SequenceCall) -> Result<SequenceAnswer, Report> {
        if let SequenceCall::Set { value, is_called } = call {
            let known = self.state().sequence(oid).ok_or_else(|| sequences::missing(oid))?;
            sequences::set(&known, *value, *is_called)?;
            self.change(|state| {
                let sequence = state.sequence(oid).ok_or(CatalogError::MissingObject(oid))?;
                let position = SequencePosition { last: *value, is_called: *is_called };
                Ok(vec![Change::PutSequence(Sequence::clone(&sequence).restarted(position))])
            })?;
        }
        // The state is read under the lock, so that no stand goes back to an older generation.
        let mut stands = self.stands.lock();
        let state = self.state();
        let sequence = state.sequence(oid).ok_or_else(|| sequences::missing(oid))?;
        let stand = self.stand(&mut stands, &sequence)?;
        let SequencePosition { last, is_called } = stand.position;
        let answer = SequenceAnswer {
            version: state.version(),
            generation: sequence.generation,
            value: last,
            is_called,
            count: 0,
            increment: sequence.increment,
        };
        match call {
            SequenceCall::Set { .. } | SequenceCall::Read => Ok(answer),
            SequenceCall::Take(count) => {
                let (run, stand) = sequences::take(&sequence, stand, *count)?;
                self.store.set_stand(oid, stand)?;
                stands.insert(oid, stand);
                Ok(SequenceAnswer { value: run.first, is_called: true, count: run.count, ..answer })
            }
            SequenceCall::GiveBack { generation, end, last: back } => {
                if *generation != sequence.generation || !is_called || last != *end {
                    return Ok(answer);
                }
                let stand = Stand { position: SequencePosition { last: *back, is_called: true }, ..stand };
                self.store.set_stand(oid, stand)?;
                stands.insert(oid, stand);
                Ok(SequenceAnswer { value: *back, ..answer })
            }
        }
    }

    fn register_worker(&self, request: RegisterRequest) -> Result<WorkerId, CatalogError> {
        self.oracle.advance_beyond(request.last_timestamp);
        let mut registered = WorkerId(0);
        self.change(|state| {
            let id = match request.id {
                Some(id) if state.worker(id).is_none() => return Err(CatalogError::UnknownWorker(id)),
                Some(id) => id,
                None => WorkerId(state.workers().map(|w| w.id.0).max().unwrap_or(0) + 1),
            };
            registered = id;
            self.heard.lock().insert(id, self.clock.monotonic());
            let worker = Worker { id, address: request.address, state: WorkerState::Up, groups: request.groups };
            let is_known = state.worker(id).is_some_and(|known| **known == worker);
            Ok(if is_known { Vec::new() } else { vec![Change::PutWorker(worker)] })
        })?;
        Ok(registered)
    }

    fn heard_of(&self, id: WorkerId) -> Result<(), CatalogError> {
        self.heard.lock().insert(id, self.clock.monotonic());
        self.mark_silent_workers()?;
        let is_up = |state: &CatalogState| state.worker(id).map(|w| w.state == WorkerState::Up).ok_or(CatalogError::UnknownWorker(id));
        if is_up(&self.state.load())? {
            return Ok(());
        }
        self.change(|state| {
            let worker = state.worker(id).ok_or(CatalogError::UnknownWorker(id))?;
            Ok(vec![Change::PutWorker(Worker { state: WorkerState::Up, ..Worker::clone(worker) })])
        })?;
        Ok(())
    }

    /// Marks workers down that were not heard of lately. Runs with every heartbeat and every watch; [`Self::watch_workers`] runs it by time.
    pub fn mark_silent_workers(&self) -> Result<(), CatalogError> {
        if self.silent_workers(&self.state.load()).is_empty() {
            return Ok(());
        }
        self.change(|state| Ok(self.silent_workers(state)))?;
        Ok(())
    }

    fn silent_workers(&self, state: &CatalogState) -> Vec<Change> {
        let now = self.clock.monotonic();
        let mut heard = self.heard.lock();
        let mut is_silent = |w: &Worker| {
            let last = *heard.entry(w.id).or_insert(now);
            w.state == WorkerState::Up && now.saturating_sub(last) > WORKER_SILENCE
        };
        let silent = state.workers().filter(|w| is_silent(w));
        silent.map(|w| Change::PutWorker(Worker { state: WorkerState::Down, ..Worker::clone(w) })).collect()
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
        Ok(self.change(|current| {
            let must_wait = current.is_preparing() && changes.iter().any(|change| change.is_schema_change() && !change.ends_preparation());
            if base < current.schema_version() || must_wait {
                return Err(CatalogError::Stale { proposed_on: base, current: current.version() });
            }
            Ok(changes)
        })?)
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

    async fn sequence(&self, sequence: Oid, call: SequenceCall) -> Answer<SequenceAnswer> {
        self.sequence_call(sequence, &call)
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

#[cfg(test)]
mod tests {
    use common::clock::SystemClock;

    use super::*;

    #[test]
    fn workers_that_register_at_once_get_ids_of_their_own() {
        let directory = tempfile::tempdir().unwrap();
        let service = CatalogService::open(directory.path(), Arc::new(SystemClock::new())).unwrap();
        let register = |number: u32| {
            let address = format!("127.0.0.1:{number}");
            service.register_worker(RegisterRequest { id: None, address, groups: 1, last_timestamp: Timestamp::MIN }).unwrap()
        };
        let mut ids: Vec<WorkerId> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|number| scope.spawn(move || register(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        ids.sort_unstable();
        assert_eq!(ids, (1..=8).map(WorkerId).collect::<Vec<_>>());
    }
}
