//! Point reads and short scans.
//!
//! A read at a snapshot first waits until the commits at or below it are applied ([`Core::settle`]); one that meets a transaction that has voted and is
//! not decided waits for its outcome and reads again. The newest state needs no wait: what was answered as committed is applied.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use common::ids::{RelationId, Timestamp, TransactionId};
use partition::range::{KeyRange, successor};
use rpc::worker_api::{FoundRow, GetRequest, RangeRequest, RangeResponse};
use storage::{Engine, ReadOutcome, ScanEnd, ScanRange};

use crate::core::{Core, OwnedPartition, is_local_index};
use crate::entries::{PARTITION_PREFIX, partition_prefix, with_prefix};
use crate::error::{Result, WorkerError};
use crate::sizes::after;

/// More keys, or a higher limit, than this are read away from the runtime's threads.
const INLINE_ROWS: usize = 256;
/// A short scan gives no more rows than this, whatever its limit.
const RANGE_ROWS_MAX: usize = 65_536;
/// Nor more bytes.
const RANGE_BYTES_MAX: usize = 32 << 20;

/// Runs a read: here when it is short, on a thread that may block otherwise.
pub(crate) async fn read<T: Send + 'static>(is_short: bool, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    if is_short {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(|error| WorkerError::Background(error.to_string()))?
}

impl Core {
    /// See [`rpc::worker_api::WorkerApi::get`].
    pub(crate) async fn get(self: &Arc<Self>, request: GetRequest) -> Result<Vec<Option<FoundRow>>> {
        let at = self.admit_reads(&request.context, request.relation, request.partition).await?;
        let mut rows = Vec::with_capacity(request.keys.len());
        let is_short = request.keys.len() <= INLINE_ROWS;
        let request = Arc::new(request);
        while rows.len() < request.keys.len() {
            let (engine, request, mut found) = (Arc::clone(&self.engine), Arc::clone(&request), std::mem::take(&mut rows));
            let undecided;
            (rows, undecided) = read(is_short, move || {
                let undecided = get_some(&engine, &request, at, &mut found)?;
                Ok((found, undecided))
            })
            .await?;
            if let Some(transaction) = undecided {
                self.resolve(transaction).await?;
            }
        }
        Ok(rows)
    }

    /// See [`rpc::worker_api::WorkerApi::range`].
    pub(crate) async fn range(self: &Arc<Self>, mut request: RangeRequest) -> Result<RangeResponse> {
        let at = self.admit_reads(&request.context, request.relation, request.partition).await?;
        let prefix = if is_local_index(&self.cache.current(), request.relation) { PARTITION_PREFIX } else { 0 };
        if prefix > 0 {
            let partition = request.partition.id;
            request.lo = with_prefix(partition, &request.lo);
            request.hi = request.hi.map_or_else(|| successor(&partition_prefix(partition)), |hi| Some(with_prefix(partition, &hi)));
        }
        if prefix == 0 {
            self.clip(&mut request);
        }
        let limit = usize::try_from(request.limit).unwrap_or(usize::MAX).min(RANGE_ROWS_MAX);
        let mut response = RangeResponse::default();
        loop {
            let (engine, asked, mut found) = (Arc::clone(&self.engine), request.clone(), std::mem::take(&mut response));
            let end;
            (response, end) = read(limit <= INLINE_ROWS, move || {
                let end = range_some(&engine, &asked, at, limit, &mut found)?;
                Ok((found, end))
            })
            .await?;
            let Some(transaction) = end else { break };
            if let Some((last, _)) = response.rows.last() {
                if request.reverse {
                    request.hi = Some(last.clone());
                } else {
                    request.lo = after(last);
                }
            }
            self.resolve(transaction).await?;
        }
        if prefix > 0 {
            for (key, _) in &mut response.rows {
                *key = key.slice(prefix.min(key.len())..);
            }
        }
        Ok(response)
    }
}

impl Core {
    /// Keeps a request within its partition: other partitions of the relation may lie beside it in the same group.
    fn clip(&self, request: &mut RangeRequest) {
        let state = self.cache.current();
        let (Some(map), Some(bounds)) = (state.partition_map(request.relation), state.bounds(request.relation)) else { return };
        let Some(at) = map.partitions.iter().position(|p| p.id == request.partition.id) else { return };
        let range = bounds.range(at).intersect(&KeyRange { lo: request.lo.clone(), hi: request.hi.clone() });
        (request.lo, request.hi) = (range.lo, range.hi);
    }
}

