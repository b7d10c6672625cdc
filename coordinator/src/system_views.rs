//! The system relations: `pg_catalog`, `information_schema` and `partita`, computed from the statement's own catalog state.
//!
//! A relation is a name, an oid and columns (`definitions`, from the lists beside it, which are PostgreSQL's own) and a function that makes its rows
//! (`rows`, one file for each family). A relation without such a function is empty because nothing of its kind exists here. `provider` puts the rows
//! into a plan. [`SystemContext`] is the session's side: it answers functions that read the catalog, such as `'t'::regclass` and `pg_get_indexdef`.
//!
//! PostgreSQL's own objects (types, schemas, collations) have PostgreSQL's oids. The whole cluster is one database that every name connects to, and
//! all objects belong to the role [`roles::OWNER`].

mod call;
mod context;
mod definition_text;
mod definitions;
mod names;
mod objects;
mod pg_type;
mod provider;
mod roles;
mod rows;
mod sequence_row;
mod sizes;
#[cfg(test)]
mod tests;
mod view_text;

use std::sync::Arc;

use catalog::objects::Sequence;
use catalog::state::CatalogState;
use common::ids::Oid;
use common::types::Scalar;
use datafusion::datasource::provider_as_source;
use sql::schema::{ColumnInfo, RelationInfo, RelationKind};

pub use context::SystemContext;
pub(crate) use names::split as split_name;

/// A system relation as the binder sees it.
pub fn relation(schema: &str, name: &str) -> Option<RelationInfo> {
    let relation = definitions::named(schema, name)?;
    let columns = relation.columns.iter().zip(1..).map(|(column, attnum)| ColumnInfo {
        name: column.name.to_owned(),
        ty: column.ty,
        not_null: column.not_null,
        attnum,
        default: None,
        generated: None,
    });
    Some(RelationInfo {
        oid: relation.oid,
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: RelationKind::SystemView,
        columns: columns.collect(),
        unique_keys: Vec::new(),
        checks: Vec::new(),
        view: None,
        source: provider_as_source(Arc::new(provider::SystemView::new(relation))),
    })
}

/// The relation of a sequence: one row that tells where it stands.
pub fn sequence_relation(sequence: &Arc<Sequence>, schema: &str) -> RelationInfo {
    let column = |name: &str, ty: Scalar, attnum| ColumnInfo {
        name: name.to_owned(),
        ty: ty.into(),
        not_null: true,
        attnum,
        default: None,
        generated: None,
    };
    RelationInfo {
        oid: sequence.oid,
        schema: schema.to_owned(),
        name: sequence.name.clone(),
        kind: RelationKind::Sequence,
        columns: vec![column("last_value", Scalar::Int8, 1), column("log_cnt", Scalar::Int8, 2), column("is_called", Scalar::Bool, 3)],
        unique_keys: Vec::new(),
        checks: Vec::new(),
        view: None,
        source: provider_as_source(Arc::new(sequence_row::SequenceRow::new(sequence.oid))),
    }
}

/// Whether a schema of the system has that name.
pub fn schema_exists(name: &str) -> bool {
    definitions::SCHEMAS.iter().any(|schema| schema.name == name)
}

/// Schema and name of a system relation, or of the index that stands for a table's own key.
pub fn name_of(state: &CatalogState, oid: Oid) -> Option<(String, String)> {
    if let Some(relation) = definitions::by_oid(oid) {
        return Some((relation.schema.name.to_owned(), relation.name.to_owned()));
    }
    let key = objects::keys(state).find(|key| key.oid == oid)?;
    Some((state.schema(key.schema)?.name.clone(), key.name.to_owned()))
}

/// Number and name of each column of a system relation or a sequence.
pub fn column_names(state: &CatalogState, oid: Oid) -> Vec<(i16, String)> {
    if let Some(relation) = definitions::by_oid(oid) {
        return relation.columns.iter().zip(1..).map(|(c, attnum)| (attnum, c.name.to_owned())).collect();
    }
    if state.sequence(oid).is_some() {
        return objects::SEQUENCE_COLUMNS.iter().zip(1..).map(|((name, _), attnum)| (attnum, (*name).to_owned())).collect();
    }
    Vec::new()
}

/// The oid of a system relation, or of the index that stands for a table's own key.
pub fn oid_of(state: &CatalogState, schema: &str, name: &str) -> Option<Oid> {
    if let Some(relation) = definitions::named(schema, name) {
        return Some(relation.oid);
    }
    let schema = state.schema_named(schema)?.oid;
    objects::keys(state).find(|key| key.schema == schema && key.name == name).map(|key| key.oid)
}
