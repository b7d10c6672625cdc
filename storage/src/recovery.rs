//! Opening a data directory: whose it is, what the bases have, what the log adds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use common::ids::{GroupId, LogPosition, RelationId, TransactionId};
use parking_lot::{Condvar, Mutex, RwLock};

use crate::base::{self, Base, Caches};
use crate::checkpoint::{CheckpointState, Checkpointer, write_file};
use crate::column_cache::ColumnCache;
use crate::disk::Disk;
use crate::engine::{EngineOptions, Group, RecoveredTransaction, Shared};
use crate::error::StorageError;
use crate::log::LogWriter;
use crate::memtable::Memtable;
use crate::record::{Frame, TransactionState};
use crate::transactions::TransactionTable;
use crate::version::{Content, VersionKey};
use crate::view::Layers;

const FORMAT: &str = "FORMAT";
const FORMAT_NEW: &str = "FORMAT.new";
const LOCK: &str = "LOCK";
/// Magic and version.
const FORMAT_TEXT: &str = "partita data directory, format 1\n";
/// What an empty directory may hold: what a crash in the first opening leaves, and what a fresh file system has.
const IGNORED: [&str; 3] = [LOCK, FORMAT_NEW, "lost+found"];

/// Opens everything but the thread.
pub(crate) fn open(options: EngineOptions) -> Result<(Shared, Vec<RecoveredTransaction>), StorageError> {
    let disk = Arc::clone(&options.disk);
    let directory = options.dir.clone();
    let lock = claim(&*disk, &directory)?;
    let (log_directory, base_directory) = (directory.join("log"), directory.join("base"));
    for path in [&log_directory, &base_directory] {
        disk.create_dir(path).map_err(StorageError::io("create", path))?;
    }
    disk.sync_dir(&directory).map_err(StorageError::io("sync", &directory))?;
    let state = CheckpointState::load(&*disk, &directory)?;
    let writer = LogWriter::open(Arc::clone(&disk), &log_directory, options.segment_bytes, state.position)?;
    let caches = Caches { page_bytes: options.base_cache_bytes, columns: Arc::new(ColumnCache::new(options.column_cache_bytes, options.column_block_rows)) };
    let (checkpointer, groups, applied) = open_bases(&options, &base_directory, &caches)?;
    let files = writer.files();
    let transactions = TransactionTable::new();
    for (id, entry) in state.transactions {
        transactions.restore(id, entry);
    }
    let shared = Shared {
        directory,
        base_directory,
        caches,
        memtable_bytes_max: options.memtable_bytes_max,
        disk,
        groups,
        transactions: Arc::new(transactions),
        hold: AtomicU64::new(files.start().0),
        files,
        append: Mutex::new(writer),
        checkpointer: Mutex::new(checkpointer),
        control: Mutex::default(),
        work: Condvar::new(),
        room: Condvar::new(),
        last_timestamp: AtomicU64::new(state.last_timestamp.0),
        oldest_snapshot: AtomicU64::new(state.oldest_snapshot.0),
        checkpoint_position: AtomicU64::new(state.position.0),
        active_bytes: AtomicUsize::new(0),
        frozen_bytes: AtomicUsize::new(0),
        frozen_end: AtomicU64::new(state.position.0),
        shut: AtomicBool::new(false),
        appends: AtomicU64::new(0),
        syncs: AtomicU64::new(0),
        _lock: lock,
    };
    replay(&shared, &applied)?;
    let recovered = recovered(&shared)?;
    Ok((shared, recovered))
}

/// Opens the bases that are there. Also returns how far each has applied the log.
fn open_bases(
    options: &EngineOptions,
    directory: &Path,
    caches: &Caches,
) -> Result<(Checkpointer, Vec<Group>, Vec<LogPosition>), StorageError> {
    let disk = &*options.disk;
    let mut checkpointer = Checkpointer::default();
    let mut groups: Vec<_> =
        (0..options.groups).map(|_| Group { layers: ArcSwap::from_pointee(Layers::empty()), metadata: RwLock::default() }).collect();
    let mut applied = vec![LogPosition::default(); groups.len()];
    for name in disk.list(directory).map_err(StorageError::io("list", directory))? {
        let Some(id) = base::parse_name(&name) else {
            // What a crash in the making of a base leaves.
            let path = directory.join(&name);
            if name.ends_with(".redb.new") {
                disk.remove(&path).map_err(StorageError::io("remove", &path))?;
            }
            continue;
        };
        let Some(group) = groups.get_mut(id.0 as usize) else {
            return Err(StorageError::TooFewGroups { path: options.dir.clone(), found: id, groups: options.groups });
        };
        let base = Base::open(disk, directory, id, caches)?;
        let state = base.state()?;
        applied[id.0 as usize] = state.applied;
        *group.metadata.get_mut() = state.metadata.into_iter().map(|(key, value)| (Bytes::from(key), Bytes::from(value))).collect();
        for (transaction, count) in state.tagged {
            *checkpointer.tagged.entry(TransactionId(transaction)).or_default() += count;
        }
        let layers = Layers { active: Arc::new(Memtable::new()), frozen: None, base: Some(Arc::new(base.view()?)) };
        group.layers = ArcSwap::from_pointee(layers);
        checkpointer.bases.insert(id, base);
    }
    Ok((checkpointer, groups, applied))
}

