//! The rows of the system relations, by family.
//!
//! A row has its values in the relation's order; those that are missing at the end are NULL.

pub(super) mod activity;
pub(super) mod cluster;
pub(super) mod constraints;
pub(super) mod functions;
pub(super) mod locks;
pub(super) mod relations;
pub(super) mod roles;
pub(super) mod schema_columns;
pub(super) mod schema_constraints;
pub(super) mod schema_relations;
pub(super) mod sequences;
pub(super) mod types;

use std::sync::Arc;

use catalog::state::CatalogState;
use common::datum::Datum;
use common::ids::Oid;
use futures::future::BoxFuture;

use super::context::SystemContext;
use super::objects;
use super::sizes::Sizes;

/// A row.
pub(super) type Row = Vec<Datum>;

/// What rows are computed from.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) catalog: &'a Arc<CatalogState>,
    pub(super) system: &'a SystemContext,
}

impl<'a> Reading<'a> {
    /// A schema's name as a value.
    fn schema(&self, oid: Oid) -> Datum {
        objects::schema_name(self.catalog, oid).map_or(Datum::Null, text)
    }

    /// The session's database: the catalog of the information schema.
    fn database(&self) -> Datum {
        text(&*self.system.settings.database)
    }

    /// The sizes of all partitions, asked now.
    async fn sizes(self) -> Sizes {
        match &self.system.coordinator {
            Some(coordinator) => Sizes::ask(self.catalog, &coordinator.directory).await,
            None => Sizes::default(),
        }
    }
}

/// Where a relation's rows come from.
#[derive(Clone, Copy)]
pub(super) enum RowSource {
    /// Nothing of the kind exists here.
    Empty,
    Computed(fn(&Reading<'_>) -> Vec<Row>),
    /// The workers are asked.
    Asked(for<'a> fn(Reading<'a>) -> BoxFuture<'a, Vec<Row>>),
}

/// The source of a relation's rows.
pub(super) fn source(schema: &str, name: &str) -> RowSource {
    match schema {
        "pg_catalog" => pg_catalog(name),
        "information_schema" => information_schema(name),
        _ => match name {
            "partitions" => RowSource::Asked(cluster::partitions),
            "workers" => RowSource::Asked(cluster::workers),
            "index_lag" => RowSource::Asked(cluster::index_lag),
            "lock_waits" => RowSource::Asked(locks::lock_waits),
            _ => RowSource::Empty,
        },
    }
}

fn pg_catalog(name: &str) -> RowSource {
    RowSource::Computed(match name {
        "pg_namespace" => relations::pg_namespace,
        "pg_class" => relations::pg_class,
        "pg_attribute" => relations::pg_attribute,
        "pg_attrdef" => relations::pg_attrdef,
        "pg_tables" => relations::pg_tables,
        "pg_views" => relations::pg_views,
        "pg_indexes" => relations::pg_indexes,
        "pg_am" => relations::pg_am,
        "pg_index" => constraints::pg_index,
        "pg_constraint" => constraints::pg_constraint,
        "pg_depend" => constraints::pg_depend,
        "pg_type" => types::pg_type,
        "pg_enum" => types::pg_enum,
        "pg_collation" => types::pg_collation,
        "pg_opfamily" => types::pg_opfamily,
        "pg_opclass" => types::pg_opclass,
        "pg_language" => types::pg_language,
        "pg_proc" => functions::pg_proc,
        "pg_aggregate" => functions::pg_aggregate,
        "pg_operator" => functions::pg_operator,
        "pg_cast" => functions::pg_cast,
        "pg_authid" => roles::pg_authid,
        "pg_roles" => roles::pg_roles,
        "pg_user" | "pg_shadow" => roles::pg_user,
        "pg_database" => roles::pg_database,
        "pg_tablespace" => roles::pg_tablespace,
        "pg_settings" => activity::pg_settings,
        "pg_stat_activity" => return RowSource::Asked(activity::pg_stat_activity),
        "pg_locks" => return RowSource::Asked(locks::pg_locks),
        "pg_timezone_names" => activity::pg_timezone_names,
        "pg_description" => relations::pg_description,
        "pg_sequence" => sequences::pg_sequence,
        "pg_sequences" => return RowSource::Asked(sequences::pg_sequences),
        "pg_stat_all_tables" | "pg_stat_user_tables" => return RowSource::Asked(cluster::pg_stat_user_tables),
        "pg_statio_all_tables" | "pg_statio_user_tables" => relations::pg_statio_user_tables,
        _ => return RowSource::Empty,
    })
}

fn information_schema(name: &str) -> RowSource {
    RowSource::Computed(match name {
        "information_schema_catalog_name" => schema_relations::catalog_name,
        "schemata" => schema_relations::schemata,
        "tables" => schema_relations::tables,
        "views" => schema_relations::views,
        "table_privileges" | "role_table_grants" => schema_relations::table_privileges,
        "character_sets" => schema_relations::character_sets,
        "collations" => schema_relations::collations,
        "enabled_roles" => schema_relations::enabled_roles,
        "sequences" => sequences::information_schema_sequences,
        "columns" => schema_columns::columns,
        "column_privileges" | "role_column_grants" => schema_columns::column_privileges,
        "element_types" => schema_columns::element_types,
        "table_constraints" => schema_constraints::table_constraints,
        "key_column_usage" => schema_constraints::key_column_usage,
        "constraint_column_usage" => schema_constraints::constraint_column_usage,
        "constraint_table_usage" => schema_constraints::constraint_table_usage,
        "check_constraints" => schema_constraints::check_constraints,
        _ => return RowSource::Empty,
    })
}

fn text(value: impl Into<String>) -> Datum {
    Datum::Text(value.into())
}

fn oid(value: Oid) -> Datum {
    Datum::Oid(value.0)
}

/// An oid of nothing.
const NONE: Datum = Datum::Oid(0);
const TRUE: Datum = Datum::Bool(true);
const FALSE: Datum = Datum::Bool(false);
const NULL: Datum = Datum::Null;

fn count(value: usize) -> Datum {
    Datum::Int2(i16::try_from(value).unwrap_or(i16::MAX))
}

fn big(value: u64) -> Datum {
    Datum::Int8(i64::try_from(value).unwrap_or(i64::MAX))
}

fn yes_or_no(value: bool) -> Datum {
    text(if value { "YES" } else { "NO" })
}

fn int2s(values: impl Iterator<Item = i16>) -> Datum {
    Datum::Array(values.map(Datum::Int2).collect())
}