/// Reads on until a transaction must be resolved.
fn get_some(engine: &Engine, request: &GetRequest, at: Timestamp, rows: &mut Vec<Option<FoundRow>>) -> Result<Option<TransactionId>> {
    let view = engine.view(request.partition.group);
    for key in &request.keys[rows.len()..] {
        rows.push(match view.get(request.relation, key, at, request.context.own)? {
            ReadOutcome::Missing => None,
            ReadOutcome::Row { version, value } => Some(FoundRow { version, row: value }),
            ReadOutcome::Undecided(transaction) => return Ok(Some(transaction)),
        });
    }
    Ok(None)
}

/// Scans on until the limit, the end, or a transaction that must be resolved.
fn range_some(
    engine: &Engine,
    request: &RangeRequest,
    at: Timestamp,
    limit: usize,
    response: &mut RangeResponse,
) -> Result<Option<TransactionId>> {
    let range = ScanRange { relation: request.relation, lo: &request.lo, hi: request.hi.as_deref(), reverse: request.reverse };
    let mut bytes = response.rows.iter().map(|(key, found)| key.len() + found.row.len()).sum::<usize>();
    let end = engine.view(request.partition.group).scan(range, at, request.context.own, &mut |key, version, value| {
        if response.rows.len() >= limit || bytes > RANGE_BYTES_MAX {
            response.more = true;
            return ControlFlow::Break(());
        }
        bytes += key.len() + value.len();
        response.rows.push((Bytes::copy_from_slice(key), FoundRow { version, row: Bytes::copy_from_slice(value) }));
        ControlFlow::Continue(())
    })?;
    Ok(match end {
        ScanEnd::Undecided(transaction) => Some(transaction),
        ScanEnd::Done | ScanEnd::Stopped => None,
    })
}

/// Rows in the order of their keys.
pub(crate) struct Rows {
    pub(crate) rows: Vec<(Bytes, Timestamp, Bytes)>,
    /// Where to go on.
    pub(crate) next: Option<Bytes>,
}

/// Rows of one [`Rows`].
const CHUNK_ROWS: usize = 1_024;
/// Their bytes, roughly.
const CHUNK_BYTES: usize = 1 << 20;

impl Core {
    /// Some rows of a partition from `lo` on.
    pub(crate) async fn rows(self: &Arc<Self>, relation: RelationId, partition: &OwnedPartition, lo: Bytes, at: Timestamp) -> Result<Rows> {
        loop {
            let (engine, partition, lo) = (Arc::clone(&self.engine), partition.clone(), lo.clone());
            let (rows, undecided) = read(false, move || rows_from(&engine, relation, &partition, &lo, at)).await?;
            match undecided {
                Some(transaction) if rows.rows.is_empty() => self.resolve(transaction).await?,
                _ => return Ok(rows),
            }
        }
    }
}

fn rows_from(
    engine: &Engine,
    relation: RelationId,
    partition: &OwnedPartition,
    lo: &[u8],
    at: Timestamp,
) -> Result<(Rows, Option<TransactionId>)> {
    let mut rows: Vec<(Bytes, Timestamp, Bytes)> = Vec::new();
    let mut bytes = 0;
    let range = ScanRange { relation, lo, hi: partition.range.hi.as_deref(), reverse: false };
    let end = engine.view(partition.group).scan(range, at, None, &mut |key, version, row| {
        bytes += key.len() + row.len();
        rows.push((Bytes::copy_from_slice(key), version, Bytes::copy_from_slice(row)));
        if rows.len() < CHUNK_ROWS && bytes < CHUNK_BYTES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    let next =
        if end == ScanEnd::Done { None } else { Some(rows.last().map_or_else(|| Bytes::copy_from_slice(lo), |(key, ..)| after(key))) };
    let undecided = if let ScanEnd::Undecided(transaction) = end { Some(transaction) } else { None };
    Ok((Rows { rows, next }, undecided))
}
