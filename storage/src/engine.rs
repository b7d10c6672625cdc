//! The engine: a directory with a log and bases, opened by one process at a time.
//!
//! ```text
//! FORMAT            magic and version
//! LOCK              held exclusively while an engine is open
//! CHECKPOINT        where recovery begins
//! log/<position>.seg
//! base/<group>.redb
//! ```
//!
//! Appends are serialised by one mutex: write, sync, apply. Checkpoints run on a thread of the engine's own and hold that mutex only to freeze the
//! memtables. Memory is bounded: appends wait while a checkpoint is behind by more than twice the configured size, and fail when checkpoints fail.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use common::ids::{GroupId, LogPosition, RelationId, Timestamp, TransactionId};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::base::Caches;
use crate::checkpoint::Checkpointer;
use crate::disk::{Disk, RealDisk};
use crate::error::StorageError;
use crate::log::{LogFiles, LogWriter};
use crate::memtable::Dropped;
use crate::record::{Frame, Record, TransactionState};
use crate::transactions::TransactionTable;
use crate::view::{Layers, View};

/// A checkpoint begins when the log has grown by this much since the last.
const LOG_BYTES_PER_CHECKPOINT: u64 = 192 << 20;
/// Memtables of less than this part of their limit are not folded before their time.
const WORTH_FOLDING: usize = 8;
/// How long the thread waits after a failed checkpoint, and between sweeps of stale keys.
const PAUSE: Duration = Duration::from_secs(1);
/// How long an append waits for room before it looks at the checkpoints' state again.
const ROOM_WAIT: Duration = Duration::from_millis(100);

/// How to open an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The data directory; made if it is not there.
    pub dir: PathBuf,
    /// How many groups there are.
    pub groups: u32,
    /// The size of a log segment.
    pub segment_bytes: u64,
    /// All memtables together may be this large before a checkpoint begins.
    pub memtable_bytes_max: usize,
    /// The page cache of each group's base file.
    pub base_cache_bytes: usize,
    /// All columns that scans leave in memory.
    pub column_cache_bytes: usize,
    /// Rows that scans make columns of at a time.
    pub column_block_rows: usize,
    /// Where the files are.
    pub disk: Arc<dyn Disk>,
}

impl EngineOptions {
    /// The defaults: 8 groups, segments of 64 MiB, memtables of 128 MiB, page caches of 128 MiB, columns of 256 MiB.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            groups: 8,
            segment_bytes: 64 << 20,
            memtable_bytes_max: 128 << 20,
            base_cache_bytes: 128 << 20,
            column_cache_bytes: 256 << 20,
            column_block_rows: 8_192,
            disk: Arc::new(RealDisk),
        }
    }
}

/// A transaction that was not decided when the engine was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecoveredTransaction {
    pub id: TransactionId,
    /// Open or prepared.
    pub state: TransactionState,
    /// What a prepared one has written, each key once, in order; empty for an open one, which can only be aborted.
    pub keys: Vec<(GroupId, RelationId, Bytes)>,
}

/// Sizes and counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EngineStats {
    /// From the log's start to its end.
    pub log_bytes: u64,
    /// Memory of all memtables, frozen ones included.
    pub memtable_bytes: u64,
    /// The length of all base files.
    pub base_bytes: u64,
    /// Memory of the columns that scans left.
    pub column_bytes: u64,
    /// Frames appended since the engine was opened.
    pub appends: u64,
    /// Syncs of the log since the engine was opened.
    pub syncs: u64,
}

/// One group's state.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) layers: ArcSwap<Layers>,
    pub(crate) metadata: RwLock<BTreeMap<Bytes, Bytes>>,
}

/// What the checkpoint thread is told.
#[derive(Debug, Default)]
pub(crate) struct Control {
    wanted: bool,
    trim: bool,
    stop: bool,
    /// Why the last checkpoint failed.
    failure: Option<String>,
}

/// What the checkpoint thread does next.
enum Task {
    Checkpoint,
    TrimLog,
    Sweep,
}

