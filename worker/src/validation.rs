//! Serializable transactions: what one has read still holds when it commits.
//!
//! # The idea
//!
//! Serializable transactions read at one snapshot and are put in the order of their commit timestamps. That order explains what a transaction X
//! (snapshot sX, commit cX) has read if no other serializable transaction Y with sX < cY < cX has written into what X has read: then X would
//! have read the same just before cX. So the commit looks for such a Y, and gives way (40001) if there may be one. Conditions that found no rows are
//! covered, because what is remembered of a read is the range of keys that was looked at, not the rows that were there.
//!
//! # The steps, at each worker that X has touched
//!
//! 1. X *enters*: under one mutex its reads are compared with the writes of those who have entered before, and its writes with their reads. Without a
//!    common key it is among them from now on, until its outcome is applied here. With one, it waits for the outcome of who is older than itself
//!    (its id is smaller), within limits, and compares again; because of who is younger it fails. So nobody waits in a circle, and whoever begins after
//!    another was acknowledged never fails because of it: the decision may just not have arrived. A lock alone is no reason to wait or fail:
//!    who has not begun to commit has not entered.
//! 2. The rows themselves are asked whether anybody has committed, or has voted for, a change of what X has read after sX.
//! 3. The commit or the vote goes to the log, which gives it its timestamp.
//!
//! # Why no Y is missed
//!
//! Let Y write, on this worker, into what X has read, and commit with sX < cY < cX. Y enters here before its timestamp here is taken, and leaves when
//! its outcome is applied. While X is there, Y is not, as one of them would have failed. If Y had left before X came, step 2 has seen its change. If Y
//! came after X had left, X's outcome was applied and cX known, so Y's timestamp, which the oracle gave
//! later, is above cX: no such Y.
//!
//! # Who only reads
//!
//! A transaction that has written nothing is put at its snapshot s: as everybody else is in the order of commit timestamps, what it sees (all commits at
//! or below s, votes at or below s waited for) is exactly what is before it in that order. It commits without a word to anybody. Real time
//! is kept too: a timestamp that the oracle gives is above those of all commits that were acknowledged before.
//!
//! # After a crash
//!
//! A vote outlives a restart; what its transaction has read does not. Until such a vote is decided, which takes seconds, it counts as having read
//! everything here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::ids::{RelationId, Timestamp, TransactionId};
use parking_lot::Mutex;
use partition::range_set::RangeSet;
use rpc::worker_api::{PartitionReads, Validation};
use storage::{ScanEnd, ScanRange};
use tokio::sync::Notify;

use crate::core::Core;
use crate::entries::with_prefix;
use crate::error::{Result, WorkerError};
use crate::reads::read;
use crate::scan::stored_key;

/// How long one waits for the outcome of an older transaction before it fails.
const OUTCOME_WAIT: Duration = Duration::from_secs(2);

/// Keys by relation.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeySets(HashMap<RelationId, RangeSet>);

impl KeySets {
    pub(crate) fn add_key(&mut self, relation: RelationId, key: &[u8]) {
        self.0.entry(relation).or_default().add_key(key);
    }

    fn add(&mut self, relation: RelationId, lo: Bytes, hi: Option<Bytes>) {
        self.0.entry(relation).or_default().add(lo, hi);
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|(relation, set)| other.0.get(relation).is_some_and(|other| set.overlaps(other)))
    }
}

/// What a transaction in its commit has read.
#[derive(Debug)]
enum Reads {
    Keys(KeySets),
    Everything,
}

#[derive(Debug)]
struct Footprint {
    reads: Reads,
    writes: KeySets,
}

impl Footprint {
    fn conflicts(&self, other: &Self) -> bool {
        let reads = |reader: &Self, writer: &Self| match &reader.reads {
            Reads::Keys(keys) => keys.overlaps(&writer.writes),
            Reads::Everything => !writer.writes.0.is_empty(),
        };
        reads(self, other) || reads(other, self)
    }
}

/// The serializable transactions that are committing here.
#[derive(Debug, Default)]
pub(crate) struct Validator {
    entered: Mutex<BTreeMap<TransactionId, Footprint>>,
    /// Signals that one has left.
    left: Notify,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    validator: Arc<Validator>,
    id: TransactionId,
}

impl Validator {
    async fn enter(self: &Arc<Self>, id: TransactionId, footprint: Footprint) -> Result<Entered> {
        let enters = async {
            let mut footprint = footprint;
            loop {
                let left = self.left.notified();
                tokio::pin!(left);
                left.as_mut().enable();
                footprint = match self.try_enter(id, footprint)? {
                    Ok(entered) => return Ok(entered),
                    Err(footprint) => footprint,
                };
                left.await;
            }
        };
        tokio::time::timeout(OUTCOME_WAIT, enters).await.unwrap_or(Err(WorkerError::Serialization))
    }

