//! A group's base: one redb file with everything that checkpoints have folded.
//!
//! Five tables: `versions` (see [`crate::version`]), `metadata` (what [`crate::Record::Metadata`] wrote last), `tagged` (how many tagged versions of each
//! transaction are in `versions`), `stale` (keys that have versions which no snapshot needs once the oldest snapshot has passed a timestamp) and
//! `state` (the applied log position and the newest timestamp). They change together, in the transactions of a fold.
//!
//! Readers share one read transaction per published [`BaseView`], and the columns that they made of it ([`crate::column_cache`]).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::ids::{GroupId, LogPosition, RelationId, Timestamp};
use parking_lot::Mutex;
use redb::{
    Builder, Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTableMetadata, StorageBackend, TableDefinition,
    WriteTransaction,
};

use crate::column_cache::{Blocks, ColumnCache, Survivors};
use crate::disk::{Disk, DiskFile};
use crate::error::StorageError;
use crate::version::{KeyBuffer, VersionKey};

pub(crate) const VERSIONS: TableDefinition<'static, VersionKey, &'static [u8]> = TableDefinition::new("versions");
pub(crate) const METADATA: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("metadata");
pub(crate) const TAGGED: TableDefinition<'static, u64, u64> = TableDefinition::new("tagged");
pub(crate) const STALE: TableDefinition<'static, &'static [u8], ()> = TableDefinition::new("stale");
pub(crate) const STATE: TableDefinition<'static, &'static str, u64> = TableDefinition::new("state");

/// The log position up to which the file has everything, in [`STATE`].
pub(crate) const APPLIED: &str = "applied";
/// The newest timestamp of any version, in [`STATE`].
pub(crate) const NEWEST: &str = "newest";

/// What the bases of an engine keep in memory.
#[derive(Debug)]
pub(crate) struct Caches {
    /// The page cache of each base.
    pub(crate) page_bytes: usize,
    /// The columns of all bases.
    pub(crate) columns: Arc<ColumnCache>,
}

/// A base file, open.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) group: GroupId,
    database: Database,
    columns: Arc<ColumnCache>,
    /// Those of the newest state; none while that changes.
    blocks: Mutex<Arc<Blocks>>,
}

/// The base as of one moment, for readers.
pub(crate) struct BaseView {
    pub(crate) group: GroupId,
    pub(crate) versions: ReadOnlyTable<VersionKey, &'static [u8]>,
    /// No version is newer.
    pub(crate) newest: Timestamp,
    /// There are tagged versions.
    pub(crate) has_tags: bool,
    /// What scans have made columns of.
    pub(crate) blocks: Arc<Blocks>,
}

impl std::fmt::Debug for BaseView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BaseView").field("group", &self.group).field("newest", &self.newest).finish_non_exhaustive()
    }
}

/// What an opened base says about itself.
#[derive(Debug, Default)]
pub(crate) struct BaseState {
    pub(crate) applied: LogPosition,
    pub(crate) metadata: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) tagged: Vec<(u64, u64)>,
}

/// Our files under redb.
#[derive(Debug)]
struct Backend(Arc<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(out, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(data, offset)
    }
}

/// The file of a group.
pub(crate) fn path(directory: &Path, group: GroupId) -> PathBuf {
    directory.join(format!("{group}.redb"))
}

/// The group of a file's name.
pub(crate) fn parse_name(name: &str) -> Option<GroupId> {
    name.strip_suffix(".redb")?.parse().ok().map(GroupId)
}

impl Base {
    /// Opens the file of a group.
    pub(crate) fn open(disk: &dyn Disk, directory: &Path, group: GroupId, caches: &Caches) -> Result<Self, StorageError> {
        let path = path(directory, group);
        let file = disk.open(&path).map_err(StorageError::io("open", &path))?;
        Self::of_file(file, group, caches)
    }

    fn of_file(file: Arc<dyn DiskFile>, group: GroupId, caches: &Caches) -> Result<Self, StorageError> {
        let mut builder = Builder::new();
        let database = builder.set_cache_size(caches.page_bytes).create_with_backend(Backend(file)).map_err(StorageError::base(group))?;
        let columns = Arc::clone(&caches.columns);
        let blocks = Mutex::new(Arc::new(Blocks::new(&columns)));
        Ok(Self { group, database, columns, blocks })
    }

    /// Makes the file of a group: under another name first, so that a half-made one is never met.
    pub(crate) fn create(disk: &dyn Disk, directory: &Path, group: GroupId, caches: &Caches) -> Result<Self, StorageError> {
        let path = path(directory, group);
        let new = path.with_extension("redb.new");
        let file = disk.create(&new).map_err(StorageError::io("create", &new))?;
        let base = Self::of_file(file, group, caches)?;
        let transaction = base.begin()?;
        base.open_tables(&transaction)?;
        base.commit(transaction)?;
        disk.rename(&new, &path).map_err(StorageError::io("rename", &new))?;
        disk.sync_dir(directory).map_err(StorageError::io("sync", directory))?;
        Ok(base)
    }

