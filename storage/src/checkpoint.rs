//! Checkpoints: memtables into bases, then the log's old segments go.
//!
//! A checkpoint freezes all groups at one log position (everything before it is durable), folds them one after the other, and then writes the file
//! CHECKPOINT: the position, the transaction table as it was there, the highest timestamp. Recovery begins there. A group whose base is already
//! further (the checkpoint was cut off between groups) skips what it has.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use common::ids::{GroupId, LogPosition, Timestamp, TransactionId, WorkerId};

use crate::base::{Base, BaseView};
use crate::codec::{Reader, put_u64};
use crate::disk::Disk;
use crate::engine::Shared;
use crate::error::StorageError;
use crate::fold::{self, Rules, TagChanges};
use crate::memtable::Memtable;
use crate::transactions::{Entry, Span, State, Undone};
use crate::view::Layers;

const FILE: &str = "CHECKPOINT";
const FILE_NEW: &str = "CHECKPOINT.new";
const MAGIC: [u8; 4] = *b"PCP\x02";
/// As [`MAGIC`], without what was undone.
const MAGIC_1: [u8; 4] = *b"PCP\x01";

/// So many decisions are remembered even if nothing needs them any more, for those who ask late.
const REMEMBERED_DECISIONS: usize = 65_536;

/// What the file CHECKPOINT says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct CheckpointState {
    pub(crate) position: LogPosition,
    pub(crate) last_timestamp: Timestamp,
    pub(crate) oldest_snapshot: Timestamp,
    pub(crate) transactions: Vec<(TransactionId, Entry)>,
}

impl CheckpointState {
    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&[0; 4]);
        put_u64(&mut out, self.position.0);
        put_u64(&mut out, self.last_timestamp.0);
        put_u64(&mut out, self.oldest_snapshot.0);
        put_u64(&mut out, self.transactions.len() as u64);
        for (id, entry) in &self.transactions {
            put_u64(&mut out, id.0);
            put_u64(&mut out, entry.undone.spans().len() as u64);
            for span in entry.undone.spans() {
                put_u64(&mut out, span.after.0);
                put_u64(&mut out, span.at.0);
                put_u64(&mut out, span.noted.0);
            }
            match &entry.state {
                State::Open => out.push(0),
                State::Prepared { at, participants } => {
                    out.push(1);
                    put_u64(&mut out, at.0);
                    put_u64(&mut out, participants.len() as u64);
                    participants.iter().for_each(|worker| put_u64(&mut out, u64::from(worker.0)));
                }
                State::Committed { at, decided } => {
                    out.push(2);
                    put_u64(&mut out, at.0);
                    put_u64(&mut out, decided.0);
                }
                State::Aborted { decided } => {
                    out.push(3);
                    put_u64(&mut out, decided.0);
                }
            }
        }
        let crc = crc32fast::hash(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (crc, rest) = rest.split_first_chunk::<4>()?;
        let has_undone = *magic == MAGIC;
        if !(has_undone || *magic == MAGIC_1) || crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
            return None;
        }
        let body = Bytes::copy_from_slice(rest);
        let mut reader = Reader::new(&body);
        let mut state = Self {
            position: LogPosition(reader.u64()?),
            last_timestamp: Timestamp(reader.u64()?),
            oldest_snapshot: Timestamp(reader.u64()?),
            transactions: Vec::new(),
        };
        for _ in 0..reader.count()? {
            let id = TransactionId(reader.u64()?);
            let undone = if has_undone { decode_undone(&mut reader)? } else { Undone::default() };
            state.transactions.push((id, Entry { state: decode_state(&mut reader)?, undone }));
        }
        reader.at_end().then_some(state)
    }

    /// Reads the file of a data directory; without one, the state of an empty engine.
    pub(crate) fn load(disk: &dyn Disk, directory: &Path) -> Result<Self, StorageError> {
        let path = directory.join(FILE);
        match disk.read(&path) {
            Ok(bytes) => Self::decode(&bytes).ok_or_else(|| StorageError::corrupt(&path, 0, "not what a checkpoint wrote")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(StorageError::io("read", &path)(error)),
        }
    }

    fn store(&self, disk: &dyn Disk, directory: &Path) -> Result<(), StorageError> {
        write_file(disk, directory, FILE_NEW, FILE, &self.encode())
    }
}

fn decode_undone(reader: &mut Reader<'_>) -> Option<Undone> {
    let mut undone = Undone::default();
    for _ in 0..reader.count()? {
        let (after, at) = (Timestamp(reader.u64()?), Timestamp(reader.u64()?));
        undone.add(Span { after, at, noted: LogPosition(reader.u64()?) });
    }
    Some(undone)
}

fn decode_state(reader: &mut Reader<'_>) -> Option<State> {
    Some(match reader.byte()? {
        0 => State::Open,
        1 => {
            let at = Timestamp(reader.u64()?);
            let count = reader.count()?;
            State::Prepared { at, participants: (0..count).map(|_| reader.u32().map(WorkerId)).collect::<Option<_>>()? }
        }
        2 => State::Committed { at: Timestamp(reader.u64()?), decided: LogPosition(reader.u64()?) },
        3 => State::Aborted { decided: LogPosition(reader.u64()?) },
        _ => return None,
    })
}