/// Everything that the engine and its thread share. Locks are taken in the order checkpointer, append, control.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) directory: PathBuf,
    pub(crate) base_directory: PathBuf,
    pub(crate) caches: Caches,
    pub(crate) memtable_bytes_max: usize,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) groups: Vec<Group>,
    pub(crate) transactions: Arc<TransactionTable>,
    pub(crate) files: Arc<LogFiles>,
    pub(crate) append: Mutex<LogWriter>,
    pub(crate) checkpointer: Mutex<Checkpointer>,
    pub(crate) control: Mutex<Control>,
    /// Signals `control` to the thread.
    pub(crate) work: Condvar,
    /// Signals that memtables were frozen or folded.
    pub(crate) room: Condvar,
    pub(crate) last_timestamp: AtomicU64,
    pub(crate) oldest_snapshot: AtomicU64,
    pub(crate) hold: AtomicU64,
    pub(crate) checkpoint_position: AtomicU64,
    pub(crate) active_bytes: AtomicUsize,
    pub(crate) frozen_bytes: AtomicUsize,
    /// The log position of the last freeze.
    pub(crate) frozen_end: AtomicU64,
    pub(crate) shut: AtomicBool,
    pub(crate) appends: AtomicU64,
    pub(crate) syncs: AtomicU64,
    /// Last: the directory is free for others only when everything else is closed.
    pub(crate) _lock: File,
}

impl Shared {
    /// The group of that id.
    fn group(&self, id: GroupId) -> Result<&Group, StorageError> {
        self.groups
            .get(id.0 as usize)
            .ok_or(StorageError::NoSuchGroup { group: id, groups: u32::try_from(self.groups.len()).unwrap_or(u32::MAX) })
    }

    /// Applies a record of the frame that ends at `end` to memory. `has` says that the group's base has it already.
    pub(crate) fn apply(&self, group: &Group, record: &Record, end: LogPosition, has: bool) {
        self.transactions.apply(record, end);
        let newest = match record {
            Record::Write { at, .. } => at.0,
            Record::Provisional { transaction, at, .. }
            | Record::Prepare { transaction, at, .. }
            | Record::Undo { transaction, at, .. } => at.0.max(transaction.0),
            Record::Decide { transaction, outcome } => outcome.map_or(0, |at| at.0).max(transaction.0),
            Record::Metadata { .. } | Record::DropRange { .. } => 0,
        };
        self.last_timestamp.fetch_max(newest, Ordering::AcqRel);
        if has {
            return;
        }
        let layers = group.layers.load();
        let grown = match record {
            Record::Write { at, changes } => layers.active.write(*at, None, changes),
            Record::Provisional { transaction, at, changes } => layers.active.write(*at, Some(*transaction), changes),
            Record::Metadata { key, value } => {
                let mut metadata = group.metadata.write();
                match value {
                    Some(value) => metadata.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)),
                    None => metadata.remove(key),
                };
                layers.active.metadata(key, value.as_ref())
            }
            Record::DropRange { relation, lo, hi } => {
                let hi = hi.as_ref().map(|hi| Bytes::copy_from_slice(hi));
                layers.active.drop_range(Dropped { relation: *relation, lo: Bytes::copy_from_slice(lo), hi })
            }
            Record::Prepare { .. } | Record::Decide { .. } | Record::Undo { .. } => 0,
        };
        self.active_bytes.fetch_add(grown, Ordering::AcqRel);
    }

    /// How much the log has grown since the last freeze.
    fn log_growth(&self) -> u64 {
        self.files.end().0.saturating_sub(self.frozen_end.load(Ordering::Acquire))
    }

    fn wants_checkpoint(&self) -> bool {
        self.active_bytes.load(Ordering::Acquire) > self.memtable_bytes_max || self.log_growth() > LOG_BYTES_PER_CHECKPOINT
    }

    fn is_full(&self) -> bool {
        self.active_bytes.load(Ordering::Acquire) > 2 * self.memtable_bytes_max || self.log_growth() > 2 * LOG_BYTES_PER_CHECKPOINT
    }

    /// Wakes the thread.
    fn wake(&self, tell: impl FnOnce(&mut Control)) {
        tell(&mut self.control.lock());
        self.work.notify_one();
    }

    /// Waits until memory for new rows is there.
    fn wait_for_room(&self) -> Result<(), StorageError> {
        while self.is_full() {
            let mut control = self.control.lock();
            if control.stop || self.shut.load(Ordering::Acquire) {
                return Err(StorageError::ShutDown);
            }
            if let Some(cause) = &control.failure {
                return Err(StorageError::CheckpointFailing { cause: cause.clone() });
            }
            control.wanted = true;
            self.work.notify_one();
            self.room.wait_for(&mut control, ROOM_WAIT);
        }
        Ok(())
    }

    /// The checkpoint thread.
    fn run(&self) {
        let mut more_stale = false;
        loop {
            let task = {
                let mut control = self.control.lock();
                if !control.stop && !control.wanted && !control.trim {
                    if more_stale || control.failure.is_some() {
                        self.work.wait_for(&mut control, PAUSE);
                        control.wanted |= control.failure.is_some();
                    } else {
                        self.work.wait(&mut control);
                    }
                }
                if control.stop {
                    return;
                }
                match (std::mem::take(&mut control.wanted), std::mem::take(&mut control.trim)) {
                    (true, _) => Task::Checkpoint,
                    (false, true) => Task::TrimLog,
                    (false, false) => Task::Sweep,
                }
            };
            let result = match task {
                Task::Checkpoint => self.run_checkpoint(),
                Task::TrimLog => self.remove_log().map(|()| more_stale),
                Task::Sweep => self.run_sweep(),
            };
            let failure = match result {
                Ok(more) => {
                    more_stale = more;
                    None
                }
                Err(error) => {
                    tracing::error!(%error, "a checkpoint failed");
                    Some(error.to_string())
                }
            };
            let mut control = self.control.lock();
            if failure.is_some() && !control.stop {
                control.failure = failure;
                // Whoever waits for room is told; the next try comes after a pause.
                self.room.notify_all();
                self.work.wait_for(&mut control, PAUSE);
            } else {
                control.failure = failure;
            }
        }
    }
}

