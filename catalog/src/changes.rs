//! What a proposal consists of. A list of changes takes effect as a whole, as one new version.

use crate::shadow::Step;
use bytes::Bytes;
use common::ids::{Oid, RelationId, TransactionId};
use common::user_types::UserType;
use serde::{Deserialize, Serialize};

use crate::error::CatalogError;
use crate::objects::{Comment, Index, PartitionMap, Schema, Sequence, Table, View, Worker};

/// One change.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Change {
    CreateSchema(Schema),
    /// An empty one: what is in it is dropped by changes before this one.
    DropSchema(Oid),
    CreateTable(Table),
    /// A new definition of a table that exists.
    AlterTable(Table),
    /// The table, its indexes and their key spaces, and the sequences that go with its columns.
    DropTable(Oid),
    /// The table gets to know it by this change too.
    CreateIndex(Index),
    AlterIndex(Index),
    DropIndex(Oid),
    /// How a relation is cut and who owns the parts: of a new relation, or in place of the former map.
    PutPartitionMap(PartitionMap),
    /// All epochs of a relation rise: what was planned before is refused.
    RaiseEpochs(RelationId),
    /// A key space that nothing names any more.
    DropStorage(RelationId),
    PutWorker(Worker),
    CreateType(UserType),
    /// A new definition of a type that exists. Columns of the type take it on.
    AlterType(UserType),
    /// No column is of the type any more.
    DropType(Oid),
    /// A new sequence, or a new definition of one that exists.
    PutSequence(Sequence),
    DropSequence(Oid),
    /// A new view, or a new definition of one that exists.
    PutView(View),
    DropView(Oid),
    PutComment(Comment),
    /// The comment on an object or a column of it goes.
    DropComment(Oid, i16),
    /// Two tables take each other's key spaces, and the indexes of each pair too.
    ExchangeStorage {
        tables: (Oid, Oid),
        indexes: Vec<(Oid, Oid)>,
    },
    /// A new name of a schema.
    RenameSchema(Oid, String),
    /// What a transaction that changes the schema does with the catalog ([`crate::shadow`]).
    OfTransaction(TransactionId, Step),
}

impl Change {
    /// Whether plans depend on it; the coming and going of workers does not stop a schema change.
    pub(crate) fn is_schema_change(&self) -> bool {
        !matches!(self, Self::PutWorker(_) | Self::OfTransaction(_, Step::Prepare { .. }))
    }

    /// Whether it ends what [`Change::Prepare`] began.
    pub(crate) fn ends_preparation(&self) -> bool {
        matches!(self, Self::OfTransaction(_, Step::Finish | Step::Discard))
    }
}

/// Changes as they travel.
pub fn serialize(changes: &[Change]) -> Bytes {
    rmp_serde::to_vec(changes).expect("plain data always serialises").into()
}

/// Reads what [`serialize`] wrote.
pub fn deserialize(bytes: &[u8]) -> Result<Vec<Change>, CatalogError> {
    Ok(rmp_serde::from_slice(bytes)?)
}
