//! What the engine should say: all versions in a list per key, and every rule written the slow way.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use bytes::Bytes;
use common::columns::cell;
use common::datum::Datum;
use common::ids::{GroupId, OwnWrites, RelationId, Timestamp, TransactionId, WorkerId};
use common::row::encode_row;
use common::types::{Scalar, SqlType};
use proptest::prelude::*;
use storage::{
    Change, Engine, Frame, Piece, Progress, ReadOutcome, Record, RowColumn, RowLayout, ScanEnd, ScanRange, StorageError, TransactionState,
};

/// Few bytes, so that keys collide and are prefixes of each other.
const KEYS: [&[u8]; 10] =
    [b"", b"\0", b"\0\0", b"\0\xff", b"a", b"a\0", b"a\0\0\0\0\0\0\0\0", b"a\xff\xff\xff\xff\xff\xff\xff\xff", b"b", b"\xff"];
pub(crate) const GROUPS: u32 = 2;
const RELATIONS: [RelationId; 2] = [RelationId(3), RelationId(u32::MAX)];
/// How many transactions run at a time.
const SLOTS: usize = 3;

fn own_writes(id: u64, up_to: u64) -> OwnWrites {
    OwnWrites { transaction: TransactionId(id), up_to: Timestamp(up_to) }
}

type Place = (GroupId, RelationId, &'static [u8]);

#[derive(Clone, Debug)]
struct Version {
    written: u64,
    tag: Option<u64>,
    value: Option<Bytes>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Transaction {
    Open,
    Prepared(u64),
    Committed(u64),
    Aborted,
}

/// The expected state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    clock: u64,
    oldest: u64,
    rows: BTreeMap<Place, Vec<Version>>,
    transactions: BTreeMap<u64, Transaction>,
    slots: [Option<u64>; SLOTS],
    metadata: BTreeMap<GroupId, u64>,
}

/// One step; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write { rows: Vec<(u8, u8, bool)> },
    Provisional { slot: usize, rows: Vec<(u8, u8, bool)>, buffered: bool },
    Prepare { slot: usize },
    Undo { slot: usize, back: u64 },
    Decide { slot: usize, commit: bool },
    Forbid,
    Metadata { group: u32 },
    DropRange { group: u32, relation: usize, lo: usize, hi: Option<usize> },
    Oldest { back: u64 },
    Checkpoint,
    Reopen,
}

fn rows() -> impl Strategy<Value = Vec<(u8, u8, bool)>> {
    proptest::collection::vec((any::<u8>(), any::<u8>(), prop::bool::weighted(0.25)), 1..8)
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let slot = || 0..SLOTS;
    prop_oneof![
        6 => rows().prop_map(|rows| Step::Write { rows }),
        8 => (slot(), rows(), any::<bool>()).prop_map(|(slot, rows, buffered)| Step::Provisional { slot, rows, buffered }),
        3 => slot().prop_map(|slot| Step::Prepare { slot }),
        3 => (slot(), 0u64..12).prop_map(|(slot, back)| Step::Undo { slot, back }),
        4 => (slot(), prop::bool::weighted(0.7)).prop_map(|(slot, commit)| Step::Decide { slot, commit }),
        1 => Just(Step::Forbid),
        1 => (0..GROUPS).prop_map(|group| Step::Metadata { group }),
        1 => (0..GROUPS, 0..RELATIONS.len(), 0..KEYS.len(), proptest::option::of(0..KEYS.len()))
            .prop_map(|(group, relation, lo, hi)| Step::DropRange { group, relation, lo, hi }),
        2 => (0u64..6).prop_map(|back| Step::Oldest { back }),
        4 => Just(Step::Checkpoint),
        2 => Just(Step::Reopen),
    ]
}

impl Model {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Who has written a key and is undecided.
    fn lock(&self, place: Place) -> Option<u64> {
        let undecided = |id: &u64| matches!(self.transactions.get(id), Some(Transaction::Open | Transaction::Prepared(_)));
        self.rows.get(&place)?.iter().filter_map(|version| version.tag).find(undecided)
    }

    /// Puts versions on the rows that `writer` may write. Returns the changes by group.
    fn put(&mut self, rows: &[(u8, u8, bool)], at: u64, tag: Option<u64>) -> BTreeMap<GroupId, Vec<Change>> {
        let mut changes: BTreeMap<GroupId, Vec<Change>> = BTreeMap::new();
        for (which, value, deleted) in rows {
            let which = usize::from(*which);
            let (group, relation) = (GroupId(which as u32 % GROUPS), RELATIONS[which / 2 % RELATIONS.len()]);
            let key = KEYS[which / 4 % KEYS.len()];
            let place = (group, relation, key);
            if self.lock(place).is_some_and(|owner| Some(owner) != tag) {
                continue;
            }
            let value = (!deleted).then(|| row(at, *value));
            let versions = self.rows.entry(place).or_default();
            versions.retain(|version| version.written != at);
            versions.push(Version { written: at, tag, value: value.clone() });
            changes.entry(group).or_default().push(Change { relation, key: Bytes::from_static(key), value, before: None });
        }
        changes
    }

