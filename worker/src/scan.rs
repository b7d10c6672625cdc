//! Scans of stored rows as column batches: what a plan's leaf reads on this worker.
//!
//! Batches are made on threads that may block, one call for each batch, so that a long scan takes no thread of the runtime and ends as soon as
//! nobody polls it. A scan that meets an undecided transaction gives the rows before it, waits for the outcome, and goes on behind the last row.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatch, RecordBatchOptions, UInt64Builder};
use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;
use common::columns::BatchBuilder;
use common::error::{Report, SqlError};
use common::ids::{GroupId, OwnWrites, RelationId, Timestamp, TransactionId};
use common::row::{Field as StoredField, RowError, RowReader};
use common::types::Scalar;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use partition::range::successor;
use query::scan::{AccessPath, ScanColumn, ScanSource, ScanSpec};
use rpc::worker_api::{ReadAt, ReadContext};
use storage::{ReadOutcome, ScanEnd, ScanRange, View};

use crate::core::Core;
use crate::entries::{partition_prefix, with_prefix};
use crate::error::{Result, WorkerError};
use crate::reads::read;
use crate::sizes::after;

/// Rows of a batch.
const BATCH_ROWS: usize = 8_192;
/// Stored bytes of a batch, roughly.
const BATCH_BYTES: usize = 8 << 20;
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
            let place = Place { group: piece.partition.group, lo, hi };
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
            columns: Columns::new(spec, schema)?,
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
    columns: Columns,
    /// The last key that was visited.
    last: Vec<u8>,
}

impl Scan {
    async fn next(mut self: Box<Self>) -> Result<Option<(RecordBatch, Box<Self>)>> {
        if self.settled.is_none() {
            self.settled = Some(self.core.settle(self.at).await?);
        }
        loop {
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
                // An undecided transaction is met again by the next call.
                let batch = self.columns.finish()?;
                return Ok(Some((batch, self)));
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
        let at = self.settled.unwrap_or(Timestamp::MAX);
        while let Some(place) = self.places.front_mut() {
            let view = self.view.get_or_insert_with(|| self.core.engine.view(place.group));
            let mut visit = Visit {
                view,
                table: self.table,
                at,
                own: self.own,
                limit: self.remaining.min(BATCH_ROWS - self.columns.rows()),
                columns: &mut self.columns,
                last: &mut self.last,
                bytes: 0,
                visited: 0,
                taken: 0,
                undecided: None,
                failure: None,
            };
            let range =
                ScanRange { relation: self.index.unwrap_or(self.table), lo: &place.lo, hi: place.hi.as_deref(), reverse: self.reverse };
            let through_index = self.index.is_some();
            let end = view.scan(range, at, self.own, &mut |key, version, value| {
                if through_index { visit.entry(key, value) } else { visit.row(key, version, value) }
            })?;
            let Visit { visited, taken, undecided, failure, .. } = visit;
            if let Some(failure) = failure {
                return Err(failure);
            }
            self.remaining -= taken;
            if visited > 0 && self.reverse {
                place.hi = Some(Bytes::copy_from_slice(&self.last));
            } else if visited > 0 {
                place.lo = after(&self.last);
            }
            match (undecided, end) {
                (Some(transaction), _) | (None, ScanEnd::Undecided(transaction)) => return Ok(Filled::Undecided(transaction)),
                (None, ScanEnd::Stopped) => return Ok(Filled::Full),
                (None, ScanEnd::Done) => {
                    self.places.pop_front();
                    self.view = None;
                }
            }
        }
        Ok(Filled::Ended)
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
    last: &'a mut Vec<u8>,
    bytes: usize,
    visited: usize,
    taken: usize,
    undecided: Option<TransactionId>,
    failure: Option<WorkerError>,
}

impl Visit<'_> {
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

/// Where an output column comes from.
enum Source {
    Stored(usize),
    Key,
    Version,
}

/// The output columns while a batch is collected.
struct Columns {
    schema: SchemaRef,
    sources: Vec<Source>,
    stored: BatchBuilder,
    keys: Option<BinaryBuilder>,
    versions: Option<UInt64Builder>,
}

impl Columns {
    fn new(spec: &ScanSpec, schema: &SchemaRef) -> Result<Self> {
        if schema.fields().len() != spec.columns.len() {
            return Err(Report::internal("a scan's schema does not have its columns").into());
        }
        let (mut projection, mut fields, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        for (column, field) in spec.columns.iter().zip(schema.fields()) {
            sources.push(match *column {
                ScanColumn::RowKey => Source::Key,
                ScanColumn::RowVersion => Source::Version,
                ScanColumn::Stored(place) => {
                    let ty = spec.row_types.get(place).ok_or_else(|| Report::internal("a scan wants a column that rows do not have"))?;
                    Source::Stored(projection.iter().position(|p| *p == place).unwrap_or_else(|| {
                        projection.push(place);
                        fields.push(Field::new(field.name(), ty.arrow(), true));
                        projection.len() - 1
                    }))
                }
            });
        }
        let stored = BatchBuilder::new(spec.row_types.clone(), spec.missing.clone(), &projection, Arc::new(Schema::new(fields)));
        let keys = spec.columns.contains(&ScanColumn::RowKey).then(BinaryBuilder::new);
        let versions = spec.columns.contains(&ScanColumn::RowVersion).then(UInt64Builder::new);
        Ok(Self { schema: Arc::clone(schema), sources, stored, keys, versions })
    }

    fn rows(&self) -> usize {
        self.stored.len()
    }

    #[inline]
    fn append(&mut self, key: &[u8], version: Timestamp, row: &[u8]) -> Result<()> {
        self.stored.append(row)?;
        if let Some(keys) = &mut self.keys {
            keys.append_value(key);
        }
        if let Some(versions) = &mut self.versions {
            versions.append_value(version.0);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<RecordBatch> {
        let invalid =
            |error: arrow::error::ArrowError| WorkerError::from(Report::internal(format!("a scan's batch is not valid: {error}")));
        let stored = self.stored.finish().map_err(invalid)?;
        let keys: Option<ArrayRef> = self.keys.as_mut().map(|keys| Arc::new(keys.finish()) as ArrayRef);
        let versions: Option<ArrayRef> = self.versions.as_mut().map(|versions| Arc::new(versions.finish()) as ArrayRef);
        let column = |source: &Source| match source {
            Source::Stored(place) => Arc::clone(stored.column(*place)),
            Source::Key => keys.clone().expect("made with the sources"),
            Source::Version => versions.clone().expect("made with the sources"),
        };
        let columns = self.sources.iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(stored.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(invalid)
    }
}
