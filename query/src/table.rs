//! The provider of a table: which partitions a scan reads, through which structure, and the leaf for it.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use catalog::objects::{IndexScope, Maintenance, Partitioning, Table};
use catalog::state::CatalogState;
use common::ids::{Oid, Timestamp};
use common::row::{ROW_KEY, ROW_VERSION};
use common::types::{Scalar, SqlType};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNode;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableScan, TableSource, TableType};
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use rpc::worker_api::ReadAt;

use crate::access::{self, Access, Structure, WorkerPieces};
use crate::context::StatementContext;
use crate::errors::raise;
use crate::freshness::IndexFreshness;
use crate::index_lookup::IndexLookupExec;
use crate::layout::{Layout, streams};
use crate::pruning::Constraints;
use crate::scan::{AccessPath, ScanColumn, ScanSpec};
use crate::scan_exec::ScanExec;
use crate::scatter_exec::ScatterExec;

/// How long a statement waits for an asynchronous index before it reads the table instead.
const INDEX_WAIT_MS: u32 = 2_000;

/// A table in a plan.
#[derive(Debug)]
pub struct PartitaTable {
    oid: Oid,
    name: String,
    schema: SchemaRef,
    /// For each column of the schema but the hidden ones: its place in the stored row, and its type.
    columns: Vec<(usize, SqlType)>,
}

impl PartitaTable {
    /// The table as plans name it.
    pub fn source(_state: &CatalogState, table: &Table) -> Arc<dyn TableSource> {
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        for column in table.visible_columns() {
            fields.push(Field::new(&column.name, column.ty.arrow(), true));
            columns.push((usize::try_from(column.attnum - 1).unwrap_or(0), column.ty));
        }
        fields.push(Field::new(ROW_KEY, DataType::Binary, false));
        fields.push(Field::new(ROW_VERSION, DataType::UInt64, false));
        let provider = Self { oid: table.oid, name: table.name.clone(), schema: Arc::new(Schema::new(fields)), columns };
        provider_as_source(Arc::new(provider))
    }

    fn type_of(&self, name: &str) -> Option<SqlType> {
        let at = self.schema.index_of(name).ok()?;
        Some(self.columns.get(at)?.1)
    }

    fn scan_column(&self, at: usize) -> ScanColumn {
        match self.columns.get(at) {
            Some((stored, _)) => ScanColumn::Stored(*stored),
            None if at == self.columns.len() => ScanColumn::RowKey,
            None => ScanColumn::RowVersion,
        }
    }
}

/// The name of a scan's table, for EXPLAIN.
pub(crate) fn name_of(scan: &TableScan) -> String {
    let provider = source_as_provider(&scan.source).ok();
    let table = provider.as_ref().and_then(|provider| provider.downcast_ref::<PartitaTable>());
    table.map_or_else(|| scan.table_name.to_string(), |table| table.name.clone())
}

#[async_trait]
impl TableProvider for PartitaTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Filters choose partitions here; the rows are filtered above.
        let kind = |filter: &&Expr| {
            let subquery = filter.exists(|e| Ok(matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_))));
            if subquery.unwrap_or(true) { TableProviderFilterPushDown::Unsupported } else { TableProviderFilterPushDown::Inexact }
        };
        Ok(filters.iter().map(kind).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let statement = state
            .config()
            .get_extension::<StatementContext>()
            .ok_or_else(|| DataFusionError::Internal("a table is planned outside of a statement".into()))?;
        let table = statement
            .catalog
            .table(self.oid)
            .ok_or_else(|| DataFusionError::Internal(format!("table {} is gone from the statement's catalog", self.oid)))?;
        let wanted: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&wanted)?);
        let columns: Vec<ScanColumn> = wanted.iter().map(|at| self.scan_column(*at)).collect();
        let constraints = Constraints::of(filters, |name| self.type_of(name));
        let limit = if filters.is_empty() { limit } else { None };
        for way in access::choose(&statement.catalog, &table, &constraints).map_err(raise)? {
            if is_fresh(&way, &statement).await? {
                return plan(&statement, &table, way, columns, schema, limit);
            }
        }
        Err(DataFusionError::Internal("no way to read the table".into()))
    }
}