    /// Takes the step here and returns the frame that takes it in an engine, with whether it is to be synced.
    pub(crate) fn take(&mut self, step: &Step) -> Option<(Frame, bool)> {
        match step {
            Step::Write { rows } => {
                let at = self.tick();
                let changes = self.put(rows, at, None);
                let frame = changes.into_iter().map(|(group, changes)| (group, Record::Write { at: Timestamp(at), changes }));
                Some((frame.collect(), true))
            }
            Step::Provisional { slot, rows, buffered } => {
                let at = self.tick();
                let id = *self.slots[*slot].get_or_insert(at);
                if matches!(self.transactions.get(&id), Some(Transaction::Prepared(_))) {
                    return None;
                }
                self.transactions.insert(id, Transaction::Open);
                let mut changes = self.put(rows, at, Some(id));
                changes.entry(GroupId(0)).or_default();
                let record = |changes| Record::Provisional { transaction: TransactionId(id), at: Timestamp(at), changes };
                Some((changes.into_iter().map(|(group, changes)| (group, record(changes))).collect(), !buffered))
            }
            Step::Prepare { slot } => {
                let id = self.slots[*slot]?;
                let at = self.tick();
                self.transactions.insert(id, Transaction::Prepared(at));
                let participants = vec![WorkerId(7)];
                Some((vec![(GroupId(1), Record::Prepare { transaction: TransactionId(id), at: Timestamp(at), participants })], true))
            }
            Step::Undo { slot, back } => {
                let id = self.slots[*slot]?;
                if self.transactions.get(&id) != Some(&Transaction::Open) {
                    return None;
                }
                let after = self.clock.saturating_sub(*back);
                let at = self.tick();
                for versions in self.rows.values_mut() {
                    versions.retain(|version| version.tag != Some(id) || version.written <= after);
                }
                let record = Record::Undo { transaction: TransactionId(id), after: Timestamp(after), at: Timestamp(at) };
                Some((vec![(GroupId(0), record)], false))
            }
            Step::Decide { slot, commit } => {
                let id = self.slots[*slot].take()?;
                let at = self.tick();
                self.transactions.insert(id, if *commit { Transaction::Committed(at) } else { Transaction::Aborted });
                let outcome = commit.then_some(Timestamp(at));
                Some((vec![(GroupId(0), Record::Decide { transaction: TransactionId(id), outcome })], true))
            }
            Step::Forbid => {
                let id = self.tick();
                self.transactions.insert(id, Transaction::Aborted);
                Some((vec![(GroupId(1), Record::Decide { transaction: TransactionId(id), outcome: None })], true))
            }
            Step::Metadata { group } => {
                let at = self.tick();
                self.metadata.insert(GroupId(*group), at);
                let value = Some(Bytes::from(at.to_string()));
                Some((vec![(GroupId(*group), Record::Metadata { key: Bytes::from("m"), value })], true))
            }
            Step::DropRange { group, relation, lo, hi } => {
                let (group, relation, lo, hi) = (GroupId(*group), RELATIONS[*relation], KEYS[*lo], hi.map(|hi| KEYS[hi]));
                self.rows.retain(|(at_group, at_relation, key), _| {
                    (*at_group, *at_relation) != (group, relation) || *key < lo || hi.is_some_and(|hi| *key >= hi)
                });
                Some((vec![(group, Record::DropRange { relation, lo: Bytes::from(lo), hi: hi.map(Bytes::from) })], true))
            }
            Step::Oldest { back } => {
                self.oldest = self.oldest.max(self.clock.saturating_sub(*back));
                None
            }
            Step::Checkpoint | Step::Reopen => None,
        }
    }

