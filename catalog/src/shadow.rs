//! Schema changes of transactions that have not committed.
//!
//! A transaction's changes are kept by its session, which sees the catalog with them ([`CatalogState::with_changes`]). Only what workers must know to
//! read and write for it, the key spaces of new tables and indexes, is put into the catalog before the commit, as the transaction's *shadow*: under names
//! that nobody can write, and left out of what other sessions see ([`CatalogState::public`]). An index over a table that everybody uses is part of the
//! shadow too; others maintain it, as any index that is being built.
//!
//! The commit takes the shadow away and makes the changes, in one step ([`Step::Publish`]). When the transaction has written rows as well, that step
//! must follow their commit without fail: the changes are *prepared* first, which checks them and holds off every other schema change until the
//! outcome is known ([`Step::Prepare`], then [`Step::Finish`] or [`Step::Discard`]). Who finds a transaction prepared and its coordinator gone asks
//! the participants named in it.

use std::collections::BTreeSet;
use std::sync::Arc;

use common::ids::{Oid, RelationId, TransactionId, WorkerId};
use serde::{Deserialize, Serialize};

use crate::changes::Change;
use crate::error::CatalogError;
use crate::objects::{Index, PartitionMap, Table};
use crate::state::{CatalogState, Contents, apply_all};

/// What a transaction has in the catalog before its commit.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Shadow {
    /// The coordinator's name.
    pub node: String,
    pub tables: Vec<Table>,
    pub indexes: Vec<Index>,
    pub maps: Vec<PartitionMap>,
    pub prepared: Option<Prepared>,
}

/// Changes that take effect when the transaction's rows are committed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Prepared {
    /// The workers that know the outcome.
    pub participants: Vec<WorkerId>,
    pub changes: Vec<Change>,
}

/// A step of a transaction that changes the schema.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Step {
    /// What workers must know, in place of what they knew before.
    Shadow(Shadow),
    /// Changes that follow when the transaction's rows are committed; they can be made, and no other schema change comes between.
    Prepare {
        /// The coordinator's name.
        node: String,
        prepared: Prepared,
    },
    /// The changes, in place of the shadow.
    Publish(Vec<Change>),
    /// The changes that are prepared; nothing, if they are made already.
    Finish,
    /// The shadow goes, prepared or not.
    Discard,
}

impl CatalogState {
    /// The shadows of open transactions.
    pub fn shadows(&self) -> impl Iterator<Item = (TransactionId, &Shadow)> {
        self.contents().shadows.iter().map(|(id, shadow)| (*id, shadow.as_ref()))
    }

    /// Whether a schema change is about to be finished, so that no other may come between.
    pub(crate) fn is_preparing(&self) -> bool {
        self.shadows().any(|(_, shadow)| shadow.prepared.is_some())
    }

    /// What everybody sees: the same without shadows, but for the indexes that writers must maintain.
    pub fn public(self: &Arc<Self>) -> Arc<Self> {
        if self.contents().shadows.is_empty() {
            return Arc::clone(self);
        }
        let mut contents = self.contents().clone();
        for (_, shadow) in std::mem::take(&mut contents.shadows) {
            let is_own = |index: &&Index| shadow.tables.iter().any(|table| table.oid == index.table);
            let hidden = Shadow { indexes: shadow.indexes.iter().filter(is_own).cloned().collect(), ..Shadow::clone(&shadow) };
            remove(&mut contents, &hidden);
        }
        Arc::new(Self::from_contents(contents))
    }

    /// The same version without one transaction's shadow and with its changes in place of it.
    pub fn with_changes(&self, transaction: TransactionId, changes: &[Change]) -> Result<Self, CatalogError> {
        let mut contents = self.contents().clone();
        for (id, shadow) in std::mem::take(&mut contents.shadows) {
            let is_seen = |index: &&Index| id == transaction || shadow.tables.iter().any(|table| table.oid == index.table);
            let hidden = Shadow { indexes: shadow.indexes.iter().filter(is_seen).cloned().collect(), ..Shadow::clone(&shadow) };
            remove(&mut contents, &hidden);
        }
        // Epochs rise at the commit; until then the owners know the old ones.
        let seen: Vec<Change> = changes.iter().filter(|change| !matches!(change, Change::RaiseEpochs(_))).cloned().collect();
        apply_all(&mut contents, &seen)?;
        Ok(Self::from_contents(contents))
    }

    /// What the workers must know of a state that [`Self::with_changes`] made from this one.
    pub fn shadow_of(&self, changed: &Self, node: &str) -> Shadow {
        let (old, new) = (self.contents(), changed.contents());
        let hidden = |oid: Oid| format!("\u{1}{oid}");
        let tables = new.tables.values().filter(|table| !old.tables.contains_key(&table.oid));
        let is_committed = |index: &Index| old.tables.contains_key(&index.table);
        let indexes = new.indexes.values().filter(|index| !old.indexes.contains_key(&index.oid)).map(|index| {
            // Others maintain it, and do not read it.
            let state = if is_committed(index) { crate::objects::IndexState::Building } else { index.state };
            Index { name: hidden(index.oid), state, ..Index::clone(index) }
        });
        Shadow {
            node: node.to_owned(),
            tables: tables.map(|table| Table { name: hidden(table.oid), ..Table::clone(table) }).collect(),
            indexes: indexes.collect(),
            maps: new.maps.values().filter(|map| !old.maps.contains_key(&map.relation)).map(|map| PartitionMap::clone(map)).collect(),
            prepared: None,
        }
    }
}

