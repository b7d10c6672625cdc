//! Scans of stored rows as column batches: what a plan's leaf reads on this worker.
//!
//! A scan of a table takes whole batches where the storage has columns ([`storage::View::scan_columns`]); everything else is collected row by row.
//! Batches are made on threads that may block, one call for each batch, so that a long scan takes no thread of the runtime and ends as soon as
//! nobody polls it. A scan that meets an undecided transaction gives the rows before it, waits for the outcome, and goes on behind the last row.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use common::error::{Report, SqlError};
use common::ids::{GroupId, OwnWrites, RelationId, Timestamp, TransactionId};
use common::row::{Field as StoredField, RowError, RowReader};
use common::types::Scalar;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use partition::range::{KeyRange, successor};
use query::scan::{AccessPath, ScanColumn, ScanSource, ScanSpec};
use rpc::worker_api::{ReadAt, ReadContext};
use storage::{Piece, Progress, ReadOutcome, RowColumn, RowColumns, RowLayout, ScanEnd, ScanRange, View};

use crate::core::Core;
use crate::entries::{partition_prefix, with_prefix};
use crate::error::{Result, WorkerError};
use crate::reads::read;
use crate::sizes::after;

/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;
/// Stored bytes of a batch, roughly.
const BATCH_BYTES: usize = 8 << 20;
/// Batches that are taken ahead where the storage has their columns: most of them are the storage's own memory.
const READY_MAX: usize = 4;
/// A scan that met so many single rows is slowed down by memtables.
const SINGLE_ROWS_MANY: usize = 32_768;
/// A scan that wants no more rows than this is run where it is polled.
const INLINE_ROWS: usize = 128;

/// Reads this worker's storage for plans.
#[derive(Clone, Debug)]
pub(crate) struct StorageScan {
    core: Arc<Core>,
}

impl StorageScan {
    pub(crate) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core) }
    }

    fn scan(&self, spec: &ScanSpec, stream: usize, context: ReadContext, schema: &SchemaRef) -> Result<Scan> {
        let pieces = spec.streams.get(stream).ok_or_else(|| Report::internal("a scan has fewer streams than its plan"))?;
        let state = self.core.cache.current();
        let index = match spec.access {
            AccessPath::Table => None,
            AccessPath::LocalIndex { storage, .. } => Some(storage),
        };
        let bounds = state.bounds(spec.storage);
        let whole = |lo: &Bytes, hi: &Option<Bytes>| {
            let range = KeyRange { lo: lo.clone(), hi: hi.clone() };
            bounds.as_ref().is_some_and(|bounds| bounds.overlapping(&range).all(|at| bounds.range(at) == range))
        };
        let mut places = VecDeque::with_capacity(pieces.len());
        for piece in pieces {
            self.core.check(&state, spec.storage, piece.partition)?;
            let partition = piece.partition.id;
            let (lo, hi) = match index {
                None => (piece.lo.clone(), piece.hi.clone()),
                Some(_) => {
                    let end = || successor(&partition_prefix(partition));
                    (with_prefix(partition, &piece.lo), piece.hi.as_ref().map_or_else(end, |hi| Some(with_prefix(partition, hi))))
                }
            };
            let progress = Progress::new(whole(&lo, &hi));
            let place = Place { group: piece.partition.group, lo, hi, progress };
            if spec.reverse { places.push_front(place) } else { places.push_back(place) }
        }
        Ok(Scan {
            core: Arc::clone(&self.core),
            table: spec.storage,
            index,
            places,
            view: None,
            at: context.at,
            settled: None,
            own: context.own,
            reverse: spec.reverse,
            remaining: spec.limit.unwrap_or(usize::MAX),
            by_columns: index.is_none() && !spec.reverse && spec.limit.is_none(),
            columns: Columns::new(spec, schema)?,
            single_rows: 0,
            ready: VecDeque::new(),
            last: Vec::new(),
        })
    }
}