    /// What a reader sees of a key.
    fn read(&self, place: Place, at: u64, own: Option<u64>) -> ReadOutcome {
        let Some(versions) = self.rows.get(&place) else { return ReadOutcome::Missing };
        let mut versions: Vec<_> = versions.iter().filter(|version| version.written <= at).collect();
        versions.sort_by_key(|version| std::cmp::Reverse(version.written));
        for version in versions {
            let version_at = match version.tag {
                None => version.written,
                Some(id) if Some(id) == own => u64::MAX,
                Some(id) => match self.transactions[&id] {
                    Transaction::Committed(commit) if commit <= at => commit,
                    Transaction::Prepared(prepared) if prepared <= at => return ReadOutcome::Undecided(TransactionId(id)),
                    _ => continue,
                },
            };
            let row = |value: &Bytes| ReadOutcome::Row { version: Timestamp(version_at), value: value.clone() };
            return version.value.as_ref().map_or(ReadOutcome::Missing, row);
        }
        ReadOutcome::Missing
    }

    /// Compares everything that an engine can be asked.
    pub(crate) fn check(&self, engine: &Engine) -> Result<(), String> {
        for (id, expected) in &self.transactions {
            let expected = match expected {
                Transaction::Open => TransactionState::Open,
                Transaction::Prepared(at) => TransactionState::Prepared { at: Timestamp(*at), participants: vec![WorkerId(7)] },
                Transaction::Committed(at) => TransactionState::Committed(Timestamp(*at)),
                Transaction::Aborted => TransactionState::Aborted,
            };
            let found = engine.transaction_state(TransactionId(*id));
            if found != expected {
                return Err(format!("transaction {id}: {found:?} instead of {expected:?}"));
            }
        }
        for group in (0..GROUPS).map(GroupId) {
            let expected = self.metadata.get(&group).map(|at| Bytes::from(at.to_string()));
            if engine.metadata(group, b"m") != expected {
                return Err(format!("metadata of {group}: {:?} instead of {expected:?}", engine.metadata(group, b"m")));
            }
        }
        let snapshots =
            [self.oldest, (self.oldest + self.clock) / 2, self.clock.saturating_sub(1).max(self.oldest), self.clock, self.clock + 5];
        for at in snapshots {
            for own in self.slots.iter().copied().filter(Option::is_some).chain([None]) {
                self.check_snapshot(engine, at, own)?;
            }
        }
        Ok(())
    }

    fn check_snapshot(&self, engine: &Engine, at: u64, own: Option<u64>) -> Result<(), String> {
        let (time, transaction) = (Timestamp(at), own.map(|id| own_writes(id, at)));
        for (group, relation) in (0..GROUPS).flat_map(|group| RELATIONS.map(|relation| (GroupId(group), relation))) {
            let view = engine.view(group);
            for key in KEYS {
                let expected = self.read((group, relation, key), at, own);
                let found = view.get(relation, key, time, transaction).unwrap();
                if found != expected {
                    return Err(format!("{group}/{relation}/{key:?} at {at} for {own:?}: {found:?} instead of {expected:?}"));
                }
            }
            for (lo, hi, reverse) in
                [(KEYS[0], None, false), (KEYS[0], None, true), (KEYS[2], Some(KEYS[8]), false), (KEYS[5], Some(KEYS[9]), true)]
            {
                let range = ScanRange { relation, lo, hi, reverse };
                let expected = self.expected_scan(group, range, at, own);
                let found = found_scan(engine, group, range, at, own).unwrap();
                if found != expected {
                    return Err(format!("scan {range:?} of {group} at {at} for {own:?}: {found:?} instead of {expected:?}"));
                }
                if !reverse {
                    self.check_columns(engine, group, range, (at, own), &expected)?;
                }
            }
        }
        Ok(())
    }

    /// Scans by columns say the same: one column at once, then all, piece by piece.
    fn check_columns(
        &self,
        engine: &Engine,
        group: GroupId,
        range: ScanRange<'_>,
        snapshot: (u64, Option<u64>),
        expected: &[String],
    ) -> Result<(), String> {
        let all = [RowColumn::Key, RowColumn::Version, RowColumn::Stored(0), RowColumn::Stored(1)];
        let rows: Vec<String> = expected.iter().map(|row| if row.starts_with('?') { row.clone() } else { String::new() }).collect();
        for (columns, pieces) in [(&all[3..], 100), (&all[..], 1)] {
            let found = found_columns(engine, group, range, snapshot, columns, pieces).unwrap();
            if found != if columns.len() == 4 { expected } else { &rows } {
                return Err(format!("columns {columns:?} of {range:?} of {group} at {snapshot:?}: {found:?} instead of {expected:?}"));
            }
        }
        Ok(())
    }

