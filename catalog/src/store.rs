//! The catalog node's disk: one redb file with an entry for each object, and the counters.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `objects` | kind and id, as `table/16384` | the object (MessagePack) |
//! | `counters` | name | u64 |
//! | `stands` | oid of a sequence | where it stands (MessagePack) |

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::ids::{CatalogVersion, Oid, TransactionId};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::CatalogError;
use crate::sequences::Stand;
use crate::state::{CatalogState, Contents};

const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");
const STANDS: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("stands");
const FILE: &str = "catalog.redb";
/// The catalog is small: its pages need little memory.
const CACHE_BYTES: usize = 8 << 20;

/// The catalog's disk.
#[derive(Debug)]
pub struct Store {
    database: Database,
    path: PathBuf,
}

impl Store {
    /// Opens or makes the catalog in a directory.
    pub fn open(directory: &Path) -> Result<Self, CatalogError> {
        let path = directory.join(FILE);
        let failed = |message: String| CatalogError::Storage { path: path.display().to_string(), message };
        std::fs::create_dir_all(directory).map_err(|e| failed(e.to_string()))?;
        let database = Database::builder().set_cache_size(CACHE_BYTES).create(&path).map_err(|e| failed(e.to_string()))?;
        let store = Self { database, path: path.clone() };
        let begun = store.database.begin_write().map_err(|e| store.failed(&e))?;
        begun.open_table(OBJECTS).map_err(|e| store.failed(&e))?;
        begun.open_table(COUNTERS).map_err(|e| store.failed(&e))?;
        begun.open_table(STANDS).map_err(|e| store.failed(&e))?;
        begun.commit().map_err(|e| store.failed(&e))?;
        // redb does not sync the directory of a new file.
        std::fs::File::open(directory).and_then(|d| d.sync_all()).map_err(|e| failed(e.to_string()))?;
        Ok(store)
    }

    fn failed(&self, error: &dyn std::error::Error) -> CatalogError {
        CatalogError::Storage { path: self.path.display().to_string(), message: error.to_string() }
    }

    /// The stored state; a new one in a new store.
    pub fn load(&self) -> Result<CatalogState, CatalogError> {
        let read = self.database.begin_read().map_err(|e| self.failed(&e))?;
        let counters = read.open_table(COUNTERS).map_err(|e| self.failed(&e))?;
        let counter =
            |name: &str| -> Result<Option<u64>, CatalogError> { Ok(counters.get(name).map_err(|e| self.failed(&e))?.map(|v| v.value())) };
        let Some(version) = counter("version")? else { return self.begin() };
        let mut contents = Contents {
            version: CatalogVersion(version),
            schema_version: CatalogVersion(counter("schema_version")?.unwrap_or(version)),
            ..Contents::default()
        };
        let objects = read.open_table(OBJECTS).map_err(|e| self.failed(&e))?;
        for entry in objects.iter().map_err(|e| self.failed(&e))? {
            let (key, value) = entry.map_err(|e| self.failed(&e))?;
            load_object(&mut contents, key.value(), value.value())?;
        }
        Ok(CatalogState::from_contents(contents))
    }

    /// Writes what every catalog begins with: later steps write differences only.
    fn begin(&self) -> Result<CatalogState, CatalogError> {
        let first = CatalogState::new();
        self.save(&CatalogState::from_contents(Contents::default()), &first)?;
        Ok(first)
    }

    /// Makes the step from one state to the next durable: writes what differs.
    pub fn save(&self, from: &CatalogState, to: &CatalogState) -> Result<(), CatalogError> {
        let begun = self.database.begin_write().map_err(|e| self.failed(&e))?;
        {
            let mut objects = begun.open_table(OBJECTS).map_err(|e| self.failed(&e))?;
            for (key, value) in differences(from.contents(), to.contents()) {
                match value {
                    Some(value) => objects.insert(key.as_str(), value.as_slice()).map_err(|e| self.failed(&e))?,
                    None => objects.remove(key.as_str()).map_err(|e| self.failed(&e))?,
                };
            }
            let mut stands = begun.open_table(STANDS).map_err(|e| self.failed(&e))?;
            for oid in from.contents().sequences.keys().filter(|oid| !to.contents().sequences.contains_key(oid)) {
                stands.remove(oid.0).map_err(|e| self.failed(&e))?;
            }
            let mut counters = begun.open_table(COUNTERS).map_err(|e| self.failed(&e))?;
            counters.insert("version", to.version().0).map_err(|e| self.failed(&e))?;
            counters.insert("schema_version", to.schema_version().0).map_err(|e| self.failed(&e))?;
        }
        begun.commit().map_err(|e| self.failed(&e))
    }

    fn counter(&self, name: &str) -> Result<Option<u64>, CatalogError> {
        let read = self.database.begin_read().map_err(|e| self.failed(&e))?;
        let counters = read.open_table(COUNTERS).map_err(|e| self.failed(&e))?;
        Ok(counters.get(name).map_err(|e| self.failed(&e))?.map(|v| v.value()))
    }

    fn set_counter(&self, name: &str, value: u64) -> Result<(), CatalogError> {
        let begun = self.database.begin_write().map_err(|e| self.failed(&e))?;
        begun.open_table(COUNTERS).map_err(|e| self.failed(&e))?.insert(name, value).map_err(|e| self.failed(&e))?;
        begun.commit().map_err(|e| self.failed(&e))
    }

    /// Where a sequence stands; `None` for one that was never asked.
    pub(crate) fn stand(&self, sequence: Oid) -> Result<Option<Stand>, CatalogError> {
        let read = self.database.begin_read().map_err(|e| self.failed(&e))?;
        let stands = read.open_table(STANDS).map_err(|e| self.failed(&e))?;
        let found = stands.get(sequence.0).map_err(|e| self.failed(&e))?;
        found.map(|value| unpack(value.value())).transpose()
    }