/// Whether an access may answer the statement: an asynchronous index must have caught up.
async fn is_fresh(way: &Access, statement: &StatementContext) -> Result<bool> {
    let Structure::GlobalIndex(index) = &way.structure else { return Ok(true) };
    let IndexScope::Global { maintenance: Maintenance::Async, .. } = &index.scope else { return Ok(true) };
    // Entries are made at the commit: a transaction's own writes are not in the index yet.
    // Nor are those of others that a serializable transaction's commit must see.
    if statement.read.own.is_some() || statement.reads.is_some() {
        return Ok(false);
    }
    let ReadAt::Snapshot(snapshot) = statement.read.at else { return Ok(false) };
    let at = match statement.freshness {
        IndexFreshness::Any => return Ok(true),
        IndexFreshness::Strong => snapshot,
        IndexFreshness::Session(last) => last.min(snapshot),
        IndexFreshness::Within(micros) => {
            let then = catalog::oracle::physical_micros(snapshot) - i64::try_from(micros).unwrap_or(i64::MAX);
            catalog::oracle::at_micros(then.max(0))
        }
    };
    if at == Timestamp::MIN {
        return Ok(true);
    }
    for WorkerPieces { worker, .. } in &way.workers {
        let worker = statement.directory.worker(*worker).map_err(raise)?;
        if !worker.index_fresh(index.oid, at, INDEX_WAIT_MS).await.map_err(raise)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn plan(
    statement: &Arc<StatementContext>,
    table: &Arc<Table>,
    way: Access,
    columns: Vec<ScanColumn>,
    schema: SchemaRef,
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let route = Arc::new(way.route);
    let cut = match &way.structure {
        Structure::GlobalIndex(index) => index.storage,
        Structure::Table | Structure::LocalIndex(_) => table.storage,
    };
    let map = statement.catalog.partition_map(cut).ok_or_else(|| DataFusionError::Internal("a relation without a partition map".into()))?;
    let (slots, targets, streams) = streams(&way.workers, &map);
    if streams.is_empty() {
        return Ok(Arc::new(EmptyExec::new(schema)));
    }
    let places = (slots.into(), targets.into());
    let layout = Layout::of_scan(table, &map, &columns);
    let spec = ScanSpec {
        table: table.oid,
        storage: table.storage,
        access: AccessPath::Table,
        streams,
        row_types: table.row_types(),
        missing: table.missing_values(),
        columns,
        reverse: false,
        limit,
    };
    match way.structure {
        Structure::Table => {
            let order = key_order(&table.partitioning, table, &spec, &schema, way.is_one_hash);
            let leaf = ScanExec::in_order(Arc::new(spec), schema, order);
            Ok(Arc::new(ScatterExec::new(Arc::new(leaf), places, layout, vec![route])))
        }
        Structure::LocalIndex(index) => {
            let access = AccessPath::LocalIndex { index: index.oid, storage: index.storage };
            let leaf = ScanExec::new(Arc::new(ScanSpec { access, ..spec }), schema);
            Ok(Arc::new(ScatterExec::new(Arc::new(leaf), places, layout, vec![route])))
        }
        Structure::GlobalIndex(index) => {
            let included = index.include.iter().filter_map(|a| table.column(*a)).map(|c| c.ty);
            let entry_types: Vec<SqlType> = std::iter::once(Scalar::Bytea.into()).chain(included).collect();
            let entries = ScanSpec {
                storage: index.storage,
                missing: vec![common::datum::Datum::Null; entry_types.len()],
                row_types: entry_types,
                columns: vec![ScanColumn::Stored(0)],
                limit: None,
                ..spec.clone()
            };
            let entry_schema = Arc::new(Schema::new(vec![Field::new("key", DataType::Binary, true)]));
            let leaf = ScanExec::new(Arc::new(entries), entry_schema);
            let input = Arc::new(ScatterExec::new(Arc::new(leaf), places, None, vec![route]));
            let repeats = way.ranges > 1 || statement.freshness != IndexFreshness::Strong;
            Ok(Arc::new(IndexLookupExec::new(input, Arc::clone(table), spec.columns, schema, repeats)))
        }
    }
}

/// The order of a scan's streams by the table's key: true of range tables, and of hash tables where one hash value is read.
fn key_order(partitioning: &Partitioning, table: &Table, spec: &ScanSpec, schema: &SchemaRef, is_one_hash: bool) -> Option<LexOrdering> {
    let hashed = partitioning.key.hash_columns;
    if hashed > 0 && !is_one_hash {
        return None;
    }
    let mut keys = Vec::new();
    for (attnum, column) in partitioning.key_columns.iter().zip(&partitioning.key.columns) {
        let stored = usize::try_from(attnum - 1).ok()?;
        let place = spec.columns.iter().position(|c| *c == ScanColumn::Stored(stored));
        let (Some(at), Some(ty)) = (place, table.column(*attnum).map(|c| c.ty)) else { break };
        if !sorts_as_stored(ty) {
            break;
        }
        let options = SortOptions { descending: column.descending, nulls_first: column.nulls_first };
        keys.push(PhysicalSortExpr::new(Arc::new(PhysicalColumn::new(schema.field(at).name(), at)), options));
    }
    LexOrdering::new(keys)
}

/// Whether the keys' order of a type is that of its columns in batches, without a sort key in between.
fn sorts_as_stored(ty: SqlType) -> bool {
    let plain = matches!(
        ty.scalar,
        Scalar::Bool
            | Scalar::Int2
            | Scalar::Int4
            | Scalar::Int8
            | Scalar::Text
            | Scalar::Varchar
            | Scalar::Bytea
            | Scalar::Uuid
            | Scalar::Date
            | Scalar::Time
            | Scalar::Timestamp
            | Scalar::Timestamptz
    );
    plain && !ty.is_array
}
