//! The binder's view of one catalog state, and everything else that is computed once for each catalog version.

use std::collections::HashMap;
use std::sync::Arc;

use catalog::objects::{Enforcement, Table};
use catalog::state::CatalogState;
use common::error::Report;
use common::ids::Oid;
use functions::context::SessionSettings;
use parking_lot::Mutex;
use query::table::PartitaTable;
use sql::schema::{CatalogView, ColumnInfo, RelationInfo, RelationKind, UniqueKey};

use crate::system_views;
use crate::target_table::TargetTable;

/// One catalog state as the coordinator uses it.
pub struct SchemaView {
    state: Arc<CatalogState>,
    relations: Mutex<HashMap<Oid, Arc<RelationInfo>>>,
    system: Mutex<HashMap<(String, String), Arc<RelationInfo>>>,
    targets: Mutex<HashMap<Oid, Arc<TargetTable>>>,
}

impl SchemaView {
    /// A view of a state.
    pub fn new(state: Arc<CatalogState>) -> Self {
        Self { state, relations: Mutex::default(), system: Mutex::default(), targets: Mutex::default() }
    }

    /// The state.
    pub fn state(&self) -> &Arc<CatalogState> {
        &self.state
    }

    /// What writing to a table needs; `None` when there is no such table.
    pub fn target_table(&self, oid: Oid, settings: &SessionSettings) -> Result<Option<Arc<TargetTable>>, Report> {
        if let Some(found) = self.targets.lock().get(&oid) {
            return Ok(Some(Arc::clone(found)));
        }
        let Some(table) = self.state.table(oid) else { return Ok(None) };
        let target = Arc::new(TargetTable::new(&self.state, &table, settings)?);
        self.targets.lock().insert(oid, Arc::clone(&target));
        Ok(Some(target))
    }

    /// The default that a domain, or the nearest that it is made over, gives.
    fn domain_default(&self, domain: Oid) -> Option<String> {
        let types = self.state.user_types();
        types.domain_chain(domain).into_iter().find_map(|ty| ty.domain()?.default.clone())
    }

    /// What SQL sees of a table.
    fn table_info(&self, table: &Arc<Table>, schema: &str) -> Arc<RelationInfo> {
        if let Some(found) = self.relations.lock().get(&table.oid) {
            return Arc::clone(found);
        }
        let columns = table.visible_columns().map(|c| ColumnInfo {
            name: c.name.clone(),
            ty: c.ty,
            not_null: c.not_null,
            attnum: c.attnum,
            default: c.default.clone().or_else(|| self.domain_default(c.domain?)),
        });
        let unique_keys = table.uniques.iter().map(|u| UniqueKey {
            oid: match u.enforced_by {
                Enforcement::TableKey => u.oid,
                Enforcement::Index(index) => index,
            },
            name: u.name.clone(),
            is_primary: u.is_primary,
            attnums: u.columns.clone(),
        });
        let by_constraint: Vec<Oid> = table
            .uniques
            .iter()
            .filter_map(|u| match u.enforced_by {
                Enforcement::Index(index) => Some(index),
                Enforcement::TableKey => None,
            })
            .collect();
        let unique_indexes =
            table.indexes.iter().filter_map(|oid| self.state.index(*oid)).filter(|i| i.unique && !by_constraint.contains(&i.oid)).map(
                |i| UniqueKey {
                    oid: i.oid,
                    name: i.name.clone(),
                    is_primary: false,
                    attnums: i.columns.iter().map(|c| c.attnum).collect(),
                },
            );
        let info = Arc::new(RelationInfo {
            oid: table.oid,
            schema: schema.to_owned(),
            name: table.name.clone(),
            kind: RelationKind::Table,
            columns: columns.collect(),
            unique_keys: unique_keys.chain(unique_indexes).collect(),
            checks: table.checks.iter().map(|c| (c.name.clone(), c.expression.clone())).collect(),
            source: PartitaTable::source(&self.state, table),
        });
        self.relations.lock().insert(table.oid, Arc::clone(&info));
        info
    }
}

impl CatalogView for SchemaView {
    fn relation(&self, schema: &str, name: &str) -> Option<Arc<RelationInfo>> {
        if let Some(table) = self.state.table_named(schema, name) {
            return Some(self.table_info(&table, schema));
        }
        let key = (schema.to_owned(), name.to_owned());
        if let Some(found) = self.system.lock().get(&key) {
            return Some(Arc::clone(found));
        }
        let info = Arc::new(system_views::relation(schema, name)?);
        self.system.lock().insert(key, Arc::clone(&info));
        Some(info)
    }

    fn schema_exists(&self, schema: &str) -> bool {
        self.state.schema_named(schema).is_some() || system_views::schema_exists(schema)
    }

    fn relation_by_oid(&self, oid: Oid) -> Option<(String, String)> {
        let named = |schema: Oid, name: &str| Some((self.state.schema(schema)?.name.clone(), name.to_owned()));
        if let Some(table) = self.state.table(oid) {
            return named(table.schema, &table.name);
        }
        if let Some(index) = self.state.index(oid) {
            return named(index.schema, &index.name);
        }
        system_views::name_of(&self.state, oid)
    }

    fn relation_oid(&self, schema: &str, name: &str) -> Option<Oid> {
        if let Some(table) = self.state.table_named(schema, name) {
            return Some(table.oid);
        }
        if let Some(index) = self.state.index_named(schema, name) {
            return Some(index.oid);
        }
        system_views::oid_of(&self.state, schema, name)
    }
}
