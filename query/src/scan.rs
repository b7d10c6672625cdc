//! What a scan reads: plain data that travels inside a plan.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use common::datum::Datum;
use common::ids::{Oid, RelationId};
use common::types::SqlType;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use rpc::worker_api::{PartitionRef, ReadContext};
use serde::{Deserialize, Serialize};

/// One contiguous piece of a partition to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanPiece {
    pub partition: PartitionRef,
    /// Encoded keys without the relation id (of the index, when an index is read: without the partition prefix of a local index).
    pub lo: Bytes,
    pub hi: Option<Bytes>,
}

/// Through which structure the rows are found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum AccessPath {
    /// The table's own key order.
    Table,
    /// A local index of the table: entries of the partition give row keys, the rows are read beside them.
    LocalIndex { index: Oid, storage: RelationId },
}

/// A stored column's place among the wanted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScanColumn {
    /// Place in the stored row.
    Stored(usize),
    RowKey,
    RowVersion,
}

/// A scan of one table on one worker, beside the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScanSpec {
    pub table: Oid,
    pub storage: RelationId,
    pub access: AccessPath,
    /// For each output stream of the leaf, the pieces that it reads, in key order.
    pub streams: Vec<Vec<ScanPiece>>,
    /// Types and missing values of the stored row.
    pub row_types: Vec<SqlType>,
    pub missing: Vec<Datum>,
    /// The output columns.
    pub columns: Vec<ScanColumn>,
    pub reverse: bool,
    /// At most this many rows for each stream.
    pub limit: Option<usize>,
}

impl ScanSpec {
    /// The schema of the output columns under these names; `None` when there are too few names or types.
    pub fn schema(&self, names: &[String]) -> Option<SchemaRef> {
        let mut fields = Vec::with_capacity(self.columns.len());
        for (column, name) in self.columns.iter().zip(names) {
            fields.push(match column {
                ScanColumn::Stored(at) => Field::new(name, self.row_types.get(*at)?.arrow(), true),
                ScanColumn::RowKey => Field::new(name, DataType::Binary, false),
                ScanColumn::RowVersion => Field::new(name, DataType::UInt64, false),
            });
        }
        (names.len() == self.columns.len()).then(|| Arc::new(Schema::new(fields)) as SchemaRef)
    }
}

/// Who reads: the worker, over its storage. Found in the `TaskContext`'s session config as an extension (`Arc<dyn ScanSource>` in a wrapper).
pub trait ScanSource: Send + Sync + std::fmt::Debug {
    /// Opens stream `stream` of `spec` at `context`, giving batches of `schema`.
    fn open(
        &self,
        spec: &ScanSpec,
        stream: usize,
        context: ReadContext,
        schema: SchemaRef,
        task: &TaskContext,
    ) -> Result<SendableRecordBatchStream>;
}
