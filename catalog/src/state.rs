//! An immutable snapshot of the whole catalog, and the pure step to the next one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use common::enums::EnumType;
use common::ids::{CatalogVersion, Oid, RelationId, TransactionId, WorkerId};
use common::types::{Scalar, SqlType};
use common::user_types::{UserType, UserTypeKind, UserTypes};
use partition::bounds::Bounds;
use serde::{Deserialize, Serialize};

use crate::changes::Change;
use crate::error::CatalogError;
use crate::objects::{Comment, Index, IndexScope, PartitionMap, Schema, Sequence, Table, View, Worker, WorkerState};
use crate::shadow::{self, Shadow};

/// The schema that exists from the beginning, with PostgreSQL's oid for it.
pub const PUBLIC_SCHEMA: Oid = Oid(2200);
/// Dropped key spaces that are remembered for workers that were away.
const DROPPED_MAX: usize = 100_000;

/// The part of a state that is stored and sent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Contents {
    pub(crate) version: CatalogVersion,
    /// The version of the last change that plans depend on.
    pub(crate) schema_version: CatalogVersion,
    pub(crate) schemas: BTreeMap<Oid, Arc<Schema>>,
    pub(crate) tables: BTreeMap<Oid, Arc<Table>>,
    pub(crate) indexes: BTreeMap<Oid, Arc<Index>>,
    pub(crate) maps: BTreeMap<RelationId, Arc<PartitionMap>>,
    pub(crate) workers: BTreeMap<WorkerId, Arc<Worker>>,
    pub(crate) shadows: BTreeMap<TransactionId, Arc<Shadow>>,
    /// Key spaces that are gone, with the version that dropped them.
    pub(crate) dropped: BTreeMap<RelationId, CatalogVersion>,
    #[serde(default)]
    pub(crate) types: BTreeMap<Oid, Arc<UserType>>,
    #[serde(default)]
    pub(crate) sequences: BTreeMap<Oid, Arc<Sequence>>,
    #[serde(default)]
    pub(crate) views: BTreeMap<Oid, Arc<View>>,
    /// By object and column, as `16384.2`.
    #[serde(default)]
    pub(crate) comments: BTreeMap<String, Arc<Comment>>,
}

/// A catalog at one version.
#[derive(Clone, Debug)]
pub struct CatalogState {
    contents: Contents,
    /// Tables, indexes, sequences and views share one name space in each schema.
    relations: HashMap<(Oid, String), Oid>,
    schemas_by_name: HashMap<String, Oid>,
    bounds: HashMap<RelationId, Arc<Bounds>>,
    /// Which table a key space belongs to, be it its rows or one of its indexes.
    tables_by_storage: HashMap<RelationId, Oid>,
    user_types: Arc<UserTypes>,
}

impl CatalogState {
    /// The state of a new cluster.
    pub fn new() -> Self {
        let mut contents = Contents { version: CatalogVersion(1), ..Contents::default() };
        contents.schemas.insert(PUBLIC_SCHEMA, Arc::new(Schema { oid: PUBLIC_SCHEMA, name: "public".to_owned() }));
        Self::from_contents(contents)
    }

    pub(crate) fn from_contents(contents: Contents) -> Self {
        let mut relations = HashMap::new();
        let mut tables_by_storage = HashMap::new();
        for table in contents.tables.values() {
            relations.insert((table.schema, table.name.clone()), table.oid);
            tables_by_storage.insert(table.storage, table.oid);
        }
        for index in contents.indexes.values() {
            relations.insert((index.schema, index.name.clone()), index.oid);
            tables_by_storage.insert(index.storage, index.table);
        }
        for sequence in contents.sequences.values() {
            relations.insert((sequence.schema, sequence.name.clone()), sequence.oid);
        }
        for view in contents.views.values() {
            relations.insert((view.schema, view.name.clone()), view.oid);
        }
        let schemas_by_name = contents.schemas.values().map(|s| (s.name.clone(), s.oid)).collect();
        let bounds = contents.maps.values().map(|map| (map.relation, Arc::new(bounds_of(map)))).collect();
        let type_of = |ty: &Arc<UserType>| Some((contents.schemas.get(&ty.schema)?.name.clone(), Arc::clone(ty)));
        let user_types = Arc::new(UserTypes::new(contents.types.values().filter_map(type_of)));
        Self { contents, relations, schemas_by_name, bounds, tables_by_storage, user_types }
    }

    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The state as it travels.
    pub fn serialize(&self) -> Bytes {
        rmp_serde::to_vec(&self.contents).expect("plain data always serialises").into()
    }

