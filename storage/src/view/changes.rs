//! What has changed in a range since a snapshot: any version will do, seen or not.

use std::ops::Bound;

use common::ids::{Timestamp, TransactionId};

use super::{Layers, Outcome, ScanRange, TransactionTable, Undone, content_of};
use crate::base::{self, BaseView};
use crate::error::StorageError;
use crate::memtable::Memtable;

struct Judge<'a> {
    transactions: &'a TransactionTable,
    since: Timestamp,
    own: TransactionId,
    last: Option<(TransactionId, Outcome, Undone)>,
}

impl Judge<'_> {
    /// Whether a version is a change after the snapshot. A vote counts: the snapshot has waited for those at or below it, so this one is above.
    fn is_change(&mut self, written: Timestamp, tag: Option<TransactionId>) -> bool {
        let Some(transaction) = tag else { return written > self.since };
        if transaction == self.own {
            return false;
        }
        if self.last.as_ref().is_none_or(|last| last.0 != transaction) {
            let (outcome, undone) = self.transactions.outcome(transaction);
            self.last = Some((transaction, outcome, undone));
        }
        let Some((_, outcome, undone)) = &self.last else { return false };
        match outcome {
            Outcome::Absent => false,
            Outcome::Committed(at) if *at <= self.since => false,
            Outcome::Committed(_) | Outcome::Prepared(_) => undone.span_of(written).is_none(),
        }
    }
}

/// See [`super::View::has_changed`].
pub(super) fn has_changed(
    layers: &Layers,
    transactions: &TransactionTable,
    range: ScanRange<'_>,
    since: Timestamp,
    own: TransactionId,
) -> Result<bool, StorageError> {
    let mut judge = Judge { transactions, since, own, last: None };
    if in_memory(&layers.active, &range, &mut judge) || layers.frozen.as_ref().is_some_and(|frozen| in_memory(frozen, &range, &mut judge)) {
        return Ok(true);
    }
    match &layers.base {
        // A tagged version may have been written before the snapshot and committed after it.
        Some(base) if base.newest > since || base.has_tags => in_base(base, &range, &mut judge),
        _ => Ok(false),
    }
}

fn in_memory(memtable: &Memtable, range: &ScanRange<'_>, judge: &mut Judge<'_>) -> bool {
    let mut next = memtable.seek(range.relation, range.lo, Timestamp::MAX);
    while let Some(entry) = next {
        let row = entry.key();
        if row.relation() != range.relation || range.hi.is_some_and(|hi| row.key() >= hi) {
            return false;
        }
        if judge.is_change(row.at(), row.content().tag) {
            return true;
        }
        next = entry.next();
    }
    false
}

fn in_base(base: &BaseView, range: &ScanRange<'_>, judge: &mut Judge<'_>) -> Result<bool, StorageError> {
    let (lower, upper) = base::bounds(range.relation, range.lo, range.hi);
    let bounds = (Bound::Included(&*lower), upper.as_ref().map(|upper| &**upper));
    for version in base.versions.range::<&[u8]>(bounds).map_err(StorageError::base(base.group))? {
        let (key, content) = version.map_err(StorageError::base(base.group))?;
        if judge.is_change(crate::version::VersionKey::timestamp(key.value()), content_of(base, content.value())?.tag) {
            return Ok(true);
        }
    }
    Ok(false)
}
