//! From entries of a global index to the rows: keys in, rows out.
//!
//! Keys are sent to the rows' owners in batches, all owners at once. A key whose row is not there at the snapshot gives nothing; the conditions of
//! the statement are checked again above, on the row itself.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BinaryBuilder, RecordBatch, RecordBatchOptions, UInt64Builder};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use catalog::objects::Table;
use common::columns::BatchBuilder;
use common::error::{Report, SqlError};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};
use rpc::worker_api::{FoundRow, GetRequest};

use crate::access::partition_ref;
use crate::context::StatementContext;
use crate::errors::raise;
use crate::scan::ScanColumn;

/// Rows that may be found twice in one statement are remembered up to this many.
const REMEMBERED_MAX: usize = 5_000_000;

/// The operator: one output partition, over all of its input's.
#[derive(Debug)]
pub struct IndexLookupExec {
    entries: Arc<dyn ExecutionPlan>,
    table: Arc<Table>,
    columns: Vec<ScanColumn>,
    /// Whether the same row may come by several entries.
    repeats: bool,
    properties: Arc<PlanProperties>,
}

impl IndexLookupExec {
    /// Looks up the rows whose keys `entries` gives in its only column.
    pub fn new(entries: Arc<dyn ExecutionPlan>, table: Arc<Table>, columns: Vec<ScanColumn>, schema: SchemaRef, repeats: bool) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { entries, table, columns, repeats, properties: Arc::new(properties) }
    }
}

impl IndexLookupExec {
    /// The table whose rows are looked up.
    pub(crate) fn table_name(&self) -> &str {
        &self.table.name
    }
}

impl DisplayAs for IndexLookupExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IndexLookupExec: rows of {} by key", self.table.name)
    }
}

impl ExecutionPlan for IndexLookupExec {
    fn name(&self) -> &'static str {
        "IndexLookupExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.entries]
    }

    fn apply_expressions(&self, _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let entries = children.pop().ok_or_else(|| DataFusionError::Internal("an index lookup has one input".into()))?;
        Ok(Arc::new(Self::new(entries, Arc::clone(&self.table), self.columns.clone(), self.schema(), self.repeats)))
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let statement = context
            .session_config()
            .get_extension::<StatementContext>()
            .ok_or_else(|| DataFusionError::Internal("an index is read outside of a statement".into()))?;
        let inputs = 0..self.entries.properties().partitioning.partition_count();
        let inputs: Result<Vec<_>> = inputs.map(|at| self.entries.execute(at, Arc::clone(&context))).collect();
        let lookup = Lookup {
            statement,
            table: Arc::clone(&self.table),
            columns: self.columns.clone(),
            schema: self.schema(),
            seen: self.repeats.then(HashSet::new),
        };
        let batches = futures::stream::select_all(inputs?);
        let rows = futures::stream::try_unfold((batches, lookup), |(mut batches, mut lookup)| async move {
            match batches.try_next().await? {
                None => Ok(None),
                Some(batch) => {
                    let rows = lookup.rows(&batch).await.map_err(raise)?;
                    Ok::<_, DataFusionError>(Some((rows, (batches, lookup))))
                }
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows.boxed())))
    }
}

struct Lookup {
    statement: Arc<StatementContext>,
    table: Arc<Table>,
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
    seen: Option<HashSet<Bytes>>,
}

impl Lookup {
    async fn rows(&mut self, entries: &RecordBatch) -> Result<RecordBatch, Report> {
        let keys = entries.column(0).as_binary::<i32>();
        let mut by_partition: BTreeMap<usize, Vec<Bytes>> = BTreeMap::new();
        let missing = || Report::internal(format!("relation \"{}\" has no partition map", self.table.name));
        let map = self.statement.catalog.partition_map(self.table.storage).ok_or_else(missing)?;
        let bounds = self.statement.catalog.bounds(self.table.storage).ok_or_else(missing)?;
        for key in keys.iter().flatten() {
            let key = Bytes::copy_from_slice(key);
            if let Some(seen) = &mut self.seen {
                if seen.len() >= REMEMBERED_MAX {
                    return Err(Report::new(common::sqlstate::SqlState::OUT_OF_MEMORY, "out of memory")
                        .with_detail("Too many rows were found through an index."));
                }
                if !seen.insert(key.clone()) {
                    continue;
                }
            }
            by_partition.entry(bounds.route(&key)).or_default().push(key);
        }
        let calls = by_partition.into_iter().map(|(at, keys)| {
            let partition = &map.partitions[at];
            let worker = self.statement.directory.worker(partition.worker);
            if let Some(reads) = &self.statement.reads {
                keys.iter().for_each(|key| reads.add_key(partition.worker, partition_ref(partition), self.table.storage, key));
            }
            let request = GetRequest {
                context: self.statement.read,
                relation: self.table.storage,
                partition: partition_ref(partition),
                keys: keys.clone(),
            };
            async move { Ok::<_, Report>((keys, worker?.get(request).await?)) }
        });
        let found = try_join_all(calls).await?;
        self.batch(found.into_iter().flat_map(|(keys, rows)| keys.into_iter().zip(rows)))
    }

    fn batch(&self, found: impl Iterator<Item = (Bytes, Option<FoundRow>)>) -> Result<RecordBatch, Report> {
        let stored: Vec<usize> =
            self.columns.iter().filter_map(|c| if let ScanColumn::Stored(at) = c { Some(*at) } else { None }).collect();
        let places: Vec<usize> = (0..self.columns.len()).filter(|at| matches!(self.columns[*at], ScanColumn::Stored(_))).collect();
        let internal = |e: arrow::error::ArrowError| Report::internal(e.to_string());
        let schema = Arc::new(self.schema.project(&places).map_err(internal)?);
        let mut builder = BatchBuilder::new(self.table.row_types(), self.table.missing_values(), &stored, schema);
        let (mut keys, mut versions) = (BinaryBuilder::new(), UInt64Builder::new());
        for (key, row) in found {
            let Some(row) = row else { continue };
            builder.append(&row.row).map_err(|e| e.report())?;
            keys.append_value(&key);
            versions.append_value(row.version.0);
        }
        let rows = builder.finish().map_err(internal)?;
        let (keys, versions): (Arc<dyn Array>, Arc<dyn Array>) = (Arc::new(keys.finish()), Arc::new(versions.finish()));
        let count = keys.len();
        let mut of_row = rows.columns().iter();
        let arrays = self.columns.iter().map(|column| match column {
            ScanColumn::Stored(_) => of_row.next().map(Arc::clone).ok_or_else(|| Report::internal("a column is missing")),
            ScanColumn::RowKey => Ok(Arc::clone(&keys)),
            ScanColumn::RowVersion => Ok(Arc::clone(&versions)),
        });
        let arrays = arrays.collect::<Result<Vec<_>, Report>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map_err(internal)
    }
}