    /// Reads what [`Self::serialize`] wrote.
    pub fn deserialize(bytes: &[u8]) -> Result<Self, CatalogError> {
        Ok(Self::from_contents(rmp_serde::from_slice(bytes)?))
    }

    /// The number of this state.
    pub fn version(&self) -> CatalogVersion {
        self.contents.version
    }

    /// The number of the last state whose change plans depend on.
    pub fn schema_version(&self) -> CatalogVersion {
        self.contents.schema_version
    }

    /// A schema by oid.
    pub fn schema(&self, oid: Oid) -> Option<&Arc<Schema>> {
        self.contents.schemas.get(&oid)
    }

    /// A schema by name.
    pub fn schema_named(&self, name: &str) -> Option<&Arc<Schema>> {
        self.schema(*self.schemas_by_name.get(name)?)
    }

    /// All schemas, by oid.
    pub fn schemas(&self) -> impl Iterator<Item = &Arc<Schema>> {
        self.contents.schemas.values()
    }

    /// A table by oid.
    pub fn table(&self, oid: Oid) -> Option<Arc<Table>> {
        self.contents.tables.get(&oid).cloned()
    }

    /// A table by schema and name.
    pub fn table_named(&self, schema: &str, name: &str) -> Option<Arc<Table>> {
        self.table(self.relation_named(schema, name)?)
    }