    pub(crate) fn set_stand(&self, sequence: Oid, stand: Stand) -> Result<(), CatalogError> {
        let begun = self.database.begin_write().map_err(|e| self.failed(&e))?;
        begun.open_table(STANDS).map_err(|e| self.failed(&e))?.insert(sequence.0, pack(&stand).as_slice()).map_err(|e| self.failed(&e))?;
        begun.commit().map_err(|e| self.failed(&e))
    }

    pub(crate) fn oracle_mark(&self) -> Result<u64, CatalogError> {
        Ok(self.counter("oracle")?.unwrap_or(0))
    }

    pub(crate) fn set_oracle_mark(&self, mark: u64) -> Result<(), CatalogError> {
        self.set_counter("oracle", mark)
    }

    pub(crate) fn ids_mark(&self) -> Result<Option<u64>, CatalogError> {
        self.counter("ids")
    }

    pub(crate) fn set_ids_mark(&self, mark: u64) -> Result<(), CatalogError> {
        self.set_counter("ids", mark)
    }
}

fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    rmp_serde::to_vec(value).expect("plain data always serialises")
}

fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CatalogError> {
    Ok(rmp_serde::from_slice(bytes)?)
}

fn load_object(contents: &mut Contents, key: &str, value: &[u8]) -> Result<(), CatalogError> {
    match key.split('/').next().unwrap_or_default() {
        "schema" => {
            let schema: Arc<crate::objects::Schema> = unpack(value)?;
            contents.schemas.insert(schema.oid, schema);
        }
        "table" => {
            let table: Arc<crate::objects::Table> = unpack(value)?;
            contents.tables.insert(table.oid, table);
        }
        "index" => {
            let index: Arc<crate::objects::Index> = unpack(value)?;
            contents.indexes.insert(index.oid, index);
        }
        "map" => {
            let map: Arc<crate::objects::PartitionMap> = unpack(value)?;
            contents.maps.insert(map.relation, map);
        }
        "worker" => {
            let worker: Arc<crate::objects::Worker> = unpack(value)?;
            contents.workers.insert(worker.id, worker);
        }
        "sequence" => {
            let sequence: Arc<crate::objects::Sequence> = unpack(value)?;
            contents.sequences.insert(sequence.oid, sequence);
        }
        "shadow" => {
            let id = key.split_once('/').and_then(|(_, id)| id.parse().ok()).map(TransactionId);
            let id = id.ok_or_else(|| CatalogError::Storage { path: key.to_owned(), message: "no transaction id".to_owned() })?;
            contents.shadows.insert(id, unpack(value)?);
        }
        "view" => {
            let view: Arc<crate::objects::View> = unpack(value)?;
            contents.views.insert(view.oid, view);
        }
        "comment" => {
            let comment: Arc<crate::objects::Comment> = unpack(value)?;
            let name = key.split_once('/').map_or(key, |(_, name)| name);
            contents.comments.insert(name.to_owned(), comment);
        }
        "dropped" => {
            let (relation, version) = unpack(value)?;
            contents.dropped.insert(relation, version);
        }
        _ => {}
    }
    Ok(())
}

type Difference = (String, Option<Vec<u8>>);

fn differences(from: &Contents, to: &Contents) -> Vec<Difference> {
    fn of<'a, K: Ord + std::fmt::Display + 'a, V: Serialize + PartialEq + 'a>(
        kind: &str,
        from: impl Fn(&K) -> Option<&'a V>,
        old_keys: impl Iterator<Item = &'a K>,
        new: impl Iterator<Item = (&'a K, &'a V)>,
        is_kept: impl Fn(&K) -> bool,
        out: &mut Vec<Difference>,
    ) {
        for (key, value) in new {
            if from(key) != Some(value) {
                out.push((format!("{kind}/{key}"), Some(pack(value))));
            }
        }
        for key in old_keys {
            if !is_kept(key) {
                out.push((format!("{kind}/{key}"), None));
            }
        }
    }
    let mut out = Vec::new();
    macro_rules! each {
        ($($kind:literal $field:ident),*) => {$(
            of($kind, |k| from.$field.get(k), from.$field.keys(), to.$field.iter(), |k| to.$field.contains_key(k), &mut out);
        )*};
    }
    each!("schema" schemas, "table" tables, "index" indexes, "map" maps, "worker" workers, "shadow" shadows, "sequence" sequences, "view" views, "comment" comments);
    for (relation, version) in &to.dropped {
        if !from.dropped.contains_key(relation) {
            out.push((format!("dropped/{relation}"), Some(pack(&(relation, version)))));
        }
    }
    for relation in from.dropped.keys().filter(|r| !to.dropped.contains_key(r)) {
        out.push((format!("dropped/{relation}"), None));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::Change;
    use crate::objects::Schema;

    #[test]
    fn what_a_catalog_begins_with_is_there_after_changes_and_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let mine = Schema { oid: Oid(16_384), name: "mine".to_owned() };
        {
            let store = Store::open(directory.path()).unwrap();
            let first = store.load().unwrap();
            let second = first.apply(&[Change::CreateSchema(mine)]).unwrap();
            store.save(&first, &second).unwrap();
        }
        let loaded = Store::open(directory.path()).unwrap().load().unwrap();
        let names: Vec<&str> = loaded.contents().schemas.values().map(|schema| schema.name.as_str()).collect();
        assert_eq!(names, ["public", "mine"]);
    }
}