impl ScanSource for StorageScan {
    fn open(
        &self,
        spec: &ScanSpec,
        stream: usize,
        context: ReadContext,
        schema: SchemaRef,
        _task: &TaskContext,
    ) -> datafusion::error::Result<SendableRecordBatchStream> {
        let scan = self.scan(spec, stream, context, &schema).map_err(to_datafusion)?;
        let batches = futures::stream::try_unfold(Box::new(scan), |scan| async { Scan::next(scan).await.map_err(to_datafusion) });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

fn to_datafusion(error: WorkerError) -> DataFusionError {
    DataFusionError::External(Box::new(error.report()))
}

/// What remains to be read of one piece.
struct Place {
    group: GroupId,
    lo: Bytes,
    hi: Option<Bytes>,
    progress: Progress,
}

/// Why a batch ended.
enum Filled {
    Full,
    Undecided(TransactionId),
    Ended,
}

/// One stream of a scan.
struct Scan {
    core: Arc<Core>,
    table: RelationId,
    /// The key space of the local index through which rows are found.
    index: Option<RelationId>,
    places: VecDeque<Place>,
    /// Of the first place's group: one state for the whole piece, whatever it reads at.
    view: Option<View>,
    at: ReadAt,
    /// Where it reads, once all that it must see is there.
    settled: Option<Timestamp>,
    own: Option<OwnWrites>,
    reverse: bool,
    remaining: usize,
    /// Whether columns are asked for.
    by_columns: bool,
    columns: Columns,
    /// Rows that did not come as columns.
    single_rows: usize,
    /// Batches that wait for being asked for.
    ready: VecDeque<RecordBatch>,
    /// The last key that was visited.
    last: Vec<u8>,
}

impl Scan {
    async fn next(mut self: Box<Self>) -> Result<Option<(RecordBatch, Box<Self>)>> {
        if self.settled.is_none() {
            self.settled = Some(self.core.settle(self.at).await?);
        }
        loop {
            if let Some(batch) = self.ready.pop_front() {
                return Ok(Some((batch, self)));
            }
            if self.places.is_empty() || self.remaining == 0 {
                return Ok(None);
            }
            let is_short = self.remaining <= INLINE_ROWS;
            let filled;
            (self, filled) = read(is_short, move || {
                let filled = self.fill()?;
                Ok((self, filled))
            })
            .await?;
            if self.columns.rows() > 0 {
                let batch = self.columns.finish()?;
                self.ready.push_back(batch);
            }
            if !self.ready.is_empty() {
                // An undecided transaction is met again by the next call.
                continue;
            }
            match filled {
                Filled::Full => {}
                Filled::Ended => return Ok(None),
                Filled::Undecided(transaction) => {
                    self.core.resolve(transaction).await?;
                    self.view = None;
                }
            }
        }
    }

    /// Collects rows until the batch is full.
    fn fill(&mut self) -> Result<Filled> {
        while !self.places.is_empty() {
            if self.columns.rows() >= BATCH_ROWS || self.ready.len() >= READY_MAX {
                return Ok(Filled::Full);
            }
            match self.fill_from_first()? {
                ScanEnd::Undecided(transaction) => return Ok(Filled::Undecided(transaction)),
                ScanEnd::Stopped => return Ok(Filled::Full),
                ScanEnd::Done => {
                    let single_rows = self.places.pop_front().map_or(0, |place| place.progress.single_rows());
                    if self.single_rows < SINGLE_ROWS_MANY && self.single_rows + single_rows >= SINGLE_ROWS_MANY {
                        self.core.engine.fold_soon();
                    }
                    self.single_rows += single_rows;
                    self.view = None;
                }
            }
        }
        Ok(Filled::Ended)
    }

    /// Collects rows of the first place.
    fn fill_from_first(&mut self) -> Result<ScanEnd> {
        let at = self.settled.unwrap_or(Timestamp::MAX);
        let Some(place) = self.places.front_mut() else { return Ok(ScanEnd::Done) };
        let view = self.view.get_or_insert_with(|| self.core.engine.view(place.group));
        let mut visit = Visit {
            view,
            table: self.table,
            at,
            own: self.own,
            limit: self.remaining.min(BATCH_ROWS - self.columns.rows()),
            columns: &mut self.columns,
            ready: &mut self.ready,
            last: &mut self.last,
            next: None,
            bytes: 0,
            visited: 0,
            taken: 0,
            undecided: None,
            failure: None,
        };
        let range = ScanRange { relation: self.index.unwrap_or(self.table), lo: &place.lo, hi: place.hi.as_deref(), reverse: self.reverse };
        let end = if self.by_columns {
            let layout = Arc::clone(&visit.columns.layout);
            view.scan_columns(range, (at, self.own), &layout, &mut place.progress, &mut |piece| visit.piece(piece))?
        } else if self.index.is_some() {
            view.scan(range, at, self.own, &mut |key, _, value| visit.entry(key, value))?
        } else {
            view.scan(range, at, self.own, &mut |key, version, value| visit.row(key, version, value))?
        };
        let Visit { next, visited, taken, undecided, failure, .. } = visit;
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.remaining = self.remaining.saturating_sub(taken);
        if let Some(next) = next {
            place.lo = next;
        } else if visited > 0 && self.reverse {
            place.hi = Some(Bytes::copy_from_slice(&self.last));
        } else if visited > 0 {
            place.lo = after(&self.last);
        }
        Ok(undecided.map_or(end, ScanEnd::Undecided))
    }
}

/// Takes the rows of one call of [`View::scan`].
struct Visit<'a> {
    view: &'a View,
    table: RelationId,
    at: Timestamp,
    own: Option<OwnWrites>,
    limit: usize,
    columns: &'a mut Columns,
    ready: &'a mut VecDeque<RecordBatch>,
    last: &'a mut Vec<u8>,
    /// Where the scan goes on, when the last that came were columns.
    next: Option<Bytes>,
    bytes: usize,
    visited: usize,
    taken: usize,
    undecided: Option<TransactionId>,
    failure: Option<WorkerError>,
}

impl Visit<'_> {
    #[inline]
    fn piece(&mut self, piece: Piece<'_>) -> ControlFlow<()> {
        match piece {
            Piece::Row { key, version, value } => {
                self.next = None;
                self.row(key, version, value)
            }
            Piece::Columns { columns, rows, next } => match self.batches(columns, rows) {
                Ok(()) => {
                    self.taken += rows;
                    self.next = Some(Bytes::copy_from_slice(next));
                    // The rows before are a batch of their own now.
                    self.limit = self.taken + BATCH_ROWS;
                    self.bytes = 0;
                    if self.ready.len() < READY_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                }
                Err(error) => {
                    self.failure = Some(error);
                    ControlFlow::Break(())
                }
            },
        }
    }