/// Applies the log behind the last checkpoint. Memory stays bounded: full memtables are folded on the way.
fn replay(shared: &Shared, applied: &[LogPosition]) -> Result<(), StorageError> {
    let mut writer = shared.append.lock();
    writer.recover(&mut |end, frame: Frame| {
        for (id, record) in &frame {
            let number = id.0 as usize;
            let Some(group) = shared.groups.get(number) else {
                let groups = u32::try_from(shared.groups.len()).unwrap_or(u32::MAX);
                return Err(StorageError::TooFewGroups { path: shared.directory.clone(), found: *id, groups });
            };
            shared.apply(group, record, end, end <= applied[number]);
        }
        if shared.active_bytes.load(Ordering::Acquire) > 2 * shared.memtable_bytes_max {
            let mut checkpointer = shared.checkpointer.lock();
            shared.freeze(&mut checkpointer, end);
            shared.finish_checkpoint(&mut checkpointer)?;
        }
        Ok(())
    })?;
    let end = writer.end();
    if let Some(furthest) = applied.iter().max().filter(|furthest| **furthest > end) {
        let directory = shared.directory.join("log");
        return Err(StorageError::corrupt(&directory, end.0, format!("the log ends here, but a base has it to {furthest}")));
    }
    Ok(())
}

/// The undecided transactions, with what the prepared ones have written.
fn recovered(shared: &Shared) -> Result<Vec<RecoveredTransaction>, StorageError> {
    let mut found: BTreeMap<TransactionId, RecoveredTransaction> = BTreeMap::new();
    let mut prepared: BTreeMap<TransactionId, BTreeSet<(GroupId, RelationId, Bytes)>> = BTreeMap::new();
    for (id, entry) in shared.transactions.entries() {
        if entry.decided().is_none() {
            let state = shared.transactions.state(id);
            if matches!(state, TransactionState::Prepared { .. }) {
                prepared.insert(id, BTreeSet::new());
            }
            found.insert(id, RecoveredTransaction { id, state, keys: Vec::new() });
        }
    }
    if prepared.is_empty() {
        return Ok(found.into_values().collect());
    }
    let checkpointer = shared.checkpointer.lock();
    let stored = prepared.keys().any(|id| checkpointer.tagged.contains_key(id));
    for (number, group) in shared.groups.iter().enumerate() {
        let id = GroupId(u32::try_from(number).expect("there are u32 groups"));
        let layers = group.layers.load();
        for held in layers.active.rows() {
            let row = held.key();
            if let Some(keys) = row.content().tag.and_then(|tag| prepared.get_mut(&tag)) {
                keys.insert((id, row.relation(), Bytes::copy_from_slice(row.key())));
            }
        }
        let Some(base) = layers.base.as_ref().filter(|_| stored) else { continue };
        for version in base.versions.range::<&[u8]>(..).map_err(StorageError::base(id))? {
            let (key, content) = version.map_err(StorageError::base(id))?;
            let tag = Content::decode(content.value()).and_then(|content| content.tag);
            if let Some(keys) = tag.and_then(|tag| prepared.get_mut(&tag)) {
                keys.insert((id, VersionKey::relation(key.value()), Bytes::copy_from_slice(VersionKey::key(key.value()))));
            }
        }
    }
    for (id, keys) in prepared {
        if let Some(transaction) = found.get_mut(&id) {
            transaction.keys = keys.into_iter().collect();
        }
    }
    Ok(found.into_values().collect())
}

/// Takes the directory for this process, or says why not.
fn claim(disk: &dyn Disk, directory: &Path) -> Result<File, StorageError> {
    disk.create_dir(directory).map_err(StorageError::io("create", directory))?;
    let names = disk.list(directory).map_err(StorageError::io("list", directory))?;
    let is_new = !names.iter().any(|name| name == FORMAT);
    if is_new && names.iter().any(|name| !IGNORED.contains(&name.as_str())) {
        return Err(StorageError::NotOurs { path: directory.to_path_buf() });
    }
    let path = directory.join(LOCK);
    let lock =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(StorageError::io("open", &path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StorageError::InUse { path: directory.to_path_buf() }),
        Err(TryLockError::Error(error)) => return Err(StorageError::io("lock", &path)(error)),
    }
    if is_new {
        write_file(disk, directory, FORMAT_NEW, FORMAT, FORMAT_TEXT.as_bytes())?;
    }
    let path = directory.join(FORMAT);
    let found = disk.read(&path).map_err(StorageError::io("read", &path))?;
    if found != FORMAT_TEXT.as_bytes() {
        let found = String::from_utf8_lossy(&found[..found.len().min(60)]).trim_end().to_owned();
        return Err(StorageError::Format { path: directory.to_path_buf(), found, expected: FORMAT_TEXT.trim_end().to_owned() });
    }
    Ok(lock)
}
