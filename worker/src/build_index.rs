//! Builds a new local index over the rows that are there. Writers that know the index maintain it meanwhile.
//!
//! Each row's entry is written under the row's lock (and the entry's, in a unique index), so it follows the newest committed state; an entry that is there
//! already is left alone, which makes the build idempotent. Locks are only tried, and at most one chunk of rows is held at a time: a row that
//! somebody else has is taken by itself later, so that a build never takes part in a deadlock.
//!
//! The index has the rows as they are when it is complete, and as they are later. A snapshot from before that may see older versions of rows that the
//! index never had: as in PostgreSQL, such a snapshot must not be read through it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use catalog::objects::IndexScope;
use common::ids::{CatalogVersion, GroupId, Oid, RelationId, Timestamp};
use rpc::locks::LockMode;
use rpc::worker_api::WriteOutcome;
use storage::{Change, Frame, ReadOutcome, Record};

use crate::commit::{Job, STAMP};
use crate::core::{Core, OwnedPartition};
use crate::entries::{Entry, EntryMaker, table_key};
use crate::error::{Result, WorkerError};
use crate::locks::{Held, LockKey};

/// How long transactions from before the index may take to end.
const OLD_WRITERS_LIMIT: Duration = Duration::from_secs(600);
/// Between attempts at a row that is locked, and how many there are: ten minutes.
const LOCKED_PAUSE: Duration = Duration::from_millis(20);
const LOCKED_ATTEMPTS: u32 = 30_000;

/// What happened to a chunk.
enum Built {
    /// The keys of rows that are locked.
    Later(Vec<Bytes>),
    Duplicate(WriteOutcome),
}

struct Build<'a> {
    core: &'a Arc<Core>,
    maker: EntryMaker,
    table: RelationId,
}

impl Core {
    /// See [`rpc::worker_api::WorkerApi::build_index`].
    pub(crate) async fn build_index(self: &Arc<Self>, version: CatalogVersion, oid: Oid) -> Result<Result<u64, WriteOutcome>> {
        let state = self.state(version).await?;
        let index = state.index(oid).ok_or(WorkerError::UnknownIndex(oid))?;
        let table = state.table(index.table).ok_or(WorkerError::UnknownIndex(oid))?;
        if !matches!(index.scope, IndexScope::Local) {
            return Err(common::error::Report::unsupported("building a global index at a worker").into());
        }
        self.writers.wait_for_version(table.storage, state.version(), OLD_WRITERS_LIMIT).await?;
        let build = Build { core: self, maker: EntryMaker::new(&table, &index), table: table.storage };
        let mut entries = 0;
        for partition in self.owned(&state, table.storage) {
            let mut from = Some(partition.range.lo.clone());
            while let Some(lo) = from {
                let rows = self.rows(table.storage, &partition, lo, Timestamp::MAX).await?;
                entries += rows.rows.len() as u64;
                let keys = rows.rows.into_iter().map(|(key, ..)| key).collect();
                if let Some(duplicate) = build.chunk_and_rest(&partition, keys).await? {
                    return Ok(Err(duplicate));
                }
                from = rows.next;
            }
        }
        Ok(Ok(entries))
    }
}

impl Build<'_> {
    async fn chunk_and_rest(&self, partition: &OwnedPartition, keys: Vec<Bytes>) -> Result<Option<WriteOutcome>> {
        let mut later = match self.chunk(partition, keys).await? {
            Built::Later(later) => later,
            Built::Duplicate(duplicate) => return Ok(Some(duplicate)),
        };
        for _ in 0..LOCKED_ATTEMPTS {
            let mut still = Vec::new();
            for key in later {
                match self.chunk(partition, vec![key]).await? {
                    Built::Later(locked) => still.extend(locked),
                    Built::Duplicate(duplicate) => return Ok(Some(duplicate)),
                }
            }
            if still.is_empty() {
                return Ok(None);
            }
            later = still;
            tokio::time::sleep(LOCKED_PAUSE).await;
        }
        Err(WorkerError::LockTimeout)
    }

    /// Writes the entries of these rows, except where a lock is taken.
    async fn chunk(&self, partition: &OwnedPartition, keys: Vec<Bytes>) -> Result<Built> {
        let (core, group) = (self.core, partition.group);
        let mut held = Held::for_statement(&core.locks, 0);
        let (state, writing) = core.writers.enter(&core.cache, std::iter::once(self.table), held.owner());
        drop(state);
        let (mut later, mut comes) = (Vec::new(), HashMap::new());
        let mut records: BTreeMap<Timestamp, Vec<Change>> = BTreeMap::new();
        for key in keys {
            if !held.take_free(&LockKey::row(self.table, key.clone()), LockMode::ForUpdate) {
                later.push(key);
                continue;
            }
            let Some((version, row)) = self.newest(group, self.table, &key).await? else { continue };
            let entry = self.maker.entry(partition.id, &key, &row)?;
            if entry.unique && !held.take_free(&LockKey::row(self.maker.storage, entry.key.clone()), LockMode::ForUpdate) {
                later.push(key);
                continue;
            }
            let existing = match comes.get(&entry.key) {
                Some(other) => Some(Bytes::clone(other)),
                None => self.newest(group, self.maker.storage, &entry.key).await?.map(|(_, value)| table_key(&value)).transpose()?,
            };
            match existing {
                Some(existing) if existing == key => {}
                Some(existing) => {
                    return Ok(Built::Duplicate(WriteOutcome::Duplicate { at: (0, 0), constraint: Some(self.maker.oid), existing }));
                }
                None => {
                    comes.insert(entry.key.clone(), key);
                    records.entry(version).or_default().push(self.change(entry));
                }
            }
        }
        self.put(group, records, held, writing).await?;
        Ok(Built::Later(later))
    }

    fn change(&self, entry: Entry) -> Change {
        Change { relation: self.maker.storage, key: entry.key, value: Some(entry.value), before: None }
    }

    /// Writes entries as of their rows' versions, so that older snapshots find them too. Where a later deletion of the same entry hides one (another row
    /// had the key), it is written as of now.
    async fn put(
        &self,
        group: GroupId,
        records: BTreeMap<Timestamp, Vec<Change>>,
        held: Held,
        writing: crate::writers::Writing,
    ) -> Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        let frame: Frame = records.iter().map(|(at, changes)| (group, Record::Write { at: *at, changes: changes.clone() })).collect();
        self.core.pipeline.submit(Job::plain(frame).buffered()).await?;
        let mut hidden = Vec::new();
        for change in records.into_values().flatten() {
            if self.newest(group, change.relation, &change.key).await?.is_none() {
                hidden.push(change);
            }
        }
        let frame = if hidden.is_empty() { Frame::new() } else { vec![(group, Record::Write { at: STAMP, changes: hidden })] };
        self.core.pipeline.submit(Job::stamped(frame).holding(held, writing)).await?;
        Ok(())
    }

    async fn newest(&self, group: GroupId, relation: RelationId, key: &[u8]) -> Result<Option<(Timestamp, Bytes)>> {
        loop {
            match self.core.engine.view(group).get(relation, key, Timestamp::MAX, None)? {
                ReadOutcome::Missing => return Ok(None),
                ReadOutcome::Row { version, value } => return Ok(Some((version, value))),
                ReadOutcome::Undecided(transaction) => self.core.resolve(transaction).await?,
            }
        }
    }
}
