//! What a schema consists of. Plain values: serialised into the catalog's store and sent to every node.
//!
//! SQL expressions (defaults, checks) are kept as SQL text, as PostgreSQL deparses them; whoever needs one binds it once per catalog
//! version.

use bytes::Bytes;
use common::datum::Datum;
use common::ids::{Epoch, GroupId, Oid, PartitionId, RelationId, WorkerId};
use common::types::SqlType;
use partition::key::KeySchema;
use serde::{Deserialize, Serialize};

/// A namespace.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Schema {
    pub oid: Oid,
    pub name: String,
}

/// A column of a table. A column's place in [`Table::columns`] is its place in the stored row, for ever.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Column {
    /// pg_attribute.attnum: its place in [`Table::columns`] plus one.
    pub attnum: i16,
    pub name: String,
    pub ty: SqlType,
    pub not_null: bool,
    /// SQL text of the default.
    pub default: Option<String>,
    /// What the column reads as in rows that were stored before it was added.
    pub missing: Datum,
    pub dropped: bool,
    /// The hidden row id of a table without a primary key: in the row, but in no `*` and under no name.
    pub hidden: bool,
    /// The domain whose conditions its values fulfil.
    #[serde(default)]
    pub domain: Option<Oid>,
    /// Whether the column's value is made for it.
    #[serde(default)]
    pub generated: Option<Generated>,
}

/// How a column's value is made when none is given, or always.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Generated {
    /// From the row's other columns, by the expression in [`Column::default`].
    Stored,
    /// By a sequence of its own, which [`Column::default`] asks; a value may be given in its place only by OVERRIDING SYSTEM VALUE.
    IdentityAlways,
    /// By a sequence of its own, unless a value is given.
    IdentityByDefault,
}

impl Generated {
    /// Whether it is an identity column.
    pub fn is_identity(self) -> bool {
        matches!(self, Self::IdentityAlways | Self::IdentityByDefault)
    }
}

/// Where a sequence stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SequencePosition {
    pub last: i64,
    /// Whether `last` was handed out: otherwise it comes next.
    pub is_called: bool,
}

/// When a sequence was begun (again), and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SequenceRestart {
    pub generation: u64,
    pub position: SequencePosition,
}

/// The column that a sequence goes with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SequenceOwner {
    pub table: Oid,
    pub attnum: i16,
    /// Whether it is the sequence of an identity column, which has no life of its own.
    pub is_identity: bool,
}

/// A sequence. Where it stands is not here: see [`crate::sequences`].
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Sequence {
    pub oid: Oid,
    pub schema: Oid,
    pub name: String,
    /// smallint, integer or bigint.
    pub ty: SqlType,
    pub start: i64,
    pub increment: i64,
    pub min: i64,
    pub max: i64,
    pub cache: i64,
    pub cycle: bool,
    pub owner: Option<SequenceOwner>,
    /// Rises with each change that values in hand must not outlive.
    pub generation: u64,
    pub restart: SequenceRestart,
}

impl Sequence {
    /// The sequence begun again at a position.
    #[must_use]
    pub fn restarted(mut self, position: SequencePosition) -> Self {
        self.generation += 1;
        self.restart = SequenceRestart { generation: self.generation, position };
        self
    }
}

/// How a relation is cut.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum PartitionMethod {
    /// By the hash of the first columns of the key.
    Hash,
    /// By the key itself.
    Range,
}

/// Who decides how many partitions there are: three policies over one structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PartitionPolicy {
    /// As many as at creation; never split or merged by itself.
    Fixed,
    /// Split and merged by size and load.
    Dynamic,
    /// This many for each worker.
    PerNode(u32),
}

/// How a table or a global index is keyed and cut.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Partitioning {
    pub method: PartitionMethod,
    pub policy: PartitionPolicy,
    /// The partition columns, by attnum: the first columns of the key.
    pub columns: Vec<i16>,
    /// All columns of the key, by attnum: the partition columns, then the other primary-key columns.
    pub key_columns: Vec<i16>,
    /// How the key is encoded; one column for each of `key_columns`.
    pub key: KeySchema,
}

/// A CHECK constraint.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Check {
    pub oid: Oid,
    pub name: String,
    /// SQL text of the condition.
    pub expression: String,
}

/// A relation that a view reads, as it was when the view was made: names inside of the view stay what they were.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ViewUse {
    pub relation: Oid,
    pub name: String,
    /// Number and name of each column.
    pub columns: Vec<(i16, String)>,
    /// The columns that the view needs.
    pub needed: Vec<i16>,
}

/// What a view shows.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ViewQuery {
    /// SQL text in which each relation is named by [`relation_reference`].
    pub text: String,
    pub uses: Vec<ViewUse>,
}

/// A view.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct View {
    pub oid: Oid,
    pub schema: Oid,
    pub name: String,
    /// Name and type of each column.
    pub columns: Vec<(String, SqlType)>,
    pub query: ViewQuery,
    /// Storage parameters as given, such as security_barrier.
    pub options: Vec<(String, String)>,
}

