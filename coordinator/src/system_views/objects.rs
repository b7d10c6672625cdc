//! The relations of a catalog state as PostgreSQL would list them.
//!
//! A table's own key is an index to PostgreSQL and none here: it is listed as one, under the name and the oid of its constraint.

use std::sync::Arc;

use catalog::objects::{Column, Enforcement, Generated, Index, IndexColumn, IndexState, Sequence, Table, UniqueConstraint, View};
use catalog::state::CatalogState;
use common::ids::{Oid, RelationId};
use common::types::{Scalar, SqlType};

use super::definitions::{self, SystemRelation};

/// An index, or a table's own key.
#[derive(Clone)]
pub(super) struct ListedIndex<'a> {
    pub(super) oid: Oid,
    pub(super) name: &'a str,
    pub(super) schema: Oid,
    pub(super) table: &'a Table,
    pub(super) columns: Vec<IndexColumn>,
    pub(super) include: &'a [i16],
    pub(super) unique: bool,
    pub(super) ready: bool,
    pub(super) constraint: Option<&'a UniqueConstraint>,
    /// Its own key space; none for a table's key.
    pub(super) storage: Option<RelationId>,
    pub(super) options: &'a [(String, String)],
}

impl ListedIndex<'_> {
    /// Whether it enforces the primary key.
    pub(super) fn is_primary(&self) -> bool {
        self.constraint.is_some_and(|c| c.is_primary)
    }

    /// The attnums of all columns: the indexed, then the included ones.
    pub(super) fn attnums(&self) -> impl Iterator<Item = i16> + '_ {
        self.columns.iter().map(|c| c.attnum).chain(self.include.iter().copied())
    }
}

/// A row of pg_class.
pub(super) enum Listed<'a> {
    Table(&'a Table),
    Index(ListedIndex<'a>),
    Sequence(&'a Sequence),
    View(&'a View),
    System(&'static SystemRelation),
}

impl Listed<'_> {
    pub(super) fn is_view(&self) -> bool {
        match self {
            Self::View(_) => true,
            Self::System(relation) => relation.is_view,
            Self::Table(_) | Self::Index(_) | Self::Sequence(_) => false,
        }
    }

    pub(super) fn oid(&self) -> Oid {
        match self {
            Self::Table(table) => table.oid,
            Self::Index(index) => index.oid,
            Self::Sequence(sequence) => sequence.oid,
            Self::View(view) => view.oid,
            Self::System(relation) => relation.oid,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Table(table) => &table.name,
            Self::Index(index) => index.name,
            Self::Sequence(sequence) => &sequence.name,
            Self::View(view) => &view.name,
            Self::System(relation) => relation.name,
        }
    }

    pub(super) fn schema(&self) -> Oid {
        match self {
            Self::Table(table) => table.schema,
            Self::Index(index) => index.schema,
            Self::Sequence(sequence) => sequence.schema,
            Self::View(view) => view.schema,
            Self::System(relation) => relation.schema.oid,
        }
    }
}

/// All relations: the system's, the tables with their indexes.
pub(super) fn all(state: &CatalogState) -> Vec<Listed<'_>> {
    let mut listed: Vec<Listed<'_>> = definitions::all().iter().map(Listed::System).collect();
    for table in state.tables() {
        listed.push(Listed::Table(table));
        listed.extend(indexes_of(state, table).map(Listed::Index));
    }
    listed.extend(state.views().map(|v| Listed::View(v)));
    listed.extend(state.sequences().map(|s| Listed::Sequence(s)));
    listed
}

/// A table's indexes, its own key first.
pub(super) fn indexes_of<'a>(state: &'a CatalogState, table: &'a Table) -> impl Iterator<Item = ListedIndex<'a>> {
    let key = keys_of(table);
    key.chain(state.indexes_of(table).map(|index| listed_index(table, index)))
}

/// All indexes.
pub(super) fn indexes(state: &CatalogState) -> impl Iterator<Item = ListedIndex<'_>> {
    state.tables().flat_map(|table| indexes_of(state, table))
}

/// The tables' own keys.
pub(super) fn keys(state: &CatalogState) -> impl Iterator<Item = ListedIndex<'_>> {
    state.tables().flat_map(|table| keys_of(table))
}

/// A relation by oid.
pub(super) fn by_oid(state: &CatalogState, oid: Oid) -> Option<(String, Oid)> {
    if let Some(table) = state.table(oid) {
        return Some((table.name.clone(), table.schema));
    }
    if let Some(index) = state.index(oid) {
        return Some((index.name.clone(), index.schema));
    }
    if let Some(view) = state.view(oid) {
        return Some((view.name.clone(), view.schema));
    }
    if let Some(sequence) = state.sequence(oid) {
        return Some((sequence.name.clone(), sequence.schema));
    }
    if let Some(relation) = definitions::by_oid(oid) {
        return Some((relation.name.to_owned(), relation.schema.oid));
    }
    keys(state).find(|key| key.oid == oid).map(|key| (key.name.to_owned(), key.schema))
}

