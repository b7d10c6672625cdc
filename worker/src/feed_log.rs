//! What the log says to an asynchronous index: committed changes, in the order in which they were decided.

use std::collections::HashMap;

use common::ids::{LogPosition, Timestamp, TransactionId};
use storage::{Change, Frame, Record};

use crate::error::Result;
use crate::feed_send::{Sender, Target};

/// Changes of open transactions that are kept in memory; more are read from the log again when they are decided.
const OPEN_BYTES_MAX: usize = 64 << 20;

/// A transaction without a decision.
#[derive(Debug)]
struct Open {
    first: LogPosition,
    /// By the timestamp of their writing.
    writes: Vec<(Timestamp, Vec<Change>)>,
    /// Above which and below which timestamps writes were undone.
    undone: Vec<(Timestamp, Timestamp)>,
    bytes: usize,
    /// Its changes are not kept.
    spilled: bool,
    vote: Option<Timestamp>,
}

/// A committed transaction whose changes must be read from the log again.
#[derive(Debug)]
pub(crate) struct Reread {
    transaction: TransactionId,
    at: Timestamp,
    undone: Vec<(Timestamp, Timestamp)>,
    pub(crate) from: LogPosition,
    pub(crate) to: LogPosition,
}

impl Reread {
    /// Takes the transaction's changes from one frame.
    pub(crate) fn take(&self, target: &Target, frame: Frame, sender: &mut Sender) -> Result<()> {
        for (_, record) in frame {
            if let Record::Provisional { transaction, at, changes } = record
                && transaction == self.transaction
                && !self.undone.iter().any(|(after, before)| *after < at && at < *before)
            {
                add_all(target, self.at, &changes, sender)?;
            }
        }
        Ok(())
    }
}

/// A place in the log, and what is undecided there.
#[derive(Debug)]
pub(crate) struct LogReader {
    position: LogPosition,
    /// Commits at or below it are known.
    snapshot: Timestamp,
    open: HashMap<TransactionId, Open>,
    bytes: usize,
}

impl LogReader {
    pub(crate) fn new(position: LogPosition, snapshot: Timestamp) -> Self {
        Self { position, snapshot, open: HashMap::new(), bytes: 0 }
    }

    /// What is read next.
    pub(crate) fn position(&self) -> LogPosition {
        self.position
    }

    /// From where a new reader would have to begin.
    pub(crate) fn restart_position(&self) -> LogPosition {
        self.open.values().map(|open| open.first).min().unwrap_or(self.position).min(self.position)
    }

    /// Whether a vote waits for its decision.
    pub(crate) fn has_votes(&self) -> bool {
        self.open.values().any(|open| open.vote.is_some())
    }

    /// The highest timestamp that no undecided transaction can commit at or below.
    pub(crate) fn below_votes(&self) -> Timestamp {
        let lowest = self.open.values().filter_map(|open| open.vote).min();
        lowest.map_or(Timestamp::MAX, |vote| Timestamp(vote.0.saturating_sub(1)))
    }

    /// Takes the frames at its position.
    pub(crate) fn take(&mut self, target: &Target, frames: Vec<(LogPosition, Frame)>, sender: &mut Sender) -> Result<Vec<Reread>> {
        let mut rereads = Vec::new();
        for (next, frame) in frames {
            for (_, record) in frame {
                self.take_record(target, record, next, sender, &mut rereads)?;
            }
            self.position = next;
        }
        Ok(rereads)
    }

    fn take_record(
        &mut self,
        target: &Target,
        record: Record,
        next: LogPosition,
        sender: &mut Sender,
        rereads: &mut Vec<Reread>,
    ) -> Result<()> {
        match record {
            Record::Write { at, changes } if at > self.snapshot => add_all(target, at, &changes, sender)?,
            Record::Provisional { transaction, at, changes } => self.keep(target, transaction, at, changes),
            Record::Undo { transaction, after, at } => {
                if let Some(open) = self.open.get_mut(&transaction) {
                    open.writes.retain(|(written, _)| *written <= after);
                    open.undone.push((after, at));
                }
            }
            Record::Prepare { transaction, at, .. } => {
                if let Some(open) = self.open.get_mut(&transaction) {
                    open.vote = Some(at);
                }
            }
            Record::Decide { transaction, outcome } => {
                let Some(open) = self.open.remove(&transaction) else { return Ok(()) };
                self.bytes -= open.bytes;
                match outcome.filter(|at| *at > self.snapshot) {
                    Some(at) if open.spilled => {
                        rereads.push(Reread { transaction, at, undone: open.undone, from: open.first, to: next });
                    }
                    Some(at) => open.writes.iter().try_for_each(|(_, changes)| add_all(target, at, changes, sender))?,
                    None => {}
                }
            }
            Record::Write { .. } | Record::Metadata { .. } | Record::DropRange { .. } => {}
        }
        Ok(())
    }

    fn keep(&mut self, target: &Target, transaction: TransactionId, at: Timestamp, mut changes: Vec<Change>) {
        changes.retain(|change| change.relation == target.table);
        if changes.is_empty() {
            return;
        }
        let first = self.position;
        let new = || Open { first, writes: Vec::new(), undone: Vec::new(), bytes: 0, spilled: false, vote: None };
        let open = self.open.entry(transaction).or_insert_with(new);
        if open.spilled {
            return;
        }
        let size = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
        let bytes: usize = changes.iter().map(|c| size_of::<Change>() + c.key.len() + size(&c.value) + size(&c.before)).sum();
        open.bytes += bytes;
        open.writes.push((at, changes));
        self.bytes += bytes;
        if self.bytes > OPEN_BYTES_MAX
            && let Some(largest) = self.open.values_mut().max_by_key(|open| open.bytes)
        {
            self.bytes -= std::mem::take(&mut largest.bytes);
            largest.writes = Vec::new();
            largest.spilled = true;
        }
    }
}

fn add_all(target: &Target, at: Timestamp, changes: &[Change], sender: &mut Sender) -> Result<()> {
    for change in changes.iter().filter(|change| change.relation == target.table) {
        sender.add(target, at, &change.key, change.before.as_deref(), change.value.as_deref())?;
    }
    Ok(())
}