    /// `Ok(Err)`: an older transaction is in the way.
    fn try_enter(self: &Arc<Self>, id: TransactionId, footprint: Footprint) -> Result<Result<Entered, Footprint>> {
        let mut entered = self.entered.lock();
        let youngest = entered.iter().rev().find(|(other, there)| **other != id && there.conflicts(&footprint)).map(|(other, _)| *other);
        match youngest {
            Some(other) if other > id => Err(WorkerError::Serialization),
            Some(_) => Ok(Err(footprint)),
            None => {
                entered.insert(id, footprint);
                Ok(Ok(Entered { validator: Arc::clone(self), id }))
            }
        }
    }

    /// Enters a vote that was found in the log.
    pub(crate) fn enter_recovered(self: &Arc<Self>, id: TransactionId) -> Entered {
        self.entered.lock().insert(id, Footprint { reads: Reads::Everything, writes: KeySets::default() });
        Entered { validator: Arc::clone(self), id }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.validator.entered.lock().remove(&self.id);
        self.validator.left.notify_waiters();
    }
}

impl Core {
    /// Steps 1 and 2, for a transaction that is about to commit or to vote. Its keys stay protected until the answer is dropped.
    pub(crate) async fn validate(self: &Arc<Self>, id: TransactionId, validation: Validation, writes: KeySets) -> Result<Entered> {
        let snapshot = validation.snapshot;
        self.refuse_old(snapshot)?;
        let (core, asked) = (Arc::clone(self), validation);
        let (reads, validation) = read(false, move || Ok((core.read_keys(&asked)?, asked))).await?;
        let entered = self.validator.enter(id, Footprint { reads: Reads::Keys(reads.clone()), writes }).await?;
        let core = Arc::clone(self);
        let unchanged = read(false, move || core.unchanged(&validation, &reads, id)).await?;
        if unchanged { Ok(entered) } else { Err(WorkerError::Serialization) }
    }

    /// What was read, as keys of the relations themselves. The rows behind the entries of a local index are those that the snapshot has: they do
    /// not change any more, so that they can be looked up late.
    fn read_keys(&self, validation: &Validation) -> Result<KeySets> {
        let state = self.cache.current();
        let mut keys = KeySets::default();
        for part in &validation.reads {
            // A partition that has gone, or a table: what was read there cannot be asked any more.
            self.check(&state, part.relation, part.partition).map_err(|_| WorkerError::Serialization)?;
            for (lo, hi) in places(part) {
                if let Some(table) = part.rows_of {
                    self.rows_behind(part, table, (&lo, hi.as_deref()), validation.snapshot, &mut keys)?;
                }
                keys.add(part.relation, lo, hi);
            }
        }
        Ok(keys)
    }

    fn rows_behind(
        &self,
        part: &PartitionReads,
        table: RelationId,
        (lo, hi): (&[u8], Option<&[u8]>),
        snapshot: Timestamp,
        keys: &mut KeySets,
    ) -> Result<()> {
        let range = ScanRange { relation: part.relation, lo, hi, reverse: false };
        let mut failure = None;
        let end = self.engine.view(part.partition.group).scan(range, snapshot, None, &mut |_, _, entry| match stored_key(entry) {
            Ok(key) => {
                keys.add_key(table, key);
                std::ops::ControlFlow::Continue(())
            }
            Err(error) => {
                failure = Some(error);
                std::ops::ControlFlow::Break(())
            }
        })?;
        match (failure, end) {
            (Some(error), _) => Err(error),
            (None, ScanEnd::Done) => Ok(()),
            (None, ScanEnd::Undecided(_) | ScanEnd::Stopped) => Err(WorkerError::Serialization),
        }
    }

    fn unchanged(&self, validation: &Validation, keys: &KeySets, id: TransactionId) -> Result<bool> {
        for part in &validation.reads {
            let view = self.engine.view(part.partition.group);
            for (lo, hi) in places(part) {
                let range = ScanRange { relation: part.relation, lo: &lo, hi: hi.as_deref(), reverse: false };
                if view.has_changed(range, validation.snapshot, id)? {
                    return Ok(false);
                }
            }
            let Some(rows) = part.rows_of.and_then(|table| Some((table, keys.0.get(&table)?))) else { continue };
            for (lo, hi) in rows.1.iter() {
                let range = ScanRange { relation: rows.0, lo, hi: hi.map(|hi| &**hi), reverse: false };
                if view.has_changed(range, validation.snapshot, id)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// The ranges of a part as they lie on disk: a local index has its partition in front of its keys.
fn places(part: &PartitionReads) -> Vec<(Bytes, Option<Bytes>)> {
    if part.rows_of.is_none() {
        return part.ranges.clone();
    }
    let partition = part.partition.id;
    let end = || partition::range::successor(&crate::entries::partition_prefix(partition));
    let placed = |(lo, hi): &(Bytes, Option<Bytes>)| {
        (with_prefix(partition, lo), hi.as_ref().map_or_else(end, |hi| Some(with_prefix(partition, hi))))
    };
    part.ranges.iter().map(placed).collect()
}