/// The name of a schema, the system's included.
pub(super) fn schema_name(state: &CatalogState, oid: Oid) -> Option<&str> {
    let system = definitions::SCHEMAS.iter().find(|s| s.oid == oid).map(|s| s.name);
    system.or_else(|| state.schema(oid).map(|s| s.name.as_str()))
}

/// The oid of a schema, the system's included.
pub(super) fn schema_oid(state: &CatalogState, name: &str) -> Option<Oid> {
    let system = definitions::SCHEMAS.iter().find(|s| s.name == name).map(|s| s.oid);
    system.or_else(|| state.schema_named(name).map(|s| s.oid))
}

/// The oid of a default's entry in pg_attrdef: none is stored, so it is made of the column's place, above all oids that the catalog gives.
pub(super) fn default_oid(table: &Table, column: &Column) -> Oid {
    let place = table.oid.0.wrapping_mul(1_600).wrapping_add(u32::from(column.attnum.unsigned_abs()));
    Oid(place | 1 << 31)
}

/// A column of a relation: number, name, type.
pub(super) struct ListedColumn<'a> {
    pub(super) attnum: i16,
    pub(super) name: &'a str,
    pub(super) ty: SqlType,
    pub(super) not_null: bool,
    pub(super) default: Option<&'a str>,
    pub(super) generated: Option<Generated>,
}

/// The columns of every sequence.
pub(super) const SEQUENCE_COLUMNS: &[(&str, Scalar)] =
    &[("last_value", Scalar::Int8), ("log_cnt", Scalar::Int8), ("is_called", Scalar::Bool)];

/// The columns of a table or a system relation that a `*` shows; none of an index.
pub(super) fn columns<'a>(listed: &'a Listed<'_>) -> Vec<ListedColumn<'a>> {
    match listed {
        Listed::Table(table) => {
            let column = |c: &'a Column| ListedColumn {
                attnum: c.attnum,
                name: &c.name,
                ty: c.ty,
                not_null: c.not_null,
                // An identity column has no default to PostgreSQL.
                default: c.default.as_deref().filter(|_| !c.generated.is_some_and(Generated::is_identity)),
                generated: c.generated,
            };
            table.visible_columns().map(column).collect()
        }
        Listed::System(relation) => {
            let columns = relation.columns.iter().zip(1..);
            columns
                .map(|(c, attnum)| ListedColumn { attnum, name: c.name, ty: c.ty, not_null: c.not_null, default: None, generated: None })
                .collect()
        }
        Listed::View(view) => {
            let columns = view.columns.iter().zip(1..);
            columns
                .map(|((name, ty), attnum)| ListedColumn { attnum, name, ty: *ty, not_null: false, default: None, generated: None })
                .collect()
        }
        Listed::Sequence(_) => {
            let columns = SEQUENCE_COLUMNS.iter().zip(1..);
            let column = |(name, ty): &(&'static str, Scalar), attnum| ListedColumn {
                attnum,
                name,
                ty: (*ty).into(),
                not_null: true,
                default: None,
                generated: None,
            };
            columns.map(|(c, attnum)| column(c, attnum)).collect()
        }
        Listed::Index(_) => Vec::new(),
    }
}

fn keys_of(table: &Table) -> impl Iterator<Item = ListedIndex<'_>> {
    table.uniques.iter().filter(|unique| unique.enforced_by == Enforcement::TableKey).map(|unique| ListedIndex {
        oid: unique.oid,
        name: &unique.name,
        schema: table.schema,
        table,
        columns: unique.columns.iter().map(|attnum| IndexColumn { attnum: *attnum, descending: false, nulls_first: false }).collect(),
        include: &[],
        unique: true,
        ready: true,
        constraint: Some(unique),
        storage: None,
        options: &[],
    })
}

fn listed_index<'a>(table: &'a Table, index: &'a Arc<Index>) -> ListedIndex<'a> {
    ListedIndex {
        oid: index.oid,
        name: &index.name,
        schema: index.schema,
        table,
        columns: index.columns.clone(),
        include: &index.include,
        unique: index.unique,
        ready: index.state == IndexState::Ready,
        constraint: table.uniques.iter().find(|u| u.enforced_by == Enforcement::Index(index.oid)),
        storage: Some(index.storage),
        options: &index.options,
    }
}
