//! Which structure a scan reads, and which parts of it.

use std::sync::Arc;

use catalog::objects::{Index, IndexScope, IndexState, PartitionMap, Table};
use catalog::state::CatalogState;
use common::error::{Report, SqlError};
use common::ids::WorkerId;
use partition::bounds::Bounds;
use partition::key::KeySchema;
use partition::prune::{Constraint, Pruned, key_ranges};
use partition::range::KeyRange;
use rpc::worker_api::PartitionRef;

use crate::pruning::Constraints;
use crate::scan::ScanPiece;

/// How a statement reaches its partitions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RouteKind {
    /// The partition columns are bound to one value: one partition.
    Point,
    /// Some partitions were left out.
    Range,
    /// All of them.
    Scatter,
}

/// What EXPLAIN tells of a scan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    pub kind: RouteKind,
    pub read: usize,
    pub total: usize,
    pub workers: usize,
    /// The table or index that is read, as `cars` or `cars_color on cars`.
    pub what: String,
    /// Why the others were left out.
    pub why: String,
}

/// The structure that is read.
#[derive(Clone, Debug)]
pub enum Structure {
    Table,
    LocalIndex(Arc<Index>),
    GlobalIndex(Arc<Index>),
}

/// The pieces of one worker.
#[derive(Clone, Debug)]
pub struct WorkerPieces {
    pub worker: WorkerId,
    pub pieces: Vec<ScanPiece>,
}

/// A decided access.
#[derive(Clone, Debug)]
pub struct Access {
    pub structure: Structure,
    pub workers: Vec<WorkerPieces>,
    pub route: Route,
    /// How many ranges are read: with one range no row is found twice.
    pub ranges: usize,
    /// Of a hash table's own key: whether all partition columns are bound to one value, so that one hash value is read.
    pub is_one_hash: bool,
}

/// Ways to read a table under constraints, the best one first; the table's own order is always among them.
pub fn choose(state: &CatalogState, table: &Table, constraints: &Constraints) -> Result<Vec<Access>, Report> {
    let by_key = by_table_key(state, table, constraints)?;
    if by_key.route.kind == RouteKind::Point || by_key.route.read == 0 {
        return Ok(vec![by_key]);
    }
    let mut ways = Vec::new();
    for index in state.indexes_of(table).filter(|i| i.state == IndexState::Ready) {
        ways.extend(by_index(state, table, index, constraints)?);
    }
    // A global index that reads one partition beats a local one that reads all; more bound columns beat fewer.
    ways.sort_by_key(|(bound, access)| (std::cmp::Reverse(*bound), access.route.read));
    let mut ways: Vec<Access> = ways.into_iter().map(|(_, access)| access).collect();
    ways.push(by_key);
    Ok(ways)
}

fn column_constraints(table: &Table, attnums: impl Iterator<Item = i16>, constraints: &Constraints) -> Vec<Option<Constraint>> {
    attnums.map(|a| table.column(a).and_then(|c| constraints.get(&c.name)).cloned()).collect()
}

fn is_single(constraint: Option<&Option<Constraint>>) -> bool {
    matches!(constraint, Some(Some(Constraint::OneOf(values))) if values.len() == 1)
}

fn prune(key: &KeySchema, constraints: &[Option<Constraint>]) -> Result<Pruned, Report> {
    key_ranges(key, constraints).map_err(|e| e.report())
}

fn missing_map(name: &str) -> Report {
    Report::internal(format!("relation \"{name}\" has no partition map"))
}

fn by_table_key(state: &CatalogState, table: &Table, constraints: &Constraints) -> Result<Access, Report> {
    let map = state.partition_map(table.storage).ok_or_else(|| missing_map(&table.name))?;
    let bounds = state.bounds(table.storage).ok_or_else(|| missing_map(&table.name))?;
    let partitioning = &table.partitioning;
    let columns = column_constraints(table, partitioning.key_columns.iter().copied(), constraints);
    let pruned = prune(&partitioning.key, &columns)?;
    let workers = pieces(&map, &bounds, &pruned.ranges);
    let is_point = (0..partitioning.columns.len()).all(|at| is_single(columns.get(at)));
    let names =
        partitioning.key_columns.iter().take(pruned.columns_used).filter_map(|a| table.column(*a)).map(|c| c.name.clone()).collect();
    let route = route(&workers, map.partitions.len(), is_point, table.name.clone(), names);
    Ok(Access { structure: Structure::Table, workers, route, ranges: pruned.ranges.len(), is_one_hash: is_point })
}