impl Shadow {
    /// Whether there is nothing that a worker would have to know.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.indexes.is_empty() && self.maps.is_empty()
    }

    fn storages(&self) -> BTreeSet<RelationId> {
        let tables = self.tables.iter().map(|table| table.storage);
        let indexes = self.indexes.iter().map(|index| index.storage);
        tables.chain(indexes).chain(self.maps.iter().map(|map| map.relation)).collect()
    }
}

/// Takes a shadow's objects out of a state; their key spaces stay on the workers.
fn remove(contents: &mut Contents, shadow: &Shadow) {
    for index in &shadow.indexes {
        contents.indexes.remove(&index.oid);
        if let Some(table) = contents.tables.get_mut(&index.table) {
            Arc::make_mut(table).indexes.retain(|oid| *oid != index.oid);
        }
    }
    for table in &shadow.tables {
        contents.tables.remove(&table.oid);
    }
    for map in &shadow.maps {
        let is_shown = contents.indexes.values().any(|index| index.storage == map.relation);
        if !is_shown {
            contents.maps.remove(&map.relation);
        }
    }
}

pub(crate) fn take_step(contents: &mut Contents, transaction: TransactionId, step: &Step) -> Result<(), CatalogError> {
    match step {
        Step::Shadow(shadow) => put(contents, transaction, shadow),
        Step::Prepare { node, prepared } => prepare(contents, transaction, node, prepared),
        Step::Publish(changes) => publish(contents, transaction, changes),
        Step::Finish => finish(contents, transaction),
        Step::Discard => {
            discard(contents, transaction);
            Ok(())
        }
    }
}

/// Puts a shadow in place of the transaction's former one.
fn put(contents: &mut Contents, transaction: TransactionId, shadow: &Shadow) -> Result<(), CatalogError> {
    if let Some(former) = contents.shadows.remove(&transaction) {
        remove(contents, &former);
        drop_storages(contents, former.storages().difference(&shadow.storages()));
    }
    for map in &shadow.maps {
        contents.maps.insert(map.relation, Arc::new(map.clone()));
    }
    for table in &shadow.tables {
        contents.tables.insert(table.oid, Arc::new(table.clone()));
    }
    for index in &shadow.indexes {
        let table = contents.tables.get_mut(&index.table).ok_or(CatalogError::MissingObject(index.table))?;
        if !table.indexes.contains(&index.oid) {
            Arc::make_mut(table).indexes.push(index.oid);
        }
        contents.indexes.insert(index.oid, Arc::new(index.clone()));
    }
    contents.shadows.insert(transaction, Arc::new(shadow.clone()));
    Ok(())
}

/// Checks the changes and keeps them until the transaction's outcome is known.
fn prepare(contents: &mut Contents, transaction: TransactionId, node: &str, prepared: &Prepared) -> Result<(), CatalogError> {
    let mut shadow = contents.shadows.get(&transaction).map(|shadow| Shadow::clone(shadow)).unwrap_or_default();
    let mut tried = contents.clone();
    publish(&mut tried, transaction, &prepared.changes)?;
    node.clone_into(&mut shadow.node);
    shadow.prepared = Some(prepared.clone());
    contents.shadows.insert(transaction, Arc::new(shadow));
    Ok(())
}

/// The changes in place of the shadow.
fn publish(contents: &mut Contents, transaction: TransactionId, changes: &[Change]) -> Result<(), CatalogError> {
    let shadow = contents.shadows.remove(&transaction).map(|shadow| Shadow::clone(&shadow)).unwrap_or_default();
    remove(contents, &shadow);
    apply_all(contents, changes)?;
    // What the changes made and dropped again.
    let kept: BTreeSet<RelationId> =
        contents.tables.values().map(|t| t.storage).chain(contents.indexes.values().map(|i| i.storage)).collect();
    drop_storages(contents, shadow.storages().difference(&kept));
    Ok(())
}

/// Makes prepared changes; a transaction that is not (or no more) prepared is let be.
fn finish(contents: &mut Contents, transaction: TransactionId) -> Result<(), CatalogError> {
    let prepared = contents.shadows.get(&transaction).and_then(|shadow| shadow.prepared.clone());
    prepared.map_or(Ok(()), |prepared| publish(contents, transaction, &prepared.changes))
}

/// Takes a shadow away with all that was stored for it.
fn discard(contents: &mut Contents, transaction: TransactionId) {
    if let Some(shadow) = contents.shadows.remove(&transaction) {
        remove(contents, &shadow);
        drop_storages(contents, shadow.storages().iter());
    }
}

fn drop_storages<'a>(contents: &mut Contents, storages: impl Iterator<Item = &'a RelationId>) {
    for storage in storages {
        crate::state::drop_storage(contents, *storage);
    }
}