/// A worker's disk. See the crate's description.
#[derive(Debug)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) thread: Mutex<Option<JoinHandle<()>>>,
    pub(crate) recovered: Vec<RecoveredTransaction>,
}

impl Engine {
    /// Opens or makes a data directory, and recovers what the log has.
    pub fn open(options: EngineOptions) -> Result<Arc<Self>, StorageError> {
        let (shared, recovered) = crate::recovery::open(options)?;
        let shared = Arc::new(shared);
        let thread = {
            let shared = Arc::clone(&shared);
            let path = shared.directory.clone();
            std::thread::Builder::new()
                .name("checkpoint".to_owned())
                .spawn(move || shared.run())
                .map_err(StorageError::io("start the checkpoint thread of", &path))?
        };
        let engine = Arc::new(Self { shared, thread: Mutex::new(Some(thread)), recovered });
        if engine.shared.wants_checkpoint() {
            engine.shared.wake(|control| control.wanted = true);
        }
        Ok(engine)
    }

    /// Appends frames: durable and visible on return. Returns the position after the last. Each frame happens entirely or not at all.
    pub fn append(&self, frames: &[Frame]) -> Result<LogPosition, StorageError> {
        self.write(frames, true)
    }

    /// As [`Self::append`], but durable only with the next append: for provisional writes, which a crash may take.
    pub fn append_buffered(&self, frames: &[Frame]) -> Result<LogPosition, StorageError> {
        self.write(frames, false)
    }

    fn write(&self, frames: &[Frame], durable: bool) -> Result<LogPosition, StorageError> {
        let shared = &*self.shared;
        for (group, _) in frames.iter().flatten() {
            shared.group(*group)?;
        }
        shared.wait_for_room()?;
        let mut writer = shared.append.lock();
        if shared.shut.load(Ordering::Acquire) {
            return Err(StorageError::ShutDown);
        }
        let ends = writer.write(frames)?;
        if durable {
            writer.sync()?;
            shared.syncs.fetch_add(1, Ordering::Relaxed);
        }
        for (frame, end) in frames.iter().zip(&ends) {
            for (group, record) in frame {
                shared.apply(shared.group(*group)?, record, *end, false);
            }
        }
        let end = writer.end();
        drop(writer);
        shared.appends.fetch_add(frames.len() as u64, Ordering::Relaxed);
        if shared.wants_checkpoint() {
            shared.wake(|control| control.wanted = true);
        }
        Ok(end)
    }