/// Replaces a small file so that there is always the old one or the new one.
pub(crate) fn write_file(disk: &dyn Disk, directory: &Path, new: &str, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let (new, path) = (directory.join(new), directory.join(name));
    let file = disk.create(&new).map_err(StorageError::io("create", &new))?;
    file.write_at(bytes, 0).map_err(StorageError::io("write", &new))?;
    file.sync_data().map_err(StorageError::io("sync", &new))?;
    disk.rename(&new, &path).map_err(StorageError::io("rename", &new))?;
    disk.sync_dir(directory).map_err(StorageError::io("sync", directory))
}

/// Decisions that nothing needs any more, as soon as the readers of then are gone.
#[derive(Debug)]
struct Forgettable {
    ids: HashSet<TransactionId>,
    readers: Vec<Weak<Layers>>,
}

/// The state that only checkpoints touch.
#[derive(Debug, Default)]
pub(crate) struct Checkpointer {
    pub(crate) bases: BTreeMap<GroupId, Base>,
    /// How many tagged versions of each transaction are in the bases.
    pub(crate) tagged: HashMap<TransactionId, u64>,
    /// A checkpoint that has begun: its memtables are frozen.
    pending: Option<CheckpointState>,
    /// Layers that were published once and that readers may still hold.
    retired: Vec<Weak<Layers>>,
    forgettable: VecDeque<Forgettable>,
    forgetting: HashSet<TransactionId>,
}

impl Checkpointer {
    fn count_tags(&mut self, changes: &TagChanges) {
        for (id, change) in changes {
            let count = self.tagged.entry(*id).or_default();
            *count = count.saturating_add_signed(*change);
            if *count == 0 {
                self.tagged.remove(id);
            }
        }
    }
}

impl Shared {
    /// Runs a checkpoint. Returns whether more stale keys wait for a sweep.
    pub(crate) fn run_checkpoint(&self) -> Result<bool, StorageError> {
        let mut checkpointer = self.checkpointer.lock();
        if checkpointer.pending.is_some() {
            // An earlier one failed half-way.
            self.finish_checkpoint(&mut checkpointer)?;
        }
        {
            let mut writer = self.append.lock();
            writer.sync()?;
            self.freeze(&mut checkpointer, writer.end());
        }
        self.finish_checkpoint(&mut checkpointer)?;
        let more = self.sweep(&mut checkpointer)?;
        self.forget(&mut checkpointer);
        self.remove_log()?;
        Ok(more)
    }

    /// Only cleans stale keys. Returns whether more wait.
    pub(crate) fn run_sweep(&self) -> Result<bool, StorageError> {
        let mut checkpointer = self.checkpointer.lock();
        let more = self.sweep(&mut checkpointer)?;
        self.forget(&mut checkpointer);
        Ok(more)
    }

    /// Begins a checkpoint at a log position; nobody appends meanwhile.
    pub(crate) fn freeze(&self, checkpointer: &mut Checkpointer, position: LogPosition) {
        for group in &self.groups {
            let layers = group.layers.load();
            if layers.active.is_touched() {
                let frozen = Some(Arc::clone(&layers.active));
                let next = Layers { active: Arc::new(Memtable::new()), frozen, base: layers.base.clone() };
                self.publish(checkpointer, group, next);
            }
        }
        self.frozen_bytes.store(self.active_bytes.swap(0, Ordering::AcqRel), Ordering::Release);
        self.frozen_end.store(position.0, Ordering::Release);
        checkpointer.pending = Some(CheckpointState {
            position,
            last_timestamp: Timestamp(self.last_timestamp.load(Ordering::Acquire)),
            oldest_snapshot: Timestamp(self.oldest_snapshot.load(Ordering::Acquire)),
            transactions: self.transactions.entries(),
        });
        self.room.notify_all();
    }

    fn publish(&self, checkpointer: &mut Checkpointer, group: &crate::engine::Group, layers: Layers) {
        let old = group.layers.swap(Arc::new(layers));
        checkpointer.retired.push(Arc::downgrade(&old));
        drop(old);
        checkpointer.retired.retain(|layers| layers.strong_count() > 0);
    }

    /// Folds what is frozen and writes CHECKPOINT.
    pub(crate) fn finish_checkpoint(&self, checkpointer: &mut Checkpointer) -> Result<(), StorageError> {
        let Some(state) = checkpointer.pending.clone() else { return Ok(()) };
        let rules = Rules { transactions: &self.transactions, position: state.position, oldest: state.oldest_snapshot };
        for number in 0..self.groups.len() {
            let id = GroupId(u32::try_from(number).expect("there are u32 groups"));
            let Some(frozen) = self.groups[number].layers.load().frozen.clone() else { continue };
            self.with_base(checkpointer, id, |base, publish| fold::fold(base, &frozen, &rules, publish))?;
            let layers = self.groups[number].layers.load_full();
            let next = Layers { active: Arc::clone(&layers.active), frozen: None, base: layers.base.clone() };
            drop(layers);
            self.publish(checkpointer, &self.groups[number], next);
        }
        if self.checkpoint_position.load(Ordering::Acquire) < state.position.0 {
            state.store(&*self.disk, &self.directory)?;
            self.checkpoint_position.store(state.position.0, Ordering::Release);
        }
        checkpointer.pending = None;
        self.frozen_bytes.store(0, Ordering::Release);
        self.room.notify_all();
        Ok(())
    }

