//! Sends entries' changes to the workers that own them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use catalog::objects::PartitionMap;
use catalog::state::CatalogState;
use common::ids::{CatalogVersion, Oid, PartitionId, RelationId, Timestamp, WorkerId};
use partition::bounds::Bounds;
use rpc::worker_api::{IndexFeedChange, IndexFeedRequest, PartitionRef};

use crate::core::Core;
use crate::entries::{Entry, EntryMaker};
use crate::error::{Result, WorkerError};
use crate::feed_target::SOURCE_GROUP;

/// Changes of one message.
const MESSAGE_CHANGES: usize = 4_096;
/// Bytes of one message, roughly.
const MESSAGE_BYTES: usize = 1 << 20;
/// How often a message is sent again because the receiver has another watermark.
const ATTEMPTS: u32 = 4;

/// The index and its table at one catalog version.
pub(crate) struct Target {
    version: CatalogVersion,
    /// The key space of the rows.
    pub(crate) table: RelationId,
    maker: EntryMaker,
    map: Arc<PartitionMap>,
    bounds: Arc<Bounds>,
}

/// One owner of entries.
#[derive(Debug)]
struct Receiver {
    watermark: Timestamp,
    changes: Vec<IndexFeedChange>,
}

/// The owners of one index's entries, and what is to be sent to them.
#[derive(Debug)]
pub(crate) struct Sender {
    core: Arc<Core>,
    index: Oid,
    storage: RelationId,
    version: CatalogVersion,
    receivers: BTreeMap<WorkerId, Receiver>,
}

impl Sender {
    pub(crate) fn new(core: Arc<Core>, index: Oid, storage: RelationId) -> Self {
        Self { core, index, storage, version: CatalogVersion(0), receivers: BTreeMap::new() }
    }

    /// The index as the catalog has it.
    pub(crate) fn target(&mut self, state: &CatalogState) -> Result<Target> {
        let unknown = || WorkerError::UnknownIndex(self.index);
        let index = state.index(self.index).filter(|index| index.storage == self.storage).ok_or_else(unknown)?;
        let table = state.table(index.table).ok_or_else(unknown)?;
        let (map, bounds) = state.partition_map(self.storage).zip(state.bounds(self.storage)).ok_or_else(unknown)?;
        self.version = state.version();
        Ok(Target { version: state.version(), table: table.storage, maker: EntryMaker::new(&table, &index), map, bounds })
    }

    /// Whether the receivers' watermarks are known.
    pub(crate) fn is_open(&self) -> bool {
        !self.receivers.is_empty()
    }

    /// Asks all owners for their watermarks.
    pub(crate) async fn open(&mut self) -> Result<()> {
        let state = self.core.cache.current();
        let target = self.target(&state)?;
        let owners: BTreeSet<WorkerId> = target.map.partitions.iter().map(|p| p.worker).collect();
        for owner in owners {
            // Nobody has this watermark, so the receiver answers its own.
            let watermark = self.call(owner, Timestamp::MAX, Timestamp::MIN, Vec::new()).await?;
            self.receivers.insert(owner, Receiver { watermark, changes: Vec::new() });
        }
        Ok(())
    }

    /// Whether nothing is to be sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.receivers.values().all(|receiver| receiver.changes.is_empty())
    }

    /// Adds what one row's change does to the index.
    pub(crate) fn add(
        &mut self,
        target: &Target,
        at: Timestamp,
        row_key: &[u8],
        before: Option<&[u8]>,
        after: Option<&[u8]>,
    ) -> Result<()> {
        // The partition is part of a local index's entries only.
        let entry = |row: Option<&[u8]>| row.map(|row| target.maker.entry(PartitionId(0), row_key, row)).transpose();
        let (old, new) = (entry(before)?, entry(after)?);
        if old == new {
            return Ok(());
        }
        if let Some(old) = old.filter(|old| new.as_ref().is_none_or(|new| new.key != old.key)) {
            self.put(target, at, old, false)?;
        }
        match new {
            Some(new) => self.put(target, at, new, true),
            None => Ok(()),
        }
    }

    fn put(&mut self, target: &Target, at: Timestamp, entry: Entry, comes: bool) -> Result<()> {
        let partition = &target.map.partitions[target.bounds.route(&entry.key)];
        // A new owner: begin again with its watermark.
        let receiver = self.receivers.get_mut(&partition.worker).ok_or(WorkerError::StaleMap)?;
        if at > receiver.watermark {
            let partition = PartitionRef { id: partition.id, epoch: partition.epoch, group: partition.group };
            let value = comes.then_some(entry.value);
            receiver.changes.push(IndexFeedChange { partition, at, key: entry.key, value });
        }
        self.version = self.version.max(target.version);
        Ok(())
    }

    /// Sends what was added; with it, or alone, the receivers' new watermark.
    pub(crate) async fn send(&mut self, up_to: Option<Timestamp>) -> Result<()> {
        let owners: Vec<WorkerId> = self.receivers.keys().copied().collect();
        for owner in owners {
            let Some(receiver) = self.receivers.get_mut(&owner) else { continue };
            let mut rest = std::mem::take(&mut receiver.changes);
            let mut watermark = receiver.watermark;
            while !rest.is_empty() {
                let message = cut(&mut rest);
                watermark = self.deliver(owner, watermark, watermark, message).await?;
            }
            if let Some(up_to) = up_to.filter(|up_to| *up_to > watermark) {
                watermark = self.deliver(owner, watermark, up_to, Vec::new()).await?;
            }
            if let Some(receiver) = self.receivers.get_mut(&owner) {
                receiver.watermark = watermark;
            }
        }
        Ok(())
    }

    /// Sends until the receiver has taken it: a receiver that was restarted may have fallen back to an older watermark, between which and the
    /// newer one there is nothing that it does not have.
    async fn deliver(
        &self,
        owner: WorkerId,
        mut watermark: Timestamp,
        up_to: Timestamp,
        changes: Vec<IndexFeedChange>,
    ) -> Result<Timestamp> {
        let keep_place = up_to == watermark;
        for _ in 0..ATTEMPTS {
            let up_to = if keep_place { watermark } else { up_to };
            let answer = self.call(owner, watermark, up_to, changes.clone()).await?;
            if answer == up_to {
                return Ok(answer);
            }
            watermark = answer;
        }
        Err(WorkerError::Background(format!("worker {owner} does not keep its watermark of index {}", self.index)))
    }

    async fn call(&self, owner: WorkerId, after: Timestamp, up_to: Timestamp, changes: Vec<IndexFeedChange>) -> Result<Timestamp> {
        let source = (self.core.id, SOURCE_GROUP);
        let request = IndexFeedRequest { catalog_version: self.version, index: self.index, source, after, up_to, changes };
        Ok(self.core.directory.worker(owner)?.index_feed(request).await?)
    }
}

/// The first changes, as many as a message may have.
fn cut(rest: &mut Vec<IndexFeedChange>) -> Vec<IndexFeedChange> {
    let mut bytes = 0;
    let fits = rest.iter().take(MESSAGE_CHANGES).take_while(|change| {
        let fits = bytes < MESSAGE_BYTES;
        bytes += change.key.len() + change.value.as_ref().map_or(0, bytes::Bytes::len);
        fits
    });
    let count = fits.count();
    let tail = rest.split_off(count);
    std::mem::replace(rest, tail)
}
