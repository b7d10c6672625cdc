//! How many rows and bytes each partition has, for the planner and the balancer.
//!
//! A partition is counted by a scan when somebody first asks, and every commit adds its difference from then on. A write that did not read what it
//! replaced cannot tell its difference; when such writes have become many, the partition is counted again. A count is an estimate: changes that are
//! committed while it runs may be counted once, twice or not at all.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::ids::{OwnWrites, PartitionId, RelationId, Timestamp};
use parking_lot::Mutex;
use rpc::worker_api::PartitionSize;
use storage::{ScanEnd, ScanRange};

use crate::core::{Core, OwnedPartition};
use crate::error::{Result, WorkerError};

/// How long an asker waits for a first count before it gets what has been counted so far.
const FIRST_COUNT_WAIT: Duration = Duration::from_millis(200);
/// A running count is published after this many rows.
const PUBLISH_ROWS: u64 = 4_096;
/// Counting again takes at most this part of the time.
const PAUSE_FACTOR: u32 = 20;
/// Uncertain writes that are never a reason to count again.
const UNCERTAIN_MIN: u64 = 1_000;
/// Undecided transactions that a count meets in one step before it gives up.
const UNDECIDED_MAX: u32 = 16;

/// What writes change.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct SizeChange {
    rows: i64,
    bytes: i64,
    /// Writes that did not know what was there before.
    uncertain: u64,
}

impl SizeChange {
    /// Adds one write.
    pub(crate) fn count(&mut self, old_is_known: bool, key: &Bytes, old: Option<&Bytes>, new: Option<&Bytes>) {
        let size = |row: Option<&Bytes>| row.map_or(0, |row| i64::try_from(row.len() + key.len()).unwrap_or(i64::MAX));
        self.rows += i64::from(new.is_some()) - i64::from(old.is_some());
        self.bytes += size(new) - size(old);
        self.uncertain += u64::from(!old_is_known);
    }
}

#[derive(Clone, Copy, Default, Debug)]
struct Known {
    size: PartitionSize,
    uncertain: u64,
    counting: bool,
    complete: bool,
    /// Not counted again before.
    next: Duration,
}

/// The sizes that somebody has asked for.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    known: Mutex<HashMap<PartitionId, Known>>,
}

impl Sizes {
    /// Adds what a commit changed.
    pub(crate) fn add(&self, changes: &[(PartitionId, SizeChange)]) {
        let mut known = self.known.lock();
        if known.is_empty() {
            return;
        }
        for (partition, change) in changes {
            if let Some(known) = known.get_mut(partition) {
                known.size.rows = known.size.rows.saturating_add_signed(change.rows);
                known.size.bytes = known.size.bytes.saturating_add_signed(change.bytes);
                known.uncertain += change.uncertain;
            }
        }
    }

    /// Forgets partitions that are gone.
    pub(crate) fn retain(&self, is_there: impl Fn(PartitionId) -> bool) {
        self.known.lock().retain(|partition, _| is_there(*partition));
    }

    /// Whether the partition must be counted; marks that it is being.
    fn claim(&self, partition: PartitionId, now: Duration) -> bool {
        let mut known = self.known.lock();
        let known = known.entry(partition).or_default();
        let is_due = !known.complete || (known.uncertain > UNCERTAIN_MIN.max(known.size.rows / 10) && now >= known.next);
        let claimed = is_due && !known.counting;
        known.counting |= claimed;
        claimed
    }

    fn get(&self, partition: PartitionId) -> Known {
        self.known.lock().get(&partition).copied().unwrap_or_default()
    }
}

/// The sizes of partitions of this worker; nothing for others.
pub(crate) async fn sizes(core: &Arc<Core>, asked: Vec<(RelationId, PartitionId)>) -> Vec<PartitionSize> {
    let state = core.cache.current();
    let mut counts = Vec::new();
    for &(relation, partition) in &asked {
        let Some(owned) = core.owned(&state, relation).into_iter().find(|p| p.id == partition) else { continue };
        if core.sizes.claim(partition, core.clock.monotonic()) {
            let core = Arc::clone(core);
            counts.push(tokio::task::spawn_blocking(move || count(&core, relation, &owned)));
        }
    }
    if !counts.is_empty() {
        // Not in time: what has been counted so far is answered.
        let _late = tokio::time::timeout(FIRST_COUNT_WAIT, futures::future::join_all(counts)).await;
    }
    asked.into_iter().map(|(_, partition)| core.sizes.get(partition).size).collect()
}

fn count(core: &Core, relation: RelationId, partition: &OwnedPartition) {
    let began = core.clock.monotonic();
    core.sizes.known.lock().entry(partition.id).or_default().uncertain = 0;
    let first = !core.sizes.get(partition.id).complete;
    let mut size = PartitionSize::default();
    let mut lo = Some(partition.range.lo.clone());
    while let Some(from) = lo {
        let (chunk, next) = match count_chunk(core, relation, partition, &from) {
            Ok(counted) => counted,
            Err(error) => {
                tracing::warn!(%error, partition = %partition.id, "a partition could not be counted");
                core.sizes.known.lock().entry(partition.id).or_default().counting = false;
                return;
            }
        };
        size.rows += chunk.rows;
        size.bytes += chunk.bytes;
        if first || next.is_none() {
            core.sizes.known.lock().entry(partition.id).or_default().size = size;
        }
        lo = next;
    }
    let now = core.clock.monotonic();
    let mut known = core.sizes.known.lock();
    let known = known.entry(partition.id).or_default();
    known.counting = false;
    known.complete = true;
    known.next = now + now.saturating_sub(began) * PAUSE_FACTOR;
}

/// Counts some rows; answers where to go on. A transaction that is not decided is taken as committed: this is an estimate.
fn count_chunk(core: &Core, relation: RelationId, partition: &OwnedPartition, lo: &[u8]) -> Result<(PartitionSize, Option<Bytes>)> {
    let view = core.engine.view(partition.group);
    let range = ScanRange { relation, lo, hi: partition.range.hi.as_deref(), reverse: false };
    let mut own = None;
    for _ in 0..UNDECIDED_MAX {
        let (mut size, mut last) = (PartitionSize::default(), None);
        let end = view.scan(range, Timestamp::MAX, own, &mut |key, _, value| {
            size.rows += 1;
            size.bytes += (key.len() + value.len()) as u64;
            if size.rows < PUBLISH_ROWS {
                return ControlFlow::Continue(());
            }
            last = Some(after(key));
            ControlFlow::Break(())
        })?;
        match end {
            ScanEnd::Done => return Ok((size, None)),
            ScanEnd::Stopped => return Ok((size, last)),
            ScanEnd::Undecided(transaction) => own = Some(OwnWrites::all(transaction)),
        }
    }
    Err(WorkerError::Undecided(own.map(|own| own.transaction).unwrap_or_default()))
}

/// The least key above `key`.
pub(crate) fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}