    fn open_tables(&self, transaction: &WriteTransaction) -> Result<(), StorageError> {
        transaction.open_table(VERSIONS).map_err(StorageError::base(self.group))?;
        transaction.open_table(METADATA).map_err(StorageError::base(self.group))?;
        transaction.open_table(TAGGED).map_err(StorageError::base(self.group))?;
        transaction.open_table(STALE).map_err(StorageError::base(self.group))?;
        transaction.open_table(STATE).map_err(StorageError::base(self.group))?;
        Ok(())
    }

    /// Begins a durable transaction, after which the file opens fast even after a crash.
    pub(crate) fn begin(&self) -> Result<WriteTransaction, StorageError> {
        let mut transaction = self.database.begin_write().map_err(StorageError::base(self.group))?;
        transaction.set_durability(Durability::Immediate).expect("no savepoint forbids it");
        transaction.set_quick_repair(true);
        Ok(transaction)
    }

    pub(crate) fn commit(&self, transaction: WriteTransaction) -> Result<(), StorageError> {
        transaction.commit().map_err(StorageError::base(self.group))
    }

    /// The base as it is now.
    pub(crate) fn view(&self) -> Result<BaseView, StorageError> {
        let group = self.group;
        let transaction = self.database.begin_read().map_err(StorageError::base(group))?;
        let versions = transaction.open_table(VERSIONS).map_err(StorageError::base(group))?;
        let state = transaction.open_table(STATE).map_err(StorageError::base(group))?;
        let newest = state.get(NEWEST).map_err(StorageError::base(group))?.map_or(0, |value| value.value());
        let tagged = transaction.open_table(TAGGED).map_err(StorageError::base(group))?;
        let has_tags = !tagged.is_empty().map_err(StorageError::base(group))?;
        Ok(BaseView { group, versions, newest: Timestamp(newest), has_tags, blocks: Arc::clone(&self.blocks.lock()) })
    }

    /// Begins a change of the rows: the columns that may outlive it. Until [`Self::keep_blocks`], new views begin without any.
    pub(crate) fn take_blocks(&self) -> Survivors {
        std::mem::replace(&mut *self.blocks.lock(), Arc::new(Blocks::new(&self.columns))).survivors()
    }

    /// Ends a change of the rows, once it is committed or given up.
    pub(crate) fn keep_blocks(&self, survivors: Survivors) {
        *self.blocks.lock() = Arc::new(Blocks::of(&self.columns, survivors));
    }

    /// Reads what recovery needs.
    pub(crate) fn state(&self) -> Result<BaseState, StorageError> {
        let group = self.group;
        let transaction = self.database.begin_read().map_err(StorageError::base(group))?;
        let mut state = BaseState::default();
        let table = transaction.open_table(STATE).map_err(StorageError::base(group))?;
        state.applied = LogPosition(table.get(APPLIED).map_err(StorageError::base(group))?.map_or(0, |value| value.value()));
        let table = transaction.open_table(METADATA).map_err(StorageError::base(group))?;
        for entry in table.range::<&[u8]>(..).map_err(StorageError::base(group))? {
            let (key, value) = entry.map_err(StorageError::base(group))?;
            state.metadata.push((key.value().to_vec(), value.value().to_vec()));
        }
        let table = transaction.open_table(TAGGED).map_err(StorageError::base(group))?;
        for entry in table.range::<u64>(..).map_err(StorageError::base(group))? {
            let (id, count) = entry.map_err(StorageError::base(group))?;
            state.tagged.push((id.value(), count.value()));
        }
        Ok(state)
    }
}

/// The bounds of a range of keys as base keys: all versions of `lo` up to and without all versions of `hi`.
pub(crate) fn bounds(relation: RelationId, lo: &[u8], hi: Option<&[u8]>) -> (KeyBuffer, std::ops::Bound<KeyBuffer>) {
    let lower = VersionKey::encode(relation, lo, Timestamp::MAX);
    let upper = match (hi, relation.0.checked_add(1)) {
        (Some(hi), _) => std::ops::Bound::Excluded(VersionKey::encode(relation, hi, Timestamp::MAX)),
        (None, Some(next)) => std::ops::Bound::Excluded(VersionKey::encode(RelationId(next), &[], Timestamp::MAX)),
        (None, None) => std::ops::Bound::Unbounded,
    };
    (lower, upper)
}

impl BaseView {
    /// How many versions there are.
    pub(crate) fn len(&self) -> Result<u64, StorageError> {
        self.versions.len().map_err(StorageError::base(self.group))
    }
}