    /// Works on a group's base (made if it is not there) and publishes each new state of it.
    fn with_base<T>(
        &self,
        checkpointer: &mut Checkpointer,
        id: GroupId,
        work: impl FnOnce(&Base, fold::Publish<'_>) -> Result<T, StorageError>,
    ) -> Result<T, StorageError> {
        let base = match checkpointer.bases.remove(&id) {
            Some(base) => base,
            None => Base::create(&*self.disk, &self.base_directory, id, &self.caches)?,
        };
        let group = &self.groups[id.0 as usize];
        let result = work(&base, &mut |view: BaseView, tags: TagChanges| {
            checkpointer.count_tags(&tags);
            let layers = group.layers.load_full();
            let next = Layers { active: Arc::clone(&layers.active), frozen: layers.frozen.clone(), base: Some(Arc::new(view)) };
            drop(layers);
            self.publish(checkpointer, group, next);
        });
        checkpointer.bases.insert(id, base);
        result
    }

    /// Cleans some stale keys in each base.
    fn sweep(&self, checkpointer: &mut Checkpointer) -> Result<bool, StorageError> {
        let position = LogPosition(self.checkpoint_position.load(Ordering::Acquire));
        let oldest = Timestamp(self.oldest_snapshot.load(Ordering::Acquire));
        let rules = Rules { transactions: &self.transactions, position, oldest };
        let mut more = false;
        for id in checkpointer.bases.keys().copied().collect::<Vec<_>>() {
            more |= self.with_base(checkpointer, id, |base, publish| fold::sweep(base, &rules, publish))?;
        }
        Ok(more)
    }

    /// Forgets decisions that no version, no reader and no late question needs.
    fn forget(&self, checkpointer: &mut Checkpointer) {
        let position = LogPosition(self.checkpoint_position.load(Ordering::Acquire));
        let oldest = self.oldest_snapshot.load(Ordering::Acquire);
        let mut decided: Vec<_> = self
            .transactions
            .entries()
            .into_iter()
            .filter_map(|(id, entry)| entry.decided().filter(|decided| *decided <= position).map(|decided| (decided, id)))
            .collect();
        decided.sort_unstable();
        decided.truncate(decided.len().saturating_sub(REMEMBERED_DECISIONS));
        let unneeded = |id: &TransactionId| id.0 < oldest && !checkpointer.tagged.contains_key(id) && !checkpointer.forgetting.contains(id);
        let ids: HashSet<_> = decided.into_iter().map(|(_, id)| id).filter(unneeded).collect();
        if !ids.is_empty() {
            checkpointer.forgetting.extend(&ids);
            let readers = checkpointer.retired.clone();
            checkpointer.forgettable.push_back(Forgettable { ids, readers });
        }
        while let Some(front) = checkpointer.forgettable.front()
            && front.readers.iter().all(|layers| layers.strong_count() == 0)
        {
            self.transactions.forget(&front.ids);
            checkpointer.forgetting.retain(|id| !front.ids.contains(id));
            checkpointer.forgettable.pop_front();
        }
    }

    /// Removes segments that neither recovery nor a reader of the log needs.
    pub(crate) fn remove_log(&self) -> Result<(), StorageError> {
        let limit = self.checkpoint_position.load(Ordering::Acquire).min(self.hold.load(Ordering::Acquire));
        self.files.remove_before(LogPosition(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_round_trip_and_damage_is_seen() {
        let mut undone = Undone::default();
        for (after, at) in [(3, 5), (7, 9)] {
            undone.add(Span { after: Timestamp(after), at: Timestamp(at), noted: LogPosition(60 + at) });
        }
        let state = CheckpointState {
            position: LogPosition(77),
            last_timestamp: Timestamp(u64::MAX),
            oldest_snapshot: Timestamp(5),
            transactions: vec![
                (TransactionId(1), Entry::new(State::Open)),
                (TransactionId(2), Entry::new(State::Prepared { at: Timestamp(9), participants: vec![WorkerId(1), WorkerId(7)].into() })),
                (TransactionId(3), Entry { state: State::Committed { at: Timestamp(11), decided: LogPosition(70) }, undone }),
                (TransactionId(4), Entry::new(State::Aborted { decided: LogPosition(71) })),
            ],
        };
        let encoded = state.encode();
        assert_eq!(CheckpointState::decode(&encoded), Some(state));
        for index in 0..encoded.len() {
            let mut damaged = encoded.clone();
            damaged[index] ^= 4;
            assert_eq!(CheckpointState::decode(&damaged), None, "byte {index}");
        }
    }
}