    /// A group's state for readers. A group that does not exist is empty.
    pub fn view(&self, group: GroupId) -> View {
        let layers = match self.shared.groups.get(group.0 as usize) {
            Some(group) => group.layers.load_full(),
            None => Arc::new(Layers::empty()),
        };
        View { layers, transactions: Arc::clone(&self.shared.transactions) }
    }

    /// Durable frames after `from`, each with the position of the next: at least one if there is any, up to `max_bytes`.
    pub fn read_log(&self, from: LogPosition, max_bytes: usize) -> Result<Vec<(LogPosition, Frame)>, StorageError> {
        self.shared.files.read(from, max_bytes)
    }

    /// The durable end of the log.
    pub fn log_end(&self) -> LogPosition {
        self.shared.files.end()
    }

    /// Keeps the frames at and after `from` for readers of the log. Everything that was there at opening is kept until this is called.
    pub fn hold_log(&self, from: LogPosition) {
        self.shared.hold.store(from.0, Ordering::Release);
        self.shared.wake(|control| control.trim = true);
    }

    /// The oldest frame still there.
    pub fn log_start(&self) -> LogPosition {
        self.shared.files.start()
    }

    /// What [`Record::Metadata`] wrote last.
    pub fn metadata(&self, group: GroupId, key: &[u8]) -> Option<Bytes> {
        self.shared.groups.get(group.0 as usize)?.metadata.read().get(key).cloned()
    }

    /// What the log says about a transaction.
    pub fn transaction_state(&self, id: TransactionId) -> TransactionState {
        self.shared.transactions.state(id)
    }

    /// The transactions that were undecided when the engine was opened, by id.
    pub fn recovered(&self) -> Vec<RecoveredTransaction> {
        self.recovered.clone()
    }

    /// The highest timestamp in any record ever.
    pub fn last_timestamp(&self) -> Timestamp {
        Timestamp(self.shared.last_timestamp.load(Ordering::Acquire))
    }

    /// Says that no reader has, or will have, a snapshot below `at`: versions that only such ones see may go. It never moves back.
    pub fn set_oldest_snapshot(&self, at: Timestamp) {
        self.shared.oldest_snapshot.fetch_max(at.0, Ordering::AcqRel);
    }

    /// What [`Self::set_oldest_snapshot`] said last.
    pub fn oldest_snapshot(&self) -> Timestamp {
        Timestamp(self.shared.oldest_snapshot.load(Ordering::Acquire))
    }

    /// Folds everything into the bases now.
    pub fn checkpoint(&self) -> Result<(), StorageError> {
        self.shared.run_checkpoint().map(drop)
    }

    /// Has the memtables folded soon, unless they are small: a scan of the base costs less than one of memory.
    pub fn fold_soon(&self) {
        if self.shared.active_bytes.load(Ordering::Acquire) > self.shared.memtable_bytes_max / WORTH_FOLDING {
            self.shared.wake(|control| control.wanted = true);
        }
    }

    /// Ends: nothing can be appended any more, and the next opening has nothing to recover.
    pub fn shut_down(&self) -> Result<(), StorageError> {
        {
            let _writer = self.shared.append.lock();
            self.shared.shut.store(true, Ordering::Release);
        }
        self.stop_thread();
        self.checkpoint()
    }

    fn stop_thread(&self) {
        self.shared.wake(|control| control.stop = true);
        self.shared.room.notify_all();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }

    /// Sizes and counts.
    pub fn stats(&self) -> EngineStats {
        let shared = &*self.shared;
        let memtable_bytes = shared.active_bytes.load(Ordering::Acquire) + shared.frozen_bytes.load(Ordering::Acquire);
        EngineStats {
            log_bytes: shared.files.bytes(),
            memtable_bytes: memtable_bytes as u64,
            base_bytes: shared.base_bytes(),
            column_bytes: shared.caches.columns.bytes() as u64,
            appends: shared.appends.load(Ordering::Relaxed),
            syncs: shared.syncs.load(Ordering::Relaxed),
        }
    }
}

impl Shared {
    fn base_bytes(&self) -> u64 {
        (0..self.groups.len())
            .filter_map(|number| u32::try_from(number).ok())
            .map(|number| crate::base::path(&self.base_directory, GroupId(number)))
            .filter_map(|path| self.disk.open(&path).and_then(|file| file.len()).ok())
            .sum()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop_thread();
    }
}
