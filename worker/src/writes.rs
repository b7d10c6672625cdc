//! From the rows that a request writes to what the log says: checks what the sender demands, and maintains the table's local indexes.
//!
//! All of it happens under the locks of the rows, and of the unique index entries that come or go, so the newest committed state is the one that the
//! commit follows. Locks are taken in the order of relation and key, rows before entries: two statements that commit by themselves
//! never wait for each other in a circle.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use catalog::objects::{IndexScope, Maintenance};
use catalog::state::CatalogState;
use common::ids::{GroupId, Oid, OwnWrites, PartitionId, RelationId, Timestamp, TransactionId};
use rpc::locks::{LockMode, LockWait};
use rpc::worker_api::{PartitionWrites, Precondition, RowWrite, WriteOutcome};
use storage::{Change, Engine, Frame, ReadOutcome, Record};

use crate::core::Core;
use crate::entries::{Entry, EntryMaker, table_key};
use crate::error::{Result, WorkerError};
use crate::locks::{Held, LockKey};
use crate::sizes::SizeChange;
use crate::validation::KeySets;

/// More rows than this are planned away from the runtime's threads.
const INLINE_ROWS: usize = 128;

/// What a request comes to.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    groups: BTreeMap<GroupId, Vec<Change>>,
    pub(crate) sizes: Vec<(PartitionId, SizeChange)>,
}

impl Plan {
    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Adds the keys that it writes.
    pub(crate) fn add_keys(&self, keys: &mut KeySets) {
        for change in self.groups.values().flatten() {
            keys.add_key(change.relation, &change.key);
        }
    }

    /// As a frame of one record for each group.
    pub(crate) fn frame(self, record: impl Fn(Vec<Change>) -> Record) -> Frame {
        self.groups.into_iter().map(|(group, changes)| (group, record(changes))).collect()
    }
}

/// How planning ended.
pub(crate) enum Planned {
    Ready(Plan),
    Refused(WriteOutcome),
}

/// A step that met a transaction whose outcome must be learnt first.
enum Step<T> {
    Done(T),
    Refused(WriteOutcome),
    Undecided(TransactionId),
}

/// What the catalog says about one relation that is written.
struct Target {
    indexes: Vec<EntryMaker>,
    /// Whether the log tells what a row was before.
    is_fed: bool,
    is_table: bool,
}

impl Target {
    fn new(state: &CatalogState, relation: RelationId) -> Self {
        let Some(table) = state.table_of_storage(relation).filter(|table| table.storage == relation) else {
            return Self { indexes: Vec::new(), is_fed: false, is_table: false };
        };
        let (mut indexes, mut is_fed) = (Vec::new(), false);
        for index in state.indexes_of(&table) {
            match &index.scope {
                IndexScope::Local => indexes.push(EntryMaker::new(&table, index)),
                IndexScope::Global { maintenance: Maintenance::Async, .. } => is_fed = true,
                IndexScope::Global { maintenance: Maintenance::Sync, .. } => {}
            }
        }
        Self { indexes, is_fed, is_table: true }
    }
}

/// What becomes of one index entry.
struct Edit {
    group: GroupId,
    value: Option<Bytes>,
    /// For an entry that comes: whose it is.
    row: Bytes,
    at: (u32, u32),
    index: Oid,
    unique: bool,
}

type Edits = BTreeMap<(RelationId, Bytes), Edit>;

/// Plans one request. Owned values only, so that it can move to a blocking thread and back.
struct Planner {
    engine: Arc<Engine>,
    state: Arc<CatalogState>,
    parts: Vec<PartitionWrites>,
    own: Option<TransactionId>,
    targets: HashMap<RelationId, Target>,
    /// A key is written twice in this request.
    repeats: bool,
    plan: Plan,
    edits: Edits,
    removed: HashSet<(RelationId, Bytes)>,
}

/// Takes the locks that the writes need (into `held`) and plans them.
pub(crate) async fn plan(
    core: &Arc<Core>,
    state: Arc<CatalogState>,
    parts: Vec<PartitionWrites>,
    own: Option<TransactionId>,
    held: &mut Held,
    wait: LockWait,
) -> Result<Planned> {
    let mut keys: Vec<(LockKey, LockMode)> =
        parts.iter().flat_map(|p| p.writes.iter().map(|w| (LockKey::row(p.relation, w.key.clone()), mode_of(w)))).collect();
    let rows = keys.len();
    // Of one key's modes the strongest comes first.
    keys.sort_unstable_by(|(a, mode), (b, other)| a.cmp(b).then(other.cmp(mode)));
    keys.dedup_by(|(a, _), (b, _)| a == b);
    let repeats = keys.len() < rows;
    for (key, mode) in keys {
        held.take(key, mode, wait).await?;
    }
    let targets = parts.iter().map(|p| (p.relation, Target::new(&state, p.relation))).collect();
    let mut planner = Planner {
        engine: Arc::clone(&core.engine),
        state,
        parts,
        own,
        targets,
        repeats,
        plan: Plan::default(),
        edits: Edits::new(),
        removed: HashSet::new(),
    };
    if let Some(refused) = planner.until_decided(core, rows, Planner::plan_rows).await? {
        return Ok(Planned::Refused(refused));
    }
    if planner.edits.is_empty() {
        return Ok(Planned::Ready(planner.plan));
    }
    for ((relation, key), edit) in &planner.edits {
        if edit.unique {
            held.take(LockKey::row(*relation, key.clone()), LockMode::ForUpdate, wait).await?;
        }
    }
    if let Some(refused) = planner.until_decided(core, rows, Planner::check_unique).await? {
        return Ok(Planned::Refused(refused));
    }
    planner.add_edits();
    Ok(Planned::Ready(planner.plan))
}