    /// All tables, by oid.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.contents.tables.values()
    }

    /// An index by oid.
    pub fn index(&self, oid: Oid) -> Option<Arc<Index>> {
        self.contents.indexes.get(&oid).cloned()
    }

    /// An index by schema and name.
    pub fn index_named(&self, schema: &str, name: &str) -> Option<Arc<Index>> {
        self.index(self.relation_named(schema, name)?)
    }

    /// All indexes, by oid.
    pub fn indexes(&self) -> impl Iterator<Item = &Arc<Index>> {
        self.contents.indexes.values()
    }

    /// The types that users made.
    pub fn user_types(&self) -> &Arc<UserTypes> {
        &self.user_types
    }

    /// A type that a user made, by oid.
    pub fn user_type(&self, oid: Oid) -> Option<&Arc<UserType>> {
        self.contents.types.get(&oid)
    }

    /// All types that users made, by oid.
    pub fn all_user_types(&self) -> impl Iterator<Item = &Arc<UserType>> {
        self.contents.types.values()
    }

    /// The indexes of a table, in order of creation.
    pub fn indexes_of<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a Arc<Index>> {
        table.indexes.iter().filter_map(|oid| self.contents.indexes.get(oid))
    }

    /// A sequence by oid.
    pub fn sequence(&self, oid: Oid) -> Option<Arc<Sequence>> {
        self.contents.sequences.get(&oid).cloned()
    }

    /// A sequence by schema and name.
    pub fn sequence_named(&self, schema: &str, name: &str) -> Option<Arc<Sequence>> {
        self.sequence(self.relation_named(schema, name)?)
    }

    /// All sequences, by oid.
    pub fn sequences(&self) -> impl Iterator<Item = &Arc<Sequence>> {
        self.contents.sequences.values()
    }

    /// The sequences that go with a table.
    pub fn sequences_of(&self, table: Oid) -> impl Iterator<Item = &Arc<Sequence>> {
        self.sequences().filter(move |s| s.owner.is_some_and(|o| o.table == table))
    }

    /// A view by oid.
    pub fn view(&self, oid: Oid) -> Option<Arc<View>> {
        self.contents.views.get(&oid).cloned()
    }

    /// A view by schema and name.
    pub fn view_named(&self, schema: &str, name: &str) -> Option<Arc<View>> {
        self.view(self.relation_named(schema, name)?)
    }

    /// All views, by oid.
    pub fn views(&self) -> impl Iterator<Item = &Arc<View>> {
        self.contents.views.values()
    }

    /// The views that read a relation, by oid.
    pub fn views_of(&self, relation: Oid) -> impl Iterator<Item = &Arc<View>> {
        self.views().filter(move |v| v.query.uses.iter().any(|u| u.relation == relation))
    }

    /// The comment on an object, or on a column of it.
    pub fn comment(&self, object: Oid, attnum: i16) -> Option<&Arc<Comment>> {
        self.contents.comments.get(&comment_key(object, attnum))
    }

    /// All comments.
    pub fn comments(&self) -> impl Iterator<Item = &Arc<Comment>> {
        self.contents.comments.values()
    }

    /// The oid of a table, index, sequence or view.
    pub fn relation_named(&self, schema: &str, name: &str) -> Option<Oid> {
        let schema = *self.schemas_by_name.get(schema)?;
        self.relations.get(&(schema, name.to_owned())).copied()
    }

    /// The table to which a key space belongs: its rows, or an index of it.
    pub fn table_of_storage(&self, storage: RelationId) -> Option<Arc<Table>> {
        self.table(*self.tables_by_storage.get(&storage)?)
    }

    /// Who owns the parts of a relation; a local index has none of its own.
    pub fn partition_map(&self, relation: RelationId) -> Option<Arc<PartitionMap>> {
        self.contents.maps.get(&relation).cloned()
    }

    /// All partition maps.
    pub fn partition_maps(&self) -> impl Iterator<Item = &Arc<PartitionMap>> {
        self.contents.maps.values()
    }

    /// How a relation is cut.
    pub fn bounds(&self, relation: RelationId) -> Option<Arc<Bounds>> {
        self.bounds.get(&relation).cloned()
    }

    /// A worker by id.
    pub fn worker(&self, id: WorkerId) -> Option<&Arc<Worker>> {
        self.contents.workers.get(&id)
    }

    /// All workers, by id.
    pub fn workers(&self) -> impl Iterator<Item = &Arc<Worker>> {
        self.contents.workers.values()
    }

    /// The workers that are up.
    pub fn live_workers(&self) -> impl Iterator<Item = &Arc<Worker>> {
        self.workers().filter(|w| w.state == WorkerState::Up)
    }

    /// Key spaces that versions after `after` dropped.
    pub fn dropped_since(&self, after: CatalogVersion) -> impl Iterator<Item = RelationId> + '_ {
        self.contents.dropped.iter().filter(move |(_, version)| **version > after).map(|(relation, _)| *relation)
    }

    /// The next state: all of `changes`, or the reason why not.
    pub fn apply(&self, changes: &[Change]) -> Result<Self, CatalogError> {
        let mut next = self.contents.clone();
        next.version.0 += 1;
        apply_all(&mut next, changes)?;
        if changes.iter().any(Change::is_schema_change) {
            next.schema_version = next.version;
        }
        while next.dropped.len() > DROPPED_MAX {
            next.dropped.pop_first();
        }
        Ok(Self::from_contents(next))
    }
}

impl Default for CatalogState {
    fn default() -> Self {
        Self::new()
    }
}

fn bounds_of(map: &PartitionMap) -> Bounds {
    Bounds::new(map.partitions.iter().map(|p| p.lower.clone()).collect())
}

type Names = HashMap<(Oid, String), Oid>;

/// Makes changes one after another; when one cannot be made, `next` is worth nothing any more.
pub(crate) fn apply_all(next: &mut Contents, changes: &[Change]) -> Result<(), CatalogError> {
    let mut names = names_of(next);
    changes.iter().try_for_each(|change| apply_one(next, &mut names, change))
}

/// Who has which name.
fn names_of(contents: &Contents) -> Names {
    let tables = contents.tables.values().map(|t| ((t.schema, t.name.clone()), t.oid));
    let indexes = contents.indexes.values().map(|i| ((i.schema, i.name.clone()), i.oid));
    let sequences = contents.sequences.values().map(|s| ((s.schema, s.name.clone()), s.oid));
    let views = contents.views.values().map(|v| ((v.schema, v.name.clone()), v.oid));
    tables.chain(indexes).chain(sequences).chain(views).collect()
}