    fn expected_scan(&self, group: GroupId, range: ScanRange<'_>, at: u64, own: Option<u64>) -> Vec<String> {
        let mut keys: Vec<_> = KEYS.into_iter().filter(|key| *key >= range.lo && range.hi.is_none_or(|hi| *key < hi)).collect();
        keys.sort_unstable();
        if range.reverse {
            keys.reverse();
        }
        let mut out = Vec::new();
        for key in keys {
            match self.read((group, range.relation, key), at, own) {
                ReadOutcome::Missing => {}
                ReadOutcome::Row { version, value } => out.push(format!("{key:?}@{version}={value:?}")),
                ReadOutcome::Undecided(id) => {
                    out.push(format!("?{id}"));
                    break;
                }
            }
        }
        out
    }

    /// Whether `other` is in the same state, to see if the engine could be in both.
    pub(crate) fn clock(&self) -> u64 {
        self.clock
    }
}

/// What rows are: two columns, the second of them NULL at times.
fn types() -> Vec<SqlType> {
    vec![Scalar::Int8.into(), Scalar::Text.into()]
}

fn row(at: u64, value: u8) -> Bytes {
    let text = if value.is_multiple_of(3) { Datum::Null } else { Datum::Text(value.to_string()) };
    encoded(&[Datum::Int8(at as i64), text])
}

fn encoded(values: &[Datum]) -> Bytes {
    let mut out = Vec::new();
    encode_row(&types(), values, &mut out).unwrap();
    out.into()
}

/// As [`found_scan`], by columns, from call to call of the storage: `pieces` of them are taken at each.
fn found_columns(
    engine: &Engine,
    group: GroupId,
    range: ScanRange<'_>,
    (at, own): (u64, Option<u64>),
    columns: &[RowColumn],
    pieces: usize,
) -> Result<Vec<String>, StorageError> {
    let layout = RowLayout { types: types(), missing: Vec::new(), columns: columns.to_vec() };
    let (view, mut progress) = (engine.view(group), Progress::new(at % 2 == 0));
    let (mut out, mut lo) = (Vec::new(), range.lo.to_vec());
    let whole = columns.len() == 4;
    loop {
        let mut taken = 0;
        let position = lo.clone();
        let snapshot = (Timestamp(at), own.map(|id| own_writes(id, at)));
        let end = view.scan_columns(ScanRange { lo: &position, ..range }, snapshot, &layout, &mut progress, &mut |piece| {
            match piece {
                Piece::Row { key, version, value } => {
                    out.push(if whole { format!("{key:?}@{version}={:?}", Bytes::copy_from_slice(value)) } else { String::new() });
                    lo = [key, &[0]].concat();
                }
                Piece::Columns { columns, rows, next } => {
                    for at in 0..rows {
                        let value = |column: usize, ty: Scalar| cell(&columns[column], at, ty.into()).unwrap();
                        let text = || match (value(0, Scalar::Bytea), columns[1].as_primitive::<UInt64Type>().value(at)) {
                            (Datum::Bytea(key), version) => {
                                let row = encoded(&[value(2, Scalar::Int8), value(3, Scalar::Text)]);
                                format!("{:?}@{}={row:?}", &*key, Timestamp(version))
                            }
                            other => panic!("{other:?}"),
                        };
                        out.push(if whole { text() } else { String::new() });
                    }
                    lo = next.to_vec();
                }
            }
            taken += 1;
            if taken < pieces { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        match end {
            ScanEnd::Stopped => {}
            ScanEnd::Done => return Ok(out),
            ScanEnd::Undecided(id) => {
                out.push(format!("?{id}"));
                return Ok(out);
            }
        }
    }
}

fn found_scan(engine: &Engine, group: GroupId, range: ScanRange<'_>, at: u64, own: Option<u64>) -> Result<Vec<String>, StorageError> {
    let mut out = Vec::new();
    let end = engine.view(group).scan(range, Timestamp(at), own.map(|id| own_writes(id, at)), &mut |key, version, value| {
        out.push(format!("{key:?}@{version}={:?}", Bytes::copy_from_slice(value)));
        ControlFlow::Continue(())
    })?;
    if let ScanEnd::Undecided(id) = end {
        out.push(format!("?{id}"));
    }
    Ok(out)
}

/// Takes a step in an engine that is not a reopening.
pub(crate) fn apply(engine: &Engine, model: &Model, step: &Step, frame: Option<(Frame, bool)>) -> Result<(), StorageError> {
    match (step, frame) {
        (Step::Oldest { .. }, _) => engine.set_oldest_snapshot(Timestamp(model.oldest)),
        (Step::Checkpoint, _) => engine.checkpoint()?,
        (_, Some((frame, true))) => drop(engine.append(&[frame])?),
        (_, Some((frame, false))) => drop(engine.append_buffered(&[frame])?),
        (_, None) => {}
    }
    Ok(())
}
