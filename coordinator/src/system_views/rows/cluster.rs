//! What the workers are asked for: sizes of partitions, the lag of indexes. The answers of a worker that is down are NULL.

use std::collections::HashMap;

use catalog::objects::{PartitionMap, PartitionMethod, Partitioning, WorkerState};
use common::datum::Datum;
use common::ids::{Oid, WorkerId};
use common::types::SqlType;
use futures::FutureExt;
use futures::future::BoxFuture;
use partition::hash::HASH_PREFIX_LEN;
use types::format_settings::FormatSettings;
use types::text_output;

use super::super::sizes::{self, Sizes};
use super::{NULL, Reading, Row, big, oid, text};

pub(super) fn partitions(reading: Reading<'_>) -> BoxFuture<'_, Vec<Row>> {
    async move {
        let sizes = reading.sizes().await;
        let format = &reading.system.settings.format;
        let mut rows = Vec::new();
        for table in reading.catalog.tables() {
            if let Some(map) = reading.catalog.partition_map(table.storage) {
                partition_rows(table.oid, &table.partitioning, &map, &sizes, format, &mut rows);
            }
            for index in reading.catalog.indexes_of(table) {
                if let catalog::objects::IndexScope::Global { partitioning, .. } = &index.scope
                    && let Some(map) = reading.catalog.partition_map(index.storage)
                {
                    partition_rows(index.oid, partitioning, &map, &sizes, format, &mut rows);
                }
            }
        }
        rows
    }
    .boxed()
}

fn partition_rows(relation: Oid, cut: &Partitioning, map: &PartitionMap, sizes: &Sizes, format: &FormatSettings, rows: &mut Vec<Row>) {
    let mut bounds = map.partitions.iter().map(|p| bound(cut, &p.lower, format)).chain([NULL]);
    let mut lower = bounds.next().unwrap_or(NULL);
    for (partition, upper) in map.partitions.iter().zip(bounds) {
        let size = sizes.partition(partition.id);
        rows.push(vec![
            oid(relation),
            big(partition.id.0),
            std::mem::replace(&mut lower, upper.clone()),
            upper,
            worker_number(partition.worker),
            big(partition.epoch.0),
            size.map_or(NULL, |s| big(s.rows)),
            size.map_or(NULL, |s| big(s.bytes)),
        ]);
    }
}

/// A bound as SQL: `('2024-02-01', 7)`, with the hash value before it where the relation is cut by hash; NULL where the range is open.
fn bound(cut: &Partitioning, key: &[u8], format: &FormatSettings) -> Datum {
    if key.is_empty() {
        return NULL;
    }
    let mut parts = Vec::new();
    if cut.method == PartitionMethod::Hash
        && let Some(prefix) = key.first_chunk::<HASH_PREFIX_LEN>()
    {
        parts.push(format!("hash {}", u16::from_be_bytes(*prefix)));
    }
    let (values, _) = cut.key.decode(key);
    if !values.is_empty() {
        let shown: Vec<String> = values.iter().zip(&cut.key.columns).map(|(value, column)| literal(value, column.ty, format)).collect();
        parts.push(format!("({})", shown.join(", ")));
    }
    text(parts.join(" "))
}

/// A value as SQL writes it.
fn literal(value: &Datum, ty: SqlType, format: &FormatSettings) -> String {
    match value {
        Datum::Null => "NULL".to_owned(),
        Datum::Bool(value) => value.to_string(),
        Datum::Int2(_) | Datum::Int4(_) | Datum::Int8(_) | Datum::Numeric(_) | Datum::Oid(_) => text_output::to_text(value, ty, format),
        other => format!("'{}'", text_output::to_text(other, ty, format).replace('\'', "''")),
    }
}

fn worker_number(id: WorkerId) -> Datum {
    Datum::Int8(i64::from(id.0))
}

pub(super) fn workers(reading: Reading<'_>) -> BoxFuture<'_, Vec<Row>> {
    async move {
        let sizes = reading.sizes().await;
        let mut owned: HashMap<WorkerId, Vec<_>> = HashMap::new();
        for partition in reading.catalog.partition_maps().flat_map(|map| &map.partitions) {
            owned.entry(partition.worker).or_default().push(partition.id);
        }
        let row = |worker: &catalog::objects::Worker| {
            let partitions = owned.get(&worker.id).map_or(&[][..], Vec::as_slice);
            let state = match worker.state {
                WorkerState::Up => "up",
                WorkerState::Down => "down",
            };
            let bytes = sizes.sum(partitions.iter().copied()).map_or(NULL, |size| big(size.bytes));
            let count = big(u64::try_from(partitions.len()).unwrap_or(u64::MAX));
            vec![worker_number(worker.id), text(&worker.address), text(state), count, bytes]
        };
        reading.catalog.workers().map(|worker| row(worker)).collect()
    }
    .boxed()
}

pub(super) fn index_lag(reading: Reading<'_>) -> BoxFuture<'_, Vec<Row>> {
    async move {
        let Some(coordinator) = &reading.system.coordinator else { return Vec::new() };
        let mut lags = sizes::index_lags(reading.catalog, &coordinator.directory).await;
        lags.sort_by_key(|lag| (lag.index, lag.source));
        let row = |lag: rpc::worker_api::IndexLag| {
            let (worker, group) = lag.source;
            let watermark = Datum::Timestamp(catalog::oracle::physical_micros(lag.watermark));
            vec![oid(lag.index), worker_number(worker), Datum::Int8(i64::from(group.0)), watermark, big(lag.lag_ms), big(lag.changes)]
        };
        lags.into_iter().map(row).collect()
    }
    .boxed()
}

/// Rows are counted by the workers; what PostgreSQL counts besides is unknown.
pub(super) fn pg_stat_user_tables(reading: Reading<'_>) -> BoxFuture<'_, Vec<Row>> {
    async move {
        let sizes = reading.sizes().await;
        let row = |table: &catalog::objects::Table| {
            let live = sizes.relation(reading.catalog, table.storage).map_or(NULL, |size| big(size.rows));
            let mut row = vec![oid(table.oid), reading.schema(table.schema), text(&table.name)];
            row.extend(std::iter::repeat_n(NULL, 8));
            row.push(live);
            row
        };
        reading.catalog.tables().map(|table| row(table)).collect()
    }
    .boxed()
}