fn claim_name(names: &mut Names, schema: Oid, name: &str, oid: Oid) -> Result<(), CatalogError> {
    match names.insert((schema, name.to_owned()), oid) {
        Some(other) if other != oid => Err(CatalogError::DuplicateRelation(name.to_owned())),
        _ => Ok(()),
    }
}

fn apply_one(next: &mut Contents, names: &mut Names, change: &Change) -> Result<(), CatalogError> {
    match change {
        Change::CreateSchema(schema) => create_schema(next, schema)?,
        Change::DropSchema(oid) => drop_schema(next, *oid)?,
        Change::CreateTable(table) => {
            require(next.schemas.contains_key(&table.schema), table.schema)?;
            claim_name(names, table.schema, &table.name, table.oid)?;
            next.tables.insert(table.oid, Arc::new(table.clone()));
        }
        Change::AlterTable(table) => alter_table(next, names, table)?,
        Change::DropTable(oid) => drop_table(next, names, *oid)?,
        Change::CreateIndex(index) => {
            claim_name(names, index.schema, &index.name, index.oid)?;
            let mut table = next.tables.get(&index.table).map(|t| Table::clone(t)).ok_or(CatalogError::MissingObject(index.table))?;
            if !table.indexes.contains(&index.oid) {
                table.indexes.push(index.oid);
            }
            next.tables.insert(table.oid, Arc::new(table));
            next.indexes.insert(index.oid, Arc::new(index.clone()));
        }
        Change::AlterIndex(index) => {
            let old = next.indexes.get(&index.oid).cloned().ok_or(CatalogError::MissingObject(index.oid))?;
            names.remove(&(old.schema, old.name.clone()));
            claim_name(names, index.schema, &index.name, index.oid)?;
            if old.storage != index.storage {
                drop_storage(next, old.storage);
            }
            next.indexes.insert(index.oid, Arc::new(index.clone()));
        }
        Change::DropIndex(oid) => drop_index(next, names, *oid)?,
        Change::PutPartitionMap(map) => {
            next.maps.insert(map.relation, Arc::new(map.clone()));
        }
        Change::RaiseEpochs(relation) => {
            if let Some(map) = next.maps.get_mut(relation) {
                Arc::make_mut(map).partitions.iter_mut().for_each(|partition| partition.epoch.0 += 1);
            }
        }
        Change::OfTransaction(transaction, step) => shadow::take_step(next, *transaction, step)?,
        Change::DropStorage(relation) => drop_storage(next, *relation),
        Change::PutSequence(sequence) => put_sequence(next, names, sequence)?,
        Change::DropSequence(oid) => {
            let old = next.sequences.remove(oid).ok_or(CatalogError::MissingObject(*oid))?;
            names.remove(&(old.schema, old.name.clone()));
        }
        Change::PutView(view) => put_view(next, names, view)?,
        Change::DropView(oid) => {
            let old = next.views.remove(oid).ok_or(CatalogError::MissingObject(*oid))?;
            names.remove(&(old.schema, old.name.clone()));
        }
        Change::PutComment(comment) => put_comment(next, comment),
        Change::DropComment(object, attnum) => drop_comment(next, *object, *attnum),
        Change::ExchangeStorage { tables, indexes } => exchange_storage(next, *tables, indexes)?,
        Change::RenameSchema(oid, name) => rename_schema(next, *oid, name)?,
        Change::PutWorker(worker) => {
            next.workers.insert(worker.id, Arc::new(worker.clone()));
        }
        Change::CreateType(_) | Change::AlterType(_) | Change::DropType(_) => apply_to_types(next, change)?,
    }
    Ok(())
}

fn apply_to_types(next: &mut Contents, change: &Change) -> Result<(), CatalogError> {
    match change {
        Change::CreateType(ty) => {
            require(next.schemas.contains_key(&ty.schema), ty.schema)?;
            put_type(next, ty)?;
        }
        Change::AlterType(ty) => {
            require(next.types.contains_key(&ty.oid), ty.oid)?;
            put_type(next, ty)?;
            if let UserTypeKind::Enum(new) = &ty.kind {
                take_on(next, *new);
            }
        }
        Change::DropType(oid) => {
            next.types.remove(oid).ok_or(CatalogError::MissingObject(*oid))?;
        }
        _ => {}
    }
    Ok(())
}