/// A row that stays where it is lets others look at its key meanwhile. (Who changes other unique columns has locked the row for that before.)
fn mode_of(write: &RowWrite) -> LockMode {
    match (&write.row, write.precondition) {
        (Some(_), Precondition::Version(_) | Precondition::None) => LockMode::ForNoKeyUpdate,
        (None, _) | (Some(_), Precondition::Absent) => LockMode::ForUpdate,
    }
}

impl Planner {
    /// Runs a step until no undecided transaction stops it; large ones on a thread that may block.
    async fn until_decided(
        &mut self,
        core: &Arc<Core>,
        rows: usize,
        step: fn(&mut Self) -> Result<Step<()>>,
    ) -> Result<Option<WriteOutcome>> {
        loop {
            let done = if rows <= INLINE_ROWS {
                step(self)?
            } else {
                let mut moved = std::mem::replace(self, self.empty());
                let (moved, done) = tokio::task::spawn_blocking(move || {
                    let done = step(&mut moved);
                    (moved, done)
                })
                .await
                .map_err(|error| WorkerError::Background(error.to_string()))?;
                *self = moved;
                done?
            };
            match done {
                Step::Done(()) => return Ok(None),
                Step::Refused(outcome) => return Ok(Some(outcome)),
                Step::Undecided(transaction) => core.resolve(transaction).await?,
            }
        }
    }

    /// What stands in this place while the planner is on another thread.
    fn empty(&self) -> Self {
        Self {
            engine: Arc::clone(&self.engine),
            state: Arc::clone(&self.state),
            parts: Vec::new(),
            own: None,
            targets: HashMap::new(),
            repeats: false,
            plan: Plan::default(),
            edits: Edits::new(),
            removed: HashSet::new(),
        }
    }

    fn read(&self, group: GroupId, relation: RelationId, key: &[u8]) -> Result<ReadOutcome> {
        Ok(self.engine.view(group).get(relation, key, Timestamp::MAX, self.own.map(OwnWrites::all))?)
    }

    /// The rows' own changes, and the index entries that follow from them.
    fn plan_rows(&mut self) -> Result<Step<()>> {
        let parts = std::mem::take(&mut self.parts);
        let step = self.plan_parts(&parts);
        self.parts = parts;
        step
    }

    fn plan_parts(&mut self, parts: &[PartitionWrites]) -> Result<Step<()>> {
        self.plan = Plan::default();
        self.edits.clear();
        self.removed.clear();
        // Rows that this request has written already, when it writes a key twice.
        let mut written: HashMap<(RelationId, Bytes), Option<Bytes>> = HashMap::new();
        for (part_at, part) in (0_u32..).zip(parts) {
            let Some(target) = self.targets.remove(&part.relation) else { continue };
            let step = self.plan_part(part_at, part, &target, &mut written);
            self.targets.insert(part.relation, target);
            match step? {
                Step::Done(()) => {}
                other => return Ok(other),
            }
        }
        if self.repeats {
            self.plan.groups.values_mut().for_each(keep_last);
        }
        Ok(Step::Done(()))
    }