/// The access through an index whose first columns are bound to values, and how many are.
fn by_index(state: &CatalogState, table: &Table, index: &Arc<Index>, constraints: &Constraints) -> Result<Option<(usize, Access)>, Report> {
    let columns = column_constraints(table, index.columns.iter().map(|c| c.attnum), constraints);
    let bound = columns.iter().take_while(|c| matches!(c, Some(Constraint::OneOf(_)))).count();
    if bound == 0 {
        return Ok(None);
    }
    let names = index.columns.iter().take(bound).filter_map(|c| table.column(c.attnum)).map(|c| c.name.clone()).collect();
    let what = format!("{} on {}", index.name, table.name);
    let access = match &index.scope {
        IndexScope::Local => {
            let map = state.partition_map(table.storage).ok_or_else(|| missing_map(&table.name))?;
            let entries = prune(&index.key, &columns)?;
            let keys = column_constraints(table, table.partitioning.key_columns.iter().copied(), constraints);
            let bounds = state.bounds(table.storage).ok_or_else(|| missing_map(&table.name))?;
            let rows = prune(&table.partitioning.key, &keys)?;
            let workers = index_pieces(&map, &bounds, &rows.ranges, &entries.ranges);
            let mut route = route(&workers, map.partitions.len(), false, what, names);
            if route.read == route.total {
                route.why = "a local index: every partition indexes its own rows".into();
            }
            Access { structure: Structure::LocalIndex(Arc::clone(index)), workers, route, ranges: entries.ranges.len(), is_one_hash: false }
        }
        IndexScope::Global { partitioning, .. } => {
            if bound < partitioning.key.hash_columns {
                return Ok(None);
            }
            let map = state.partition_map(index.storage).ok_or_else(|| missing_map(&index.name))?;
            let bounds = state.bounds(index.storage).ok_or_else(|| missing_map(&index.name))?;
            let entries = prune(&partitioning.key, &columns)?;
            let workers = pieces(&map, &bounds, &entries.ranges);
            let is_point = (0..bound).all(|at| is_single(columns.get(at)));
            let route = route(&workers, map.partitions.len(), is_point, what, names);
            Access {
                structure: Structure::GlobalIndex(Arc::clone(index)),
                workers,
                route,
                ranges: entries.ranges.len(),
                is_one_hash: false,
            }
        }
    };
    Ok(Some((bound, access)))
}

fn route(workers: &[WorkerPieces], total: usize, is_point: bool, what: String, bound: Vec<String>) -> Route {
    let mut read: Vec<_> = workers.iter().flat_map(|w| w.pieces.iter().map(|p| p.partition.id)).collect();
    read.sort_unstable();
    read.dedup();
    let kind = match read.len() {
        1 if is_point => RouteKind::Point,
        read if read < total => RouteKind::Range,
        _ => RouteKind::Scatter,
    };
    let why = if read.len() < total {
        format!("pruned by the condition on {}", bound.join(", "))
    } else if bound.is_empty() {
        "no condition on the partition columns".into()
    } else {
        format!("the condition on {} leaves all partitions", bound.join(", "))
    };
    Route { kind, read: read.len(), total, workers: workers.len(), what, why }
}

/// A partition as requests name it.
pub fn partition_ref(partition: &catalog::objects::Partition) -> PartitionRef {
    PartitionRef { id: partition.id, epoch: partition.epoch, group: partition.group }
}

fn add(workers: &mut Vec<WorkerPieces>, worker: WorkerId, piece: ScanPiece) {
    match workers.iter_mut().find(|w| w.worker == worker) {
        Some(found) => found.pieces.push(piece),
        None => workers.push(WorkerPieces { worker, pieces: vec![piece] }),
    }
}

/// The pieces of ranges of a relation's own keys.
fn pieces(map: &PartitionMap, bounds: &Bounds, ranges: &[KeyRange]) -> Vec<WorkerPieces> {
    let mut workers = Vec::new();
    for range in ranges {
        for at in bounds.overlapping(range) {
            let partition = &map.partitions[at];
            let part = bounds.range(at).intersect(range);
            add(&mut workers, partition.worker, ScanPiece { partition: partition_ref(partition), lo: part.lo, hi: part.hi });
        }
    }
    workers
}

/// The pieces of ranges of a local index, in the table's partitions that the row ranges leave.
fn index_pieces(map: &PartitionMap, bounds: &Bounds, rows: &[KeyRange], entries: &[KeyRange]) -> Vec<WorkerPieces> {
    let mut wanted: Vec<usize> = rows.iter().flat_map(|range| bounds.overlapping(range)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let mut workers = Vec::new();
    for at in wanted {
        let partition = &map.partitions[at];
        for range in entries {
            let piece = ScanPiece { partition: partition_ref(partition), lo: range.lo.clone(), hi: range.hi.clone() };
            add(&mut workers, partition.worker, piece);
        }
    }
    workers
}