fn put_type(next: &mut Contents, ty: &UserType) -> Result<(), CatalogError> {
    let same_name = |other: &&Arc<UserType>| other.oid != ty.oid && other.schema == ty.schema && other.name == ty.name;
    if next.types.values().any(|other| same_name(&other)) {
        return Err(CatalogError::DuplicateRelation(ty.name.clone()));
    }
    next.types.insert(ty.oid, Arc::new(ty.clone()));
    Ok(())
}

/// Gives everything of an enum its new definition.
fn take_on(next: &mut Contents, new: EnumType) {
    let renew = |ty: &mut SqlType| {
        let changes = matches!(ty.scalar, Scalar::Enum(old) if old == new);
        if changes {
            ty.scalar = Scalar::Enum(new);
        }
        changes
    };
    for table in next.tables.values_mut() {
        if !table.columns.iter().any(|c| c.ty.scalar == Scalar::Enum(new)) {
            continue;
        }
        let table = Arc::make_mut(table);
        table.columns.iter_mut().for_each(|column| _ = renew(&mut column.ty));
        table.partitioning.key.columns.iter_mut().for_each(|column| _ = renew(&mut column.ty));
    }
    for index in next.indexes.values_mut() {
        if !index.key.columns.iter().any(|c| c.ty.scalar == Scalar::Enum(new)) {
            continue;
        }
        let index = Arc::make_mut(index);
        index.key.columns.iter_mut().for_each(|column| _ = renew(&mut column.ty));
        if let IndexScope::Global { partitioning, .. } = &mut index.scope {
            partitioning.key.columns.iter_mut().for_each(|column| _ = renew(&mut column.ty));
        }
    }
    for ty in next.types.values_mut() {
        if let UserTypeKind::Domain(domain) = &ty.kind
            && domain.base.scalar == Scalar::Enum(new)
        {
            let ty = Arc::make_mut(ty);
            if let UserTypeKind::Domain(domain) = &mut ty.kind {
                renew(&mut domain.base);
            }
        }
    }
}

fn alter_table(next: &mut Contents, names: &mut Names, table: &Table) -> Result<(), CatalogError> {
    let old = next.tables.get(&table.oid).cloned().ok_or(CatalogError::MissingObject(table.oid))?;
    names.remove(&(old.schema, old.name.clone()));
    claim_name(names, table.schema, &table.name, table.oid)?;
    if old.storage != table.storage {
        drop_storage(next, old.storage);
    }
    // Which indexes it has is for the changes of indexes to say.
    next.tables.insert(table.oid, Arc::new(Table { indexes: old.indexes.clone(), ..table.clone() }));
    Ok(())
}

fn create_schema(next: &mut Contents, schema: &Schema) -> Result<(), CatalogError> {
    if next.schemas.values().any(|s| s.name == schema.name) {
        return Err(CatalogError::DuplicateSchema(schema.name.clone()));
    }
    next.schemas.insert(schema.oid, Arc::new(schema.clone()));
    Ok(())
}

fn drop_schema(next: &mut Contents, oid: Oid) -> Result<(), CatalogError> {
    let in_use = next.tables.values().any(|t| t.schema == oid)
        || next.indexes.values().any(|i| i.schema == oid)
        || next.types.values().any(|t| t.schema == oid)
        || next.sequences.values().any(|s| s.schema == oid)
        || next.views.values().any(|v| v.schema == oid);
    let schema = next.schemas.remove(&oid).ok_or(CatalogError::MissingObject(oid))?;
    if in_use {
        return Err(CatalogError::SchemaNotEmpty(schema.name.clone()));
    }
    Ok(())
}

fn put_sequence(next: &mut Contents, names: &mut Names, sequence: &Sequence) -> Result<(), CatalogError> {
    require(next.schemas.contains_key(&sequence.schema), sequence.schema)?;
    if let Some(old) = next.sequences.get(&sequence.oid) {
        names.remove(&(old.schema, old.name.clone()));
    }
    claim_name(names, sequence.schema, &sequence.name, sequence.oid)?;
    next.sequences.insert(sequence.oid, Arc::new(sequence.clone()));
    Ok(())
}