    fn plan_part(
        &mut self,
        part_at: u32,
        part: &PartitionWrites,
        target: &Target,
        written: &mut HashMap<(RelationId, Bytes), Option<Bytes>>,
    ) -> Result<Step<()>> {
        let mut size = SizeChange::default();
        for (write_at, write) in (0_u32..).zip(&part.writes) {
            let at = (part_at, write_at);
            let must_read = target.is_fed || !target.indexes.is_empty() || write.precondition != Precondition::None;
            let earlier = if self.repeats { written.get(&(part.relation, write.key.clone())).cloned() } else { None };
            let old = match earlier {
                Some(row) => row.map(|row| (Timestamp::MAX, row)),
                None if !must_read => None,
                None => match self.read(part.partition.group, part.relation, &write.key)? {
                    ReadOutcome::Missing => None,
                    ReadOutcome::Row { version, value } => Some((version, value)),
                    ReadOutcome::Undecided(transaction) => return Ok(Step::Undecided(transaction)),
                },
            };
            match (write.precondition, &old) {
                (Precondition::Absent, Some((_, row))) => {
                    let existing = if target.is_table { write.key.clone() } else { table_key(row)? };
                    return Ok(Step::Refused(WriteOutcome::Duplicate { at, constraint: part.constraint, existing }));
                }
                (Precondition::Version(wanted), old) if old.as_ref().map(|(version, _)| *version) != Some(wanted) => {
                    return Ok(Step::Refused(WriteOutcome::Changed { at }));
                }
                _ => {}
            }
            let old = old.map(|(_, row)| row);
            size.count(must_read, &write.key, old.as_ref(), write.row.as_ref());
            for maker in &target.indexes {
                if let Some(refused) = self.edit(maker, part, at, old.as_deref(), write.row.as_deref())? {
                    return Ok(Step::Refused(refused));
                }
            }
            if self.repeats {
                written.insert((part.relation, write.key.clone()), write.row.clone());
            }
            let before = if target.is_fed { old } else { None };
            let change = Change { relation: part.relation, key: write.key.clone(), value: write.row.clone(), before };
            self.plan.groups.entry(part.partition.group).or_default().push(change);
        }
        self.plan.sizes.push((part.partition.id, size));
        Ok(Step::Done(()))
    }

    /// Moves a row's entry in one index.
    fn edit(
        &mut self,
        maker: &EntryMaker,
        part: &PartitionWrites,
        at: (u32, u32),
        old: Option<&[u8]>,
        new: Option<&[u8]>,
    ) -> Result<Option<WriteOutcome>> {
        let row_key = &part.writes[at.1 as usize].key;
        let entry = |row: Option<&[u8]>| row.map(|row| maker.entry(part.partition.id, row_key, row)).transpose();
        let (old, new) = (entry(old)?, entry(new)?);
        if old == new {
            return Ok(None);
        }
        let group = part.partition.group;
        let edit = |value, unique| Edit { group, value, row: row_key.clone(), at, index: maker.oid, unique };
        let same_key = matches!((&old, &new), (Some(old), Some(new)) if old.key == new.key);
        if let Some(Entry { key, unique, .. }) = old.filter(|_| !same_key) {
            let place = (maker.storage, key);
            self.removed.insert(place.clone());
            // An entry that another row of this request has brought stays.
            if self.edits.get(&place).is_none_or(|edit| edit.value.is_none() || edit.row == *row_key) {
                self.edits.insert(place, edit(None, unique));
            }
        }
        if let Some(Entry { key, value, unique }) = new {
            let place = (maker.storage, key);
            if let Some(other) = self.edits.get(&place)
                && unique
                && other.value.is_some()
                && other.row != *row_key
            {
                return Ok(Some(WriteOutcome::Duplicate { at, constraint: Some(maker.oid), existing: other.row.clone() }));
            }
            // Where the row's own entry stays, nobody else's can be.
            if same_key {
                self.removed.insert(place.clone());
            }
            self.edits.insert(place, edit(Some(value), unique));
        }
        Ok(None)
    }

    /// Whether a unique entry that comes is there already, under the locks of the entries.
    fn check_unique(&mut self) -> Result<Step<()>> {
        for ((relation, key), edit) in &self.edits {
            if !edit.unique || edit.value.is_none() || self.removed.contains(&(*relation, key.clone())) {
                continue;
            }
            match self.read(edit.group, *relation, key)? {
                ReadOutcome::Missing => {}
                ReadOutcome::Undecided(transaction) => return Ok(Step::Undecided(transaction)),
                ReadOutcome::Row { value, .. } => {
                    let existing = table_key(&value)?;
                    if existing != edit.row {
                        let constraint = Some(edit.index);
                        return Ok(Step::Refused(WriteOutcome::Duplicate { at: edit.at, constraint, existing }));
                    }
                }
            }
        }
        Ok(Step::Done(()))
    }

    fn add_edits(&mut self) {
        for ((relation, key), edit) in std::mem::take(&mut self.edits) {
            let change = Change { relation, key, value: edit.value, before: None };
            self.plan.groups.entry(edit.group).or_default().push(change);
        }
    }
}

/// Of several changes of a key, the last one, with what was there before the first.
fn keep_last(changes: &mut Vec<Change>) {
    let mut first_of: HashMap<(RelationId, Bytes), usize> = HashMap::new();
    let mut kept: Vec<Change> = Vec::with_capacity(changes.len());
    for change in changes.drain(..) {
        match first_of.get(&(change.relation, change.key.clone())) {
            Some(&at) => kept[at].value = change.value,
            None => {
                first_of.insert((change.relation, change.key.clone()), kept.len());
                kept.push(change);
            }
        }
    }
    *changes = kept;
}