/// How the text of a view names a relation: an identifier that no user can write.
pub fn relation_reference(relation: Oid) -> String {
    format!("\u{1}{relation}")
}

/// COMMENT ON an object, or a column of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Comment {
    pub object: Oid,
    /// The column; 0 for the object itself.
    pub attnum: i16,
    pub text: String,
}

/// A PRIMARY KEY or UNIQUE constraint.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct UniqueConstraint {
    pub oid: Oid,
    pub name: String,
    pub is_primary: bool,
    /// The columns, by attnum.
    pub columns: Vec<i16>,
    pub enforced_by: Enforcement,
}

/// What makes a unique constraint hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Enforcement {
    /// The table's own key is exactly these columns.
    TableKey,
    /// This index: local when it contains the partition columns, otherwise global and synchronous.
    Index(Oid),
}

/// A table.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Table {
    pub oid: Oid,
    pub schema: Oid,
    pub name: String,
    /// The key space of its rows; TRUNCATE and rewrites give it a new one.
    pub storage: RelationId,
    pub columns: Vec<Column>,
    pub partitioning: Partitioning,
    /// The table whose ranges and workers this one shares.
    pub colocated_with: Option<Oid>,
    pub checks: Vec<Check>,
    pub uniques: Vec<UniqueConstraint>,
    /// Its indexes, by oid, in order of creation.
    pub indexes: Vec<Oid>,
    /// Storage parameters as given, such as fillfactor.
    pub options: Vec<(String, String)>,
}

impl Table {
    /// The column with that attnum.
    pub fn column(&self, attnum: i16) -> Option<&Column> {
        self.columns.get(usize::try_from(attnum).ok()?.checked_sub(1)?)
    }

    /// The column of that name, unless dropped or hidden.
    pub fn column_named(&self, name: &str) -> Option<&Column> {
        self.visible_columns().find(|c| c.name == name)
    }

    /// The columns that a `*` shows.
    pub fn visible_columns(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|c| !c.dropped && !c.hidden)
    }

    /// The types of the stored row.
    pub fn row_types(&self) -> Vec<SqlType> {
        self.columns.iter().map(|c| c.ty).collect()
    }

    /// What the columns read as in rows that are too short to have them.
    pub fn missing_values(&self) -> Vec<Datum> {
        self.columns.iter().map(|c| c.missing.clone()).collect()
    }

    /// The primary key.
    pub fn primary_key(&self) -> Option<&UniqueConstraint> {
        self.uniques.iter().find(|u| u.is_primary)
    }
}

/// When an index learns of a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Maintenance {
    /// In the transaction that changes the row.
    Sync,
    /// From the log, after the commit.
    Async,
}

/// Where an index lives.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum IndexScope {
    /// Cut as its table is: each partition indexes its own rows. An entry's key is
    /// `partition id (u64 BE) ++ indexed columns ++ table key`; a unique one has no table key (it is in the value).
    Local,
    /// Partitioned by the indexed columns. An entry's key is `indexed columns ++ table key`; a unique one's is the indexed columns alone
    /// unless one of them is NULL.
    Global { partitioning: Partitioning, maintenance: Maintenance },
}

/// One indexed column.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct IndexColumn {
    pub attnum: i16,
    pub descending: bool,
    pub nulls_first: bool,
}

/// Whether an index may be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum IndexState {
    /// Maintained, not complete yet.
    Building,
    Ready,
}

/// An index. The value of an entry is a row of this shape: the table key (bytea), then the `include` columns.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Index {
    pub oid: Oid,
    pub schema: Oid,
    pub name: String,
    pub table: Oid,
    pub storage: RelationId,
    pub columns: Vec<IndexColumn>,
    pub include: Vec<i16>,
    /// How the indexed columns are encoded (without table key); never hashed for a local index.
    pub key: KeySchema,
    pub unique: bool,
    pub scope: IndexScope,
    pub state: IndexState,
    /// Storage parameters as given.
    pub options: Vec<(String, String)>,
}

/// One partition: the half-open range from its own lower bound to the next one's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Partition {
    pub id: PartitionId,
    /// Encoded key; empty for the first partition.
    pub lower: Bytes,
    pub epoch: Epoch,
    pub worker: WorkerId,
    /// The worker's group that holds it.
    pub group: GroupId,
}

/// The partition map of one relation (a table, or a global index), in key order. A local index has none: it lives in its table's.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PartitionMap {
    pub relation: RelationId,
    pub partitions: Vec<Partition>,
}

/// A worker as the catalog knows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Worker {
    pub id: WorkerId,
    /// Where its rpc server listens; changes when it comes back elsewhere.
    pub address: String,
    pub state: WorkerState,
    pub groups: u32,
}

/// What the catalog last heard of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum WorkerState {
    Up,
    Down,
}