fn put_comment(next: &mut Contents, comment: &Comment) {
    next.comments.insert(comment_key(comment.object, comment.attnum), Arc::new(comment.clone()));
}

fn drop_comment(next: &mut Contents, object: Oid, attnum: i16) {
    next.comments.remove(&comment_key(object, attnum));
}

fn comment_key(object: Oid, attnum: i16) -> String {
    format!("{object}.{attnum}")
}

fn put_view(next: &mut Contents, names: &mut Names, view: &View) -> Result<(), CatalogError> {
    require(next.schemas.contains_key(&view.schema), view.schema)?;
    if let Some(old) = next.views.get(&view.oid) {
        names.remove(&(old.schema, old.name.clone()));
    }
    claim_name(names, view.schema, &view.name, view.oid)?;
    next.views.insert(view.oid, Arc::new(view.clone()));
    Ok(())
}

fn exchange_storage(next: &mut Contents, tables: (Oid, Oid), indexes: &[(Oid, Oid)]) -> Result<(), CatalogError> {
    let table = |oid| next.tables.get(&oid).cloned().ok_or(CatalogError::MissingObject(oid));
    let (a, b) = (table(tables.0)?, table(tables.1)?);
    next.tables.insert(a.oid, Arc::new(Table { storage: b.storage, ..Table::clone(&a) }));
    next.tables.insert(b.oid, Arc::new(Table { storage: a.storage, ..Table::clone(&b) }));
    for (a, b) in indexes {
        let index = |oid: &Oid| next.indexes.get(oid).cloned().ok_or(CatalogError::MissingObject(*oid));
        let (a, b) = (index(a)?, index(b)?);
        next.indexes.insert(a.oid, Arc::new(Index { storage: b.storage, ..Index::clone(&a) }));
        next.indexes.insert(b.oid, Arc::new(Index { storage: a.storage, ..Index::clone(&b) }));
    }
    Ok(())
}

fn rename_schema(next: &mut Contents, oid: Oid, name: &str) -> Result<(), CatalogError> {
    if next.schemas.values().any(|s| s.name == name && s.oid != oid) {
        return Err(CatalogError::DuplicateSchema(name.to_owned()));
    }
    let old = next.schemas.get(&oid).ok_or(CatalogError::MissingObject(oid))?;
    let renamed = Schema { name: name.to_owned(), ..Schema::clone(old) };
    next.schemas.insert(oid, Arc::new(renamed));
    Ok(())
}

fn require(there: bool, oid: Oid) -> Result<(), CatalogError> {
    if there { Ok(()) } else { Err(CatalogError::MissingObject(oid)) }
}

pub(crate) fn drop_storage(next: &mut Contents, relation: RelationId) {
    next.maps.remove(&relation);
    next.dropped.insert(relation, next.version);
}

fn drop_table(next: &mut Contents, names: &mut Names, oid: Oid) -> Result<(), CatalogError> {
    let table = next.tables.get(&oid).cloned().ok_or(CatalogError::MissingObject(oid))?;
    for index in &table.indexes {
        drop_index(next, names, *index)?;
    }
    let owned = |s: &Arc<Sequence>| s.owner.is_some_and(|o| o.table == oid);
    for sequence in next.sequences.values().filter(|s| owned(s)) {
        names.remove(&(sequence.schema, sequence.name.clone()));
    }
    next.sequences.retain(|_, s| !owned(s));
    next.tables.remove(&oid);
    names.remove(&(table.schema, table.name.clone()));
    drop_storage(next, table.storage);
    Ok(())
}

fn drop_index(next: &mut Contents, names: &mut Names, oid: Oid) -> Result<(), CatalogError> {
    let index = next.indexes.remove(&oid).ok_or(CatalogError::MissingObject(oid))?;
    names.remove(&(index.schema, index.name.clone()));
    if let Some(table) = next.tables.get(&index.table) {
        let mut table = Table::clone(table);
        table.indexes.retain(|i| *i != oid);
        next.tables.insert(table.oid, Arc::new(table));
    }
    drop_storage(next, index.storage);
    Ok(())
}

/// Whether an index's key space is cut by its own map.
pub fn has_own_map(index: &Index) -> bool {
    matches!(index.scope, IndexScope::Global { .. })
}