    /// Takes columns behind the rows that were collected.
    fn batches(&mut self, columns: Vec<ArrayRef>, rows: usize) -> Result<()> {
        if self.columns.rows() > 0 {
            let batch = self.columns.finish()?;
            self.ready.push_back(batch);
        }
        let batch = self.columns.batch(columns, rows)?;
        self.ready.push_back(batch);
        Ok(())
    }

    #[inline]
    fn row(&mut self, key: &[u8], version: Timestamp, row: &[u8]) -> ControlFlow<()> {
        if let Err(error) = self.columns.append(key, version, row) {
            self.failure = Some(error);
            return ControlFlow::Break(());
        }
        self.taken += 1;
        self.bytes += row.len();
        self.pass(key)
    }

    fn pass(&mut self, key: &[u8]) -> ControlFlow<()> {
        self.visited += 1;
        self.last.clear();
        self.last.extend_from_slice(key);
        if self.taken < self.limit && self.bytes < BATCH_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// An index entry: the row is read beside it.
    fn entry(&mut self, entry_key: &[u8], entry: &[u8]) -> ControlFlow<()> {
        let found = stored_key(entry).and_then(|key| Ok((key, self.view.get(self.table, key, self.at, self.own)?)));
        match found {
            Err(error) => {
                self.failure = Some(error);
                ControlFlow::Break(())
            }
            Ok((_, ReadOutcome::Undecided(transaction))) => {
                self.undecided = Some(transaction);
                ControlFlow::Break(())
            }
            Ok((_, ReadOutcome::Missing)) => self.pass(entry_key),
            Ok((key, ReadOutcome::Row { version, value })) => {
                if let Err(error) = self.columns.append(key, version, &value) {
                    self.failure = Some(error);
                    return ControlFlow::Break(());
                }
                self.taken += 1;
                self.bytes += value.len();
                self.pass(entry_key)
            }
        }
    }
}

/// The table key in an entry's value, without a copy.
pub(crate) fn stored_key(entry: &[u8]) -> Result<&[u8]> {
    match RowReader::new(entry)?.next_field(Scalar::Bytea.into())? {
        Some(StoredField::Bytea(key)) => Ok(key),
        _ => Err(RowError::Malformed("index entry without a table key").into()),
    }
}

/// The output columns while a batch is collected.
struct Columns {
    schema: SchemaRef,
    layout: Arc<RowLayout>,
    rows: RowColumns,
}

impl Columns {
    fn new(spec: &ScanSpec, schema: &SchemaRef) -> Result<Self> {
        if schema.fields().len() != spec.columns.len() {
            return Err(Report::internal("a scan's schema does not have its columns").into());
        }
        let column = |column: &ScanColumn| match *column {
            ScanColumn::RowKey => Ok(RowColumn::Key),
            ScanColumn::RowVersion => Ok(RowColumn::Version),
            ScanColumn::Stored(place) if place < spec.row_types.len() => Ok(RowColumn::Stored(place)),
            ScanColumn::Stored(_) => Err(Report::internal("a scan wants a column that rows do not have")),
        };
        let columns = spec.columns.iter().map(column).collect::<std::result::Result<_, _>>()?;
        let layout = RowLayout { types: spec.row_types.clone(), missing: spec.missing.clone(), columns };
        let rows = RowColumns::new(&layout);
        Ok(Self { schema: Arc::clone(schema), layout: Arc::new(layout), rows })
    }

    fn rows(&self) -> usize {
        self.rows.rows()
    }

    #[inline]
    fn append(&mut self, key: &[u8], version: Timestamp, row: &[u8]) -> Result<()> {
        Ok(self.rows.append(key, version, row)?)
    }

    fn finish(&mut self) -> Result<RecordBatch> {
        let (columns, rows) = self.rows.finish()?;
        self.batch(columns, rows)
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| Report::internal(format!("a scan's batch is not valid: {error}")).into())
    }
}
